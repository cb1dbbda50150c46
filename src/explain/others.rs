//! What is to be known although it works: Pods that are left out, frontends of the same Service that do not work, and what
//! was said when the objects were read.

use super::{
    Cause, Mark, Stage,
    absent::{raw_port, see_why, who},
    declared,
    near::{self, count, list},
    report::{Fault, Report},
    serve::{Way, kind, of_list},
};
use crate::{
    compile::{Path, Sender, Use, path},
    controlplane::{PodVerdict, is_selected, verdict},
    model::Severity,
    tables::{DeadEnd, List},
};

/// Fields of whose warnings the walk itself says more.
const TOLD: [&str; 5] = ["spec.selector", "spec.ipFamilies", ".targetPort", "].name", "spec.loadBalancerIP"];

/// Endpoints and Pods that take no part, where others answer.
pub(super) fn of_endpoints(way: &Way<'_>, on: List, report: &mut Report) {
    let id = &way.plan.service.id;
    let judged = &way.port.selection.judged;
    let with = |wanted: Use| -> Vec<String> {
        judged.iter().filter(|j| of_list(j, on) == wanted).map(|j| who(j, id)).collect()
    };
    let last_resort = with(Use::LastResort);
    if !last_resort.is_empty() {
        report.remark(Fault::new(
            Stage::Endpoint,
            Cause::LastResort,
            format!(
                "no endpoint of Service {id}{} is ready; only terminating ones that still serve are left: {}",
                if on == List::Local { " on this node" } else { "" },
                list(&last_resort)
            ),
            "see why no successor is ready: kubectl get pods",
        ));
    }
    let not_ready: Vec<_> = judged.iter().filter(|j| of_list(j, on) == Use::NotReady && !j.facts.terminating).collect();
    let remedy = see_why(&not_ready, id);
    let not_ready: Vec<String> = not_ready.into_iter().map(|j| who(j, id)).collect();
    if !not_ready.is_empty() && last_resort.is_empty() {
        let (are, all) = (if not_ready.len() == 1 { "is" } else { "are" }, judged.len());
        report.remark(Fault::new(
            Stage::Endpoint,
            Cause::SomeNotReady,
            format!("{} of {all} endpoints of Service {id} {are} not ready: {}", not_ready.len(), list(&not_ready)),
            remedy,
        ));
    }
    of_pods(way, report);
}

fn of_pods(way: &Way<'_>, report: &mut Report) {
    let scene = way.scene;
    let id = &way.plan.service.id;
    let raw = scene.service(id).zip(way.service_port()).and_then(|(raw, port)| Some((raw, raw_port(raw, port)?)));
    let Some((raw, port)) = raw else { return };
    let (mut ended, mut waiting, mut other_family, mut no_port) = (vec![], vec![], vec![], vec![]);
    for pod in scene.pods().filter(|pod| is_selected(raw, pod)) {
        let whole = format!("Pod {}/{}", pod.metadata.namespace(), pod.metadata.name);
        match verdict(port, pod, way.port.family) {
            PodVerdict::Endpoint(..) => {}
            PodVerdict::Ended(phase) => ended.push(format!("{whole} ({phase})")),
            PodVerdict::NoAddress(_) => waiting.push(whole),
            PodVerdict::OtherFamily => other_family.push(whole),
            PodVerdict::NoPort { wanted, has } => no_port.push(format!("{whole} has no port named {wanted} ({has})")),
        }
    }
    for pod in ended {
        report.note(Stage::Endpoint, format!("{pod} has the labels, and has ended: no endpoint"));
    }
    for near in near::pods(raw, scene).into_iter().take(near::NAMED) {
        report.note(Stage::Endpoint, format!("{near}: not selected"));
    }
    if !waiting.is_empty() {
        let have = if waiting.len() == 1 { "has" } else { "have" };
        let because =
            format!("{} of Service {id} {have} no address yet: {}", count(waiting.len(), "Pod"), list(&waiting));
        report.remark(Fault::new(Stage::Endpoint, Cause::SomeNotReady, because, ""));
    }
    if !other_family.is_empty() {
        let because = format!(
            "{} of Service {id} without {} address are left out: {}",
            count(other_family.len(), "Pod"),
            way.port.family,
            list(&other_family)
        );
        report.remark(Fault::new(Stage::Endpoint, Cause::EndpointFamily, because, ""));
    }
    if !no_port.is_empty() {
        let because = format!("not every Pod of Service {id} has the port of targetPort's name: {}", list(&no_port));
        let remedy = "name the container's port so, or correct targetPort";
        report.remark(Fault::new(Stage::Endpoint, Cause::TargetPortName, because, remedy));
    }
    declared::say(way, raw, port, report);
}

/// The Service beyond what was asked.
pub(super) fn say(way: &Way<'_>, report: &mut Report) {
    other_frontends(way, report);
    contested(way, report);
    pending(way, report);
    for notice in way.scene.said_of("Service", &way.plan.service.id, Severity::Warning) {
        if TOLD.iter().any(|field| notice.field.contains(field)) {
            continue;
        }
        let field = if notice.field.is_empty() { String::new() } else { format!("{}: ", notice.field) };
        let because = format!("there is a warning about Service {}: {field}{}", way.plan.service.id, notice.reason);
        report.remark(Fault::new(Stage::Service, Cause::Invalid, because, ""));
    }
}

fn other_frontends(way: &Way<'_>, report: &mut Report) {
    if !report.is_broken()
        && way.client.role != super::client::Role::Outside
        && let Some(fault) = way.dropped_outside()
    {
        report.remark(fault);
    }
    for other in way.port.frontends.iter().filter(|other| other.frontend != way.frontend.frontend) {
        let outside = path(other, way.port, &Sender::default(), &way.scene.settings);
        let what = kind(other.kind);
        let text = match outside {
            Path::DeadEnd { verdict: DeadEnd::Drop, .. } => format!(
                "{} ({what}) drops clients outside the cluster on this node: externalTrafficPolicy: Local, and no endpoint here",
                other.frontend
            ),
            Path::Served { .. } => format!("{} ({what}) leads to it, too", other.frontend),
            _ => continue,
        };
        report.note(Stage::Frontend, text);
    }
}

fn contested(way: &Way<'_>, report: &mut Report) {
    let id = &way.plan.service.id;
    for lost in &way.plan.lost {
        let first = way.scene.why_first(&lost.frontend, lost.kind, &lost.owner, id);
        report.remark(Fault::new(
            Stage::Frontend,
            Cause::FrontendTaken,
            format!(
                "{}, {} of Service {id}, belongs to Service {}, {first}",
                lost.frontend,
                kind(lost.kind),
                lost.owner
            ),
            "give one of the two another address or port",
        ));
    }
    for (other, lost) in way.scene.lost_to(id) {
        if lost.frontend == way.frontend.frontend {
            report.remark(Fault::new(
                Stage::Frontend,
                Cause::FrontendTaken,
                format!("{} is claimed by Service {other}, too, which gets nothing of it", lost.frontend),
                "give one of the two another address or port",
            ));
        }
    }
}

fn pending(way: &Way<'_>, report: &mut Report) {
    let raw = way.scene.service(&way.plan.service.id);
    let Some((reason, remedy)) = raw.and_then(|raw| way.scene.pending(raw)) else { return };
    let because = format!("the external address of Service {} is pending: {reason}", way.plan.service.id);
    if report.is_broken() {
        report.step(Stage::Frontend, Mark::Warning, because);
    } else {
        let node_port = way.service_port().and_then(|port| way.scene.node_port(&way.plan.service.id, port));
        let meanwhile = node_port.map(|own| format!("; meanwhile {own} is its node port")).unwrap_or_default();
        let remedy = format!("{remedy}{meanwhile}");
        report.remark(Fault::new(Stage::Frontend, Cause::AddressPending, because, remedy));
    }
}
