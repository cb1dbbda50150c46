//! From a service port to the frontend that a client dials for it.

use super::{
    Cause, Mark, Outcome, PortRef, Question, Scene, Stage,
    client::{Client, Role},
    report::{Fault, Report},
    service::to_frontend,
};
use crate::{
    compile::{FrontendKind, OwnFrontend, frontends},
    model::{Family, Service, ServicePort, ServiceType},
};

/// Chooses the frontend that this client would dial for a port, and walks on from there.
pub(super) fn dial(
    service: &Service,
    port: &ServicePort,
    question: &Question,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) {
    let index = service.ports.iter().position(|other| other == port);
    let own: Vec<OwnFrontend> = frontends(service, &scene.world.node, &scene.settings)
        .into_iter()
        .filter(|own| Some(own.port) == index && client.speaks(own.frontend.family()))
        .collect();
    if own.is_empty() {
        report.breaks(other_family(service, client), Outcome::NoAddress);
        return;
    }
    let is_node_port = |number: u16| port.node_port == Some(number) && port.port != number;
    let by_node_port = matches!(question.dialled.port, Some(PortRef::Number(number)) if is_node_port(number));
    let raw = scene.service(&service.id);
    let pending = raw.and_then(|raw| scene.pending(raw));
    if let (Role::Outside, Some((reason, remedy)), false) = (client.role, pending, by_node_port) {
        let because = format!("the external address of Service {} is pending: {reason}", service.id);
        let node_port = scene.node_port(&service.id, port);
        let meanwhile = node_port.map(|own| format!("; meanwhile {own} is its node port")).unwrap_or_default();
        let remedy = format!("{remedy}{meanwhile}");
        report.breaks(Fault::new(Stage::Frontend, Cause::AddressPending, because, remedy), Outcome::NoAddress);
        return;
    }
    let order: &[FrontendKind] = match client.role {
        Role::Outside if by_node_port => &[FrontendKind::NodePort],
        Role::Outside => {
            &[FrontendKind::LoadBalancer, FrontendKind::ExternalIp, FrontendKind::NodePort, FrontendKind::ClusterIp]
        }
        _ => &[FrontendKind::ClusterIp],
    };
    let of_kind =
        |kind: &FrontendKind| -> Vec<OwnFrontend> { own.iter().filter(|own| own.kind == *kind).cloned().collect() };
    let Some(candidates) = order.iter().map(of_kind).find(|of_kind| !of_kind.is_empty()) else { return };
    let balancer = balancer(service, scene).filter(|_| client.is_stranger(scene) && !by_node_port);
    match (balancer, candidates[0].kind) {
        (Some(balancer), FrontendKind::ClusterIp) => {
            report.prediction.outcome = Outcome::Passed;
            report.works = format!(
                "clients outside dial {balancer}, the load balancer of Service {}, which takes their packets and finds its own way to the endpoints",
                service.id
            );
        }
        (Some(balancer), FrontendKind::NodePort) => {
            report.note(
                Stage::Frontend,
                format!(
                    "clients outside dial {balancer}, the load balancer's, which passes connections on to the node port"
                ),
            );
            by_family(&candidates, service, client, scene, report);
            report.works += &format!("; clients outside dial {balancer}, the load balancer's");
        }
        _ => by_family(&candidates, service, client, scene, report),
    }
}

/// The addresses of a load balancer that does not leave its packets as they are: a name, or such with ipMode Proxy. None if
/// it has others.
fn balancer(service: &Service, scene: &Scene) -> Option<String> {
    let raw = scene.service(&service.id).filter(|_| service.kind == ServiceType::LoadBalancer)?;
    let ingress = &raw.status.load_balancer.ingress;
    let all: Vec<&str> = ingress.iter().filter_map(|one| one.hostname.as_deref().or(one.ip.as_deref())).collect();
    (service.load_balancer_ips.is_empty() && !all.is_empty()).then(|| all.join(", "))
}

fn other_family(service: &Service, client: &Client) -> Fault {
    let families: Vec<String> = service.cluster_ips.iter().map(|ip| Family::of(*ip).to_string()).collect();
    let because = format!(
        "Service {} has {} addresses only, and the client, {}, has {} only",
        service.id,
        families.join(" and "),
        client.label,
        client.addresses.first().map_or(String::new(), |own| Family::of(*own).to_string())
    );
    let remedy = "set spec.ipFamilyPolicy: PreferDualStack and spec.ipFamilies, or ask from a client of that family";
    Fault::new(Stage::Frontend, Cause::OtherFamily, because, remedy)
}

/// Walks the first frontend of each family. Clients get the addresses of both, and turn to the other if one fails: it works
/// if either does.
fn by_family(candidates: &[OwnFrontend], service: &Service, client: &Client, scene: &Scene, report: &mut Report) {
    let first = candidates.first();
    let other = first.and_then(|first| candidates.iter().find(|o| o.frontend.family() != first.frontend.family()));
    let walked = |own: &OwnFrontend| {
        let mut aside = Report::new(String::new());
        to_frontend(&own.frontend, own.kind, &service.id, client, scene, &mut aside);
        aside
    };
    let Some(first) = first else { return };
    let main = walked(first);
    let Some(other) = other else { return report.absorb(main) };
    let second = walked(other);
    let (main, rest, failed) = match (main.is_broken(), second.is_broken()) {
        (true, false) => (second, main, first),
        _ => (main, second, other),
    };
    let is_broken = main.is_broken();
    report.absorb(main);
    if let Some(fault) = rest.into_first().filter(|_| !is_broken) {
        let because = format!(
            "clients that take the {} address of Service {}, {}, get nothing there and have to turn to the other: {}",
            failed.frontend.family(),
            service.id,
            failed.frontend,
            fault.because
        );
        let fault = Fault { because, ..fault };
        // Where the first address works, hardly anybody ever dials the other.
        match failed == first {
            true => report.remark(fault),
            false => report.step(fault.stage, Mark::Warning, fault.because),
        }
    }
}
