//! Looks at the rules of a network namespace without reading them all, whoever wrote them: how many elements a set has,
//! and when the kernel announces a rule or an element with a certain address.

use std::{
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt},
        time::{TimeVal, TimeValLike},
    },
};
use portolan::{lab::Namespace, lab::in_namespace, model::Family};

// linux/netfilter/nfnetlink.h and nf_tables.h
const NFNLGRP_NFTABLES: u32 = 7;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
// linux/netlink.h
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
const NETFILTER_HEADER: usize = 4;

/// The kernel packs a dump into pieces of at most 32 KiB.
const BUFFER: usize = 128 * 1024;

/// Counts elements, with one socket for many questions.
pub struct Counter {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Counter {
    /// A counter for this namespace.
    pub fn open(namespace: &Namespace) -> Self {
        let socket = in_namespace(namespace, open).unwrap().unwrap();
        Self { socket, buffer: vec![0; BUFFER] }
    }

    /// The number of elements of a set or map; 0 if there is no such set.
    pub fn elements(&mut self, family: Family, table: &str, set: &str) -> usize {
        loop {
            match self.try_elements(family, table, set) {
                Ok(count) => return count,
                Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => return 0,
                // Somebody changed it meanwhile.
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                Err(error) => panic!("count the elements of {table} {set}: {error}"),
            }
        }
    }

    fn try_elements(&mut self, family: Family, table: &str, set: &str) -> io::Result<usize> {
        let request = request(family, &[(NFTA_SET_ELEM_LIST_TABLE, table), (NFTA_SET_ELEM_LIST_SET, set)]);
        self.socket.send(&request, 0)?;
        let mut count = 0;
        loop {
            let length = self.socket.recv(&mut &mut self.buffer[..], 0)?;
            for (kind, payload) in messages(&self.buffer[..length]) {
                match kind {
                    NLMSG_ERROR | NLMSG_DONE => return error_code(payload).map_or(Ok(count), Err),
                    _ => {
                        let elements = attributes(payload.get(NETFILTER_HEADER..).unwrap_or_default())
                            .find(|(kind, _)| *kind == NFTA_SET_ELEM_LIST_ELEMENTS);
                        count += elements.map_or(0, |(_, nested)| attributes(nested).count());
                    }
                }
            }
        }
    }
}

/// Listens to what the kernel announces of changes by anyone.
pub struct Announcements {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Announcements {
    /// Begins to listen in this namespace.
    pub fn listen(namespace: &Namespace) -> Self {
        let open = || -> io::Result<Socket> {
            let socket = open()?;
            setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20))?;
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100))?;
            socket.add_membership(NFNLGRP_NFTABLES)?;
            Ok(socket)
        };
        let socket = in_namespace(namespace, open).unwrap().unwrap();
        Self { socket, buffer: vec![0; BUFFER] }
    }

    /// Waits until a new rule or element that contains this address is announced; when that was. The kernel announces
    /// what a transaction did when packets see it. `None` if it does not happen within `patience`.
    pub fn of_address(&mut self, address: Ipv4Addr, patience: Duration) -> Option<Instant> {
        let start = Instant::now();
        while start.elapsed() < patience {
            let length = match self.socket.recv(&mut &mut self.buffer[..], 0) {
                Ok(length) => length,
                // Nothing for a while, or more than the queue holds; what is waited for is announced only once, so
                // then this ends as a failure to see it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => continue,
                Err(error) => panic!("listen to nftables: {error}"),
            };
            let now = Instant::now();
            let of = |message: u16| NFNL_SUBSYS_NFTABLES << 8 | message;
            let holds = |payload: &[u8]| payload.windows(4).any(|bytes| bytes == address.octets());
            let mut news = messages(&self.buffer[..length]);
            if news
                .any(|(kind, payload)| [of(NFT_MSG_NEWRULE), of(NFT_MSG_NEWSETELEM)].contains(&kind) && holds(payload))
            {
                return Some(now);
            }
        }
        None
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// A dump of a set's elements.
fn request(family: Family, names: &[(u16, &str)]) -> Vec<u8> {
    let family = match family {
        Family::V4 => 2,
        Family::V6 => 10,
    };
    let mut body = vec![family, 0, 0, 0];
    for (kind, name) in names {
        let length = u16::try_from(4 + name.len() + 1).unwrap();
        body.extend(length.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(name.bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = Vec::new();
    message.extend(u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes());
    message.extend((NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM).to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Type and payload of each message in what was received.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = NetlinkBuffer::new_checked(bytes).ok()?;
        let (kind, length) = (header.message_type(), header.length() as usize);
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// Type and value of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let field = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(field(0)?), field(2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The upper two bits say how the value is written.
        Some((kind & 0x3fff, value))
    })
}

/// The error at the start of an error message or at the end of a dump.
fn error_code(payload: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}
