//! Reads what nft lists.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::Value;

use super::{Hook, compat, expression::Sets, statement::Statement};
use crate::{listing, model::Family};

/// How long a rule may be in what is told of it; sets on the spot can have thousands of elements.
const LONGEST: usize = 300;

/// Tables that are not ours, as nft lists them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {
    pub(super) tables: Vec<Table>,
    /// Addresses that are this node's own
    pub(super) own: BTreeSet<IpAddr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// `ip`, `ip6` or `inet`
    pub family: String,
    pub name: String,
    pub handle: u64,
    pub chains: BTreeMap<String, Chain>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    pub handle: u64,
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
}

/// Where the kernel asks a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub hook: Hook,
    pub priority: i64,
    pub nat: bool,
    /// The policy is to drop
    pub drops: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    /// In nft's words
    pub words: String,
    pub statements: Vec<Statement>,
}

impl Ruleset {
    /// A ruleset without tables, on a node with these addresses (`fib daddr type local`).
    pub fn new(own: BTreeSet<IpAddr>) -> Self {
        Self { tables: Vec::new(), own }
    }

    /// Whether there is no table.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Adds tables: `json` is what `nft -j list table FAMILY NAME` prints (or `list ruleset`), `text` what
    /// `nft -a list table FAMILY NAME` prints, for the words of rules. Tables of the families arp, bridge and netdev, which
    /// do not see packets at our hooks, are left out. What cannot be understood of a rule makes that rule uncertain, and
    /// costs nothing else.
    ///
    /// # Errors
    /// `json` is not JSON of nft at all.
    pub fn add(&mut self, json: &str, text: &str) -> Result<(), String> {
        let json: Value = serde_json::from_str(json).map_err(|error| format!("reading nft's JSON: {error}"))?;
        let objects =
            json.get("nftables").and_then(Value::as_array).ok_or("reading nft's JSON: it has no `nftables`")?;
        // JSON has neither the words of rules nor, of older versions of nft, whether a table is dormant.
        let texts = listing::read(text);
        let unlisted = listing::Table::default();
        for table in objects.iter().filter_map(|object| object.get("table")) {
            let (Some(family), Some(name)) = (word(table, "family"), word(table, "name")) else { continue };
            let key = (family.to_owned(), name.to_owned());
            let listed = texts.get(&key).unwrap_or(&unlisted);
            if ["ip", "ip6", "inet"].contains(&family) && !listed.dormant {
                self.tables.push(Table::read(family, name, handle(table), objects, listed));
            }
        }
        Ok(())
    }
}

impl Table {
    fn read(family: &str, name: &str, table_handle: u64, objects: &[Value], listed: &listing::Table) -> Self {
        let of_kind = |kind: &'static str| {
            let inside = move |body: &&Value| word(body, "family") == Some(family) && word(body, "table") == Some(name);
            objects.iter().filter_map(move |object| object.get(kind)).filter(inside)
        };
        let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
        for chain in of_kind("chain") {
            let Some(name) = word(chain, "name") else { continue };
            chains.insert(name.to_owned(), Chain { handle: handle(chain), base: Base::read(chain), rules: Vec::new() });
        }
        // What rules add to may hold something else by the time that a packet comes.
        let changing: BTreeSet<&str> = of_kind("rule").flat_map(expressions).filter_map(added_to).collect();
        let sets = of_kind("set").chain(of_kind("map"));
        let sets: Sets<'_> = sets.filter_map(|set| Some((word(set, "name")?, set))).collect();
        let sets = sets.into_iter().filter(|(name, _)| !changing.contains(name)).collect();
        for rule in of_kind("rule") {
            let Some(chain) = word(rule, "chain").and_then(|name| chains.get_mut(name)) else { continue };
            let handle = handle(rule);
            let unknown = format!("rule with handle {handle}");
            let listed = listed.rules.get(&handle);
            let words = listed.map(|rule| &rule.text).filter(|words| !words.is_empty()).unwrap_or(&unknown);
            let before_counter = listed.and_then(|rule| rule.before_counter.as_deref());
            chain.rules.push(Rule { words: cut(words), statements: statements(rule, words, before_counter, &sets) });
        }
        Self { family: family.to_owned(), name: name.to_owned(), handle: table_handle, chains }
    }

    pub fn sees(&self, family: Family) -> bool {
        self.family == "inet" || self.family == family.nft()
    }
}

impl Base {
    fn read(chain: &Value) -> Option<Self> {
        let hook = match word(chain, "hook")? {
            "prerouting" => Hook::Prerouting,
            "input" => Hook::Input,
            "forward" => Hook::Forward,
            "output" => Hook::Output,
            "postrouting" => Hook::Postrouting,
            _ => return None,
        };
        let priority = chain.get("prio")?.as_i64()?;
        let nat = word(chain, "type") == Some("nat");
        Some(Self { hook, priority, nat, drops: word(chain, "policy") == Some("drop") })
    }
}

/// What a rule does, in order.
fn statements(rule: &Value, words: &str, before_counter: Option<&str>, sets: &Sets<'_>) -> Vec<Statement> {
    let mut result = Vec::new();
    let unknown = expressions(rule).filter_map(compat::extension);
    let unknown: Vec<&str> =
        unknown.filter(|(kind, name)| *kind == "match" && *name != "comment").map(|(_, name)| name).collect();
    if !unknown.is_empty() {
        match before_counter {
            Some(words) => result.extend(compat::matches(words, sets)),
            None => result.push(Statement::Perhaps(format!("the match {} of iptables", unknown.join(", ")))),
        }
    }
    for json in expressions(rule) {
        match compat::extension(json) {
            Some(("target", name)) => result.extend(compat::target(name, words)),
            Some(_) => {}
            None => result.extend(Statement::read(json, sets)),
        }
    }
    result
}

fn expressions(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.get("expr").and_then(Value::as_array).into_iter().flatten()
}

/// The set that a part of a rule adds to.
fn added_to(expression: &Value) -> Option<&str> {
    let statement = expression.get("set").or_else(|| expression.get("map"))?;
    word(statement, "set").or_else(|| word(statement, "map"))?.strip_prefix('@')
}

fn word<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn handle(object: &Value) -> u64 {
    object.get("handle").and_then(Value::as_u64).unwrap_or_default()
}

/// The words in a length for people.
fn cut(words: &str) -> String {
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", words.get(..end).unwrap_or_default()),
        None => words.to_owned(),
    }
}
