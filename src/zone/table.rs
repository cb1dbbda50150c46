//! A table whose copies share what did not change.

use std::{
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

/// Bits of the hash that one level of the tree takes.
const BITS: u32 = 5;

/// Hash of a key's bytes: SipHash with a fixed key, so the same bytes stand in the same place in every process, and
/// whoever chooses names cannot pile them up without a search that costs more than it gains.
pub(super) fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// A persistent table: a hash array mapped trie (Bagwell 2001). A copy costs one reference count; a change after that
/// copies the few nodes on the way to it. Values hold their keys: who looks one up says by which hash, and how it is
/// recognised.
#[derive(Clone, Debug)]
pub(super) struct Table<V> {
    root: Branch<V>,
    len: usize,
}

/// The bits stand in the branch and not with the nodes, so that each level costs a look-up one access to memory.
#[derive(Clone, Debug)]
struct Branch<V> {
    /// Bit n is set if there is a node for n
    map: u32,
    /// In the order of their bits
    nodes: Arc<[Node<V>]>,
}

#[derive(Clone, Debug)]
enum Node<V> {
    Leaf(u64, V),
    /// Values that all have this hash
    Clash(u64, Arc<Vec<V>>),
    Branch(Branch<V>),
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { root: Branch { map: 0, nodes: Arc::new([]) }, len: 0 }
    }
}

impl<V: Clone> Table<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value with this hash that `is` recognises.
    pub fn get(&self, hash: u64, is: impl Fn(&V) -> bool) -> Option<&V> {
        let mut branch = &self.root;
        let mut shift = 0;
        loop {
            match branch.nodes.get(branch.find(hash, shift)?)? {
                Node::Leaf(own, value) => return Some(value).filter(|value| *own == hash && is(value)),
                Node::Clash(own, values) if *own == hash => return values.iter().find(|value| is(value)),
                Node::Clash(..) => return None,
                Node::Branch(next) => branch = next,
            }
            shift += BITS;
        }
    }

    /// Puts a value in the place of the one that `is` recognises, or beside all others. Returns the former.
    pub fn insert(&mut self, hash: u64, value: V, is: impl Fn(&V) -> bool) -> Option<V> {
        let former = self.root.insert(0, hash, value, &is);
        self.len += usize::from(former.is_none());
        former
    }

    /// Takes out the value that `is` recognises.
    pub fn remove(&mut self, hash: u64, is: impl Fn(&V) -> bool) -> Option<V> {
        // Looked for first, so that nothing is copied for a value that is not there.
        let former = self.get(hash, &is)?.clone();
        self.root.remove(0, hash, &is);
        self.len -= 1;
        Some(former)
    }

    /// Calls `take` with every value, in the order of their hashes: of no meaning, to be sorted before it is seen.
    pub fn for_each<'a>(&'a self, mut take: impl FnMut(&'a V)) {
        self.root.for_each(&mut take);
    }
}

impl<V> Branch<V> {
    fn bit(hash: u64, shift: u32) -> u32 {
        1 << ((hash >> shift) & 31)
    }

    /// Where the node for this bit stands, or belongs.
    fn place(&self, bit: u32) -> usize {
        (self.map & (bit - 1)).count_ones() as usize
    }

    fn find(&self, hash: u64, shift: u32) -> Option<usize> {
        let bit = Self::bit(hash, shift);
        (self.map & bit != 0).then(|| self.place(bit))
    }

    fn for_each<'a>(&'a self, take: &mut impl FnMut(&'a V)) {
        for node in &*self.nodes {
            match node {
                Node::Leaf(_, value) => take(value),
                Node::Clash(_, values) => values.iter().for_each(&mut *take),
                Node::Branch(branch) => branch.for_each(take),
            }
        }
    }
}

impl<V: Clone> Branch<V> {
    /// A branch with one node, which is none itself.
    fn with(shift: u32, hash: u64, node: Node<V>) -> Self {
        Self { map: Self::bit(hash, shift), nodes: Arc::new([node]) }
    }

    /// Adds a node where there is none.
    fn add(&mut self, shift: u32, hash: u64, node: Node<V>) {
        let bit = Self::bit(hash, shift);
        let (before, after) = self.nodes.split_at(self.place(bit));
        self.nodes = before.iter().cloned().chain([node]).chain(after.iter().cloned()).collect();
        self.map |= bit;
    }

    fn insert(&mut self, shift: u32, hash: u64, value: V, is: &impl Fn(&V) -> bool) -> Option<V> {
        let Some(at) = self.find(hash, shift) else {
            self.add(shift, hash, Node::Leaf(hash, value));
            return None;
        };
        let node = &mut Arc::make_mut(&mut self.nodes)[at];
        match node {
            Node::Branch(branch) => branch.insert(shift + BITS, hash, value, is),
            Node::Leaf(own, former) if *own == hash && is(former) => Some(std::mem::replace(former, value)),
            Node::Leaf(own, former) if *own == hash => {
                *node = Node::Clash(hash, Arc::new(vec![former.clone(), value]));
                None
            }
            Node::Clash(own, values) if *own == hash => {
                let values = Arc::make_mut(values);
                match values.iter_mut().find(|former| is(former)) {
                    Some(former) => Some(std::mem::replace(former, value)),
                    None => {
                        values.push(value);
                        None
                    }
                }
            }
            Node::Leaf(own, _) | Node::Clash(own, _) => {
                // Two hashes that differ part at some level below.
                let mut below = Branch::with(shift + BITS, *own, node.clone());
                below.insert(shift + BITS, hash, value, is);
                *node = Node::Branch(below);
                None
            }
        }
    }

    /// Takes out a value that is there.
    fn remove(&mut self, shift: u32, hash: u64, is: &impl Fn(&V) -> bool) {
        let Some(at) = self.find(hash, shift) else { return };
        if let Node::Leaf(..) = &self.nodes[at] {
            let (before, after) = (&self.nodes[..at], &self.nodes[at + 1..]);
            self.nodes = before.iter().chain(after).cloned().collect();
            self.map &= !Self::bit(hash, shift);
            return;
        }
        let node = &mut Arc::make_mut(&mut self.nodes)[at];
        // The shape depends on what is in the table, not on what once was: what has one value left is a leaf again.
        match node {
            Node::Leaf(..) => {}
            Node::Clash(_, values) => {
                Arc::make_mut(values).retain(|value| !is(value));
                if let [last] = &values[..] {
                    *node = Node::Leaf(hash, last.clone());
                }
            }
            Node::Branch(branch) => {
                branch.remove(shift + BITS, hash, is);
                if let [only @ (Node::Leaf(..) | Node::Clash(..))] = &*branch.nodes {
                    *node = only.clone();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Keys with few hashes, so that clashes and deep branches are common.
    fn poor_hash(key: u16) -> u64 {
        [0, 1, 1 << 5, 1 << 63, (1 << 63) | 1, u64::MAX][usize::from(key) % 6]
    }

    fn contents(table: &Table<(u16, u32)>) -> BTreeMap<u16, u32> {
        let mut all = BTreeMap::new();
        table.for_each(|(key, value)| assert_eq!(all.insert(*key, *value), None));
        all
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds_and_copies_never_change(
            changes in proptest::collection::vec((0..64u16, any::<Option<u32>>(), any::<bool>()), 0..200),
            poor in any::<bool>(),
        ) {
            let place = |key: u16| if poor { poor_hash(key) } else { hash(&key.to_be_bytes()) };
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (key, value, copy) in changes {
                if copy {
                    copies.push((table.clone(), map.clone()));
                }
                let is = |entry: &(u16, u32)| entry.0 == key;
                let (former, expected) = match value {
                    Some(value) => (table.insert(place(key), (key, value), is), map.insert(key, value)),
                    None => (table.remove(place(key), is), map.remove(&key)),
                };
                prop_assert_eq!(former.map(|entry| entry.1), expected);
                prop_assert_eq!(table.len(), map.len());
            }
            copies.push((table, map));
            for (table, map) in copies {
                prop_assert_eq!(&contents(&table), &map);
                for key in 0..64 {
                    let found = table.get(place(key), |entry| entry.0 == key).map(|entry| entry.1);
                    prop_assert_eq!(found, map.get(&key).copied());
                }
            }
        }
    }
}
