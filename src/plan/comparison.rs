//! Two sides of a node, Service by Service.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Change, Clients, Effect, Fortune, Placed,
    compare::{changes, moved_flows},
    node::{Side, service_of},
    program,
    view::{FrontendView, frontends},
    words::{self, Known},
};
use crate::{
    compile::FrontendKind,
    model::{Frontend, Protocol, Service, ServiceId, Target},
    tables::{Changes, Contents, Element, Owner, Rows, differences},
};

/// Both sides, and who has which frontend of those that change.
pub struct Comparison<'a> {
    old: &'a Side,
    new: &'a Side,
    owned_before: BTreeMap<Frontend, ServiceId>,
    owned_after: BTreeMap<Frontend, ServiceId>,
}

impl<'a> Comparison<'a> {
    pub fn new(old: &'a Side, new: &'a Side, changed: &Changes) -> Self {
        let owned = |side: &Side| {
            let mut owned = BTreeMap::new();
            for id in changed.keys().filter_map(service_of) {
                let elements = side.held(&id).into_iter().flat_map(|rows| &rows.elements);
                owned.extend(elements.filter_map(Element::frontend).map(|frontend| (*frontend, id.clone())));
            }
            owned
        };
        Self { old, new, owned_before: owned(old), owned_after: owned(new) }
    }

    /// Services of which anything may differ.
    pub fn candidates(&self, changed: &Changes) -> BTreeSet<ServiceId> {
        let mut candidates: BTreeSet<ServiceId> = changed.keys().filter_map(service_of).collect();
        if let (Some(old), Some(new)) = (&self.old.desired, &self.new.desired) {
            candidates.extend(old.reports().keys().chain(new.reports().keys()).cloned());
        }
        candidates
    }

    pub fn fortune(&self, id: &ServiceId) -> Fortune {
        match (self.old.has(id), self.new.has(id)) {
            (false, _) => Fortune::Added,
            (true, false) => Fortune::Removed,
            (true, true) => Fortune::Changed,
        }
    }

    /// What changes of a Service.
    pub fn service(&self, id: &ServiceId, rows_differ: bool) -> Vec<Effect> {
        let mut found: BTreeMap<Change, BTreeSet<Placed>> = BTreeMap::new();
        let mut general: BTreeSet<Change> = self.health(id).into_iter().collect();
        if rows_differ {
            let kinds = self.kinds(id);
            for (frontend, change) in self.frontends(id) {
                found.entry(change).or_default().insert(placed(frontend, kinds.get(&frontend)));
            }
            for (frontend, owner) in self.contested(id) {
                let placed = placed(frontend, kinds.get(&frontend));
                found.entry(Change::Contested(owner)).or_default().insert(placed);
            }
            if let (Some(old), Some(new)) = (self.old.object(id), self.new.object(id)) {
                general.extend(numbers(old, new));
            }
            if found.is_empty() && general.is_empty() {
                let (old, new) = (own(self.old.held(id)), own(self.new.held(id)));
                let said = differences(&old, &new).into_iter().map(|difference| words::row(&difference)).collect();
                general.insert(Change::Bookkeeping(said));
            }
        }
        let known = self.known(id);
        let of_frontends = found.into_iter().map(|(change, frontends)| {
            let names: BTreeSet<String> = frontends.iter().map(words::frontend).collect();
            words::effect(&change, names.into_iter().collect(), &known)
        });
        of_frontends.chain(general.iter().map(|change| words::effect(change, Vec::new(), &known))).collect()
    }

    /// What changes, frontend by frontend.
    fn frontends(&self, id: &ServiceId) -> Vec<(Frontend, Change)> {
        let (old, new) = (views(self.old.held(id)), views(self.new.held(id)));
        let all: BTreeSet<Frontend> = old.keys().chain(new.keys()).copied().collect();
        let mut found = Vec::new();
        for frontend in all {
            let changes = match (old.get(&frontend), new.get(&frontend)) {
                (Some(old), Some(new)) => changes(old, new, self.serving(&frontend).as_ref()),
                (Some(old), None) => self.lost(&frontend, old),
                (None, Some(new)) => self.gained(&frontend, new),
                (None, None) => Vec::new(),
            };
            found.extend(changes.into_iter().map(|change| (frontend, change)));
        }
        found
    }

    /// Where flows to a UDP frontend may stay.
    fn serving(&self, frontend: &Frontend) -> Option<BTreeSet<Target>> {
        let udp = frontend.protocol == Protocol::Udp;
        udp.then(|| self.new.serving.get(frontend).cloned().unwrap_or_default())
    }

    fn lost(&self, frontend: &Frontend, old: &FrontendView) -> Vec<Change> {
        match self.owned_after.get(frontend) {
            Some(owner) => {
                let taken =
                    self.new.held(owner).map(frontends).unwrap_or_default().remove(frontend).unwrap_or_default();
                let flows = self.serving(frontend).and_then(|serving| moved_flows(old, &taken, &serving));
                [Change::TakenBy(owner.clone(), old.is_served())].into_iter().chain(flows).collect()
            }
            None => {
                let udp = frontend.protocol == Protocol::Udp;
                vec![Change::Vanishes { served: old.is_served(), udp: udp && old.is_served() }]
            }
        }
    }

    fn gained(&self, frontend: &Frontend, new: &FrontendView) -> Vec<Change> {
        let (inside, outside) = (new.fate(Clients::Inside), new.fate(Clients::Outside));
        match self.owned_before.get(frontend) {
            Some(owner) => vec![Change::TakenFrom(owner.clone(), inside)],
            None if inside == outside => vec![Change::Appears(Clients::All, inside)],
            None => vec![Change::Appears(Clients::Inside, inside), Change::Appears(Clients::Outside, outside)],
        }
    }

    fn health(&self, id: &ServiceId) -> Option<Change> {
        match (self.old.health(id), self.new.health(id)) {
            _ if self.old.desired.is_none() || self.new.desired.is_none() => None,
            (Some((old, before)), Some((new, after))) if old == new => {
                (before != after).then_some(Change::HealthReady(old, before, after))
            }
            (None, None) => None,
            (old, new) => Some(Change::HealthCheck(old.map(|(port, _)| port), new.map(|(port, _)| port))),
        }
    }

    /// Frontends that the Service newly asks for in vain. One that it had is told as taken.
    fn contested(&self, id: &ServiceId) -> Vec<(Frontend, ServiceId)> {
        let lost = |side: &Side| side.plan(id).map(|plan| plan.lost).unwrap_or_default();
        let before: BTreeSet<Frontend> = lost(self.old).into_iter().map(|lost| lost.frontend).collect();
        let had = views(self.old.held(id));
        let is_new = |frontend: &Frontend| !before.contains(frontend) && !had.contains_key(frontend);
        lost(self.new).into_iter().filter(|l| is_new(&l.frontend)).map(|l| (l.frontend, l.owner)).collect()
    }

    /// What each frontend is to the Service.
    fn kinds(&self, id: &ServiceId) -> BTreeMap<Frontend, FrontendKind> {
        let mut kinds = BTreeMap::new();
        for plan in [self.old.plan(id), self.new.plan(id)].into_iter().flatten() {
            let frontends = plan.ports.iter().flat_map(|port| &port.frontends);
            kinds.extend(frontends.map(|frontend| (frontend.frontend, frontend.kind)));
            kinds.extend(plan.lost.iter().map(|lost| (lost.frontend, lost.kind)));
        }
        kinds
    }

    /// What is known of endpoints: their Pods on either side, and how the new side judges them.
    fn known(&self, id: &ServiceId) -> Known {
        let mut known = Known::default();
        for plan in [self.old.plan(id), self.new.plan(id)].into_iter().flatten() {
            for judged in plan.ports.iter().flat_map(|port| &port.selection.judged) {
                known.pods.extend(judged.facts.pod.clone().map(|pod| (judged.target, pod)));
            }
        }
        for plan in self.new.plan(id).into_iter() {
            for judged in plan.ports.iter().flat_map(|port| &port.selection.judged) {
                known.judged.insert(judged.target, (judged.all, judged.local));
            }
        }
        known
    }

    /// What concerns no single Service.
    pub fn node(&self) -> Vec<Effect> {
        let remembers = self.old.contents.owners().filter(|owner| {
            let rows = self.old.contents.rows(owner);
            rows.is_some_and(|rows| !rows.groups.is_empty())
        });
        let mut effects = program::effects(&self.old.program, &self.new.program, remembers.count());
        let found = differences(&node_rows(&self.old.contents), &node_rows(&self.new.contents));
        effects.extend(found.iter().map(words::node_row));
        if stray_rows(&self.old.contents) != stray_rows(&self.new.contents) {
            effects.push(words::strays());
        }
        effects
    }
}

fn placed(frontend: Frontend, kind: Option<&FrontendKind>) -> Placed {
    if kind == Some(&FrontendKind::NodePort) { Placed::NodePort(frontend) } else { Placed::At(frontend) }
}

fn is_of_the_node(element: &Element) -> bool {
    matches!(element, Element::Pods(_) | Element::ServiceNetwork(_))
}

/// The node's own rows; where they were found, they bear no name.
fn node_rows(contents: &Contents) -> Rows {
    let mut rows = own(contents.rows(&Owner::Node));
    let found = contents.rows(&Owner::Stray).into_iter().flat_map(|rows| &rows.elements);
    rows.elements.extend(found.filter(|element| is_of_the_node(element)).cloned());
    rows.normalise();
    rows
}

/// Rows that belong to nobody.
fn stray_rows(contents: &Contents) -> Rows {
    let mut rows = own(contents.rows(&Owner::Stray));
    rows.elements.retain(|element| !is_of_the_node(element));
    rows
}

fn own(rows: Option<&Rows>) -> Rows {
    rows.cloned().unwrap_or_default()
}

fn views(rows: Option<&Rows>) -> BTreeMap<Frontend, FrontendView> {
    rows.map(frontends).unwrap_or_default()
}

/// Addresses and node ports that the Service has before and after, and that are others.
fn numbers(old: &Service, new: &Service) -> Vec<Change> {
    let mut found = Vec::new();
    if old.cluster_ips != new.cluster_ips && !old.cluster_ips.is_empty() && !new.cluster_ips.is_empty() {
        found.push(Change::ClusterIps(old.cluster_ips.clone(), new.cluster_ips.clone()));
    }
    for port in &new.ports {
        let before = old.ports.iter().find(|p| p.name == port.name && p.protocol == port.protocol);
        if let (Some(before), Some(after)) = (before.and_then(|p| p.node_port), port.node_port)
            && before != after
        {
            found.push(Change::NodePortNumber(format!("{}/{}", port.port, port.protocol), before, after));
        }
    }
    found
}
