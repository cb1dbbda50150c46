//! Word of changes that others make to our tables, from the kernel's own notifications.

mod change;

use std::{collections::VecDeque, future::poll_fn, io};

use netlink_packet_netfilter::{NetfilterSubsystem, nftables::NfTablesMessageType};
use netlink_sys::{AsyncSocket, Socket, TokioSocket, protocols::NETLINK_NETFILTER};
use nix::{
    errno::Errno,
    libc::{BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, MSG_DONTWAIT},
    sys::socket::{setsockopt, sockopt},
};
use socket2::{SockFilter, SockRef};
use tokio::task::coop;

pub use change::{Culprit, ForeignChange, Touch, Touched};

use super::{
    KernelError,
    netlink::{
        OwnCommits, reaches,
        socket::{Fault, messages, receive},
        uapi::{NFNLGRP_NFTABLES, NFTA_GEN_ID, NFTA_GEN_PROC_NAME, NFTA_GEN_PROC_PID},
        wire::{Attributes, HEADERS, Kind, NETLINK_HEADER},
    },
};
use change::OurTables;

/// What the kernel may keep for us while we are busy. It packs some 4 KiB of notifications into 8 KiB of it: 40,000
/// elements or so. It takes the memory only when there is something to keep.
const QUEUE: usize = 8 << 20;
/// A notification is a page or two; a larger one would be an error.
const BUFFER: usize = 64 * 1024;
/// Changes that nobody asked for yet; of more, the oldest are left out. One is enough to look.
const MOST_PENDING: usize = 64;

/// Listens to the commits of everybody to the ruleset of one network namespace, and tells of those that touch our
/// tables and are not our own. What packets write into maps (session affinity) is no commit.
///
/// Besides [`RulesetMonitor::changed`], the ruleset's generation is worth a look now and then:
/// [`RulesetMonitor::saw`] says whether anything was missed.
pub struct RulesetMonitor {
    socket: TokioSocket,
    buffer: Vec<u8>,
    tables: OurTables,
    own: OwnCommits,
    /// The port whose commits the kernel does not even tell us of
    filtered: u32,
    /// Of the commit that is being told: what it did to our tables
    touched: Vec<Touched>,
    /// The last generation that we were told of, or that was there before
    seen: u32,
    pending: VecDeque<ForeignChange>,
}

impl RulesetMonitor {
    /// Subscribes, in the network namespace of the calling thread, to changes of the tables of this name and their
    /// standby. `generation` reads the ruleset's. Must be called within a tokio runtime with I/O enabled.
    pub(super) fn open(
        table: &str,
        own: OwnCommits,
        generation: impl FnOnce() -> Result<u32, KernelError>,
    ) -> Result<Self, KernelError> {
        let attempt = "subscribing to changes of the ruleset";
        let socket = subscribe(own.port()).map_err(|error| failed(attempt, error))?;
        Ok(Self {
            socket,
            buffer: vec![0; BUFFER],
            tables: OurTables::new(table),
            filtered: own.port(),
            own,
            touched: Vec::new(),
            seen: generation()?,
            pending: VecDeque::new(),
        })
    }

    /// Waits until somebody else has changed our tables. May be cancelled at any time; nothing is lost.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if the socket fails; only another subscription can help.
    pub async fn changed(&mut self) -> Result<ForeignChange, KernelError> {
        let failed = |error| failed("waiting for changes of the ruleset", error);
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Ok(change);
            }
            // Where somebody commits without pause, others in this task get their turn.
            coop::consume_budget().await;
            let mut rest = &mut self.buffer[..];
            let received = poll_fn(|context| self.socket.poll_recv(context, &mut rest)).await;
            let received = received.map(|()| BUFFER - rest.len());
            self.digest(received).map_err(failed)?;
        }
    }

    /// Changes that are known already, without waiting: one look at the tables serves them all.
    ///
    /// # Errors
    /// As [`RulesetMonitor::changed`].
    pub fn more(&mut self) -> Result<Vec<ForeignChange>, KernelError> {
        self.read_up_to(None)?;
        Ok(self.pending.drain(..).collect())
    }

    /// Whether every commit up to this generation of the ruleset was told of here, so that a generation that moved is
    /// no reason to look at the tables: those that matter are what [`RulesetMonitor::changed`] returns.
    ///
    /// # Errors
    /// As [`RulesetMonitor::changed`].
    pub fn saw(&mut self, generation: u32) -> Result<bool, KernelError> {
        self.read_up_to(Some(generation))?;
        Ok(reaches(self.seen, generation))
    }

    /// Reads what is there, but no further than this generation.
    fn read_up_to(&mut self, generation: Option<u32>) -> Result<(), KernelError> {
        let failed = |error| failed("reading changes of the ruleset", error);
        while generation.is_none_or(|generation| !reaches(self.seen, generation)) {
            match receive(self.socket.socket_ref(), &mut self.buffer, MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                received => self.digest(received).map_err(failed)?,
            }
        }
        Ok(())
    }

    /// Handles what was received into the buffer.
    fn digest(&mut self, received: io::Result<usize>) -> io::Result<()> {
        let length = match received {
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                self.touched.clear();
                self.tell(ForeignChange::lost());
                return Ok(());
            }
            other => other?,
        };
        let buffer = std::mem::take(&mut self.buffer);
        for (header, payload) in messages(&buffer[..length]) {
            let [subsystem, number] = header.message_type().to_be_bytes();
            let (Some(family), Some(attributes)) = (payload.first(), payload.get(HEADERS - NETLINK_HEADER..)) else {
                continue;
            };
            if subsystem != u8::from(NetfilterSubsystem::NfTables) {
                continue;
            }
            let attributes = Attributes(attributes);
            match NfTablesMessageType::from(number) {
                NfTablesMessageType::NewGen => self.commit_ends(header.port_number(), attributes),
                kind => {
                    let touched = self.tables.touched(kind, *family, attributes);
                    self.touched.extend(touched.filter(|touched| !self.touched.contains(touched)));
                }
            }
        }
        self.buffer = buffer;
        self.filter_own()
    }

    /// The last message of a commit: who made it.
    fn commit_ends(&mut self, port: u32, attributes: Attributes<'_>) {
        let touched = std::mem::take(&mut self.touched);
        let Some(generation) = attributes.number(NFTA_GEN_ID) else { return };
        if !reaches(self.seen, generation) {
            self.seen = generation;
        }
        if touched.is_empty() || self.own.made(port, generation) {
            return;
        }
        let culprit = attributes.number(NFTA_GEN_PROC_PID).map(|pid| Culprit {
            pid,
            name: attributes.text(NFTA_GEN_PROC_NAME).unwrap_or("a process without a name").to_owned(),
        });
        self.tell(ForeignChange::new(culprit, generation, touched));
    }

    fn tell(&mut self, change: ForeignChange) {
        if self.pending.len() == MOST_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(change);
    }

    /// Has the kernel leave out our own commits, under the port that we have now.
    fn filter_own(&mut self) -> io::Result<()> {
        if self.filtered != self.own.port() {
            self.filtered = self.own.port();
            leave_out(self.socket.socket_ref(), self.filtered)?;
        }
        Ok(())
    }
}

/// A socket that hears of every commit but, in detail, of those that come from `own_port`.
fn subscribe(own_port: u32) -> io::Result<TokioSocket> {
    let mut asynchronous = TokioSocket::new(NETLINK_NETFILTER)?;
    let socket = asynchronous.socket_mut();
    socket.bind_auto()?;
    if setsockopt(socket, sockopt::RcvBufForce, &QUEUE).is_err() {
        // In a user namespace only the host's rmem_max can be had. What does not fit is reported as lost.
        setsockopt(socket, sockopt::RcvBuf, &QUEUE)?;
    }
    leave_out(socket, own_port)?;
    socket.add_membership(NFNLGRP_NFTABLES)?;
    Ok(asynchronous)
}

/// Keeps the notifications of commits that come from a port out of the socket's queue, but for the last message of
/// each. One of ours can hold a hundred thousand elements, and we cannot read while we commit.
///
/// A datagram holds messages of one commit, and the last one comes by itself; so the first header tells.
fn leave_out(socket: &Socket, port: u32) -> io::Result<()> {
    const TYPE: u32 = 4;
    const PORT: u32 = 12;
    let end = Kind::from(NfTablesMessageType::NewGen).0;
    let statement = |code: u32, yes, no, operand| SockFilter::new(code as u16, yes, no, operand);
    SockRef::from(socket).attach_filter(&[
        // The filter reads numbers in network order; these are in the host's.
        statement(BPF_LD | BPF_H | BPF_ABS, 0, 0, TYPE),
        statement(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, u16::from_be_bytes(end.to_ne_bytes()).into()),
        statement(BPF_LD | BPF_W | BPF_ABS, 0, 0, PORT),
        statement(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, u32::from_be_bytes(port.to_ne_bytes())),
        statement(BPF_RET | BPF_K, 0, 0, u32::MAX),
        statement(BPF_RET | BPF_K, 0, 0, 0),
    ])
}

/// The error that a caller sees.
pub(super) fn failed(attempt: &str, error: io::Error) -> KernelError {
    match error.raw_os_error() {
        Some(code) if code == Errno::EPERM as i32 => KernelError::NotPermitted { attempt: attempt.to_owned() },
        _ => Fault::Socket(error).during(attempt),
    }
}
