//! What the tables hold, by owner, and the transaction that changes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use super::{AffinityGroup, Element, PickChain, Rows, TableState, Transaction};
use crate::model::{Frontend, ServiceId};

/// Who wants a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Rows that belong to the node as a whole
    Node,
    /// Rows found in the kernel that name no owner; wanted by nobody, and gone with the first change that says so
    Stray,
    /// Rows of a Service
    Service(ServiceId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Node => f.write_str("the node's own rows"),
            Owner::Stray => f.write_str("rows without an owner"),
            Owner::Service(id) => id.fmt(f),
        }
    }
}

/// New rows for some owners; empty rows for one that goes.
pub type Changes = BTreeMap<Owner, Rows>;

/// What the tables hold, by owner. Always what the kernel was last seen to hold or made to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    rows: BTreeMap<Owner, Rows>,
    /// Elements that several owners may want, with the number of owners who do
    shared: BTreeMap<Element, usize>,
    /// Pick chains with the number of elements that lead to them; 0 for one found in the kernel unused
    picks: BTreeMap<PickChain, usize>,
}

/// How the counts of shared things move with a change.
#[derive(Default)]
struct Moves {
    shared: BTreeMap<Element, isize>,
    picks: BTreeMap<PickChain, isize>,
}

impl Contents {
    /// The rows of an owner.
    pub fn rows(&self, owner: &Owner) -> Option<&Rows> {
        self.rows.get(owner)
    }

    /// All owners.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.rows.keys()
    }

    /// What is held of what an owner wants or has, for a comparison of both. Of the things that several owners may want,
    /// and of which the kernel does not tell whose they are, it has those that it wants.
    pub fn held(&self, owner: &Owner, wanted: &Rows) -> Rows {
        let mut held = self.rows.get(owner).cloned().unwrap_or_default();
        held.elements.retain(|element| !is_shared(element));
        let nodes_own = |element: &&Element| matches!(element, Element::Pods(_) | Element::ServiceNetwork(_));
        match owner {
            Owner::Node => held.elements.extend(self.shared.keys().filter(nodes_own).cloned()),
            Owner::Service(_) | Owner::Stray => {
                let shared = wanted.elements.iter().filter(|e| is_shared(e) && self.shared.contains_key(e));
                held.elements.extend(shared.cloned());
            }
        }
        held.normalise();
        held
    }

    /// What a kernel holds, given to the owners that its comments and names tell.
    pub fn from_kernel(state: TableState) -> Self {
        let owners = Owners::of(&state.elements);
        let mut rows: BTreeMap<Owner, Rows> = BTreeMap::new();
        for element in state.elements {
            let owner = owners.owner(&element);
            rows.entry(owner.unwrap_or(Owner::Stray)).or_default().elements.push(element);
        }
        for group in state.groups {
            let owner = owner_of_group(&group.name).unwrap_or(Owner::Stray);
            rows.entry(owner).or_default().groups.push(group);
        }
        rows.values_mut().for_each(Rows::normalise);
        let mut contents = Self::default();
        contents.accept(rows);
        for pick in state.picks {
            contents.picks.entry(pick).or_insert(0);
        }
        contents
    }

    /// Whose rows somebody else changed: the owners of what is here and not in `found`, and of what is there and not
    /// here. What is there and names nobody is [`Owner::Stray`].
    pub fn drift(&self, found: &TableState) -> BTreeSet<Owner> {
        let there: BTreeSet<&Element> = found.elements.iter().collect();
        let lacks = |rows: &Rows| {
            let elements = rows.elements.iter().any(|element| !there.contains(element));
            elements || rows.groups.iter().any(|group| !found.groups.contains(group))
        };
        let mut drifted: BTreeSet<Owner> =
            self.rows.iter().filter(|(_, rows)| lacks(rows)).map(|(owner, _)| owner.clone()).collect();
        drop(there);
        let here: BTreeSet<&Element> = self.rows.values().flat_map(|rows| &rows.elements).collect();
        let added: Vec<&Element> = found.elements.iter().filter(|element| !here.contains(element)).collect();
        if !added.is_empty() {
            let owners = Owners::of(&found.elements);
            drifted.extend(added.into_iter().map(|element| owners.owner(element).unwrap_or(Owner::Stray)));
        }
        let groups: BTreeSet<&AffinityGroup> = self.rows.values().flat_map(|rows| &rows.groups).collect();
        let added = found.groups.iter().filter(|group| !groups.contains(group));
        drifted.extend(added.map(|group| owner_of_group(&group.name).unwrap_or(Owner::Stray)));
        if found.picks.iter().any(|pick| !self.picks.contains_key(pick)) {
            drifted.insert(Owner::Stray);
        }
        drifted
    }

    /// Gives shared elements that were found in the kernel to all who want them, and takes out of the changes what then
    /// changes nothing. What was found tells at most one of those to whom such an element belongs.
    pub fn attribute(&mut self, changes: &mut Changes) {
        let mut stray = self.rows.remove(&Owner::Stray).unwrap_or_default();
        let mut taken = BTreeSet::new();
        for (owner, new) in changes.iter() {
            let own = self.rows.get(owner).map_or(&[][..], |rows| &rows.elements);
            let shared = new.elements.iter().filter(|e| is_shared(e) && self.shared.contains_key(e));
            let found: Vec<Element> = shared.filter(|e| own.binary_search(e).is_err()).cloned().collect();
            if found.is_empty() {
                continue;
            }
            for element in &found {
                // Whoever takes it from the stray rows takes over the count that it has there.
                let from_stray = stray.elements.binary_search(element).is_ok() && taken.insert(element.clone());
                if !from_stray {
                    *self.shared.entry(element.clone()).or_default() += 1;
                }
            }
            let rows = self.rows.entry(owner.clone()).or_default();
            rows.elements.extend(found);
            rows.normalise();
        }
        for (owner, new) in changes.iter() {
            let Some(rows) = self.rows.get_mut(owner) else { continue };
            rows.elements.retain(|element| {
                let wanted = !is_shared(element) || new.elements.binary_search(element).is_ok();
                // The guess was wrong, if somebody else wants it: no change for this owner.
                let count = self.shared.get_mut(element).filter(|count| !wanted && **count > 1);
                count.map(|count| *count -= 1).is_none()
            });
        }
        stray.elements.retain(|element| !taken.contains(element));
        if !stray.is_empty() {
            self.rows.insert(Owner::Stray, stray);
        }
        changes.retain(|owner, new| match self.rows.get(owner) {
            Some(rows) => rows != new,
            None => !new.is_empty(),
        });
    }

    /// Every element, each once.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        let exclusive = self.rows.values().flat_map(|rows| &rows.elements).filter(|e| !is_shared(e));
        exclusive.chain(self.shared.keys())
    }

    /// Everything, without owners.
    pub fn state(&self) -> TableState {
        TableState {
            elements: self.elements().cloned().collect(),
            picks: self.picks.keys().copied().collect(),
            groups: self.rows.values().flat_map(|rows| &rows.groups).cloned().collect(),
            ..TableState::default()
        }
    }

    /// The transaction that makes the changes, the smallest there is. Its cost is that of the owners that change.
    pub fn change(&self, changes: &Changes) -> Transaction {
        let moves = self.moves(changes);
        let (delete, add) = self.exclusive_moves(changes);
        let mut transaction = Transaction { add: Vec::with_capacity(add.len()), ..Transaction::default() };
        let slots_added: BTreeSet<(Frontend, u16)> = match delete.is_empty() {
            true => BTreeSet::new(),
            false => add.iter().filter_map(|element| slot_key(element)).collect(),
        };
        for element in delete {
            // A slot that is only left, not filled anew, must outlive the pick chain that may still ask for it.
            let retire = slot_key(element).is_some_and(|key| !slots_added.contains(&key));
            let list = if retire { &mut transaction.retire } else { &mut transaction.delete };
            list.push(element.clone());
        }
        transaction.add.extend(add.into_iter().cloned());
        for (element, move_by) in moves.shared {
            let (before, after) = counts(&self.shared, &element, move_by);
            match (before.is_some(), after > 0) {
                (false, true) => transaction.add.push(element),
                (true, false) => transaction.delete.push(element),
                _ => {}
            }
        }
        for (pick, move_by) in &moves.picks {
            let (before, after) = counts(&self.picks, pick, *move_by);
            if before.is_none() && after > 0 {
                transaction.add_picks.push(*pick);
            }
        }
        let unused = |pick: &&PickChain| counts(&self.picks, *pick, moves.picks.get(pick).copied().unwrap_or(0)).1 == 0;
        transaction.delete_picks.extend(self.picks.keys().filter(unused));
        self.change_groups(changes, &mut transaction);
        transaction
    }

    /// Takes note that the changes were made.
    pub fn accept(&mut self, changes: Changes) {
        let moves = self.moves(&changes);
        for (element, move_by) in moves.shared {
            let (_, after) = counts(&self.shared, &element, move_by);
            if after == 0 {
                self.shared.remove(&element)
            } else {
                self.shared.insert(element, after)
            };
        }
        for (pick, move_by) in moves.picks {
            let (_, after) = counts(&self.picks, &pick, move_by);
            self.picks.insert(pick, after);
        }
        for (owner, rows) in changes {
            if rows.is_empty() {
                self.rows.remove(&owner)
            } else {
                self.rows.insert(owner, rows)
            };
        }
        self.picks.retain(|_, count| *count > 0);
    }

    /// For each owner: what it gives up, and what it gets.
    fn by_owner<'a>(&'a self, changes: &'a Changes) -> impl Iterator<Item = (&'a Element, isize)> {
        changes.iter().flat_map(|(owner, new)| {
            let old = self.rows.get(owner).map_or(&[][..], |rows| &rows.elements);
            let lost = difference(old, &new.elements).map(|element| (element, -1));
            lost.chain(difference(&new.elements, old).map(|element| (element, 1)))
        })
    }

    fn moves(&self, changes: &Changes) -> Moves {
        let mut moves = Moves::default();
        for (element, by) in self.by_owner(changes) {
            if is_shared(element) {
                *moves.shared.entry(element.clone()).or_default() += by;
            } else if let Element::Pick { frontend, list, count, .. } = element {
                let pick = PickChain { family: frontend.family(), list: *list, count: *count };
                *moves.picks.entry(pick).or_default() += by;
            }
        }
        moves
    }

    /// What is to be deleted and added of what has one owner; an element that only changes hands is neither.
    fn exclusive_moves<'a>(&'a self, changes: &'a Changes) -> (Vec<&'a Element>, Vec<&'a Element>) {
        let exclusive = || self.by_owner(changes).filter(|(element, _)| !is_shared(element));
        let mut delete: Vec<&Element> = exclusive().filter(|(_, by)| *by < 0).map(|(element, _)| element).collect();
        let mut add: Vec<&Element> = exclusive().filter(|(_, by)| *by > 0).map(|(element, _)| element).collect();
        if !delete.is_empty() && !add.is_empty() {
            let leaving: BTreeSet<&Element> = delete.iter().copied().collect();
            let both: BTreeSet<&Element> = add.iter().copied().filter(|element| leaving.contains(element)).collect();
            delete.retain(|element| !both.contains(element));
            add.retain(|element| !both.contains(element));
        }
        (delete, add)
    }

    fn change_groups(&self, changes: &Changes, transaction: &mut Transaction) {
        let nothing = Rows::default();
        for (owner, new) in changes {
            let old = self.rows.get(owner).unwrap_or(&nothing);
            transaction.write_groups.extend(new.groups.iter().filter(|g| !old.groups.contains(g)).cloned());
            let stays = |g: &AffinityGroup| new.groups.iter().any(|n| n.name == g.name && n.family == g.family);
            transaction.delete_groups.extend(old.groups.iter().filter(|g| !stays(g)).cloned());
        }
    }
}

/// Elements that several owners may want: two Services can have one endpoint, two ports one cluster IP.
fn is_shared(element: &Element) -> bool {
    matches!(
        element,
        Element::ClusterIp(_)
            | Element::Hairpin(_)
            | Element::Remembered { .. }
            | Element::Pods(_)
            | Element::ServiceNetwork(_)
    )
}

/// The count now, if the thing exists, and the count after.
fn counts<K: Ord>(map: &BTreeMap<K, usize>, key: &K, move_by: isize) -> (Option<usize>, usize) {
    let before = map.get(key).copied();
    (before, before.unwrap_or(0).saturating_add_signed(move_by))
}

fn slot_key(element: &Element) -> Option<(Frontend, u16)> {
    match element {
        Element::Slot { frontend, slot, .. } => Some((*frontend, *slot)),
        _ => None,
    }
}

/// Elements of `a` that are not in `b`; both sorted.
fn difference<'a>(a: &'a [Element], b: &'a [Element]) -> impl Iterator<Item = &'a Element> {
    let mut b = b.iter().peekable();
    a.iter().filter(move |element| {
        while b.next_if(|other| other < element).is_some() {}
        b.peek() != Some(element)
    })
}

/// Who owns what was found in a kernel.
struct Owners {
    /// From the comments in `frontends` and `dead-ends`
    by_frontend: BTreeMap<Frontend, Owner>,
    /// Of shared elements: one of those who use the address
    by_address: BTreeMap<IpAddr, Owner>,
}

impl Owners {
    fn of(elements: &[Element]) -> Self {
        let by_frontend: BTreeMap<Frontend, Owner> = elements.iter().filter_map(commented_owner).collect();
        let mut by_address = BTreeMap::new();
        for element in elements {
            if let Some((frontend, owner)) = element.frontend().and_then(|f| by_frontend.get_key_value(f)) {
                by_address.entry(frontend.address).or_insert_with(|| owner.clone());
                if let Element::Slot { target, .. } = element {
                    by_address.entry(target.address).or_insert_with(|| owner.clone());
                }
            }
        }
        Self { by_frontend, by_address }
    }

    fn owner(&self, element: &Element) -> Option<Owner> {
        match element {
            Element::Member { group, .. } => owner_of_group(group),
            Element::ClusterIp(address) | Element::Hairpin(address) => self.by_address.get(address).cloned(),
            Element::Remembered { target, .. } => self.by_address.get(&target.address).cloned(),
            _ => self.by_frontend.get(element.frontend()?).cloned(),
        }
    }
}

/// The frontend of an element with a comment, and the Service that the comment names.
fn commented_owner(element: &Element) -> Option<(Frontend, Owner)> {
    Some((*element.frontend()?, Owner::Service(element.port()?.service)))
}

/// Who owns an affinity group, from its name.
fn owner_of_group(name: &str) -> Option<Owner> {
    let mut parts = name.split('/');
    Some(Owner::Service(ServiceId::new(parts.next()?, parts.next()?)))
}
