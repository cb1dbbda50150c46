//! Tables that belong to one socket: the kernel lets nobody else change or delete them (docs/adr/0006-owned-tables.md).
//!
//! The flag `owner` binds a table to the socket that set it. With `persist` beside it, the table stays when the socket is
//! closed, and belongs to nobody until some socket sets `owner` again. `persist` can only be set when a table is made,
//! and `owner` only be taken away by closing the socket.

use std::collections::BTreeMap;

use netlink_packet_core::NLM_F_CREATE;
use nix::errno::Errno;

use super::{
    batch::Batch,
    dump::{Header, Reader},
    intact::scratch,
    plane::NetlinkDataPlane,
    uapi::{NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST},
};
use crate::{
    kernel::{KernelError, nft},
    model::Family,
    tables::{PROGRAM_COMMENT, Program, flat_text, standby},
};

const ATTEMPT: &str = "making our tables our own (--own-table)";

impl NetlinkDataPlane {
    /// Opens a socket to the kernel whose tables nobody else can change, delete or flush while the value lives. They
    /// stay when it is dropped, and when the process dies in whatever way; then anybody can change them again, and the
    /// next to open them so takes them over as they are. Tables that were made without this are replaced by
    /// [`crate::kernel::DataPlane::install`], which [`crate::kernel::DataPlane::dump`] asks for by an empty fingerprint.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if the kernel does not know the table flag `persist` (Linux 6.9);
    /// [`KernelError::Owned`] if the tables belong to another process that lives.
    pub fn open_owning() -> Result<Self, KernelError> {
        let mut plane = Self::open()?;
        plane.owning = true;
        plane.probe()?;
        plane.take_over()?;
        Ok(plane)
    }

    /// Finds out whether the kernel knows the flags, with a table that is gone before anybody can see it.
    fn probe(&mut self) -> Result<(), KernelError> {
        let name = format!("{}-probe", self.base);
        let mut batch = Batch::new(&self.socket, &name);
        batch.make_table(Family::V4, NLM_F_CREATE, NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST, None);
        batch.delete_table(Family::V4);
        match batch.try_send(&mut self.socket) {
            Err(failed) if failed.is(Errno::EOPNOTSUPP) || failed.is(Errno::EINVAL) => Err(KernelError::Failed {
                attempt: ATTEMPT.into(),
                reason:
                    "this kernel does not know the table flag `persist`; it takes Linux 6.9 or later. Start without \
                         --own-table, or with a newer kernel"
                        .into(),
            }),
            outcome => outcome.map_err(|failed| failed.during(ATTEMPT)),
        }
    }

    /// Makes those of our tables our own that belong to nobody and can be had.
    fn take_over(&mut self) -> Result<(), KernelError> {
        for name in [self.base.clone(), standby(&self.base)] {
            let headers = Reader { socket: &mut self.socket, table: &name }.headers()?;
            self.refuse_others(ATTEMPT, &name, &headers)?;
            let mut batch = Batch::new(&self.socket, &name);
            for (family, header) in headers {
                if header.flags & (NFT_TABLE_F_PERSIST | NFT_TABLE_F_OWNER) == NFT_TABLE_F_PERSIST {
                    batch.make_table(family, 0, header.flags | NFT_TABLE_F_OWNER, None);
                }
            }
            batch.send(&mut self.socket, ATTEMPT)?;
        }
        Ok(())
    }

    /// Does something that nft has to do in our tables: for that moment, they belong to nobody.
    pub(super) fn disowned<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        if !self.owning {
            return work(self);
        }
        self.socket.reopen().map_err(|fault| fault.during(ATTEMPT))?;
        self.own.set_port(self.socket.port());
        let result = work(self);
        self.take_over()?;
        result
    }

    /// Makes the programs' tables, empty, in place of what there is, and our own.
    pub(super) fn install_owned(&mut self, programs: &[Program]) -> Result<(), KernelError> {
        let attempt = "installing the program";
        // What nft would refuse is to be known before anything is deleted.
        let trial: String = programs.iter().map(|program| program.for_table(&scratch(&self.table))).collect();
        nft::run(&trial, true, attempt)?;
        let headers = self.reader().headers()?;
        let mut batch = Batch::new(&self.socket, &self.table);
        for program in programs {
            if headers.contains_key(&program.family) {
                batch.delete_table(program.family);
            }
            let comment = format!("{PROGRAM_COMMENT}{}", program.fingerprint);
            batch.make_table(program.family, NLM_F_CREATE, NFT_TABLE_F_PERSIST, Some(&comment));
        }
        batch.send(&mut self.socket, attempt)?;
        let text: String = programs.iter().map(|program| flat_text(&program.for_table(&self.table))).collect();
        self.nft(&text, attempt)?;
        self.take_over()
    }

    /// Says of what was not permitted whether that is because the table belongs to somebody else.
    pub(super) fn explained<T>(&mut self, result: Result<T, KernelError>) -> Result<T, KernelError> {
        if let Err(KernelError::NotPermitted { attempt }) = &result
            && let Ok(headers) = self.reader().headers()
        {
            self.refuse_others(attempt, &self.table, &headers)?;
        }
        result
    }

    fn refuse_others(&self, attempt: &str, name: &str, headers: &BTreeMap<Family, Header>) -> Result<(), KernelError> {
        for (family, header) in headers {
            if let Some(port) = header.owner.filter(|port| *port != self.socket.port()) {
                let table = format!("{} {name}", family.nft());
                return Err(KernelError::Owned { attempt: attempt.to_owned(), table, port });
            }
        }
        Ok(())
    }
}
