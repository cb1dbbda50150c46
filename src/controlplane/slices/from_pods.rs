//! The EndpointSlice controller: slices from the Pods that a Service selects.

use std::collections::BTreeMap;

use super::{
    Draft, families,
    pods::{Pods, address_of, addresses, has_ended, is_ready},
    ports::{names, slice_port, target},
};
use crate::{
    model::{Family, Located, Notice, Severity},
    objects::{
        Conditions, ForNode, ForZone, Hints, IntOrString, ObjectReference, Pod, Service, SliceEndpoint, SlicePort,
    },
};

/// The slices of one Service, and warnings about Pods that carry the labels and are no endpoints.
pub(super) fn select(located: &Located, service: &Service, pods: &Pods<'_>, notices: &mut Vec<Notice>) -> Vec<Draft> {
    let mut selected = pods.select(service.metadata.namespace(), &service.spec.selector);
    selected.retain(|pod| !has_ended(pod));
    warn_of_addresses(located, service, &selected, notices);
    warn_of_ports(located, service, &selected, notices);
    let mut drafts = Vec::new();
    for family in families(service) {
        // Pods that give a name to different numbers are in different slices, as a slice has one number for all.
        let mut by_ports: BTreeMap<Vec<Option<i32>>, Vec<SliceEndpoint>> = BTreeMap::new();
        for pod in &selected {
            let Some(endpoint) = endpoint(service, pod, family, pods) else { continue };
            let numbers: Vec<Option<i32>> = service.spec.ports.iter().map(|port| target(port, pod)).collect();
            if numbers.is_empty() || numbers.iter().any(Option::is_some) {
                by_ports.entry(numbers).or_default().push(endpoint);
            }
        }
        for (numbers, endpoints) in by_ports {
            let ports = service.spec.ports.iter().zip(numbers);
            let ports: Vec<SlicePort> = ports.filter_map(|(port, number)| Some(slice_port(port, number?))).collect();
            drafts.extend(Draft::split(family, &ports, endpoints));
        }
    }
    drafts
}

/// The Pod as an endpoint; `None` if it has no address of the family.
fn endpoint(service: &Service, pod: &Pod, family: Family, pods: &Pods<'_>) -> Option<SliceEndpoint> {
    let address = address_of(pod, family)?;
    let serving = is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let publish = service.spec.publish_not_ready_addresses == Some(true);
    let ready = publish || (serving && !terminating);
    let node = pod.spec.node_name.as_deref().filter(|name| !name.is_empty());
    let zone = pods.zone(node);
    // A Pod has a name of its own in DNS if it names this Service as its subdomain.
    let is_named = pod.spec.subdomain.as_deref() == Some(&service.metadata.name);
    let hostname = pod.spec.hostname.as_ref().filter(|name| is_named && !name.is_empty());
    Some(SliceEndpoint {
        addresses: vec![address.to_string()],
        conditions: Conditions { ready: Some(ready), serving: Some(serving), terminating: Some(terminating) },
        hostname: hostname.cloned(),
        target_ref: Some(ObjectReference {
            kind: "Pod".to_owned(),
            namespace: pod.metadata.namespace().to_owned(),
            name: pod.metadata.name.clone(),
        }),
        node_name: node.map(str::to_owned),
        zone: zone.map(str::to_owned),
        hints: hints(service, node, zone).filter(|_| ready),
    })
}

/// Which nodes shall use an endpoint, if the Service asks for short ways (KEP-4444, KEP-3015).
fn hints(service: &Service, node: Option<&str>, zone: Option<&str>) -> Option<Hints> {
    let same_node = match service.spec.traffic_distribution.as_deref()? {
        "PreferSameNode" => true,
        "PreferClose" | "PreferSameZone" => false,
        _ => return None,
    };
    let for_zones = zone.map(|zone| ForZone { name: zone.to_owned() }).into_iter().collect();
    let for_nodes = node.filter(|_| same_node).map(|node| ForNode { name: node.to_owned() }).into_iter().collect();
    Some(Hints { for_zones, for_nodes })
}

/// One warning for all Pods of a Service that have no address, or none of the Service's families.
fn warn_of_addresses(located: &Located, service: &Service, selected: &[&Pod], notices: &mut Vec<Notice>) {
    let without = selected.iter().filter(|pod| addresses(pod).next().is_none()).count();
    if without > 0 {
        let (pods, have, they_are) = plural(without);
        let reason = format!("{pods} the selector but {have} no address (status.podIP); {they_are}");
        notices.push(located.notice(Severity::Warning, "spec.selector", reason));
    }
    let families: Vec<Family> = families(service).collect();
    let is_of_other = |pod: &&&Pod| {
        addresses(pod).next().is_some() && families.iter().all(|family| address_of(pod, *family).is_none())
    };
    let of_other = selected.iter().filter(is_of_other).count();
    if of_other > 0 {
        let (pods, have, they_are) = plural(of_other);
        let families: Vec<String> = families.iter().map(ToString::to_string).collect();
        let reason = format!("{pods} the selector but {have} no {} address; {they_are}", families.join(" or "));
        notices.push(located.notice(Severity::Warning, "spec.ipFamilies", reason));
    }
}

fn plural(count: usize) -> (String, &'static str, &'static str) {
    match count {
        1 => ("1 pod matches".to_owned(), "has", "it is not an endpoint"),
        _ => (format!("{count} pods match"), "have", "they are not endpoints"),
    }
}

/// One warning for each port by name that some Pods do not have.
fn warn_of_ports(located: &Located, service: &Service, selected: &[&Pod], notices: &mut Vec<Notice>) {
    for (i, port) in service.spec.ports.iter().enumerate() {
        let Some(IntOrString::String(wanted)) = &port.target_port else { continue };
        let without: Vec<&Pod> = selected.iter().filter(|pod| target(port, pod).is_none()).copied().collect();
        let Some(first) = without.first() else { continue };
        let namespace = first.metadata.namespace();
        let mut reason =
            format!("pod {namespace}/{} has no port named '{wanted}' ({})", first.metadata.name, names(port, first));
        match without.len() - 1 {
            0 => {}
            1 => reason += "; nor has 1 other pod",
            others => reason += &format!("; nor have {others} other pods"),
        }
        notices.push(located.notice(Severity::Warning, format!("spec.ports[{i}].targetPort"), reason));
    }
}
