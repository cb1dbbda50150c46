//! Flags that several commands share, with the meaning that kube-proxy gave them where it has them.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use crate::model::{Family, Node, NodePortAddresses, PodDetector, Settings, parse_range};

/// Where Services come from.
#[derive(Args, Clone, Debug)]
pub struct InputArgs {
    /// Manifests: files, folders (read recursively), or - for standard input
    #[arg(short = 'f', long = "manifests", visible_alias = "filename", value_name = "PATH", required = true, num_args = 1..)]
    pub manifests: Vec<PathBuf>,

    /// Ranges that cluster IPs are allocated from, one a family; also: addresses in them that no Service has are dropped
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr)]
    pub service_cidr: Vec<IpNet>,

    /// Ranges that load-balancer addresses are allocated from, for Services of type LoadBalancer that have none
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr)]
    pub load_balancer_pool: Vec<IpNet>,

    /// Where allocated addresses and ports are remembered, so that they stay the same
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portolan")]
    pub state_dir: PathBuf,
}

/// What the node is, and how it treats packets.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// Name of this node: endpoints whose nodeName is the same are local [default: the host name]
    #[arg(long, visible_alias = "hostname-override", value_name = "NAME", env = "PORTOLAN_NODE")]
    pub node: Option<String>,

    /// Addresses of this node, if no Node object gives them
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub node_ip: Vec<IpAddr>,

    /// Ranges of pod addresses, one a family. Clients inside keep their address when they use a cluster IP; all
    /// others are hidden behind the node
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr)]
    pub cluster_cidr: Vec<IpNet>,

    /// How a pod is recognised [default: ClusterCIDR if --cluster-cidr is given, else NodeCIDR]
    #[arg(long, value_name = "MODE")]
    pub detect_local_mode: Option<DetectLocalMode>,

    /// With BridgeInterface: packets that arrive on this interface come from pods
    #[arg(long, value_name = "NAME", value_parser = interface_name)]
    pub pod_bridge_interface: Option<String>,

    /// With InterfaceNamePrefix: packets that arrive on interfaces whose names begin so come from pods
    #[arg(long, value_name = "PREFIX", value_parser = interface_name)]
    pub pod_interface_name_prefix: Option<String>,

    /// Addresses that answer on node ports: "primary" (the node's own address), "all", or the interface addresses
    /// inside these ranges. With "primary" and no Node object and no --node-ip, all interface addresses answer
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "primary", value_parser = node_port_address)]
    pub nodeport_addresses: Vec<NodePortAddress>,

    /// Hide every client of a cluster IP behind the node, pods too
    #[arg(long)]
    pub masquerade_all: bool,

    /// Bit of the packet mark that asks for masquerading
    #[arg(long, value_name = "BIT", default_value_t = 14, value_parser = clap::value_parser!(u8).range(0..32))]
    pub masquerade_bit: u8,
}

/// How a pod is recognised (kube-proxy's `detectLocalMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DetectLocalMode {
    /// By its address, inside --cluster-cidr
    #[value(name = "ClusterCIDR")]
    ClusterCidr,
    /// By its address, inside the podCIDRs of this node's Node object
    #[value(name = "NodeCIDR")]
    NodeCidr,
    /// By the interface its packets arrive on
    #[value(name = "BridgeInterface")]
    BridgeInterface,
    /// By the beginning of that interface's name
    #[value(name = "InterfaceNamePrefix")]
    InterfaceNamePrefix,
}

/// One entry of `--nodeport-addresses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePortAddress {
    /// The node's own address
    Primary,
    /// Every interface address
    All,
    /// Interface addresses in a range
    Range(IpNet),
}

impl NodeArgs {
    /// The node's name: as given, or the host name in lower case.
    pub fn node_name(&self) -> String {
        let host_name = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        self.node.clone().or_else(host_name).unwrap_or_default().trim().to_lowercase()
    }

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
        let by_default =
            if self.cluster_cidr.is_empty() { DetectLocalMode::NodeCidr } else { DetectLocalMode::ClusterCidr };
        let ranges = match self.detect_local_mode.unwrap_or(by_default) {
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
}

fn first_of_each_family(ranges: &[IpNet]) -> Vec<IpNet> {
    let mut families = BTreeSet::new();
    ranges.iter().filter(|range| families.insert(Family::of(range.network()))).copied().collect()
}

fn cidr(text: &str) -> Result<IpNet, String> {
    parse_range(text).ok_or_else(|| format!("{text:?} is no range such as 10.0.0.0/8 or fd00::/64"))
}

fn node_port_address(text: &str) -> Result<NodePortAddress, String> {
    if text == "primary" {
        return Ok(NodePortAddress::Primary);
    }
    if text == "all" {
        return Ok(NodePortAddress::All);
    }
    if text == "localhost" {
        return Err("node ports on loopback addresses are not supported".to_owned());
    }
    cidr(text).map(NodePortAddress::Range)
}

/// The kernel's rule for interface names (15 characters, no white space, no '/'), and no quotes: the name goes into
/// the nft program.
fn interface_name(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b);
    if (1..=15).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no interface name: 1 to 15 letters, digits, '-', '_', '.', ':' or '@'"))
    }
}
