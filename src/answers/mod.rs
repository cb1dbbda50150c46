//! From the bytes of a query to the bytes of its answer. Pure: what time it is and which order is wanted comes in.

pub mod extras;

use std::net::IpAddr;

/// How a query arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram
    Udp,
    /// A stream
    Tcp,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Their address
    pub address: IpAddr,
    /// How
    pub transport: Transport,
}
