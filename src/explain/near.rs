//! What was probably meant: near misses.

use std::collections::BTreeMap;

use super::Scene;
use crate::{
    model::{ServiceId, nearest, resembles},
    objects::{Pod, Service},
};

/// So many near misses are named.
pub(super) const NAMED: usize = 3;

/// `a, b, c and 4 more`
pub(super) fn list(words: &[String]) -> String {
    match words.len().saturating_sub(NAMED) {
        0 => words.join(", "),
        more => format!("{} and {more} more", words[..NAMED].join(", ")),
    }
}

/// `3 Pods`, `1 Pod`
pub(super) fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// A selector or labels as kubectl writes them.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Pods that a selector just misses, a phrase each, the nearest first: `Pod shop/web-1 has app=wbe`.
pub(super) fn pods(service: &Service, scene: &Scene) -> Vec<String> {
    let namespace = service.metadata.namespace();
    let selector = &service.spec.selector;
    let mut near: Vec<(usize, String)> = Vec::new();
    for pod in scene.pods() {
        let own = pod.metadata.namespace();
        let whole = format!("Pod {own}/{}", pod.metadata.name);
        let missed: Vec<(&String, &String)> =
            selector.iter().filter(|(key, value)| pod.metadata.labels.get(*key) != Some(*value)).collect();
        if own != namespace {
            if missed.is_empty() {
                near.push((9, format!("{whole} matches, but is in namespace {own}")));
            }
            continue;
        }
        let reasons: Vec<String> = missed.iter().filter_map(|(key, value)| near_label(pod, key, value)).collect();
        if reasons.len() == missed.len() && !missed.is_empty() {
            near.push((missed.len(), format!("{whole} has {}", reasons.join(" and "))));
        } else if missed.len() == 1 && selector.len() > 1 {
            let (key, value) = missed[0];
            let instead = match pod.metadata.labels.get(key) {
                Some(other) => format!("has {key}={other} instead of {key}={value}"),
                None => format!("lacks the label {key}={value}"),
            };
            near.push((2, format!("{whole} {instead}")));
        }
    }
    near.sort();
    near.into_iter().map(|(_, text)| text).collect()
}

/// What a Pod has in place of a label, if that looks like a slip of the pen.
fn near_label(pod: &Pod, key: &str, value: &str) -> Option<String> {
    let labels = &pod.metadata.labels;
    let similar = |other: &str| resembles(value, other) || other.starts_with(value) || value.starts_with(other);
    let same_key = labels.get(key).filter(|other| similar(other) && !other.is_empty()).map(|other| (key, other));
    let same_value = || {
        let other =
            labels.iter().find(|(other, has)| *has == value && (resembles(key, other) || ends_alike(key, other)));
        other.map(|(other, has)| (other.as_str(), has))
    };
    let (key, value) = same_key.or_else(same_value)?;
    Some(format!("{key}={value}"))
}

/// `app` and `app.kubernetes.io/name`
fn ends_alike(one: &str, other: &str) -> bool {
    let known = ["app", "name", "app.kubernetes.io/name", "k8s-app"];
    known.contains(&one) && known.contains(&other)
}

/// Services of the same name in other namespaces, as `namespace/name`.
pub(super) fn namesakes(id: &ServiceId, scene: &Scene) -> Vec<ServiceId> {
    let same = scene.services().filter(|service| *service.metadata.name == *id.name);
    let all = same.map(|service| ServiceId::new(service.metadata.namespace(), &service.metadata.name));
    let mut all: Vec<ServiceId> = all.filter(|other| other.namespace != id.namespace).collect();
    all.sort();
    all
}

/// A Service whose name a missing one's is probably a misspelling of: in the same namespace, or in one of a similar name.
pub(super) fn service(id: &ServiceId, scene: &Scene) -> Option<ServiceId> {
    let of_namespace = |namespace: &str| {
        let own = scene.services().filter(|service| service.metadata.namespace() == namespace);
        let own: Vec<String> = own.map(|service| service.metadata.name.clone()).collect();
        nearest(&id.name, own.into_iter())
    };
    if let Some(near) = of_namespace(&id.namespace) {
        return Some(ServiceId::new(&id.namespace, &near));
    }
    let namespaces = scene.services().map(|service| service.metadata.namespace().to_owned());
    let namespace = nearest(&id.namespace, namespaces.filter(|other| *other != *id.namespace))?;
    of_namespace(&namespace).map(|near| ServiceId::new(&namespace, &near))
}

/// The node that a name is probably meant for.
pub(super) fn node(name: &str, scene: &Scene) -> Option<String> {
    nearest(name, scene.nodes().map(|node| node.metadata.name.clone()))
}

/// The Service that a name without a Service is probably meant for.
pub(super) fn meant(id: &ServiceId, scene: &Scene) -> Option<ServiceId> {
    let known = scene.world.services.contains_key(id).then(|| id.clone());
    known.or_else(|| namesakes(id, scene).into_iter().next()).or_else(|| service(id, scene))
}

/// What to do instead of dialling a port that is not there: the ports that are, as they were listed, perhaps with names.
pub(super) fn dial_one(ports: &[String]) -> Option<String> {
    match ports {
        [] => None,
        [only] => Some(format!("dial {}", only.rsplit(' ').next().unwrap_or(only))),
        _ => Some("dial one of these".to_owned()),
    }
}
