use std::net::IpAddr;

use super::{EndpointId, PortId, ServiceRecords, State};
use crate::config::dns::KubernetesOptions;

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

    /// Cluster IPs of the Service that clients ask: `ns.dns`. In ascending order, IPv4 first.
    pub fn dns_addresses(&self) -> &[IpAddr] {
        todo!()
    }

    /// Who the zone's NS record names: the Service that clients ask, else `ns.dns`. Its addresses are
    /// [`Snapshot::dns_addresses`] in both cases.
    pub fn name_server(&self) -> FullName<'_> {
        todo!()
    }

    /// Finds a name under a forward zone, without allocation. `relative` are the labels left of the zone in wire form,
    /// lower case, without the root label; empty at the apex.
    pub fn find(&self, _relative: &[u8]) -> Found<'_> {
        todo!()
    }

    /// The names of an address, in the order in which they are to be answered (1.7). None if no name has that address.
    pub fn names_of(&self, _address: IpAddr) -> Names<'_> {
        todo!()
    }
}

/// What stands at a name.
#[derive(Clone, Copy)]
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
    Endpoint(&'a ServiceRecords, EndpointId),
    /// `_port._proto` of a Service
    Port(&'a ServiceRecords, PortId<'a>),
    /// A pod's address as a name
    Pod(IpAddr),
}

/// A name relative to the forward zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullName<'a> {
    /// Label of an endpoint, without its length; none for a Service's own name
    pub label: Option<&'a [u8]>,
    /// What stands right of it, in wire form, without the root label
    pub owner: &'a [u8],
}

impl FullName<'_> {
    /// The whole name in wire form, relative to the zone, without the root label.
    pub fn wire(&self) -> Vec<u8> {
        todo!()
    }
}

/// Names of an address; a slice of [`FullName`].
pub enum Names<'a> {
    /// None
    None,
    /// One, the common case
    One(FullName<'a>),
    /// Several, in order
    Many(Vec<FullName<'a>>),
}

impl<'a> std::ops::Deref for Names<'a> {
    type Target = [FullName<'a>];

    fn deref(&self) -> &Self::Target {
        match self {
            Names::None => &[],
            Names::One(name) => std::slice::from_ref(name),
            Names::Many(names) => names,
        }
    }
}
