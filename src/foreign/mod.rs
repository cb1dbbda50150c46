//! What nftables rules of others do with a packet, in as far as that can be told from reading them.

use crate::model::{Family, Protocol, Target};

/// Tables that are not ours, as nft lists them in JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {}

/// A place where the kernel asks rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Every packet that arrives
    Prerouting,
    /// Packets for this node
    Input,
    /// Packets that are passed on
    Forward,
    /// Packets of this node's processes
    Output,
    /// Packets that leave, passed on or not
    Postrouting,
}

/// The first packet of a connection, as it is at one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Family
    pub family: Family,
    /// Protocol
    pub protocol: Protocol,
    /// Source; the port is seldom known before the packet is sent
    pub source: (std::net::IpAddr, Option<u16>),
    /// Destination as it is now
    pub destination: Target,
    /// Destination as it was dialled
    pub dialled: Target,
    /// The interface it came by, where known; none for packets of this node
    pub incoming: Option<String>,
    /// The interface it leaves by, where known
    pub outgoing: Option<String>,
    /// The packet's mark
    pub mark: u32,
}

/// Something that rules of others do, or may do, with the packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What happens to it
    pub fate: Fate,
    /// False if it depends on something that is not known, such as the interface, a mark or a limit
    pub certain: bool,
    /// The rule, or the chain's policy: `ip filter FORWARD: iifname "eth0" drop`, as nft names and writes it
    pub rule: String,
    /// Only for a finding that is not certain: what it depends on
    pub depends_on: Vec<String>,
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Thrown away silently
    Dropped,
    /// Answered with an error
    Refused,
    /// Sent elsewhere by a translation of addresses
    Translated,
}

impl Ruleset {
    /// What the rules at these hooks do with a packet, in the order in which the kernel asks them, up to the first that
    /// certainly ends its way. Hooks are asked in the order given, each with the packet that belongs to it.
    pub fn pass(&self, _way: &[(Hook, Packet)]) -> Vec<Finding> {
        Vec::new()
    }
}
