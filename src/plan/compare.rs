//! Two states of one frontend, and what changes between them.

use std::collections::BTreeSet;

use super::{Change, Clients, Fate, view::FrontendView};
use crate::model::{IpRange, Target};

/// What changes for those who dial a frontend that is the Service's before and after. `serving` are the endpoints that
/// UDP flows may stay with, for a UDP frontend.
pub fn changes(old: &FrontendView, new: &FrontendView, serving: Option<&BTreeSet<Target>>) -> Vec<Change> {
    let mut changes = fates(old, new);
    if let (Some(from), Some(to)) = (old.policy, new.policy)
        && from != to
    {
        changes.push(Change::Policy(from, to));
    }
    changes.extend(sources(old.allowed.as_deref(), new.allowed.as_deref()));
    if let Some(serving) = serving {
        changes.extend(moved_flows(old, new, serving));
    }
    changes.extend(affinity(old, new));
    if old.port != new.port {
        changes.push(Change::Renamed(old.port.to_string(), new.port.to_string()));
    }
    changes
}

/// UDP flows whose endpoint no longer serves.
pub fn moved_flows(old: &FrontendView, new: &FrontendView, serving: &BTreeSet<Target>) -> Option<Change> {
    let moved: BTreeSet<Target> = old.targets().difference(serving).copied().collect();
    (!moved.is_empty()).then(|| Change::FlowsMove(moved, new.is_served()))
}

fn fates(old: &FrontendView, new: &FrontendView) -> Vec<Change> {
    let of = |clients| (old.fate(clients), new.fate(clients));
    let (inside, outside) = (of(Clients::Inside), of(Clients::Outside));
    if inside == outside {
        return step(Clients::All, inside).into_iter().collect();
    }
    step(Clients::Inside, inside).into_iter().chain(step(Clients::Outside, outside)).collect()
}

fn step(clients: Clients, fates: (Fate, Fate)) -> Option<Change> {
    match fates {
        (old, new) if old == new => None,
        (Fate::Served(old), Fate::Served(new)) => Some(Change::Endpoints {
            clients,
            added: new.difference(&old).copied().collect(),
            removed: old.difference(&new).copied().collect(),
            before: old.len(),
            after: new.len(),
        }),
        (old, new) => Some(Change::Fate(clients, old, new)),
    }
}

fn sources(old: Option<&[IpRange]>, new: Option<&[IpRange]>) -> Option<Change> {
    match (old, new) {
        (None, None) => None,
        (None, Some(new)) => Some(Change::Guarded(new.to_vec())),
        (Some(old), None) => Some(Change::Unguarded(old.to_vec())),
        (Some(old), Some(new)) => {
            let (closed, opened) = (outside(old, new), outside(new, old));
            let same = closed.is_empty() && opened.is_empty();
            (!same).then(|| Change::Sources { closed, opened, now: new.to_vec() })
        }
    }
}

/// The ranges that do not lie wholly in one of the others. Ranges of a set are merged: none touches another.
fn outside(ranges: &[IpRange], others: &[IpRange]) -> Vec<IpRange> {
    let covered = |range: &&IpRange| others.iter().any(|o| o.contains(range.first) && o.contains(range.last));
    ranges.iter().filter(|range| !covered(range)).copied().collect()
}

/// Only what clients notice that are served before and after: who is not served has no memory to lose.
fn affinity(old: &FrontendView, new: &FrontendView) -> Vec<Change> {
    if !old.is_served() || !new.is_served() {
        return Vec::new();
    }
    let mut changes = Vec::new();
    let seconds = |view: &FrontendView| view.affinity.as_ref().map(|(_, seconds)| *seconds);
    if seconds(old) != seconds(new) {
        changes.push(Change::Affinity(seconds(old), seconds(new)));
    }
    if let (Some((from, _)), Some((to, _))) = (&old.affinity, &new.affinity) {
        let gone: BTreeSet<Target> = old.targets().difference(&new.targets()).copied().collect();
        if from != to {
            changes.push(Change::ForgottenAll);
        } else if !gone.is_empty() {
            changes.push(Change::Forgotten(gone));
        }
    }
    changes
}
