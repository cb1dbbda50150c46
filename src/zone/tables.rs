//! What a snapshot holds: tables that share with the snapshot before what did not change.

use std::{net::IpAddr, sync::Arc};

use super::{
    ServiceRecords,
    reverse::{Address, Touched, touch},
    table::{Table, hash},
};

/// Everything that is looked up. A copy is cheap and never changes with the original.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    /// Namespaces that exist and are exposed
    pub namespaces: Table<Arc<str>>,
    /// Services that exist for DNS, by owner
    pub services: Table<Arc<ServiceRecords>>,
    /// Which of these have an address
    pub addresses: Table<Address>,
    /// Addresses of live Pods
    pub pods: Table<PodAddress>,
}

/// An address of Pods in a namespace.
#[derive(Clone, Debug)]
pub(super) struct PodAddress {
    pub namespace: Arc<str>,
    pub address: IpAddr,
    /// How many Pods have it: those in the host's network share its address
    pub pods: u32,
}

pub(super) fn address_hash(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

fn pod_hash(namespace: &[u8], address: IpAddr) -> u64 {
    hash(namespace) ^ address_hash(address).rotate_left(1)
}

impl Tables {
    /// Whether a namespace is there.
    pub fn has_namespace(&self, name: &[u8]) -> bool {
        self.namespaces.get(hash(name), |known| known.as_bytes() == name).is_some()
    }

    /// Adds or takes away a namespace; returns whether that is a change.
    pub fn set_namespace(&mut self, name: &Arc<str>, there: bool) -> bool {
        let is = |known: &Arc<str>| known == name;
        match (there, self.has_namespace(name.as_bytes())) {
            (true, false) => self.namespaces.insert(hash(name.as_bytes()), name.clone(), is).is_none(),
            (false, true) => self.namespaces.remove(hash(name.as_bytes()), is).is_some(),
            (true, true) | (false, false) => false,
        }
    }

    /// The Service with this owner.
    pub fn service(&self, owner: &[u8]) -> Option<&Arc<ServiceRecords>> {
        self.services.get(hash(owner), |known| *known.owner == *owner)
    }

    /// Puts a Service's records in the place of its former ones; returns whether an answer changes. Addresses whose
    /// names change with that are added to `touched`, and have them when these are settled.
    pub fn set_service(&mut self, owner: &Arc<[u8]>, records: Option<ServiceRecords>, touched: &mut Touched) -> bool {
        let place = hash(owner);
        let is = |known: &Arc<ServiceRecords>| known.owner == *owner;
        let known = self.services.get(place, is);
        if known.map(|known| &**known) == records.as_ref() {
            return false;
        }
        let changed = match (known, &records) {
            (Some(known), Some(records)) => !known.same_answers(records),
            _ => true,
        };
        let now = records.map(Arc::new);
        let former = match &now {
            Some(now) => self.services.insert(place, now.clone(), is),
            None => self.services.remove(place, is),
        };
        if changed {
            touch(owner, former.as_deref(), now.as_deref(), touched);
        }
        changed
    }

    /// Whether a live Pod in the namespace has the address.
    pub fn has_pod(&self, namespace: &[u8], address: IpAddr) -> bool {
        self.pods(namespace, address) > 0
    }

    fn pods(&self, namespace: &[u8], address: IpAddr) -> u32 {
        let is = |pod: &PodAddress| pod.namespace.as_bytes() == namespace && pod.address == address;
        self.pods.get(pod_hash(namespace, address), is).map_or(0, |known| known.pods)
    }

    /// One Pod more with this address; returns whether it is the first.
    pub fn add_pod(&mut self, namespace: &Arc<str>, address: IpAddr) -> bool {
        let pods = self.pods(namespace.as_bytes(), address);
        self.set_pods(namespace, address, pods.saturating_add(1));
        pods == 0
    }

    /// One Pod less with this address; returns whether it was the last.
    pub fn remove_pod(&mut self, namespace: &Arc<str>, address: IpAddr) -> bool {
        let pods = self.pods(namespace.as_bytes(), address);
        self.set_pods(namespace, address, pods.saturating_sub(1));
        pods == 1
    }

    pub fn set_pods(&mut self, namespace: &Arc<str>, address: IpAddr, pods: u32) {
        let place = pod_hash(namespace.as_bytes(), address);
        let is = |pod: &PodAddress| pod.namespace == *namespace && pod.address == address;
        if pods == 0 {
            self.pods.remove(place, is);
        } else {
            self.pods.insert(place, PodAddress { namespace: namespace.clone(), address, pods }, is);
        }
    }
}
