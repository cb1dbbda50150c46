//! What names are made of, taken from objects. What cannot be used is left out here, and costs nothing behind.

use std::net::IpAddr;

use super::{Port, Target, label};
use crate::{
    model::{Protocol, parse_address},
    objects::{EndpointSlice, Pod, SERVICE_NAME_LABEL, Service, SliceEndpoint},
};

/// A Service, as far as names go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceFacts {
    pub shape: Shape,
    /// In ascending order, each once
    pub ports: Box<[Port]>,
}

/// What a Service can publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing: without a cluster IP yet, not selected, or an alias that cannot be one
    Nothing,
    /// In ascending order, each once
    ClusterIp(Box<[IpAddr]>),
    Headless,
    Alias(Target),
}

/// An EndpointSlice that publishes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SliceFacts {
    /// Its name
    pub name: Box<str>,
    /// In ascending order, each once
    pub ports: Box<[Port]>,
    /// Ready ones alone; never empty
    pub endpoints: Box<[EndpointFacts]>,
}

/// One address of a ready endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndpointFacts {
    pub address: IpAddr,
    pub hostname: Option<Box<str>>,
    pub pod: Option<Box<str>>,
}

impl ServiceFacts {
    /// What a Service's object says; `selected` is whether the operator wants it published.
    pub fn read(service: &Service, selected: bool) -> Self {
        let shape = if selected { shape(service) } else { Shape::Nothing };
        let port = |name: &Option<String>, protocol: &Option<String>, number| port(name, protocol, Some(number));
        let ports = service.spec.ports.iter().filter_map(|p| port(&p.name, &p.protocol, p.port));
        Self { shape, ports: sorted(ports) }
    }
}

/// The cluster IPs of a Service, in ascending order, each once.
pub(super) fn cluster_ips(service: &Service) -> Box<[IpAddr]> {
    sorted(texts(service).filter_map(parse_address))
}

/// `clusterIPs`, else `clusterIP` (1.1).
fn texts(service: &Service) -> impl Iterator<Item = &str> {
    let several = service.spec.cluster_ips.iter().map(String::as_str);
    let one = service.spec.cluster_ip.as_deref().filter(|_| service.spec.cluster_ips.is_empty());
    several.chain(one)
}

fn shape(service: &Service) -> Shape {
    if service.spec.type_.as_deref() == Some("ExternalName") {
        return service.spec.external_name.as_deref().and_then(target).map_or(Shape::Nothing, Shape::Alias);
    }
    if texts(service).any(|text| text == "None") {
        return Shape::Headless;
    }
    match cluster_ips(service) {
        none if none.is_empty() => Shape::Nothing,
        addresses => Shape::ClusterIp(addresses),
    }
}

/// The target of an alias. An address is none (1.8), nor is the root.
fn target(text: &str) -> Option<Target> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() || parse_address(bare).is_some() {
        return None;
    }
    bare.parse().ok()
}

impl SliceFacts {
    /// What a slice publishes, and the name of the Service it belongs to. Nothing for slices without that label, of
    /// names instead of addresses (`FQDN`), and without ready endpoints.
    pub fn read(slice: &EndpointSlice) -> Option<(&str, Self)> {
        let service = slice.metadata.labels.get(SERVICE_NAME_LABEL).filter(|name| !name.is_empty())?;
        if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
            return None;
        }
        // Absent means ready; serving and terminating are not asked (1.4).
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
        let endpoints: Box<[_]> = ready.flat_map(endpoints).collect();
        if endpoints.is_empty() {
            return None;
        }
        let ports = sorted(slice.ports.iter().filter_map(|p| port(&p.name, &p.protocol, p.port)));
        Some((service, Self { name: slice.metadata.name.as_str().into(), ports, endpoints }))
    }
}

fn endpoints(endpoint: &SliceEndpoint) -> impl Iterator<Item = EndpointFacts> {
    let named = |name: Option<&str>| name.and_then(label).map(Box::from);
    let hostname = named(endpoint.hostname.as_deref());
    let pod = named(endpoint.target_ref.as_ref().map(|target| target.name.as_str()));
    let addresses = endpoint.addresses.iter().filter_map(|text| parse_address(text));
    addresses.map(move |address| EndpointFacts { address, hostname: hostname.clone(), pod: pod.clone() })
}

/// Addresses of a live Pod. Nothing for one that has ended, or is about to (1.1).
pub(super) fn pod_addresses(pod: &Pod) -> Box<[IpAddr]> {
    let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed" | "Unknown"));
    if ended || pod.metadata.deletion_timestamp.is_some() {
        return Box::default();
    }
    let several = pod.status.pod_ips.iter().map(|ip| ip.ip.as_str());
    let one = pod.status.pod_ip.as_deref().filter(|_| pod.status.pod_ips.is_empty());
    sorted(several.chain(one).filter_map(parse_address))
}

/// A port with a number and a protocol that can be published. Without a protocol it is TCP.
fn port(name: &Option<String>, protocol: &Option<String>, number: Option<i32>) -> Option<Port> {
    let protocol = match protocol.as_deref() {
        None | Some("" | "TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) => return None,
    };
    let number = u16::try_from(number?).ok().filter(|number| *number != 0)?;
    Some(Port { name: name.as_deref().and_then(label).map(Box::from), protocol, number })
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Box<[T]> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items.into()
}
