use std::{net::IpAddr, sync::Arc};

use super::{EndpointId, Kind, Names, PortId, ServiceRecords, State, names::pod_address, tables::Tables};
use crate::config::dns::{KubernetesOptions, PodNames, PtrNames};

/// `ns.dns` in wire form.
const NAME_SERVER: &[u8] = b"\x02ns\x03dns";

/// All names at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) options: Arc<KubernetesOptions>,
    pub(super) state: State,
    pub(super) serial: u32,
    pub(super) dns_addresses: Arc<[IpAddr]>,
    pub(super) tables: Tables,
}

impl Snapshot {
    /// What the zone was made with.
    pub fn options(&self) -> &KubernetesOptions {
        &self.options
    }

    /// How much is known.
    pub fn state(&self) -> State {
        self.state
    }

    /// Serial of the SOA.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// How many Services there are, as far as names go.
    pub fn services(&self) -> usize {
        self.tables.services.len()
    }

    /// Cluster IPs of the Service that clients ask: `ns.dns`. In ascending order, IPv4 first.
    pub fn dns_addresses(&self) -> &[IpAddr] {
        &self.dns_addresses
    }

    /// Who the zone's NS record names: the Service that clients ask, else `ns.dns`. Its addresses are
    /// [`Snapshot::dns_addresses`] in both cases.
    pub fn name_server(&self) -> FullName<'_> {
        let (namespace, name) = &self.options.dns_service;
        let owner = super::owner(namespace, name);
        let service = owner.and_then(|owner| self.tables.service(&owner)).filter(|s| s.kind == Kind::ClusterIp);
        FullName { label: None, owner: service.map_or(NAME_SERVER, |service| &service.owner) }
    }

    /// Finds a name under a forward zone, without allocation. `relative` are the labels left of the zone in wire form,
    /// lower case, without the root label; empty at the apex.
    pub fn find(&self, relative: &[u8]) -> Found<'_> {
        let mut labels = [&relative[..0]; 5];
        let Some(count) = cut(relative, &mut labels) else { return Found::Missing };
        match &labels[..count] {
            [] => Found::Apex,
            [b"dns-version"] => Found::Version,
            // CoreDNS knows this one not (delta 3).
            [b"dns"] if self.options.compat => Found::Missing,
            [b"dns" | b"svc" | b"pod"] => Found::Empty,
            [b"ns", b"dns"] => Found::NameServer,
            [namespace, b"svc"] if self.tables.has_namespace(namespace) => Found::Empty,
            [namespace, b"pod"] if self.options.pods != PodNames::Disabled && self.tables.has_namespace(namespace) => {
                Found::Empty
            }
            [address, namespace, b"pod"] => self.pod(address, namespace),
            [.., b"svc"] if count >= 3 => self.below_service(&labels[..count - 3], relative),
            _ => Found::Missing,
        }
    }

    /// A Service's name, or what stands below it: `left` are the labels left of the Service's own.
    fn below_service<'a>(&'a self, left: &[&[u8]], relative: &[u8]) -> Found<'a> {
        let above: usize = left.iter().map(|label| label.len() + 1).sum();
        let Some(service) = self.tables.service(&relative[above..]) else { return Found::Missing };
        let compat = self.options.compat;
        match (left, &service.kind) {
            ([], _) => Found::Service(service),
            (_, Kind::Alias(_)) => Found::Missing,
            ([label], _) => match service.endpoint(label) {
                Some(endpoint) => Found::Endpoint(service, endpoint),
                None if !compat && service.has_protocol(label) => Found::Empty,
                None => Found::Missing,
            },
            ([port, protocol], _) => match service.port_named(port, protocol, compat) {
                Some(port) => Found::Port(service, port),
                None => Found::Missing,
            },
            _ => Found::Missing,
        }
    }

    fn pod(&self, label: &[u8], namespace: &[u8]) -> Found<'_> {
        let Some(address) = pod_address(label) else { return Found::Missing };
        let there = match &self.options.pods {
            PodNames::Disabled => false,
            PodNames::Insecure => true,
            PodNames::Verified => self.tables.has_pod(namespace, address),
            PodNames::Ranges(ranges) => ranges.iter().any(|range| range.contains(&address)),
        };
        if there && self.tables.has_namespace(namespace) { Found::Pod(address) } else { Found::Missing }
    }

    /// The names of an address, in the order in which they are to be answered (1.7). None if no name has that address.
    pub fn names_of(&self, address: IpAddr) -> Names<'_> {
        self.tables.names_of(address, self.options.ptr == PtrNames::HostnamePreferred)
    }
}

/// Cuts a name in wire form into labels. None if there are more than fit: nothing stands so deep.
fn cut<'a>(mut wire: &'a [u8], labels: &mut [&'a [u8]; 5]) -> Option<usize> {
    let mut count = 0;
    while let Some((length, rest)) = wire.split_first() {
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        *labels.get_mut(count)? = label;
        count += 1;
        wire = rest;
    }
    Some(count)
}

/// What stands at a name.
#[derive(Clone, Copy, Debug)]
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
        let mut wire = Vec::new();
        if let Some(label) = self.label {
            // Labels were checked to have 63 octets at most.
            wire.push(label.len() as u8);
            wire.extend(label);
        }
        wire.extend(self.owner);
        wire
    }
}
