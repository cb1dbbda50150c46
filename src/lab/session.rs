use std::{
    io::{self, IoSliceMut, Read, Write},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
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

/// How many UDP ports are used in turn, from 33000 up: above every node port.
const PORTS: u32 = 28_000;

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
        // An established connection outlives ICMP errors (RFC 1122, section 4.2.3.9), unless its socket keeps them.
        let result = result.and_then(|()| match frontend.protocol {
            Protocol::Tcp => keep_icmp_errors(&session.socket, frontend.family(), false),
            _ => Ok(()),
        });
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
                Ok(0) if self.protocol == Protocol::Tcp => return Err(io::ErrorKind::UnexpectedEof.into()),
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
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Ok(Outcome::Reset);
        }
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
        let mut icmp = queued_error(&self.socket);
        if icmp.is_none() && errno == Errno::EPERM && self.wait(PollFlags::empty(), Instant::now() + LAG).is_ok() {
            icmp = queued_error(&self.socket);
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
}

/// The error of the first ICMP message in a socket's error queue (IP_RECVERR, ip(7)).
pub(super) fn queued_error(socket: &Socket) -> Option<Errno> {
    let mut data = [0; 512];
    let mut parts = [IoSliceMut::new(&mut data)];
    let mut control = vec![0; 512];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            Some(Errno::from_raw(error.ee_errno.cast_signed()))
        }
        _ => None,
    })
}

/// Makes a socket queue the ICMP errors that concern it, for [`queued_error`], or no longer so.
pub(super) fn keep_icmp_errors(socket: &Socket, family: Family, keep: bool) -> io::Result<()> {
    match family {
        Family::V4 => Ok(setsockopt(socket, Ipv4RecvErr, &keep)?),
        Family::V6 => Ok(setsockopt(socket, Ipv6RecvErr, &keep)?),
    }
}

/// A socket bound as the probe wants it, that keeps ICMP errors for us.
fn socket(probe: &Probe) -> io::Result<Socket> {
    let family = probe.frontend.family();
    let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
    let kind = match probe.frontend.protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
        Protocol::Sctp => return Err(io::Error::new(io::ErrorKind::Unsupported, "there are no SCTP sockets here")),
    };
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    keep_icmp_errors(&socket, family, true)?;
    if family == Family::V6 {
        // Or a port taken over IPv4 would count as taken here.
        socket.set_only_v6(true)?;
    }
    let any = if family == Family::V4 { IpAddr::from([0; 4]) } else { IpAddr::from([0_u16; 8]) };
    let source = probe.source.unwrap_or(any);
    match probe.frontend.protocol {
        Protocol::Udp if probe.source_port == 0 => bind_fresh_port(&socket, source)?,
        Protocol::Udp => socket.bind(&SocketAddr::new(source, probe.source_port).into())?,
        _ if probe.source.is_none() && probe.source_port == 0 => {}
        _ => {
            // The port may still be held by a connection that has ended.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(source, probe.source_port).into())?;
        }
    }
    Ok(socket)
}

/// Binds to a port that no UDP probe of this process has used lately. The kernel's own choice may fall on a port whose
/// flow connection tracking still remembers, and then no rule is asked where the packet is to go.
fn bind_fresh_port(socket: &Socket, source: IpAddr) -> io::Result<()> {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| {
        // Another start in each process, so that two of them are unlikely to use the same ports in a row.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        AtomicU32::new(now.subsec_micros())
    });
    for _ in 0..PORTS {
        let port = 33_000 + (NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) as u16;
        match socket.bind(&SocketAddr::new(source, port).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
