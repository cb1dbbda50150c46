//! A node with a Service, and those who ask it.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use portolan::{
    foreign::{Fate, Finding, Hook, MOST_RULES, Packet},
    kernel::{nft, observe::surroundings},
    lab::{CLIENTS, Outcome, Probe},
    model::{Family, Frontend, Protocol, Target},
    observed::{Route, Surroundings},
};

use crate::{
    services::{Kind, READY, addresses, service, settings, world},
    support::{Net, TARGET_PORT, node_address, pod_address, run, spec},
};

/// How long silence is waited for at first.
const BRIEF: Duration = Duration::from_millis(60);
/// How long if it should not have been silence.
const PATIENT: Duration = Duration::from_secs(2);
/// The mark that asks for masquerading.
const HIDE: u32 = 0x4000;

/// Who asks what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A pod of the node asks the cluster IP
    Pod,
    /// The client outside asks the cluster IP
    Outside,
    /// The client outside asks the node port
    NodePort,
    /// A process of the node asks the cluster IP
    Host,
    /// The client outside asks a port of the node where nobody listens
    Nobody,
}

impl Way {
    pub const ALL: [Way; 5] = [Way::Pod, Way::Outside, Way::NodePort, Way::Host, Way::Nobody];
}

/// A node, the pods `web` (who serves), `other` (who does not) and `guest` (who asks) on it, and the client outside.
pub struct Town {
    pub net: Net,
    interfaces: [[String; 2]; 2],
}

impl Town {
    pub fn up() -> Self {
        let mut net = Net::up(spec(1, &[("web", 1), ("guest", 1), ("other", 1)]));
        net.lab.route(&addresses(1..=1), "node-1").unwrap();
        let world = world(net.lab.spec(), &[(service(1), vec![("web", READY)])]);
        net.program(&world, &settings());
        // Every refusal is to be seen.
        let unlimited = || {
            for file in ["ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"] {
                fs::write(format!("/proc/sys/net/{file}"), "0").unwrap();
            }
        };
        net.lab.on_node("node-1", unlimited).unwrap();
        let mut town = Self { net, interfaces: Default::default() };
        let seen = town.look();
        assert_eq!(seen.forwarding.values().collect::<Vec<_>>(), [&true, &true]);
        town.interfaces = ["web", "guest"].map(|pod| {
            Family::ALL.map(|family| match &seen.routes[&town.pod(pod, family)] {
                Route::Out { interface, gateway: None } => interface.clone(),
                other => panic!("{pod}: {other:?}"),
            })
        });
        town
    }

    pub fn pod(&self, name: &str, family: Family) -> IpAddr {
        pod_address(self.net.lab.spec(), name, family)
    }

    /// What is seen of the node.
    pub fn look(&self) -> Surroundings {
        let seen = self.see();
        assert!(seen.unread.is_empty() && seen.unread_tables.is_empty(), "{seen:?}");
        seen
    }

    /// The same, where not everything can be read.
    pub fn see(&self) -> Surroundings {
        let pods = ["web", "guest"].map(|pod| Family::ALL.map(|family| self.pod(pod, family))).concat();
        let pods: BTreeSet<IpAddr> = pods.into_iter().collect();
        self.net.lab.on_node("node-1", || surroundings(&pods, &BTreeSet::new(), 0)).unwrap().unwrap()
    }

    /// Loads rules on the node; what nft says if it refuses.
    pub fn load(&self, rules: &str) -> Result<(), String> {
        let load = || nft::run(rules, false, "loading the rules of others").map_err(|error| error.to_string());
        self.net.lab.on_node("node-1", load).unwrap()
    }

    /// Runs a command on the node.
    pub fn command(&self, command: &str) {
        run(&self.net.lab.node("node-1").unwrap(), command);
    }

    /// Deletes every table of others.
    pub fn clean(&self) {
        let listing = run(&self.net.lab.node("node-1").unwrap(), "nft list tables");
        for table in listing.lines().filter(|line| !line.contains("portolan")) {
            self.command(&format!("nft delete {table}"));
        }
    }

    pub fn frontend(&self, way: Way, family: Family, protocol: Protocol) -> Frontend {
        match way {
            Way::NodePort => Kind::NodePort.frontend(1, family, protocol),
            Way::Nobody => Frontend { address: node_address(1, family), protocol, port: 9 },
            _ => Kind::ClusterIp.frontend(1, family, protocol),
        }
    }

    pub fn source(&self, way: Way, family: Family) -> IpAddr {
        match (way, family) {
            (Way::Pod, _) => self.pod("guest", family),
            (Way::Host, _) => node_address(1, family),
            (_, Family::V4) => CLIENTS[0],
            (_, Family::V6) => CLIENTS[2],
        }
    }

    /// The packet at each hook that it comes to, and what becomes of it if nobody else does anything to it.
    pub fn way(&self, way: Way, family: Family, protocol: Protocol, port: u16) -> Vec<(Hook, Packet)> {
        let [web, guest] = self.interfaces.each_ref().map(|names| names[usize::from(family == Family::V6)].clone());
        let frontend = self.frontend(way, family, protocol);
        let dialled = Target { address: frontend.address, port: frontend.port };
        let served = Target { address: self.pod("web", family), port: TARGET_PORT };
        let destination = if way == Way::Nobody { dialled } else { served };
        let incoming = match way {
            Way::Pod => Some(guest),
            Way::Host => None,
            _ => Some("eth0".to_owned()),
        };
        let at = |outgoing: Option<&str>, mark| Packet {
            family,
            protocol,
            source: (self.source(way, family), Some(port)),
            destination,
            dialled,
            incoming: incoming.clone(),
            outgoing: outgoing.map(str::to_owned),
            mark,
        };
        let mark = if way == Way::Pod { 0 } else { HIDE };
        let leaving = at(Some(&web), mark);
        match way {
            Way::Nobody => vec![(Hook::Prerouting, at(None, 0)), (Hook::Input, at(None, 0))],
            Way::Host => vec![(Hook::Output, at(Some("eth0"), 0)), (Hook::Postrouting, leaving)],
            _ => vec![(Hook::Prerouting, at(None, 0)), (Hook::Forward, leaving.clone()), (Hook::Postrouting, leaving)],
        }
    }

    /// Sends a packet and says what came of it.
    fn ask(&self, way: Way, family: Family, protocol: Protocol, port: u16, patience: Duration) -> Outcome {
        let namespace = match way {
            Way::Pod => self.net.lab.pod("shop", "guest").unwrap(),
            Way::Host => self.net.lab.node("node-1").unwrap(),
            _ => self.net.lab.client(),
        };
        let probe = Probe::new(self.frontend(way, family, protocol)).from(self.source(way, family));
        probe.from_port(port).patience(patience).run(&namespace).unwrap()
    }

    /// Sends a packet of this way and compares what comes of it with what is found of these rules.
    pub fn try_out(
        &self,
        seen: &Surroundings,
        way: Way,
        family: Family,
        protocol: Protocol,
    ) -> Result<Vec<Finding>, String> {
        let port = next_port();
        let findings = seen.foreign.pass(&self.way(way, family, protocol, port), &mut MOST_RULES.clone());
        let certain = findings.iter().position(|finding| finding.certain);
        if certain.is_some_and(|index| index + 1 != findings.len() && findings[index].fate != Fate::Untracked) {
            return Err(format!("{way:?} {family}: something was found behind the end: {findings:#?}"));
        }
        let mut possible: Vec<Option<Fate>> = findings.iter().map(|finding| Some(finding.fate)).collect();
        if certain.is_none() {
            possible.push(None);
        }
        let fits = |outcome: &Outcome| possible.iter().any(|fate| fits(way, *fate, outcome));
        let mut outcome = self.ask(way, family, protocol, port, BRIEF);
        if !fits(&outcome) {
            // A busy machine is silent for a while, too.
            let port = next_port();
            outcome = self.ask(way, family, protocol, port, PATIENT);
        }
        if fits(&outcome) {
            return Ok(findings);
        }
        Err(format!("{way:?} {family} {protocol}: the packet's fate was {outcome:?}, but found was {findings:#?}"))
    }
}

fn fits(way: Way, fate: Option<Fate>, outcome: &Outcome) -> bool {
    match (fate, outcome) {
        (None, Outcome::Refused | Outcome::Reset) => way == Way::Nobody,
        (None, outcome) => way != Way::Nobody && outcome.pod() == Some("web"),
        (Some(Fate::Dropped), outcome) => matches!(outcome, Outcome::Silence | Outcome::NotPermitted),
        // A process of the node may be told of the loss before it is told of the refusal.
        (Some(Fate::Refused), Outcome::NotPermitted) => way == Way::Host,
        (Some(Fate::Refused), outcome) => matches!(outcome, Outcome::Refused | Outcome::Reset | Outcome::Unreachable),
        (Some(Fate::Translated | Fate::Untracked), outcome) => outcome.pod() != Some("web"),
    }
}

/// A client's port that no packet came from before: every packet is the first of its connection.
fn next_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
