//! The way as a whole.

use std::net::IpAddr;

use super::{
    Cause, Explanation, Host, Mark, NameAnswer, PortRef, Question, Scene, Source, Stage, address,
    client::Client,
    name,
    near::list,
    report::{Fault, Report},
    scene, seen, service,
};
use crate::observed::Observed;

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
            name::resolved(question, &mut report);
            service::walk(id, question, &client, scene, &mut report)?;
        }
        Host::Name(text) => name::walk(text, question, &client, scene, &mut report)?,
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
        Host::Name(name) if absolute(name) != own && node_address(name, scene).is_some() => {
            Some(absolute(name).to_owned())
        }
        _ => None,
    };
    let to_node = dialled.is_some() || matches!(&question.dialled.host, Host::Name(name) if absolute(name) == own);
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
        of_service || scene.pod_name_at(*address).is_some() || address::service_network(*address, scene).is_some()
    };
    let outside = match &question.dialled.host {
        Host::Address(address) if crate::model::is_loopback(*address) => return Client::new(&Source::Host, scene),
        Host::Address(address) => !for_pods(address),
        Host::Name(name) => is_node(name, question, scene),
        Host::Service(_) => false,
    };
    Ok(if outside { Client::outsider() } else { Client::some_pod(scene) })
}

/// Whether a name is a node's: DNS has no answer of the cluster for it.
pub(super) fn is_node(name: &str, question: &Question, scene: &Scene) -> bool {
    let answered = question
        .resolution
        .as_ref()
        .is_some_and(|resolution| matches!(resolution.answer, NameAnswer::Addresses(_) | NameAnswer::Alias(_)));
    !answered && (node_address(name, scene).is_some() || *absolute(name) == *scene.world.node.name)
}

/// A name without the dot that says that it is complete.
pub(super) fn absolute(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The first address of a node.
pub(super) fn node_address(name: &str, scene: &Scene) -> Option<IpAddr> {
    let name = absolute(name);
    if name == &*scene.world.node.name {
        let node = &scene.world.node;
        return node.addresses.iter().chain(&node.interface_addresses).next().copied();
    }
    let node = scene.nodes().find(|node| node.metadata.name == name)?;
    scene::node_addresses(node).next()
}
