use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
    sync::Arc,
};

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

/// One Service's records. Never changes.
///
/// Lists are flat: a label's share of a list begins where its number says and ends where the next label's begins.
/// 100,000 endpoints would not fit otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecords {
    /// Shared with everything that refers to the Service by name
    pub(super) owner: Arc<[u8]>,
    pub(super) kind: Kind,
    /// Ports of the Service
    pub(super) ports: Box<[Port]>,
    /// Addresses of the Service's own name
    pub(super) v4: Box<[Ipv4Addr]>,
    pub(super) v6: Box<[Ipv6Addr]>,
    pub(super) endpoints: Endpoints,
    pub(super) sources: Sources,
}

/// The endpoints, as names show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// In ascending order of their text, and one more where the lists end
    pub labels: Box<[Label]>,
    /// The labels' characters
    pub text: Box<[u8]>,
    /// Addresses of each label, ascending, each once
    pub v4: Box<[Ipv4Addr]>,
    pub v6: Box<[Ipv6Addr]>,
    /// What stands behind each label
    pub links: Box<[Link]>,
    /// Lists of ports that slices have
    pub groups: Box<[Box<[Port]>]>,
    /// How many addresses each of these lists is said of, those that are in several slices counted as often: weights
    /// come from it, and to go through all links for that would cost every query more the more endpoints there are
    pub counts: Box<[u32]>,
}

/// One label, by where its shares begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub text: u32,
    pub v4: u32,
    pub v6: u32,
    pub links: u32,
    /// An alias: no record leads to it (1.5)
    pub alias: bool,
    /// Some endpoint has it as its host name
    pub explicit: bool,
}

/// Endpoints with the same canonical name and the same ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The label of the canonical name
    pub canonical: u32,
    pub group: u32,
    /// How many addresses, those that are in several slices counted as often
    pub count: u32,
    /// Listed for an alias as well as for the canonical name
    pub alias: bool,
}

/// Where the endpoints come from: for reverse look-ups, explanations and the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub slices: Box<[Slice]>,
    /// By address, then label, then slice
    pub entries: Box<[Entry]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub name: Box<str>,
    pub group: u32,
}

/// One address of one endpoint in one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub address: IpAddr,
    /// The label of the canonical name
    pub label: u32,
    pub slice: u32,
    /// The label of the Pod's name, if it is one
    pub pod: Option<u32>,
    /// The canonical name is the endpoint's host name
    pub explicit: bool,
}

impl ServiceRecords {
    /// Namespace.
    pub fn namespace(&self) -> &str {
        text(split(&self.owner).1)
    }

    /// Name.
    pub fn name(&self) -> &str {
        text(split(&self.owner).0)
    }

    /// Its own name in wire form, relative to the zone: `\x03web\x04shop\x03svc`.
    pub fn owner(&self) -> &[u8] {
        &self.owner
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// A records of its own name: cluster IPs, or the ready endpoints' addresses of a headless Service. Each once, in
    /// ascending order.
    pub fn v4(&self) -> &[Ipv4Addr] {
        &self.v4
    }

    /// AAAA records of its own name, likewise.
    pub fn v6(&self) -> &[Ipv6Addr] {
        &self.v6
    }

    /// The ports of the Service itself, whatever its kind; for explanations.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// All names of endpoints, aliases as well, in ascending order of their labels.
    pub fn endpoint_names(&self) -> impl Iterator<Item = EndpointId> {
        (0..self.endpoints.len()).map(EndpointId)
    }

    /// The endpoints with this label, lower case.
    pub fn endpoint(&self, label: &[u8]) -> Option<EndpointId> {
        let (mut low, mut high) = (0, self.endpoints.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.endpoints.text(middle).cmp(label) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(EndpointId(middle)),
            }
        }
        None
    }

    /// The label of an endpoint's name, left of [`ServiceRecords::owner`], without its length.
    pub fn label(&self, endpoint: EndpointId) -> &[u8] {
        self.endpoints.text(endpoint.0)
    }

    /// A records of an endpoint's name, in ascending order.
    pub fn endpoint_v4(&self, endpoint: EndpointId) -> &[Ipv4Addr] {
        let range = self.endpoints.share(endpoint.0, |label| label.v4);
        self.endpoints.v4.get(range).unwrap_or_default()
    }

    /// AAAA records of an endpoint's name, in ascending order.
    pub fn endpoint_v6(&self, endpoint: EndpointId) -> &[Ipv6Addr] {
        let range = self.endpoints.share(endpoint.0, |label| label.v6);
        self.endpoints.v6.get(range).unwrap_or_default()
    }

    /// Whether an endpoint's name is an alias, which no record leads to (1.5).
    pub fn is_alias(&self, endpoint: EndpointId) -> bool {
        self.endpoints.labels.get(endpoint.0 as usize).is_some_and(|label| label.alias)
    }

    /// Names of the EndpointSlices in which a ready endpoint has the address; for explanations.
    pub fn slices_of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let slices = self.entries_of(address).iter().filter_map(|entry| self.sources.slices.get(entry.slice as usize));
        slices.map(|slice| &*slice.name)
    }

    /// Where the address stands in slices.
    pub(super) fn entries_of(&self, address: IpAddr) -> &[Entry] {
        let entries = &self.sources.entries;
        let start = entries.partition_point(|entry| entry.address < address);
        let count = entries[start..].iter().take_while(|entry| entry.address == address).count();
        &entries[start..start + count]
    }

    /// Whether the address is one of its cluster IPs.
    pub(super) fn has_cluster_ip(&self, address: IpAddr) -> bool {
        self.kind == Kind::ClusterIp
            && match address {
                IpAddr::V4(address) => self.v4.binary_search(&address).is_ok(),
                IpAddr::V6(address) => self.v6.binary_search(&address).is_ok(),
            }
    }

    /// Every address that has a name here, ascending, each once.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let own = self.v4.iter().copied().map(IpAddr::V4).chain(self.v6.iter().copied().map(IpAddr::V6));
        let mut all: Vec<IpAddr> = own.chain(self.sources.entries.iter().map(|entry| entry.address)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether every answer is the same from both. Which slice an endpoint stands in is not part of any.
    pub(super) fn same_answers(&self, other: &Self) -> bool {
        self.owner == other.owner
            && self.kind == other.kind
            && self.ports == other.ports
            && (&self.v4, &self.v6) == (&other.v4, &other.v6)
            && self.endpoints == other.endpoints
    }
}

impl Endpoints {
    /// How many labels there are.
    pub fn len(&self) -> u32 {
        // They were counted in 32 bits when they were made.
        self.labels.len().saturating_sub(1) as u32
    }

    pub fn text(&self, label: u32) -> &[u8] {
        self.text.get(self.share(label, |label| label.text)).unwrap_or_default()
    }

    /// A label's share of one of the lists.
    pub fn share(&self, label: u32, of: impl Fn(&Label) -> u32) -> Range<usize> {
        match self.labels.get(label as usize..) {
            Some([own, next, ..]) => of(own) as usize..of(next) as usize,
            _ => 0..0,
        }
    }
}

/// Name and namespace out of an owner.
pub(super) fn split(owner: &[u8]) -> (&[u8], &[u8]) {
    let one = |wire: &'_ [u8]| -> usize { wire.first().map_or(0, |length| usize::from(*length)) };
    let name = one(owner);
    let rest = owner.get(1 + name..).unwrap_or_default();
    (owner.get(1..1 + name).unwrap_or_default(), rest.get(1..1 + one(rest)).unwrap_or_default())
}

/// The characters of a label that was made from text.
fn text(label: &[u8]) -> &str {
    std::str::from_utf8(label).unwrap_or_default()
}
