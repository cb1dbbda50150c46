use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Node, Service, ServiceId, Slice, SliceId};

/// All inputs of the data plane at one moment. Ordered, so that the same input always gives the same output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// This node
    pub node: Node,
    /// Services, headless and ExternalName ones included
    pub services: BTreeMap<ServiceId, Service>,
    /// EndpointSlices of each Service; kept even while the Service is not there
    slices: BTreeMap<ServiceId, Vec<Slice>>,
    /// The ranges that cluster IPs are taken from, where known
    pub service_networks: Vec<IpNet>,
}

impl World {
    /// Puts a slice in place of an earlier one of the same name and Service.
    pub fn put_slice(&mut self, slice: Slice) {
        // A list, in order of names: nearly every Service has one or two.
        let slices = self.slices.entry(slice.service.clone()).or_default();
        match slices.binary_search_by(|known| known.id.cmp(&slice.id)) {
            Ok(at) => slices[at] = slice,
            Err(at) => slices.insert(at, slice),
        }
    }

    /// Removes a slice, if it is there.
    pub fn remove_slice(&mut self, service: &ServiceId, id: &SliceId) {
        if let Some(slices) = self.slices.get_mut(service) {
            slices.retain(|slice| slice.id != *id);
            if slices.is_empty() {
                self.slices.remove(service);
            }
        }
    }

    /// The slices of a Service, in order of their names.
    pub fn slices_of(&self, service: &ServiceId) -> impl Iterator<Item = &Slice> {
        self.slices.get(service).into_iter().flatten()
    }

    /// The Services that have slices, whether they are there or not.
    pub fn with_slices(&self) -> impl Iterator<Item = &ServiceId> {
        self.slices.keys()
    }

    /// Services that are not the same in both worlds, or whose slices are not. A node that changed concerns all.
    pub fn changed(&self, other: &World) -> BTreeSet<ServiceId> {
        if self.node != other.node {
            return self.services.keys().chain(other.services.keys()).cloned().collect();
        }
        let mut changed = differing_keys(&self.services, &other.services);
        changed.extend(differing_keys(&self.slices, &other.slices));
        changed
    }
}

/// Keys whose values differ between two maps, or that only one of them has.
fn differing_keys<K: Ord + Clone, V: PartialEq>(a: &BTreeMap<K, V>, b: &BTreeMap<K, V>) -> BTreeSet<K> {
    let gone_or_other = a.iter().filter(|(key, value)| b.get(key) != Some(*value)).map(|(key, _)| key);
    let new = b.keys().filter(|key| !a.contains_key(key));
    gone_or_other.chain(new).cloned().collect()
}
