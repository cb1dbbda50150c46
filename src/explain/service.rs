//! From a Service to the frontend that the client dials.

use std::net::IpAddr;

use super::{
    Cause, Outcome, PortRef, Question, Scene, Stage, alias,
    client::{Client, Role},
    dial::dial,
    headless,
    near::{self, list},
    report::{Fault, Report},
    serve::{Way, kind},
};
use crate::{
    compile::FrontendKind,
    model::{Frontend, Protocol, Service, ServiceId, ServicePort, ServiceType, Severity, Target},
    objects::IntOrString,
};

/// Walks on from a Service.
///
/// # Errors
/// The port is missing, and the Service has several.
pub(super) fn walk(
    id: &ServiceId,
    question: &Question,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) -> Result<(), String> {
    let Some(service) = scene.world.services.get(id) else {
        missing(id, scene, report);
        return Ok(());
    };
    report.good(Stage::Service, describe(service, scene));
    if service.kind == ServiceType::ExternalName {
        return alias::walk(service, question, client, scene, report);
    }
    if !service.proxied {
        let label = crate::objects::PROXY_NAME_LABEL;
        let proxy = scene.service(id).and_then(|raw| raw.metadata.labels.get(label)).map_or("", String::as_str);
        let because = format!(
            "Service {id} has the label {label}: {proxy}, so it is left to another proxy, and nothing here serves it"
        );
        let remedy = "remove the label, or look at that proxy";
        let outcome = service.cluster_ips.first().map_or(Outcome::Passed, |address| unclaimed(*address, scene));
        report.breaks(Fault::new(Stage::Service, Cause::OtherProxy, because, remedy), outcome);
        return Ok(());
    }
    if service.cluster_ips.is_empty() {
        return headless::walk(service, question, client, scene, report);
    }
    let port = match choose_port(service, question, client, scene)? {
        Ok(port) => port,
        Err(fault) => {
            let refused = scene.plan(id).is_some_and(|plan| !plan.cluster_ips.is_empty());
            report.breaks(fault, if refused { Outcome::Refused } else { Outcome::Passed });
            return Ok(());
        }
    };
    dial(service, port, question, client, scene, report);
    Ok(())
}

/// What becomes of packets to an address that is nobody's frontend here, for the cluster IPs of others.
pub(super) fn unclaimed(address: IpAddr, scene: &Scene) -> Outcome {
    let of_cluster = scene.world.service_networks.iter().any(|network| network.contains(&address));
    if of_cluster { Outcome::Dropped } else { Outcome::Passed }
}

/// The Service in a line.
fn describe(service: &Service, scene: &Scene) -> String {
    let raw = scene.service(&service.id);
    let target = |port: &ServicePort| {
        let raw = raw.and_then(|raw| super::absent::raw_port(raw, port));
        match raw.and_then(|raw| raw.target_port.as_ref()) {
            Some(IntOrString::Int(number)) if *number > 0 => format!(" -> {number}"),
            Some(IntOrString::String(name)) if !name.is_empty() => format!(" -> {name}"),
            _ => String::new(),
        }
    };
    let ports: Vec<String> = service.ports.iter().map(|port| format!("{}{}", shown(port), target(port))).collect();
    let selector = raw.map(|raw| near::labels(&raw.spec.selector)).filter(|selector| !selector.is_empty());
    let selector = selector.map_or("no selector".to_owned(), |selector| format!("selector {selector}"));
    format!("Service {}: type {}, ports {}; {selector}", service.id, service.kind, ports.join(", "))
}

/// `http 80/TCP`, `80/TCP`
pub(super) fn shown(port: &ServicePort) -> String {
    let name = if port.name.is_empty() { String::new() } else { format!("{} ", port.name) };
    format!("{name}{}/{}", port.port, port.protocol)
}

/// There is no such Service, or none that can be used.
pub(super) fn missing(id: &ServiceId, scene: &Scene, report: &mut Report) {
    let refused: Vec<String> = scene
        .said_of("Service", id, Severity::Refused)
        .map(|notice| match notice.field.as_str() {
            "" => notice.reason.clone(),
            field => format!("{field}: {}", notice.reason),
        })
        .collect();
    if !refused.is_empty() {
        let because = format!("Service {id} is refused: {}", list(&refused));
        report.breaks(Fault::new(Stage::Service, Cause::Invalid, because, "correct the object"), Outcome::NoAddress);
        return;
    }
    let namesakes: Vec<String> = near::namesakes(id, scene).iter().map(ToString::to_string).collect();
    let fault = match (namesakes.first(), near::service(id, scene)) {
        (Some(first), _) => {
            let namespace = first.split('/').next().unwrap_or_default();
            Fault::new(
                Stage::Service,
                Cause::OtherNamespace,
                format!("there is no Service {} in namespace {}, but {}", id.name, id.namespace, list(&namesakes)),
                format!("use the name {}.{namespace}", id.name),
            )
        }
        (None, Some(near)) => {
            let because = format!("there is no Service {id}");
            Fault::new(Stage::Service, Cause::NoSuchService, because, format!("is {near} meant?"))
        }
        (None, None) => {
            let because = format!("there is no Service {id}");
            Fault::new(
                Stage::Service,
                Cause::NoSuchService,
                because,
                "kubectl get services -A shows those that there are",
            )
        }
    };
    let unread = match scene.unread().next() {
        Some(notice) => format!(" (but not everything could be read, and it may be there: {notice})"),
        None => String::new(),
    };
    report.breaks(Fault { because: fault.because + &unread, ..fault }, Outcome::NoAddress);
}

/// The service port that is meant, or why there is none.
///
/// # Errors
/// None is given, and there are several.
pub(super) fn choose_port<'a>(
    service: &'a Service,
    question: &Question,
    client: &Client,
    scene: &Scene,
) -> Result<Result<&'a ServicePort, Fault>, String> {
    let all: Vec<String> = service.ports.iter().map(shown).collect();
    let asked = &question.dialled;
    let fits = |port: &&ServicePort| asked.protocol.is_none_or(|protocol| protocol == port.protocol);
    let found = match &asked.port {
        None => match service.ports.iter().filter(fits).collect::<Vec<_>>()[..] {
            [only] => return Ok(Ok(only)),
            _ => {
                let id = &service.id;
                return Err(match all.is_empty() {
                    true => format!("Service {id} has no ports: say which, as {id}:PORT"),
                    false => format!("Service {id} has the ports {}: say which, as {id}:PORT", all.join(", ")),
                });
            }
        },
        Some(PortRef::Number(number)) => {
            let of_number = |port: &&ServicePort| port.port == *number;
            let of_node = |port: &&ServicePort| port.node_port == Some(*number);
            let by_number = service.ports.iter().filter(of_number).find(fits);
            // Who dials a node port by the Service's name means a node: from outside the Service has no other address.
            let of_node = || service.ports.iter().filter(of_node).find(fits);
            by_number.or_else(|| of_node().filter(|_| client.role == Role::Outside))
        }
        Some(PortRef::Name(name)) => service.ports.iter().filter(|port| *port.name == **name).find(fits),
    };
    Ok(found.ok_or_else(|| no_port(service, question, &all, scene)))
}

fn no_port(service: &Service, question: &Question, all: &[String], scene: &Scene) -> Fault {
    let id = &service.id;
    let asked = match &question.dialled.port {
        Some(PortRef::Number(number)) => number.to_string(),
        Some(PortRef::Name(name)) => name.clone(),
        None => String::new(),
    };
    let is_asked = |port: &&ServicePort| port.port.to_string() == asked || *port.name == *asked;
    if let Some(other) = service.ports.iter().find(is_asked) {
        let protocol = question.dialled.protocol.unwrap_or(Protocol::Tcp);
        let because = format!("Service {id} has port {asked} for {}, not for {protocol}", other.protocol);
        let remedy = format!("dial {asked}/{}, or add the port for {protocol}", other.protocol);
        return Fault::new(Stage::Service, Cause::OtherProtocol, because, remedy);
    }
    let targets = scene.service(id).into_iter().flat_map(|raw| &raw.spec.ports);
    let target = targets.into_iter().find(|raw| match &raw.target_port {
        Some(IntOrString::Int(number)) => number.to_string() == asked,
        Some(IntOrString::String(name)) => *name == asked,
        None => false,
    });
    let of_node = service.ports.iter().find(|port| port.node_port.is_some_and(|own| own.to_string() == asked));
    let remedy = match (target, of_node, near::dial_one(all)) {
        (_, Some(port), _) => {
            let node = scene.world.node.addresses.iter().chain(&scene.world.node.interface_addresses).next();
            let at =
                node.map(|address| format!(", as {}", Target { address: *address, port: port.node_port.unwrap_or(0) }));
            let at = at.unwrap_or_default();
            format!("{asked} is the node port of port {}: dial {}, or a node's address{at}", port.port, port.port)
        }
        (Some(raw), None, _) => format!("{asked} is the targetPort of port {}: dial {}", raw.port, raw.port),
        (None, None, Some(instead)) => format!("{instead}, or add the port to spec.ports"),
        (None, None, None) => "add the port to spec.ports".to_owned(),
    };
    let has = if all.is_empty() { "no port at all".to_owned() } else { all.join(", ") };
    let because = format!("Service {id} has no port {asked}; it has {has}");
    Fault::new(Stage::Service, Cause::NoSuchPort, because, remedy)
}

/// Walks on from a frontend that a Service asks for.
pub(super) fn to_frontend(
    frontend: &Frontend,
    what: FrontendKind,
    id: &ServiceId,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) {
    let Some(plan) = scene.plan(id) else { return };
    if what == FrontendKind::ClusterIp && client.is_stranger(scene) {
        let because = format!("{} is a cluster IP, and routes outside the cluster seldom lead to it", frontend.address);
        let remedy = "for clients outside the Service needs a node port, an external IP or a load balancer";
        report.remark(Fault::new(Stage::Frontend, Cause::ClusterOnly, because, remedy));
    }
    let of_port =
        plan.ports.iter().find_map(|port| Some((port, port.frontends.iter().find(|f| f.frontend == *frontend)?)));
    if let Some((port, frontend)) = of_port {
        Way { scene, client, plan: &plan, port, frontend }.walk(report);
        return;
    }
    let owner = plan.lost.iter().find(|lost| lost.frontend == *frontend).map(|lost| &lost.owner);
    let Some(owner) = owner else { return };
    let first = scene.why_first(frontend, what, owner, id);
    let because = format!(
        "{frontend}, {} of Service {id}, belongs to Service {owner}, {first}: connections go there",
        kind(what)
    );
    let remedy = "give one of the two another address or port";
    report.breaks(Fault::new(Stage::Frontend, Cause::FrontendTaken, because, remedy), Outcome::Answered);
    // What the client meets is the other Service.
    let mut other = Report::new(String::new());
    to_frontend(frontend, what, owner, client, scene, &mut other);
    report.prediction = other.prediction;
}
