//! What the tables hold in memory, and what the kernel would refuse to do with it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use crate::{
    model::{Family, IpRange},
    tables::{AffinityGroup, DeadEnd, Element, List, PickChain, Policy, TableState, Transaction},
};

/// What the tables hold, elements by their keys.
#[derive(Clone, Default)]
pub(super) struct Contents {
    pub programs: BTreeMap<Family, String>,
    elements: BTreeMap<Element, Element>,
    picks: BTreeSet<PickChain>,
    pub groups: BTreeMap<(Family, Arc<str>), AffinityGroup>,
    pub strangers: BTreeSet<String>,
}

impl Contents {
    /// The contents that a state describes.
    pub fn of(state: TableState) -> Self {
        Self {
            programs: state.programs,
            elements: state.elements.into_iter().map(|element| (key(&element), element)).collect(),
            picks: state.picks,
            groups: state.groups.into_iter().map(|group| ((group.family, group.name.clone()), group)).collect(),
            strangers: state.strangers,
        }
    }

    /// The same as a state.
    pub fn state(&self) -> TableState {
        TableState {
            programs: self.programs.clone(),
            elements: self.elements.values().cloned().collect(),
            picks: self.picks.clone(),
            groups: self.groups.values().cloned().collect(),
            strangers: self.strangers.clone(),
        }
    }

    /// Forgets everything of a family.
    pub fn drop_table(&mut self, family: Family) {
        self.programs.remove(&family);
        self.elements.retain(|key, _| key.family() != family);
        self.picks.retain(|pick| pick.family != family);
        self.groups.retain(|(of, _), _| *of != family);
        self.strangers.retain(|stranger| !stranger.starts_with(&format!("{} ", family.nft())));
    }

    /// Step 1. A list that is no longer used keeps its parts until step 3; until then the group reads as one whose parts
    /// do not fit its rules, which is the timeout 0.
    pub fn write_groups(&mut self, groups: &[AffinityGroup]) -> Result<(), String> {
        for group in groups {
            let entry = self.groups.entry((group.family, group.name.clone())).or_insert_with(|| group.clone());
            let (all, local) = (entry.all || group.all, entry.local || group.local);
            let timeout = if (all, local) == (group.all, group.local) { group.timeout } else { 0 };
            *entry = AffinityGroup { all, local, timeout, ..group.clone() };
        }
        Ok(())
    }

    /// Step 2.
    pub fn switch(&mut self, transaction: &Transaction) -> Result<(), String> {
        self.picks.extend(&transaction.add_picks);
        transaction.delete.iter().try_for_each(|element| self.delete(element))?;
        transaction.add.iter().try_for_each(|element| self.add(element))
    }

    /// Step 3.
    pub fn clear_away(&mut self, transaction: &Transaction) -> Result<(), String> {
        transaction.retire.iter().try_for_each(|element| self.delete(element))?;
        for pick in &transaction.delete_picks {
            let refers = |element: &Element| chain_of(element).as_ref() == Some(pick);
            if let Some(element) = self.elements.values().find(|element| refers(element)) {
                return Err(format!("chain {} is busy: {element}", pick.name()));
            }
            if !self.picks.remove(pick) {
                return Err(format!("no chain {}", pick.name()));
            }
        }
        for group in &transaction.write_groups {
            self.shrink_group(group, group.all, group.local)?;
        }
        for group in &transaction.delete_groups {
            self.shrink_group(group, false, false)?;
            self.groups.remove(&(group.family, group.name.clone()));
        }
        Ok(())
    }

    /// Leaves a group only these lists; none of the others may be referred to.
    fn shrink_group(&mut self, group: &AffinityGroup, all: bool, local: bool) -> Result<(), String> {
        let kept = |list| if list == List::All { all } else { local };
        let of_group = |element: &Element, name: &Arc<str>| element.family() == group.family && *name == group.name;
        for element in self.elements.values() {
            let busy = match element {
                Element::Sticky { list, group: name, .. } => of_group(element, name) && !kept(*list),
                Element::Learner { group: name, .. } => of_group(element, name) && !all && !local,
                _ => false,
            };
            if busy {
                return Err(format!("group {} is busy: {element}", group.name));
            }
        }
        self.elements.retain(|element, _| match element {
            Element::Member { group: name, list, .. } => !of_group(element, name) || kept(*list),
            _ => true,
        });
        if let Some(entry) = self.groups.get_mut(&(group.family, group.name.clone())) {
            *entry = AffinityGroup { all, local, ..group.clone() };
        }
        Ok(())
    }

    fn delete(&mut self, element: &Element) -> Result<(), String> {
        self.elements.remove(&key(element)).map(|_| ()).ok_or_else(|| format!("no element {element}"))
    }

    fn add(&mut self, element: &Element) -> Result<(), String> {
        self.check_references(element)?;
        if is_range(element)
            && let Some(other) = self.elements.values().find(|other| overlap(other, element))
        {
            return Err(format!("{element} overlaps {other}"));
        }
        match self.elements.entry(key(element)) {
            Entry::Vacant(entry) => {
                entry.insert(element.clone());
            }
            // The kernel looks at what a key leads to, not at comments, and keeps the element it has.
            Entry::Occupied(entry) => {
                if without_owner(entry.get()) != without_owner(element) {
                    return Err(format!("{} exists, adding {element}", entry.get()));
                }
            }
        }
        Ok(())
    }

    fn check_references(&self, element: &Element) -> Result<(), String> {
        let family = element.family();
        if !self.programs.contains_key(&family) {
            return Err(format!("no {family} table for {element}"));
        }
        let group = |name: &Arc<str>| self.groups.get(&(family, name.clone()));
        let found = match element {
            Element::Sticky { group: name, list, .. } | Element::Member { group: name, list, .. } => {
                group(name).is_some_and(|group| group.lists().any(|used| used == *list))
            }
            Element::Learner { group: name, .. } => group(name).is_some(),
            _ => chain_of(element).is_none_or(|pick| self.picks.contains(&pick)),
        };
        if found { Ok(()) } else { Err(format!("what {element} leads to does not exist")) }
    }
}

/// The pick chain that an element leads to.
fn chain_of(element: &Element) -> Option<PickChain> {
    match element {
        Element::Pick { frontend, list, count, .. } => {
            Some(PickChain { family: frontend.family(), list: *list, count: *count })
        }
        _ => None,
    }
}

/// The element with what its key leads to replaced by something fixed.
fn key(element: &Element) -> Element {
    let mut key = without_owner(element);
    match &mut key {
        Element::Frontend { policy, guarded, .. } => (*policy, *guarded) = (Policy::Internal, false),
        Element::DeadEnd { verdict, .. } => *verdict = DeadEnd::Drop,
        Element::Pick { count, .. } => *count = 1,
        Element::Slot { frontend, target, .. } => {
            (target.address, target.port) = (frontend.address, 0);
        }
        Element::Learner { group, .. } => *group = "".into(),
        // In one map with the pick chains.
        Element::Sticky { frontend, list, .. } => {
            key = Element::Pick { frontend: *frontend, list: *list, first: false, count: 1 };
        }
        _ => {}
    }
    key
}

fn without_owner(element: &Element) -> Element {
    let mut bare = element.clone();
    if let Element::Frontend { owner, .. } | Element::DeadEnd { owner, .. } = &mut bare {
        *owner = "".into();
    }
    bare
}

fn is_range(element: &Element) -> bool {
    matches!(element, Element::Pods(_) | Element::ServiceNetwork(_) | Element::AllowedSource { .. })
}

/// Whether two different ranges of one set have an address in common.
fn overlap(one: &Element, other: &Element) -> bool {
    let common = |a: &IpRange, b: &IpRange| a != b && (a.contains(b.first) || b.contains(a.first));
    match (one, other) {
        (Element::Pods(a), Element::Pods(b)) | (Element::ServiceNetwork(a), Element::ServiceNetwork(b)) => common(a, b),
        (Element::AllowedSource { frontend, range }, Element::AllowedSource { frontend: same, range: b }) => {
            frontend == same && common(range, b)
        }
        _ => false,
    }
}
