//! Makes the kernel hold what is desired: adopt, compile, commit, isolate what is refused, tidy up.

mod synced;

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use crate::{
    compile::ServingTargets,
    desired::Desired,
    kernel::{DataPlane, KernelError, Remembered},
    model::{Family, Frontend, Node, ServiceId, Settings, Target, World},
    tables::{
        AffinityGroup, Changes, Contents, Element, List, Owner, Program, Rows, TABLE, TableState, Transaction, news,
    },
};

use synced::Stopwatch;
pub use synced::{Cleaned, Drift, Spent, Synced};

/// So many owners have their news told at one sync: nobody reads more, and words cost more than rows.
const MOST_NEWS: usize = 200;

/// The data plane of one node, and what is known about it.
pub struct Agent<K> {
    kernel: K,
    desired: Desired,
    contents: Contents,
    programs: Vec<Program>,
    /// The fingerprints of the programs that the kernel was last seen or made to hold
    installed: BTreeMap<Family, String>,
    /// False until the kernel's contents were read, and again when they are in doubt
    adopted: bool,
    /// The last sync succeeded: `contents` is what the kernel was then made to hold, and only somebody else can have
    /// changed that
    settled: bool,
    /// What others changed, until a sync that mends it succeeds
    drift: Drift,
    /// Some input could not be read: nothing that the inputs do not name may be removed
    keep_unknown: bool,
    /// UDP frontends whose flows are still to be looked at
    udp: BTreeMap<Frontend, ServingTargets>,
    /// What the kernel refused, with its words, and would refuse again
    refused: BTreeMap<Owner, String>,
}

impl<K: DataPlane> Agent<K> {
    /// An agent that has not looked at the kernel yet.
    pub fn new(kernel: K) -> Self {
        Self {
            kernel,
            desired: Desired::default(),
            contents: Contents::default(),
            programs: Vec::new(),
            installed: BTreeMap::new(),
            adopted: false,
            settled: false,
            drift: Drift::default(),
            keep_unknown: false,
            udp: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// What is desired; changes take effect at the next [`Agent::sync`].
    pub fn desired(&mut self) -> &mut Desired {
        &mut self.desired
    }

    /// What the kernel was last seen or made to hold.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Replaces all inputs. `incomplete` is that of [`Agent::set_incomplete`].
    pub fn set(&mut self, world: World, settings: Settings, incomplete: bool) {
        self.choose_programs(&settings);
        self.set_incomplete(incomplete);
        self.desired.replace(world, settings);
    }

    /// Says whether some inputs could not be read: then nothing is removed on their account.
    pub fn set_incomplete(&mut self, incomplete: bool) {
        if self.keep_unknown || incomplete {
            // Only taking over leaves alone what the inputs do not name, or removes what was left alone before.
            self.adopted = false;
        }
        self.keep_unknown = incomplete;
    }

    /// Replaces what is known of the node and what the operator chose.
    pub fn set_node(&mut self, node: Node, settings: Settings) {
        self.choose_programs(&settings);
        self.desired.set_node(node, settings);
    }

    fn choose_programs(&mut self, settings: &Settings) {
        let programs = Family::ALL.map(|family| Program::new(family, settings)).to_vec();
        if self.programs != programs {
            self.programs = programs;
            self.adopted = false;
        }
    }

    /// See [`Desired::keep`]. To be called before [`Agent::set`], for its inputs.
    pub fn keep(&mut self, kept: BTreeSet<ServiceId>) {
        self.desired.keep(kept);
    }

    /// Has the kernel read again at the next [`Agent::sync`], because somebody else may have changed it.
    pub fn doubt(&mut self) {
        self.adopted = false;
    }

    /// Has what the kernel refused tried again at the next [`Agent::sync`]; otherwise it is, when its inputs change.
    pub fn retry(&mut self) {
        self.desired.mark(services(self.refused.keys()));
    }

    /// Makes the kernel hold what is desired. After an error it holds what it held, or parts of the change that are
    /// complete in themselves; the next call finds out and does the rest.
    ///
    /// # Errors
    ///
    /// Whatever the kernel says that is not the fault of one owner's rows.
    pub fn sync(&mut self) -> Result<Synced, KernelError> {
        let result = self.bring_in_line();
        self.settled = result.is_ok();
        // What was left undone is found by looking.
        self.adopted &= result.is_ok();
        let mut synced = result?;
        synced.repaired = std::mem::take(&mut self.drift);
        Ok(synced)
    }

    fn bring_in_line(&mut self) -> Result<Synced, KernelError> {
        let mut clock = Stopwatch::start();
        let mut synced = Synced { compared: !self.adopted, ..Synced::default() };
        if synced.compared {
            synced.installed = self.adopt()?;
            self.adopted = true;
        }
        synced.spent.read = clock.lap();
        let desired = &self.desired;
        self.refused
            .retain(|owner, _| matches!(owner, Owner::Service(id) if !synced.compared && !desired.is_dirty(id)));
        let work = if synced.compared {
            self.desired.take_over(&mut self.contents, self.keep_unknown)
        } else {
            self.desired.work(&self.contents)
        };
        synced.spent.compile = clock.lap();
        synced.notices = work.notices;
        self.udp.extend(work.udp);
        let attempted: Vec<Owner> = work.changes.keys().cloned().collect();
        let result = self.commit_all(work.changes, &mut synced);
        if result.is_err() {
            self.desired.mark(services(&attempted));
        }
        result?;
        self.refused.extend(std::mem::take(&mut synced.refused));
        synced.refused = self.refused.clone();
        if synced.compared {
            // Only now is nothing missing from the first tables, whoever made the second ones: this process, or one
            // before it that did not come so far.
            self.kernel.remove_standby()?;
        }
        synced.spent.commit = clock.lap();
        synced.cleaned = self.clean()?;
        synced.spent.conntrack = clock.lap();
        Ok(synced)
    }

    /// Deletes stale UDP entries, one family after the other.
    fn clean(&mut self) -> Result<BTreeMap<Family, Cleaned>, KernelError> {
        let mut all = BTreeMap::new();
        for family in Family::ALL {
            let of_family = self.udp.iter().filter(|(frontend, _)| Family::of(frontend.address) == family);
            let of_family: BTreeMap<_, _> = of_family.map(|(frontend, targets)| (*frontend, targets.clone())).collect();
            if !of_family.is_empty() {
                let mut clock = Stopwatch::start();
                let deleted = self.kernel.delete_stale_flows(&of_family)?;
                all.insert(family, Cleaned { deleted, took: clock.lap() });
            }
        }
        self.udp.clear();
        Ok(all)
    }

    /// Reads what the kernel holds and takes it over. Removes what is not ours; writes the program where it is missing,
    /// damaged or another version. Returns whether it did.
    fn adopt(&mut self) -> Result<bool, KernelError> {
        let mut state = self.kernel.dump()?;
        self.note_drift(&state);
        let current = |state: &TableState| {
            self.programs.iter().all(|program| state.programs.get(&program.family) == Some(&program.fingerprint))
        };
        if current(&state) && !state.strangers.is_empty() {
            for what in &state.strangers {
                warn!(what, "this is none of ours; removing it from our tables");
            }
            self.kernel.remove_strangers()?;
            state = self.kernel.dump()?;
        }
        let intact = current(&state) && state.strangers.is_empty();
        let damaged = if intact { self.kernel.damaged_chains(&self.programs)? } else { Vec::new() };
        let install = !intact || !damaged.is_empty();
        if install {
            for what in state.strangers.iter().chain(&damaged) {
                warn!(what, "somebody changed our tables; writing them anew");
            }
            self.install(state)?;
            state = self.kernel.dump()?;
        }
        if self.settled {
            self.drift.program.extend(damaged);
        }
        self.installed.clone_from(&state.programs);
        self.contents = Contents::from_kernel(state);
        Ok(install)
    }

    /// Compares what was found with what the kernel was last made to hold.
    fn note_drift(&mut self, found: &TableState) {
        if !self.settled {
            return;
        }
        self.drift.owners.extend(self.contents.drift(found));
        self.drift.program.extend(found.strangers.iter().cloned());
        let missing = Family::ALL.into_iter().filter(|family| {
            let fingerprint = found.programs.get(family);
            // Another fingerprint is that of another program, which somebody has put in place of ours.
            fingerprint.is_none() || fingerprint != self.installed.get(family)
        });
        self.drift.program.extend(missing.map(|family| format!("{} table {TABLE}", family.nft())));
    }

    /// Writes the program. If one is in service, a second table holds the same Services until the first is complete
    /// again, so that no packet meets an empty one; only what affinity remembers and the counters are lost.
    fn install(&mut self, present: TableState) -> Result<(), KernelError> {
        if present.programs.is_empty() {
            return self.kernel.install(&self.programs);
        }
        info!("replacing the program; a second table serves meanwhile");
        let present = Contents::from_kernel(present);
        let mut nothing = Contents::default();
        let departed = self.desired.departed();
        let mut changes = self.desired.take_over(&mut nothing, true).changes;
        // They are not for the second table, but still to be done for the first.
        self.desired.mark(departed);
        let unknown = present.owners().filter(|o| !changes.contains_key(o));
        let kept = unknown.filter(|o| self.keep_unknown || self.desired.keeps(o));
        let kept: Vec<_> = kept.filter_map(|o| Some((o.clone(), present.rows(o)?.clone()))).collect();
        changes.extend(kept);
        let everything = nothing.change(&changes);
        match self.kernel.install_standby(&self.programs, &everything) {
            Ok(()) => {
                self.kernel.install(&self.programs)?;
                match self.kernel.commit(&everything) {
                    // Left to the caller, who commits piece by piece; the second table serves meanwhile.
                    Err(KernelError::Refused { .. }) => Ok(()),
                    other => other,
                }
            }
            // Some Service is at fault. Which one is found out when they are committed to the first tables, which have
            // to do without a stand-in for that moment.
            Err(KernelError::Refused { reason, .. }) => {
                warn!(reason, "the second table cannot be filled; replacing the program without it");
                self.kernel.remove_standby()?;
                self.kernel.install(&self.programs)
            }
            Err(other) => Err(other),
        }
    }

    /// Commits the changes; those that the kernel refuses are found by halving, and kept apart.
    fn commit_all(&mut self, changes: Changes, synced: &mut Synced) -> Result<(), KernelError> {
        let mut refused = Vec::new();
        self.commit(changes, synced, &mut refused)?;
        // A change may have been refused only because it needs another one that was made after it.
        for (changes, reason) in std::mem::take(&mut refused) {
            let mut again = Vec::new();
            let owner = changes.keys().next().cloned();
            if synced.changed.is_empty() {
                again.push((changes, reason));
            } else {
                self.commit(changes, synced, &mut again)?;
            }
            if let (Some(owner), Some((_, reason))) = (owner, again.pop()) {
                warn!(%owner, reason, "the kernel refuses this change; the last good state stays");
                synced.refused.insert(owner, reason);
            }
        }
        Ok(())
    }

    fn commit(
        &mut self,
        changes: Changes,
        synced: &mut Synced,
        refused: &mut Vec<(Changes, String)>,
    ) -> Result<(), KernelError> {
        let transaction = self.contents.change(&changes);
        let result = if transaction.is_empty() { Ok(()) } else { self.kernel.commit(&transaction) };
        match result {
            Ok(()) => {
                synced.operations += transaction.operations();
                let owners: Vec<Owner> = changes.keys().cloned().collect();
                self.note_news(&changes, synced);
                self.contents.accept(changes);
                // The change itself is there, so nobody is to be blamed for it any more.
                self.forget_departed(&owners, &transaction).map_err(KernelError::not_refused)?;
                synced.changed.extend(owners);
                Ok(())
            }
            Err(KernelError::Refused { reason, .. }) if changes.len() <= 1 => {
                refused.push((changes, reason));
                Ok(())
            }
            Err(KernelError::Refused { .. }) => {
                let mut first = changes;
                let middle = first.keys().nth(first.len() / 2).cloned();
                let second = middle.map(|middle| first.split_off(&middle)).unwrap_or_default();
                self.commit(first, synced, refused)?;
                self.commit(second, synced, refused)
            }
            Err(other) => Err(other),
        }
    }

    /// Keeps in words what a change does to rows. To be called before it is accepted.
    fn note_news(&self, changes: &Changes, synced: &mut Synced) {
        let nothing = Rows::default();
        let room = MOST_NEWS.saturating_sub(synced.news.len());
        for (owner, rows) in changes.iter().take(room) {
            synced.news.insert(owner.clone(), news(self.contents.rows(owner).unwrap_or(&nothing), rows));
        }
    }

    /// Makes affinity groups that lost a member forget the clients that were sent there. It is done after the commit:
    /// from then on nobody new can be remembered for a member that is gone.
    fn forget_departed(&mut self, owners: &[Owner], transaction: &Transaction) -> Result<(), KernelError> {
        let lost_member = |element: &Element| match element {
            Element::Member { group, list, .. } => Some((element.family(), group.clone(), *list)),
            _ => None,
        };
        let lost: BTreeSet<_> = transaction.delete.iter().filter_map(lost_member).collect();
        if lost.is_empty() {
            return Ok(());
        }
        for rows in owners.iter().filter_map(|owner| self.contents.rows(owner)) {
            for group in &rows.groups {
                for list in [List::All, List::Local] {
                    if lost.contains(&(group.family, group.name.clone(), list)) {
                        let remembered = self.kernel.remembered(group, list)?;
                        let stale = departed_clients(rows, group, list, &remembered);
                        self.kernel.forget(group, list, &stale)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The Services among the owners.
fn services<'a>(owners: impl IntoIterator<Item = &'a Owner>) -> Vec<ServiceId> {
    let service = |owner: &Owner| match owner {
        Owner::Service(id) => Some(id.clone()),
        Owner::Node | Owner::Stray => None,
    };
    owners.into_iter().filter_map(service).collect()
}

/// Clients that are remembered for an endpoint that is no member of the group's list.
fn departed_clients(
    rows: &Rows,
    group: &AffinityGroup,
    list: List,
    remembered: &[Remembered],
) -> Vec<std::net::IpAddr> {
    let member = |element: &Element| match element {
        Element::Member { group: name, list: of, target } if *name == group.name && *of == list => Some(*target),
        _ => None,
    };
    let members: BTreeSet<Target> = rows.elements.iter().filter_map(member).collect();
    remembered.iter().filter(|r| !members.contains(&r.target)).map(|r| r.client).collect()
}
