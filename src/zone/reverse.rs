//! From addresses to names (1.7). There may be thousands of names at one address: Knative gives every Service of its
//! own the addresses of its activators. So a list is made anew once for all changes of a moment, and a query walks as
//! much of it as fits into its answer.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{
    FullName, Kind, ServiceRecords,
    records::split,
    tables::{Tables, address_hash},
};

/// An address, and the Services that have it.
#[derive(Clone, Debug)]
pub(super) struct Address {
    address: IpAddr,
    owners: Owners,
}

#[derive(Clone, Debug)]
enum Owners {
    /// One Service with one name for it, which is found in its records
    One(Arc<[u8]>),
    /// In the order in which they are to be answered
    Many(Arc<[Owned]>),
}

/// One name of an address. What stands in the Service's records already is not kept a second time.
#[derive(Clone, Debug)]
struct Owned {
    rank: Rank,
    /// Which of the Service's endpoint names it is, of those with this address
    number: u32,
    owner: Arc<[u8]>,
}

/// What goes before what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A Service's own name, for its cluster IP: no other name is answered then
    ClusterIp,
    /// A host name
    Hostname,
    /// Any other name of an endpoint
    Endpoint,
}

/// Addresses whose names changed, each with the Service that changed them; in any order, and more than once.
pub(super) type Touched = Vec<(IpAddr, Arc<[u8]>)>;

/// What of a Service's records decides over the names of its addresses, in ascending order.
type Parts<'a> = BTreeSet<(IpAddr, Rank, &'a [u8])>;

/// Rank, label, the Service's name and Namespace.
type Order<'a> = (Rank, Option<(&'a [u8], (&'a [u8], &'a [u8]))>);

fn parts(service: &ServiceRecords) -> Parts<'_> {
    let own = service.v4.iter().copied().map(IpAddr::V4).chain(service.v6.iter().copied().map(IpAddr::V6));
    let own = own.filter(|_| service.kind == Kind::ClusterIp).map(|address| (address, Rank::ClusterIp, &[][..]));
    let endpoints = service.sources.entries.iter();
    let endpoints =
        endpoints.map(|entry| (entry.address, rank(service, entry.label), service.endpoints.text(entry.label)));
    own.chain(endpoints).collect()
}

fn rank(service: &ServiceRecords, label: u32) -> Rank {
    let explicit = service.endpoints.labels.get(label as usize).is_some_and(|label| label.explicit);
    if explicit { Rank::Hostname } else { Rank::Endpoint }
}

/// The labels of endpoints with this address, ascending, each once.
fn labels(service: &ServiceRecords, address: IpAddr) -> impl Iterator<Item = u32> {
    let same = service.entries_of(address).chunk_by(|a, b| a.label == b.label);
    same.filter_map(|entries| entries.first().map(|entry| entry.label))
}

/// Adds to `touched` what differs between two versions of a Service's records.
pub(super) fn touch(
    owner: &Arc<[u8]>,
    former: Option<&ServiceRecords>,
    now: Option<&ServiceRecords>,
    touched: &mut Touched,
) {
    let (former, now) = (former.map(parts).unwrap_or_default(), now.map(parts).unwrap_or_default());
    touched.extend(former.symmetric_difference(&now).map(|(address, ..)| (*address, owner.clone())));
}

impl Tables {
    /// Makes the lists of names of these addresses anew, from the records as they are now.
    pub fn settle_addresses(&mut self, mut touched: Touched) {
        touched.sort_unstable();
        touched.dedup();
        for same in touched.chunk_by(|a, b| a.0 == b.0) {
            let address = same[0].0;
            let new: Vec<Owned> = same.iter().flat_map(|(_, owner)| self.owned(owner, address)).collect();
            let stays = |owner: &Arc<[u8]>| same.binary_search_by(|(_, touched)| touched.cmp(owner)).is_err();
            let mut all: Vec<Owned> = match self.owners_of(address) {
                None => Vec::new(),
                Some(Owners::One(owner)) if stays(owner) => self.owned(owner, address),
                Some(Owners::One(_)) => Vec::new(),
                Some(Owners::Many(all)) => all.iter().filter(|owned| stays(&owned.owner)).cloned().collect(),
            };
            if new.len() > all.len() / 8 {
                all.extend(new);
                all.sort_by_cached_key(|owned| self.order(owned, address));
            } else {
                // To look at few of a long list costs less than to look at all.
                for owned in new {
                    let order = self.order(&owned, address);
                    let place = all.partition_point(|known| self.order(known, address) < order);
                    all.insert(place, owned);
                }
            }
            self.set_owners(address, all);
        }
    }

    fn set_owners(&mut self, address: IpAddr, all: Vec<Owned>) {
        let (place, is) = (address_hash(address), |known: &Address| known.address == address);
        let owners = match &all[..] {
            [] => {
                self.addresses.remove(place, is);
                return;
            }
            [one] => Owners::One(one.owner.clone()),
            _ => Owners::Many(all.into()),
        };
        self.addresses.insert(place, Address { address, owners }, is);
    }

    fn owners_of(&self, address: IpAddr) -> Option<&Owners> {
        let place = address_hash(address);
        self.addresses.get(place, |known| known.address == address).map(|known| &known.owners)
    }

    /// The names that a Service gives to an address.
    fn owned(&self, owner: &Arc<[u8]>, address: IpAddr) -> Vec<Owned> {
        let Some(service) = self.service(owner) else { return Vec::new() };
        let own = service.has_cluster_ip(address).then_some((Rank::ClusterIp, 0));
        let endpoints = labels(service, address).zip(0..).map(|(label, number)| (rank(service, label), number));
        let all = own.into_iter().chain(endpoints);
        all.map(|(rank, number)| Owned { rank, number, owner: owner.clone() }).collect()
    }

    /// Where a name stands among others of its address: by its label, then the Service's name and Namespace.
    fn order(&self, owned: &Owned, address: IpAddr) -> Order<'_> {
        let name = self.full_name(owned, address);
        (owned.rank, name.map(|name| (name.label.unwrap_or_default(), split(name.owner))))
    }

    fn full_name(&self, owned: &Owned, address: IpAddr) -> Option<FullName<'_>> {
        let service = self.service(&owned.owner)?;
        let label = match owned.rank {
            Rank::ClusterIp => None,
            Rank::Hostname | Rank::Endpoint => {
                let label = labels(service, address).nth(owned.number as usize)?;
                Some(service.endpoints.text(label))
            }
        };
        Some(FullName { label, owner: &service.owner })
    }

    /// The names of an address, as they are to be answered.
    pub fn names_of(&self, address: IpAddr, hostnames_preferred: bool) -> Names<'_> {
        let several = match self.owners_of(address) {
            None => return Names::None,
            Some(Owners::One(owner)) => {
                let Some(service) = self.service(owner) else { return Names::None };
                let endpoint = || labels(service, address).next().map(|label| service.endpoints.text(label));
                let label = if service.has_cluster_ip(address) { None } else { endpoint() };
                return Names::One(FullName { label, owner: &service.owner });
            }
            Some(Owners::Many(several)) => several,
        };
        let best = several.first().map_or(Rank::Endpoint, |owned| owned.rank);
        let wanted = match best {
            Rank::ClusterIp => several.get(..1).unwrap_or_default(),
            Rank::Hostname if hostnames_preferred => {
                several.split_at(several.partition_point(|owned| owned.rank == best)).0
            }
            Rank::Hostname | Rank::Endpoint => several,
        };
        Names::Many(Several { tables: self, address, wanted })
    }
}

/// Names of an address, in the order in which they are to be answered.
#[derive(Clone, Copy, Debug)]
pub enum Names<'a> {
    /// None
    None,
    /// One, the common case
    One(FullName<'a>),
    /// Perhaps more
    Many(Several<'a>),
}

/// Names of an address that are looked up when it is their turn.
#[derive(Clone, Copy, Debug)]
pub struct Several<'a> {
    tables: &'a Tables,
    address: IpAddr,
    wanted: &'a [Owned],
}

impl<'a> Names<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Names::None => 0,
            Names::One(_) => 1,
            Names::Many(several) => several.wanted.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One after another; each costs a look-up.
    pub fn iter(&self) -> impl Iterator<Item = FullName<'a>> + use<'a> {
        let (one, several) = match *self {
            Names::None => (None, None),
            Names::One(name) => (Some(name), None),
            Names::Many(several) => (None, Some(several)),
        };
        let name = |Several { tables, address, wanted }: Several<'a>| {
            wanted.iter().filter_map(move |owned| tables.full_name(owned, address))
        };
        one.into_iter().chain(several.into_iter().flat_map(name))
    }
}
