use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Snapshot, State,
    assemble::assemble,
    facts::{ServiceFacts, Shape, SliceFacts, cluster_ips, pod_addresses},
    label, owner,
    select::selects,
    tables::Tables,
};
use crate::{
    config::dns::{KubernetesOptions, PodNames},
    objects::{EndpointSlice, Namespace, Object, Pod, Service},
};

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

/// Takes objects, gives snapshots.
#[derive(Debug)]
pub struct Builder {
    options: Arc<KubernetesOptions>,
    /// Those that exist, and whether they are exposed
    namespaces: BTreeMap<Arc<str>, bool>,
    services: BTreeMap<Key, Known>,
    /// To which Service a slice belongs
    slices: BTreeMap<Key, Arc<str>>,
    /// Live Pods, if it matters which there are
    pods: BTreeMap<Key, Box<[IpAddr]>>,
    /// Services whose records are to be made anew
    dirty: BTreeSet<Key>,
    dns_addresses: Arc<[IpAddr]>,
    tables: Tables,
    changed: bool,
}

/// What is known of a Service: either part may come first (1.4).
#[derive(Debug)]
struct Known {
    owner: Arc<[u8]>,
    service: Option<ServiceFacts>,
    /// By name
    slices: Vec<SliceFacts>,
}

impl Builder {
    /// A builder that knows no object.
    pub fn new(options: Arc<KubernetesOptions>) -> Self {
        Self {
            options,
            namespaces: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            pods: BTreeMap::new(),
            dirty: BTreeSet::new(),
            dns_addresses: Arc::default(),
            tables: Tables::default(),
            changed: false,
        }
    }

    /// Takes up a Namespace, Service, EndpointSlice or Pod. Other kinds are ignored, and so is what cannot be used: a
    /// part of an object that is wrong costs that part. Returns whether anything changed that names are made of; whether
    /// a name changed is what [`Builder::settle`] tells.
    pub fn put(&mut self, object: &Object) -> bool {
        match object {
            Object::Namespace(namespace) => self.put_namespace(namespace),
            Object::Service(service) => self.put_service(object.namespace(), service),
            Object::EndpointSlice(slice) => self.put_slice(object.namespace(), slice),
            Object::Pod(pod) => self.put_pod(object.namespace(), pod),
            _ => false,
        }
    }

    /// Forgets an object; `kind` as [`Object::kind`] spells it. Returns the same as [`Builder::put`].
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) -> bool {
        let key = (namespace.into(), name.into());
        match kind {
            "Namespace" => {
                let known = self.namespaces.remove(name).is_some();
                known && self.show_namespace(&key.1, false)
            }
            "Service" => self.set_service(key, None, Box::default()),
            "EndpointSlice" => self.set_slice(&key, None),
            "Pod" => self.set_pod(key, Box::default()),
            _ => false,
        }
    }

    /// Whether names can be made by other options of the objects that are known: not if these options decide which
    /// objects are kept, and differ.
    pub fn fits(&self, options: &KubernetesOptions) -> bool {
        let verified = |options: &KubernetesOptions| options.pods == PodNames::Verified;
        let old = &*self.options;
        old.namespaces == options.namespaces
            && old.namespace_labels == options.namespace_labels
            && old.labels == options.labels
            && old.no_endpoints == options.no_endpoints
            && old.dns_service == options.dns_service
            && verified(old) == verified(options)
    }

    /// Makes names by other options, which [`Builder::fits`], from the next [`Builder::publish`] on.
    pub fn change_options(&mut self, options: Arc<KubernetesOptions>) {
        if *self.options != *options {
            self.options = options;
            self.changed = true;
            self.dirty.extend(self.services.keys().cloned());
        }
    }

    /// Makes the records of everything put and removed since the last time. Returns whether any record changed since
    /// the last [`Builder::publish`], also if it changed back: then, and only then, the serial goes up.
    pub fn settle(&mut self) -> bool {
        let mut touched = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            let Some(known) = self.services.get(&key) else { continue };
            let exposed = self.namespaces.get(&key.0) == Some(&true);
            let service = known.service.as_ref().filter(|_| exposed);
            let records = service.and_then(|s| assemble(&known.owner, s, &known.slices, &self.options));
            self.changed |= self.tables.set_service(&known.owner, records, &mut touched);
            if known.service.is_none() && known.slices.is_empty() {
                self.services.remove(&key);
            }
        }
        self.tables.settle_addresses(touched);
        self.changed
    }

    /// What is known now, settled. `serial` goes into the SOA.
    pub fn publish(&mut self, state: State, serial: u32) -> Arc<Snapshot> {
        self.settle();
        self.changed = false;
        Arc::new(Snapshot {
            options: self.options.clone(),
            state,
            serial,
            dns_addresses: self.dns_addresses.clone(),
            tables: self.tables.clone(),
        })
    }

    /// Whether a Service is headless, as far as is known.
    pub fn is_headless(&self, namespace: &str, service: &str) -> bool {
        let known = self.services.get(&(namespace.into(), service.into()));
        known.and_then(|known| known.service.as_ref()).is_some_and(|service| service.shape == Shape::Headless)
    }

    /// How many objects and Services are kept. Zero after everything was removed and settled: nothing is left behind.
    pub fn held(&self) -> usize {
        let tables = &self.tables;
        let shown = tables.namespaces.len() + tables.services.len() + tables.addresses.len() + tables.pods.len();
        self.namespaces.len() + self.services.len() + self.slices.len() + self.pods.len() + self.dirty.len() + shown
    }

    /// Whether the operator named this namespace, or none; labels apart.
    fn named(&self, namespace: &str) -> bool {
        self.options.namespaces.is_empty() || self.options.namespaces.iter().any(|name| name == namespace)
    }

    fn is_dns_service(&self, namespace: &str, name: &str) -> bool {
        let (own_namespace, own_name) = &self.options.dns_service;
        own_namespace == namespace && own_name == name
    }

    fn put_namespace(&mut self, namespace: &Namespace) -> bool {
        let metadata = &namespace.metadata;
        let Some(name) = label(&metadata.name) else { return false };
        let exposed = self.named(name) && selects(self.options.namespace_labels.as_ref(), &metadata.labels);
        let name: Arc<str> = name.into();
        self.namespaces.insert(name.clone(), exposed);
        self.show_namespace(&name, exposed)
    }

    fn show_namespace(&mut self, name: &Arc<str>, exposed: bool) -> bool {
        if !self.tables.set_namespace(name, exposed) {
            return false;
        }
        self.changed = true;
        let first = (name.clone(), Arc::from(""));
        let inside = self.services.range(first..).take_while(|(key, _)| key.0 == *name);
        self.dirty.extend(inside.map(|(key, _)| key.clone()));
        true
    }

    fn put_service(&mut self, namespace: &str, service: &Service) -> bool {
        let name = service.metadata.name.as_str();
        // Its addresses are answered even if its name is not to be.
        let dns = self.is_dns_service(namespace, name);
        if !dns && !self.named(namespace) {
            return false;
        }
        let selected = selects(self.options.labels.as_ref(), &service.metadata.labels);
        let alias = service.spec.type_.as_deref() == Some("ExternalName");
        let addresses = if dns && !alias { cluster_ips(service) } else { Box::default() };
        let key = (namespace.into(), name.into());
        self.set_service(key, Some(ServiceFacts::read(service, selected)), addresses)
    }

    fn set_service(&mut self, key: Key, service: Option<ServiceFacts>, addresses: Box<[IpAddr]>) -> bool {
        let mut changed = false;
        if self.is_dns_service(&key.0, &key.1) && *self.dns_addresses != *addresses {
            self.dns_addresses = addresses.into();
            (changed, self.changed) = (true, true);
        }
        let Some(known) = known(&mut self.services, &key) else { return changed };
        if known.service != service {
            known.service = service;
            changed = true;
        }
        // Also if it did not change: an entry made for nothing goes again.
        self.dirty.insert(key);
        changed
    }

    fn put_slice(&mut self, namespace: &str, slice: &EndpointSlice) -> bool {
        if self.options.no_endpoints || !self.named(namespace) {
            return false;
        }
        let key = (namespace.into(), slice.metadata.name.as_str().into());
        self.set_slice(&key, SliceFacts::read(slice))
    }

    fn set_slice(&mut self, key: &Key, slice: Option<(&str, SliceFacts)>) -> bool {
        let former = self.slices.get(key).cloned();
        let mut changed = false;
        if let Some(former) = former.filter(|former| slice.as_ref().is_none_or(|(service, _)| **former != **service)) {
            self.slices.remove(key);
            changed |= self.change_slices(&(key.0.clone(), former), &key.1, None);
        }
        if let Some((service, facts)) = slice {
            let service: Arc<str> = service.into();
            if owner(&key.0, &service).is_some() {
                self.slices.insert(key.clone(), service.clone());
                changed |= self.change_slices(&(key.0.clone(), service), &key.1, Some(facts));
            }
        }
        changed
    }

    fn change_slices(&mut self, service: &Key, name: &str, facts: Option<SliceFacts>) -> bool {
        let Some(known) = known(&mut self.services, service) else { return false };
        let place = known.slices.binary_search_by(|slice| (*slice.name).cmp(name));
        match (place, facts) {
            (Ok(place), Some(facts)) if known.slices[place] == facts => return false,
            (Ok(place), Some(facts)) => known.slices[place] = facts,
            (Ok(place), None) => drop(known.slices.remove(place)),
            (Err(place), Some(facts)) => {
                // Most Services have one slice, and there are many Services.
                known.slices.reserve_exact(1);
                known.slices.insert(place, facts);
            }
            (Err(_), None) => return false,
        }
        self.dirty.insert(service.clone());
        true
    }

    fn put_pod(&mut self, namespace: &str, pod: &Pod) -> bool {
        if self.options.pods != PodNames::Verified || !self.named(namespace) {
            return false;
        }
        self.set_pod((namespace.into(), pod.metadata.name.as_str().into()), pod_addresses(pod))
    }

    fn set_pod(&mut self, key: Key, addresses: Box<[IpAddr]>) -> bool {
        let former = self.pods.get(&key);
        if former.map_or(&[][..], |former| former) == &*addresses {
            return false;
        }
        let namespace = key.0.clone();
        let former = match addresses.is_empty() {
            true => self.pods.remove(&key),
            false => self.pods.insert(key, addresses.clone()),
        };
        let former = former.unwrap_or_default();
        let mut changed = false;
        for address in addresses.iter().filter(|address| !former.contains(address)) {
            changed |= self.tables.add_pod(&namespace, *address);
        }
        for address in former.iter().filter(|address| !addresses.contains(address)) {
            changed |= self.tables.remove_pod(&namespace, *address);
        }
        self.changed |= changed;
        changed
    }
}

/// The place of a Service that may have no object yet; none if its name cannot be one.
fn known<'a>(services: &'a mut BTreeMap<Key, Known>, key: &Key) -> Option<&'a mut Known> {
    if !services.contains_key(key) {
        let owner = owner(&key.0, &key.1)?;
        services.insert(key.clone(), Known { owner, service: None, slices: Vec::new() });
    }
    services.get_mut(key)
}
