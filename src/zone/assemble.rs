//! One Service and its slices -> its records. Here endpoints get their names (1.5).

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::{
    Kind, Port, ServiceRecords,
    facts::{EndpointFacts, ServiceFacts, Shape, SliceFacts},
    records::{Endpoints, Entry, Label, Link, Slice, Sources},
};
use crate::config::dns::KubernetesOptions;

/// The records of a Service; none if it does not exist for DNS (1.2, 1.4). `slices` are in a fixed order.
pub(super) fn assemble(
    owner: &Arc<[u8]>,
    service: &ServiceFacts,
    slices: &[SliceFacts],
    options: &KubernetesOptions,
) -> Option<ServiceRecords> {
    // Without endpoints on purpose, a Service is not empty: nobody knows.
    let unwanted = slices.is_empty() && options.ignore_empty_service && !options.no_endpoints;
    let records = |kind, ports: &[Port], own: Vec<IpAddr>, slices| {
        let (endpoints, sources) = name(slices, options);
        let (v4, v6) = by_family(own);
        let (v4, v6) = (v4.into(), v6.into());
        ServiceRecords { owner: owner.clone(), kind, ports: ports.into(), v4, v6, endpoints, sources }
    };
    match &service.shape {
        Shape::Nothing => None,
        Shape::Alias(target) => Some(records(Kind::Alias(target.clone()), &[], Vec::new(), &[])),
        Shape::ClusterIp(_) if unwanted => None,
        Shape::ClusterIp(own) => Some(records(Kind::ClusterIp, &service.ports, own.to_vec(), slices)),
        Shape::Headless if slices.is_empty() => None,
        Shape::Headless => {
            let mut own: Vec<_> = slices.iter().flat_map(|slice| &slice.endpoints).map(|e| e.address).collect();
            own.sort_unstable();
            own.dedup();
            Some(records(Kind::Headless, &service.ports, own, slices))
        }
    }
}

fn by_family(addresses: impl IntoIterator<Item = IpAddr>) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(address) => v4.push(address),
            IpAddr::V6(address) => v6.push(address),
        }
    }
    (v4, v6)
}

/// An address as a label: `10-244-1-80`, `fd00-244-6--0` (a label does not end in a dash).
pub(super) fn dashed(address: IpAddr) -> String {
    let mut text = address.to_string().replace(['.', ':'], "-");
    if text.ends_with('-') {
        text.push('0');
    }
    text
}

/// One address of one endpoint in one slice.
struct Place<'a> {
    endpoint: &'a EndpointFacts,
    slice: u32,
    group: u32,
}

/// What an endpoint has a label for. Where several claim one label the first kind gets it, so a host name is never
/// mixed with what somebody else happens to be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Canonical,
    Pod,
    Dashed,
}

/// The name that SRV and PTR records give (1.5): the host name, else the Pod's name if that is wanted, else the dashed
/// address.
fn canonical<'a>(endpoint: &'a EndpointFacts, hostnames: &BTreeSet<&str>, pod_names: bool) -> Cow<'a, str> {
    let pod = endpoint.pod.as_deref().filter(|pod| pod_names && !hostnames.contains(pod));
    match endpoint.hostname.as_deref().or(pod) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(dashed(endpoint.address)),
    }
}

/// Who claims which label: in order of labels, then claims, then places.
fn claims<'a>(places: &[Place<'a>], options: &KubernetesOptions) -> Vec<(Cow<'a, str>, Claim, u32)> {
    let hostnames: BTreeSet<&str> = places.iter().filter_map(|p| p.endpoint.hostname.as_deref()).collect();
    let aliases = options.endpoint_aliases && !options.compat;
    let mut claims = Vec::with_capacity(places.len() * 2);
    for (place, number) in places.iter().zip(0..) {
        let endpoint = place.endpoint;
        let own = canonical(endpoint, &hostnames, options.endpoint_pod_names);
        if aliases {
            if let Some(pod) = endpoint.pod.as_deref().filter(|pod| *pod != own) {
                claims.push((Cow::Borrowed(pod), Claim::Pod, number));
            }
            let dashed = dashed(endpoint.address);
            if dashed != own {
                claims.push((Cow::Owned(dashed), Claim::Dashed, number));
            }
        }
        claims.push((own, Claim::Canonical, number));
    }
    claims.sort_unstable();
    claims
}

/// Names all endpoints.
fn name(slices: &[SliceFacts], options: &KubernetesOptions) -> (Endpoints, Sources) {
    if slices.is_empty() {
        return Default::default();
    }
    let mut groups: BTreeMap<&[Port], u32> = slices.iter().map(|slice| (&*slice.ports, 0)).collect();
    groups.values_mut().zip(0..).for_each(|(group, number)| *group = number);
    let group_of = |slice: &SliceFacts| groups.get(&*slice.ports).copied().unwrap_or_default();
    let mut places = Vec::new();
    for (slice, number) in slices.iter().zip(0..) {
        let group = group_of(slice);
        places.extend(slice.endpoints.iter().map(|endpoint| Place { endpoint, slice: number, group }));
    }

    let claims = claims(&places, options);
    let labels: Vec<&[(Cow<'_, str>, Claim, u32)]> = claims
        .chunk_by(|a, b| a.0 == b.0)
        .map(|label| &label[..label.partition_point(|claim| claim.1 == label[0].1)])
        .collect();
    // The canonical label of each place, and that of its Pod's name if it got one.
    let mut named = vec![(0, None); places.len()];
    for (label, number) in labels.iter().zip(0..) {
        for (text, claim, place) in *label {
            let (own, pod) = &mut named[*place as usize];
            if *claim == Claim::Canonical {
                *own = number;
            }
            if places[*place as usize].endpoint.pod.as_deref() == Some(text) {
                *pod = Some(number);
            }
        }
    }

    let mut lists = Lists::default();
    for label in &labels {
        lists.add(label, &places, &named);
    }
    let mut entries: Vec<Entry> = places
        .iter()
        .zip(&named)
        .map(|(place, (label, pod))| Entry {
            address: place.endpoint.address,
            label: *label,
            slice: place.slice,
            pod: *pod,
            explicit: place.endpoint.hostname.is_some(),
        })
        .collect();
    entries.sort_unstable();
    let slices = slices.iter().map(|slice| Slice { name: slice.name.clone(), group: group_of(slice) }).collect();
    let groups = groups.keys().map(|ports| Box::from(*ports)).collect();
    (lists.finish(groups), Sources { slices, entries: entries.into() })
}

/// The flat lists of [`Endpoints`] while they grow. Numbers are of 32 bits: an object of the API server has a few MiB
/// at most, and all slices of a Service together would need more than any machine's memory to pass that.
#[derive(Default)]
struct Lists {
    labels: Vec<Label>,
    text: Vec<u8>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    links: Vec<Link>,
}

impl Lists {
    fn begin(&mut self, alias: bool, explicit: bool) {
        self.labels.push(Label {
            text: self.text.len() as u32,
            v4: self.v4.len() as u32,
            v6: self.v6.len() as u32,
            links: self.links.len() as u32,
            alias,
            explicit,
        });
    }

    /// Adds a label with all claims on it that hold.
    fn add(&mut self, claims: &[(Cow<'_, str>, Claim, u32)], places: &[Place<'_>], named: &[(u32, Option<u32>)]) {
        let Some((text, claim, _)) = claims.first() else { return };
        let alias = *claim != Claim::Canonical;
        let members = || claims.iter().map(|claim| claim.2 as usize);
        self.begin(alias, !alias && members().any(|place| places[place].endpoint.hostname.is_some()));
        self.text.extend(text.as_bytes());

        let mut addresses: Vec<IpAddr> = members().map(|place| places[place].endpoint.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let (v4, v6) = by_family(addresses);
        self.v4.extend(v4);
        self.v6.extend(v6);

        let mut links: Vec<(u32, u32)> = members().map(|place| (named[place].0, places[place].group)).collect();
        links.sort_unstable();
        let same = links.chunk_by(|a, b| a == b);
        self.links.extend(same.map(|same| {
            let (canonical, group) = same[0];
            Link { canonical, group, count: same.len() as u32, alias }
        }));
    }

    fn finish(mut self, groups: Box<[Box<[Port]>]>) -> Endpoints {
        self.begin(false, false);
        let mut counts = vec![0; groups.len()];
        for link in self.links.iter().filter(|link| !link.alias) {
            counts[link.group as usize] += link.count;
        }
        Endpoints {
            labels: self.labels.into(),
            text: self.text.into(),
            v4: self.v4.into(),
            v6: self.v6.into(),
            links: self.links.into(),
            groups,
            counts: counts.into(),
        }
    }
}
