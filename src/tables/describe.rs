//! The difference between two states of one owner's rows, in the words of Services.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{DeadEnd, Element, List, Policy, Rows};
use crate::model::{Frontend, Target};

/// One thing that only one side has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// `endpoint 10.1.2.3:8080`, `session affinity`, ...
    pub what: String,
    /// True if the thing is wanted and not there; false if it is there and not wanted
    pub missing: bool,
    /// The frontends it concerns, if any
    pub frontends: BTreeSet<Frontend>,
}

impl Difference {
    /// What differs and where: `endpoint 10.1.2.3:8080 (10.96.0.10:80/TCP)`.
    pub fn subject(&self) -> String {
        if self.frontends.is_empty() {
            return self.what.clone();
        }
        let frontends: Vec<String> = self.frontends.iter().map(ToString::to_string).collect();
        format!("{} ({})", self.what, frontends.join(", "))
    }
}

impl fmt::Display for Difference {
    /// `endpoint 10.1.2.3:8080 missing (10.96.0.10:80/TCP)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.missing { "missing" } else { "left over" };
        let at = self.subject().split_off(self.what.len());
        write!(f, "{} {side}{at}", self.what)
    }
}

/// What `wanted` has and `held` lacks, and the other way round. The order of slots is no difference.
pub fn differences(held: &Rows, wanted: &Rows) -> Vec<Difference> {
    compare(facts(held), facts(wanted))
}

/// What became of an owner's rows, for people who follow changes: [`differences`] without what only follows from a change
/// of endpoints, such as the number of them. What came has `missing` set. It costs what differs, not what there is.
pub fn news(before: &Rows, after: &Rows) -> Vec<Difference> {
    compare(facts_beyond(before, after), facts_beyond(after, before))
}

/// What these rows say that the others do not. An endpoint that only moved to another slot is said by both.
fn facts_beyond(rows: &Rows, others: &Rows) -> Facts {
    let follows = |element: &Element| {
        let pick = matches!(element, Element::Pick { .. } | Element::Sticky { .. } | Element::Learner { .. });
        pick || matches!(element, Element::Hairpin(_))
    };
    let beyond = |element: &&Element| !follows(element) && others.elements.binary_search(element).is_err();
    let elements = rows.elements.iter().filter(beyond).cloned().collect();
    let groups = rows.groups.iter().filter(|group| !others.groups.contains(group)).cloned().collect();
    facts(&Rows { elements, groups })
}

fn compare(held: Facts, wanted: Facts) -> Vec<Difference> {
    let mut found: BTreeMap<(String, bool), BTreeSet<Frontend>> = BTreeMap::new();
    let missing = wanted.difference(&held).map(|fact| (fact, true));
    let left_over = held.difference(&wanted).map(|fact| (fact, false));
    for ((what, frontend), missing) in missing.chain(left_over) {
        found.entry((what.clone(), missing)).or_default().extend(*frontend);
    }
    found.into_iter().map(|((what, missing), frontends)| Difference { what, missing, frontends }).collect()
}

type Facts = BTreeSet<(String, Option<Frontend>)>;

/// Each row as a statement, about a frontend or not. Rows that only follow from others say nothing of their own.
fn facts(rows: &Rows) -> Facts {
    let mut facts: BTreeSet<_> = rows.elements.iter().filter_map(fact).collect();
    for group in &rows.groups {
        facts.insert((format!("session affinity for {} seconds ({})", group.timeout, group.name), None));
    }
    facts
}

fn fact(element: &Element) -> Option<(String, Option<Frontend>)> {
    let what = match element {
        Element::ServiceNetwork(range) => format!("service network {range}"),
        Element::Pods(range) => format!("pod range {range}"),
        Element::ClusterIp(address) => format!("cluster IP {address}"),
        Element::Hairpin(address) => format!("hairpin rule for {address}"),
        Element::AllowedSource { range, .. } => format!("source range {range}"),
        Element::Frontend { policy, guarded, .. } => {
            let ranges = if *guarded { " and source ranges" } else { "" };
            format!("frontend with policy {}{ranges}", policy_name(*policy))
        }
        Element::DeadEnd { verdict: DeadEnd::Refuse, .. } => "refusal (no endpoints)".to_owned(),
        Element::DeadEnd { verdict: DeadEnd::Drop, .. } => "drop (no endpoints on this node)".to_owned(),
        Element::Slot { slot, target, .. } => endpoint_name(*slot, target),
        Element::Pick { count, list, .. } => format!("choice among {count} {}", endpoints_name(*list)),
        Element::Sticky { .. } => "affinity look-up".to_owned(),
        Element::Learner { .. } => "affinity memory".to_owned(),
        Element::Member { .. } | Element::Remembered { .. } => return None,
    };
    Some((what, element.frontend().copied()))
}

fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Internal | Policy::External => "Cluster",
        Policy::InternalLocal | Policy::ExternalLocal => "Local",
    }
}

fn endpoint_name(slot: u16, target: &Target) -> String {
    let local = if slot >= List::Local.first_slot() { "local " } else { "" };
    format!("{local}endpoint {target}")
}

fn endpoints_name(list: List) -> &'static str {
    match list {
        List::All => "endpoints",
        List::Local => "local endpoints",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    /// Rows of a frontend with the endpoints 10.1.0.N in these slots.
    fn rows(endpoints: &[u8]) -> Rows {
        let frontend = Frontend { address: [10, 96, 0, 10].into(), protocol: Protocol::Tcp, port: 80 };
        let slot = |(slot, last): (u16, &u8)| Element::Slot {
            frontend,
            slot,
            target: Target { address: [10, 1, 0, *last].into(), port: 80 },
        };
        let mut rows = Rows { elements: (0..).zip(endpoints).map(slot).collect(), groups: Vec::new() };
        rows.elements.push(Element::Pick { frontend, list: List::All, first: false, count: endpoints.len() as u16 });
        rows.normalise();
        rows
    }

    #[test]
    fn news_are_endpoints_and_not_their_slots_or_number() {
        let told = |before: &[u8], after: &[u8]| -> Vec<(String, bool)> {
            news(&rows(before), &rows(after)).into_iter().map(|news| (news.subject(), news.missing)).collect()
        };
        let endpoint = |last: u8| format!("endpoint 10.1.0.{last}:80 (10.96.0.10:80/TCP)");
        assert_eq!(told(&[1, 2, 3], &[1, 3]), [(endpoint(2), false)], "3 took the slot of 2");
        assert_eq!(told(&[1], &[2]), [(endpoint(1), false), (endpoint(2), true)]);
        assert_eq!(told(&[1, 2], &[2, 1]), []);
    }
}
