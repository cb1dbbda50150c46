//! From a name to the Service, the address or the node that it means.

use super::{
    Cause, Mark, NameAnswer, Outcome, Question, Resolution, Scene, Stage, address,
    client::Client,
    hostname, near,
    report::{Fault, Report},
    service,
    walk::{absolute, is_node, node_address},
};
use crate::model::{Family, ServiceId, Severity};

/// Walks on from a name of DNS, or of a node.
///
/// # Errors
/// The port is missing, or the node has no known address.
pub(super) fn walk(
    text: &str,
    question: &Question,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) -> Result<(), String> {
    if is_node(text, question, scene) {
        let Some(address) = node_address(text, scene) else {
            return Err(format!("the address of node {text} is not known"));
        };
        report.note(Stage::Name, format!("{text} is a node with the address {address}"));
        return address::walk(address, question, client, scene, report);
    }
    resolved(question, report);
    let id = service_of(text, question, client);
    let Some(resolution) = &question.resolution else { return service::walk(&id, question, client, scene, report) };
    if let NameAnswer::Dead(why) = &resolution.answer {
        let remedy = "see whether the pods of the DNS Service run: kubectl -n kube-system get pods -l k8s-app=kube-dns";
        report.breaks(Fault::new(Stage::Name, Cause::DnsDead, why.clone(), remedy), Outcome::NoAddress);
        return Ok(());
    }
    let found = matches!(resolution.answer, NameAnswer::Addresses(_) | NameAnswer::Alias(_));
    if let Some(fault) = hostname::missing(resolution, scene).filter(|_| !found) {
        report.breaks(fault, Outcome::NoAddress);
        return Ok(());
    }
    match &resolution.answer {
        NameAnswer::Forwarded(servers, Some(dead)) => {
            let because = format!(
                "{} is not a name of the cluster, and the upstream DNS {} does not answer: {dead}",
                resolution.name,
                asked(servers)
            );
            let remedy = "see that the upstream server runs and can be reached, or name another one";
            report.breaks(Fault::new(Stage::Name, Cause::UpstreamDead, because, remedy), Outcome::NoAddress);
        }
        NameAnswer::Forwarded(_, None) if is_nameless(&id, resolution, scene) => {
            return service::walk(&id, question, client, scene, report);
        }
        NameAnswer::Forwarded(servers, None) => match mistyped(&id, text, resolution, client, scene) {
            Some(fault) => report.breaks(fault, Outcome::NoAddress),
            None => {
                report.prediction.outcome = Outcome::Passed;
                report.works = format!(
                    "{} is not a name of the cluster: the connection goes where {} says",
                    resolution.name,
                    asked(servers)
                );
            }
        },
        NameAnswer::Nothing if is_unknown(resolution) => {
            report.breaks(unknown(resolution, scene), Outcome::NoAddress);
        }
        answer => {
            if client.namespace.is_none() && found {
                report.remark(of_the_cluster(resolution, client));
            }
            match answer {
                NameAnswer::Addresses(addresses) if !scene.world.services.contains_key(&id) => {
                    let spoken = addresses.iter().find(|address| client.speaks(Family::of(**address)));
                    let Some(address) = spoken.or(addresses.first()) else { return Ok(()) };
                    return address::walk(*address, question, client, scene, report);
                }
                _ => return service::walk(&id, question, client, scene, report),
            }
        }
    }
    Ok(())
}

/// What DNS answers, as steps.
pub(super) fn resolved(question: &Question, report: &mut Report) {
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
            report.note(Stage::Name, format!("{name} is not the cluster's: {} would be asked", asked(servers)));
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

/// Who is asked for a name of others: addresses, or the file that names them where the cluster's DNS runs.
fn asked(servers: &[String]) -> String {
    let named = |server: &String| match server.starts_with('/') {
        true => format!("a server of {server}"),
        false => server.clone(),
    };
    servers.iter().map(named).collect::<Vec<_>>().join(" or ")
}

/// Whether a name that was tried is that of a headless Service, which has it only while an endpoint is ready.
fn is_nameless(id: &ServiceId, resolution: &Resolution, scene: &Scene) -> bool {
    let complete = format!("{}.{}.svc.{}.", id.name, id.namespace, resolution.domain);
    let headless = scene.world.services.get(id).is_some_and(|service| service.cluster_ips.is_empty());
    headless && resolution.tried.iter().any(|tried| tried.starts_with(&complete))
}

/// What is wrong with a name that others would be asked for, although a Service was probably meant.
fn mistyped(id: &ServiceId, text: &str, resolution: &Resolution, client: &Client, scene: &Scene) -> Option<Fault> {
    // A name of the world has more labels.
    let plain = text.matches('.').count() <= 1 || text.contains(".svc");
    if !plain {
        return None;
    }
    let meant = near::meant(id, scene);
    let whole = |meant: &ServiceId| format!("{}.{}.svc.{}", meant.name, meant.namespace, resolution.domain);
    let fault = |because: String, remedy: String| Some(Fault::new(Stage::Name, Cause::NoSuchService, because, remedy));
    match (&meant, near::node(absolute(text), scene)) {
        (Some(meant), _) if client.namespace.is_none() => {
            let because = format!(
                "{} is no complete name, and the client ({}) has no search list of the cluster's: it asks for just that",
                resolution.name, client.label
            );
            let address = scene.world.services.get(meant).and_then(|service| service.cluster_ips.first());
            let remedy = match address {
                Some(address) => format!("dial the address of Service {meant}, {address}"),
                None => format!("is {meant} meant? Only the cluster's DNS knows its name, {}", whole(meant)),
            };
            return fault(because, remedy);
        }
        (Some(meant), _) if meant == id => {
            let because =
                format!("{} is not a name of the cluster, whose domain is {}", resolution.name, resolution.domain);
            return fault(because, format!("the name of Service {id} is {}", whole(meant)));
        }
        (None, Some(node)) => {
            let because = format!("there is no node and no Service {}", absolute(text));
            return fault(because, format!("is {node} meant?"));
        }
        _ => {}
    }
    let refused = scene.said_of("Service", id, Severity::Refused).next().is_some();
    if text.contains('.') && !refused && meant.is_none() {
        return None;
    }
    let mut aside = Report::new(String::new());
    service::missing(id, scene, &mut aside);
    aside.into_first()
}

/// Whether a name that the cluster's DNS knows to be none cannot be a Service's: there is no `svc` in it.
fn is_unknown(resolution: &Resolution) -> bool {
    of_labels(&resolution.name).is_none() && in_domain(resolution).is_some()
}

/// What comes before the cluster's domain.
fn in_domain(resolution: &Resolution) -> Option<&str> {
    absolute(&resolution.name).strip_suffix(&*resolution.domain)?.strip_suffix('.')
}

fn unknown(resolution: &Resolution, scene: &Scene) -> Fault {
    let Resolution { name, domain, .. } = resolution;
    let because = format!("there is no name {name} in the cluster's DNS");
    let before = in_domain(resolution).unwrap_or_default();
    let id = before.split_once('.').map(|(name, namespace)| ServiceId::new(namespace, name));
    match id.filter(|id| scene.world.services.contains_key(id)) {
        Some(id) => Fault::new(
            Stage::Name,
            Cause::NoSuchService,
            format!("{because}: the label svc is missing"),
            format!("the name of Service {id} is {before}.svc.{domain}"),
        ),
        None => Fault::new(
            Stage::Name,
            Cause::NoSuchService,
            because,
            format!("names of Services are SERVICE.NAMESPACE.svc.{domain}"),
        ),
    }
}

/// That somebody asks for a name of the cluster whose resolver is not the cluster's.
fn of_the_cluster(resolution: &Resolution, client: &Client) -> Fault {
    let because = format!(
        "{} is a name that only the cluster's DNS knows, and the resolver of the client ({}) seldom asks that",
        resolution.name, client.label
    );
    let remedy = match &resolution.answer {
        NameAnswer::Addresses(addresses) => addresses.first().map(|address| format!("dial {address} instead")),
        _ => None,
    };
    Fault::new(Stage::Name, Cause::ClusterOnly, because, remedy.unwrap_or_default())
}

/// The Service that a name means: by the complete name if DNS knows it, else as it is written.
fn service_of(text: &str, question: &Question, client: &Client) -> ServiceId {
    let complete = question.resolution.as_ref().and_then(|resolution| of_labels(&resolution.name));
    complete.or_else(|| of_labels(text)).map_or_else(
        || {
            let mut labels = absolute(text).split('.');
            let name = labels.next().unwrap_or_default();
            let own = client.namespace.as_deref().unwrap_or("default");
            match (labels.next(), labels.next()) {
                (Some(namespace), None) => ServiceId::new(namespace, name),
                _ => ServiceId::new(own, name),
            }
        },
        |(_, id)| id,
    )
}

/// The Service in a name with `svc`, the two labels before that, and what comes before these.
pub(super) fn of_labels(name: &str) -> Option<(String, ServiceId)> {
    let name = name.to_ascii_lowercase();
    let labels: Vec<&str> = absolute(&name).split('.').collect();
    let svc = labels.iter().position(|label| *label == "svc").filter(|at| *at >= 2)?;
    Some((labels[..svc - 2].join("."), ServiceId::new(labels[svc - 1], labels[svc - 2])))
}
