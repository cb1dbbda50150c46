//! Which endpoints a service port uses on this node (sections 3.1 and 3.2).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{EndpointFacts, Family, Node, ServicePort, Slice, Target};

/// Which of the two lists the service port's frontends need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Some frontend uses the cluster list
    pub all: bool,
    /// Some frontend uses the local list
    pub local: bool,
}

/// Why an endpoint is on a list, or why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// On the list: ready
    Ready,
    /// On the list although it is terminating: it still serves, and no endpoint is ready
    LastResort,
    /// Neither ready nor serving while terminating
    NotReady,
    /// Terminating, and ready endpoints exist
    Terminating,
    /// Its node hints name other nodes
    OtherNodeHint,
    /// Its zone hints name other zones
    OtherZoneHint,
    /// The local list, and it runs on another node (or nobody knows where)
    NotLocal,
}

impl Use {
    /// Whether the endpoint is on the list.
    pub fn is_used(self) -> bool {
        matches!(self, Use::Ready | Use::LastResort)
    }
}

/// An endpoint with the verdict for each list.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// Address and port
    pub target: Target,
    /// What the slice says of it
    pub facts: &'a EndpointFacts,
    /// For the cluster list
    pub all: Use,
    /// For the local list
    pub local: Use,
}

/// The endpoints of one service port in one family, judged, in order of their addresses.
#[derive(Clone, Debug, Default)]
pub struct Selection<'a> {
    /// Every endpoint, used or not
    pub judged: Vec<Judged<'a>>,
    /// The cluster list; empty if not wanted
    pub all: Vec<Target>,
    /// The local list; empty if not wanted
    pub local: Vec<Target>,
    /// Something usable exists, though perhaps not for this node's policy: decides between drop and refuse
    pub has_any: bool,
}

/// Selects the endpoints of `port` on `node` from the Service's slices.
pub fn select<'a>(
    port: &ServicePort,
    family: Family,
    slices: impl Iterator<Item = &'a Slice>,
    node: &Node,
    wanted: Wanted,
) -> Selection<'a> {
    let endpoints = merge(port, family, slices);
    let topology = Topology::of(&endpoints, node);
    let here = |facts: &EndpointFacts| facts.node.as_ref() == Some(&node.name);
    let any_ready = endpoints.values().any(|e| e.ready);
    let any_ready_here = endpoints.values().any(|e| e.ready && here(e));

    let judge = |(target, facts): (Target, &'a EndpointFacts)| Judged {
        target,
        facts,
        all: condition(facts, any_ready, || topology.verdict(facts, node)),
        local: if here(facts) { condition(facts, any_ready_here, || Use::Ready) } else { Use::NotLocal },
    };
    let judged: Vec<Judged> = endpoints.into_iter().map(judge).collect();
    let list = |on: bool, verdict: fn(&Judged) -> Use| -> Vec<Target> {
        judged.iter().filter(|j| on && verdict(j).is_used()).map(|j| j.target).collect()
    };
    let all = list(wanted.all, |j| j.all);
    let local = list(wanted.local, |j| j.local);
    let usable = |facts: &EndpointFacts| facts.ready || (facts.serving && facts.terminating);
    let has_any = !all.is_empty() || (wanted.local && judged.iter().any(|j| usable(j.facts)));
    Selection { all, local, has_any, judged }
}

/// The endpoints of all slices by address and port. Of two entries for the same one, the later counts, unless it is
/// terminating and the earlier is not.
fn merge<'a>(
    port: &ServicePort,
    family: Family,
    slices: impl Iterator<Item = &'a Slice>,
) -> BTreeMap<Target, &'a EndpointFacts> {
    let mut endpoints: BTreeMap<Target, &EndpointFacts> = BTreeMap::new();
    for slice in slices {
        let matching = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
        for slice_port in matching {
            for facts in slice.endpoints.iter().filter(|e| Family::of(e.address) == family) {
                let target = Target { address: facts.address, port: slice_port.port };
                let known = endpoints.entry(target).or_insert(facts);
                if known.terminating {
                    *known = facts;
                }
            }
        }
    }
    endpoints
}

/// The verdict from an endpoint's conditions; `ready` is asked only for a ready endpoint.
fn condition(facts: &EndpointFacts, any_ready: bool, ready: impl FnOnce() -> Use) -> Use {
    match (facts.ready, facts.serving && facts.terminating) {
        (true, _) => ready(),
        (false, true) if any_ready => Use::Terminating,
        (false, true) => Use::LastResort,
        (false, false) => Use::NotReady,
    }
}

/// What the hints of the ready endpoints ask of this node.
enum Topology {
    /// No hints that all agree to use: every endpoint
    None,
    /// Only endpoints whose hints name this node
    Node,
    /// Only endpoints whose hints name this node's zone
    Zone,
}

impl Topology {
    /// Hints count only if every ready endpoint has one and one of them names this node or zone: otherwise somebody
    /// would be left without endpoints while hints are being changed (KEP-2433).
    fn of(endpoints: &BTreeMap<Target, &EndpointFacts>, node: &Node) -> Self {
        let ready: Vec<&&EndpointFacts> = endpoints.values().filter(|e| e.ready).collect();
        if ready.is_empty() {
            return Topology::None;
        }
        let by_node = ready.iter().all(|e| !e.node_hints.is_empty());
        if by_node && ready.iter().any(|e| e.node_hints.contains(&node.name)) {
            return Topology::Node;
        }
        let Some(zone) = &node.zone else { return Topology::None };
        let by_zone = ready.iter().all(|e| !e.zone_hints.is_empty());
        if by_zone && ready.iter().any(|e| e.zone_hints.contains(zone)) { Topology::Zone } else { Topology::None }
    }

    fn verdict(&self, facts: &EndpointFacts, node: &Node) -> Use {
        match self {
            Topology::Node if !facts.node_hints.contains(&node.name) => Use::OtherNodeHint,
            Topology::Zone if !node.zone.as_ref().is_some_and(|z| facts.zone_hints.contains(z)) => Use::OtherZoneHint,
            _ => Use::Ready,
        }
    }
}

impl Selection<'_> {
    /// Endpoints on either list that may run on this node: the only ones that can open a connection to themselves
    /// through this node. An endpoint whose node nobody named may be one of them.
    pub fn may_be_here(&self, node: &Node) -> BTreeSet<Target> {
        let used: BTreeSet<&Target> = self.all.iter().chain(&self.local).collect();
        let here = self.judged.iter().filter(|j| j.facts.node.as_ref().is_none_or(|n| *n == node.name));
        here.map(|j| j.target).filter(|target| used.contains(target)).collect()
    }
}
