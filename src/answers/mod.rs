//! From the bytes of a query to the bytes of its answer. Pure: what time it is and which order is wanted comes in.

mod block;
mod chain;
mod cluster;
pub mod extras;
pub mod foreign;
mod forwarded;
mod link;
mod local;
pub mod message;
pub mod name;
mod order;
mod pending;
pub mod query;
mod records;
mod restore;
mod site;
pub mod why;

use std::net::IpAddr;

use domain::base::iana::Rcode;

pub use message::Ede;
pub use pending::{Finish, Pending};
pub use site::{Outcome, Reply, Site, Source, Sources};

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

/// Why nobody could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// SERVFAIL, or REFUSED for what is not asked on anybody's behalf
    pub rcode: Rcode,
    /// What the client is told besides, if it takes EDNS
    pub ede: Option<Ede>,
}
