//! Sockets as the server needs them: ready to be shared, told where datagrams were sent to, and with long queues.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Room for datagrams that wait to be read, and for answers that wait to be sent, in octets.
const BUFFER: usize = 4 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How a socket is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Bind to an address that this host does not have, such as a Service's cluster IP; needs CAP_NET_ADMIN
    pub transparent: bool,
    /// Share address and port with other sockets of the same user that say so, too
    pub reuse_port: bool,
}

/// A UDP socket. One for the unspecified IPv6 address takes IPv4 as well.
///
/// # Errors
/// As of socket(2), setsockopt(2) and bind(2): the address is taken, or not this host's, or privileges are missing.
pub fn udp(address: SocketAddr, options: Options) -> io::Result<UdpSocket> {
    let socket = bound(address, Type::DGRAM, Protocol::UDP, options)?;
    // More than net.core.rmem_max needs privileges. Without them there is as much as may be.
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(BUFFER);
    }
    let _ = socket.set_send_buffer_size(BUFFER);
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    if address.ip().is_unspecified() {
        // Answers must leave from the address that was asked.
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
    }
    Ok(socket.into())
}

/// A listening TCP socket. One for the unspecified IPv6 address takes IPv4 as well.
///
/// # Errors
/// As [`udp`].
pub fn tcp(address: SocketAddr, options: Options) -> io::Result<TcpListener> {
    let socket = bound(address, Type::STREAM, Protocol::TCP, options)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The address that stands for all of this host: IPv6's where there is IPv6, which takes IPv4 as well.
pub fn wildcard(port: u16) -> SocketAddr {
    let six = SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), port);
    let four = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    // A kernel may know the family and yet be told to have no address of it.
    let any_port = SocketAddr::new(six.ip(), 0);
    let usable = bound(any_port, Type::DGRAM, Protocol::UDP, Options::default()).is_ok();
    if usable { six } else { four }
}

fn bound(address: SocketAddr, kind: Type, protocol: Protocol, options: Options) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_reuse_port(options.reuse_port)?;
    if options.transparent {
        match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Has receiving and sending end after so long without success.
pub(super) fn set_patience(socket: &UdpSocket, receive: Duration, send: Duration) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(receive))?;
    socket.set_write_timeout(Some(send))
}

/// Takes a UDP socket out of its group, so that what arrives from now on goes to the other sockets of this port, while
/// what is queued here can still be read and answered. The kernel gives nothing but the peer's datagrams to a socket with
/// a peer; this one is given one that never sends. Best effort: where it fails, what arrives until the end is lost.
pub(super) fn leave_group(socket: &UdpSocket) {
    let discard = 9;
    let nobody = match socket.local_addr() {
        Ok(SocketAddr::V4(_)) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), discard),
        Ok(SocketAddr::V6(_)) => SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), discard),
        Err(_) => return,
    };
    let _ = SockRef::from(&socket.as_fd()).connect(&nobody.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_left_the_group_keeps_its_queue_and_gets_no_more() {
        let shared = Options { reuse_port: true, ..Options::default() };
        for (bound, asked) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let old = udp(bound.parse().unwrap(), shared).unwrap();
            let there = old.local_addr().unwrap();
            let to = SocketAddr::new(asked.parse().unwrap(), there.port());
            let send = || {
                let client = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).unwrap();
                client.send_to(&[0; 12], to).unwrap();
            };
            send();
            let new = udp(there, shared).unwrap();
            leave_group(&old);
            (0..100).for_each(|_| send());
            for (socket, count) in [(old, 1), (new, 100)] {
                socket.set_nonblocking(true).unwrap();
                let received = std::iter::from_fn(|| socket.recv_from(&mut [0; 16]).ok()).count();
                assert_eq!(received, count, "{bound}");
            }
        }
    }
}
