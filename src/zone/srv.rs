use std::ops::Range;

use super::{
    EndpointId, Kind, Port, PortId, ServiceRecords,
    records::{Endpoints, Link},
};
use crate::model::Protocol;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    /// The endpoint it leads to, by its canonical name; none for the Service's own name
    pub target: Option<EndpointId>,
    /// Port
    pub port: u16,
}

/// The SRV records of one owner name, each once, in a fixed order: an iterator. Records with the same target stand
/// beside each other, so glue is complete if it is added whenever the target changes.
#[derive(Clone, Debug)]
pub struct SrvSet<'a> {
    /// Their weight: 100 by the number of pairs of address and port, at least 1 (1.3)
    pub weight: u16,
    service: &'a ServiceRecords,
    owner: SrvOwner<'a>,
    /// Links to go through; none if the ports are the Service's own
    links: Option<Range<usize>>,
    /// Where the iterator stands
    link: usize,
    port: usize,
}

impl ServiceRecords {
    /// SRV records; none for an alias.
    pub fn srv<'a>(&'a self, owner: SrvOwner<'a>) -> SrvSet<'a> {
        let links = match (owner, &self.kind) {
            (SrvOwner::Endpoint(endpoint), _) => Some(self.endpoints.share(endpoint.0, |label| label.links)),
            (_, Kind::Headless) => Some(0..self.endpoints.links.len()),
            (_, Kind::ClusterIp | Kind::Alias(_)) => None,
        };
        let link = links.as_ref().map_or(0, |links| links.start);
        let mut set = SrvSet { weight: 0, service: self, owner, links, link, port: 0 };
        set.weight = set.weigh();
        set
    }

    /// The port that `_name._protocol` stands for, with its underscores; `lenient` does without them, as CoreDNS.
    pub(super) fn port_named(&self, name: &[u8], protocol: &[u8], lenient: bool) -> Option<PortId<'_>> {
        let bare = |label: &'_ [u8]| -> usize { usize::from(label.first() == Some(&b'_')) };
        if !lenient && (bare(name), bare(protocol)) != (1, 1) {
            return None;
        }
        let (name, protocol) = (&name[bare(name)..], protocol_named(&protocol[bare(protocol)..])?);
        let mut named = self.shown_ports().filter_map(|port| Some((port.name.as_deref()?, port.protocol)));
        let (name, protocol) = named.find(|port| port.0.as_bytes() == name && port.1 == protocol)?;
        Some(PortId { name, protocol })
    }

    /// Whether `_protocol` stands above a named port.
    pub(super) fn has_protocol(&self, label: &[u8]) -> bool {
        let protocol = label.strip_prefix(b"_").and_then(protocol_named);
        protocol.is_some_and(|protocol| self.shown_ports().any(|port| port.name.is_some() && port.protocol == protocol))
    }

    /// The ports that SRV records at and below the Service's own name are made from: the Service's, or the slices' of
    /// a headless Service (1.2).
    pub(super) fn shown_ports(&self) -> impl Iterator<Item = &Port> {
        let (own, slices): (&[Port], &[Box<[Port]>]) = match self.kind {
            Kind::ClusterIp => (&self.ports, &[]),
            Kind::Headless => (&[], &self.endpoints.groups),
            Kind::Alias(_) => (&[], &[]),
        };
        own.iter().chain(slices.iter().flatten())
    }
}

fn protocol_named(text: &[u8]) -> Option<Protocol> {
    match text {
        b"tcp" => Some(Protocol::Tcp),
        b"udp" => Some(Protocol::Udp),
        b"sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

impl SrvSet<'_> {
    fn endpoints(&self) -> &Endpoints {
        &self.service.endpoints
    }

    fn wants(&self, port: &Port) -> bool {
        match self.owner {
            SrvOwner::Port(id) => port.protocol == id.protocol && port.name.as_deref() == Some(id.name),
            SrvOwner::Service | SrvOwner::Endpoint(_) => true,
        }
    }

    /// At the Service's name the links of aliases are passed over: they say again what the canonical ones say.
    fn walks(&self, link: &Link) -> bool {
        !link.alias || matches!(self.owner, SrvOwner::Endpoint(_))
    }

    fn group(&self, link: &Link) -> &[Port] {
        self.endpoints().groups.get(link.group as usize).map_or(&[], |group| group)
    }

    /// `floor(100 / n)`, where n counts pairs of address and port before they are merged by target (1.3).
    fn weigh(&self) -> u16 {
        let wanted = |ports: &[Port]| ports.iter().filter(|port| self.wants(port)).count();
        let pairs = match (&self.links, self.owner) {
            (None, _) => wanted(&self.service.ports) * (self.service.v4.len() + self.service.v6.len()),
            (Some(range), SrvOwner::Endpoint(_)) => {
                let links = self.endpoints().links[range.clone()].iter();
                links.map(|link| wanted(self.group(link)) * link.count as usize).sum()
            }
            (Some(_), SrvOwner::Service | SrvOwner::Port(_)) => {
                let groups = self.endpoints().groups.iter().zip(&self.endpoints().counts);
                groups.map(|(ports, count)| wanted(ports) * *count as usize).sum()
            }
        };
        (100 / pairs.clamp(1, 100)) as u16
    }

    /// Whether the record was given before: two ports of one number differ in name or protocol alone.
    fn given(&self, ports: &[Port], number: u16, canonical: Option<u32>) -> bool {
        let same = |port: &Port| port.number == number && self.wants(port);
        if ports[..self.port].iter().any(same) {
            return true;
        }
        let (Some(range), Some(canonical)) = (&self.links, canonical) else { return false };
        // Links of one canonical name stand beside each other.
        let before = self.endpoints().links[range.start..self.link].iter().rev();
        let mut before = before.filter(|link| self.walks(link)).take_while(|link| link.canonical == canonical);
        before.any(|link| self.group(link).iter().any(same))
    }
}

impl Iterator for SrvSet<'_> {
    type Item = Srv;

    fn next(&mut self) -> Option<Srv> {
        loop {
            let (ports, canonical) = match &self.links {
                None => (&*self.service.ports, None),
                Some(range) => {
                    if self.link >= range.end {
                        return None;
                    }
                    let link = self.service.endpoints.links[self.link];
                    let ports = self.service.endpoints.groups.get(link.group as usize).map_or(&[][..], |group| group);
                    (if self.walks(&link) { ports } else { &[] }, Some(link.canonical))
                }
            };
            let Some(port) = ports.get(self.port) else {
                self.links.as_ref()?;
                (self.link, self.port) = (self.link + 1, 0);
                continue;
            };
            let new = self.wants(port) && !self.given(ports, port.number, canonical);
            self.port += 1;
            if new {
                return Some(Srv { target: canonical.map(EndpointId), port: port.number });
            }
        }
    }
}
