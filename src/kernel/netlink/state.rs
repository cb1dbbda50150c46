//! Puts together everything that the kernel holds in our tables.

use std::collections::BTreeMap;

use super::{
    decode::{self, Names, pick_count},
    dump::Reader,
};
use crate::{
    kernel::KernelError,
    model::{Family, IpRange},
    tables::{Container, Element, List, PROGRAM_COMMENT, PickChain, Program, TableState},
};

/// Reads both tables.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<TableState, KernelError> {
    let mut state = TableState::default();
    let mut names = Names::default();
    for (family, comment) in reader.tables()? {
        let fingerprint = comment.strip_prefix(PROGRAM_COMMENT).unwrap_or_default();
        state.programs.insert(family, fingerprint.to_owned());
        read_chains(reader, family, &mut state)?;
        read_sets(reader, family, &mut state, &mut names)?;
    }
    Ok(state)
}

/// Reads the pick chains, and which chains are none of ours.
fn read_chains(reader: &mut Reader<'_>, family: Family, state: &mut TableState) -> Result<(), KernelError> {
    for name in reader.chains(family, |name, _| name.to_owned())? {
        if let Some(pick) = pick_chain(family, &name) {
            state.picks.insert(pick);
        } else if !Program::chains().any(|fixed| fixed == name) {
            state.strangers.insert(format!("{} chain {name}", family.nft()));
        }
    }
    Ok(())
}

fn pick_chain(family: Family, name: &str) -> Option<PickChain> {
    let (list, rest) = match name.strip_prefix(List::Local.prefix()) {
        Some(rest) => (List::Local, rest),
        None => (List::All, name),
    };
    Some(PickChain { family, list, count: pick_count(rest)? })
}

/// Reads the elements of every set and map that is ours.
fn read_sets(
    reader: &mut Reader<'_>,
    family: Family,
    state: &mut TableState,
    names: &mut Names,
) -> Result<(), KernelError> {
    let fixed: BTreeMap<String, Container<'_>> = Container::FIXED.into_iter().map(|c| (c.name(), c)).collect();
    for set in reader.sets(family)? {
        let Some(container) = fixed.get(&set).copied().or_else(|| members(&set)) else {
            state.strangers.insert(format!("{} set {set}", family.nft()));
            continue;
        };
        let strangers = &mut state.strangers;
        let mut stranger = |key: &[u8]| {
            let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            strangers.insert(format!("{} element {set} {key}", family.nft()));
        };
        if let Container::ServiceNetworks | Container::Pods = container {
            let mut bounds = Vec::new();
            reader.elements(family, &set, &mut bounds, |element| {
                let bound = decode::bound(family, element);
                bound.or_else(|| {
                    stranger(decode::key_bytes(element));
                    None
                })
            })?;
            let make: fn(IpRange) -> Element = match container {
                Container::Pods => Element::Pods,
                _ => Element::ServiceNetwork,
            };
            state.elements.extend(decode::ranges(bounds).into_iter().map(make));
        } else {
            reader.elements(family, &set, &mut state.elements, |element| {
                let decoded = decode::element(container, family, element, names);
                decoded.or_else(|| {
                    stranger(decode::key_bytes(element));
                    None
                })
            })?;
        }
    }
    Ok(())
}

/// The set of an affinity group's endpoints, if this is the name of one.
fn members(set: &str) -> Option<Container<'_>> {
    let (list, rest) = match set.strip_prefix(List::Local.prefix()) {
        Some(rest) => (List::Local, rest),
        None => (List::All, set),
    };
    Some(Container::Members { group: rest.strip_prefix("members-")?, list })
}
