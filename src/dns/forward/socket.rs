//! Sockets towards upstreams.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// From where to send.
#[derive(Clone, Copy, Debug, Default)]
pub struct From {
    /// Address
    pub source: Option<IpAddr>,
    /// Mark of the packets, for policy routing
    pub mark: Option<u32>,
}

impl From {
    fn socket(&self, to: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    }

    /// A socket that takes datagrams from `to` alone. The kernel chooses the port at random, and drops what comes from
    /// elsewhere (RFC 5452, 9.2).
    pub fn udp(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.socket(to, Type::DGRAM, Protocol::UDP)?;
        socket.connect(&to.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// A connection.
    pub async fn tcp(&self, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let socket = TcpSocket::from_std_stream(self.socket(to, Type::STREAM, Protocol::TCP)?.into());
        let stream = tokio::time::timeout(limit, socket.connect(to)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
