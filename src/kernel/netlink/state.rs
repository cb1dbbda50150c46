//! Puts together everything that the kernel holds in our tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{
    decode::{self, Names, pick_count},
    dump::{Reader, RulesOf},
    groups,
    pick::are_pick_rules,
    strangers::Stranger,
    wire::Attributes,
};
use crate::{
    kernel::KernelError,
    model::{Family, IpRange},
    tables::{Container, Element, List, PROGRAM_COMMENT, PickChain, Program, TableState},
};

/// How often a set is read before giving up on two readings that agree.
const READINGS: usize = 10;
/// So few elements fit into one piece of an answer.
const IN_ONE_PIECE: usize = 64;

/// Reads both tables.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<TableState, KernelError> {
    let (mut state, strangers) = read_apart(reader)?;
    state.strangers = strangers.iter().map(Stranger::to_string).collect();
    Ok(state)
}

/// Reads both tables: what is ours, and what is not.
pub(crate) fn read_apart(reader: &mut Reader<'_>) -> Result<(TableState, Vec<Stranger>), KernelError> {
    let mut state = TableState::default();
    let mut strangers = Vec::new();
    let mut names = Names::default();
    for (family, comment) in reader.tables()? {
        let fingerprint = comment.strip_prefix(PROGRAM_COMMENT).unwrap_or_default();
        state.programs.insert(family, fingerprint.to_owned());
        let chains = reader.chains(family, |name, _| name.to_owned())?.into_iter().collect();
        let sets = reader.sets(family)?.into_iter().collect();
        let rules = reader.rules(family)?;
        let mut rules_of: RulesOf<'_> = BTreeMap::new();
        for rule in &rules {
            rules_of.entry(&rule.chain).or_default().push(rule);
        }
        state.groups.extend(groups::groups(family, &chains, &sets, &rules_of));
        sort_chains(family, &chains, &rules_of, &mut state, &mut strangers);
        read_sets(reader, family, &sets, (&mut state, &mut strangers), &mut names)?;
    }
    Ok((state, strangers))
}

/// Finds the pick chains, and the chains that are none of ours: a pick chain that was edited is none of ours until it
/// is made again.
fn sort_chains(
    family: Family,
    chains: &BTreeSet<String>,
    rules: &RulesOf<'_>,
    state: &mut TableState,
    strangers: &mut Vec<Stranger>,
) {
    let fixed: BTreeSet<&str> = Program::chains().collect();
    for name in chains {
        let of_chain = rules.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        match pick_chain(family, name) {
            Some(pick) if are_pick_rules(of_chain, &pick) => {
                state.picks.insert(pick);
            }
            None if fixed.contains(name.as_str()) || groups::group_of_chain(name).is_some() => {}
            Some(pick) => strangers.push(Stranger::Pick(pick)),
            None => strangers.push(Stranger::Chain(family, name.clone())),
        }
    }
}

fn pick_chain(family: Family, name: &str) -> Option<PickChain> {
    let (list, rest) = List::of_name(name);
    Some(PickChain { family, list, count: pick_count(rest)? })
}

/// Reads the elements of every set and map that is ours.
fn read_sets(
    reader: &mut Reader<'_>,
    family: Family,
    sets: &BTreeSet<String>,
    (state, strangers): (&mut TableState, &mut Vec<Stranger>),
    names: &mut Names,
) -> Result<(), KernelError> {
    let fixed: BTreeMap<String, Container<'_>> = Container::FIXED.into_iter().map(|c| (c.name(), c)).collect();
    for set in sets {
        let elements = &mut state.elements;
        let mut stranger = |element: Attributes<'_>| strangers.push(Stranger::element(family, set, element));
        match fixed.get(set).copied().or_else(|| members(set)) {
            Some(Container::Pods) => elements.extend(read_ranges(reader, family, set, stranger)?.map(Element::Pods)),
            Some(Container::ServiceNetworks) => {
                elements.extend(read_ranges(reader, family, set, stranger)?.map(Element::ServiceNetwork));
            }
            Some(container) => read_settled(reader, family, set, elements, |element| {
                let decoded = decode::element(container, family, element, names);
                if decoded.is_none() {
                    stranger(element);
                }
                decoded
            })?,
            None if groups::group_of_set(set).is_some() => {}
            None => strangers.push(Stranger::Set(family, set.clone())),
        }
    }
    Ok(())
}

/// Reads a set until two readings in a row agree.
///
/// The kernel hands a large set out in pieces. While it moves the set to a larger hash table, which it does some time
/// after many elements were added, a later piece can repeat an element or leave one out, and nothing says so.
fn read_settled(
    reader: &mut Reader<'_>,
    family: Family,
    set: &str,
    elements: &mut Vec<Element>,
    mut decode: impl FnMut(Attributes<'_>) -> Option<Element>,
) -> Result<(), KernelError> {
    let start = elements.len();
    let mut last = None;
    for _ in 0..READINGS {
        elements.truncate(start);
        let mut sum = 0u64;
        reader.elements(family, set, elements, |element| {
            let mut hasher = DefaultHasher::new();
            decode::key_bytes(element).hash(&mut hasher);
            sum = sum.wrapping_add(hasher.finish());
            decode(element)
        })?;
        if elements.len() - start < IN_ONE_PIECE || last == Some(sum) {
            return Ok(());
        }
        last = Some(sum);
    }
    let attempt = format!("reading {} {set}", family.nft());
    Err(KernelError::Failed { attempt, reason: format!("it read differently {READINGS} times in a row") })
}

/// Reads an interval set.
fn read_ranges(
    reader: &mut Reader<'_>,
    family: Family,
    set: &str,
    mut stranger: impl FnMut(Attributes<'_>),
) -> Result<impl Iterator<Item = IpRange>, KernelError> {
    let mut bounds = Vec::new();
    reader.elements(family, set, &mut bounds, |element| {
        let bound = decode::bound(family, element);
        if bound.is_none() {
            stranger(element);
        }
        bound
    })?;
    Ok(decode::ranges(bounds).into_iter())
}

/// The set of an affinity group's endpoints, if this is the name of one.
fn members(set: &str) -> Option<Container<'_>> {
    let (list, rest) = List::of_name(set);
    Some(Container::Members { group: rest.strip_prefix("members-").filter(|group| !group.is_empty())?, list })
}
