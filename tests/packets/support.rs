//! Labs with programmed nodes.

use std::{
    collections::BTreeMap,
    env,
    net::IpAddr,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use portolan::{
    agent::{Agent, Synced},
    kernel::NetlinkDataPlane,
    lab::{Guard, Lab, LabNode, LabPod, LabSpec, Namespace, Ports, in_namespace, obstacle},
    model::{Family, Node, Settings, World},
};

/// The port that all pods listen on, for TCP and UDP.
pub const TARGET_PORT: u16 = 8080;

/// False, with a word why, where a lab cannot be built; a failure where it must be.
pub fn can_run(test: &str) -> bool {
    let nft = || Command::new("nft").arg("-v").output().err().map(|e| format!("the command `nft` does not run: {e}"));
    let Some(reason) = obstacle().or_else(nft) else { return true };
    assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
    false
}

/// The address of node-N.
pub fn node_address(number: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => [192, 168, 49, 10 + number].into(),
        Family::V6 => format!("fd00:49::{}", 10 + number).parse().unwrap(),
    }
}

/// Another address of node-N, which the cluster does not know.
pub fn second_address(number: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => [192, 168, 49, 50 + number].into(),
        Family::V6 => format!("fd00:49::{}", 50 + number).parse().unwrap(),
    }
}

/// A lab of `nodes` nodes and these pods, given by name and number of the node.
pub fn spec(nodes: u8, pods: &[(&str, u8)]) -> LabSpec {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut spec = LabSpec::new(&format!("pkt-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    for number in 1..=nodes {
        let addresses = [node_address, second_address].map(|which| Family::ALL.map(|family| which(number, family)));
        let addresses = addresses.concat();
        spec.nodes.push(LabNode { name: format!("node-{number}"), addresses });
    }
    for (index, (name, node)) in pods.iter().enumerate() {
        spec.pods.push(lab_pod(name, *node, 10 + index as u8));
    }
    spec
}

/// A pod on node-N with the addresses 10.244.N.last and fd00:10:244:N::last.
pub fn lab_pod(name: &str, node: u8, last: u8) -> LabPod {
    LabPod {
        namespace: "shop".into(),
        name: name.into(),
        node: format!("node-{node}"),
        addresses: vec![[10, 244, node, last].into(), format!("fd00:10:244:{node}::{last}").parse().unwrap()],
        host_network: false,
        ports: Ports { tcp: [TARGET_PORT].into(), udp: [TARGET_PORT].into() },
    }
}

/// A pod of the lab.
pub fn pod<'a>(spec: &'a LabSpec, name: &str) -> &'a LabPod {
    spec.pods.iter().find(|pod| pod.name == name).unwrap_or_else(|| panic!("no pod {name}"))
}

/// The pod's address of a family.
pub fn pod_address(spec: &LabSpec, name: &str, family: Family) -> IpAddr {
    pod(spec, name).addresses.iter().copied().find(|a| Family::of(*a) == family).unwrap()
}

/// Runs a command in a namespace; it must succeed. Returns what it printed.
pub fn run(namespace: &Namespace, command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().unwrap();
    let output = in_namespace(namespace, || Command::new(program).args(words).output()).unwrap().unwrap();
    assert!(output.status.success(), "{namespace}: {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A lab with an agent in each of its nodes.
pub struct Net {
    pub lab: Guard,
    agents: BTreeMap<String, Agent<NetlinkDataPlane>>,
}

impl Net {
    /// Builds the lab. Nothing is programmed yet.
    pub fn up(spec: LabSpec) -> Self {
        let lab = Lab::up(spec).unwrap().guarded();
        let mut net = Self { lab, agents: BTreeMap::new() };
        for node in net.lab.spec().nodes.clone() {
            net.restart(&node.name);
        }
        net
    }

    /// Puts a new agent in the place of the node's, as a new process would be.
    pub fn restart(&mut self, node: &str) {
        let plane = self.lab.on_node(node, NetlinkDataPlane::open).unwrap().unwrap();
        self.agents.insert(node.to_owned(), Agent::new(plane));
    }

    /// Lets a node's agent do something, in its node.
    pub fn with_agent<T: Send>(
        &mut self,
        node: &str,
        work: impl FnOnce(&mut Agent<NetlinkDataPlane>) -> T + Send,
    ) -> T {
        let agent = self.agents.get_mut(node).unwrap();
        self.lab.on_node(node, || work(agent)).unwrap()
    }

    /// The world as this node sees it.
    pub fn seen_by(&self, node: &str, world: &World) -> World {
        let lab_node = self.lab.spec().nodes.iter().find(|n| n.name == node).unwrap();
        let mut seen = world.clone();
        seen.node = Node {
            name: node.into(),
            interface_addresses: lab_node.addresses.clone(),
            addresses: lab_node.addresses.iter().take(2).copied().collect(),
            ..seen.node
        };
        seen
    }

    /// Programs one node; nothing may be refused.
    pub fn program_node(&mut self, node: &str, world: &World, settings: &Settings) -> Synced {
        let world = self.seen_by(node, world);
        let settings = settings.clone();
        let synced = self.with_agent(node, |agent| {
            agent.set(world, settings, false);
            agent.sync()
        });
        let synced = synced.unwrap_or_else(|error| panic!("{node}: {error}"));
        assert!(synced.refused.is_empty(), "{node}: {:?}", synced.refused);
        synced
    }

    /// Programs all nodes.
    pub fn program(&mut self, world: &World, settings: &Settings) {
        for node in self.lab.spec().nodes.clone() {
            self.program_node(&node.name, world, settings);
        }
    }
}
