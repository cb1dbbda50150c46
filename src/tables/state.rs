use std::collections::{BTreeMap, BTreeSet};

use super::{AffinityGroup, Element, PickChain};
use crate::model::Family;

/// Everything that Portolan's tables hold: what the kernel has, or what it should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// For each family whose table exists, the fingerprint in the table's comment (empty if there is none)
    pub programs: BTreeMap<Family, String>,
    /// All elements, in no particular order
    pub elements: Vec<Element>,
    /// All `pick-N` and `local-pick-N` chains
    pub picks: BTreeSet<PickChain>,
    /// All affinity groups
    pub groups: BTreeSet<AffinityGroup>,
    /// Chains, sets, maps and elements in our tables that are none of ours, as `family kind name`
    pub strangers: BTreeSet<String>,
}
