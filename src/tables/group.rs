use std::sync::Arc;

use super::List;
use crate::model::Family;

/// What belongs to one service port with session affinity, in one family: its chains, maps and sets.
///
/// For the list `All`: chain `sticky-X`, set `members-X`, maps `affinity-X-address` and `affinity-X-port`. For the
/// list `Local` the same, each name with `local-` in front. One chain `learn-X`, with a rule for each list in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityGroup {
    /// Family
    pub family: Family,
    /// X: `namespace/service/protocol` and, for a named port, `/port`; protocol in lower case
    pub name: Arc<str>,
    /// Seconds a client is remembered after its last new connection
    pub timeout: u32,
    /// The cluster list is used
    pub all: bool,
    /// The local list is used
    pub local: bool,
}

impl AffinityGroup {
    /// The chain that sends a known client where it went before.
    pub fn sticky(&self, list: List) -> String {
        format!("{}sticky-{}", list.prefix(), self.name)
    }

    /// The chain that remembers the endpoint a client got.
    pub fn learn(&self) -> String {
        format!("learn-{}", self.name)
    }

    /// The set of the list's endpoints.
    pub fn members(&self, list: List) -> String {
        members(&self.name, list)
    }

    /// The map client -> endpoint address.
    pub fn addresses(&self, list: List) -> String {
        format!("{}affinity-{}-address", list.prefix(), self.name)
    }

    /// The map client -> endpoint port.
    pub fn ports(&self, list: List) -> String {
        format!("{}affinity-{}-port", list.prefix(), self.name)
    }
}

/// The name of the set of endpoints that clients of a group may be remembered for.
pub(super) fn members(group: &str, list: List) -> String {
    format!("{}members-{group}", list.prefix())
}
/// tmp
pub fn group_text(_g: &AffinityGroup, _t: &str, _r: bool) -> String {
    String::new()
}
