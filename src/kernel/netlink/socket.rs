//! A netlink socket to the kernel's netfilter: sends messages, reads every answer.

use std::{io, time::Duration};

use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::{
    errno::Errno,
    libc::{MSG_DONTWAIT, MSG_TRUNC},
    sys::{
        socket::{setsockopt, sockopt},
        time::TimeVal,
    },
};

use super::{
    uapi::{NLMSG_DONE, NLMSG_ERROR, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS},
    wire::{Attributes, HEADERS, NETLINK_HEADER, Writer},
};
use crate::kernel::KernelError;

/// The kernel packs a dump into pieces of at most 32 KiB; an element list fits 64 KiB.
const RECEIVE_BUFFER: usize = 128 * 1024;
/// Room for the errors of a whole batch, one for each of its messages.
const ERROR_QUEUE: usize = 4 << 20;
/// How long the kernel may take for one answer. It answers at once; this only keeps a lost answer from hanging us.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a reading is begun again because somebody changed the ruleset meanwhile.
const ATTEMPTS: usize = 20;

/// A part of an answer.
pub(crate) struct Message<'a> {
    /// The family in its netfilter header
    pub family: u8,
    /// Its attributes
    pub attributes: Attributes<'a>,
}

/// Why an exchange with the kernel failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The kernel said no to one message
    Refused(Refusal),
    /// What was read is not one consistent state, because somebody changed it meanwhile
    Interrupted,
    /// The socket, or what came through it
    Socket(io::Error),
}

/// The kernel's no.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Why
    pub errno: Errno,
    /// The message it speaks of
    pub sequence: u32,
    /// Where in that message the fault lies, in bytes from its start; 0 if it does not say
    pub offset: usize,
    /// The kernel's own explanation, if it has one
    pub words: String,
}

impl Fault {
    /// The error that a caller sees, given what was attempted.
    pub fn during(self, attempt: impl Into<String>) -> KernelError {
        let attempt = attempt.into();
        match self {
            Fault::Refused(refusal) => refusal.during(attempt),
            Fault::Interrupted => KernelError::Failed {
                attempt,
                reason: format!("other processes changed the ruleset during each of {ATTEMPTS} attempts"),
            },
            Fault::Socket(error) => KernelError::Failed { attempt, reason: format!("netlink socket: {error}") },
        }
    }

    /// Whether the kernel refused for this reason.
    pub fn is(&self, errno: Errno) -> bool {
        matches!(self, Fault::Refused(refusal) if refusal.errno == errno)
    }
}

impl Refusal {
    /// The error that a caller sees, given what was attempted.
    pub fn during(self, attempt: String) -> KernelError {
        let mut reason = format!("the kernel says: {} ({:?})", self.errno.desc(), self.errno);
        if !self.words.is_empty() {
            reason = format!("{reason}: {}", self.words);
        }
        match self.errno {
            Errno::EPERM => KernelError::NotPermitted { attempt },
            Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR | Errno::ERESTART => {
                KernelError::Failed { attempt, reason }
            }
            _ => KernelError::Refused { attempt, reason },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Socket(error)
    }
}

/// A NETLINK_NETFILTER socket. It speaks to the network namespace that the thread was in when it was opened.
pub(crate) struct NetfilterSocket {
    socket: Socket,
    port: u32,
    next_sequence: u32,
    buffer: Vec<u8>,
}

impl NetfilterSocket {
    /// Opens the socket.
    pub fn open() -> Result<Self, KernelError> {
        Self::try_open().map_err(|error| Fault::Socket(error).during("opening a netfilter netlink socket"))
    }

    fn try_open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        let port = socket.bind_auto()?.port_number();
        Self::set_up(&socket)?;
        Ok(Self { socket, port, next_sequence: 1, buffer: vec![0; RECEIVE_BUFFER] })
    }

    /// Closes the socket and opens another one, with the same port if nobody took it meanwhile. The network namespace
    /// must be the same.
    pub fn reopen(&mut self) -> Result<(), Fault> {
        let closed = std::mem::replace(&mut self.socket, Socket::new(NETLINK_NETFILTER)?);
        drop(closed);
        if self.socket.bind(&SocketAddr::new(self.port, 0)).is_err() {
            self.port = self.socket.bind_auto()?.port_number();
        }
        Ok(Self::set_up(&self.socket)?)
    }

    fn set_up(socket: &Socket) -> io::Result<()> {
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?; // an error need not repeat the 64 KiB that it is about
        socket.set_ext_ack(true)?;
        setsockopt(socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE.as_secs() as i64, 0))?;
        // Beyond what rmem_max allows if we may; if not, a batch with very many errors loses some of them.
        let _ = setsockopt(socket, sockopt::RcvBufForce, &ERROR_QUEUE);
        Ok(())
    }

    /// The socket's netlink port: what the kernel calls the sender of its messages. No other socket of the namespace
    /// has it while this one lives.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// A writer whose messages can be sent on this socket.
    pub fn writer(&self) -> Writer {
        Writer::new(self.next_sequence)
    }

    /// Sends one request and hands each part of the answer to `each`, until the kernel says that this was all.
    /// The request must ask for an acknowledgement or for a dump.
    pub fn request(&mut self, request: &Writer, mut each: impl FnMut(Message<'_>)) -> Result<(), Fault> {
        let sequence = request.first_sequence();
        self.next_sequence = request.next_sequence();
        self.socket.send(request.bytes(), 0)?;
        let mut interrupted = false;
        loop {
            let length = match receive(&self.socket, &mut self.buffer, 0) {
                // Something was dropped. The rest must be read all the same, or the kernel begins no other dump.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    interrupted = true;
                    continue;
                }
                other => other?,
            };
            for (header, payload) in messages(&self.buffer[..length]) {
                if header.sequence_number() != sequence {
                    continue; // the rest of an answer that was given up
                }
                interrupted |= header.flags() & NLM_F_DUMP_INTR != 0;
                match header.message_type() {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return match refusal(sequence, payload) {
                            Some(refusal) if refusal.errno == Errno::EINTR => Err(Fault::Interrupted),
                            Some(refusal) => Err(Fault::Refused(refusal)),
                            None if interrupted => Err(Fault::Interrupted),
                            None => Ok(()),
                        };
                    }
                    _ if payload.len() >= HEADERS - NETLINK_HEADER => {
                        each(Message { family: payload[0], attributes: Attributes(&payload[4..]) });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Sends a batch, whose last message before its end must ask for an acknowledgement. The kernel does all of it
    /// before the send returns, or nothing.
    ///
    /// A batch must reach the kernel in one piece to be atomic. What a piece may hold is the socket's send buffer,
    /// and that can be raised to 2 GiB, some 40 million elements; a larger batch fails with EMSGSIZE.
    pub fn send_batch(&mut self, batch: &Writer) -> Result<(), Fault> {
        self.next_sequence = batch.next_sequence();
        self.raise_send_buffer(batch.len());
        self.socket.send(batch.bytes(), 0)?;
        let mut first: Option<Refusal> = None;
        let mut acknowledged = false;
        loop {
            let length = match receive(&self.socket, &mut self.buffer, MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // More errors than fit the queue: the first ones are still in it.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => continue,
                other => other?,
            };
            for (header, payload) in messages(&self.buffer[..length]) {
                match refusal(header.sequence_number(), payload) {
                    Some(refusal) => first = Some(first.take().unwrap_or(refusal)),
                    None => acknowledged = true,
                }
            }
        }
        match first {
            Some(refusal) => Err(Fault::Refused(refusal)),
            None if acknowledged => Ok(()),
            None => Err(Fault::Socket(io::Error::other("the kernel did not answer"))),
        }
    }

    /// Makes room for a batch. The kernel doubles the value for its own overhead, so this is ample.
    fn raise_send_buffer(&self, bytes: usize) {
        let wanted = bytes.saturating_add(4096);
        if setsockopt(&self.socket, sockopt::SndBufForce, &wanted).is_err() {
            // In a user namespace only the host's wmem_max can be had; the send says whether that was enough.
            let _ = setsockopt(&self.socket, sockopt::SndBuf, &wanted);
        }
    }
}

/// Runs a reading until nobody interrupts it. What is deleted while it is read can be read another time, too, but not
/// at once: the caller has to see first what there is.
pub(crate) fn undisturbed<T>(attempt: &str, mut read: impl FnMut() -> Result<T, Fault>) -> Result<T, KernelError> {
    for _ in 1..ATTEMPTS {
        match read() {
            Err(Fault::Interrupted) => {}
            Err(fault) if fault.is(Errno::ENOENT) => {
                let reason = "somebody deleted it meanwhile".to_owned();
                return Err(KernelError::Failed { attempt: attempt.to_owned(), reason });
            }
            other => return other.map_err(|fault| fault.during(attempt)),
        }
    }
    read().map_err(|fault| fault.during(attempt))
}

/// Receives one datagram into the buffer; its length.
pub(crate) fn receive(socket: &Socket, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    let room = buffer.len();
    loop {
        match socket.recv(&mut &mut *buffer, flags | MSG_TRUNC) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {} // by a signal
            Ok(length) if length > room => {
                let reason = format!("an answer of {length} bytes is larger than the buffer of {room}");
                return Err(io::Error::other(reason));
            }
            other => return other,
        }
    }
}

/// The messages in what was received.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (NetlinkBuffer<&[u8]>, &[u8])> {
    std::iter::from_fn(move || {
        let header = NetlinkBuffer::new_checked(bytes).ok()?;
        let length = header.length() as usize;
        let payload = bytes.get(NETLINK_HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((header, payload))
    })
}

/// Reads the error code at the start of an error or at the end of a dump. `None` means success.
fn refusal(sequence: u32, payload: &[u8]) -> Option<Refusal> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    if code == 0 {
        return None;
    }
    // Behind the code stands the header of the message that failed, then the explanation.
    let explanation = Attributes(payload.get(4 + NETLINK_HEADER..).unwrap_or_default());
    let offset = explanation.get(NLMSGERR_ATTR_OFFS).and_then(|v| v.try_into().ok()).map_or(0, u32::from_ne_bytes);
    Some(Refusal {
        errno: Errno::from_raw(-code),
        sequence,
        offset: offset as usize,
        words: explanation.text(NLMSGERR_ATTR_MSG).unwrap_or_default().to_owned(),
    })
}
