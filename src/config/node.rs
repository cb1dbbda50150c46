use std::{collections::BTreeSet, net::IpAddr};

use clap::{ArgAction, Args, builder::BoolishValueParser};
use ipnet::IpNet;
use serde::Serialize;

use super::values::{DetectLocalMode, NodePortAddress, cidr, interface_name, node_name, node_port_address};
use crate::model::{Family, Node, NodePortAddresses, PodDetector, Settings};

/// What the node is, and how it treats packets.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeOptions {
    /// Name of this node: endpoints whose nodeName is the same are local [default: the host name]
    #[arg(
        long,
        visible_alias = "hostname-override",
        value_name = "NAME",
        env = "PORTOLAN_NODE",
        value_parser = node_name
    )]
    pub node: Option<String>,

    /// Addresses of this node. They come before those of the Node object, if there is one
    #[arg(long, value_name = "IP", value_delimiter = ',', env = "PORTOLAN_NODE_IP")]
    pub node_ip: Vec<IpAddr>,

    /// Ranges of pod addresses, one a family. Clients inside keep their address when they use a cluster IP; all
    /// others are hidden behind the node
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr, env = "PORTOLAN_CLUSTER_CIDR")]
    pub cluster_cidr: Vec<IpNet>,

    /// How a pod is recognised [default: ClusterCIDR if --cluster-cidr is given, else NodeCIDR]
    #[arg(long, value_name = "MODE", env = "PORTOLAN_DETECT_LOCAL_MODE")]
    pub detect_local_mode: Option<DetectLocalMode>,

    /// With BridgeInterface: packets that arrive on this interface come from pods
    #[arg(long, value_name = "NAME", value_parser = interface_name, env = "PORTOLAN_POD_BRIDGE_INTERFACE")]
    pub pod_bridge_interface: Option<String>,

    /// With InterfaceNamePrefix: packets that arrive on interfaces whose names begin so come from pods
    #[arg(long, value_name = "PREFIX", value_parser = interface_name, env = "PORTOLAN_POD_INTERFACE_NAME_PREFIX")]
    pub pod_interface_name_prefix: Option<String>,

    /// Addresses that answer on node ports: "primary" (the node's own address), "all", or the interface addresses
    /// inside these ranges. With "primary" and no Node object and no --node-ip, all interface addresses answer
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "primary",
        value_parser = node_port_address,
        env = "PORTOLAN_NODEPORT_ADDRESSES"
    )]
    pub nodeport_addresses: Vec<NodePortAddress>,

    /// Hide every client of a cluster IP behind the node, pods too
    #[arg(
        long,
        value_name = "BOOL",
        env = "PORTOLAN_MASQUERADE_ALL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        value_parser = BoolishValueParser::new()
    )]
    pub masquerade_all: bool,

    /// Bit of the packet mark that asks for masquerading
    #[arg(
        long,
        value_name = "BIT",
        default_value_t = 14,
        value_parser = clap::value_parser!(u8).range(0..32),
        env = "PORTOLAN_MASQUERADE_BIT"
    )]
    pub masquerade_bit: u8,
}

impl NodeOptions {
    /// The settings for a node, and what is to be said about them.
    pub fn settings(&self, node: &Node) -> (Settings, Vec<String>) {
        let mut warnings = Vec::new();
        let settings = Settings {
            detector: self.detector(node, &mut warnings),
            node_port_addresses: self.node_port_addresses(node),
            masquerade_all: self.masquerade_all,
            masquerade_bit: self.masquerade_bit,
        };
        (settings, warnings)
    }

    fn detector(&self, node: &Node, warnings: &mut Vec<String>) -> PodDetector {
        let ranges = match self.mode() {
            DetectLocalMode::ClusterCidr => first_of_each_family(&self.cluster_cidr),
            DetectLocalMode::NodeCidr => first_of_each_family(&node.pod_cidrs),
            DetectLocalMode::BridgeInterface => match &self.pod_bridge_interface {
                Some(name) => return PodDetector::BridgeInterface(name.clone()),
                None => Vec::new(),
            },
            DetectLocalMode::InterfaceNamePrefix => match &self.pod_interface_name_prefix {
                Some(prefix) => return PodDetector::InterfaceNamePrefix(prefix.clone()),
                None => Vec::new(),
            },
        };
        if ranges.is_empty() {
            warnings.push(
                "pods cannot be told from other clients: give --cluster-cidr, or a Node object with podCIDRs; until \
                 then clients of cluster IPs keep their address, and pods count as outside clients of Local policies"
                    .to_owned(),
            );
        }
        PodDetector::SourceRanges(ranges)
    }

    /// The mode that counts: as given, or what the cluster CIDR suggests.
    fn mode(&self) -> DetectLocalMode {
        let by_default =
            if self.cluster_cidr.is_empty() { DetectLocalMode::NodeCidr } else { DetectLocalMode::ClusterCidr };
        self.detect_local_mode.unwrap_or(by_default)
    }

    fn node_port_addresses(&self, node: &Node) -> NodePortAddresses {
        if self.nodeport_addresses.iter().all(|entry| *entry == NodePortAddress::Primary) {
            return NodePortAddresses::Primary;
        }
        let mut ranges = Vec::new();
        for entry in &self.nodeport_addresses {
            match entry {
                NodePortAddress::Range(range) => ranges.push(*range),
                NodePortAddress::Primary => ranges.extend(node.addresses.iter().map(|ip| IpNet::from(*ip))),
                NodePortAddress::All => {
                    ranges.extend([IpNet::from(ipnet::Ipv4Net::default()), ipnet::Ipv6Net::default().into()])
                }
            }
        }
        NodePortAddresses::Ranges(ranges)
    }

    /// What is to be said of cluster CIDRs beyond the first of a family, which are not used.
    pub fn ignored_cluster_cidrs(&self) -> Vec<String> {
        let used = first_of_each_family(&self.cluster_cidr);
        let ignored = self.cluster_cidr.iter().filter(|range| !used.contains(range));
        let warning = |range: &IpNet| {
            let family = Family::of(range.network());
            let used = used.iter().find(|used| Family::of(used.network()) == family).copied().unwrap_or_default();
            format!("{range} is ignored: of each family one range is used, and {used} is {family}, too")
        };
        ignored.map(warning).collect()
    }

    /// What is to be said of a cluster CIDR of a family that neither the node's addresses nor the service networks have:
    /// it recognises no pod. Nothing, while both are unknown (empty).
    pub fn strange_cluster_cidrs(&self, node_addresses: &[IpAddr], service_networks: &[IpNet]) -> Vec<String> {
        let networks = service_networks.iter().map(|network| Family::of(network.network()));
        let present: BTreeSet<Family> = node_addresses.iter().map(|ip| Family::of(*ip)).chain(networks).collect();
        let strange = |range: &&IpNet| !present.is_empty() && !present.contains(&Family::of(range.network()));
        let warning = |range: &IpNet| {
            let family = Family::of(range.network());
            let (addresses, networks) = (list(node_addresses), list(service_networks));
            format!(
                "--cluster-cidr {range} is {family}, but neither the node's addresses ({addresses}) nor the service \
                 networks ({networks}) are, so it recognises no pod: give the pods' range of their family"
            )
        };
        self.cluster_cidr.iter().filter(strange).map(warning).collect()
    }
}

/// The items with commas, or words that there is none.
fn list(items: &[impl ToString]) -> String {
    match items {
        [] => "none known".to_owned(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn first_of_each_family(ranges: &[IpNet]) -> Vec<IpNet> {
    let mut families = BTreeSet::new();
    ranges.iter().filter(|range| families.insert(Family::of(range.network()))).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;

    fn with_cidrs(cidrs: &[&str]) -> NodeOptions {
        let cluster_cidr = cidrs.iter().map(|c| c.parse().unwrap()).collect();
        NodeOptions { cluster_cidr, ..resolve(vec![], vec![]).unwrap().0.node }
    }

    fn strange(cidrs: &[&str], addresses: &[&str], networks: &[&str]) -> Vec<String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let networks: Vec<IpNet> = networks.iter().map(|n| n.parse().unwrap()).collect();
        with_cidrs(cidrs).strange_cluster_cidrs(&addresses, &networks)
    }

    #[test]
    fn a_cluster_cidr_of_the_wrong_family_is_named_with_what_the_cluster_has() {
        assert_eq!(strange(&["10.244.0.0/16"], &["192.168.1.1"], &["10.96.0.0/12"]), [""; 0]);
        assert_eq!(strange(&["10.244.0.0/16", "fd00::/48"], &["192.168.1.1", "fd01::1"], &[]), [""; 0]);
        // One of the two is enough: a dual-stack cluster may have single-stack nodes, and the other way round.
        assert_eq!(strange(&["fd00::/48"], &["192.168.1.1"], &["10.96.0.0/12", "fd02::/108"]), [""; 0]);
        assert_eq!(strange(&["fd00::/48"], &[], &[]), [""; 0]);
        assert_eq!(
            strange(&["fd00::/48"], &["192.168.1.1"], &[]),
            [
                "--cluster-cidr fd00::/48 is IPv6, but neither the node's addresses (192.168.1.1) nor the service networks \
              (none known) are, so it recognises no pod: give the pods' range of their family"
            ]
        );
    }

    #[test]
    fn of_two_cluster_cidrs_of_one_family_the_second_is_named_as_ignored() {
        let options = with_cidrs(&["10.244.0.0/16", "fd00::/48", "10.245.0.0/16"]);
        assert_eq!(
            options.ignored_cluster_cidrs(),
            ["10.245.0.0/16 is ignored: of each family one range is used, and 10.244.0.0/16 is IPv4, too"]
        );
    }
}
