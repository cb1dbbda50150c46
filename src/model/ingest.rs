//! Kubernetes objects -> model.
//!
//! Objects from an API server were validated there, objects from manifests by `crate::controlplane`; what is checked
//! here is only what the model promises. A part that cannot be used is left out, with a [`Notice`].

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{
    EndpointFacts, Family, Node, Notice, Origin, Protocol, Service, ServiceId, ServicePort, ServiceType, Severity,
    Slice, SliceId, SlicePort, TrafficPolicy, World, parse_address, parse_range,
};
use crate::objects::{self, Object, PROXY_NAME_LABEL, SERVICE_NAME_LABEL, ZONE_LABEL};

/// The API's default for `sessionAffinityConfig.clientIP.timeoutSeconds`: three hours.
const DEFAULT_AFFINITY_SECONDS: u32 = 10800;

/// Reads all objects into a world for the node `node_name`. `interface_addresses` are left for the caller to fill in,
/// because they come from the kernel. `service_networks` are those of ServiceCIDR objects.
pub fn world<'a>(
    node_name: &str,
    objects: impl IntoIterator<Item = (&'a Object, Option<&'a Origin>)>,
) -> (World, Vec<Notice>) {
    let mut world = World::default();
    world.node.name = node_name.into();
    let mut reader = Reader::new(node_name);
    let mut notices = Vec::new();
    for (object, origin) in objects {
        let (reading, said) = reader.read(object, origin);
        notices.extend(said);
        match reading {
            Reading::Service(service) => {
                world.services.insert(service.id.clone(), service);
            }
            Reading::Slice(slice) => world.put_slice(slice),
            Reading::Node(node) => world.node = node,
            Reading::Networks(networks) => world.service_networks.extend(networks),
            Reading::Nothing => {}
        }
    }
    (world, notices)
}

/// Reads objects one at a time, for one node.
#[derive(Debug)]
pub struct Reader {
    node_name: Arc<str>,
    names: Names,
}

/// What an object means for the data plane.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A Service
    Service(Service),
    /// A slice of addresses that belongs to a Service
    Slice(Slice),
    /// The node that the reader is for
    Node(Node),
    /// The ranges of one ServiceCIDR
    Networks(Vec<IpNet>),
    /// Nothing: it is of another kind, or of no use, or cannot be used; then a notice says so
    Nothing,
}

impl Reader {
    /// A reader for the node of this name.
    pub fn new(node_name: &str) -> Self {
        Self { node_name: node_name.into(), names: Names::default() }
    }

    /// Reads one object, from `origin` if that is known.
    pub fn read(&mut self, object: &Object, origin: Option<&Origin>) -> (Reading, Vec<Notice>) {
        let mut notices = Notices::about(object, origin);
        let reading = match object {
            Object::Service(o) => service(o, &mut notices).map(Reading::Service),
            Object::EndpointSlice(o) => slice(o, &mut self.names, &mut notices).map(Reading::Slice),
            Object::Node(o) if o.metadata.name == *self.node_name => Some(Reading::Node(node(o, &mut notices))),
            Object::ServiceCidr(o) => Some(Reading::Networks(ranges(&o.spec.cidrs, "spec.cidrs", &mut notices))),
            _ => None,
        };
        (reading.unwrap_or(Reading::Nothing), notices.list)
    }
}

/// Collects notices about the object at hand.
struct Notices<'a> {
    list: Vec<Notice>,
    origin: Option<&'a Origin>,
    object: &'a Object,
}

impl<'a> Notices<'a> {
    fn about(object: &'a Object, origin: Option<&'a Origin>) -> Self {
        Self { list: Vec::new(), origin, object }
    }

    fn add(&mut self, severity: Severity, field: impl Into<String>, reason: impl Into<String>) {
        self.list.push(Notice {
            severity,
            origin: self.origin.cloned(),
            object: Some(self.object.reference()),
            field: field.into(),
            reason: reason.into(),
        });
    }

    fn refuse(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.add(Severity::Refused, field, reason);
    }

    fn warn(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.add(Severity::Warning, field, reason);
    }
}

fn service(object: &objects::Service, notices: &mut Notices) -> Option<Service> {
    let spec = &object.spec;
    let id = ServiceId::new(object.metadata.namespace(), &object.metadata.name);
    if !is_plain_name(&id.namespace) || !is_plain_name(&id.name) {
        notices.refuse("metadata.name", "not a Kubernetes name: lower-case letters, digits, '-' and '.' only");
        return None;
    }
    let kind = match spec.type_.as_deref() {
        None | Some("" | "ClusterIP") => ServiceType::ClusterIp,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        Some(other) => {
            notices
                .refuse("spec.type", format!("{other:?} is none of ClusterIP, NodePort, LoadBalancer, ExternalName"));
            return None;
        }
    };
    Some(Service {
        id,
        created: object.metadata.creation_timestamp,
        kind,
        proxied: !object.metadata.labels.contains_key(PROXY_NAME_LABEL),
        cluster_ips: cluster_ips(spec, notices),
        external_ips: addresses(&spec.external_ips, "spec.externalIPs", notices),
        load_balancer_ips: load_balancer_ips(&object.status, notices),
        ports: ports(&spec.ports, notices),
        affinity_seconds: affinity(spec, notices),
        internal_policy: policy(spec.internal_traffic_policy.as_deref(), "spec.internalTrafficPolicy", notices),
        external_policy: policy(spec.external_traffic_policy.as_deref(), "spec.externalTrafficPolicy", notices),
        source_ranges: ranges(&spec.load_balancer_source_ranges, "spec.loadBalancerSourceRanges", notices),
        health_check_node_port: spec.health_check_node_port.and_then(port_number),
    })
}

/// The list if it is there, else the single field; `None` and nothing at all give no address; one for each family.
fn cluster_ips(spec: &objects::ServiceSpec, notices: &mut Notices) -> Vec<IpAddr> {
    let single: Vec<String> = spec.cluster_ip.iter().cloned().collect();
    let texts = if spec.cluster_ips.is_empty() { &single } else { &spec.cluster_ips };
    let texts: Vec<String> = texts.iter().filter(|t| !t.is_empty() && *t != "None").cloned().collect();
    let mut families = BTreeSet::new();
    addresses(&texts, "spec.clusterIPs", notices).into_iter().filter(|ip| families.insert(Family::of(*ip))).collect()
}

/// Addresses of status whose mode is VIP: with `Proxy` the node never sees them as a destination (KEP-1860).
fn load_balancer_ips(status: &objects::ServiceStatus, notices: &mut Notices) -> Vec<IpAddr> {
    let vips = status.load_balancer.ingress.iter().filter(|i| i.ip_mode.as_deref().is_none_or(|mode| mode == "VIP"));
    let texts: Vec<String> = vips.filter_map(|i| i.ip.clone()).filter(|ip| !ip.is_empty()).collect();
    addresses(&texts, "status.loadBalancer.ingress", notices)
}

fn ports(ports: &[objects::ServicePort], notices: &mut Notices) -> Vec<ServicePort> {
    let mut seen = BTreeSet::new();
    let mut valid = Vec::with_capacity(ports.len());
    for (index, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() && !is_plain_name(name) {
            notices.refuse(field("name"), "not a port name: lower-case letters, digits and '-' only");
            continue;
        }
        let Some(protocol) = protocol(port.protocol.as_deref()) else {
            notices.refuse(field("protocol"), "none of TCP, UDP, SCTP");
            continue;
        };
        let Some(number) = port_number(port.port) else {
            notices.refuse(field("port"), format!("{} is outside 1-65535", port.port));
            continue;
        };
        if !seen.insert((name, protocol)) {
            notices.refuse(field("name"), "a port of this name and protocol came before");
            continue;
        }
        let node_port = port.node_port.and_then(port_number);
        valid.push(ServicePort { name: name.into(), protocol, port: number, node_port });
    }
    valid
}

fn affinity(spec: &objects::ServiceSpec, notices: &mut Notices) -> Option<u32> {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
            let seconds = config.and_then(|c| c.timeout_seconds).and_then(|s| u32::try_from(s).ok());
            Some(seconds.filter(|s| *s > 0).unwrap_or(DEFAULT_AFFINITY_SECONDS))
        }
        Some(other) => {
            notices.warn("spec.sessionAffinity", format!("{other:?} is neither None nor ClientIP; None is used"));
            None
        }
    }
}

fn policy(text: Option<&str>, field: &str, notices: &mut Notices) -> TrafficPolicy {
    match text {
        None | Some("" | "Cluster") => TrafficPolicy::Cluster,
        Some("Local") => TrafficPolicy::Local,
        Some(other) => {
            notices.warn(field, format!("{other:?} is neither Cluster nor Local; Cluster is used"));
            TrafficPolicy::Cluster
        }
    }
}

/// A slice without the Service label, or with names instead of addresses, is none of ours: no notice.
fn slice(object: &objects::EndpointSlice, names: &mut Names, notices: &mut Notices) -> Option<Slice> {
    let service = object.metadata.labels.get(SERVICE_NAME_LABEL).filter(|name| !name.is_empty())?;
    let family = match object.address_type.as_str() {
        "IPv4" => Family::V4,
        "IPv6" => Family::V6,
        _ => return None,
    };
    let namespace: Arc<str> = object.metadata.namespace().into();
    let endpoints = object.endpoints.iter().enumerate().filter_map(|(index, endpoint)| {
        let text = endpoint.addresses.first()?;
        let address = parse_address(text).filter(|a| Family::of(*a) == family);
        if address.is_none() {
            notices.refuse(format!("endpoints[{index}].addresses[0]"), format!("{text:?} is no {family} address"));
        }
        Some(endpoint_facts(address?, endpoint, names))
    });
    let endpoints = endpoints.collect();
    let ports = object.ports.iter().filter_map(|port| {
        let number = port.port.and_then(port_number)?;
        let name = port.name.as_deref().unwrap_or_default().into();
        Some(SlicePort { name, protocol: protocol(port.protocol.as_deref())?, port: number })
    });
    Some(Slice {
        id: SliceId { namespace: namespace.clone(), name: object.metadata.name.as_str().into() },
        service: ServiceId { namespace, name: service.as_str().into() },
        ports: ports.collect(),
        endpoints,
    })
}

/// Absent conditions mean ready, serving, not terminating (discovery.k8s.io/v1).
fn endpoint_facts(address: IpAddr, endpoint: &objects::SliceEndpoint, names: &mut Names) -> EndpointFacts {
    let hints = endpoint.hints.as_ref();
    EndpointFacts {
        address,
        ready: endpoint.conditions.ready.unwrap_or(true),
        serving: endpoint.conditions.serving.unwrap_or(true),
        terminating: endpoint.conditions.terminating.unwrap_or(false),
        node: endpoint.node_name.as_deref().map(|name| names.intern(name)),
        pod: endpoint.target_ref.as_ref().filter(|t| t.kind == "Pod").map(|t| t.name.as_str().into()),
        zone_hints: hints.map(|h| h.for_zones.iter().map(|z| names.intern(&z.name)).collect()).unwrap_or_default(),
        node_hints: hints.map(|h| h.for_nodes.iter().map(|n| names.intern(&n.name)).collect()).unwrap_or_default(),
    }
}

/// Node and zone names: few, and many times the same.
#[derive(Debug, Default)]
struct Names {
    known: BTreeSet<Arc<str>>,
    /// How many there were when those nobody uses were last forgotten
    kept: usize,
}

impl Names {
    fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if self.known.len() > 2 * self.kept + 64 {
            // Nodes come and go for years.
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.kept = self.known.len();
        }
        let name: Arc<str> = name.into();
        self.known.insert(name.clone());
        name
    }
}

fn node(object: &objects::Node, notices: &mut Notices) -> Node {
    let zone = object.metadata.labels.get(ZONE_LABEL).filter(|z| !z.is_empty()).map(|z| z.as_str().into());
    let of_type = |wanted: &str| {
        let matching = object.status.addresses.iter().filter(|a| a.type_ == wanted);
        matching.map(|a| a.address.clone()).collect::<Vec<_>>()
    };
    // As kube-proxy has it: internal addresses first, external ones after them.
    let texts = [of_type("InternalIP"), of_type("ExternalIP")].concat();
    let addresses = addresses(&texts, "status.addresses", notices);
    let single: Vec<String> = object.spec.pod_cidr.iter().cloned().collect();
    let cidrs = if object.spec.pod_cidrs.is_empty() { &single } else { &object.spec.pod_cidrs };
    let pod_cidrs = ranges(cidrs, "spec.podCIDRs", notices);
    Node { name: object.metadata.name.as_str().into(), addresses, zone, pod_cidrs, interface_addresses: Vec::new() }
}

fn addresses(texts: &[String], field: &str, notices: &mut Notices) -> Vec<IpAddr> {
    let mut valid = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match parse_address(text) {
            Some(address) if valid.contains(&address) => {}
            Some(address) => valid.push(address),
            None => notices.refuse(format!("{field}[{index}]"), format!("{text:?} is no IP address")),
        }
    }
    valid
}

fn ranges(texts: &[String], field: &str, notices: &mut Notices) -> Vec<IpNet> {
    let mut valid = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match parse_range(text) {
            Some(range) => valid.push(range),
            None => notices.refuse(format!("{field}[{index}]"), format!("{text:?} is no range such as 10.0.0.0/8")),
        }
    }
    valid
}

fn protocol(text: Option<&str>) -> Option<Protocol> {
    text.filter(|t| !t.is_empty()).map_or(Some(Protocol::Tcp), Protocol::parse)
}

fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|n| *n != 0)
}

/// Letters that are safe in nft names and comments, and a length that fits: what Kubernetes allows, no more.
fn is_plain_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (1..=63).contains(&name.len()) && name.bytes().all(plain)
}
