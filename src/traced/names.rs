use std::{collections::BTreeMap, net::IpAddr};

use super::Event;
use crate::{
    listing,
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

/// The texts of all rules in a listing as `nft --handle list ruleset` prints it.
pub fn rules_of_listing(listing: &str) -> BTreeMap<RuleId, String> {
    let of_table = |((family, name), table): ((String, String), listing::Table)| {
        let rules = table.rules.into_iter().filter(|(_, rule)| !rule.text.is_empty());
        rules.map(move |(handle, rule)| ((family.clone(), name.clone(), handle), rule.text))
    };
    listing::read(listing).into_iter().flat_map(of_table).collect()
}
