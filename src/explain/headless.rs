//! Services that are only names: headless ones, and aliases.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Cause, Host, Mark, NameAnswer, Outcome, PortRef, Question, Scene, Stage,
    absent::{Absent, who},
    client::{Client, Role},
    near::{count, list},
    report::{Fault, Report},
    serve::inside_only,
    service::choose_port,
};
use crate::{
    compile::{Selection, Wanted, select},
    model::{Family, Service, ServicePort, Target},
};

/// An ExternalName Service: for a client that dials its name, a way to another one; it has nothing else to be dialled.
pub(super) fn external_name(service: &Service, question: &Question, scene: &Scene, report: &mut Report) {
    let raw = scene.service(&service.id);
    let name = raw.and_then(|raw| raw.spec.external_name.clone()).unwrap_or_default();
    let alias = match &question.resolution {
        Some(resolution) => format!("{} is an alias (CNAME) of {name}", resolution.name),
        None => format!("its name is an alias (CNAME) of {name}"),
    };
    if !matches!(question.dialled.host, Host::Name(_)) {
        let because = format!("Service {} is of type ExternalName: it has no address of its own, {alias}", service.id);
        let remedy = format!("let clients dial the name, or {name} itself");
        report.breaks(Fault::new(Stage::Service, Cause::ExternalName, because, remedy), Outcome::NoAddress);
        return;
    }
    report.note(Stage::Service, "an alias has no address and no port: nothing of it is in the data plane");
    report.prediction.outcome = Outcome::Passed;
    report.works =
        format!("Service {} is of type ExternalName: {alias}; connections go wherever that name leads", service.id);
}

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
    let chosen = match choose_port(service, question, scene)? {
        Ok(port) => Ok(port),
        // Who dials a Pod directly dials its own port, whatever the Service says.
        Err(fault) => {
            let by_target = service.ports.iter().find(by_target);
            // Of a port that nobody has anyway it matters more why there is nobody.
            let any = || service.ports.first().filter(|port| targets_of(service, port, scene).is_empty());
            by_target.or_else(any).ok_or(fault)
        }
    };
    let port = match chosen {
        Ok(port) => port,
        Err(fault) => {
            report.breaks(fault, Outcome::Refused);
            return Ok(());
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
    let named: Option<Vec<IpAddr>> = match question.resolution.as_ref().map(|resolution| &resolution.answer) {
        Some(NameAnswer::Addresses(addresses)) => Some(addresses.clone()),
        _ => None,
    };
    let mut all: Vec<String> = Vec::new();
    for family in Family::ALL {
        for judged in &selection(service, port, family, scene).judged {
            let (mark, text) = match judged.facts.ready {
                true => (Mark::Good, "its address is in the answer: ready"),
                false => (Mark::Warning, "its address is not in the answer: not ready"),
            };
            report.step(Stage::Endpoint, mark, format!("{}: {text}", who(judged, id)));
            all.extend(judged.facts.ready.then(|| who(judged, id)));
        }
    }
    let targets = targets_of(service, port, scene);
    let reached: BTreeSet<Target> = targets
        .iter()
        .filter(|target| named.as_ref().is_none_or(|named| named.contains(&target.address)))
        .filter(|target| client.speaks(Family::of(target.address)))
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
    if client.role == Role::Outside {
        report.remark(inside_only("the name leads to addresses of pods"));
    }
    report.prediction.outcome = Outcome::Answered;
    report.works = format!(
        "Service {id} is headless: its name leads directly to {}: {}; nothing is translated",
        count(reached.len(), "ready endpoint"),
        list(&all)
    );
    report.prediction.endpoints = reached;
}
