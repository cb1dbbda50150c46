//! Probes over SCTP, on kernels that have no SCTP sockets: a raw INIT chunk is sent, and raw sockets in the pods say who
//! got it. Nobody answers, so there is no more to see than one packet's way.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{SockaddrStorage, recvfrom},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Lab, LabError, Namespace, Outcome, Probe, in_namespace, session};
use crate::model::Family;

/// SCTP's IP protocol number.
const SCTP: i32 = 132;

/// A raw socket in a pod, bound to one of the pod's addresses.
struct Ear<'a> {
    pod: &'a str,
    address: IpAddr,
    socket: Socket,
}

/// Sends an SCTP INIT to the probe's frontend from inside the namespace and watches every pod of the lab for it.
///
/// The outcome [`Outcome::Answered`] means here: that pod got the packet.
pub fn ask(lab: &Lab, from: &Namespace, probe: &Probe) -> Result<Outcome, LabError> {
    let attempt = || format!("send an SCTP INIT to {}", probe.frontend);
    let ears = ears(lab, Family::of(probe.frontend.address))?;
    let deadline = Instant::now() + probe.patience;
    let tag = next_tag();
    let socket = match in_namespace(from, || send(probe, tag))? {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => return Ok(Outcome::NotPermitted),
        Err(error) if error.raw_os_error() == Some(Errno::ENETUNREACH as i32) => return Ok(Outcome::Unreachable),
        Err(error) => return Err(LabError::io(attempt(), error)),
    };
    loop {
        let sockets = ears.iter().map(|ear| PollFd::new(ear.socket.as_fd(), PollFlags::POLLIN));
        // Of the sender's own socket only errors matter, which poll(2) reports unasked.
        let mut watched: Vec<PollFd<'_>> = sockets.chain([PollFd::new(socket.as_fd(), PollFlags::empty())]).collect();
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        match poll(&mut watched, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return Ok(Outcome::Silence),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(LabError::io(attempt(), error)),
        }
        match session::queued_error(&socket) {
            Some(Errno::ECONNREFUSED) => return Ok(Outcome::Refused),
            Some(_) => return Ok(Outcome::Unreachable),
            None => {}
        }
        if let Some(outcome) = ears.iter().find_map(|ear| ear.hear(tag)) {
            return Ok(outcome);
        }
    }
}

/// An ear at each pod's address of the family.
fn ears(lab: &Lab, family: Family) -> Result<Vec<Ear<'_>>, LabError> {
    let mut ears = Vec::new();
    for pod in &lab.spec().pods {
        for address in pod.addresses.iter().copied().filter(|a| Family::of(*a) == family) {
            let socket = in_namespace(&lab.spec().pod_namespace(pod), || raw_socket(SocketAddr::new(address, 0)))?;
            let socket = socket.map_err(|e| LabError::io(format!("listen for SCTP at {address}"), e))?;
            ears.push(Ear { pod: &pod.name, address, socket });
        }
    }
    Ok(ears)
}

impl Ear<'_> {
    /// What has arrived, if it is the INIT with this tag. Other packets are passed over.
    fn hear(&self, tag: u32) -> Option<Outcome> {
        let mut packet = [0; 512];
        loop {
            let (length, from) = recvfrom::<SockaddrStorage>(self.socket.as_raw_fd(), &mut packet).ok()?;
            let packet = packet.get(..length)?;
            // Raw IPv4 sockets deliver the IP header too (raw(7)); its length stands in its first byte.
            let header = if self.address.is_ipv4() { usize::from(packet.first()? & 0x0f) * 4 } else { 0 };
            let packet = packet.get(header..)?;
            if word(packet, 16) != Some(tag) {
                continue;
            }
            let ports = word(packet, 0)?;
            return Some(Outcome::Answered {
                pod: self.pod.to_owned(),
                source: SocketAddr::new(sender(&from?)?, (ports >> 16) as u16),
                destination: SocketAddr::new(self.address, ports as u16),
            });
        }
    }
}

/// A socket that has sent the INIT, and waits for ICMP errors.
fn send(probe: &Probe, tag: u32) -> io::Result<Socket> {
    let to = probe.frontend;
    let any = if to.address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0_u16; 8]) };
    let socket = raw_socket(SocketAddr::new(probe.source.unwrap_or(any), 0))?;
    session::keep_icmp_errors(&socket, to.family(), true)?;
    // The port of a raw socket's address has no meaning.
    socket.connect(&SocketAddr::new(to.address, 0).into())?;
    // Another port each time, because connection tracking tells connections apart by it.
    let source_port = if probe.source_port == 0 { 2000 + (tag % 60_000) as u16 } else { probe.source_port };
    socket.send(&init(source_port, to.port, tag))?;
    Ok(socket)
}

fn raw_socket(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::RAW, Some(Protocol::from(SCTP)))?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

/// A packet with an INIT chunk (RFC 9260, sections 3.1 and 3.3.2).
fn init(source_port: u16, destination_port: u16, tag: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(32);
    packet.extend(source_port.to_be_bytes());
    packet.extend(destination_port.to_be_bytes());
    // Verification tag and checksum: zero for an INIT, and filled in below.
    packet.extend([0; 8]);
    // Type INIT, no flags, 20 bytes.
    packet.extend([1, 0, 0, 20]);
    packet.extend(tag.to_be_bytes());
    // Window of 64 KiB, one stream each way, first sequence number 1.
    packet.extend([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    let checksum = crc32c(&packet).to_le_bytes();
    packet.splice(8..12, checksum);
    packet
}

/// CRC-32C, as RFC 9260, appendix A has it: connection tracking takes no packet without it.
fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

/// A tag that no other probe of this process has; never zero.
fn next_tag() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).max(1)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn sender(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| SocketAddrV4::from(*a).ip().to_owned().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddrV6::from(*a).ip().to_owned().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_rfc() {
        // RFC 3720, appendix B.4: 32 bytes of zeroes.
        assert_eq!(crc32c(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
    }

    #[test]
    fn an_init_is_32_bytes_with_its_tag() {
        let packet = init(1, 2, 0x0102_0304);
        assert_eq!((packet.len(), word(&packet, 0), word(&packet, 16)), (32, Some(0x0001_0002), Some(0x0102_0304)));
    }
}
