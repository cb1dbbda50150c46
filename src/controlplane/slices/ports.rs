use crate::objects::{Container, ContainerPort, IntOrString, Pod, ServicePort, SlicePort};

/// A protocol, with the API's default.
pub(super) fn protocol(protocol: Option<&str>) -> &str {
    protocol.filter(|p| !p.is_empty()).unwrap_or("TCP")
}

/// Where a service port leads in a Pod: its target port's number, or the number that the Pod gives to the name. `None`
/// if the Pod has no port of that name and protocol.
pub(super) fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => container_ports(pod)
            .find(|candidate| candidate.name.as_deref() == Some(name) && speaks(candidate, port))
            .map(|candidate| candidate.container_port),
    }
}

/// The ports of the Pod's containers and sidecars (init containers that are always restarted, KEP-753).
pub(super) fn container_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = pod.spec.init_containers.iter().filter(is_sidecar);
    pod.spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports)
}

pub(super) fn speaks(candidate: &ContainerPort, port: &ServicePort) -> bool {
    protocol(candidate.protocol.as_deref()) == protocol(port.protocol.as_deref())
}

/// What the Pod has instead of a port that was not found: the names of its ports, near misses easily seen.
pub(super) fn names(port: &ServicePort, pod: &Pod) -> String {
    let shown = |candidate: &ContainerPort| {
        let name = candidate.name.as_deref()?;
        let other = protocol(candidate.protocol.as_deref());
        Some(if speaks(candidate, port) { format!("'{name}'") } else { format!("'{name}' for {other}") })
    };
    let names: Vec<String> = container_ports(pod).filter_map(shown).collect();
    if names.is_empty() { "it has no named ports".to_owned() } else { format!("it has: {}", names.join(", ")) }
}

/// A port of a slice.
pub(super) fn slice_port(port: &ServicePort, number: i32) -> SlicePort {
    SlicePort {
        name: Some(port.name.clone().unwrap_or_default()),
        protocol: Some(protocol(port.protocol.as_deref()).to_owned()),
        port: Some(number),
        app_protocol: port.app_protocol.clone(),
    }
}
