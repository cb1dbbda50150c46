//! Callers, and what they must get.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use portolan::{
    lab::{CLIENTS, LabHost, Namespace, Outcome, Ports, Probe, Tally},
    model::{Family, Frontend, Protocol},
};

use crate::support::{Net, node_address, pod_address};

/// How long silence is waited for. Whoever is answered, or refused, is so within a millisecond or two.
pub const BRIEF: Duration = Duration::from_millis(100);
/// The fewest connections that show whom a client is sent to.
const FEWEST: usize = 8;
/// The most: of four endpoints one is missed with a probability of 10^-36.
const MOST: usize = 300;

/// Somebody who asks: a pod, a node, or the client outside under one of its addresses.
pub struct Caller {
    pub namespace: Namespace,
    addresses: [IpAddr; 2],
    /// A process of a node, whose packets its own rules drop in the output hook
    is_host: bool,
}

impl Net {
    /// A pod as caller.
    pub fn pod(&self, name: &str) -> Caller {
        let addresses = Family::ALL.map(|family| pod_address(self.lab.spec(), name, family));
        Caller { namespace: self.lab.pod("shop", name).unwrap(), addresses, is_host: false }
    }

    /// A process of node-N as caller.
    pub fn host(&self, number: u8) -> Caller {
        let addresses = Family::ALL.map(|family| node_address(number, family));
        Caller { namespace: self.lab.node(&format!("node-{number}")).unwrap(), addresses, is_host: true }
    }

    /// The client outside, under its first address.
    pub fn client(&self) -> Caller {
        Caller { namespace: self.lab.client(), addresses: [CLIENTS[0], CLIENTS[2]], is_host: false }
    }

    /// The client outside, under its second address.
    pub fn other_client(&self) -> Caller {
        Caller { addresses: [CLIENTS[1], CLIENTS[3]], ..self.client() }
    }
}

impl Caller {
    /// The caller's address of a family.
    pub fn address(&self, family: Family) -> IpAddr {
        self.addresses[usize::from(family == Family::V6)]
    }

    /// A probe from this caller's address.
    pub fn probe(&self, frontend: Frontend) -> Probe {
        Probe::new(frontend).from(self.address(frontend.family()))
    }

    /// Asks once.
    pub fn ask(&self, frontend: Frontend) -> Outcome {
        self.probe(frontend).run(&self.namespace).unwrap()
    }

    /// The name of the pod that answers now.
    #[track_caller]
    pub fn pod(&self, frontend: Frontend) -> String {
        let outcome = self.ask(frontend);
        outcome.pod().unwrap_or_else(|| panic!("{} asks {frontend}: {outcome:?}", self.namespace)).to_owned()
    }

    /// All of these pods answer, nobody else does, and they see the caller as `seen_as`.
    #[track_caller]
    pub fn is_served(&self, frontend: Frontend, pods: &[&str], seen_as: IpAddr) {
        let wanted: BTreeSet<&str> = pods.iter().copied().collect();
        let tally = spread(&self.namespace, &self.probe(frontend), &wanted);
        let from = &self.namespace;
        assert!(is_complete(&tally, &wanted), "{from} asks {frontend}, wanted {pods:?}, got {tally:?}");
        assert_eq!(tally.sources, BTreeSet::from([seen_as]), "{from} asks {frontend}, is seen as");
    }

    /// All of these pods answer and see the caller's own address.
    #[track_caller]
    pub fn is_served_as_itself(&self, frontend: Frontend, pods: &[&str]) {
        self.is_served(frontend, pods, self.address(frontend.family()));
    }

    /// Refused by ICMP.
    #[track_caller]
    pub fn is_refused(&self, frontend: Frontend) {
        assert_eq!(self.ask(frontend), Outcome::Refused, "{} asks {frontend}", self.namespace);
    }

    /// Dropped without a word. The kernel tells a host's own UDP socket; TCP tries again.
    #[track_caller]
    pub fn is_dropped(&self, frontend: Frontend) {
        let told = self.is_host && frontend.protocol == Protocol::Udp;
        let wanted = if told { Outcome::NotPermitted } else { Outcome::Silence };
        let outcome = self.probe(frontend).patience(BRIEF).run(&self.namespace).unwrap();
        assert_eq!(outcome, wanted, "{} asks {frontend}", self.namespace);
    }

    /// No rule takes the packet, so that it reaches the real owner of the address (see [`owners`]).
    #[track_caller]
    pub fn reaches_owner(&self, frontend: Frontend) {
        self.is_served_as_itself(frontend, &[&frontend.address.to_string()]);
    }
}

/// Hosts outside the cluster that really have these addresses, for packets that the rules leave alone.
///
/// Without them the lab's router would say that there is no such host; but IPv4 limits how often it does.
pub fn owners(addresses: &[IpAddr], ports: &[u16]) -> Vec<LabHost> {
    let ports = Ports { tcp: ports.iter().copied().collect(), udp: ports.iter().copied().collect() };
    addresses.iter().map(|address| LabHost { address: *address, ports: ports.clone() }).collect()
}

/// Asks a few times, and on until all of these pods have answered; not on after anything but an answer.
pub fn spread(from: &Namespace, probe: &Probe, wanted: &BTreeSet<&str>) -> Tally {
    let mut tally = probe.spread(from, FEWEST).unwrap();
    while names(&tally) != *wanted && tally.answered() == tally.total() && tally.total() < MOST {
        tally.merge(&probe.spread(from, 4).unwrap());
    }
    tally
}

/// Whether these pods answered, all of them and nobody else, every time.
pub fn is_complete(tally: &Tally, wanted: &BTreeSet<&str>) -> bool {
    names(tally) == *wanted && tally.answered() == tally.total()
}

fn names(tally: &Tally) -> BTreeSet<&str> {
    tally.pods.keys().map(String::as_str).collect()
}
