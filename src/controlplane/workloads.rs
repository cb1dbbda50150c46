//! Pods from workloads, as their controllers would make them.

use std::{collections::BTreeSet, sync::Arc};

use super::{hash, validate};
use crate::{
    model::Located,
    objects::{Metadata, Object, OwnerReference, Pod, Workload, WorkloadKind},
};

/// The most Pods that are made of one workload: a mistyped `replicas` shall not fill the memory.
pub(super) const MOST_PODS: i32 = 10_000;

/// Puts Pods in the place of Deployments, ReplicaSets, ReplicationControllers, StatefulSets and DaemonSets.
///
/// The Pods' names are the same every time. They have no address and, but for those of a DaemonSet, no node: there is no
/// scheduler here. A DaemonSet gets a Pod on each Node object, or if there is none on each of `nodes`.
///
/// A workload whose Pods (or whose own workload: a Deployment's ReplicaSet) are among the objects was exported from a
/// cluster together with them, and makes none. One that is invalid stays as it is, for [`super::complete`] to refuse.
pub fn expand_workloads(input: Vec<Located>, nodes: &[String]) -> Vec<Located> {
    if !input.iter().any(|located| matches!(located.object, Object::Workload(_))) {
        return input;
    }
    let nodes = node_names(&input, nodes);
    let owners = owners(&input);
    let mut output = Vec::with_capacity(input.len());
    for located in input {
        match &located.object {
            Object::Workload(workload) if validate::accept(&located, &mut Vec::new()) => {
                let metadata = &workload.metadata;
                if !owners.contains(&owner_key(metadata.namespace(), workload.kind.name(), &metadata.name)) {
                    let pods = pods(workload, &nodes).into_iter();
                    output.extend(pods.map(|pod| Located { object: Object::Pod(pod), origin: located.origin.clone() }));
                }
            }
            _ => output.push(located),
        }
    }
    output
}

fn node_names(input: &[Located], given: &[String]) -> Vec<String> {
    let mut names: Vec<String> = input
        .iter()
        .filter(|located| matches!(located.object, Object::Node(_)))
        .map(|located| located.object.metadata().name.clone())
        .collect();
    if names.is_empty() {
        names = given.to_vec();
    }
    names.sort();
    names.dedup();
    names
}

/// Namespace, kind and name of every owner that an object names.
fn owners(input: &[Located]) -> BTreeSet<(Arc<str>, Arc<str>, Arc<str>)> {
    let owners_of = |located: &Located| -> Vec<(Arc<str>, Arc<str>, Arc<str>)> {
        let references = &located.object.metadata().owner_references;
        references.iter().map(|owner| owner_key(located.object.namespace(), &owner.kind, &owner.name)).collect()
    };
    input.iter().flat_map(owners_of).collect()
}

fn owner_key(namespace: &str, kind: &str, name: &str) -> (Arc<str>, Arc<str>, Arc<str>) {
    (namespace.into(), kind.into(), name.into())
}

/// The Pods of one workload.
fn pods(workload: &Workload, nodes: &[String]) -> Vec<Pod> {
    let count = workload.spec.replicas.unwrap_or(1);
    let mut names = Names { workload, used: BTreeSet::new() };
    match workload.kind {
        WorkloadKind::StatefulSet => {
            let start = workload.spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
            (0..count).map(|i| stateful_pod(workload, i64::from(start) + i64::from(i))).collect()
        }
        WorkloadKind::DaemonSet => {
            let pod_on = |node: &String| {
                let mut pod = pod(workload, names.generate("", node));
                pod.spec.node_name = Some(node.clone());
                pod
            };
            nodes.iter().map(pod_on).collect()
        }
        WorkloadKind::Deployment => {
            // The ReplicaSet in between is named after a hash of the template.
            let hash = hash::suffix(&[workload.metadata.namespace(), &workload.metadata.name, "template"], 10);
            let pod_number = |i: i32| {
                let mut pod = pod(workload, names.generate(&format!("{hash}-"), &i.to_string()));
                pod.metadata.labels.insert("pod-template-hash".to_owned(), hash.clone());
                pod
            };
            (0..count).map(pod_number).collect()
        }
        WorkloadKind::ReplicaSet | WorkloadKind::ReplicationController => {
            (0..count).map(|i| pod(workload, names.generate("", &i.to_string()))).collect()
        }
    }
}

/// Makes the names of a workload's Pods: five characters at the end, as in kubia-7nog1.
struct Names<'a> {
    workload: &'a Workload,
    used: BTreeSet<String>,
}

impl Names<'_> {
    /// A name for the Pod that `which` tells from the others; `middle` stands before the last five characters.
    fn generate(&mut self, middle: &str, which: &str) -> String {
        /// What Kubernetes leaves of a long name, so that the whole is at most 63 characters.
        const LONGEST_BASE: usize = 58;
        let metadata = &self.workload.metadata;
        let mut base = format!("{}-{middle}", metadata.name);
        base.truncate(LONGEST_BASE);
        // A second Pod that comes to the same end tries the next number.
        let end = |attempt: u32| {
            let parts = [self.workload.kind.name(), metadata.namespace(), &metadata.name, which, &attempt.to_string()];
            hash::suffix(&parts, 5)
        };
        let end = (0..).map(end).find(|end| self.used.insert(end.clone())).unwrap_or_default();
        base + &end
    }
}

/// A Pod of a StatefulSet: numbered, and reachable under its own name through the Service that the set names.
fn stateful_pod(workload: &Workload, ordinal: i64) -> Pod {
    let name = format!("{}-{ordinal}", workload.metadata.name);
    let mut pod = pod(workload, name.clone());
    let labels = &mut pod.metadata.labels;
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), name.clone());
    labels.insert("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string());
    pod.spec.hostname = Some(name);
    pod.spec.subdomain = workload.spec.service_name.clone();
    pod
}

fn pod(workload: &Workload, name: String) -> Pod {
    let template = &workload.spec.template;
    let owner = OwnerReference { kind: workload.kind.name().to_owned(), name: workload.metadata.name.clone() };
    Pod {
        metadata: Metadata {
            name,
            namespace: workload.metadata.namespace.clone(),
            labels: template.metadata.labels.clone(),
            annotations: template.metadata.annotations.clone(),
            owner_references: vec![owner],
            ..Metadata::default()
        },
        spec: template.spec.clone(),
        ..Pod::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controlplane::{
        Allocations, Options,
        testing::{complete_text, objects},
    };

    const TEMPLATE: &str = "template: {metadata: {labels: {app: kubia}}, spec: {containers: [{name: kubia}]}}";

    fn workload(kind: &str, spec: &str) -> String {
        let version = if kind == "ReplicationController" { "v1" } else { "apps/v1" };
        let selector = if version == "v1" { "" } else { "selector: {matchLabels: {app: kubia}}, " };
        format!(
            "---\n{{apiVersion: {version}, kind: {kind}, metadata: {{name: kubia, namespace: shop}}, spec: \
             {{{selector}{spec}{TEMPLATE}}}}}\n"
        )
    }

    fn pods(text: &str, nodes: &[&str]) -> Vec<Pod> {
        let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        let objects = expand_workloads(objects(text), &nodes);
        let pod = |located: Located| match located.object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        };
        objects.into_iter().filter_map(pod).collect()
    }

    fn names(pods: &[Pod]) -> Vec<&str> {
        pods.iter().map(|pod| pod.metadata.name.as_str()).collect()
    }

    #[test]
    fn each_kind_names_its_pods_as_its_controller_does() {
        let three = pods(&workload("ReplicationController", "replicas: 3, "), &[]);
        assert_eq!(names(&three), ["kubia-qgfhp", "kubia-st9xs", "kubia-778h7"]);
        assert_eq!(three[0].metadata.namespace, "shop");
        assert_eq!(three[0].metadata.labels["app"], "kubia");
        assert_eq!(names(&pods(&workload("ReplicaSet", ""), &[])).len(), 1);
        assert_eq!(names(&pods(&workload("ReplicaSet", "replicas: 0, "), &[])), [""; 0]);

        let deployed = pods(&workload("Deployment", "replicas: 2, "), &[]);
        let hash = &deployed[0].metadata.labels["pod-template-hash"];
        assert!(deployed.iter().all(|pod| pod.metadata.name.starts_with(&format!("kubia-{hash}-"))));
        assert_eq!(deployed[0].metadata.name.len(), "kubia-5d4f8c7b9x-x2k4p".len());
    }

    #[test]
    fn scaling_keeps_the_pods_that_stay() {
        let few = pods(&workload("Deployment", "replicas: 3, "), &[]);
        let many = pods(&workload("Deployment", "replicas: 5000, "), &[]);
        assert_eq!(names(&few), names(&many[..3]));
        let distinct: BTreeSet<&str> = names(&many).into_iter().collect();
        assert_eq!(distinct.len(), 5000);
    }

    #[test]
    fn pods_of_a_stateful_set_are_numbered_and_have_a_hostname() {
        let pods = pods(&workload("StatefulSet", "replicas: 2, serviceName: headless, ordinals: {start: 5}, "), &[]);
        assert_eq!(names(&pods), ["kubia-5", "kubia-6"]);
        assert_eq!(pods[0].spec.hostname.as_deref(), Some("kubia-5"));
        assert_eq!(pods[0].spec.subdomain.as_deref(), Some("headless"));
        assert_eq!(pods[0].metadata.labels["statefulset.kubernetes.io/pod-name"], "kubia-5");
    }

    #[test]
    fn a_daemon_set_has_a_pod_on_every_node() {
        let on = |pods: &[Pod]| -> Vec<String> { pods.iter().filter_map(|pod| pod.spec.node_name.clone()).collect() };
        let text = workload("DaemonSet", "");
        assert_eq!(on(&pods(&text, &["node-2", "node-1"])), ["node-1", "node-2"]);
        let with_node = text + "---\n{apiVersion: v1, kind: Node, metadata: {name: node-9}}\n";
        assert_eq!(on(&pods(&with_node, &["node-1"])), ["node-9"]);
    }

    #[test]
    fn workloads_exported_with_their_pods_make_none() {
        let pod = "---\n{apiVersion: v1, kind: Pod, metadata: {name: kubia-x, namespace: shop, ownerReferences: [{kind: \
                   ReplicaSet, name: kubia}]}}\n";
        assert_eq!(names(&pods(&(workload("ReplicaSet", "replicas: 3, ") + pod), &[])), ["kubia-x"]);
        let set = workload("ReplicaSet", "replicas: 2, ")
            .replace("namespace: shop", "namespace: shop, ownerReferences: [{kind: Deployment, name: kubia}]");
        assert_eq!(pods(&(workload("Deployment", "replicas: 2, ") + &set), &[]).len(), 2);
    }

    #[test]
    fn an_invalid_workload_is_refused_by_complete() {
        let text = workload("Deployment", "replicas: 20000000, ");
        assert_eq!(pods(&text, &[]), []);
        let completed = complete_text(&text, &Options::default(), &mut Allocations::default());
        assert!(completed.objects.is_empty());
        assert!(completed.texts()[0].contains("spec.replicas: 20000000"));
    }
}
