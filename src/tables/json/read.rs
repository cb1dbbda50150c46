//! A listing read back: the inverse of [`super::nft_json`], for rulesets that another version of Portolan printed, and
//! for what `nft -j list ruleset` prints on a node.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

use super::read_elements::element;
use crate::{
    model::Family,
    tables::{AffinityGroup, Container, List, PickChain, TABLE, TableState},
};

/// The chains of the fixed program, each rule as JSON in one line.
pub type ListedChains = BTreeMap<(Family, String), Vec<String>>;

/// What a listing holds of Portolan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The contents. A listing has no fingerprints, so those of `programs` are empty; `strangers` are parts that this
    /// version does not know.
    pub state: TableState,
    /// The program
    pub chains: ListedChains,
}

/// Why a listing cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// Not JSON
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON, and no listing
    #[error("there is no list \"nftables\" in it; `portolan render -o json` and `nft -j list ruleset` print one")]
    NotAListing,
    /// A listing of something else
    #[error("it holds no table {TABLE}")]
    NoTable,
    /// A part of our tables that no version of Portolan writes
    #[error("{place}: {value} is not what Portolan writes there")]
    Strange {
        /// Family, kind and name of what holds it
        place: String,
        /// The element
        value: String,
    },
}

/// Reads a ruleset in nft's JSON form. Tables of others are passed over.
///
/// # Errors
///
/// See [`ListingError`]. Nothing of a listing is used that is not understood as a whole.
pub fn read_nft_json(text: &str) -> Result<Listing, ListingError> {
    let ruleset: Value = serde_json::from_str(text)?;
    let objects = ruleset.get("nftables").and_then(Value::as_array).ok_or(ListingError::NotAListing)?;
    let mut reader = Reader::default();
    for (kind, body) in objects.iter().filter_map(Value::as_object).flatten() {
        reader.take(kind, body)?;
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    listing: Listing,
    groups: BTreeMap<(Family, String), Group>,
}

/// A group, as its parts come.
#[derive(Default)]
struct Group {
    all: bool,
    local: bool,
    timeout: Option<u32>,
}

impl Reader {
    fn take(&mut self, kind: &str, body: &Value) -> Result<(), ListingError> {
        let text = |field: &str| body.get(field).and_then(Value::as_str);
        let family = Family::ALL.into_iter().find(|family| text("family") == Some(family.nft()));
        let Some(family) = family else { return Ok(()) };
        let table = if kind == "table" { text("name") } else { text("table") };
        if table != Some(TABLE) {
            return Ok(());
        }
        let name = text("name").unwrap_or_default();
        match kind {
            "table" => drop(self.listing.state.programs.insert(family, String::new())),
            "set" | "map" => self.container(family, kind, name, body)?,
            "chain" => self.chain(family, name),
            "rule" => self.rule(family, text("chain").unwrap_or_default(), body),
            other => self.stranger(family, other, name),
        }
        Ok(())
    }

    fn stranger(&mut self, family: Family, kind: &str, name: &str) {
        self.listing.state.strangers.insert(format!("{} {kind} {name}", family.nft()));
    }

    fn container(&mut self, family: Family, kind: &str, name: &str, body: &Value) -> Result<(), ListingError> {
        let (list, rest) = List::of_name(name);
        let fixed = Container::FIXED.into_iter().find(|container| container.name() == name);
        let container = match (fixed, rest.strip_prefix("members-")) {
            (Some(fixed), _) => fixed,
            (None, Some(group)) => {
                let known = self.groups.entry((family, group.to_owned())).or_default();
                match list {
                    List::All => known.all = true,
                    List::Local => known.local = true,
                }
                Container::Members { group, list }
            }
            // What packets write into these is no part of the state.
            (None, None) if rest.starts_with("affinity-") => return Ok(()),
            (None, None) => {
                self.stranger(family, kind, name);
                return Ok(());
            }
        };
        for value in body.get("elem").and_then(Value::as_array).into_iter().flatten() {
            let read = element(container, value).filter(|element| element.family() == family);
            self.listing.state.elements.push(read.ok_or_else(|| ListingError::Strange {
                place: format!("{} {kind} {name}", family.nft()),
                value: value.to_string(),
            })?);
        }
        Ok(())
    }

    fn chain(&mut self, family: Family, name: &str) {
        if let Some(pick) = pick_chain(family, name) {
            self.listing.state.picks.insert(pick);
        } else if !belongs_to_a_group(name) {
            self.listing.chains.entry((family, name.to_owned())).or_default();
        }
    }

    fn rule(&mut self, family: Family, chain: &str, body: &Value) {
        let statements = body.get("expr").cloned().unwrap_or_default();
        if let Some(group) = chain.strip_prefix("learn-") {
            let timeout = statements.as_array().into_iter().flatten().filter_map(Value::as_str).find_map(timeout);
            let known = self.groups.entry((family, group.to_owned())).or_default();
            known.timeout = known.timeout.or(timeout);
        } else if !belongs_to_a_group(chain) && pick_chain(family, chain).is_none() {
            let rules = self.listing.chains.entry((family, chain.to_owned())).or_default();
            rules.push(without_counts(statements).to_string());
        }
    }

    fn finish(mut self) -> Result<Listing, ListingError> {
        if self.listing.state.programs.is_empty() {
            return Err(ListingError::NoTable);
        }
        for ((family, name), Group { all, local, timeout }) in self.groups {
            let timeout = timeout.ok_or_else(|| ListingError::Strange {
                place: format!("{} chain learn-{name}", family.nft()),
                value: "a group without a time".to_owned(),
            })?;
            let group = AffinityGroup { family, name: name.into(), timeout, all, local };
            self.listing.state.groups.insert(group);
        }
        Ok(self.listing)
    }
}

fn belongs_to_a_group(chain: &str) -> bool {
    List::of_name(chain).1.starts_with("sticky-") || chain.starts_with("learn-")
}

/// `pick-N` or `local-pick-N`.
pub(super) fn pick_chain(family: Family, name: &str) -> Option<PickChain> {
    let (list, rest) = List::of_name(name);
    let count = rest.strip_prefix("pick-")?.parse().ok().filter(|count| *count > 0)?;
    Some(PickChain { family, list, count })
}

/// A rule's own counters count on; they are no part of the program.
fn without_counts(mut statements: Value) -> Value {
    for statement in statements.as_array_mut().into_iter().flatten() {
        if let Some(counter) = statement.get_mut("counter") {
            *counter = Value::Null;
        }
    }
    statements
}

/// The seconds in `update @map { ct original ip saddr timeout 1d2h : ip daddr }`.
fn timeout(statement: &str) -> Option<u32> {
    let (_, rest) = statement.split_once(" timeout ")?;
    let (mut seconds, mut number) = (0u32, String::new());
    for character in rest.split_once(" :")?.0.chars() {
        let unit = match character {
            'd' => 86400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            digit => {
                number.push(digit);
                continue;
            }
        };
        let count: u32 = std::mem::take(&mut number).parse().ok()?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
    }
    Some(seconds)
}

/// An address.
pub(super) fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}
