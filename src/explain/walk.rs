//! The way as a whole.

use std::net::IpAddr;

use super::{
    Cause, Explanation, Host, Mark, NameAnswer, Outcome, PortRef, Question, Resolution, Scene, Source, Stage, address,
    client::Client,
    near::{self, list},
    report::{Fault, Report},
    scene, seen, service,
};
use crate::{
    model::{ServiceId, Severity},
    observed::Observed,
};

/// Walks the way of the first packet of a connection and says what comes of it. What was seen on the node is judged, too,
/// if something was.
///
/// # Errors
/// The question cannot be answered: there is no such client, or the port is missing.
pub fn explain(question: &Question, scene: &Scene, observed: Option<&Observed>) -> Result<Explanation, String> {
    let client = client(question, scene)?;
    let from = if client.assumed { String::new() } else { format!(" from {}", client.label) };
    let mut report = Report::new(format!("{}{from}", question.dialled));
    report.note(Stage::Client, client.label.clone());
    if let Some(doubt) = &client.doubt {
        report.remark(Fault::new(Stage::Client, Cause::PodsNotRunning, doubt.as_str(), ""));
    }
    say_unlisted(scene, &mut report);
    say_unread(scene, &mut report);
    match &question.dialled.host {
        Host::Address(address) => address::walk(*address, question, &client, scene, &mut report)?,
        Host::Service(id) => {
            resolved(question, &mut report);
            service::walk(id, question, &client, scene, &mut report)?;
        }
        Host::Name(name) => named(name, question, &client, scene, &mut report)?,
    }
    if let Some(observed) = observed {
        seen::judge(observed, &client, scene, &mut report);
    }
    Ok(report.finish())
}

/// What an API server did not tell, but for Pods: those are missed only where the answer depends on them.
fn say_unlisted(scene: &Scene, report: &mut Report) {
    let unlisted = scene.api.iter().flat_map(|api| &api.unlisted);
    for (kind, words) in unlisted.filter(|(kind, _)| *kind != "Pod") {
        let without = match kind.as_str() {
            "Node" => "addresses, zones and pod ranges of nodes are unknown, and a node's name cannot be dialled",
            "ServiceCIDR" => "what becomes of cluster IPs that no Service has is unknown",
            "Namespace" => "names are answered as if only namespaces with Services were there",
            _ => "what depends on them is unknown",
        };
        report.step(Stage::Client, Mark::Unknown, format!("{words}: {without}"));
    }
}

/// What could not be read: nobody knows what objects it holds.
fn say_unread(scene: &Scene, report: &mut Report) {
    let unread: Vec<String> = scene.unread().map(ToString::to_string).collect();
    if !unread.is_empty() {
        let because = format!("not everything could be read, and what it holds is missing here: {}", list(&unread));
        report.remark(Fault::new(Stage::Service, Cause::Invalid, because, "correct it"));
    }
}

/// The node on which the packet is decided, if it is not this one: that whose node port is dialled, or else the one that
/// the client runs on.
pub fn deciding_node(question: &Question, scene: &Scene) -> Option<String> {
    let own = &*scene.world.node.name;
    // The rules of the client's own node come first, whosever an address is that they translate.
    let inside = question.source.as_ref().is_some_and(|source| scene.is_inside(source));
    let translated = |address: &IpAddr| {
        let mut owned = scene.claims().owned();
        let port = question.dialled.port.as_ref();
        inside && owned.any(|(own, _)| own.address == *address && port.is_none_or(|p| *p == PortRef::Number(own.port)))
    };
    let dialled = match &question.dialled.host {
        Host::Address(address) if !scene.is_here(*address) && !translated(address) => {
            scene.node_at(*address).map(str::to_owned)
        }
        Host::Name(name) if name != own && node_address(name, scene).is_some() => Some(name.clone()),
        _ => None,
    };
    let to_node = dialled.is_some() || matches!(&question.dialled.host, Host::Name(name) if name == own);
    let runs_on = question.source.as_ref().and_then(|source| scene.runs_on(source)).filter(|_| !to_node);
    dialled.or(runs_on).filter(|node| node != own)
}

fn client(question: &Question, scene: &Scene) -> Result<Client, String> {
    if let Some(source) = &question.source {
        return Client::new(source, scene);
    }
    // Cluster IPs are for pods; everything else that an address can be is for others.
    let for_pods = |address: &IpAddr| {
        let of_service = scene.world.services.values().any(|service| service.cluster_ips.contains(address));
        of_service
            || scene.pod_name_at(*address).is_some()
            || scene.world.service_networks.iter().any(|network| network.contains(address))
    };
    let outside = match &question.dialled.host {
        Host::Address(address) if crate::model::is_loopback(*address) => return Client::new(&Source::Host, scene),
        Host::Address(address) => !for_pods(address),
        Host::Name(name) => is_node(name, question, scene),
        Host::Service(_) => false,
    };
    Ok(if outside { Client::outsider() } else { Client::some_pod(scene) })
}

/// What DNS answers, as steps.
fn resolved(question: &Question, report: &mut Report) {
    let Some(resolution) = &question.resolution else { return };
    for tried in &resolution.tried {
        report.note(Stage::Name, tried.clone());
    }
    let Resolution { name, answer, .. } = resolution;
    match answer {
        NameAnswer::Addresses(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            report.good(Stage::Name, format!("{name} has {}", addresses.join(", ")));
        }
        NameAnswer::Alias(alias) => report.good(Stage::Name, format!("{name} is an alias of {alias}")),
        NameAnswer::Forwarded(servers, _) => {
            report.note(Stage::Name, format!("{name} is not the cluster's: {} would be asked", servers.join(" or ")));
        }
        NameAnswer::Dead(why) => report.step(Stage::Name, Mark::Warning, why.clone()),
        NameAnswer::Nothing => {
            report.step(Stage::Name, Mark::Warning, format!("{name} has no address"));
            for step in &resolution.steps {
                report.note(Stage::Name, step.trim_end_matches('.').to_owned());
            }
        }
    }
}

/// A name of DNS, or of a node.
fn named(text: &str, question: &Question, client: &Client, scene: &Scene, report: &mut Report) -> Result<(), String> {
    if is_node(text, question, scene) {
        let Some(address) = node_address(text, scene) else {
            return Err(format!("the address of node {text} is not known"));
        };
        report.note(Stage::Name, format!("{text} is a node with the address {address}"));
        return address::walk(address, question, client, scene, report);
    }
    resolved(question, report);
    let id = service_of(text, question, client, scene);
    let Some(resolution) = &question.resolution else { return service::walk(&id, question, client, scene, report) };
    match &resolution.answer {
        NameAnswer::Dead(why) => {
            let remedy =
                "see whether the pods of the DNS Service run: kubectl -n kube-system get pods -l k8s-app=kube-dns";
            report.breaks(Fault::new(Stage::Name, Cause::DnsDead, why.clone(), remedy), Outcome::NoAddress);
        }
        NameAnswer::Forwarded(servers, Some(dead)) => {
            let because = format!(
                "{} is not a name of the cluster, and the upstream DNS {} does not answer: {dead}",
                resolution.name,
                list(servers)
            );
            let remedy = "see that the upstream server runs and can be reached, or name another one";
            report.breaks(Fault::new(Stage::Name, Cause::UpstreamDead, because, remedy), Outcome::NoAddress);
        }
        NameAnswer::Forwarded(_, None) if is_nameless(&id, resolution, scene) => {
            return service::walk(&id, question, client, scene, report);
        }
        NameAnswer::Forwarded(servers, None) => match mistyped(&id, text, resolution, scene) {
            Some(fault) => report.breaks(fault, Outcome::NoAddress),
            None => {
                report.prediction.outcome = Outcome::Passed;
                report.works = format!(
                    "{} is not a name of the cluster: {} is asked, and the connection goes where that says",
                    resolution.name,
                    list(servers)
                );
            }
        },
        NameAnswer::Addresses(addresses) if !scene.world.services.contains_key(&id) => {
            let spoken = addresses.iter().find(|address| client.speaks(crate::model::Family::of(**address)));
            let Some(address) = spoken.or(addresses.first()) else { return Ok(()) };
            return address::walk(*address, question, client, scene, report);
        }
        _ => return service::walk(&id, question, client, scene, report),
    }
    Ok(())
}

/// Whether a name that was tried is that of a headless Service, which has it only while an endpoint is ready.
fn is_nameless(id: &ServiceId, resolution: &Resolution, scene: &Scene) -> bool {
    let complete = format!("{}.{}.svc.{}.", id.name, id.namespace, resolution.domain);
    let headless = scene.world.services.get(id).is_some_and(|service| service.cluster_ips.is_empty());
    headless && resolution.tried.iter().any(|tried| tried.starts_with(&complete))
}

/// What is wrong with a name that others would be asked for, although a Service was probably meant.
fn mistyped(id: &ServiceId, text: &str, resolution: &Resolution, scene: &Scene) -> Option<Fault> {
    if scene.world.services.contains_key(id) {
        let because =
            format!("{} is not a name of the cluster, whose domain is {}", resolution.name, resolution.domain);
        let remedy = format!("the name of Service {id} is {}.{}.svc.{}", id.name, id.namespace, resolution.domain);
        return Some(Fault::new(Stage::Name, Cause::NoSuchService, because, remedy));
    }
    let plain = text.matches('.').count() <= 1 || text.contains(".svc");
    let refused = scene.said_of("Service", id, Severity::Refused).next().is_some();
    let near = refused || !near::namesakes(id, scene).is_empty() || near::service(id, scene).is_some();
    if !plain || (text.contains('.') && !near) {
        return None;
    }
    let mut aside = Report::new(String::new());
    service::missing(id, scene, &mut aside);
    aside.into_first()
}

/// The Service that a name means: by the complete name if DNS knows it, else as it is written.
fn service_of(text: &str, question: &Question, client: &Client, scene: &Scene) -> ServiceId {
    let complete = question.resolution.as_ref().filter(|resolution| resolution.answer != NameAnswer::Nothing);
    let complete = complete.and_then(|resolution| of_labels(&resolution.name));
    complete.or_else(|| of_labels(text)).unwrap_or_else(|| {
        let mut labels = text.trim_end_matches('.').split('.');
        let name = labels.next().unwrap_or_default();
        let own = client.namespace.as_deref().unwrap_or("default");
        match (labels.next(), labels.next()) {
            (Some(namespace), None) => ServiceId::new(namespace, name),
            _ if scene.world.services.contains_key(&ServiceId::new(own, name)) => ServiceId::new(own, name),
            _ => ServiceId::new(own, name),
        }
    })
}

/// The Service in a name with `svc`: the two labels before it.
fn of_labels(name: &str) -> Option<ServiceId> {
    let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
    let svc = labels.iter().position(|label| *label == "svc").filter(|at| *at >= 2)?;
    Some(ServiceId::new(labels[svc - 1], labels[svc - 2]))
}

/// Whether a name is a node's: DNS has no answer of the cluster for it.
fn is_node(name: &str, question: &Question, scene: &Scene) -> bool {
    let answered = question
        .resolution
        .as_ref()
        .is_some_and(|resolution| matches!(resolution.answer, NameAnswer::Addresses(_) | NameAnswer::Alias(_)));
    !answered && (node_address(name, scene).is_some() || *name == *scene.world.node.name)
}

/// The first address of a node.
fn node_address(name: &str, scene: &Scene) -> Option<IpAddr> {
    if name == &*scene.world.node.name {
        let node = &scene.world.node;
        return node.addresses.iter().chain(&node.interface_addresses).next().copied();
    }
    let node = scene.nodes().find(|node| node.metadata.name == name)?;
    scene::node_addresses(node).next()
}
