//! What became of real packets: from the kernel's trace events to words. Pure: the events come from [`crate::kernel::trace`].
//!
//! The kernel tells each rule that a traced packet met, by table and handle, and the packet's headers once for each base
//! chain. So a translation shows as another destination at the next base chain.

mod gather;
mod names;
mod summary;
mod tell;
#[cfg(test)]
mod tests;

pub use gather::{Gatherer, Passage};
pub use names::{Names, Owner, RuleId, rules_of_listing};
pub use summary::{Question, sentence};
pub use tell::{Outcome, Step, Told, tell};

use std::{fmt, net::IpAddr};

use serde::Serialize;

use crate::{
    model::{Family, Protocol, Target},
    tables::{TABLE, standby},
};

/// What stands in front of the name of each table that traces.
pub const TABLE_PREFIX: &str = "portolan-trace-";

/// Whether a table is that of the program.
fn is_programs(table: &str) -> bool {
    table == TABLE || table == standby(TABLE)
}

/// The packets that are traced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Who sends them
    pub from: Sender,
    /// Where they go to, before any translation
    pub destination: IpAddr,
    /// Their protocol; `None` for every one that Services know
    pub protocol: Option<Protocol>,
    /// Their destination port; `None` for every one
    pub port: Option<u16>,
}

/// Who sends packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// Anybody, a process of this node too
    Anybody,
    /// Whoever has this address
    Address(IpAddr),
    /// A process of this node
    Host,
}

impl Flow {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.destination)
    }
}

impl fmt::Display for Flow {
    /// What is waited for, without the sender: `10.96.0.10:80/TCP`, `10.96.0.10:80`, `10.96.0.10`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", Target { address: self.destination, port })?,
            None => write!(f, "{}", self.destination)?,
        }
        self.protocol.map_or(Ok(()), |protocol| write!(f, "/{protocol}"))
    }
}

/// One thing that happened to a traced packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The packet, as the kernel numbers it; numbers come back
    pub id: u32,
    /// The table's family, as nft writes it
    pub family: &'static str,
    /// The table
    pub table: String,
    /// The chain
    pub chain: String,
    /// What it is that decided
    pub by: By,
    /// What it decided
    pub verdict: Verdict,
    /// The packet as it is here; only in the first event of a base chain
    pub headers: Option<Headers>,
    /// The interface that it came by, known like the headers
    pub incoming: Option<String>,
    /// The interface that it leaves by, where that is decided already
    pub outgoing: Option<String>,
    /// What connection tracking says of it; `None` too before it was asked, from kernels before 6.16, which do not tell, and
    /// from those that do not tell of packets that belong to no connection
    pub tracking: Option<Tracking>,
}

/// What decides about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The rule with this handle
    Rule(u64),
    /// No rule: the rules of a chain came to their end
    End,
    /// The end of a chain that was jumped to, or `return`
    Return,
    /// The policy of a base chain
    Policy,
}

/// What is decided about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This base chain is done with it
    Accept,
    /// It ends here; after a `reject` too
    Drop,
    /// A program gets it
    Queue,
    /// Somebody in the kernel keeps it
    Stolen,
    /// On to the next rule
    Continue,
    /// Back to where the jump was
    Return,
    /// Into a chain, and back
    Jump(String),
    /// Into a chain for good
    Goto(String),
}

/// Addresses and ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Protocol
    pub protocol: Protocol,
    /// Where it comes from
    pub source: Target,
    /// Where it goes to
    pub destination: Target,
}

/// What a packet is to connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tracking {
    /// The first one of a connection, or before an answer to it
    New,
    /// Of a connection that is known
    Known,
    /// Left alone
    Untracked,
    /// Of no connection, and such as cannot open one
    Invalid,
}
