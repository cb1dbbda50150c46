use std::{collections::BTreeMap, net::IpAddr};

use nix::errno::Errno;

use super::{
    batch::{Batch, Operation},
    counters,
    dump::Reader,
    remembered,
    socket::NetfilterSocket,
    state,
};
use crate::{
    compile::ServingTargets,
    kernel::{Count, DataPlane, KernelError, Remembered, nft},
    model::{Family, Frontend},
    tables::{AffinityGroup, List, Program, TABLE, TableState, Transaction},
};

/// Portolan's tables in the kernel.
///
/// It belongs to the network namespace that the thread was in when it was opened. [`DataPlane::install`] and the
/// affinity groups of [`DataPlane::commit`] run `nft`, which works in the *calling* thread's namespace: use the value
/// only from threads of the namespace it was opened in.
pub struct NetlinkDataPlane {
    socket: NetfilterSocket,
    table: String,
}

impl NetlinkDataPlane {
    /// Opens a socket to the kernel. Writes nothing.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if the kernel has no netfilter netlink or the process no file descriptor left.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { socket: NetfilterSocket::open()?, table: TABLE.to_owned() })
    }

    /// The same for tables of another name than [`TABLE`].
    pub fn with_table(self, name: &str) -> Self {
        Self { table: name.to_owned(), ..self }
    }

    /// The tables of the second name.
    fn standby(&self) -> Result<Self, KernelError> {
        Ok(Self::open()?.with_table(&format!("{}-standby", self.table)))
    }

    /// The bytes of the transaction's second step, for measuring what making them costs.
    pub fn encode(&mut self, transaction: &Transaction) -> usize {
        self.main_batch(transaction).len()
    }

    /// Step 2 of a transaction.
    fn main_batch<'a>(&'a self, transaction: &'a Transaction) -> Batch<'a> {
        let mut batch = Batch::new(&self.socket, &self.table);
        for pick in &transaction.add_picks {
            batch.add_pick(pick);
        }
        batch.elements(Operation::Delete, &transaction.delete);
        batch.elements(Operation::Add, &transaction.add);
        batch
    }

    fn reader(&mut self) -> Reader<'_> {
        Reader { socket: &mut self.socket, table: &self.table }
    }
}

impl DataPlane for NetlinkDataPlane {
    fn dump(&mut self) -> Result<TableState, KernelError> {
        state::read(&mut self.reader())
    }

    fn install(&mut self, programs: &[Program]) -> Result<(), KernelError> {
        let mut text = String::new();
        for program in programs {
            let table = format!("table {} {}", program.family.nft(), self.table);
            // Declared first, so that deleting it is no error where it does not exist.
            text.push_str(&format!("{table}\ndelete {table}\n{}", program.for_table(&self.table)));
        }
        nft::run(&text, false, "installing the program")
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<(), KernelError> {
        let mut batch = Batch::new(&self.socket, &self.table);
        for pick in &transaction.add_picks {
            batch.add_pick(pick);
        }
        batch.elements(Operation::Delete, &transaction.delete);
        batch.elements(Operation::Add, &transaction.add);
        batch.send(&mut self.socket, "committing")?;

        let mut batch = Batch::new(&self.socket, &self.table);
        batch.elements(Operation::Delete, &transaction.retire);
        for pick in &transaction.delete_picks {
            batch.delete_chain(pick.family, &pick.name());
        }
        batch.send(&mut self.socket, "removing what is no longer used")
    }

    fn install_standby(&mut self, programs: &[Program], everything: &Transaction) -> Result<(), KernelError> {
        let mut standby = self.standby()?;
        standby.install(programs)?;
        standby.commit(everything)
    }

    fn remove_standby(&mut self) -> Result<(), KernelError> {
        self.standby()?.remove()
    }

    fn damaged_chains(&mut self, _programs: &[Program]) -> Result<Vec<String>, KernelError> {
        Ok(Vec::new())
    }

    fn delete_stale_flows(&mut self, _udp: &BTreeMap<Frontend, ServingTargets>) -> Result<usize, KernelError> {
        Ok(0)
    }

    fn remove(&mut self) -> Result<(), KernelError> {
        let tables = self.reader().tables()?;
        let mut batch = Batch::new(&self.socket, &self.table);
        for family in tables.keys() {
            batch.delete_table(*family);
        }
        match batch.try_send(&mut self.socket) {
            Err(failed) if failed.is(Errno::ENOENT) => self.remove(), // somebody else removed one just now
            outcome => outcome.map_err(|failed| failed.during("removing the tables")),
        }
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        self.reader().generation()
    }

    fn remembered(&mut self, group: &AffinityGroup, list: List) -> Result<Vec<Remembered>, KernelError> {
        remembered::read(&mut self.reader(), group, list)
    }

    fn forget(&mut self, group: &AffinityGroup, list: List, clients: &[IpAddr]) -> Result<(), KernelError> {
        remembered::forget(&mut self.reader(), group, list, clients)
    }

    fn counters(&mut self, family: Family) -> Result<Vec<Count>, KernelError> {
        counters::read(&mut self.reader(), family)
    }
}
