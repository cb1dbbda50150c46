//! Nodes for which a change of Services is the same: it is worked out for one of them.
//!
//! A node is told from others by its name, its addresses, its zone, and the endpoints that run on it. Of all these only
//! those count that the Services concerned look at: on a large cluster most changes are the same on nearly every node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;

use super::NodeDifference;
use crate::model::{
    EndpointFacts, Family, Node, NodePortAddresses, Protocol, Service, ServiceId, Settings, TrafficPolicy, World,
};

/// What a change may look at on a node, besides its name and its addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Face {
    families: Vec<Family>,
    detected: Vec<bool>,
    zone: Option<Arc<str>>,
    /// Which endpoints are on the node, or meant for it, in the order of [`Alike::endpoints`]
    here: Vec<usize>,
    /// Which source ranges hold the node, in the order of [`Alike::ranges`]
    inside: Vec<usize>,
}

/// Finds nodes for which a change is the same.
pub struct Alike<'a> {
    /// Those of which it counts where they are, on both sides
    endpoints: Vec<&'a EndpointFacts>,
    /// Source ranges of Services for which anything may change
    ranges: Vec<&'a IpNet>,
    /// The addresses that Services have
    taken: BTreeSet<IpAddr>,
}

impl<'a> Alike<'a> {
    /// For a change of these objects; what the worlds say of the node is not looked at.
    pub fn new(old: &'a World, new: &'a World) -> Self {
        let sides = [old, new];
        let services = || sides.into_iter().flat_map(|world| world.services.values());
        let contending = contending(services());
        let differs = |id: &&ServiceId| {
            old.services.get(*id) != new.services.get(*id) || !old.slices_of(id).eq(new.slices_of(id))
        };
        let all = services().map(|service| &service.id).chain(sides.into_iter().flat_map(World::with_slices));
        // As long as the node stays the same, nothing changes for any other.
        let concerned: BTreeSet<&ServiceId> = all.filter(differs).chain(contending.iter().copied()).collect();
        let (mut endpoints, mut ranges) = (Vec::new(), Vec::new());
        for id in concerned {
            let objects = || sides.into_iter().filter_map(|world| world.services.get(id));
            ranges.extend(objects().flat_map(|service| &service.source_ranges));
            let of_side = sides.map(|world| world.slices_of(id).flat_map(|slice| &slice.endpoints).collect::<Vec<_>>());
            let hinted = of_side.iter().flatten().any(|facts| !facts.node_hints.is_empty());
            if hinted || contending.contains(id) || !objects().all(is_the_same_anywhere) {
                endpoints.extend(of_side.into_iter().flatten());
            } else {
                endpoints.extend(moved(&of_side));
            }
        }
        Self { endpoints, ranges, taken: services().flat_map(addresses).collect() }
    }

    /// The face of a node, of which the objects and the options say this on either side. `None` for one that has to be
    /// looked at by itself: it changes, or it matters which addresses it has.
    pub fn face(&self, old: (&Node, &Settings), new: (&Node, &Settings)) -> Option<Face> {
        let (node, settings) = new;
        let by_addresses = settings.node_port_addresses != NodePortAddresses::Primary
            || node.addresses.is_empty()
            || !node.interface_addresses.is_empty()
            || node.addresses.iter().any(|address| self.taken.contains(address));
        if old != new || by_addresses {
            return None;
        }
        let is_here =
            |facts: &EndpointFacts| facts.node.as_ref() == Some(&node.name) || facts.node_hints.contains(&node.name);
        let here = self.endpoints.iter().enumerate().filter(|(_, facts)| is_here(facts)).map(|(index, _)| index);
        let holds = |range: &IpNet| node.addresses.iter().any(|address| range.contains(address));
        let inside = self.ranges.iter().enumerate().filter(|(_, range)| holds(range)).map(|(index, _)| index);
        Some(Face {
            families: node.addresses.iter().copied().map(Family::of).collect(),
            detected: Family::ALL.map(|family| settings.detector.detects(family)).to_vec(),
            zone: node.zone.clone(),
            here: here.collect(),
            inside: inside.collect(),
        })
    }
}

/// Whether all nodes of a zone send a Service's clients to the same endpoints, if none is meant for single nodes.
fn is_the_same_anywhere(service: &Service) -> bool {
    [service.internal_policy, service.external_policy] == [TrafficPolicy::Cluster; 2]
}

/// Endpoints that move to another node with their addresses: there they can open a connection to themselves.
fn moved<'a>(sides: &[Vec<&'a EndpointFacts>; 2]) -> Vec<&'a EndpointFacts> {
    let [old, new] = sides.each_ref().map(|side| {
        let mut nodes: BTreeMap<IpAddr, BTreeSet<Option<&str>>> = BTreeMap::new();
        for facts in side {
            nodes.entry(facts.address).or_default().insert(facts.node.as_deref());
        }
        nodes
    });
    let moved = |address: &IpAddr| old.get(address).zip(new.get(address)).is_some_and(|(old, new)| old != new);
    sides.iter().flatten().copied().filter(|facts| moved(&facts.address)).collect()
}

impl NodeDifference {
    /// Whether it names the node or one of its addresses, so that it is no other node's.
    pub fn tells_of(&self, node: &Node) -> bool {
        let mut words: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
        words.push(node.name.to_string());
        let mut effects = self.services.values().flat_map(|(_, effects)| effects).chain(&self.node);
        effects.any(|effect| {
            let mut texts = effect.frontends.iter().chain([&effect.change, &effect.notices]);
            texts.any(|text| words.iter().any(|word| text.contains(word)))
        })
    }
}

fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    service.cluster_ips.iter().chain(&service.load_balancer_ips).chain(&service.external_ips).copied()
}

/// The Services of which two want the same frontend: what one of them loses another gains.
fn contending<'a>(services: impl Iterator<Item = &'a Service>) -> BTreeSet<&'a ServiceId> {
    let mut claims: BTreeMap<(Option<IpAddr>, Protocol, u16), &ServiceId> = BTreeMap::new();
    let mut contending = BTreeSet::new();
    for service in services {
        let mut claim = |at: Option<IpAddr>, protocol: Protocol, number: u16| {
            let first = *claims.entry((at, protocol, number)).or_insert(&service.id);
            if *first != service.id {
                contending.extend([first, &service.id]);
            }
        };
        for port in &service.ports {
            addresses(service).for_each(|address| claim(Some(address), port.protocol, port.port));
            port.node_port.into_iter().for_each(|number| claim(None, port.protocol, number));
        }
    }
    contending
}
