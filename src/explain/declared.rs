//! Containers that declare ports, and not the one that a number leads to. A declaration is only words, and a process may
//! listen on more; but where every container of every endpoint declares others only, the number is most likely wrong.

use super::{
    Cause, Outcome, Stage,
    near::list,
    report::{Fault, Report},
    serve::Way,
};
use crate::{
    controlplane::{PodVerdict, declared, is_selected, verdict},
    objects::{Container, ContainerPort, IntOrString, Pod, Service, ServicePort},
};

/// Names of ports that stand beside the one that is served. Who declares nothing else has not declared that one.
const ASIDE: [&str; 6] = ["metrics", "prom", "health", "probe", "admin", "debug"];

/// What a number that nobody declares comes to.
pub(super) fn say(way: &Way<'_>, raw: &Service, port: &ServicePort, report: &mut Report) {
    if matches!(&port.target_port, Some(IntOrString::String(name)) if !name.is_empty()) {
        return;
    }
    let endpoints = report.prediction.endpoints.clone();
    let mut astray: Vec<(&Pod, String)> = Vec::new();
    for pod in way.scene.pods().filter(|pod| is_selected(raw, pod)) {
        let PodVerdict::Endpoint(address, number) = verdict(port, pod, way.port.family) else { continue };
        let is_used = endpoints.iter().any(|target| target.address == address && i32::from(target.port) == number);
        if let Some(has) = is_used.then(|| instead(port, pod, number)).flatten() {
            astray.push((pod, has));
        }
    }
    let (Some((pod, has)), Some(number)) = (astray.first(), endpoints.first().map(|target| target.port)) else {
        return;
    };
    let sure = |(pod, _): &(&Pod, String)| !declared(port, pod).is_empty() && !all_ports(pod).all(is_aside);
    let sure = astray.len() == endpoints.len() && astray.iter().all(sure);
    // Many who serve UDP and TCP on one port declare it for one of them.
    let other_protocol =
        astray.iter().any(|(pod, _)| all_ports(pod).any(|own| own.container_port == i32::from(number)));
    let fault = Fault::new(
        Stage::Endpoint,
        Cause::TargetPortNotDeclared,
        format!(
            "port {} of Service {} leads to targetPort {number}, which no container of Pod {}/{} declares for {} (it \
             declares {has}), so {} nothing listens there",
            port.port,
            way.plan.service.id,
            pod.metadata.namespace(),
            pod.metadata.name,
            way.port.id.protocol,
            if sure && !other_protocol { "probably" } else { "perhaps" }
        ),
        "correct spec.ports[].targetPort, or declare the port if a process does listen on it",
    );
    match (sure, other_protocol) {
        (_, true) => report.note(Stage::Endpoint, fault.because),
        (true, false) => report.breaks(fault, Outcome::Refused),
        (false, false) => report.remark(fault),
    }
}

/// What the containers declare instead of a number; nothing if one of them leaves open what it listens on.
fn instead(port: &ServicePort, pod: &Pod, number: i32) -> Option<String> {
    let own = declared(port, pod);
    let open = containers(pod).any(|container| container.ports.is_empty());
    if open || all_ports(pod).next().is_none() || own.iter().any(|(declared, _)| *declared == number) {
        return None;
    }
    let shown = |port: &ContainerPort| {
        let protocol = port.protocol.as_deref().filter(|p| !p.is_empty()).unwrap_or("TCP");
        format!("{}/{protocol}", port.container_port)
    };
    let own: Vec<String> = own.into_iter().map(|(_, text)| text).collect();
    let others: Vec<String> = all_ports(pod).map(shown).collect();
    Some(if own.is_empty() { list(&others) } else { list(&own) })
}

/// The containers and sidecars (init containers that are always restarted, KEP-753).
fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    pod.spec.containers.iter().chain(pod.spec.init_containers.iter().filter(is_sidecar))
}

fn all_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    containers(pod).flat_map(|container| &container.ports)
}

fn is_aside(port: &ContainerPort) -> bool {
    port.name.as_deref().is_some_and(|name| ASIDE.iter().any(|aside| name.contains(aside)))
}
