//! Two states of one frontend, and what changes between them.

use std::collections::BTreeSet;

use super::{Change, Clients, Fate, view::FrontendView};
use crate::model::{IpRange, Target};

/// What changes for those who dial a frontend that is the Service's before and after. `serving` are the endpoints that
/// UDP flows may stay with, for a UDP frontend.
pub fn changes(old: &FrontendView, new: &FrontendView, serving: Option<&BTreeSet<Target>>) -> Vec<Change> {
    let mut changes = fates(old, new, serving.is_some());
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

fn fates(old: &FrontendView, new: &FrontendView, udp: bool) -> Vec<Change> {
    let of = |clients| (old.fate(clients), new.fate(clients));
    let (inside, outside) = (of(Clients::Inside), of(Clients::Outside));
    if inside == outside {
        return step(Clients::All, inside, udp).into_iter().collect();
    }
    step(Clients::Inside, inside, udp).into_iter().chain(step(Clients::Outside, outside, udp)).collect()
}

fn step(clients: Clients, fates: (Fate, Fate), udp: bool) -> Option<Change> {
    match fates {
        (old, new) if old == new => None,
        (Fate::Served(old), Fate::Served(new)) => Some(Change::Endpoints {
            clients,
            added: new.difference(&old).copied().collect(),
            removed: old.difference(&new).copied().collect(),
            before: old.len(),
            after: new.len(),
            udp,
        }),
        (old, new) => Some(Change::Fate { clients, old, new, udp }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{DeadEnd, Policy};

    fn targets(last: &[u8]) -> BTreeSet<Target> {
        last.iter().map(|n| Target { address: [10, 1, 0, *n].into(), port: 8080 }).collect()
    }

    fn view(policy: Policy, all: &[u8], local: &[u8]) -> FrontendView {
        let dead_end = (all.is_empty() && local.is_empty()).then_some(DeadEnd::Refuse);
        FrontendView {
            policy: Some(policy),
            all: targets(all),
            local: targets(local),
            dead_end,
            ..FrontendView::default()
        }
    }

    fn ranges(texts: &[&str]) -> Vec<IpRange> {
        texts.iter().map(|text| IpRange::from(text.parse::<ipnet::IpNet>().unwrap())).collect()
    }

    #[test]
    fn with_a_local_policy_there_are_two_kinds_of_clients() {
        let (old, new) = (view(Policy::ExternalLocal, &[1, 2], &[1]), view(Policy::ExternalLocal, &[2], &[]));
        let new = FrontendView { dead_end: Some(DeadEnd::Drop), ..new };
        let found = changes(&old, &new, None);
        assert_eq!(
            found,
            [
                Change::Endpoints {
                    clients: Clients::Inside,
                    added: targets(&[]),
                    removed: targets(&[1]),
                    before: 2,
                    after: 1,
                    udp: false,
                },
                Change::Fate {
                    clients: Clients::Outside,
                    old: Fate::Served(targets(&[1])),
                    new: Fate::Dropped,
                    udp: false,
                },
            ]
        );
        let (none, one) = (view(Policy::Internal, &[], &[]), view(Policy::Internal, &[1], &[]));
        let (clients, new) = (Clients::All, Fate::Served(targets(&[1])));
        assert_eq!(changes(&none, &one, None), [Change::Fate { clients, old: Fate::Refused, new, udp: false }]);
    }

    #[test]
    fn udp_flows_stay_with_endpoints_that_still_serve() {
        let (old, new) = (view(Policy::Internal, &[1, 2], &[]), view(Policy::Internal, &[1], &[]));
        assert_eq!(moved_flows(&old, &new, &targets(&[1, 2])), None, "2 is terminating, and still answers");
        assert_eq!(moved_flows(&old, &new, &targets(&[1])), Some(Change::FlowsMove(targets(&[2]), true)));
        let nobody = view(Policy::Internal, &[], &[]);
        assert_eq!(moved_flows(&old, &nobody, &targets(&[])), Some(Change::FlowsMove(targets(&[1, 2]), false)));
    }

    #[test]
    fn source_ranges_grow_and_shrink() {
        let change = |old: &[&str], new: &[&str]| sources(Some(&ranges(old)), Some(&ranges(new)));
        let sources = |closed: &[&str], opened: &[&str], now: &[&str]| {
            Some(Change::Sources { closed: ranges(closed), opened: ranges(opened), now: ranges(now) })
        };
        assert_eq!(change(&["10.0.0.0/8"], &["10.0.0.0/8"]), None);
        assert_eq!(change(&["10.0.0.0/8"], &["10.1.0.0/16"]), sources(&["10.0.0.0/8"], &[], &["10.1.0.0/16"]));
        assert_eq!(change(&["10.1.0.0/16"], &["10.0.0.0/8"]), sources(&[], &["10.0.0.0/8"], &["10.0.0.0/8"]));
        assert_eq!(
            change(&["10.1.0.0/16"], &["192.0.2.0/24"]),
            sources(&["10.1.0.0/16"], &["192.0.2.0/24"], &["192.0.2.0/24"])
        );
    }

    #[test]
    fn memory_is_lost_by_who_is_served_and_remembered() {
        let remembering = |group: &str, seconds, all: &[u8]| FrontendView {
            affinity: Some((group.into(), seconds)),
            ..view(Policy::Internal, all, &[])
        };
        let old = remembering("shop/web/tcp", 60, &[1, 2]);
        let found = |new: &FrontendView| affinity(&old, new);
        assert_eq!(found(&remembering("shop/web/tcp", 60, &[2, 3])), [Change::Forgotten(targets(&[1]))]);
        assert_eq!(found(&remembering("shop/web/tcp", 90, &[1, 2])), [Change::Affinity(Some(60), Some(90))]);
        assert_eq!(found(&remembering("shop/web/tcp/http", 60, &[1, 2])), [Change::ForgottenAll]);
        assert_eq!(found(&view(Policy::Internal, &[1, 2], &[])), [Change::Affinity(Some(60), None)]);
        assert_eq!(found(&view(Policy::Internal, &[], &[])), []);
    }
}
