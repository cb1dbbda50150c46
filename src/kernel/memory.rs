//! A [`DataPlane`] in memory, for tests of what stands above it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use super::{Count, DataPlane, KernelError, Remembered};
use crate::{
    compile::ServingTargets,
    model::{Family, Frontend, IpRange},
    tables::{AffinityGroup, DeadEnd, Element, List, PickChain, Policy, Program, TableState, Transaction},
};

type Predicate = Box<dyn Fn(&Element) -> bool + Send>;

/// Keeps what it is told and refuses what the kernel would refuse: elements that lead to a missing chain or group,
/// a second value for a key, overlapping ranges, deleting what is absent or still referred to.
#[derive(Default)]
pub struct MemoryDataPlane {
    contents: Contents,
    generation: u32,
    commits: usize,
    edited: BTreeSet<String>,
    refuse: Option<Predicate>,
    counts: Vec<Count>,
    remembered: BTreeMap<(Family, Arc<str>, List), Vec<Remembered>>,
    standby: Option<TableState>,
    last_standby: Option<TableState>,
}

/// What the tables hold, elements by their keys.
#[derive(Clone, Default)]
struct Contents {
    programs: BTreeMap<Family, String>,
    elements: BTreeMap<Element, Element>,
    picks: BTreeSet<PickChain>,
    groups: BTreeMap<(Family, Arc<str>), AffinityGroup>,
    strangers: BTreeSet<String>,
}

impl MemoryDataPlane {
    /// What the tables of the second name held when they were last removed.
    pub fn last_standby(&self) -> Option<&TableState> {
        self.last_standby.as_ref()
    }

    /// A kernel without our tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commits were carried out, empty ones left out.
    pub fn commits(&self) -> usize {
        self.commits
    }

    /// From now on, a commit that adds an element for which this is true is refused.
    pub fn refuse_when(&mut self, predicate: impl Fn(&Element) -> bool + Send + 'static) {
        self.refuse = Some(Box::new(predicate));
    }

    /// Changes the tables behind Portolan's back, as somebody with nft would.
    pub fn tamper(&mut self, change: impl FnOnce(&mut TableState)) {
        let mut state = self.contents.state();
        change(&mut state);
        self.contents = Contents::of(state);
        self.generation += 1;
    }

    /// Lets [`DataPlane::damaged_chains`] report a chain, named `family chain name`, until the next installation.
    pub fn edit_chain(&mut self, name: &str) {
        self.edited.insert(name.to_owned());
        self.generation += 1;
    }

    /// What [`DataPlane::counters`] returns from now on, those of the family asked for.
    pub fn set_counters(&mut self, counts: Vec<Count>) {
        self.counts = counts;
    }

    /// Lets a group remember a client.
    pub fn remember(&mut self, group: &AffinityGroup, list: List, client: Remembered) {
        self.remembered.entry((group.family, group.name.clone(), list)).or_default().push(client);
    }

    /// Carries out one step on a copy, so that a refused step changes nothing.
    fn step(&mut self, step: impl FnOnce(&mut Contents) -> Result<(), String>) -> Result<(), KernelError> {
        let mut changed = self.contents.clone();
        step(&mut changed).map_err(|reason| KernelError::Refused { attempt: "committing in memory".into(), reason })?;
        self.contents = changed;
        self.generation += 1;
        Ok(())
    }
}

impl DataPlane for MemoryDataPlane {
    fn dump(&mut self) -> Result<TableState, KernelError> {
        Ok(self.contents.state())
    }

    fn install(&mut self, programs: &[Program]) -> Result<(), KernelError> {
        for program in programs {
            self.contents.drop_table(program.family);
            self.contents.programs.insert(program.family, program.fingerprint.clone());
            self.remembered.retain(|(family, ..), _| *family != program.family);
        }
        self.edited.clear();
        self.generation += 1;
        Ok(())
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<(), KernelError> {
        if transaction.is_empty() {
            return Ok(());
        }
        if !transaction.write_groups.is_empty() {
            self.step(|contents| contents.write_groups(&transaction.write_groups))?;
        }
        if let Some(culprit) = self.refuse.as_ref().and_then(|refuse| transaction.add.iter().find(|e| refuse(e))) {
            let reason = format!("told to refuse {culprit}");
            return Err(KernelError::Refused { attempt: "committing in memory".into(), reason });
        }
        self.step(|contents| contents.switch(transaction))?;
        self.step(|contents| contents.clear_away(transaction))?;
        let groups = &self.contents.groups;
        self.remembered.retain(|(family, name, list), _| {
            groups.get(&(*family, name.clone())).is_some_and(|group| group.lists().any(|used| used == *list))
        });
        self.commits += 1;
        Ok(())
    }

    fn install_standby(&mut self, programs: &[Program], everything: &Transaction) -> Result<(), KernelError> {
        let mut second = Self::new();
        second.install(programs)?;
        second.commit(everything)?;
        self.standby = Some(second.dump()?);
        Ok(())
    }

    fn remove_standby(&mut self) -> Result<(), KernelError> {
        self.last_standby = self.standby.take().or(self.last_standby.take());
        Ok(())
    }

    fn delete_stale_flows(&mut self, _udp: &BTreeMap<Frontend, ServingTargets>) -> Result<usize, KernelError> {
        Ok(0)
    }

    fn remove(&mut self) -> Result<(), KernelError> {
        self.contents = Contents::default();
        self.remembered.clear();
        self.generation += 1;
        Ok(())
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        Ok(self.generation)
    }

    fn damaged_chains(&mut self, _programs: &[Program]) -> Result<Vec<String>, KernelError> {
        Ok(self.edited.iter().cloned().collect())
    }

    fn remembered(&mut self, group: &AffinityGroup, list: List) -> Result<Vec<Remembered>, KernelError> {
        Ok(self.remembered.get(&(group.family, group.name.clone(), list)).cloned().unwrap_or_default())
    }

    fn forget(&mut self, group: &AffinityGroup, list: List, clients: &[IpAddr]) -> Result<(), KernelError> {
        if let Some(known) = self.remembered.get_mut(&(group.family, group.name.clone(), list)) {
            known.retain(|entry| !clients.contains(&entry.client));
        }
        Ok(())
    }

    fn counters(&mut self, family: Family) -> Result<Vec<Count>, KernelError> {
        Ok(self.counts.iter().filter(|count| count.frontend.family() == family).cloned().collect())
    }
}

impl Contents {
    fn of(state: TableState) -> Self {
        Self {
            programs: state.programs,
            elements: state.elements.into_iter().map(|element| (key(&element), element)).collect(),
            picks: state.picks,
            groups: state.groups.into_iter().map(|group| ((group.family, group.name.clone()), group)).collect(),
            strangers: state.strangers,
        }
    }

    fn state(&self) -> TableState {
        TableState {
            programs: self.programs.clone(),
            elements: self.elements.values().cloned().collect(),
            picks: self.picks.clone(),
            groups: self.groups.values().cloned().collect(),
            strangers: self.strangers.clone(),
        }
    }

    fn drop_table(&mut self, family: Family) {
        self.programs.remove(&family);
        self.elements.retain(|key, _| key.family() != family);
        self.picks.retain(|pick| pick.family != family);
        self.groups.retain(|(of, _), _| *of != family);
        self.strangers.retain(|stranger| !stranger.starts_with(&format!("{} ", family.nft())));
    }

    /// Step 1. A list that is no longer used keeps its parts until step 3, so it stays in use until then.
    fn write_groups(&mut self, groups: &[AffinityGroup]) -> Result<(), String> {
        for group in groups {
            let entry = self.groups.entry((group.family, group.name.clone())).or_insert_with(|| group.clone());
            entry.timeout = group.timeout;
            entry.all |= group.all;
            entry.local |= group.local;
        }
        Ok(())
    }

    /// Step 2.
    fn switch(&mut self, transaction: &Transaction) -> Result<(), String> {
        self.picks.extend(&transaction.add_picks);
        transaction.delete.iter().try_for_each(|element| self.delete(element))?;
        transaction.add.iter().try_for_each(|element| self.add(element))
    }

    /// Step 3.
    fn clear_away(&mut self, transaction: &Transaction) -> Result<(), String> {
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
            (entry.all, entry.local) = (all, local);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Frontend, Protocol, Settings, Target};

    fn installed() -> MemoryDataPlane {
        let mut plane = MemoryDataPlane::new();
        plane.install(&[Program::new(Family::V4, &Settings::default())]).unwrap();
        plane
    }

    fn web() -> Frontend {
        Frontend { address: [10, 96, 0, 10].into(), protocol: Protocol::Tcp, port: 80 }
    }

    fn pick(count: u16) -> Element {
        Element::Pick { frontend: web(), list: List::All, first: false, count }
    }

    fn chain(count: u16) -> PickChain {
        PickChain { family: Family::V4, list: List::All, count }
    }

    fn group(all: bool, local: bool) -> AffinityGroup {
        AffinityGroup { family: Family::V4, name: "a/b/tcp".into(), timeout: 60, all, local }
    }

    #[track_caller]
    fn refused(plane: &mut MemoryDataPlane, transaction: Transaction) {
        let before = plane.dump().unwrap();
        let error = plane.commit(&transaction).unwrap_err();
        assert!(matches!(error, KernelError::Refused { .. }), "{error}");
        assert_eq!(plane.dump().unwrap(), before);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_and_changes_nothing() {
        let mut plane = installed();
        let adding = |element: Element| Transaction { add: vec![element], ..Transaction::default() };
        let deleting = |element: Element| Transaction { delete: vec![element], ..Transaction::default() };
        refused(&mut plane, adding(pick(3)));
        refused(&mut plane, adding(Element::Learner { frontend: web(), group: "a/b/tcp".into() }));
        refused(&mut plane, adding(Element::ClusterIp("fd00::1".parse().unwrap())));
        refused(&mut plane, deleting(pick(3)));
        let fill = Transaction { add_picks: vec![chain(3), chain(4)], add: vec![pick(3)], ..Transaction::default() };
        plane.commit(&fill).unwrap();
        refused(&mut plane, adding(pick(4)));
        refused(&mut plane, Transaction { delete_picks: vec![chain(3)], ..Transaction::default() });
        let replace = Transaction { delete: vec![pick(3)], delete_picks: vec![chain(3)], ..adding(pick(4)) };
        plane.commit(&replace).unwrap();
        assert_eq!(plane.dump().unwrap().elements, [pick(4)]);
        assert_eq!(plane.commits(), 2);

        let pods = |last| Element::Pods(IpRange { first: [10, 0, 0, 0].into(), last });
        plane.commit(&adding(pods([10, 0, 0, 9].into()))).unwrap();
        refused(&mut plane, adding(pods([10, 0, 0, 5].into())));
        plane.refuse_when(|element| *element == pick(5));
        refused(&mut plane, Transaction { delete: vec![pick(4)], ..adding(pick(5)) });
    }

    #[test]
    fn groups_shrink_and_go_when_nothing_refers_to_them() {
        let mut plane = installed();
        let target = Target { address: [10, 1, 0, 1].into(), port: 80 };
        let member = |list| Element::Member { group: "a/b/tcp".into(), list, target };
        let sticky = |list| Element::Sticky { frontend: web(), list, group: "a/b/tcp".into() };
        let fill = Transaction {
            write_groups: vec![group(true, true)],
            add: vec![member(List::All), member(List::Local), sticky(List::Local)],
            ..Transaction::default()
        };
        plane.commit(&fill).unwrap();
        refused(&mut plane, Transaction { write_groups: vec![group(true, false)], ..Transaction::default() });
        let shrink = Transaction {
            write_groups: vec![group(true, false)],
            delete: vec![sticky(List::Local)],
            ..Transaction::default()
        };
        plane.commit(&shrink).unwrap();
        assert_eq!(plane.dump().unwrap().elements, [member(List::All)]);
        assert_eq!(Vec::from_iter(plane.dump().unwrap().groups), [group(true, false)]);
        plane.commit(&Transaction { delete_groups: vec![group(true, false)], ..Transaction::default() }).unwrap();
        assert_eq!(plane.dump().unwrap().elements, []);
        assert!(plane.dump().unwrap().groups.is_empty());
    }

    #[test]
    fn tampering_moves_the_generation() {
        let mut plane = installed();
        let before = plane.generation().unwrap();
        plane.tamper(|state| state.strangers.extend(["ip chain foo".to_owned()]));
        plane.edit_chain("ip chain internal");
        assert_eq!(plane.generation().unwrap(), before + 2);
        assert_eq!(plane.damaged_chains(&[]).unwrap(), ["ip chain internal"]);
        plane.install(&[Program::new(Family::V4, &Settings::default())]).unwrap();
        assert!(plane.dump().unwrap().strangers.is_empty() && plane.damaged_chains(&[]).unwrap().is_empty());
    }
}
