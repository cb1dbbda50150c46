//! What the cluster's zone says about a name: the decision, before a byte is written (1.2, 1.3, 1.7, 1.10).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::iana::Rtype;

use super::name::{LowerName, labels, relative_to};
use crate::{
    config::dns::{Fallthrough, KubernetesOptions, Name},
    zone::{Found, Kind, Names, ServiceRecords, Snapshot, SrvOwner, State, Target},
};

/// Longest time to live of an SOA record, in seconds (1.3).
const SOA_TTL: u32 = 300;
/// Time to live of what an earlier process left, in seconds (2.7).
const STALE_TTL: u32 = 5;

/// The zones of one `kubernetes` block.
#[derive(Debug)]
pub struct Cluster {
    /// Longest first
    zones: Vec<Zone>,
    /// What reverse names lead to: the first forward zone
    primary: Box<[u8]>,
    ttl: u32,
    fallthrough: Falls,
    /// Where CoreDNS differs, as CoreDNS (1.9)
    pub compat: bool,
}

/// One zone of the block.
#[derive(Debug)]
pub struct Zone {
    /// In wire form, lower case
    pub name: Box<[u8]>,
    /// Names of addresses
    pub reverse: bool,
}

/// For which names a missing name is looked for elsewhere.
#[derive(Debug)]
pub enum Falls {
    /// None
    Never,
    /// All
    Always,
    /// At or below these, in wire form, lower case
    Zones(Vec<Box<[u8]>>),
}

/// What there is to say about a name and a type.
pub enum Decision<'s> {
    /// The lists are not complete
    NotReady,
    /// No such name, nor anywhere else
    Missing,
    /// No such name here; the next source is asked
    FallsThrough,
    /// The name exists and has no such record
    NoData,
    /// The name is another's
    Alias(&'s ServiceRecords, &'s Target),
    /// Records
    Records(Records<'s>),
}

/// Records of the name asked for.
pub enum Records<'s> {
    /// The zone's SOA
    Soa,
    /// The zone's NS, with glue
    NameServer,
    /// `dns-version`
    Version,
    /// One line for ANY (RFC 8482)
    Hinfo,
    /// A
    V4(&'s [Ipv4Addr]),
    /// AAAA
    V6(&'s [Ipv6Addr]),
    /// A or AAAA of `ns.dns`: those of the family asked for
    ServerAddresses,
    /// A or AAAA of a pod's name
    Pod(IpAddr),
    /// SRV, with glue
    Srv(&'s ServiceRecords, SrvOwner<'s>),
    /// PTR
    Ptr(Names<'s>),
}

/// A name in wire form, lower case.
pub fn lower(name: &Name) -> Box<[u8]> {
    name.as_octets().to_ascii_lowercase().into()
}

impl Falls {
    /// From what was configured.
    pub fn new(fallthrough: &Fallthrough) -> Self {
        match fallthrough {
            Fallthrough::Never => Self::Never,
            Fallthrough::Always => Self::Always,
            Fallthrough::Zones(zones) => Self::Zones(zones.iter().map(lower).collect()),
        }
    }

    /// Whether a name is looked for elsewhere.
    pub fn covers(&self, name: &[u8]) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Zones(zones) => zones.iter().any(|zone| relative_to(name, zone).is_some()),
        }
    }
}

impl Cluster {
    /// From a block's options.
    pub fn new(options: &KubernetesOptions) -> Self {
        let is_reverse = |name: &[u8]| {
            [&b"\x07in-addr\x04arpa\0"[..], b"\x03ip6\x04arpa\0"].iter().any(|end| relative_to(name, end).is_some())
        };
        let zone = |name: &Name| Zone { name: lower(name), reverse: is_reverse(&lower(name)) };
        let mut zones: Vec<Zone> = options.zones.iter().map(zone).collect();
        let primary = zones.iter().find(|zone| !zone.reverse).map(|zone| zone.name.clone());
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.name.len()));
        Self {
            zones,
            primary: primary.unwrap_or_else(|| (*b"\x07cluster\x05local\0").into()),
            ttl: options.ttl,
            fallthrough: Falls::new(&options.fallthrough),
            compat: options.compat,
        }
    }

    /// The zone that a name lies in, and its labels left of the zone.
    pub fn locate<'a>(&self, name: &'a [u8]) -> Option<(&Zone, &'a [u8])> {
        self.zones.iter().find_map(|zone| Some((zone, relative_to(name, &zone.name)?)))
    }

    /// The forward zone that names of addresses and of the name server lie in, in wire form.
    pub fn primary(&self) -> &[u8] {
        &self.primary
    }

    /// Time to live in seconds.
    pub fn ttl(&self, snapshot: &Snapshot) -> u32 {
        if snapshot.state() == State::Stale { self.ttl.min(STALE_TTL) } else { self.ttl }
    }

    /// The same of the SOA (delta 23).
    pub fn soa_ttl(&self, snapshot: &Snapshot) -> u32 {
        self.ttl(snapshot).min(SOA_TTL)
    }

    /// What a snapshot says. `name` lies in `zone`, `relative` to it as [`Cluster::locate`] told.
    pub fn decide<'s>(
        &self,
        snapshot: Option<&'s Snapshot>,
        zone: &Zone,
        relative: &[u8],
        name: &[u8],
        qtype: Rtype,
    ) -> Decision<'s> {
        let Some(snapshot) = snapshot.filter(|snapshot| snapshot.state() != State::Unsynced) else {
            return Decision::NotReady;
        };
        let decision = if zone.reverse {
            self.decide_reverse(snapshot, zone, relative, qtype)
        } else {
            let found = snapshot.find(relative);
            if self.compat && differs(&found, qtype) {
                Decision::Missing
            } else {
                self.decide_found(snapshot, found, qtype)
            }
        };
        match decision {
            Decision::Missing if self.fallthrough.covers(name) => Decision::FallsThrough,
            // Delta 2.
            Decision::Missing if self.compat && qtype == Rtype::SOA => Decision::NoData,
            other => other,
        }
    }

    fn decide_found<'s>(&self, snapshot: &'s Snapshot, found: Found<'s>, qtype: Rtype) -> Decision<'s> {
        if qtype == Rtype::ANY && !self.compat {
            return match found {
                Found::Missing => Decision::Missing,
                _ => Decision::Records(Records::Hinfo),
            };
        }
        let records = match (found, qtype) {
            (Found::Missing, _) => return Decision::Missing,
            (Found::Apex, Rtype::SOA) => Records::Soa,
            (Found::Apex, Rtype::NS) => Records::NameServer,
            (Found::Version, Rtype::TXT) => Records::Version,
            (Found::NameServer, Rtype::A | Rtype::AAAA) => {
                let v4 = qtype == Rtype::A;
                if !snapshot.dns_addresses().iter().any(|address| address.is_ipv4() == v4) {
                    return Decision::NoData;
                }
                Records::ServerAddresses
            }
            (Found::Service(service), _) if matches!(service.kind(), Kind::Alias(_)) => {
                let Kind::Alias(target) = service.kind() else { return Decision::NoData };
                // Delta 5 is not among those that are switched back: whoever asks for an alias gets it.
                return Decision::Alias(service, target);
            }
            (Found::Service(service), Rtype::A) => Records::V4(service.v4()),
            (Found::Service(service), Rtype::AAAA) => Records::V6(service.v6()),
            (Found::Service(service), Rtype::SRV) => Records::Srv(service, SrvOwner::Service),
            (Found::Endpoint(service, id), Rtype::A) => Records::V4(service.endpoint_v4(id)),
            (Found::Endpoint(service, id), Rtype::AAAA) => Records::V6(service.endpoint_v6(id)),
            (Found::Endpoint(service, id), Rtype::SRV) => Records::Srv(service, SrvOwner::Endpoint(id)),
            (Found::Port(service, port), Rtype::SRV) => Records::Srv(service, SrvOwner::Port(port)),
            // Delta 4.
            (Found::Port(service, _), Rtype::A) if self.compat => Records::V4(service.v4()),
            (Found::Port(service, _), Rtype::AAAA) if self.compat => Records::V6(service.v6()),
            (Found::Pod(address @ IpAddr::V4(_)), Rtype::A) => Records::Pod(address),
            (Found::Pod(address @ IpAddr::V6(_)), Rtype::AAAA) => Records::Pod(address),
            _ => return Decision::NoData,
        };
        match &records {
            Records::V4([]) | Records::V6([]) => Decision::NoData,
            Records::Srv(service, owner) if service.srv(*owner).next().is_none() => Decision::NoData,
            _ => Decision::Records(records),
        }
    }

    fn decide_reverse<'s>(&self, snapshot: &'s Snapshot, zone: &Zone, relative: &[u8], qtype: Rtype) -> Decision<'s> {
        if relative.is_empty() {
            return match qtype {
                Rtype::SOA => Decision::Records(Records::Soa),
                Rtype::NS => Decision::Records(Records::NameServer),
                Rtype::ANY if !self.compat => Decision::Records(Records::Hinfo),
                _ => Decision::NoData,
            };
        }
        let names = LowerName::joined(relative, &zone.name)
            .and_then(|name| reverse_address(&name))
            .map_or(Names::None, |address| snapshot.names_of(address));
        match qtype {
            _ if names.is_empty() => Decision::Missing,
            Rtype::PTR => Decision::Records(Records::Ptr(names)),
            // Delta 7.
            _ if self.compat => Decision::Missing,
            Rtype::ANY => Decision::Records(Records::Hinfo),
            _ => Decision::NoData,
        }
    }
}

/// Deltas 1 and 10: what CoreDNS takes for missing. The names of delta 3 are missing in the snapshot itself.
fn differs(found: &Found<'_>, qtype: Rtype) -> bool {
    match found {
        Found::Empty | Found::Apex => qtype == Rtype::TXT,
        Found::Version => qtype != Rtype::TXT,
        _ => false,
    }
}

/// The address of a name below `in-addr.arpa` or `ip6.arpa`. Nothing unless it has exactly the labels of an address:
/// decimal numbers without leading zeros up to 255, or single hexadecimal digits (1.7).
pub fn reverse_address(name: &[u8]) -> Option<IpAddr> {
    if let Some(digits) = relative_to(name, b"\x07in-addr\x04arpa\0") {
        let mut octets = [0_u8; 4];
        let mut parts = labels(digits);
        for octet in octets.iter_mut().rev() {
            let text = str::from_utf8(parts.next()?).ok()?;
            let plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
            *octet = text.parse().ok().filter(|_| plain)?;
        }
        return parts.next().is_none().then_some(IpAddr::V4(octets.into()));
    }
    let digits = relative_to(name, b"\x03ip6\x04arpa\0")?;
    let mut bits = 0_u128;
    let mut parts = labels(digits);
    for place in 0..32 {
        let &[digit] = parts.next()? else { return None };
        bits |= u128::from(char::from(digit).to_digit(16)?) << (4 * place);
    }
    parts.next().is_none().then_some(IpAddr::V6(bits.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Vec<u8> {
        let mut wire = Vec::new();
        for label in text.split('.').filter(|label| !label.is_empty()) {
            wire.push(label.len() as u8);
            wire.extend(label.bytes());
        }
        wire.push(0);
        wire
    }

    #[test]
    fn addresses_of_reverse_names() {
        let address = |text: &str| reverse_address(&wire(text)).map(|address| address.to_string());
        assert_eq!(address("1.20.96.10.in-addr.arpa").as_deref(), Some("10.96.20.1"));
        let zeros = "0.".repeat(23);
        assert_eq!(address(&format!("2.2.0.0.{zeros}0.0.d.f.ip6.arpa")), None);
        assert_eq!(address(&format!("2.2.0.0.{zeros}0.f.0.d.f.ip6.arpa")).as_deref(), Some("fd0f::22"));
        for wrong in [
            "20.96.10.in-addr.arpa",
            "x.1.20.96.10.in-addr.arpa",
            "256.1.1.1.in-addr.arpa",
            "01.1.1.1.in-addr.arpa",
            "+1.1.1.1.in-addr.arpa",
            "in-addr.arpa",
            "1.2.3.4.arpa",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
        assert_eq!(address(&format!("22.0.0.{zeros}0.0.0.d.f.ip6.arpa")), None);
        assert_eq!(address(&format!("g.2.0.0.{zeros}0.0.0.d.f.ip6.arpa")), None);
    }
}
