//! A [`DataPlane`] in memory, for tests of what stands above it.

mod contents;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use contents::Contents;

use super::{Count, DataPlane, KernelError, Remembered};
use crate::{
    compile::ServingTargets,
    model::{Family, Frontend},
    tables::{AffinityGroup, Element, List, Program, TableState, Transaction},
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
        self.step(|contents| contents.clear_away(transaction)).map_err(|error| match error {
            KernelError::Refused { attempt, reason } => KernelError::Failed { attempt, reason },
            other => other,
        })?;
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

    fn remove_strangers(&mut self) -> Result<(), KernelError> {
        self.contents.strangers.clear();
        self.generation += 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Frontend, IpRange, Protocol, Settings, Target},
        tables::PickChain,
    };

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
        let busy = plane.commit(&Transaction { delete_picks: vec![chain(3)], ..Transaction::default() });
        assert!(matches!(busy, Err(KernelError::Failed { .. })), "step 3: {busy:?}");
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
        let too_early = Transaction { write_groups: vec![group(true, false)], ..Transaction::default() };
        plane.commit(&too_early).unwrap_err();
        let unfinished = AffinityGroup { timeout: 0, ..group(true, true) };
        assert_eq!(Vec::from_iter(plane.dump().unwrap().groups), [unfinished], "step 1 was done, step 3 was not");
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
