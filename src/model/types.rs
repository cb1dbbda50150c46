use std::{fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use jiff::Timestamp;

/// An IP family. Everything in the data plane exists once per family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Both families, in the order in which they are programmed.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// nft's name for the family: `ip` or `ip6`.
    pub fn nft(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A transport protocol that Services can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, number 6
    Tcp,
    /// UDP, number 17
    Udp,
    /// SCTP, number 132
    Sctp,
}

impl Protocol {
    /// The protocol's IP number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// The protocol with an IP number, if Services know it.
    pub fn from_number(number: u8) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|p| p.number() == number)
    }

    /// nft's name: `tcp`, `udp` or `sctp`.
    pub fn nft(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// Reads the API's spelling (`TCP`); `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

/// Namespace and name of a Service. Ordered by both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// Namespace
    pub namespace: Arc<str>,
    /// Name
    pub name: Arc<str>,
}

impl ServiceId {
    /// An id from its two parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A service port: what session affinity and endpoint selection are kept for (section 2.1 of the Service behaviour).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    /// The Service
    pub service: ServiceId,
    /// The port's name; empty if it has none
    pub name: Arc<str>,
    /// The port's protocol
    pub protocol: Protocol,
}

impl fmt::Display for PortId {
    /// `namespace/service:port`, or without the colon for a port without a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, ":{}", self.name) }
    }
}

/// What a client dials: address, protocol and port. The key of most maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// Destination address
    pub address: IpAddr,
    /// Protocol
    pub protocol: Protocol,
    /// Destination port
    pub port: u16,
}

impl Frontend {
    /// The family of the address.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for Frontend {
    /// `10.96.0.10:80/TCP`, `[fd00::1]:80/TCP`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Target { address: self.address, port: self.port }, self.protocol)
    }
}

/// Where a connection is sent: an endpoint's address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Endpoint address
    pub address: IpAddr,
    /// Endpoint port
    pub port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(a) => write!(f, "{a}:{}", self.port),
            IpAddr::V6(a) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

/// Service type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceType {
    /// Cluster IP only
    #[default]
    ClusterIp,
    /// Cluster IP and node ports
    NodePort,
    /// Cluster IP, node ports (usually) and load-balancer addresses
    LoadBalancer,
    /// A DNS alias, nothing in the data plane
    ExternalName,
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServiceType::ClusterIp => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
            ServiceType::ExternalName => "ExternalName",
        })
    }
}

/// Internal or external traffic policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrafficPolicy {
    /// Any endpoint in the cluster
    #[default]
    Cluster,
    /// Only endpoints of this node
    Local,
}

/// A Service, valid: every address parsed, every enumeration known, no two ports with one name and protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Namespace and name
    pub id: ServiceId,
    /// Creation time; the older Service wins a contested frontend
    pub created: Option<Timestamp>,
    /// Type
    pub kind: ServiceType,
    /// False if the label `service.kubernetes.io/service-proxy-name` hands the Service to another proxy
    pub proxied: bool,
    /// Cluster IPs, at most one a family; empty for headless and ExternalName Services
    pub cluster_ips: Vec<IpAddr>,
    /// External IPs
    pub external_ips: Vec<IpAddr>,
    /// Load-balancer addresses from status whose `ipMode` is VIP
    pub load_balancer_ips: Vec<IpAddr>,
    /// Ports
    pub ports: Vec<ServicePort>,
    /// Seconds a client is remembered, with `sessionAffinity: ClientIP`
    pub affinity_seconds: Option<u32>,
    /// For the cluster IP
    pub internal_policy: TrafficPolicy,
    /// For every other frontend
    pub external_policy: TrafficPolicy,
    /// Who may use the load-balancer addresses; a family without a range is open to everybody
    pub source_ranges: Vec<IpNet>,
    /// The port of the health check of a LoadBalancer Service with external policy Local
    pub health_check_node_port: Option<u16>,
}

/// A port of a [`Service`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty if it has none
    pub name: Arc<str>,
    /// Protocol
    pub protocol: Protocol,
    /// Port on the cluster IP, external IPs and load-balancer addresses
    pub port: u16,
    /// Port on the node's addresses
    pub node_port: Option<u16>,
}

/// Namespace and name of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SliceId {
    /// Namespace
    pub namespace: Arc<str>,
    /// Name
    pub name: Arc<str>,
}

/// An EndpointSlice of one family, valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Namespace and name
    pub id: SliceId,
    /// The Service it belongs to
    pub service: ServiceId,
    /// Ports; those without a number are left out
    pub ports: Vec<SlicePort>,
    /// Endpoints
    pub endpoints: Vec<EndpointFacts>,
}

/// A port of a [`Slice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// Name; empty if it has none. Matches the service port of that name.
    pub name: Arc<str>,
    /// Protocol
    pub protocol: Protocol,
    /// The number the endpoints listen on
    pub port: u16,
}

/// One endpoint of a [`Slice`].
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointFacts {
    /// Address (the first of the API's list, as the API says)
    pub address: IpAddr,
    /// Ready for new connections
    pub ready: bool,
    /// Answers, ready or not
    pub serving: bool,
    /// Being deleted
    pub terminating: bool,
    /// The node it runs on, if known
    pub node: Option<Arc<str>>,
    /// The Pod behind it, if known
    pub pod: Option<Arc<str>>,
    /// Zones that should use it (KEP-2433); empty means no hint
    pub zone_hints: Box<[Arc<str>]>,
    /// Nodes that should use it (KEP-3015, PreferSameNode); empty means no hint
    pub node_hints: Box<[Arc<str>]>,
}

/// This node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Name
    pub name: Arc<str>,
    /// Addresses by which the cluster knows the node; the first of a family is its primary one
    pub addresses: Vec<IpAddr>,
    /// Zone, from the label `topology.kubernetes.io/zone`
    pub zone: Option<Arc<str>>,
    /// Ranges of the node's pods
    pub pod_cidrs: Vec<IpNet>,
    /// Every address on the node's interfaces, loopback excluded
    pub interface_addresses: Vec<IpAddr>,
}

/// Which of the node's addresses answer on node ports (section 2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The node's own addresses as the cluster knows them; every interface address while those are not known
    #[default]
    Primary,
    /// Interface addresses inside these ranges; a family without a range has all its interface addresses
    Ranges(Vec<IpNet>),
}

/// How a packet is recognised as coming from a pod (section 3.5 of the Service behaviour).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodDetector {
    /// Source inside these ranges, the first of each family; a family without a range has no detector.
    /// The modes ClusterCIDR and NodeCIDR.
    SourceRanges(Vec<IpNet>),
    /// Arrived on the interface of this name
    BridgeInterface(String),
    /// Arrived on an interface whose name begins so
    InterfaceNamePrefix(String),
}

impl PodDetector {
    /// The range that pods of a family are recognised by, if they are by their source address.
    pub fn range_of(&self, family: Family) -> Option<IpNet> {
        match self {
            PodDetector::SourceRanges(ranges) => ranges.iter().find(|r| Family::of(r.network()) == family).copied(),
            PodDetector::BridgeInterface(_) | PodDetector::InterfaceNamePrefix(_) => None,
        }
    }

    /// Whether pods of a family can be told from others at all.
    pub fn detects(&self, family: Family) -> bool {
        !matches!(self, PodDetector::SourceRanges(_)) || self.range_of(family).is_some()
    }
}

impl Default for PodDetector {
    /// No detector.
    fn default() -> Self {
        PodDetector::SourceRanges(Vec::new())
    }
}

/// What the operator chose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// How pods are recognised
    pub detector: PodDetector,
    /// Where node ports answer
    pub node_port_addresses: NodePortAddresses,
    /// Hide every client of a cluster IP, pods too
    pub masquerade_all: bool,
    /// Bit (0 to 31) of the packet mark that asks for masquerading
    pub masquerade_bit: u8,
}

impl Settings {
    /// The mark made of [`Settings::masquerade_bit`].
    pub fn mark(&self) -> u32 {
        1 << u32::from(self.masquerade_bit.min(31))
    }
}
