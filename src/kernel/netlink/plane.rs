use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nix::errno::Errno;

use super::{
    batch::{Batch, Operation},
    counters,
    dump::Reader,
    intact,
    own::OwnCommits,
    remembered,
    socket::NetfilterSocket,
    state, strangers,
    uapi::{NFT_TABLE_F_DORMANT, NFT_TABLE_F_PERSIST},
};
use crate::{
    compile::ServingTargets,
    kernel::{Count, DataPlane, KernelError, Remembered, conntrack::ConntrackTable, monitor::RulesetMonitor, nft},
    model::{Family, Frontend},
    tables::{AffinityGroup, List, Program, TABLE, TableState, Transaction, flat_text, group_text, standby},
};

/// Portolan's tables in the kernel.
///
/// It belongs to the network namespace that the thread was in when it was opened. [`DataPlane::install`] and the
/// affinity groups of [`DataPlane::commit`] run `nft`, which works in the *calling* thread's namespace: use the value
/// only from threads of the namespace it was opened in.
pub struct NetlinkDataPlane {
    pub(in crate::kernel) socket: NetfilterSocket,
    /// The name of the tables that work is done on: `base`, or that of the standby
    pub(super) table: String,
    pub(super) base: String,
    known: intact::Known,
    pub(super) own: OwnCommits,
    pub(super) owning: bool,
}

impl NetlinkDataPlane {
    /// Opens a socket to the kernel. Writes nothing.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if the kernel has no netfilter netlink or the process no file descriptor left.
    pub fn open() -> Result<Self, KernelError> {
        let socket = NetfilterSocket::open()?;
        let own = OwnCommits::of_port(socket.port());
        let table = TABLE.to_owned();
        Ok(Self { socket, base: table.clone(), table, known: intact::Known::default(), own, owning: false })
    }

    /// The same for tables of another name than [`TABLE`].
    pub fn with_table(self, name: &str) -> Self {
        Self { table: name.to_owned(), base: name.to_owned(), ..self }
    }

    /// Subscribes to the changes that others make to these tables. Must be called within a tokio runtime with I/O
    /// enabled, and on a thread of the network namespace that this was opened in.
    ///
    /// # Errors
    /// [`KernelError::NotPermitted`] without CAP_NET_ADMIN; [`KernelError::Failed`] if no socket can be had.
    pub fn monitor(&mut self) -> Result<RulesetMonitor, KernelError> {
        RulesetMonitor::open(&self.base.clone(), self.own.clone(), || self.generation())
    }

    /// Works on the tables of the second name, over the same socket.
    fn on_standby<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.table = standby(&self.base);
        let result = work(self);
        self.table.clone_from(&self.base);
        result
    }

    /// Like [`DataPlane::damaged_chains`], for those who only look: nothing is written into this namespace, not even for a
    /// moment. `None` if that takes a capability that the process does not have (CAP_SYS_ADMIN).
    ///
    /// # Errors
    /// Those of reading the tables, and of running `nft`.
    pub fn damaged_chains_unseen(&mut self, programs: &[Program]) -> Result<Option<Vec<String>>, KernelError> {
        self.known.edited_unseen(&mut self.socket, &self.table, programs)
    }

    /// The families whose table has the flag `dormant`: no packet meets it.
    ///
    /// # Errors
    /// Those of reading the tables.
    pub fn dormant(&mut self) -> Result<BTreeSet<Family>, KernelError> {
        let headers = self.reader().headers()?.into_iter();
        Ok(headers.filter(|(_, header)| header.flags & NFT_TABLE_F_DORMANT != 0).map(|(family, _)| family).collect())
    }

    /// The packets that counters in the rules of these chains counted, by the chain's name.
    pub(in crate::kernel) fn counted_by_chains(
        &mut self,
        family: Family,
        chains: &[String],
    ) -> Result<BTreeMap<String, u64>, KernelError> {
        counters::of_rules(&mut self.reader(), family, chains)
    }

    /// Has nft carry out a text, as a commit of our own.
    pub(super) fn nft(&mut self, text: &str, attempt: &str) -> Result<(), KernelError> {
        if !self.own.watched() {
            return nft::run(text, false, attempt);
        }
        let before = self.generation()?;
        let mut pid = None;
        let result = nft::run_noting(text, false, attempt, |child| {
            pid = Some(child);
            self.own.begin(child, before);
        });
        if let Some(pid) = pid {
            let after = self.generation().ok();
            self.own.end(pid, after);
        }
        result
    }

    /// The bytes of the transaction's second step, for measuring what making them costs.
    pub fn encode(&self, transaction: &Transaction) -> usize {
        switch(&self.socket, &self.table, transaction).len()
    }

    /// Step 1 of a transaction.
    fn write_groups(&mut self, groups: &[AffinityGroup]) -> Result<(), KernelError> {
        if groups.is_empty() {
            return Ok(());
        }
        let text: String = groups.iter().map(|group| flat_text(&group_text(group, &self.table, true))).collect();
        self.disowned(|plane| plane.nft(&text, "writing session affinity groups"))
    }

    /// Step 3. Of the groups that were written anew, the parts of lists that they no longer use go, too.
    fn clear_away(&mut self, transaction: &Transaction) -> Result<(), KernelError> {
        let mut chains = BTreeSet::new();
        let mut sets = BTreeSet::new();
        let groups = || transaction.delete_groups.iter().chain(&transaction.write_groups);
        for family in Family::ALL.into_iter().filter(|family| groups().any(|group| group.family == *family)) {
            let of_family = |names: Vec<String>| names.into_iter().map(move |name| (family, name));
            chains.extend(of_family(self.reader().chains(family, |name, _| name.to_owned())?));
            sets.extend(of_family(self.reader().sets(family)?));
        }
        let mut batch = Batch::new(&self.socket, &self.table);
        batch.elements(Operation::Delete, &transaction.retire);
        for pick in &transaction.delete_picks {
            batch.delete_chain(pick.family, &pick.name());
        }
        // A group may lack a part, if somebody deleted it or an earlier attempt was cut short.
        for part in unused_parts(transaction, AffinityGroup::chains).filter(|part| chains.contains(part)) {
            batch.delete_chain(part.0, &part.1);
        }
        for part in unused_parts(transaction, AffinityGroup::sets).filter(|part| sets.contains(part)) {
            batch.delete_set(part.0, &part.1);
        }
        batch.send(&mut self.socket, "removing what is no longer used")
    }

    /// The three steps.
    fn carry_out(&mut self, transaction: &Transaction) -> Result<(), KernelError> {
        self.write_groups(&transaction.write_groups)?;
        let batch = switch(&self.socket, &self.table, transaction);
        batch.send(&mut self.socket, "committing")?;
        self.clear_away(transaction).map_err(|error| match error {
            // Packets see the change already: it is no longer the change that is at fault.
            KernelError::Refused { attempt, reason } => KernelError::Failed { attempt, reason },
            other => other,
        })
    }

    /// Writes the programs into tables that belong to nobody.
    fn install_shared(&mut self, programs: &[Program]) -> Result<(), KernelError> {
        let headers = self.reader().headers()?;
        let mut text = String::new();
        for program in programs {
            let table = format!("table {} {}", program.family.nft(), self.table);
            let persists = headers.get(&program.family).is_some_and(|header| header.flags & NFT_TABLE_F_PERSIST != 0);
            // Declared first, so that deleting it is no error where it does not exist. One that an owner left behind
            // cannot be declared.
            let declared = if persists { String::new() } else { format!("{table}\n") };
            text.push_str(&format!("{declared}delete {table}\n{}", program.for_table(&self.table)));
        }
        self.nft(&text, "installing the program")
    }

    pub(in crate::kernel) fn reader(&mut self) -> Reader<'_> {
        Reader { socket: &mut self.socket, table: &self.table }
    }
}

/// Step 2: what packets see.
fn switch<'a>(socket: &NetfilterSocket, table: &'a str, transaction: &'a Transaction) -> Batch<'a> {
    let mut batch = Batch::new(socket, table);
    for pick in &transaction.add_picks {
        batch.add_pick(pick);
    }
    batch.elements(Operation::Delete, &transaction.delete);
    batch.elements(Operation::Add, &transaction.add);
    batch
}

impl DataPlane for NetlinkDataPlane {
    fn dump(&mut self) -> Result<TableState, KernelError> {
        let mut state = state::read(&mut self.reader())?;
        if self.owning {
            // A table that cannot be owned has to be made anew.
            let headers = self.reader().headers()?;
            let ownable = |family| headers.get(family).is_some_and(|header| header.flags & NFT_TABLE_F_PERSIST != 0);
            state.programs.iter_mut().filter(|(family, _)| !ownable(family)).for_each(|(_, program)| program.clear());
        }
        Ok(state)
    }

    fn install(&mut self, programs: &[Program]) -> Result<(), KernelError> {
        let result = if self.owning { self.install_owned(programs) } else { self.install_shared(programs) };
        self.explained(result)
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<(), KernelError> {
        let result = self.carry_out(transaction);
        self.explained(result)
    }

    fn install_standby(&mut self, programs: &[Program], everything: &Transaction) -> Result<(), KernelError> {
        self.on_standby(|standby| {
            standby.install(programs)?;
            standby.commit(everything)
        })
    }

    fn remove_standby(&mut self) -> Result<(), KernelError> {
        self.on_standby(Self::remove)
    }

    fn remove_strangers(&mut self) -> Result<(), KernelError> {
        let (_, found) = state::read_apart(&mut self.reader())?;
        let result = strangers::remove(&mut self.socket, &self.table, &found);
        self.explained(result)
    }

    fn delete_stale_flows(&mut self, udp: &BTreeMap<Frontend, ServingTargets>) -> Result<usize, KernelError> {
        if udp.is_empty() { Ok(0) } else { ConntrackTable::open()?.flush_stale(udp) }
    }

    fn remove(&mut self) -> Result<(), KernelError> {
        // A comparison that was cut short leaves its table behind.
        let mut tables = [self.table.clone(), intact::scratch(&self.table)].into_iter();
        let result = tables.try_for_each(|table| remove_table(&mut self.socket, &table));
        self.explained(result)
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        self.reader().generation()
    }

    fn damaged_chains(&mut self, programs: &[Program]) -> Result<Vec<String>, KernelError> {
        self.known.edited(&mut self.socket, &self.table, programs)
    }

    fn watch(&mut self) -> Result<Option<RulesetMonitor>, KernelError> {
        self.monitor().map(Some)
    }

    fn remembered(&mut self, group: &AffinityGroup, list: List) -> Result<Vec<Remembered>, KernelError> {
        remembered::read(&mut self.reader(), group, list)
    }

    fn forget(&mut self, group: &AffinityGroup, list: List, clients: &[IpAddr]) -> Result<(), KernelError> {
        let result = remembered::forget(&mut self.reader(), group, list, clients);
        self.explained(result)
    }

    fn counters(&mut self, family: Family) -> Result<Vec<Count>, KernelError> {
        counters::read(&mut self.reader(), family)
    }
}

/// Deletes the tables of one name in both families.
fn remove_table(socket: &mut NetfilterSocket, table: &str) -> Result<(), KernelError> {
    let tables = Reader { socket, table }.tables()?;
    let mut batch = Batch::new(socket, table);
    for family in tables.keys() {
        batch.delete_table(*family);
    }
    match batch.try_send(socket) {
        Err(failed) if failed.is(Errno::ENOENT) => remove_table(socket, table), // somebody else removed one just now
        outcome => outcome.map_err(|failed| failed.during("removing the tables")),
    }
}

/// The parts of groups that a transaction leaves without use: all of a deleted group, and of a group written anew
/// those that the same group with both lists would have more. Chains or sets, as `parts` says.
fn unused_parts(
    transaction: &Transaction,
    parts: impl Fn(&AffinityGroup) -> Vec<String>,
) -> impl Iterator<Item = (Family, String)> {
    let whole = |group: &AffinityGroup| AffinityGroup { all: true, local: true, ..group.clone() };
    let mut unused: BTreeSet<(Family, String)> = BTreeSet::new();
    for group in transaction.delete_groups.iter().chain(&transaction.write_groups) {
        unused.extend(parts(&whole(group)).into_iter().map(|part| (group.family, part)));
    }
    for group in &transaction.write_groups {
        for part in parts(group) {
            unused.remove(&(group.family, part));
        }
    }
    unused.into_iter()
}
