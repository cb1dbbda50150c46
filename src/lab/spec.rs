use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use super::{LabError, Namespace};
use crate::model::{Family, Protocol};

/// The prefix of a lab's names if nobody asks for another.
pub const DEFAULT_PREFIX: &str = "lab-";

/// The LAN's router: it knows the lab's own addresses and answers `host unreachable` for all others.
pub const ROUTER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 168, 49, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x49, 0, 0, 0, 0, 0, 1))];

/// The addresses of the client outside the cluster: two of each family, so that it can play two clients.
pub const CLIENTS: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 168, 49, 100)),
    IpAddr::V4(Ipv4Addr::new(192, 168, 49, 101)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x49, 0, 0, 0, 0, 0, 0x100)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x49, 0, 0, 0, 0, 0, 0x101)),
];

/// A lab, described in plain values. [`super::Cluster`] makes one from Kubernetes objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// What the names of the lab's namespaces begin with: lower-case letters, digits and `-`, ending in `-`
    pub prefix: String,
    /// The nodes
    pub nodes: Vec<LabNode>,
    /// The pods
    pub pods: Vec<LabPod>,
    /// Hosts on the LAN that are neither nodes nor the client, such as endpoints outside the cluster
    pub externals: Vec<LabHost>,
    /// The client's addresses; the first of a family is the one it uses unasked
    pub clients: Vec<IpAddr>,
    /// How pods are attached to their nodes
    pub attachment: Attachment,
    /// Who answers in the pods
    pub responders: Responders,
}

/// A node: a network namespace with a leg in the LAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabNode {
    /// The node's name
    pub name: String,
    /// Addresses on its interface `eth0`; the first of a family is the one it uses unasked
    pub addresses: Vec<IpAddr>,
}

/// A pod: a network namespace behind its node, or a process of the node itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabPod {
    /// Namespace
    pub namespace: String,
    /// Name; what the pod answers with
    pub name: String,
    /// The node it runs on
    pub node: String,
    /// Its addresses; for a pod of the host network, addresses of its node
    pub addresses: Vec<IpAddr>,
    /// Whether it lives in its node's network namespace
    pub host_network: bool,
    /// Ports it listens on
    pub ports: Ports,
}

/// A host on the LAN that answers like a pod, under its address as name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabHost {
    /// Its address
    pub address: IpAddr,
    /// Ports it listens on
    pub ports: Ports,
}

/// Ports that somebody listens on. SCTP has no place here: see [`super::sctp`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// TCP ports
    pub tcp: BTreeSet<u16>,
    /// UDP ports
    pub udp: BTreeSet<u16>,
}

/// How pods are attached to their nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attachment {
    /// Each by a pair of virtual cables, `veth...` on the node's side, and a host route
    #[default]
    Routed,
    /// The node's ends of the cables are ports of the bridge `cni0`, in hairpin mode
    Bridge,
}

/// Who answers in the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Responders {
    /// Threads of this process; they end with the [`super::Lab`]
    #[default]
    InProcess,
    /// A process of its own, started by this command, which must call [`super::responder::serve`] with the plan on its
    /// standard input; it outlives this process
    Process(Vec<OsString>),
}

impl Ports {
    /// Adds a port. SCTP is passed over.
    pub fn insert(&mut self, protocol: Protocol, port: u16) {
        match protocol {
            Protocol::Tcp => drop(self.tcp.insert(port)),
            Protocol::Udp => drop(self.udp.insert(port)),
            Protocol::Sctp => {}
        }
    }
}

impl LabPod {
    /// `namespace/name`
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl LabSpec {
    /// A lab without nodes and pods, with the usual clients, routed pods and responders in this process.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            nodes: Vec::new(),
            pods: Vec::new(),
            externals: Vec::new(),
            clients: CLIENTS.to_vec(),
            attachment: Attachment::default(),
            responders: Responders::default(),
        }
    }

    /// Makes every pod listen on this port too, except those of the host network, where it might be taken.
    ///
    /// Manifests need not list a container's ports, so the target ports of Services are worth adding.
    pub fn listen(&mut self, protocol: Protocol, port: u16) {
        for pod in self.pods.iter_mut().filter(|pod| !pod.host_network) {
            pod.ports.insert(protocol, port);
        }
    }

    /// Checks that every name can name a namespace, that every pod has a node of its families, and that no address is
    /// given twice.
    pub fn validate(&self) -> Result<(), LabError> {
        check_prefix(&self.prefix)?;
        for node in &self.nodes {
            let what = || format!("Node {}", node.name);
            check_name(&node.name).map_err(|reason| invalid(what(), reason))?;
            self.check_length(&self.node_namespace(&node.name)).map_err(|reason| invalid(what(), reason))?;
        }
        for pod in &self.pods {
            self.validate_pod(pod).map_err(|reason| invalid(format!("Pod {}", pod.id()), reason))?;
        }
        self.check_unique()
    }

    fn validate_pod(&self, pod: &LabPod) -> Result<(), String> {
        check_name(&pod.namespace)?;
        check_name(&pod.name)?;
        self.check_length(&self.pod_namespace(pod))?;
        let node = self.nodes.iter().find(|node| node.name == pod.node);
        let node = node.ok_or_else(|| format!("there is no Node {}", pod.node))?;
        for address in &pod.addresses {
            let family = Family::of(*address);
            if !node.addresses.iter().any(|a| Family::of(*a) == family) {
                return Err(format!("it has the address {address}, but Node {} has no {family} address", node.name));
            }
            if pod.host_network && !node.addresses.contains(address) {
                return Err(format!("it is on the host network, but Node {} has no address {address}", node.name));
            }
        }
        Ok(())
    }

    /// The namespace's name is a file name: at most 255 bytes on Linux.
    fn check_length(&self, namespace: &Namespace) -> Result<(), String> {
        if namespace.name().len() <= 255 { Ok(()) } else { Err("its name is too long for a network namespace".into()) }
    }

    fn check_unique(&self) -> Result<(), LabError> {
        let nodes = self.nodes.iter().flat_map(|n| n.addresses.iter().map(move |a| (*a, format!("Node {}", n.name))));
        let pods = self.pods.iter().filter(|p| !p.host_network);
        let pods = pods.flat_map(|p| p.addresses.iter().map(move |a| (*a, format!("Pod {}", p.id()))));
        let externals = self.externals.iter().map(|h| (h.address, format!("external host {}", h.address)));
        let clients = self.clients.iter().map(|a| (*a, "the lab's client".to_owned()));
        let router = ROUTER.iter().map(|a| (*a, "the lab's router".to_owned()));
        let mut owners = BTreeMap::new();
        for (address, owner) in router.chain(clients).chain(externals).chain(nodes).chain(pods) {
            if let Some(other) = owners.insert(address, owner.clone()) {
                return Err(invalid(owner, format!("its address {address} belongs to {other}")));
            }
        }
        let mut names = BTreeSet::new();
        for name in self.nodes.iter().map(|n| format!("Node {}", n.name)).chain(self.pods.iter().map(LabPod::id)) {
            if !names.insert(name.clone()) {
                return Err(invalid(name, "it is given twice".to_owned()));
            }
        }
        Ok(())
    }

    /// The namespace of the LAN: its bridge and its router.
    pub fn lan(&self) -> Namespace {
        Namespace::new(&self.prefix, "lan")
    }

    /// The namespace of the client outside the cluster.
    pub fn client(&self) -> Namespace {
        Namespace::new(&self.prefix, "client")
    }

    /// The namespace of all external hosts.
    pub fn outside(&self) -> Namespace {
        Namespace::new(&self.prefix, "outside")
    }

    /// The namespace of a node.
    pub fn node_namespace(&self, node: &str) -> Namespace {
        Namespace::new(&self.prefix, &format!("node.{node}"))
    }

    /// The namespace that a pod lives in: its own, or its node's.
    pub fn pod_namespace(&self, pod: &LabPod) -> Namespace {
        if pod.host_network {
            self.node_namespace(&pod.node)
        } else {
            Namespace::new(&self.prefix, &format!("pod.{}.{}", pod.namespace, pod.name))
        }
    }
}

fn invalid(what: String, reason: String) -> LabError {
    LabError::Invalid { what, reason }
}

/// A prefix: 2 to 32 lower-case letters, digits and `-`, a letter first, `-` last. It names files and namespaces.
pub(super) fn check_prefix(prefix: &str) -> Result<(), LabError> {
    let good = (2..=32).contains(&prefix.len())
        && prefix.starts_with(|c: char| c.is_ascii_lowercase())
        && prefix.ends_with('-')
        && prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if good {
        return Ok(());
    }
    let reason = "a lab's prefix is 2 to 32 lower-case letters, digits and `-`; it begins with a letter, ends in `-`";
    Err(invalid(format!("prefix {prefix:?}"), reason.to_owned()))
}

/// A name of an object: what the Kubernetes API allows as a DNS subdomain (RFC 1123), so nothing that a shell, a file
/// system or `ip -batch` could take for something else.
fn check_name(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.starts_with(inner) && name.ends_with(inner) && name.chars().all(|c| inner(c) || "-.".contains(c));
    if good { Ok(()) } else { Err(format!("{name:?} is not a name: lower-case letters, digits, `-` and `.`")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> LabSpec {
        let mut spec = LabSpec::new("a-");
        spec.nodes = vec![LabNode { name: "n".into(), addresses: vec!["192.168.49.11".parse().unwrap()] }];
        spec.pods = vec![LabPod {
            namespace: "default".into(),
            name: "web".into(),
            node: "n".into(),
            addresses: vec!["10.244.1.2".parse().unwrap()],
            host_network: false,
            ports: Ports::default(),
        }];
        spec
    }

    fn complaint(change: impl FnOnce(&mut LabSpec)) -> String {
        let mut spec = spec();
        change(&mut spec);
        spec.validate().unwrap_err().to_string()
    }

    #[test]
    fn a_spec_that_cannot_be_built_is_refused_by_name() {
        assert!(spec().validate().is_ok());
        assert!(complaint(|s| s.prefix = "A-".into()).contains("prefix \"A-\""));
        assert!(complaint(|s| s.prefix = "a-../".into()).contains("prefix"));
        assert!(complaint(|s| s.pods[0].name = "x\nlink del eth0".into()).contains("is not a name"));
        assert!(complaint(|s| s.pods[0].node = "m".into()).contains("there is no Node m"));
        assert!(complaint(|s| s.pods[0].addresses = vec!["fd00::1".parse().unwrap()]).contains("no IPv6 address"));
        assert!(complaint(|s| s.pods[0].addresses = vec![CLIENTS[0]]).contains("belongs to the lab's client"));
        assert!(complaint(|s| s.pods[0].host_network = true).contains("has no address 10.244.1.2"));
        assert!(complaint(|s| s.nodes.push(LabNode { name: "n".into(), addresses: vec![] })).contains("given twice"));
    }
}
