use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{LabError, LabNode, LabPod, LabSpec, Ports, fnv1a};
use crate::{
    model::{Family, Protocol},
    objects::{Container, Node, NodeAddress, Pod, PodIp},
};

/// Nodes and Pods with everything filled in that a scheduler, a kubelet and a network plugin would have filled in.
///
/// Hand these objects to the control plane, so that it knows the addresses that the lab uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Nodes, each with addresses and podCIDRs
    pub nodes: Vec<Node>,
    /// Pods, each with a node and addresses
    pub pods: Vec<Pod>,
}

/// What to fill in where the manifests say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The number of nodes if there is no Node object
    pub nodes: usize,
    /// Whether nodes without addresses get IPv6 addresses beside IPv4
    pub dual_stack: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { nodes: 2, dual_stack: true }
    }
}

impl Cluster {
    /// Completes Nodes and Pods. What the manifests give is kept as it is.
    ///
    /// Without Node objects there are `node-1` up. A node without addresses gets 192.168.49.11 (fd00:49::11) up, one
    /// without podCIDRs 10.244.1.0/24 (fd00:10:244:1::/64) up. Pods without a node are dealt out in their order. A pod
    /// without an address gets one out of its node's ranges that depends on its name, so that it returns to it, and so
    /// that other pods coming or going do not move it (unless two names fall on one address).
    pub fn complete(nodes: &[Node], pods: &[Pod], defaults: Defaults) -> Result<Self, LabError> {
        let mut nodes = if nodes.is_empty() { numbered(defaults.nodes) } else { nodes.to_vec() };
        for (index, node) in nodes.iter_mut().enumerate() {
            complete_node(node, index + 1, defaults.dual_stack)?;
        }
        let mut pods = pods.to_vec();
        let mut turn = nodes.iter().cycle();
        for pod in pods.iter_mut().filter(|pod| pod.spec.node_name.is_none()) {
            pod.spec.node_name = turn.next().map(|node| node.metadata.name.clone());
        }
        assign_addresses(&nodes, &mut pods)?;
        Ok(Self { nodes, pods })
    }

    /// The lab for this cluster. Pods that have ended (phase `Succeeded` or `Failed`) have no place in it.
    pub fn spec(&self, prefix: &str) -> Result<LabSpec, LabError> {
        let mut spec = LabSpec::new(prefix);
        for node in &self.nodes {
            spec.nodes.push(LabNode { name: node.metadata.name.clone(), addresses: node_addresses(node)? });
        }
        for pod in self.pods.iter().filter(|pod| is_alive(pod)) {
            spec.pods.push(LabPod {
                namespace: pod.metadata.namespace().to_owned(),
                name: pod.metadata.name.clone(),
                node: pod.spec.node_name.clone().unwrap_or_default(),
                addresses: pod_addresses(pod)?,
                host_network: pod.spec.host_network == Some(true),
                ports: ports(pod),
            });
        }
        Ok(spec)
    }
}

/// Nodes `node-1` up to `node-<count>`.
fn numbered(count: usize) -> Vec<Node> {
    let mut nodes = vec![Node::default(); count];
    for (index, node) in nodes.iter_mut().enumerate() {
        node.metadata.name = format!("node-{}", index + 1);
    }
    nodes
}

/// Fills in addresses and ranges of the node with this number, from 1.
fn complete_node(node: &mut Node, number: usize, dual_stack: bool) -> Result<(), LabError> {
    let what = format!("Node {}", node.metadata.name);
    // From 90 on the addresses would run into the clients'.
    let number = u8::try_from(number).ok().filter(|n| *n < 90);
    let number = number.ok_or_else(|| invalid(&what, "a lab has at most 89 nodes"))?;
    let v6 = u16::from_str_radix(&format!("{}", number + 10), 16).unwrap_or_default();
    if node_addresses(node)?.is_empty() {
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::new(192, 168, 49, number + 10))];
        if dual_stack {
            addresses.push(Ipv6Addr::new(0xfd00, 0x49, 0, 0, 0, 0, 0, v6).into());
        }
        let internal = |a: &IpAddr| NodeAddress { type_: "InternalIP".into(), address: a.to_string() };
        node.status.addresses.extend(addresses.iter().map(internal));
    }
    if pod_ranges(node)?.is_empty() {
        let families: BTreeSet<Family> = node_addresses(node)?.into_iter().map(Family::of).collect();
        let third = u16::from_str_radix(&number.to_string(), 16).unwrap_or_default();
        let range = |family: &Family| match family {
            Family::V4 => IpNet::from(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, number, 0), 24)),
            Family::V6 => Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x244, third, 0, 0, 0, 0), 64).into(),
        };
        node.spec.pod_cidrs = families.iter().map(|family| range(family).to_string()).collect();
    }
    Ok(())
}

/// Gives an address of each of its node's ranges to every pod that has none.
fn assign_addresses(nodes: &[Node], pods: &mut [Pod]) -> Result<(), LabError> {
    let mut taken = BTreeSet::new();
    for pod in pods.iter() {
        taken.extend(pod_addresses(pod)?);
    }
    // In the order of names, so that pods whose names collide get the same addresses in any order of the manifests.
    let mut waiting: Vec<&mut Pod> = pods.iter_mut().filter(|p| p.status.pod_ip.is_none()).collect();
    waiting.retain(|p| p.status.pod_ips.is_empty());
    waiting.sort_by_key(|p| (p.metadata.namespace().to_owned(), p.metadata.name.clone()));
    for pod in waiting {
        let id = format!("{}/{}", pod.metadata.namespace(), pod.metadata.name);
        let wanted = pod.spec.node_name.as_deref().unwrap_or_default();
        let node = nodes.iter().find(|n| n.metadata.name == wanted);
        let node = node.ok_or_else(|| invalid(&format!("Pod {id}"), &format!("there is no Node {wanted}")))?;
        let addresses = if pod.spec.host_network == Some(true) {
            first_of_each_family(&node_addresses(node)?)
        } else {
            let ranges = pod_ranges(node)?;
            let free = |range: &IpNet| {
                let reason = || format!("no address is left in the range {range} of Node {wanted}");
                free_address(*range, &id, &taken).ok_or_else(|| invalid(&format!("Pod {id}"), &reason()))
            };
            ranges.iter().map(free).collect::<Result<Vec<_>, _>>()?
        };
        taken.extend(addresses.iter().copied());
        pod.status.pod_ip = addresses.first().map(ToString::to_string);
        pod.status.pod_ips = addresses.iter().map(|a| PodIp { ip: a.to_string() }).collect();
    }
    Ok(())
}

/// A free address of the range, found from the name; never the network, its first host or the broadcast address.
fn free_address(range: IpNet, id: &str, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let host_bits = u32::from(range.max_prefix_len() - range.prefix_len()).min(16);
    let usable = (1_u32 << host_bits).checked_sub(3).filter(|usable| *usable > 0)?;
    // At most 252, so that a pod's addresses of both families end in the same number.
    let start = fnv1a(id) % usable.min(252);
    (0..usable).map(|step| at(range, 2 + (start + step) % usable)).find(|address| !taken.contains(address))
}

/// The address with this number in the range. IPv6 addresses read like the IPv4 ones: number 17 is `::17`.
fn at(range: IpNet, number: u32) -> IpAddr {
    match range.network() {
        IpAddr::V4(network) => Ipv4Addr::from(u32::from(network) + number).into(),
        IpAddr::V6(network) => {
            let readable = u128::from_str_radix(&number.to_string(), 16).unwrap_or_default();
            let fits = range.max_prefix_len() - range.prefix_len() >= 20;
            Ipv6Addr::from(u128::from(network) + if fits { readable } else { u128::from(number) }).into()
        }
    }
}

/// The node's addresses: internal ones first, then external ones.
fn node_addresses(node: &Node) -> Result<Vec<IpAddr>, LabError> {
    let mut addresses = Vec::new();
    for kind in ["InternalIP", "ExternalIP"] {
        for entry in node.status.addresses.iter().filter(|entry| entry.type_ == kind) {
            let address = parse(&format!("Node {}", node.metadata.name), "an IP address", &entry.address)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

fn pod_ranges(node: &Node) -> Result<Vec<IpNet>, LabError> {
    let listed = node.spec.pod_cidrs.iter();
    let single = node.spec.pod_cidr.iter().filter(|_| node.spec.pod_cidrs.is_empty());
    let what = format!("Node {}", node.metadata.name);
    listed.chain(single).map(|text| parse::<IpNet>(&what, "a range of addresses", text).map(|n| n.trunc())).collect()
}

fn pod_addresses(pod: &Pod) -> Result<Vec<IpAddr>, LabError> {
    let listed = pod.status.pod_ips.iter().map(|entry| &entry.ip);
    let single = pod.status.pod_ip.iter().filter(|_| pod.status.pod_ips.is_empty());
    let what = format!("Pod {}/{}", pod.metadata.namespace(), pod.metadata.name);
    listed.chain(single).map(|text| parse(&what, "an IP address", text)).collect()
}

fn first_of_each_family(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    addresses.iter().copied().filter(|a| seen.insert(Family::of(*a))).collect()
}

/// The ports of the pod's containers, and of its sidecars: init containers that never end.
fn ports(pod: &Pod) -> Ports {
    let sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let mut ports = Ports::default();
    for port in pod.spec.containers.iter().chain(pod.spec.init_containers.iter().filter(sidecar)).flat_map(|c| &c.ports)
    {
        let protocol = Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"));
        if let (Some(protocol), Ok(number @ 1..)) = (protocol, u16::try_from(port.container_port)) {
            ports.insert(protocol, number);
        }
    }
    ports
}

fn is_alive(pod: &Pod) -> bool {
    !matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

fn parse<T: std::str::FromStr>(what: &str, wanted: &str, text: &str) -> Result<T, LabError> {
    text.parse().map_err(|_| invalid(what, &format!("{text:?} is not {wanted}")))
}

fn invalid(what: &str, reason: &str) -> LabError {
    LabError::Invalid { what: what.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = name.to_owned();
        pod
    }

    fn addresses(cluster: &Cluster, name: &str) -> Vec<String> {
        let pod = cluster.pods.iter().find(|p| p.metadata.name == name).unwrap();
        pod.status.pod_ips.iter().map(|ip| ip.ip.clone()).collect()
    }

    #[test]
    fn pods_without_node_and_address_get_both_and_keep_them_when_others_come() {
        let pods: Vec<Pod> = ["a", "b", "c"].map(pod).into();
        let before = Cluster::complete(&[], &pods, Defaults::default()).unwrap();
        let nodes: Vec<_> = before.pods.iter().map(|p| p.spec.node_name.clone().unwrap()).collect();
        assert_eq!(nodes, ["node-1", "node-2", "node-1"]);
        let more: Vec<Pod> = ["a", "b", "c", "d", "e"].map(pod).into();
        let after = Cluster::complete(&[], &more, Defaults::default()).unwrap();
        for name in ["a", "b", "c"] {
            assert_eq!(addresses(&before, name), addresses(&after, name));
        }
        let a = addresses(&before, "a");
        assert!(a[0].starts_with("10.244.1.") && a[1].starts_with("fd00:10:244:1::"), "{a:?}");
        assert_eq!(a[0].rsplit('.').next(), a[1].rsplit(':').next(), "both families end alike");
        assert!(before.spec("a-").unwrap().validate().is_ok());
    }

    #[test]
    fn what_manifests_give_is_kept() {
        let mut node = Node::default();
        node.metadata.name = "edge".into();
        let internal = NodeAddress { type_: "InternalIP".into(), address: "172.18.0.3".into() };
        node.status.addresses = vec![NodeAddress { type_: "Hostname".into(), address: "edge".into() }, internal];
        node.spec.pod_cidr = Some("10.9.0.0/29".into());
        let mut fixed = pod("fixed");
        fixed.status.pod_ip = Some("20.109.5.11".into());
        let mut host = pod("host");
        host.spec.host_network = Some(true);
        let mut pods = vec![fixed, host];
        pods.extend(["a", "b", "c", "d", "e"].map(pod));
        let cluster = Cluster::complete(&[node.clone()], &pods, Defaults::default()).unwrap();
        assert_eq!(addresses(&cluster, "fixed"), Vec::<String>::new());
        assert_eq!(cluster.spec("a-").unwrap().pods[0].addresses, ["20.109.5.11".parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses(&cluster, "host"), ["172.18.0.3"]);
        let given: BTreeSet<_> = ["a", "b", "c", "d", "e"].iter().flat_map(|n| addresses(&cluster, n)).collect();
        assert_eq!(given.into_iter().collect::<Vec<_>>(), ["10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"]);
        pods.push(pod("one-too-many"));
        let full = Cluster::complete(&[node], &pods, Defaults::default()).unwrap_err().to_string();
        assert!(full.contains("no address is left in the range 10.9.0.0/29 of Node edge"), "{full}");
    }

    #[test]
    fn sidecars_listen_and_ended_pods_do_not_exist() {
        let port = |n| crate::objects::ContainerPort { container_port: n, ..Default::default() };
        let mut web = pod("web");
        web.spec.containers = vec![Container { ports: vec![port(8080), port(0), port(70_000)], ..Default::default() }];
        let always = Some("Always".to_owned());
        let sidecar = Container { ports: vec![port(9090)], restart_policy: always, ..Default::default() };
        let init = Container { ports: vec![port(9091)], ..Default::default() };
        web.spec.init_containers = vec![sidecar, init];
        let mut ended = pod("ended");
        ended.status.phase = Some("Succeeded".into());
        let spec = Cluster::complete(&[], &[web, ended], Defaults::default()).unwrap().spec("a-").unwrap();
        assert_eq!(spec.pods.len(), 1);
        assert_eq!(spec.pods[0].ports.tcp, BTreeSet::from([8080, 9090]));
    }
}
