//! Services to try: each has a number, and by it addresses of every kind in both families.

use std::net::IpAddr;

use portolan::{
    lab::LabSpec,
    model::{
        EndpointFacts, Family, Frontend, PodDetector, Protocol, Service, ServiceId, ServicePort, ServiceType, Settings,
        Slice, SliceId, SlicePort, TrafficPolicy, World,
    },
};

use crate::support::{TARGET_PORT, node_address, pod};

/// The protocols that probes can speak.
pub const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// What a frontend is to its Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ClusterIp,
    ExternalIp,
    LoadBalancer,
    /// On the address of node-1
    NodePort,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::ClusterIp, Kind::ExternalIp, Kind::LoadBalancer, Kind::NodePort];

    /// The address that the Service of this number has.
    pub fn address(self, number: u8, family: Family) -> IpAddr {
        let text = match (self, family) {
            (Kind::ClusterIp, Family::V4) => format!("10.96.0.{number}"),
            (Kind::ClusterIp, Family::V6) => format!("fd00:96::{number}"),
            (Kind::ExternalIp, Family::V4) => format!("198.51.100.{number}"),
            (Kind::ExternalIp, Family::V6) => format!("fd00:51::{number}"),
            (Kind::LoadBalancer, Family::V4) => format!("203.0.113.{number}"),
            (Kind::LoadBalancer, Family::V6) => format!("fd00:203::{number}"),
            (Kind::NodePort, family) => return node_address(1, family),
        };
        text.parse().unwrap()
    }

    /// The frontend that the Service of this number has.
    pub fn frontend(self, number: u8, family: Family, protocol: Protocol) -> Frontend {
        let port = if self == Kind::NodePort { 30_000 + u16::from(number) } else { 80 };
        Frontend { address: self.address(number, family), protocol, port }
    }
}

/// All addresses of the Services with these numbers but node ports': what a load balancer or a router would send to a
/// node.
pub fn addresses(numbers: impl Iterator<Item = u8>) -> Vec<IpAddr> {
    let kinds = [Kind::ClusterIp, Kind::ExternalIp, Kind::LoadBalancer];
    numbers.flat_map(|n| kinds.map(|kind| Family::ALL.map(|family| kind.address(n, family))).concat()).collect()
}

/// Both families with each of the protocols that probes can speak.
pub fn families_and_protocols() -> impl Iterator<Item = (Family, Protocol)> {
    Family::ALL.into_iter().flat_map(|family| PROTOCOLS.map(|protocol| (family, protocol)))
}

/// What a slice says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
}

pub const READY: State = State { ready: true, serving: true, terminating: false };
pub const NOT_READY: State = State { ready: false, serving: false, terminating: false };
/// Terminating, and still answering
pub const LEAVING: State = State { ready: false, serving: true, terminating: true };

/// A dual-stack Service with frontends of every kind for TCP and UDP.
pub fn service(number: u8) -> Service {
    let of = |kind: Kind| Family::ALL.map(|family| kind.address(number, family)).to_vec();
    let port = |protocol: Protocol| ServicePort {
        name: protocol.nft().into(),
        protocol,
        port: 80,
        node_port: Some(30_000 + u16::from(number)),
    };
    Service {
        id: ServiceId::new("shop", &format!("web-{number}")),
        created: None,
        kind: ServiceType::LoadBalancer,
        proxied: true,
        cluster_ips: of(Kind::ClusterIp),
        external_ips: of(Kind::ExternalIp),
        load_balancer_ips: of(Kind::LoadBalancer),
        ports: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(port).to_vec(),
        affinity_seconds: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        source_ranges: Vec::new(),
        health_check_node_port: None,
    }
}

/// The EndpointSlices of a Service, one a family: pods of the lab by name, all on [`TARGET_PORT`].
pub fn slices(spec: &LabSpec, service: &Service, endpoints: &[(&str, State)]) -> Vec<Slice> {
    let ports = service.ports.iter().map(|port| SlicePort {
        name: port.name.clone(),
        protocol: port.protocol,
        port: TARGET_PORT,
    });
    let ports: Vec<SlicePort> = ports.collect();
    let slice = |family: Family| Slice {
        id: SliceId {
            namespace: service.id.namespace.clone(),
            name: format!("{}-{}", service.id.name, family.nft()).into(),
        },
        service: service.id.clone(),
        ports: ports.clone(),
        endpoints: endpoints.iter().map(|(name, state)| endpoint(spec, name, *state, family)).collect(),
    };
    Family::ALL.map(slice).to_vec()
}

fn endpoint(spec: &LabSpec, name: &str, state: State, family: Family) -> EndpointFacts {
    let pod = pod(spec, name);
    EndpointFacts {
        address: *pod.addresses.iter().find(|a| Family::of(**a) == family).unwrap(),
        ready: state.ready,
        serving: state.serving,
        terminating: state.terminating,
        node: Some(pod.node.as_str().into()),
        pod: Some(pod.name.as_str().into()),
        zone_hints: Box::new([]),
        node_hints: Box::new([]),
    }
}

/// A world without Services. Cluster IPs come from 10.96.0.0/16 and fd00:96::/64.
pub fn empty_world() -> World {
    let mut world = World::default();
    world.service_networks = vec!["10.96.0.0/16".parse().unwrap(), "fd00:96::/64".parse().unwrap()];
    world
}

/// A world of these Services with these endpoints.
pub fn world(spec: &LabSpec, services: &[(Service, Vec<(&str, State)>)]) -> World {
    let mut world = empty_world();
    for (service, endpoints) in services {
        slices(spec, service, endpoints).into_iter().for_each(|slice| world.put_slice(slice));
        world.services.insert(service.id.clone(), service.clone());
    }
    world
}

/// The usual settings: pods are recognised by the ranges that all of them live in.
pub fn settings() -> Settings {
    let ranges = vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/48".parse().unwrap()];
    Settings { detector: PodDetector::SourceRanges(ranges), masquerade_bit: 14, ..Settings::default() }
}
