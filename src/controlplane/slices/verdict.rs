//! Why a Pod is an endpoint of a service port, or is not: the questions that [`super::from_pods`] asks, one Pod at a time.

use std::net::IpAddr;

use super::{
    pods::{address_of, addresses, has_ended},
    ports::{container_ports, names, speaks, target},
};
use crate::{
    model::Family,
    objects::{IntOrString, Pod, Service, ServicePort},
};

/// What a Pod that a Service selects is to one of its ports in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodVerdict {
    /// An endpoint at this address and port, ready or not
    Endpoint(IpAddr, i32),
    /// It has ended for good: its phase
    Ended(String),
    /// It has no address: its phase, if that is known
    NoAddress(Option<String>),
    /// It has addresses of the other family only
    OtherFamily,
    /// It has no port of the target port's name
    NoPort {
        /// The name
        wanted: String,
        /// The names that it has, in words
        has: String,
    },
}

/// Whether a Service selects a Pod. A Service without a selector selects none.
pub fn is_selected(service: &Service, pod: &Pod) -> bool {
    let selector = &service.spec.selector;
    let carries = |(key, value): (&String, &String)| pod.metadata.labels.get(key) == Some(value);
    !selector.is_empty() && service.metadata.namespace() == pod.metadata.namespace() && selector.iter().all(carries)
}

/// The verdict on a Pod that the Service of this port selects.
pub fn verdict(port: &ServicePort, pod: &Pod, family: Family) -> PodVerdict {
    if has_ended(pod) {
        return PodVerdict::Ended(pod.status.phase.clone().unwrap_or_default());
    }
    match (address_of(pod, family), target(port, pod)) {
        (None, _) if addresses(pod).next().is_none() => PodVerdict::NoAddress(pod.status.phase.clone()),
        (None, _) => PodVerdict::OtherFamily,
        (Some(address), Some(number)) => PodVerdict::Endpoint(address, number),
        (Some(_), None) => {
            let wanted = match &port.target_port {
                Some(IntOrString::String(name)) => name.clone(),
                _ => String::new(),
            };
            PodVerdict::NoPort { wanted, has: names(port, pod) }
        }
    }
}

/// The ports that a Pod's containers declare for the protocol of a service port, as `http 8080` or `8080`. Only words: a
/// process may listen on others.
pub fn declared(port: &ServicePort, pod: &Pod) -> Vec<(i32, String)> {
    let shown = |number: i32, name: Option<&str>| match name {
        Some(name) if !name.is_empty() => format!("{name} {number}"),
        _ => number.to_string(),
    };
    let ports = container_ports(pod).filter(|candidate| speaks(candidate, port));
    ports.map(|p| (p.container_port, shown(p.container_port, p.name.as_deref()))).collect()
}
