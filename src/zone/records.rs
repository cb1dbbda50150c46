use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{config::dns::Name, model::Protocol};

/// Where an alias leads; capitals are kept.
pub type Target = Name;

/// What a Service is, as far as names go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has cluster IPs: its own name has these, its own ports are in SRV records
    ClusterIp,
    /// Its own name has the addresses of its endpoints
    Headless,
    /// `type: ExternalName`: owns a CNAME and nothing else, and nothing stands below it
    Alias(Target),
}

/// A port of a Service or of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Its name, lower case, without underscore; none for an unnamed port, which has no name of its own in the zone
    pub name: Option<Box<str>>,
    /// Its protocol
    pub protocol: Protocol,
    /// Its number: of the Service, resp. the target's
    pub number: u16,
}

/// One name below a Service that endpoints answer to; valid for the [`ServiceRecords`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointId(pub(super) u32);

/// A named port of a Service: `_name._protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortId<'a> {
    /// The port's name, without underscore
    pub name: &'a str,
    /// The protocol
    pub protocol: Protocol,
}

/// Which SRV records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrvOwner<'a> {
    /// Those at the Service's own name: all ports, unnamed ones as well
    Service,
    /// Those of a named port
    Port(PortId<'a>),
    /// Those of an endpoint: all its ports
    Endpoint(EndpointId),
}

/// One SRV record, priority 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Port
    pub port: u16,
    /// The endpoint it leads to, by its canonical name; none for the Service's own name
    pub target: Option<EndpointId>,
}

/// The SRV records of one owner name, each once, in a fixed order: an iterator. Records with the same target stand
/// beside each other, so glue is complete if it is added whenever the target changes.
pub struct SrvSet<'a> {
    /// Their weight: 100 by the number of pairs of address and port, at least 1 (1.3)
    pub weight: u16,
    service: &'a ServiceRecords,
}

impl Iterator for SrvSet<'_> {
    type Item = Srv;

    fn next(&mut self) -> Option<Srv> {
        let _ = self.service;
        todo!()
    }
}

/// One Service's records. Never changes.
pub struct ServiceRecords;

impl ServiceRecords {
    /// Namespace.
    pub fn namespace(&self) -> &str {
        todo!()
    }

    /// Name.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// Its own name in wire form, relative to the zone: `\x03web\x04shop\x03svc`.
    pub fn owner(&self) -> &[u8] {
        todo!()
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        todo!()
    }

    /// A records of its own name: cluster IPs, or the ready endpoints' addresses of a headless Service. Each once, in
    /// ascending order.
    pub fn v4(&self) -> &[Ipv4Addr] {
        todo!()
    }

    /// AAAA records of its own name, likewise.
    pub fn v6(&self) -> &[Ipv6Addr] {
        todo!()
    }

    /// SRV records.
    pub fn srv<'a>(&'a self, _at: SrvOwner<'a>) -> SrvSet<'a> {
        todo!()
    }

    /// The label of an endpoint's name, left of [`ServiceRecords::owner`], without its length.
    pub fn label(&self, _endpoint: EndpointId) -> &[u8] {
        todo!()
    }

    /// A records of an endpoint's name, in ascending order.
    pub fn endpoint_v4(&self, _endpoint: EndpointId) -> &[Ipv4Addr] {
        todo!()
    }

    /// AAAA records of an endpoint's name, in ascending order.
    pub fn endpoint_v6(&self, _endpoint: EndpointId) -> &[Ipv6Addr] {
        todo!()
    }

    /// Whether an endpoint's name is an alias, which no record leads to (1.5).
    pub fn is_alias(&self, _endpoint: EndpointId) -> bool {
        todo!()
    }

    /// Names of the EndpointSlices in which a ready endpoint has the address; for explanations.
    pub fn slices_of(&self, _address: IpAddr) -> impl Iterator<Item = &str> {
        [].into_iter()
    }
}
