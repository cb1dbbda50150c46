//! The cluster's names: what the zone holds, made from Kubernetes objects one change at a time.
//!
//! A [`Builder`] takes objects and gives out [`Snapshot`]s, which never change: an SRV record and its glue, a name and
//! its reverse are always of one moment. Snapshots share what did not change between them, so publishing costs what
//! changed.

use std::{net::IpAddr, sync::Arc};

use crate::{
    config::dns::{KubernetesOptions, Name},
    model::Protocol,
    objects::Object,
};

/// How much a snapshot knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The first lists are not complete: nothing may be answered from it
    #[default]
    Unsynced,
    /// What an earlier process left on disk, while the lists are on their way
    Stale,
    /// Everything was read once
    Synced,
}

/// Takes objects, gives snapshots.
pub struct Builder;

impl Builder {
    /// A builder that knows no object.
    pub fn new(_options: Arc<KubernetesOptions>) -> Self {
        todo!()
    }

    /// Takes up a Namespace, Service, EndpointSlice or Pod. Other kinds are ignored, and so is what cannot be used: a
    /// part of an object that is wrong costs that part. Returns whether any name changed.
    pub fn put(&mut self, _object: &Object) -> bool {
        todo!()
    }

    /// Forgets an object; `kind` as [`Object::kind`] spells it. Returns whether any name changed.
    pub fn remove(&mut self, _kind: &str, _namespace: &str, _name: &str) -> bool {
        todo!()
    }

    /// What is known now. `serial` goes into the SOA.
    pub fn publish(&mut self, _state: State, _serial: u32) -> Arc<Snapshot> {
        todo!()
    }
}

/// All names at one moment.
pub struct Snapshot;

impl Snapshot {
    /// What the zone was made with.
    pub fn options(&self) -> &KubernetesOptions {
        todo!()
    }

    /// How much is known.
    pub fn state(&self) -> State {
        todo!()
    }

    /// Serial of the SOA.
    pub fn serial(&self) -> u32 {
        todo!()
    }

    /// Cluster IPs of the Service that clients ask: `ns.dns`.
    pub fn dns_addresses(&self) -> &[IpAddr] {
        todo!()
    }

    /// Finds a name under a forward zone. `relative` are the labels left of the zone in wire form, lower case, without
    /// the root label; empty at the apex.
    pub fn find<'a>(&'a self, _relative: &[u8]) -> Found<'a> {
        todo!()
    }

    /// The names of an address, in the order in which they are to be answered (1.7): in wire form, relative to the
    /// forward zone. Nothing if no name has that address.
    pub fn names_of<'a>(&'a self, _address: IpAddr) -> Box<dyn Iterator<Item = Box<[u8]>> + 'a> {
        todo!()
    }
}

/// What stands at a name.
pub enum Found<'a> {
    /// No such name
    Missing,
    /// The name exists and owns no record
    Empty,
    /// The zone itself
    Apex,
    /// `dns-version`
    Version,
    /// `ns.dns`
    NameServer,
    /// A Service's own name; has addresses and SRV records, or an alias
    Service(&'a ServiceRecords),
    /// One endpoint of a Service, by one of its names
    Endpoint(&'a ServiceRecords, EndpointId<'a>),
    /// `_port._proto` of a Service
    Port(&'a ServiceRecords, PortId<'a>),
    /// A pod's address as a name
    Pod(IpAddr),
}

/// One Service's records. (To be shaped by who builds the zone: addresses by family, named ports, endpoints with
/// canonical name and aliases, ports of slices, alias target.)
pub struct ServiceRecords;

/// One endpoint name of a Service: all addresses that have it.
pub struct EndpointId<'a>(pub &'a [u8]);

/// One named port of a Service.
pub struct PortId<'a>(pub &'a [u8], pub Protocol);

/// Where an alias leads.
pub type Target = Name;
