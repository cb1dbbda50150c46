//! Headless Services: names that lead to endpoints directly.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Cause, Mark, NameAnswer, Outcome, PortRef, Question, Scene, Stage,
    absent::{Absent, who},
    client::Client,
    near::{count, list},
    report::{Fault, Report},
    service::choose_port,
};
use crate::{
    compile::{Selection, Wanted, select},
    model::{Family, Protocol, Service, ServicePort, Target},
    objects::Pod,
};

/// A Service without a cluster IP: clients connect to its endpoints directly.
///
/// # Errors
/// The port is missing, and the Service has several.
pub(super) fn walk(
    service: &Service,
    question: &Question,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) -> Result<(), String> {
    report.note(Stage::Service, "headless (clusterIP: None): its name has the addresses of its ready endpoints");
    let by_target = |port: &&ServicePort| {
        targets_of(service, port, scene)
            .iter()
            .any(|t| Some(&PortRef::Number(t.port)) == question.dialled.port.as_ref())
    };
    if let (true, Some(PortRef::Number(number))) = (service.ports.is_empty(), &question.dialled.port) {
        report.note(Stage::Service, "it names no ports: any port of its endpoints may be dialled");
        directly(service, *number, None, question, client, scene, report);
        return Ok(());
    }
    let port = match choose_port(service, question, client, scene)? {
        Ok(port) => port,
        // Who dials a Pod directly dials its own port, whatever the Service says.
        Err(fault) => {
            let by_target = service.ports.iter().find(by_target);
            // Of a port that nobody has anyway it matters more why there is nobody.
            let any = || service.ports.first().filter(|port| targets_of(service, port, scene).is_empty());
            match (by_target.or_else(any), &question.dialled.port) {
                (Some(port), _) => port,
                (None, Some(PortRef::Number(number))) => {
                    directly(service, *number, Some(fault), question, client, scene, report);
                    return Ok(());
                }
                (None, _) => {
                    report.breaks(fault, Outcome::Refused);
                    return Ok(());
                }
            }
        }
    };
    to_endpoints(service, port, question, client, scene, report);
    Ok(())
}

fn selection<'a>(service: &Service, port: &ServicePort, family: Family, scene: &'a Scene) -> Selection<'a> {
    let wanted = Wanted { all: true, local: false };
    select(port, family, scene.world.slices_of(&service.id), &scene.world.node, wanted)
}

/// Ready endpoints of a port in both families: those that the name has.
fn targets_of(service: &Service, port: &ServicePort, scene: &Scene) -> BTreeSet<Target> {
    let of_family = |family| {
        let selection = selection(service, port, family, scene);
        selection.judged.into_iter().filter(|judged| judged.facts.ready).map(|judged| judged.target).collect::<Vec<_>>()
    };
    Family::ALL.into_iter().flat_map(of_family).collect()
}

fn to_endpoints(
    service: &Service,
    port: &ServicePort,
    question: &Question,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) {
    let id = &service.id;
    let mut all: Vec<(Target, String)> = Vec::new();
    for family in Family::ALL {
        for judged in &selection(service, port, family, scene).judged {
            let (mark, text) = match judged.facts.ready {
                true => (Mark::Good, "its address is in the answer: ready"),
                false => (Mark::Warning, "its address is not in the answer: not ready"),
            };
            report.step(Stage::Endpoint, mark, format!("{}: {text}", who(judged, id)));
            all.push((judged.target, who(judged, id)));
        }
    }
    let targets = targets_of(service, port, scene);
    let reached: BTreeSet<Target> = targets
        .iter()
        .filter(|target| is_named(target.address, question) && client.speaks(Family::of(target.address)))
        .copied()
        .collect();
    if reached.is_empty() {
        let family = Family::ALL.into_iter().find(|family| client.speaks(*family)).unwrap_or(Family::V4);
        let judged = selection(service, port, family, scene);
        let mut fault = Absent { scene, service, port, family, selection: &judged }.fault();
        fault.because = format!("the name of headless Service {id} has no address: {}", fault.because);
        report.breaks(fault, Outcome::NoAddress);
        return;
    }
    let dialled = match &question.dialled.port {
        Some(PortRef::Number(number)) => Some(*number),
        _ => None,
    };
    let ports: BTreeSet<u16> = reached.iter().map(|target| target.port).collect();
    if let Some(number) = dialled.filter(|number| !ports.contains(number)) {
        let shown: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let because = format!(
            "Service {id} is headless: its name leads to its endpoints directly, which listen on {}, not on the Service's port {number}",
            list(&shown)
        );
        let remedy =
            format!("dial port {}, or give the Service a cluster IP", shown.first().map_or("", String::as_str));
        report.breaks(Fault::new(Stage::Endpoint, Cause::Headless, because, remedy), Outcome::Refused);
        return;
    }
    let reached: BTreeSet<Target> =
        reached.into_iter().filter(|target| dialled.is_none_or(|number| number == target.port)).collect();
    let shown: Vec<String> =
        all.into_iter().filter(|(target, _)| reached.contains(target)).map(|(_, who)| who).collect();
    leads_to(service, reached, &shown, client, scene, report);
}

/// The end of the way: connections to these endpoints.
fn leads_to(
    service: &Service,
    reached: BTreeSet<Target>,
    shown: &[String],
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) {
    let id = &service.id;
    if client.is_stranger(scene) {
        let because =
            format!("Service {id} is headless, and routes outside the cluster seldom lead to addresses of Pods");
        let remedy = "for clients outside the Service needs a node port, an external IP or a load balancer";
        report.remark(Fault::new(Stage::Endpoint, Cause::ClusterOnly, because, remedy));
    }
    report.prediction.outcome = Outcome::Answered;
    report.works = format!(
        "Service {id} is headless: its name leads directly to {}: {}; nothing is translated",
        count(reached.len(), "ready endpoint"),
        list(shown)
    );
    report.prediction.endpoints = reached;
}

/// Whether DNS answers with this address; nobody asked DNS for an object's own sake.
fn is_named(address: IpAddr, question: &Question) -> bool {
    match question.resolution.as_ref().map(|resolution| &resolution.answer) {
        Some(NameAnswer::Addresses(named)) => named.contains(&address),
        _ => true,
    }
}

/// A port that the Service does not name, perhaps for this fault: packets go to the endpoints all the same.
fn directly(
    service: &Service,
    number: u16,
    fault: Option<Fault>,
    question: &Question,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) {
    let id = &service.id;
    let slices = scene.world.slices_of(id);
    let all: Vec<IpAddr> =
        slices.flat_map(|slice| &slice.endpoints).filter(|facts| facts.ready).map(|facts| facts.address).collect();
    let reached: BTreeSet<IpAddr> =
        all.into_iter().filter(|address| is_named(*address, question) && client.speaks(Family::of(*address))).collect();
    if reached.is_empty() {
        let because = format!("the name of headless Service {id} has no address for the client: no endpoint is ready");
        let remedy = format!("see the Pods that it selects: kubectl -n {} get pods", id.namespace);
        report.breaks(Fault::new(Stage::Endpoint, Cause::NotReady, because, remedy), Outcome::NoAddress);
        return;
    }
    let protocol = question.dialled.protocol.unwrap_or(Protocol::Tcp);
    let astray = reached.iter().filter_map(|address| declares_others(scene.pod_at(*address)?, number, protocol));
    let astray: Vec<String> = astray.collect();
    if astray.len() == reached.len() {
        let because = format!("probably nobody listens on port {number}: {}", list(&astray));
        let fault = match fault {
            Some(fault) => Fault { because: format!("{}; {because}", fault.because), ..fault },
            None => {
                let remedy = "dial a port that the Pods listen on, or declare this one";
                Fault::new(Stage::Endpoint, Cause::TargetPortNotDeclared, because, remedy)
            }
        };
        report.breaks(fault, Outcome::Refused);
        return;
    }
    if let Some(fault) = fault {
        report.remark(fault);
    }
    let targets: BTreeSet<Target> = reached.into_iter().map(|address| Target { address, port: number }).collect();
    let shown: Vec<String> = targets.iter().map(ToString::to_string).collect();
    leads_to(service, targets, &shown, client, scene, report);
}

/// Whether every container of a Pod declares ports, and none of them is this one: in words. A process may listen on more
/// than its container declares.
pub(super) fn declares_others(pod: &Pod, number: u16, protocol: Protocol) -> Option<String> {
    let containers = &pod.spec.containers;
    let mut ports: Vec<String> = Vec::new();
    for container in containers {
        for port in &container.ports {
            let own = port.protocol.as_deref().filter(|own| !own.is_empty()).unwrap_or("TCP");
            if port.container_port == i32::from(number) && own == protocol.to_string() {
                return None;
            }
            ports.push(format!("{}/{own}", port.container_port));
        }
    }
    let all_declare = !containers.is_empty() && containers.iter().all(|container| !container.ports.is_empty());
    let who = format!("Pod {}/{}", pod.metadata.namespace(), pod.metadata.name);
    all_declare.then(|| format!("{who} declares {}", list(&ports)))
}
