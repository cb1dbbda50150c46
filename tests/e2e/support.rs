//! A cluster of two nodes with a real API server, and Portolan on its nodes.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use portolan::{
    lab::{Guard, Lab, LabNode, LabPod, Namespace, Outcome, Ports, Probe, Tally, in_namespace},
    model::{Family, Frontend, Protocol},
};
use serde_json::{Value, json};

use crate::{
    chart::{self, Chart},
    cluster::{API_ADDRESS, ApiServer, Binaries, Client, Process, command_in, lab_spec, wait_for},
};

/// The namespace that all objects are in.
pub const SHOP: &str = "shop";
/// The port that all pods listen on, for TCP and UDP.
pub const TARGET_PORT: u16 = 8080;
/// How long a change may take to reach the packets on a busy machine: far longer than it should. Behind a network that was
/// dead for a minute, the kernel's next attempt to send can be most of another minute away.
pub const PATIENCE: Duration = Duration::from_secs(150);
/// How long silence is waited for. Whoever is answered, or refused, is so within a millisecond or two.
pub const BRIEF: Duration = Duration::from_millis(200);

const POD_RANGES: &str = "10.244.0.0/16,fd00:10:244::/48";

/// The cluster.
pub struct Cluster {
    pub api: ApiServer,
    pub client: Client,
    pub lab: Guard,
    /// As they were at the start: a slice can speak of pods that are gone
    pods: Vec<LabPod>,
}

/// The address of node-N.
pub fn node_address(number: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => [192, 168, 49, 10 + number].into(),
        Family::V6 => format!("fd00:49::{}", 10 + number).parse().unwrap(),
    }
}

impl Cluster {
    /// A cluster with these pods, given by name and number of the node, and no Services; `None`, with a word why, where
    /// it cannot be.
    pub fn start(test: &str, pods: &[(&str, u8)]) -> Option<Self> {
        Self::start_beside(test, pods, &[])
    }

    /// The same, with pods that listen on nothing, so that something else can live there.
    pub fn start_beside(test: &str, pods: &[(&str, u8)], empty: &[(&str, u8)]) -> Option<Self> {
        let binaries = Binaries::find(test)?;
        let mut spec = lab_spec();
        for number in 1..=2 {
            let addresses = Family::ALL.map(|family| node_address(number, family)).to_vec();
            spec.nodes.push(LabNode { name: format!("node-{number}"), addresses });
        }
        spec.pods = pods.iter().zip(10..).map(|((name, node), last)| lab_pod(name, *node, last)).collect();
        let empty = empty.iter().zip(53..).map(|((name, node), last)| lab_pod(name, *node, last));
        spec.pods.extend(empty.map(|pod| LabPod { ports: Ports::default(), ..pod }));
        let pods = spec.pods.clone();
        let lab = Lab::up(spec).unwrap().guarded();
        let api = ApiServer::start(&binaries, &lab.spec().outside(), API_ADDRESS);
        let client = api.admin();
        client.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}}));
        for (number, zone) in [(1, "a"), (2, "b")] {
            make_node(&client, number, zone);
        }
        Some(Self { api, client, lab, pods })
    }

    /// Creates or changes a dual-stack Service of this spec, and its slices with these pods, all ready. Returns the
    /// Service as the API server has it.
    pub fn expose(&self, name: &str, spec: Value, pods: &[&str]) -> Value {
        let service = self.client.apply(&service(name, spec));
        self.set_endpoints(name, &pods.iter().map(|pod| (*pod, true)).collect::<Vec<_>>());
        service
    }

    /// Gives the Service these endpoints, each ready or not.
    pub fn set_endpoints(&self, service: &str, pods: &[(&str, bool)]) {
        for family in Family::ALL {
            self.client.apply(&slice(service, family, &self.endpoints(family, pods)));
        }
    }

    /// The endpoints of a slice.
    pub fn endpoints(&self, family: Family, pods: &[(&str, bool)]) -> Vec<Value> {
        let endpoint = |(pod, ready): &(&str, bool)| {
            let pod = self.pods.iter().find(|p| p.name == *pod).unwrap();
            json!({
                "addresses": [self.pod_address(&pod.name, family)], "nodeName": pod.node,
                "conditions": {"ready": ready, "serving": ready, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": SHOP, "name": pod.name},
            })
        };
        pods.iter().map(endpoint).collect()
    }

    /// The pod's address of a family.
    pub fn pod_address(&self, name: &str, family: Family) -> IpAddr {
        let pod = self.pods.iter().find(|pod| pod.name == name).unwrap();
        *pod.addresses.iter().find(|address| Family::of(**address) == family).unwrap()
    }

    /// The pod's network namespace.
    pub fn pod(&self, name: &str) -> Namespace {
        self.lab.pod(SHOP, name).unwrap()
    }

    /// Portolan on node-N, in step with the cluster.
    pub fn portolan(&self, number: u8) -> Portolan {
        let mut portolan =
            self.launch(number, &format!("node-{number}"), &self.api.portolan_kubeconfig(), &self.api.url());
        portolan.wait_until_ready();
        portolan
    }

    /// Portolan on node-N as the chart runs it, under a name, with a kubeconfig and an API server that need not be right.
    pub fn launch(&self, number: u8, name: &str, kubeconfig: &Path, url: &str) -> Portolan {
        let folder = self.api.folder().join(name);
        chart::PLAIN.mount(&folder, |config| config.replace(&self.api.url(), url));
        self.launch_mounted(chart::PLAIN, number, name, &folder, kubeconfig)
    }

    /// The same with another chart, which is mounted already.
    pub fn launch_mounted(&self, chart: Chart, number: u8, name: &str, folder: &Path, kubeconfig: &Path) -> Portolan {
        let node = format!("node-{number}");
        let namespace = self.lab.node(&node).unwrap();
        let mut command = command_in(&namespace, env!("CARGO_BIN_EXE_portolan"));
        command.args(chart.arguments("DaemonSet", chart::NODE, folder, name));
        // In a Pod the credentials are those of its ServiceAccount.
        command.arg("--kubeconfig").arg(kubeconfig);
        Portolan { process: Process::start(&format!("portolan-{node}"), command, self.api.folder()), namespace }
    }

    /// What `portolan diff` finds between the objects that the API server has now and the rules of node-N: nothing, if
    /// the rules are what a fresh start would make of them.
    pub fn differences(&self, number: u8) -> String {
        let kinds = [
            ("v1", "Service"),
            ("v1", "Namespace"),
            ("v1", "Node"),
            ("discovery.k8s.io/v1", "EndpointSlice"),
            ("networking.k8s.io/v1", "ServiceCIDR"),
        ];
        let mut items = Vec::new();
        for (version, kind) in kinds {
            for mut item in self.client.list(version, kind).unwrap() {
                (item["apiVersion"], item["kind"]) = (version.into(), kind.into());
                items.push(item);
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let (folder, node) = (self.api.folder(), format!("node-{number}"));
        let path = folder.join("all.json");
        fs::write(&path, list.to_string()).unwrap();
        let mut command = command_in(&self.lab.node(&node).unwrap(), env!("CARGO_BIN_EXE_portolan"));
        command.arg("diff").arg("-f").arg(path).arg("--state-dir").arg(folder.join("state"));
        let output = command.args(["--node", &node, "--cluster-cidr", POD_RANGES]).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        match output.status.code() {
            Some(0) => String::new(),
            Some(1) => text,
            code => panic!("portolan diff ended with {code:?}: {text}"),
        }
    }

    /// Waits until there are none.
    #[track_caller]
    pub fn rules_become_right(&self, number: u8) {
        let (start, mut last) = (Instant::now(), String::new());
        while start.elapsed() < PATIENCE {
            last = self.differences(number);
            if last.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("the rules of node-{number} are not what the API server has:\n{last}");
    }
}

/// Portolan at work on a node.
pub struct Portolan {
    pub process: Process,
    namespace: Namespace,
}

impl Portolan {
    /// Waits until it says that its rules are there.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        wait_for("portolan says that it is ready", PATIENCE, || {
            assert!(self.process.is_alive(), "{}", self.process.last_words());
            self.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")).then_some(())
        });
    }

    /// The answer of its health server; `None` if there is none.
    pub fn get(&self, path: &str) -> Option<String> {
        in_namespace(&self.namespace, || get(([127, 0, 0, 1], 10256).into(), path)).unwrap()
    }
}

/// What an HTTP server answers, as it came; `None` if it does not.
pub fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Waits until exactly these pods answer somebody at a frontend, and nothing else comes of asking.
#[track_caller]
pub fn is_served(from: &Namespace, frontend: Frontend, pods: &[&str]) -> Tally {
    let wanted: BTreeSet<&str> = pods.iter().copied().collect();
    // Of so many endpoints, one is missed with a probability far below a millionth.
    let count = if pods.len() == 1 { 8 } else { 20 * pods.len() };
    becomes(&format!("{pods:?} answer {from} at {frontend}"), || {
        let (probe, mut tally) = (Probe::new(frontend).patience(BRIEF), Tally::default());
        for _ in 0..count {
            let outcome = probe.run(from).unwrap();
            // The first wrong one decides, or waiting would use up the client's ports.
            if !outcome.pod().is_some_and(|pod| wanted.contains(pod)) {
                return Err(outcome.to_string());
            }
            tally.add(&outcome);
        }
        if tally.pods.len() == wanted.len() { Ok(tally) } else { Err(format!("{:?}", tally.pods)) }
    })
}

/// The same at port 80 of both cluster IPs of a Service.
#[track_caller]
pub fn cluster_ips_serve(from: &Namespace, service: &Value, pods: &[&str]) {
    for family in Family::ALL {
        is_served(from, frontend(cluster_ip(service, family), Protocol::Tcp, 80), pods);
    }
}

/// Waits until asking at a frontend comes to one of these outcomes, such as `refused` or `silence`, several times in a row.
#[track_caller]
pub fn comes_to(from: &Namespace, frontend: Frontend, outcomes: &[&str]) {
    becomes(&format!("{from} asking at {frontend} comes to one of {outcomes:?}"), || {
        let tally = Probe::new(frontend).patience(BRIEF).spread(from, 4).unwrap();
        let right = tally.outcomes.keys().all(|outcome| outcomes.contains(&outcome.as_str()));
        if right { Ok(()) } else { Err(format!("{:?}", tally.outcomes)) }
    });
}

/// Waits until the node lets packets to a frontend through as they are, so that the router beyond says that nobody is
/// there. It does not say so every time: Linux limits such errors for each client.
#[track_caller]
pub fn passes_through(from: &Namespace, frontend: Frontend) {
    becomes(&format!("{from} asking at {frontend} is told by the router that nobody is there"), || {
        match Probe::new(frontend).run(from).unwrap() {
            Outcome::Unreachable => Ok(()),
            other => Err(other.to_string()),
        }
    });
}

#[track_caller]
pub fn becomes<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) => assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; at last: {last}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A frontend.
pub fn frontend(address: IpAddr, protocol: Protocol, port: u16) -> Frontend {
    Frontend { address, protocol, port }
}

/// The Service's cluster IP of a family.
pub fn cluster_ip(service: &Value, family: Family) -> IpAddr {
    let all = service["spec"]["clusterIPs"].as_array().unwrap();
    let addresses = all.iter().map(|ip| ip.as_str().unwrap().parse::<IpAddr>().unwrap());
    addresses.into_iter().find(|ip| Family::of(*ip) == family).unwrap()
}

/// The node port of the Service's port with this protocol.
pub fn node_port(service: &Value, protocol: &str) -> u16 {
    let ports = service["spec"]["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["protocol"] == protocol).unwrap();
    u16::try_from(port["nodePort"].as_u64().unwrap()).unwrap()
}

/// A dual-stack Service with the ports 80/TCP and 53/UDP, and what else `spec` says.
pub fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": SHOP, "name": name},
        "spec": {
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [
                {"name": "tcp", "protocol": "TCP", "port": 80, "targetPort": TARGET_PORT},
                {"name": "udp", "protocol": "UDP", "port": 53, "targetPort": TARGET_PORT},
            ],
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    service
}

/// The Service's slice of a family.
pub fn slice(service: &str, family: Family, endpoints: &[Value]) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "addressType": family.to_string(),
        "metadata": {
            "namespace": SHOP, "name": format!("{service}-{}", family.to_string().to_lowercase()),
            "labels": {"kubernetes.io/service-name": service},
        },
        "ports": [
            {"name": "tcp", "protocol": "TCP", "port": TARGET_PORT},
            {"name": "udp", "protocol": "UDP", "port": TARGET_PORT},
        ],
        "endpoints": endpoints,
    })
}

/// Creates node-N, or changes its zone.
pub fn make_node(client: &Client, number: u8, zone: &str) {
    let name = format!("node-{number}");
    let ranges = [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64")];
    client.apply(&json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        "spec": {"podCIDR": ranges[0], "podCIDRs": ranges},
    }));
    let addresses = Family::ALL.map(|family| json!({"type": "InternalIP", "address": node_address(number, family)}));
    client.patch_status(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": addresses},
    }));
}

/// A pod on node-N with the addresses 10.244.N.last and fd00:10:244:N::last.
pub fn lab_pod(name: &str, node: u8, last: u8) -> LabPod {
    LabPod {
        namespace: SHOP.into(),
        name: name.into(),
        node: format!("node-{node}"),
        addresses: vec![[10, 244, node, last].into(), format!("fd00:10:244:{node}::{last}").parse().unwrap()],
        host_network: false,
        ports: Ports { tcp: [TARGET_PORT].into(), udp: [TARGET_PORT].into() },
    }
}
