//! The ports of a Service.

use std::collections::BTreeSet;

use super::{Faults, names, service::is_headless};
use crate::objects::{IntOrString, ServicePort, ServiceSpec};

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// A port's protocol, with the API's default.
fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().filter(|p| !p.is_empty()).unwrap_or("TCP")
}

/// A port number.
pub(super) fn number(port: i32) -> Result<(), String> {
    if (1..=65535).contains(&port) { Ok(()) } else { Err(format!("{port} is outside 1-65535")) }
}

/// Refuses protocols that Services cannot have.
pub(super) fn check_protocol(field: &str, protocol: Option<&str>, faults: &mut Faults<'_>) {
    let Some(given) = protocol.filter(|p| !p.is_empty() && !PROTOCOLS.contains(p)) else { return };
    let hint = match given.to_uppercase() {
        upper if PROTOCOLS.contains(&upper.as_str()) => format!("; write {upper}"),
        _ => String::new(),
    };
    faults.refuse(field, format!("{} is none of {}{hint}", names::shown(given), PROTOCOLS.join(", ")));
}

pub(super) fn check(spec: &ServiceSpec, faults: &mut Faults<'_>) {
    let mut seen = Seen::default();
    let several = spec.ports.len() > 1;
    for (i, port) in spec.ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{i}].{name}");
        match port.name.as_deref().unwrap_or_default() {
            "" if several => faults.refuse(field("name"), "missing; if there are several ports, each needs a name"),
            "" => {}
            name => {
                faults.check(field("name"), names::label(name));
                if !seen.names.insert(name) {
                    faults.refuse(field("name"), format!("{} stands twice", names::shown(name)));
                }
            }
        }
        faults.check(field("port"), number(port.port));
        check_protocol(&field("protocol"), port.protocol.as_deref(), faults);
        if !seen.ports.insert((protocol(port), port.port)) {
            faults.refuse(field("port"), format!("{} {} stands twice", protocol(port), port.port));
        }
        match &port.target_port {
            // The API server reads 0 and the empty name as "the same as port".
            None | Some(IntOrString::Int(0)) => {}
            Some(IntOrString::String(name)) if name.is_empty() => {}
            Some(IntOrString::Int(target)) => {
                faults.check(field("targetPort"), number(*target));
            }
            Some(IntOrString::String(name)) => {
                faults.check(field("targetPort"), names::port(name));
            }
        }
        if let Some(app) = &port.app_protocol {
            faults.check(field("appProtocol"), names::qualified(app));
        }
        check_node_port(spec, i, port, &mut seen, faults);
    }
}

/// What has come up in a Service's ports so far.
#[derive(Default)]
struct Seen<'a> {
    names: BTreeSet<&'a str>,
    ports: BTreeSet<(&'a str, i32)>,
    node_ports: BTreeSet<(&'a str, i32)>,
}

/// The range of node ports is the allocator's to check.
fn check_node_port<'a>(
    spec: &ServiceSpec,
    index: usize,
    port: &'a ServicePort,
    seen: &mut Seen<'a>,
    faults: &mut Faults<'_>,
) {
    let field = format!("spec.ports[{index}].nodePort");
    let Some(node_port) = port.node_port.filter(|port| *port != 0) else { return };
    if !matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) {
        let hint = if is_headless(spec) { "" } else { "; write type: NodePort" };
        faults.refuse(&field, format!("only for Services of type NodePort and LoadBalancer{hint}"));
    }
    if !seen.node_ports.insert((protocol(port), node_port)) {
        faults.refuse(&field, format!("{} {node_port} stands twice", protocol(port)));
    }
}
