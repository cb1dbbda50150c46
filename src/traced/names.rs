use std::{collections::BTreeMap, net::IpAddr};

use super::Event;
use crate::{
    model::{Frontend, Target},
    tables::DeadEnd,
};

/// Family and name of a table, and the handle of a rule in it.
pub type RuleId = (String, String, u64);

/// What things are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The texts of rules
    pub rules: BTreeMap<RuleId, String>,
    /// Whose frontends these are, as the kernel's own maps say
    pub owners: BTreeMap<Frontend, Owner>,
    /// Pods by their addresses, as `namespace/name`
    pub pods: BTreeMap<IpAddr, String>,
}

/// Whose a frontend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `namespace/service:port`
    pub name: String,
    /// What becomes of new connections that get no endpoint, if the frontend is in `dead-ends`
    pub dead_end: Option<DeadEnd>,
}

impl Owner {
    /// `namespace/service`
    pub fn service(&self) -> &str {
        self.name.split_once(':').map_or(&self.name, |(service, _)| service)
    }
}

impl Names {
    /// The text of the event's rule, if it is known.
    pub fn rule(&self, event: &Event, handle: u64) -> Option<&str> {
        self.rules.get(&(event.family.to_owned(), event.table.clone(), handle)).map(String::as_str)
    }

    /// An address and port, and the Pod that has the address.
    pub fn target(&self, target: Target) -> String {
        match self.pods.get(&target.address) {
            Some(pod) => format!("{target} (Pod {pod})"),
            None => target.to_string(),
        }
    }
}

/// The rules of a listing as `nft --handle list ruleset` prints it: each on a line that ends with its handle.
pub fn rules_of_listing(listing: &str) -> BTreeMap<RuleId, String> {
    let mut rules = BTreeMap::new();
    let (mut table, mut in_chain) = (None, false);
    for line in listing.lines() {
        let Some((text, handle)) = line.rsplit_once(" # handle ") else {
            in_chain &= !line.starts_with("\t}");
            continue;
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let depth = text.len() - text.trim_start_matches('\t').len();
        match (depth, words.as_slice()) {
            (0, ["table", family, name, ..]) => table = Some(((*family).to_owned(), (*name).to_owned())),
            (1, [kind, ..]) => in_chain = *kind == "chain",
            (2, _) if in_chain => {
                if let (Some((family, name)), Ok(handle)) = (&table, handle.trim().parse()) {
                    rules.insert((family.clone(), name.clone(), handle), without_counts(&words));
                }
            }
            _ => {}
        }
    }
    rules
}

/// What a counter counted until the listing says nothing of this packet.
fn without_counts(words: &[&str]) -> String {
    let mut rest = words;
    let mut kept = Vec::new();
    while let [first, after @ ..] = rest {
        kept.push(*first);
        rest = match (*first, after) {
            ("counter", ["packets", _, "bytes", _, after @ ..]) => after,
            _ => after,
        };
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_by_their_handles() {
        let listing = "table inet fw { # handle 2\n\tset s { # handle 7\n\t\ttype ipv4_addr\n\t}\n\n\tchain input { # handle 1\n\
            \t\ttype filter hook input priority filter; policy accept;\n\
            \t\tudp dport 99 counter packets 0 bytes 0 reject # handle 2\n\t}\n}\ntable ip t { # handle 3\n\
            \tchain c { # handle 1\n\t\tip saddr 10.0.0.1 comment \"a # handle 9\" drop # handle 2\n\t}\n}\n";
        let rules = rules_of_listing(listing);
        let rule = |family: &str, table: &str, handle| {
            rules.get(&(family.to_owned(), table.to_owned(), handle)).map(String::as_str)
        };
        assert_eq!(rule("inet", "fw", 2), Some("udp dport 99 counter reject"));
        assert_eq!(rule("ip", "t", 2), Some("ip saddr 10.0.0.1 comment \"a # handle 9\" drop"));
        assert_eq!(rules.len(), 2, "{rules:?}");
    }
}
