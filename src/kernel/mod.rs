//! The node's kernel: reading and writing Portolan's tables, conntrack entries and interface addresses.
//!
//! Everything above works against [`DataPlane`], so that tests can put an in-memory double in its place.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    compile::ServingTargets,
    model::{Family, Frontend, Target},
    tables::{AffinityGroup, List, Program, TableState, Transaction},
};

pub mod addresses;
pub mod conntrack;
mod error;
mod http;
pub mod kube_proxy;
mod memory;
pub mod monitor;
mod netlink;
pub mod nft;
pub mod observe;
pub mod redirect;
pub mod sysctl;
pub mod trace;

pub use error::KernelError;
pub use memory::MemoryDataPlane;
pub use netlink::NetlinkDataPlane;

/// A client that an affinity group remembers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remembered {
    /// Client address
    pub client: IpAddr,
    /// Where it is sent
    pub target: Target,
    /// Seconds until it is forgotten
    pub expires: u64,
}

/// The tables of one network namespace.
pub trait DataPlane {
    /// Reads everything our tables hold. Tables that do not exist are simply absent from the result.
    fn dump(&mut self) -> Result<TableState, KernelError>;

    /// Makes the program's table, empty, in place of whatever table of that name and family exists.
    fn install(&mut self, programs: &[Program]) -> Result<(), KernelError>;

    /// Makes the same tables once more under a second name, with the contents that `everything` adds: while they exist
    /// they serve new connections, whatever happens to the first ones.
    fn install_standby(&mut self, programs: &[Program], everything: &Transaction) -> Result<(), KernelError>;

    /// Deletes the tables of the second name. Absent ones are no error.
    fn remove_standby(&mut self) -> Result<(), KernelError>;

    /// Deletes conntrack entries of UDP flows to these frontends that no endpoint of theirs serves (section 5 of the
    /// Service behaviour). Returns how many.
    fn delete_stale_flows(&mut self, udp: &BTreeMap<Frontend, ServingTargets>) -> Result<usize, KernelError>;

    /// Deletes what [`DataPlane::dump`] calls strangers, and sets right pick chains among them. What cannot be deleted,
    /// because a rule of ours was made to use it, stays.
    fn remove_strangers(&mut self) -> Result<(), KernelError>;

    /// Carries out all three steps, each that holds something as one change of the ruleset. `Refused` means that packets
    /// see no change; a failure of step 3 is never `Refused`. After any other error, only [`DataPlane::dump`] says what
    /// has become of the rest.
    fn commit(&mut self, transaction: &Transaction) -> Result<(), KernelError>;

    /// Deletes our tables, and with them everything in them. Absent tables are no error.
    fn remove(&mut self) -> Result<(), KernelError>;

    /// The generation of the kernel's whole ruleset: it moves with every commit by anyone.
    fn generation(&mut self) -> Result<u32, KernelError>;

    /// Compares the programs' own chains with what the kernel has, and returns those that somebody edited or deleted,
    /// as `family chain name`; empty means that the program is intact. Elements, pick chains and affinity groups are
    /// compared through [`DataPlane::dump`]. Moves the generation when it sees a program for the first time.
    fn damaged_chains(&mut self, programs: &[Program]) -> Result<Vec<String>, KernelError>;

    /// Subscribes to the changes that others make to these tables, where there can be others. To be called within a tokio
    /// runtime.
    fn watch(&mut self) -> Result<Option<monitor::RulesetMonitor>, KernelError> {
        Ok(None)
    }

    /// The clients that a group remembers for one of its lists.
    fn remembered(&mut self, group: &AffinityGroup, list: List) -> Result<Vec<Remembered>, KernelError>;

    /// Makes a group forget clients. Clients that it does not know are no error.
    fn forget(&mut self, group: &AffinityGroup, list: List, clients: &[IpAddr]) -> Result<(), KernelError>;

    /// New connections counted for each frontend and each dead end, by family.
    fn counters(&mut self, family: Family) -> Result<Vec<Count>, KernelError>;
}

/// A counter of the map `frontends` or `dead-ends`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// The frontend
    pub frontend: Frontend,
    /// True if it stands in `dead-ends`
    pub dead_end: bool,
    /// New connections since the element was added
    pub packets: u64,
    /// Their first packets' bytes
    pub bytes: u64,
}
