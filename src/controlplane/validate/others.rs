//! Pods, Nodes, Namespaces, ServiceCIDRs and workloads, as far as Portolan reads them.

use std::collections::BTreeMap;

use super::{Faults, addresses, names, ports};
use crate::{
    controlplane::workloads::MOST_PODS,
    objects::{Container, Namespace, Node, Pod, PodSpec, ServiceCidr, Workload, WorkloadKind},
};

pub(super) fn check_pod(pod: &Pod, faults: &mut Faults<'_>) {
    faults.metadata(&pod.metadata, names::subdomain);
    check_pod_spec("spec", &pod.spec, faults);
    let addresses = pod.status.pod_ips.iter().map(|ip| &ip.ip).enumerate();
    for (i, ip) in addresses {
        faults.check(format!("status.podIPs[{i}].ip"), addresses::address(ip));
    }
    if let Some(ip) = pod.status.pod_ip.as_deref().filter(|ip| !ip.is_empty()) {
        faults.check("status.podIP", addresses::address(ip));
    }
}

fn check_pod_spec(field: &str, spec: &PodSpec, faults: &mut Faults<'_>) {
    for (name, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            faults.check(format!("{field}.{name}"), names::label(value));
        }
    }
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        faults.check(format!("{field}.nodeName"), names::subdomain(node));
    }
    for (list, containers) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)] {
        for (i, container) in containers.iter().enumerate() {
            check_container_ports(&format!("{field}.{list}[{i}].ports"), container, faults);
        }
    }
}

fn check_container_ports(field: &str, container: &Container, faults: &mut Faults<'_>) {
    let mut seen = Vec::new();
    for (i, port) in container.ports.iter().enumerate() {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            faults.check(format!("{field}[{i}].name"), names::port(name));
            if seen.contains(&name) {
                faults.refuse(format!("{field}[{i}].name"), format!("{name} stands twice in one container"));
            }
            seen.push(name);
        }
        faults.check(format!("{field}[{i}].containerPort"), ports::number(port.container_port));
        ports::check_protocol(&format!("{field}[{i}].protocol"), port.protocol.as_deref(), faults);
    }
}

pub(super) fn check_node(node: &Node, faults: &mut Faults<'_>) {
    faults.metadata(&node.metadata, names::subdomain);
    for (i, range) in node.spec.pod_cidrs.iter().enumerate() {
        faults.check(format!("spec.podCIDRs[{i}]"), addresses::range(range));
    }
    if let Some(range) = node.spec.pod_cidr.as_deref().filter(|range| !range.is_empty()) {
        faults.check("spec.podCIDR", addresses::range(range));
    }
}

pub(super) fn check_namespace(namespace: &Namespace, faults: &mut Faults<'_>) {
    faults.metadata(&namespace.metadata, names::label);
}

pub(super) fn check_service_cidr(cidr: &ServiceCidr, faults: &mut Faults<'_>) {
    faults.metadata(&cidr.metadata, names::subdomain);
    let cidrs = &cidr.spec.cidrs;
    let mut is_ipv4 = Vec::new();
    for (i, range) in cidrs.iter().enumerate() {
        is_ipv4.extend(faults.check(format!("spec.cidrs[{i}]"), addresses::range(range)).map(|r| r.addr().is_ipv4()));
    }
    if cidrs.is_empty() || cidrs.len() > 2 || is_ipv4 == [true, true] || is_ipv4 == [false, false] {
        faults.refuse("spec.cidrs", "needs one range, or two of different families");
    }
}

pub(super) fn check_workload(workload: &Workload, faults: &mut Faults<'_>) {
    faults.metadata(&workload.metadata, names::subdomain);
    let spec = &workload.spec;
    match spec.replicas {
        Some(count) if count < 0 => faults.refuse("spec.replicas", format!("{count} is less than 0")),
        Some(count) if count > MOST_PODS => {
            faults
                .refuse("spec.replicas", format!("{count} is more than the {MOST_PODS} pods that are made standalone"));
        }
        _ => {}
    }
    faults.labels("spec.template.metadata.labels", &spec.template.metadata.labels);
    check_pod_spec("spec.template.spec", &spec.template.spec, faults);
    check_selector(workload, faults);
}

/// A workload must select the Pods it makes. A ReplicationController without selector takes its template's labels.
fn check_selector(workload: &Workload, faults: &mut Faults<'_>) {
    let selector = &workload.spec.selector;
    let labels = &workload.spec.template.metadata.labels;
    let is_bare = workload.kind == WorkloadKind::ReplicationController;
    let wanted: BTreeMap<&str, &str> = match (is_bare, selector.get("matchLabels")) {
        (true, _) => selector.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect(),
        (false, Some(serde_json::Value::Object(map))) => {
            map.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
        }
        (false, _) => BTreeMap::new(),
    };
    if selector.is_empty() && !is_bare {
        faults.refuse("spec.selector", "missing; it must match spec.template.metadata.labels");
    }
    for (key, value) in wanted {
        if labels.get(key).map(String::as_str) != Some(value) {
            faults.refuse("spec.selector", format!("{key}={value} is not among spec.template.metadata.labels"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::controlplane::{Allocations, Options, testing::complete_text};

    fn notices(version_and_kind: (&str, &str), rest: &str) -> Vec<String> {
        let (version, kind) = version_and_kind;
        let text = format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: x}}, {rest}}}");
        complete_text(&text, &Options::default(), &mut Allocations::default()).texts()
    }

    #[test]
    fn each_kind_has_its_rules() {
        let pod = ("v1", "Pod");
        let node = ("v1", "Node");
        let cidr = ("networking.k8s.io/v1", "ServiceCIDR");
        for (kind, rest, notice) in [
            (
                pod,
                "spec: {containers: [{ports: [{name: http, containerPort: 80}, {containerPort: 80, protocol: UDP}]}]}",
                "",
            ),
            (pod, "spec: {hostname: a, subdomain: b, nodeName: node-1.example.com}, status: {podIP: 010.0.0.1}", ""),
            (
                pod,
                "spec: {containers: [{ports: [{containerPort: 0}]}]}",
                "spec.containers[0].ports[0].containerPort: 0",
            ),
            (
                pod,
                "spec: {initContainers: [{ports: [{name: a--b, containerPort: 1}]}]}",
                "spec.initContainers[0].ports[0].name",
            ),
            (pod, "spec: {hostname: a.b}", "spec.hostname: \"a.b\""),
            (pod, "status: {podIPs: [{ip: ten}]}", "status.podIPs[0].ip: \"ten\" is not an IP address"),
            (node, "spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, 'fd00::/64']}", ""),
            (node, "spec: {podCIDRs: [10.244.1.0]}", "spec.podCIDRs[0]: \"10.244.1.0\" is not a range"),
            (("v1", "Namespace"), "metadata: {}", ""),
            (cidr, "spec: {cidrs: [10.0.0.0/16, 'fd00::/112']}", ""),
            (
                cidr,
                "spec: {cidrs: [10.0.0.0/16, 10.1.0.0/16]}",
                "spec.cidrs: needs one range, or two of different families",
            ),
            (cidr, "spec: {cidrs: []}", "spec.cidrs: needs one range"),
        ] {
            let rest = if kind.1 == "Namespace" { "status: {}" } else { rest };
            let found = notices(kind, rest);
            assert_eq!(found.is_empty(), notice.is_empty(), "{rest}: {found:?}");
            let start = format!("{} {}x: {notice}", kind.1, if kind == pod { "default/" } else { "" });
            assert!(found.iter().all(|n| n.starts_with(&start)), "{rest}: {found:?}");
        }
    }

    #[test]
    fn workloads_must_select_their_own_pods() {
        let deployment = ("apps/v1", "Deployment");
        let template = "template: {metadata: {labels: {app: kubia}}}";
        for (kind, spec, notice) in [
            (deployment, "selector: {matchLabels: {app: kubia}}, ", ""),
            (deployment, "selector: {matchExpressions: [{key: app, operator: Exists}]}, ", ""),
            (deployment, "", "spec.selector: missing; it must match spec.template.metadata.labels"),
            (
                deployment,
                "selector: {matchLabels: {app: kubai}}, ",
                "spec.selector: app=kubai is not among spec.template.metadata.labels",
            ),
            (deployment, "selector: {matchLabels: {app: kubia}}, replicas: -1, ", "spec.replicas: -1 is less than 0"),
            (
                deployment,
                "selector: {matchLabels: {app: kubia}}, replicas: 20000000, ",
                "spec.replicas: 20000000 is more than the 10000",
            ),
            (("v1", "ReplicationController"), "", ""),
            (("v1", "ReplicationController"), "selector: {app: kubia}, ", ""),
            (("v1", "ReplicationController"), "selector: {app: kubai}, ", "spec.selector: app=kubai"),
        ] {
            let found = notices(kind, &format!("spec: {{{spec}{template}}}"));
            assert_eq!(found.is_empty(), notice.is_empty(), "{spec}: {found:?}");
            assert!(found.iter().all(|n| n.starts_with(&format!("{} default/x: {notice}", kind.1))), "{found:?}");
        }
    }
}
