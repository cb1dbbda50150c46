//! Who asks.

use std::{net::IpAddr, process::Command};

use portolan::{
    lab::{CLIENTS, Namespace},
    model::Family,
};

use crate::stage::{Stage, node_address};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A pod, as `namespace/name`, on this node
    Pod(&'static str, u8),
    /// A process of this node
    Host(u8),
    /// One of the addresses of the client outside, by its number in [`CLIENTS`]; node-1 sees its packets
    Outside(usize),
}

/// A pod of node-1, the client in most situations.
pub const CLIENT: Caller = Caller::Pod("shop/client-1", 1);
/// The client outside.
pub const OUTSIDE: Caller = Caller::Outside(0);

impl Caller {
    /// As the command is told.
    pub fn said(self) -> String {
        match self {
            Caller::Pod(id, _) => id.to_owned(),
            Caller::Host(_) => "host".to_owned(),
            Caller::Outside(number) => CLIENTS[number].to_string(),
        }
    }

    /// The node that decides.
    pub fn node(self) -> u8 {
        match self {
            Caller::Pod(_, node) | Caller::Host(node) => node,
            Caller::Outside(_) => 1,
        }
    }

    /// Where it sends from.
    pub fn namespace(self, stage: &Stage) -> Namespace {
        match self {
            Caller::Pod(id, _) => {
                let (namespace, name) = id.split_once('/').unwrap();
                stage.lab.pod(namespace, name).unwrap()
            }
            Caller::Host(node) => stage.lab.node(&format!("node-{node}")).unwrap(),
            Caller::Outside(_) => stage.lab.client(),
        }
    }

    /// Its address of a family.
    pub fn address(self, stage: &Stage, family: Family) -> IpAddr {
        match self {
            Caller::Pod(id, _) => {
                let pod = stage.lab.spec().pods.iter().find(|pod| pod.id() == id).unwrap();
                pod.addresses.iter().copied().find(|a| Family::of(*a) == family).unwrap()
            }
            Caller::Host(node) => node_address(node, family),
            // The first and the second of each family belong together.
            Caller::Outside(number) => CLIENTS[number % 2 + if family == Family::V4 { 0 } else { 2 }],
        }
    }

    /// What its resolver makes of a name.
    pub fn resolve(self, stage: &Stage, name: &str) -> Vec<IpAddr> {
        let namespace = self.namespace(stage);
        let words = ["netns", "exec", namespace.name(), "getent", "ahosts", name];
        let output = Command::new("ip").args(words).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    }
}
