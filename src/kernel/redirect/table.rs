use std::{net::IpAddr, time::Duration};

use crate::{
    kernel::{
        DataPlane, KernelError, NetlinkDataPlane,
        monitor::RulesetMonitor,
        netlink::batch::{Batch, Operation},
    },
    model::{Family, Frontend, Protocol},
    tables::{DNS_TABLE, PROGRAM_COMMENT, Program, RedirectMarks},
};

/// The port that names are asked for on.
pub const DNS_PORT: u16 = 53;

/// The redirect's tables in the kernel.
///
/// As a [`NetlinkDataPlane`] does, it belongs to the network namespace that it was opened in.
pub struct RedirectTable {
    plane: NetlinkDataPlane,
    programs: Vec<Program>,
}

/// The sets of the program, whose elements end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Answered on this node
    Live,
    /// Nothing new comes here, though it be live
    Held,
}

/// A part of a change. Each is about an address on [`DNS_PORT`], UDP and TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The address stands in the set for so long from now on, whatever stood there
    Put(Set, IpAddr, Duration),
    /// The address does not stand in the set
    Remove(Set, IpAddr),
}

impl Set {
    fn name(self) -> &'static str {
        match self {
            Set::Live => "live",
            Set::Held => "held",
        }
    }
}

impl RedirectTable {
    /// Opens a socket to the kernel. Writes nothing.
    ///
    /// # Errors
    /// As [`NetlinkDataPlane::open`].
    pub fn open(marks: RedirectMarks) -> Result<Self, KernelError> {
        let programs = Family::ALL.map(|family| Program::redirect(family, marks)).to_vec();
        Ok(Self { plane: NetlinkDataPlane::open()?.with_table(DNS_TABLE), programs })
    }

    /// Makes the program's tables if they are not there as they should be. Returns whether it had to: then the sets are
    /// empty. Tables that another release of Portolan made are written anew only if `replace`: beside it, that release
    /// may still run.
    ///
    /// # Errors
    /// As [`DataPlane::install`].
    pub fn ensure(&mut self, replace: bool) -> Result<bool, KernelError> {
        let tables = self.plane.reader().tables()?;
        let found = |program: &Program| tables.get(&program.family).and_then(|c| c.strip_prefix(PROGRAM_COMMENT));
        let same = |program: &Program| found(program) == Some(program.fingerprint.as_str());
        let intact = match self.programs.iter().all(same) {
            true => self.plane.damaged_chains(&self.programs)?.is_empty(),
            false => !replace && self.programs.iter().all(|program| found(program).is_some()),
        };
        if !intact {
            self.plane.install(&self.programs)?;
        }
        Ok(!intact)
    }

    /// Carries out all steps as one change of the ruleset.
    ///
    /// # Errors
    /// [`KernelError::Refused`] above all if the tables are not there; then nothing was changed.
    pub fn commit(&mut self, steps: &[Step]) -> Result<(), KernelError> {
        let mut batch = Batch::new(&self.plane.socket, DNS_TABLE);
        for step in steps {
            let (Step::Put(set, address, _) | Step::Remove(set, address)) = *step;
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let frontend = Frontend { address, protocol, port: DNS_PORT };
                let mut write = |operation, timeout| batch.frontend(operation, set.name(), &frontend, timeout);
                // Adding what is there would leave it its old time; deleting what is not there would be an error.
                write(Operation::Add, Some(1000));
                write(Operation::Delete, None);
                if let Step::Put(_, _, lasting) = step {
                    write(Operation::Add, Some(u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX)));
                }
            }
        }
        batch.send(&mut self.plane.socket, "refreshing the redirect of cluster DNS")
    }

    /// Subscribes to the changes that others make to these tables. Must be called within a tokio runtime with I/O
    /// enabled.
    ///
    /// # Errors
    /// As [`NetlinkDataPlane::monitor`].
    pub fn watch(&mut self) -> Result<RulesetMonitor, KernelError> {
        self.plane.monitor()
    }

    /// Deletes the tables. Absent ones are no error.
    ///
    /// # Errors
    /// As [`DataPlane::remove`].
    pub fn remove(&mut self) -> Result<(), KernelError> {
        self.plane.remove()
    }
}
