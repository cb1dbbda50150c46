//! The whole ruleset as libnftables JSON, in the shape in which `nft -j list ruleset` prints it.
//!
//! For programs to read: nft 1.0.6 itself cannot load all of it (docs/adr/0003-nftables-json.md). What the crate
//! `nftables` has types for is made of them; the rest - verdict maps, keys and values that came from `typeof`,
//! `update @map` - are plain JSON values.

mod elements;
mod group;
mod pick;
mod program;
mod read;
mod read_elements;

use std::collections::{BTreeMap, BTreeSet};

use nftables::{
    schema::{Chain, MetainfoObject, NfListObject, Table},
    types::NfFamily,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::{Element, PickChain, Program, TABLE, TableState, text::by_container};
use crate::model::Family;
use elements::Entry;
pub use read::{ListedChains, Listing, ListingError, read_nft_json};

/// Why a ruleset could not be printed as JSON. Both are defects of this program; the user cannot mend them.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The embedded JSON form of the program is not what it should be.
    #[error("reading the JSON form of the {family} program: {source}; `make rules-json` writes it anew")]
    Program {
        /// Whose program
        family: Family,
        /// What is wrong
        source: serde_json::Error,
    },
    /// A value has no JSON form.
    #[error("writing the ruleset as JSON: {0}")]
    Write(#[from] serde_json::Error),
}

/// The program, the chains and the elements of both families, as the output of `nft -j list ruleset` would have them
/// after [`super::nft_text`] was loaded: without handles, counters at zero, the parts of each table in the order of
/// the text.
///
/// # Errors
///
/// None for any state: see [`JsonError`].
pub fn nft_json(programs: &[Program], state: &TableState) -> Result<String, JsonError> {
    let version = MetainfoObject { json_schema_version: Some(1), ..MetainfoObject::default() };
    let mut nftables = vec![Object::Listed(NfListObject::MetainfoObject(version))];
    for program in programs {
        nftables.extend(table(program, state)?);
    }
    Ok(serde_json::to_string_pretty(&Ruleset { nftables })? + "\n")
}

#[derive(Serialize)]
struct Ruleset<'a> {
    nftables: Vec<Object<'a>>,
}

/// One object of the listing.
#[derive(Serialize)]
#[serde(untagged)]
enum Object<'a> {
    /// What the crate has a type for
    Listed(NfListObject<'static>),
    /// What it has none for
    Plain(Value),
    /// A set or map with its elements
    Container(Container<'a>),
}

/// A set or map with its elements. These are made while they are written: as values, those of a large cluster would
/// take a hundred times the memory.
struct Container<'a> {
    /// `set` or `map`
    kind: &'static str,
    declaration: Value,
    elements: BTreeSet<&'a Element>,
}

impl Serialize for Container<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            declaration: &'a Value,
            // nft leaves it out where there are none.
            #[serde(skip_serializing_if = "Entries::is_empty")]
            elem: Entries<'a>,
        }
        struct Entries<'a>(&'a BTreeSet<&'a Element>);
        impl Entries<'_> {
            fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }
        impl Serialize for Entries<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter().map(|element| Entry::from(*element)))
            }
        }
        let mut object = serializer.serialize_map(Some(1))?;
        let body = Body { declaration: &self.declaration, elem: Entries(&self.elements) };
        object.serialize_entry(self.kind, &body)?;
        object.end()
    }
}

/// Everything in the table of one family: sets and maps, chains, rules, as nft orders them.
fn table<'a>(program: &Program, state: &'a TableState) -> Result<Vec<Object<'a>>, JsonError> {
    let family = program.family;
    let parts = program::parts(program)?;
    let groups: Vec<_> = state.groups.iter().filter(|group| group.family == family).collect();
    let picks: Vec<_> = state.picks.iter().filter(|pick| pick.family == family).collect();

    let table = Table { family: nf_family(family), name: TABLE.into(), handle: None };
    let mut objects = vec![Object::Listed(NfListObject::Table(table))];
    let by_container = by_container(family, &state.elements).into_iter();
    let mut elements: BTreeMap<_, _> = by_container.map(|(container, elements)| (container.name(), elements)).collect();
    for (kind, declaration) in parts.sets.into_iter().chain(groups.iter().flat_map(|group| group::sets(group))) {
        let name = declaration.get("name").and_then(Value::as_str);
        let elements = name.and_then(|name| elements.remove(name)).unwrap_or_default();
        objects.push(Object::Container(Container { kind, declaration, elements }));
    }
    objects.extend(parts.chains.into_iter().map(Object::Plain));
    let names = picks.iter().map(|pick| pick.name()).chain(groups.iter().flat_map(|group| group.chains()));
    objects.extend(names.map(|name| Object::Listed(NfListObject::Chain(chain(family, name)))));
    objects.extend(parts.rules.into_iter().map(Object::Plain));
    let rules = picks.iter().flat_map(|pick| std::iter::repeat_n(*pick, PickChain::RULES)).map(pick::rule);
    objects.extend(rules.map(|rule| Object::Listed(NfListObject::Rule(rule))));
    objects.extend(groups.iter().flat_map(|group| group::rules(group)));
    Ok(objects)
}

fn chain(family: Family, name: String) -> Chain<'static> {
    Chain { family: nf_family(family), table: TABLE.into(), name: name.into(), ..Chain::default() }
}

fn nf_family(family: Family) -> NfFamily {
    match family {
        Family::V4 => NfFamily::IP,
        Family::V6 => NfFamily::IP6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PodDetector, Settings};

    /// The names of the chains, each with the number of its rules, as the text has them.
    fn rules_of_text(program: &Program) -> BTreeMap<String, usize> {
        let mut rules = BTreeMap::new();
        let mut chain = None;
        for line in program.text.lines() {
            if let Some(name) = line.strip_prefix("\tchain ") {
                chain = Some(rules.entry(name.trim_end_matches(" {").to_owned()).or_default());
            } else if line == "\t}" {
                chain = None;
            } else if let Some(count) = chain.as_mut().filter(|_| !line.starts_with("\t\ttype ")) {
                **count += 1;
            }
        }
        rules
    }

    fn rules_of_json(program: &Program) -> BTreeMap<String, usize> {
        let json: Value =
            serde_json::from_str(&nft_json(std::slice::from_ref(program), &TableState::default()).unwrap()).unwrap();
        let objects = json["nftables"].as_array().unwrap();
        let name = |value: &Value| value.as_str().map(str::to_owned);
        let mut rules: BTreeMap<_, _> = objects.iter().filter_map(|o| Some((name(&o["chain"]["name"])?, 0))).collect();
        for chain in objects.iter().filter_map(|o| name(&o["rule"]["chain"])) {
            *rules.get_mut(&chain).unwrap() += 1;
        }
        rules
    }

    #[test]
    fn both_forms_have_the_same_chains_with_as_many_rules() {
        let pods = PodDetector::SourceRanges(vec!["10.0.0.0/8".parse().unwrap()]);
        let bridge = PodDetector::BridgeInterface("cni0".into());
        for detector in [PodDetector::default(), pods, bridge] {
            for masquerade_all in [false, true] {
                let settings = Settings { detector: detector.clone(), masquerade_all, ..Settings::default() };
                for family in Family::ALL {
                    let program = Program::new(family, &settings);
                    let text = rules_of_text(&program);
                    assert!(text.len() > 15 && text["check-destination"] == 3, "{text:?}");
                    assert_eq!(rules_of_json(&program), text, "{family} {settings:?}; `make rules-json` may be due");
                }
            }
        }
    }
}
