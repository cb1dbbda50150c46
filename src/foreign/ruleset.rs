//! Reads what nft lists.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::Value;

use super::{
    Hook, compat,
    expression::Sets,
    statement::Statement,
    words::{by_handle, cut, matches},
};
use crate::model::Family;

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
        let texts = by_table(text);
        for table in objects.iter().filter_map(|object| object.get("table")) {
            let (Some(family), Some(name)) = (word(table, "family"), word(table, "name")) else { continue };
            let key = (family.to_owned(), name.to_owned());
            let text = texts.get(&key).map_or("", String::as_str);
            // JSON of older versions of nft does not say it.
            let dormant =
                text.lines().take(4).any(|line| line.trim().starts_with("flags ") && line.contains("dormant"));
            if ["ip", "ip6", "inet"].contains(&family) && !dormant {
                self.tables.push(Table::read(family, name, handle(table), objects, text));
            }
        }
        Ok(())
    }
}

impl Table {
    fn read(family: &str, name: &str, table_handle: u64, objects: &[Value], text: &str) -> Self {
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
        let (words, compat_matches) = (by_handle(text), matches(text));
        for rule in of_kind("rule") {
            let Some(chain) = word(rule, "chain").and_then(|name| chains.get_mut(name)) else { continue };
            let handle = handle(rule);
            let unknown = format!("rule with handle {handle}");
            let words = words.get(&handle).filter(|words| !words.is_empty()).unwrap_or(&unknown);
            let before_counter = compat_matches.get(&handle).map(String::as_str);
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

/// The text of each table in a listing, by family and name.
fn by_table(text: &str) -> BTreeMap<(String, String), String> {
    let mut tables = BTreeMap::new();
    let mut current: Option<(String, String)> = None;
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("table ") {
            let mut words = head.split(' ').map(str::to_owned);
            current = words.next().zip(words.next());
        }
        if let Some(key) = &current {
            let text: &mut String = tables.entry(key.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    tables
}
