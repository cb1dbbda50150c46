//! The whole ruleset as nft text, which `nft -f` accepts as it stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::IpAddr,
    sync::Arc,
};

use super::{
    Container, DeadEnd, Element, List, PickChain, Program, TABLE, TableState, fit_comment, group_text, guard_prefix,
};
use crate::model::{Family, Frontend, Target};

/// The program, the chains and the elements of both families. Loading it replaces whatever our tables held.
pub fn nft_text(programs: &[Program], state: &TableState) -> String {
    let mut text = String::new();
    for program in programs {
        let family = program.family;
        let table = format!("{} {TABLE}", family.nft());
        // Declared first, because only a table that exists can be deleted.
        line(&mut text, format_args!("table {table}\ndelete table {table}\n"));
        line(&mut text, format_args!("{}", program.text));
        for pick in state.picks.iter().filter(|pick| pick.family == family) {
            line(&mut text, format_args!("{}", pick_text(pick)));
        }
        for group in state.groups.iter().filter(|group| group.family == family) {
            line(&mut text, format_args!("{}", group_text(group, TABLE, false)));
        }
        elements_text(&mut text, family, &state.elements);
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

/// The pick chain as a block of the table. The rule is accepted only in the transaction that declares `endpoints`.
fn pick_text(pick: &PickChain) -> String {
    let family = pick.family.nft();
    let offset = match pick.list {
        List::All => String::new(),
        List::Local => format!(" offset {}", pick.list.first_slot()),
    };
    let rule = format!(
        "\t\tdnat {family} to {family} daddr . meta l4proto . th dport . numgen random mod {}{offset} map @endpoints\n",
        pick.count,
    );
    format!("table {family} {TABLE} {{\n\tchain {} {{\n{}\t}}\n}}", pick.name(), rule.repeat(PickChain::RULES))
}

/// One `add element` a container, an element a line. What has no comment of its own gets its owner's name behind `#`.
fn elements_text(text: &mut String, family: Family, elements: &[Element]) {
    let owners: BTreeMap<&Frontend, &Arc<str>> = elements.iter().filter_map(owner).collect();
    for (container, elements) in by_container(family, elements) {
        line(text, format_args!("add element {} {TABLE} {} {{", family.nft(), container.name()));
        for element in elements {
            let owner = element.frontend().and_then(|f| owners.get(f)).filter(|_| owner(element).is_none());
            let note = owner.map(|owner| format!(" # {owner}")).unwrap_or_default();
            line(text, format_args!("\t{},{note}", element_text(element)));
        }
        line(text, format_args!("}}"));
    }
}

/// The elements of a family, sorted, by the map or set that holds them.
pub(super) fn by_container(family: Family, elements: &[Element]) -> BTreeMap<Container<'_>, BTreeSet<&Element>> {
    let mut by_container: BTreeMap<Container, BTreeSet<&Element>> = BTreeMap::new();
    for element in elements.iter().filter(|e| e.family() == family) {
        by_container.entry(element.container()).or_default().insert(element);
    }
    by_container
}

/// The owner that an element's comment names.
fn owner(element: &Element) -> Option<(&Frontend, &Arc<str>)> {
    match element {
        Element::Frontend { frontend, owner, .. } | Element::DeadEnd { frontend, owner, .. } => Some((frontend, owner)),
        _ => None,
    }
}

/// One element as nft writes it: `key comment "owner" : data`.
pub fn element_text(element: &Element) -> String {
    match element {
        Element::ServiceNetwork(range) | Element::Pods(range) => range.to_string(),
        Element::ClusterIp(address) => address.to_string(),
        Element::Hairpin(address) => format!("{address} . {address}"),
        Element::Remembered { target: Target { address, port }, protocol } => {
            format!("{address} . {} . {port}", protocol.nft())
        }
        Element::AllowedSource { frontend, range } => format!("{} . {range}", key(frontend)),
        Element::Frontend { frontend, policy, guarded, owner } => {
            let chain = [guard_prefix(*guarded), policy.chain()].concat();
            format!("{} comment \"{}\" : goto {chain}", key(frontend), fit_comment(owner))
        }
        Element::DeadEnd { frontend, verdict, owner } => {
            let verdict = match verdict {
                DeadEnd::Refuse => "goto refuse",
                DeadEnd::Drop => "drop",
            };
            format!("{} comment \"{}\" : {verdict}", key(frontend), fit_comment(owner))
        }
        Element::Pick { frontend, list, count, .. } => {
            let pick = PickChain { family: frontend.family(), list: *list, count: *count };
            format!("{} : goto {}", key(frontend), pick.name())
        }
        Element::Slot { frontend, slot, target } => {
            format!("{} . {slot} : {} . {}", key(frontend), target.address, target.port)
        }
        Element::Sticky { frontend, list, group } => {
            format!("{} : goto {}sticky-{group}", key(frontend), list.prefix())
        }
        Element::Learner { frontend, group } => format!("{} : goto learn-{group}", key(frontend)),
        Element::Member { target, .. } => format!("{} . {}", target.address, target.port),
    }
}

fn key(frontend: &Frontend) -> String {
    let address: IpAddr = frontend.address;
    format!("{address} . {} . {}", frontend.protocol.nft(), frontend.port)
}
