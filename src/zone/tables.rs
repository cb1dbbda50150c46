//! What a snapshot holds: tables that share with the snapshot before what did not change.

use std::{cmp::Ordering, net::IpAddr, sync::Arc};

use super::{
    ServiceRecords,
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

/// An address, and the owners of the Services that have it.
#[derive(Clone, Debug)]
pub(super) struct Address {
    address: IpAddr,
    owners: Owners,
}

#[derive(Clone, Debug)]
enum Owners {
    One(Arc<[u8]>),
    /// In ascending order
    Many(Arc<[Arc<[u8]>]>),
}

/// An address of Pods in a namespace.
#[derive(Clone, Debug)]
pub(super) struct PodAddress {
    pub namespace: Arc<str>,
    pub address: IpAddr,
    /// How many Pods have it: those in the host's network share its address
    pub pods: u32,
}

impl Owners {
    fn as_slice(&self) -> &[Arc<[u8]>] {
        match self {
            Owners::One(owner) => std::slice::from_ref(owner),
            Owners::Many(owners) => owners,
        }
    }
}

fn address_hash(address: IpAddr) -> u64 {
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

    /// Puts a Service's records in the place of its former ones; returns whether an answer changes.
    pub fn set_service(&mut self, owner: &Arc<[u8]>, records: Option<ServiceRecords>) -> bool {
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
        let addresses = records.as_ref().map(ServiceRecords::addresses).unwrap_or_default();
        let former = match records {
            Some(records) => self.services.insert(place, Arc::new(records), is),
            None => self.services.remove(place, is),
        };
        if changed {
            let former = former.map(|former| former.addresses()).unwrap_or_default();
            self.set_addresses(owner, &former, &addresses);
        }
        changed
    }

    /// Both lists are in ascending order, each address once.
    fn set_addresses(&mut self, owner: &Arc<[u8]>, mut former: &[IpAddr], mut now: &[IpAddr]) {
        loop {
            let order = match (former.first(), now.first()) {
                (Some(former), Some(now)) => former.cmp(now),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            match order {
                Ordering::Less => self.disown(owner, former[0]),
                Ordering::Greater => self.own(owner, now[0]),
                Ordering::Equal => {}
            }
            former = &former[usize::from(order.is_le())..];
            now = &now[usize::from(order.is_ge())..];
        }
    }

    fn own(&mut self, owner: &Arc<[u8]>, address: IpAddr) {
        let mut owners = self.owners_of(address).to_vec();
        if let Err(place) = owners.binary_search(owner) {
            owners.insert(place, owner.clone());
            self.set_owners(address, owners);
        }
    }

    fn disown(&mut self, owner: &Arc<[u8]>, address: IpAddr) {
        let mut owners = self.owners_of(address).to_vec();
        owners.retain(|known| known != owner);
        self.set_owners(address, owners);
    }

    fn set_owners(&mut self, address: IpAddr, owners: Vec<Arc<[u8]>>) {
        let (place, is) = (address_hash(address), |known: &Address| known.address == address);
        let owners = match &owners[..] {
            [] => {
                self.addresses.remove(place, is);
                return;
            }
            [one] => Owners::One(one.clone()),
            _ => Owners::Many(owners.into()),
        };
        self.addresses.insert(place, Address { address, owners }, is);
    }

    /// Owners of the Services that have this address, in ascending order.
    pub fn owners_of(&self, address: IpAddr) -> &[Arc<[u8]>] {
        let known = self.addresses.get(address_hash(address), |known| known.address == address);
        known.map_or(&[], |known| known.owners.as_slice())
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
