//! Real packets, traced by the kernel (`nftrace`): a table of our own that picks them out, and the kernel's word of what
//! happens to them.
//!
//! The table belongs to our socket (flag `owner`, without `persist`): when the socket is closed, whoever closes it and
//! why, the kernel deletes the table. So nothing is left behind, not even by a process that was killed.

mod event;
mod listing;
mod owners;
mod table;

use std::{future::poll_fn, io};

use netlink_packet_netfilter::{NetfilterSubsystem, nftables::NfTablesMessageType};
use netlink_sys::{AsyncSocket, TokioSocket, protocols::NETLINK_NETFILTER};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};

pub use listing::{generation, rules};
pub use owners::frontends;

use super::{
    KernelError,
    monitor::failed,
    netlink::{
        socket::{NetfilterSocket, messages},
        uapi::NFNLGRP_NFTRACE,
    },
};
use crate::traced::{Event, Flow, TABLE_PREFIX};

/// What the kernel may keep for us while we are busy. A packet's events take some 30 times 1 KiB; the kernel takes the
/// memory only when there is something to keep.
const QUEUE: usize = 4 << 20;
/// An event takes less than a page.
const BUFFER: usize = 64 * 1024;

/// What is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The packets
    pub flows: Vec<Flow>,
    /// Only packets that open a connection; of UDP, which has no such mark, all
    pub first_only: bool,
    /// The most packets a second, for each family
    pub rate: u32,
}

/// Has packets traced while it lives, in the network namespace of the thread that opened it.
pub struct Tracer {
    /// The table lives as long as this is open
    _owner: NetfilterSocket,
    table: String,
    socket: TokioSocket,
    buffer: Vec<u8>,
}

impl Tracer {
    /// Begins to trace. Must be called within a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// [`KernelError::NotPermitted`] without CAP_NET_ADMIN; [`KernelError::Failed`] if the kernel does not know the table
    /// flag `owner` (Linux 5.12).
    pub fn open(request: &Request) -> Result<Self, KernelError> {
        // Listening first, so that nothing is missed.
        let socket = subscribe().map_err(|error| failed("subscribing to the kernel's trace of packets", error))?;
        let mut owner = NetfilterSocket::open()?;
        // No other socket of the namespace has this port, so that two traces do not meet.
        let table = format!("{TABLE_PREFIX}{}", owner.port());
        table::make(&mut owner, &table, request)?;
        Ok(Self { _owner: owner, table, socket, buffer: vec![0; BUFFER] })
    }

    /// The table's name, in each family that is traced.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Waits for the next events, of all packets that anybody has traced. `None` means that some were lost. May be
    /// cancelled at any time.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if the socket fails.
    pub async fn events(&mut self) -> Result<Option<Vec<Event>>, KernelError> {
        let mut rest = &mut self.buffer[..];
        let received = poll_fn(|context| self.socket.poll_recv(context, &mut rest)).await;
        let length = BUFFER - rest.len();
        match received {
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(None),
            other => other.map_err(|error| failed("waiting for traced packets", error))?,
        }
        let mut events = Vec::new();
        for (header, payload) in messages(&self.buffer[..length]) {
            let [subsystem, number] = header.message_type().to_be_bytes();
            if subsystem == u8::from(NetfilterSubsystem::NfTables)
                && NfTablesMessageType::from(number) == NfTablesMessageType::Trace
            {
                events.extend(event::decode(payload));
            }
        }
        Ok(Some(events))
    }
}

fn subscribe() -> io::Result<TokioSocket> {
    let mut asynchronous = TokioSocket::new(NETLINK_NETFILTER)?;
    let socket = asynchronous.socket_mut();
    socket.bind_auto()?;
    if setsockopt(socket, sockopt::RcvBufForce, &QUEUE).is_err() {
        // In a user namespace only the host's rmem_max can be had. What does not fit is reported as lost.
        setsockopt(socket, sockopt::RcvBuf, &QUEUE)?;
    }
    socket.add_membership(NFNLGRP_NFTRACE)?;
    Ok(asynchronous)
}
