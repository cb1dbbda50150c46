//! recvmmsg(2) and sendmmsg(2) with the addresses of both ends: the one module with `unsafe`.
//!
//! nix has safe wrappers. They are not used because its `recvmmsg` does not restore the length of the control buffers
//! that the kernel overwrites, so that the address asked is lost once a message had more or less beside it than the one
//! before, and because its `sendmmsg` has one source address for a whole batch.
//!
//! Why this is sound: every pointer that is given to the kernel is made from a live borrow in the same function as the
//! call, with the length of what it points to, and none outlives that function. The kernel writes no more than those
//! lengths (recvmmsg(2)) and says how many messages it filled; only these are read. Names and control messages are read
//! with the length that the kernel gave, never beyond the buffer, and unaligned.
#![allow(unsafe_code)]

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use nix::libc;

/// So many datagrams at a time.
pub(super) const BATCH: usize = 32;

/// Octets for control messages: a `in6_pktinfo` and a counter take 64.
const CONTROL: usize = 128;

/// Buffers of one batch.
pub(super) type Buffers<const SIZE: usize> = Box<[[u8; SIZE]; BATCH]>;

/// What is known of a received datagram besides its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    /// How much of its buffer it fills
    pub length: usize,
    /// Who sent it
    pub peer: SocketAddr,
    /// Where to, if the socket tells
    pub local: Option<Local>,
    /// How many datagrams the socket has dropped so far, if any
    pub overflowed: Option<u32>,
}

/// An address of this host, by which a datagram came or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    pub address: IpAddr,
    /// Index of the interface it came in by
    pub interface: u32,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    pub bytes: &'a [u8],
    pub peer: SocketAddr,
    /// The source address; none for that of the socket
    pub local: Option<Local>,
}

/// Aligned as control messages want it.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Large enough for both families, and aligned for them.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Zeroes: valid for every type of this module, which are all plain numbers and raw pointers.
fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` is implemented below for types of which all zeroes are a value.
    unsafe { mem::zeroed() }
}

/// Types of which all zeroes are a value.
trait Plain {}
impl Plain for Name {}
impl Plain for libc::msghdr {}
impl Plain for libc::sockaddr_in {}
impl Plain for libc::sockaddr_in6 {}
impl Plain for libc::in_pktinfo {}
impl Plain for libc::in6_pktinfo {}

/// Receives up to a batch of datagrams: waits for the first one, as long as the socket's patience lasts, unless `wait` is
/// false, and takes with it what else is there. What is longer than `SIZE` is cut. `datagrams` is cleared first.
///
/// # Errors
/// As recvmmsg(2); `WouldBlock` if there is none.
pub(super) fn receive<const SIZE: usize>(
    socket: BorrowedFd,
    buffers: &mut Buffers<SIZE>,
    datagrams: &mut Vec<Datagram>,
    wait: bool,
) -> io::Result<()> {
    datagrams.clear();
    let mut names: [Name; BATCH] = [zeroed(); BATCH];
    // The kernel writes what it says it wrote; the rest is never read.
    let mut controls: [MaybeUninit<Control>; BATCH] = [MaybeUninit::uninit(); BATCH];
    let mut vectors: [libc::iovec; BATCH] =
        std::array::from_fn(|index| libc::iovec { iov_base: buffers[index].as_mut_ptr().cast(), iov_len: SIZE });
    let mut headers: [libc::mmsghdr; BATCH] = std::array::from_fn(|index| {
        let mut header: libc::msghdr = zeroed();
        header.msg_name = ptr::from_mut(&mut names[index]).cast();
        header.msg_namelen = mem::size_of::<Name>() as libc::socklen_t;
        header.msg_iov = &raw mut vectors[index];
        header.msg_iovlen = 1;
        header.msg_control = controls[index].as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        libc::mmsghdr { msg_hdr: header, msg_len: 0 }
    });
    let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
    // SAFETY: `headers` are BATCH valid headers; all that they point to lives until the end of this function, is as long
    // as they say, and is not touched by anybody else meanwhile: `buffers` is borrowed for writing.
    let received =
        unsafe { libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as _, flags as _, ptr::null_mut()) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (header, name) in headers.iter().zip(&names).take(received) {
        // SAFETY: recvmmsg filled this header.
        let (local, overflowed) = unsafe { read_control(&header.msg_hdr) };
        // A socket of another family than it was made for there is not; length 0 is what nobody answers.
        let peer = read_name(name, header.msg_hdr.msg_namelen);
        datagrams.push(Datagram { length: (header.msg_len as usize).min(SIZE), peer, local, overflowed });
    }
    Ok(())
}

/// Sends datagrams, as many of a batch as go at once. Returns how many went; at least one.
///
/// # Errors
/// As sendmmsg(2), of the first datagram.
pub(super) fn send(socket: BorrowedFd, outgoing: &[Outgoing]) -> io::Result<usize> {
    let count = outgoing.len().min(BATCH);
    let mut names: [Name; BATCH] = [zeroed(); BATCH];
    let mut controls: [Control; BATCH] = [Control([0; CONTROL]); BATCH];
    let mut vectors: [libc::iovec; BATCH] = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
    let mut headers: [libc::mmsghdr; BATCH] = std::array::from_fn(|_| libc::mmsghdr { msg_hdr: zeroed(), msg_len: 0 });
    for (index, out) in outgoing[..count].iter().enumerate() {
        // The kernel only reads what a vector to be sent points to.
        vectors[index] = libc::iovec { iov_base: out.bytes.as_ptr().cast_mut().cast(), iov_len: out.bytes.len() };
        let header = &mut headers[index].msg_hdr;
        header.msg_namelen = write_name(&mut names[index], out.peer);
        header.msg_name = ptr::from_mut(&mut names[index]).cast();
        header.msg_iov = &raw mut vectors[index];
        header.msg_iovlen = 1;
        if let Some(local) = out.local {
            header.msg_control = ptr::from_mut(&mut controls[index]).cast();
            header.msg_controllen = CONTROL as _;
            // SAFETY: the control buffer of this header is CONTROL octets long, aligned and zeroed.
            unsafe { write_control(header, local) };
        }
    }
    // SAFETY: the first `count` headers are valid; all that they point to lives until the end of this function and is as
    // long as they say.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as _, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// An address as the kernel wrote it; port 0 if it wrote none.
fn read_name(name: &Name, length: libc::socklen_t) -> SocketAddr {
    // SAFETY: the union was zeroed and then written by the kernel: all of its octets are initialised, and both variants
    // are plain numbers that begin with the family.
    unsafe {
        if length as usize >= mem::size_of::<libc::sockaddr_in6>() && name.v6.sin6_family == libc::AF_INET6 as u16 {
            let v6 = name.v6;
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            SocketAddrV6::new(address, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into()
        } else {
            let v4 = name.v4;
            SocketAddrV4::new(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()), u16::from_be(v4.sin_port)).into()
        }
    }
}

fn write_name(name: &mut Name, address: SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            let mut to: libc::sockaddr_in = zeroed();
            to.sin_family = libc::AF_INET as u16;
            to.sin_port = v4.port().to_be();
            to.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            name.v4 = to;
            mem::size_of_val(&to) as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            let mut to: libc::sockaddr_in6 = zeroed();
            to.sin6_family = libc::AF_INET6 as u16;
            to.sin6_port = v6.port().to_be();
            to.sin6_addr.s6_addr = v6.ip().octets();
            to.sin6_scope_id = v6.scope_id();
            name.v6 = to;
            mem::size_of_val(&to) as libc::socklen_t
        }
    }
}

/// Where a datagram was sent to, and how many were dropped.
///
/// # Safety
/// `header` was filled by recvmmsg, and its control buffer is still there.
unsafe fn read_control(header: &libc::msghdr) -> (Option<Local>, Option<u32>) {
    let (mut local, mut overflowed) = (None, None);
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay inside the `msg_controllen` octets that the kernel wrote; it writes whole
    // control messages, of which the three that are read have the type that stands here.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while !at.is_null() {
            let data = libc::CMSG_DATA(at);
            match ((*at).cmsg_level, (*at).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    local = Some(Local { address: address.into(), interface: info.ipi_ifindex as u32 });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    local = Some(Local { address: address.into(), interface: info.ipi6_ifindex });
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => overflowed = Some(ptr::read_unaligned(data.cast())),
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    (local, overflowed)
}

/// Writes the source address of a datagram, and sets the length of the control buffer to what that takes.
///
/// # Safety
/// The control buffer of `header` is aligned, and as long as it says: at least CMSG_SPACE of a `in6_pktinfo`.
unsafe fn write_control(header: &mut libc::msghdr, local: Local) {
    // SAFETY: there is room for one control message of either kind, see above.
    unsafe {
        let at = libc::CMSG_FIRSTHDR(header);
        let length = match local.address {
            IpAddr::V4(address) => {
                let mut info: libc::in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(address.octets());
                put(at, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            IpAddr::V6(address) => {
                let mut info: libc::in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = address.octets();
                // Addresses of a link mean something on that link only. Elsewhere routing may choose another way back.
                if address.is_unicast_link_local() {
                    info.ipi6_ifindex = local.interface;
                }
                put(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        };
        header.msg_controllen = length as _;
    }
}

/// Writes one control message. Returns what it takes.
///
/// # Safety
/// There is room for it at `at`, which is aligned.
unsafe fn put<T>(at: *mut libc::cmsghdr, level: libc::c_int, kind: libc::c_int, value: T) -> usize {
    let size = mem::size_of::<T>() as libc::c_uint;
    // SAFETY: see above; CMSG_LEN and CMSG_SPACE only reckon.
    unsafe {
        (*at).cmsg_level = level;
        (*at).cmsg_type = kind;
        (*at).cmsg_len = libc::CMSG_LEN(size) as _;
        ptr::write_unaligned(libc::CMSG_DATA(at).cast(), value);
        libc::CMSG_SPACE(size) as usize
    }
}
