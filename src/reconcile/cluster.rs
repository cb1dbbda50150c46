//! What the API server says, brought into the desired state one object at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;
use jiff::Timestamp;

use crate::{
    desired::Desired,
    model::{
        Family, Node, Notice, ServiceId, Severity, SliceId,
        ingest::{Reader, Reading},
    },
    objects::{Object, ObjectRef},
    source::kube::{Change, Kind},
};

/// Keeps what one change after the other needs to be understood, and what has changed since the last pass.
#[derive(Debug)]
pub struct ClusterInputs {
    reader: Reader,
    listed: BTreeSet<Kind>,
    node: Node,
    /// The ranges of each ServiceCIDR
    networks: BTreeMap<Arc<str>, Vec<IpNet>>,
    /// Whose slice each one is
    slices: BTreeMap<SliceId, ServiceId>,
    /// Services that are there but cannot be used
    refused: BTreeSet<ServiceId>,
    /// They are others than the desired state knows
    unsettled: bool,
    /// Slices that are there and could never be read
    strange: BTreeSet<SliceId>,
    changed: Changed,
}

/// What changed since the last pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changed {
    /// Services that are new, other or gone
    pub services: usize,
    /// EndpointSlices likewise
    pub slices: usize,
    /// When the changes were made that led to these slices, where the slices say so
    pub triggers: Vec<(Family, Timestamp)>,
    /// The node changed
    pub node: bool,
    /// Something else did that concerns the rules
    pub others: bool,
    /// Something did that may concern names alone, which are to follow the next pass
    pub names: bool,
    /// What is wrong with objects
    pub notices: Vec<Notice>,
    /// How many Services there are that cannot be used and keep what they have; not a change
    pub refused: usize,
}

impl Changed {
    /// Whether there is anything to do.
    pub fn any(&self) -> bool {
        self.services > 0 || self.slices > 0 || self.node || self.others || self.names
    }

    /// Adds what changed later.
    pub fn add(&mut self, later: Changed) {
        self.services += later.services;
        self.slices += later.slices;
        self.triggers.extend(later.triggers);
        self.node |= later.node;
        self.others |= later.others;
        self.names |= later.names;
        self.notices.extend(later.notices);
        self.refused = later.refused;
    }
}

impl ClusterInputs {
    /// Inputs for the node of this name, of which nothing is known yet. `networks` are service networks that are known
    /// without any ServiceCIDR.
    pub fn new(node_name: &str, networks: Vec<IpNet>) -> Self {
        Self {
            reader: Reader::new(node_name),
            listed: BTreeSet::new(),
            node: Node { name: node_name.into(), ..Node::default() },
            // No object has an empty name.
            networks: BTreeMap::from([("".into(), networks)]),
            slices: BTreeMap::new(),
            refused: BTreeSet::new(),
            unsettled: false,
            strange: BTreeSet::new(),
            changed: Changed::default(),
        }
    }

    /// The kinds whose first list is not complete yet.
    pub fn missing(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| !self.listed.contains(kind))
    }

    /// Whether everything of a kind was told once.
    pub fn has_listed(&self, kind: Kind) -> bool {
        self.listed.contains(&kind)
    }

    /// Services that are there but cannot be used; they keep what they have.
    pub fn refused(&self) -> &BTreeSet<ServiceId> {
        &self.refused
    }

    /// The ranges that cluster IPs are taken from.
    pub fn networks(&self) -> impl Iterator<Item = &IpNet> {
        self.networks.values().flatten()
    }

    /// The node as its object describes it.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What changed since the last call.
    pub fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// Brings one change into the desired state. Returns what is wrong with the object.
    pub fn apply(&mut self, change: &Change, desired: &mut Desired) -> Vec<Notice> {
        match change {
            Change::Put(object) => self.put(object, desired),
            Change::Gone { kind, namespace, name } => {
                self.gone(*kind, namespace, name, desired);
                Vec::new()
            }
            Change::Undecodable { object, reason } => vec![self.undecodable(object.clone(), reason)],
            Change::Listed(kind) => {
                if self.listed.insert(*kind) {
                    self.changed.others = true;
                    self.set_networks(desired);
                }
                Vec::new()
            }
            Change::NodeMissing { .. } | Change::Trouble { .. } | Change::Recovered(_) => Vec::new(),
        }
    }

    fn put(&mut self, object: &Object, desired: &mut Desired) -> Vec<Notice> {
        let (reading, notices) = self.reader.read(object, None);
        let trigger = match object {
            Object::EndpointSlice(slice) => slice.change_trigger(),
            _ => None,
        };
        match reading {
            Reading::Service(service) => {
                self.unsettled |= self.refused.remove(&service.id);
                self.changed.services += usize::from(desired.put_service(service));
            }
            Reading::Slice(slice) => {
                self.strange.remove(&slice.id);
                let moved = self.move_slice(&slice.id, Some(&slice.service), desired);
                let family = slice.endpoints.first().map(|endpoint| Family::of(endpoint.address));
                if desired.put_slice(slice) {
                    self.changed.slices += usize::from(!moved);
                    self.changed.triggers.extend(family.zip(trigger));
                }
            }
            Reading::Node(node) => {
                self.changed.node |= self.node != node;
                self.node = node;
            }
            Reading::Networks(networks) => {
                let name = object.metadata().name.as_str().into();
                let before = self.networks.insert(name, networks);
                self.changed.others |= before.as_ref() != self.networks.get(object.metadata().name.as_str());
                self.set_networks(desired);
            }
            Reading::Nothing => self.put_useless(object, desired),
        }
        notices
    }

    /// An object that cannot be used, or not any more.
    fn put_useless(&mut self, object: &Object, desired: &mut Desired) {
        let metadata = object.metadata();
        match object {
            Object::Service(_) => self.refuse(ServiceId::new(metadata.namespace(), &metadata.name)),
            Object::EndpointSlice(_) => {
                self.remove_slice(&slice_id(metadata.namespace(), &metadata.name), desired);
            }
            _ => {}
        }
    }

    /// The Service keeps what it has until its object is mended or deleted.
    fn refuse(&mut self, id: ServiceId) {
        if self.refused.insert(id) {
            self.unsettled = true;
            self.changed.services += 1;
        }
    }

    /// To be called after changes were applied, before the desired state is worked on.
    pub fn settle(&mut self, desired: &mut Desired) {
        if std::mem::take(&mut self.unsettled) {
            desired.keep(self.refused.clone());
        }
    }

    /// Whether there are slices that could never be read: whose endpoints may be in the kernel is not known then, and
    /// nothing may be removed on that account.
    pub fn incomplete(&self) -> bool {
        !self.strange.is_empty()
    }

    /// What an object that cannot be decoded means: it stays as it was. One whose name cannot be read is only told of.
    fn undecodable(&mut self, object: ObjectRef, reason: &str) -> Notice {
        if object.name.is_empty() {
            // Which one it is nobody knows; its list removes nothing.
        } else if &*object.kind == Kind::Service.name() {
            self.refuse(ServiceId { namespace: object.namespace.clone(), name: object.name.clone() });
        } else if &*object.kind == Kind::EndpointSlice.name() {
            let id = SliceId { namespace: object.namespace.clone(), name: object.name.clone() };
            if !self.slices.contains_key(&id) {
                self.strange.insert(id);
            }
        }
        let reason = format!("{reason}; what was programmed for it stays");
        Notice { severity: Severity::Refused, origin: None, object: Some(object), field: String::new(), reason }
    }

    fn gone(&mut self, kind: Kind, namespace: &str, name: &str, desired: &mut Desired) {
        match kind {
            Kind::Service => {
                let id = ServiceId::new(namespace, name);
                desired.remove_service(&id);
                self.unsettled |= self.refused.remove(&id);
                self.changed.services += 1;
            }
            Kind::EndpointSlice => self.remove_slice(&slice_id(namespace, name), desired),
            Kind::ServiceCidr => {
                self.changed.others |= self.networks.remove(name).is_some();
                self.set_networks(desired);
            }
            // A node is deleted when its machine is on its way out. While it runs, its address and zone are what they
            // were; health tells load balancers.
            Kind::Node | Kind::Namespace | Kind::Pod => {}
        }
    }

    fn remove_slice(&mut self, id: &SliceId, desired: &mut Desired) {
        self.strange.remove(id);
        self.move_slice(id, None, desired);
    }

    /// Takes a slice away from the Service it was of, unless it still belongs there. Returns whether it did.
    fn move_slice(&mut self, id: &SliceId, to: Option<&ServiceId>, desired: &mut Desired) -> bool {
        let from = match to {
            Some(service) if self.slices.get(id) == Some(service) => return false,
            Some(service) => self.slices.insert(id.clone(), service.clone()),
            None => self.slices.remove(id),
        };
        if let Some(from) = &from {
            desired.remove_slice(from, id);
            self.changed.slices += 1;
        }
        from.is_some()
    }

    fn set_networks(&self, desired: &mut Desired) {
        desired.set_service_networks(self.networks().copied().collect());
    }
}

fn slice_id(namespace: &str, name: &str) -> SliceId {
    SliceId { namespace: namespace.into(), name: name.into() }
}
