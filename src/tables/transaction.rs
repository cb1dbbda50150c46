use super::{AffinityGroup, Element, PickChain};

/// One change of the kernel's contents, in three steps. Packets see the change at step 2, all of it at once.
///
/// 1. `write_groups`: affinity groups are made or made anew (an existing group keeps what it remembers; only its
///    rules are written again). Nothing refers to a new group yet.
/// 2. `add_picks`, `delete`, `add`: one netlink batch, one atomic step. Deletes come before adds, so that a key whose
///    data changes is deleted and added within the step. Every group or chain that an added element names exists.
/// 3. `retire`, `delete_picks`, `delete_groups`: what nothing refers to after step 2. Slots of endpoints that left are
///    deleted only here, because a packet that read its `pick-N` just before step 2 may still ask for slot N-1;
///    chains, because a kernel before 6.2 may call them busy within the transaction that drops the last reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Step 1: groups to make or make anew
    pub write_groups: Vec<AffinityGroup>,
    /// Step 2: pick chains to make
    pub add_picks: Vec<PickChain>,
    /// Step 2: elements to delete
    pub delete: Vec<Element>,
    /// Step 2: elements to add
    pub add: Vec<Element>,
    /// Step 3: elements to delete that nothing leads to any more
    pub retire: Vec<Element>,
    /// Step 3: pick chains to delete
    pub delete_picks: Vec<PickChain>,
    /// Step 3: groups to delete, with everything that belongs to them
    pub delete_groups: Vec<AffinityGroup>,
}

impl Transaction {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The number of element operations, for logs and metrics.
    pub fn operations(&self) -> usize {
        self.delete.len() + self.add.len() + self.retire.len()
    }
}
