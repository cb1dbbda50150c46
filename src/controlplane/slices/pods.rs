use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    controlplane::validate::address,
    model::{Family, Located},
    objects::{Object, Pod, ZONE_LABEL},
};

/// All Pods, ready to be selected by labels, and what is known of their nodes.
pub(super) struct Pods<'a> {
    /// Pods by namespace, label key and label value, each list by name
    by_label: BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Pod>>,
    /// Zones by node name
    zones: BTreeMap<&'a str, &'a str>,
}

impl<'a> Pods<'a> {
    pub fn new(objects: &'a [Located]) -> Self {
        let mut pods = Pods { by_label: BTreeMap::new(), zones: BTreeMap::new() };
        for located in objects {
            match &located.object {
                Object::Pod(pod) => {
                    for (key, value) in &pod.metadata.labels {
                        pods.by_label.entry((pod.metadata.namespace(), key, value)).or_default().push(pod);
                    }
                }
                Object::Node(node) => {
                    let zone = node.metadata.labels.get(ZONE_LABEL).filter(|zone| !zone.is_empty());
                    pods.zones.extend(zone.map(|zone| (node.metadata.name.as_str(), zone.as_str())));
                }
                _ => {}
            }
        }
        for list in pods.by_label.values_mut() {
            list.sort_by_key(|pod| pod.metadata.name.as_str());
        }
        pods
    }

    /// The Pods of a namespace that carry all the labels, by name. No labels select nothing.
    pub fn select(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<&'a Pod> {
        let lists = labels.iter().map(|(key, value)| {
            self.by_label.get(&(namespace, key.as_str(), value.as_str())).map_or(&[][..], Vec::as_slice)
        });
        let shortest = lists.min_by_key(|list| list.len()).unwrap_or_default();
        let carries_all = |pod: &&&Pod| labels.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value));
        shortest.iter().filter(carries_all).copied().collect()
    }

    /// The zone of a node, if it is known.
    pub fn zone(&self, node: Option<&str>) -> Option<&'a str> {
        self.zones.get(node?).copied()
    }
}

/// Whether the Pod has ended for good.
pub fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// Whether the Pod's condition says that it is ready. Without any conditions it is: nobody is there to set them.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = &pod.status.conditions;
    conditions.is_empty() || conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// The Pod's address of a family.
pub(super) fn address_of(pod: &Pod, family: Family) -> Option<IpAddr> {
    addresses(pod).find(|ip| Family::of(*ip) == family)
}

/// The Pod's addresses.
pub(super) fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let single = pod.status.pod_ip.iter().filter(|_| pod.status.pod_ips.is_empty());
    pod.status.pod_ips.iter().map(|ip| &ip.ip).chain(single).filter_map(|text| address(text).ok())
}
