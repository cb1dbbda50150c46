use super::{AffinityGroup, Element};

/// What one owner wants in the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Elements, sorted, each once
    pub elements: Vec<Element>,
    /// Affinity groups, sorted
    pub groups: Vec<AffinityGroup>,
}

impl Rows {
    /// Sorts and removes repetitions.
    pub fn normalise(&mut self) {
        self.elements.sort_unstable();
        self.elements.dedup();
        self.groups.sort_unstable();
        self.groups.dedup();
        self.elements.shrink_to_fit();
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty() && self.groups.is_empty()
    }
}
