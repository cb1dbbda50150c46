//! Sockets on addresses that this node does not have.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::DNS_PORT;
use crate::kernel::redirect::RedirectMarks;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A UDP socket for queries at a redirected address. Any number of them, of any number of processes of one user, share
/// it. What it sends carries the mark that has answers leave untracked. It is not blocking.
///
/// # Errors
/// `PermissionDenied` without CAP_NET_ADMIN (and CAP_NET_BIND_SERVICE); `AddrInUse` if a process of another user is there.
pub fn udp(address: IpAddr, marks: RedirectMarks) -> io::Result<UdpSocket> {
    Ok(bound(address, marks, Type::DGRAM, Protocol::UDP)?.into())
}

/// The same for TCP, listening.
///
/// # Errors
/// As [`udp`].
pub fn tcp(address: IpAddr, marks: RedirectMarks) -> io::Result<TcpListener> {
    let socket = bound(address, marks, Type::STREAM, Protocol::TCP)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: IpAddr, marks: RedirectMarks, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let address = SocketAddr::from((address, DNS_PORT));
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    match address {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_ip_transparent_v6(true)?;
        }
    }
    socket.set_mark(marks.local)?;
    if kind == Type::STREAM {
        // The connections of a process before us wait for their end.
        socket.set_reuse_address(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
