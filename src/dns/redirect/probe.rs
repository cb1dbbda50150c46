//! Asking ourselves: through the node's output path, the routing rule and the sockets of a redirected address, whether or
//! not it is live.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, time::timeout};

use super::DNS_PORT;
use crate::kernel::redirect::RedirectMarks;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends a query to this node's own socket at an address, and returns the message that comes back with the same first
/// two octets, the ID. Where several processes share the address, any of them may answer. To be called within a tokio
/// runtime.
///
/// # Errors
/// A sentence: what went wrong, or that nothing came within a second.
pub async fn ask(address: IpAddr, marks: RedirectMarks, query: &[u8]) -> Result<Vec<u8>, String> {
    match timeout(PATIENCE, exchange(address, marks, query)).await {
        Err(_) => Err(format!("nothing came from {address} within {} s", PATIENCE.as_secs())),
        Ok(outcome) => outcome.map_err(|error| format!("asking {address}: {error}")),
    }
}

async fn exchange(address: IpAddr, marks: RedirectMarks, query: &[u8]) -> io::Result<Vec<u8>> {
    let target = SocketAddr::from((address, DNS_PORT));
    let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_mark(marks.local)?;
    socket.set_nonblocking(true)?;
    // The kernel would choose the address that is asked, and the answer to that is for nobody.
    let source: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.connect(target).await?;
    socket.send(query).await?;
    let mut answer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length >= 2 && answer[..2] == query[..2.min(query.len())] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}
