//! Affinity groups, put together from the chains, rules and sets that belong to them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    dump::{Rule, RulesOf},
    uapi::{NFTA_DYNSET_SET_NAME, NFTA_DYNSET_TIMEOUT, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_LOOKUP_SET},
    wire::Attributes,
};
use crate::{
    model::Family,
    tables::{AffinityGroup, List},
};

/// The group that a chain belongs to, and the list that it is for; a chain `learn-X` is for both.
pub(crate) fn group_of_chain(chain: &str) -> Option<(&str, Option<List>)> {
    let (list, rest) = List::of_name(chain);
    let found = chain.strip_prefix("learn-").map(|group| (group, None));
    found.or_else(|| Some((rest.strip_prefix("sticky-")?, Some(list)))).filter(|(group, _)| !group.is_empty())
}

/// The group that a set or map belongs to, and the list that it is for.
pub(crate) fn group_of_set(set: &str) -> Option<(&str, List)> {
    let (list, rest) = List::of_name(set);
    let of_map = || rest.strip_prefix("affinity-").and_then(|r| r.strip_suffix("-address").or(r.strip_suffix("-port")));
    let group = rest.strip_prefix("members-").or_else(of_map)?;
    (!group.is_empty()).then_some((group, list))
}

/// The groups that a family's table holds. One that lacks a part, or whose rules are not ours, gets the timeout 0,
/// which no Service has: compared with what is wanted, it is always to be written anew or deleted.
pub(crate) fn groups(
    family: Family,
    chains: &BTreeSet<String>,
    sets: &BTreeSet<String>,
    rules: &RulesOf<'_>,
) -> Vec<AffinityGroup> {
    let mut found: BTreeMap<&str, BTreeSet<List>> = BTreeMap::new();
    for (group, list) in chains.iter().filter_map(|chain| group_of_chain(chain)) {
        found.entry(group).or_default().extend(list);
    }
    for (group, list) in sets.iter().filter_map(|set| group_of_set(set)) {
        found.entry(group).or_default().insert(list);
    }
    let group = |(name, lists): (&str, BTreeSet<List>)| {
        let mut group = AffinityGroup {
            family,
            name: name.into(),
            timeout: 0,
            all: lists.contains(&List::All),
            local: lists.contains(&List::Local),
        };
        group.timeout = timeout(&group, sets, rules).unwrap_or(0);
        group
    };
    found.into_iter().map(group).collect()
}

/// Seconds that a group remembers clients; `None` if anything is not as [`crate::tables::group_text`] makes it.
fn timeout(group: &AffinityGroup, sets: &BTreeSet<String>, rules: &RulesOf<'_>) -> Option<u32> {
    let mut learners = rules.get(group.learn().as_str())?.iter();
    let mut timeouts = BTreeSet::new();
    for list in group.lists() {
        let (members, addresses, ports) = (group.members(list), group.addresses(list), group.ports(list));
        let complete = [&members, &addresses, &ports].into_iter().all(|set| sets.contains(set));
        let [known, new, again] = rules.get(group.sticky(list).as_str())?.as_slice() else { return None };
        let first_picks = format!("{}first-picks", list.prefix());
        let sticky = [references(known), references(new), references(again)].concat();
        if !complete || sticky != [&addresses, &ports, &first_picks, &first_picks].map(|map| Reference::Lookup(map)) {
            return None;
        }
        let learner = references(learners.next()?);
        let [Reference::Lookup(first), Reference::Update(second, one), Reference::Update(third, other)] = learner[..]
        else {
            return None;
        };
        if [first, second, third] != [&members, &addresses, &ports] {
            return None;
        }
        timeouts.extend([one, other]);
    }
    let milliseconds = timeouts.pop_first()?;
    let ours = timeouts.is_empty() && learners.next().is_none() && milliseconds % 1000 == 0;
    u32::try_from(milliseconds / 1000).ok().filter(|_| ours)
}

/// What a rule does with a named set or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reference<'a> {
    Lookup(&'a str),
    /// With a timeout in milliseconds
    Update(&'a str, u64),
}

/// The named sets and maps that a rule uses, in order.
fn references(rule: &Rule) -> Vec<Reference<'_>> {
    Attributes(&rule.expressions).iter().filter_map(|(_, expression)| reference(Attributes(expression))).collect()
}

fn reference(expression: Attributes<'_>) -> Option<Reference<'_>> {
    let data = expression.nested(NFTA_EXPR_DATA);
    match expression.text(NFTA_EXPR_NAME)? {
        // nft calls the set `{ tcp, udp, sctp }` something like `__set0`.
        "lookup" => data.text(NFTA_LOOKUP_SET).filter(|set| !set.starts_with("__")).map(Reference::Lookup),
        "dynset" => {
            let timeout = data.long(NFTA_DYNSET_TIMEOUT).unwrap_or_default();
            Some(Reference::Update(data.text(NFTA_DYNSET_SET_NAME)?, timeout))
        }
        _ => None,
    }
}
