use std::{
    io::{self, IoSliceMut, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
        sockopt::{Ipv4RecvErr, Ipv6RecvErr},
    },
};
use socket2::{Domain, Socket, Type};

use super::{LabError, Namespace, Outcome, Probe, in_namespace};
use crate::model::{Family, Protocol};

/// How long an ICMP error may lag behind the EPERM that its REJECT causes in an output hook.
const LAG: Duration = Duration::from_millis(50);

/// A connection that stays open, or a UDP socket that keeps its port. It answers line by line, so that a test can see
/// whether a change elsewhere harmed it.
#[derive(Debug)]
pub struct Session {
    socket: Socket,
    protocol: Protocol,
    description: String,
    /// What was read beyond the last answer
    read: Vec<u8>,
}

impl Session {
    /// Connects from inside the namespace; the session can then be used from anywhere. The inner error says why there
    /// is no connection. UDP has none, so it fails here only without a route.
    pub fn open(probe: &Probe, namespace: &Namespace) -> Result<Result<Self, Outcome>, LabError> {
        in_namespace(namespace, || Self::connect(probe))?
    }

    /// [`Session::open`] in the namespace of the calling thread.
    pub(super) fn connect(probe: &Probe) -> Result<Result<Self, Outcome>, LabError> {
        let frontend = probe.frontend;
        let description = format!("probe {frontend}");
        let deadline = Instant::now() + probe.patience;
        let socket = socket(probe).map_err(|e| LabError::io(format!("open a socket to {description}"), e))?;
        let session = Self { socket, protocol: frontend.protocol, description, read: Vec::new() };
        let result = match session.socket.connect(&SocketAddr::new(frontend.address, frontend.port).into()) {
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => session.finish(deadline),
            result => result,
        };
        match result {
            Ok(()) => Ok(Ok(session)),
            Err(error) => session.classify(error).map(Err),
        }
    }

    /// Sends a line and waits for its answer. Any outcome but an answer means that a TCP connection is broken.
    pub fn exchange(&mut self, patience: Duration) -> Result<Outcome, LabError> {
        let deadline = Instant::now() + patience;
        match self.ask(deadline) {
            Ok(answer) => Outcome::parse(&answer).ok_or_else(|| LabError::Failed {
                attempt: self.description.clone(),
                reason: format!("this is not a responder's answer: {answer:?}"),
            }),
            Err(error) => self.classify(error),
        }
    }

    /// Waits for a TCP connection to be made or refused.
    fn finish(&self, deadline: Instant) -> io::Result<()> {
        self.wait(PollFlags::POLLOUT, deadline)?;
        match self.socket.take_error()? {
            Some(error) => Err(error),
            // Neither made nor failed: an ICMP error waits in the queue (see `classify`).
            None => self.socket.peer_addr().map(drop),
        }
    }

    fn ask(&mut self, deadline: Instant) -> io::Result<String> {
        self.socket.write_all(b"hello\n")?;
        loop {
            if let Some(answer) = self.take_answer() {
                return Ok(answer);
            }
            self.wait(PollFlags::POLLIN, deadline)?;
            let mut buffer = [0; 2048];
            match self.socket.read(&mut buffer) {
                Ok(0) if self.protocol == Protocol::Tcp => return Err(Errno::ECONNRESET.into()),
                Ok(count) => self.read.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Two lines out of what was read.
    fn take_answer(&mut self) -> Option<String> {
        let mut ends = self.read.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index);
        let end = ends.nth(1)?;
        let rest = self.read.split_off(end + 1);
        Some(String::from_utf8_lossy(&std::mem::replace(&mut self.read, rest)).into_owned())
    }

    /// Waits for an event or an error on the socket; ETIMEDOUT after the deadline.
    fn wait(&self, events: PollFlags, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the last fraction of a millisecond does not become a busy loop.
            let left = PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.socket.as_fd(), events)], left) {
                Ok(0) => return Err(Errno::ETIMEDOUT.into()),
                Err(Errno::EINTR) => {}
                other => return other.map(drop).map_err(io::Error::from),
            }
        }
    }

    /// The outcome that an error stands for.
    ///
    /// The socket's error queue comes first: it tells a refusal by ICMP from a TCP reset, and it has the ICMP error
    /// of a REJECT in the client's own output hook, where the system call itself says EPERM (UDP) or nothing (TCP).
    fn classify(&self, error: io::Error) -> Result<Outcome, LabError> {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
        let mut icmp = self.queued_error();
        if icmp.is_none() && errno == Errno::EPERM && self.wait(PollFlags::empty(), Instant::now() + LAG).is_ok() {
            icmp = self.queued_error();
        }
        match (icmp, errno) {
            (Some(Errno::ECONNREFUSED), _) => Ok(Outcome::Refused),
            (Some(_), _) => Ok(Outcome::Unreachable),
            (None, Errno::ECONNREFUSED) if self.protocol == Protocol::Udp => Ok(Outcome::Refused),
            (None, Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::EPIPE) => Ok(Outcome::Reset),
            (None, Errno::EPERM) => Ok(Outcome::NotPermitted),
            (None, Errno::ETIMEDOUT) => Ok(Outcome::Silence),
            (None, Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES) => Ok(Outcome::Unreachable),
            _ => Err(LabError::io(self.description.clone(), error)),
        }
    }

    /// The error of the first ICMP message in the socket's error queue (IP_RECVERR, ip(7)).
    fn queued_error(&self) -> Option<Errno> {
        let mut data = [0; 512];
        let mut parts = [IoSliceMut::new(&mut data)];
        let mut control = vec![0; 512];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
        message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                Some(Errno::from_raw(error.ee_errno.cast_signed()))
            }
            _ => None,
        })
    }
}

/// A socket bound as the probe wants it, that keeps ICMP errors for us.
fn socket(probe: &Probe) -> io::Result<Socket> {
    let address = probe.frontend.address;
    let kind = match probe.frontend.protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
        Protocol::Sctp => return Err(io::Error::new(io::ErrorKind::Unsupported, "SCTP has no sockets here")),
    };
    let (domain, any) = match Family::of(address) {
        Family::V4 => (Domain::IPV4, SocketAddr::from(([0; 4], probe.source_port))),
        Family::V6 => (Domain::IPV6, SocketAddr::from(([0_u16; 8], probe.source_port))),
    };
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    match Family::of(address) {
        Family::V4 => setsockopt(&socket, Ipv4RecvErr, &true)?,
        Family::V6 => setsockopt(&socket, Ipv6RecvErr, &true)?,
    }
    if probe.source.is_some() || probe.source_port != 0 {
        socket.set_reuse_address(true)?;
        let from = probe.source.map_or(any, |source| SocketAddr::new(source, probe.source_port));
        socket.bind(&from.into())?;
    }
    Ok(socket)
}
