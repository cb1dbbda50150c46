//! What nftables rules of others do with a packet, in as far as that can be told from reading them.
//!
//! Read is what `nft -j list` prints, expression by expression. A rule may ask what is not known before the packet is
//! sent - the client's port, a limit, a set that changes - or something that this reader does not understand: then it may
//! match or not, and what follows is said with what it depends on.

mod compat;
mod expression;
mod facts;
mod ruleset;
mod statement;
mod value;
mod walk;

pub use ruleset::Ruleset;

use crate::model::{Family, Protocol, Target};

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
    /// Only for [`Fate::Translated`]: where to, if the rule names one address
    pub to: Option<Target>,
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
    /// Kept from connection tracking, so that nothing translates it
    Untracked,
}

/// No sensible ruleset makes a packet meet as many rules.
pub const MOST_RULES: usize = 1 << 20;

impl Ruleset {
    /// What the rules at these hooks do with the first packet of a connection, in the order in which the kernel asks them, up
    /// to the first that certainly ends its way. Hooks are asked in the order given, each with the packet that belongs to it.
    ///
    /// A finding that is certain happens whatever the unknown things are, unless one before it happens first.
    ///
    /// At [`Hook::Prerouting`] and [`Hook::Output`] the packet is as it was before our translation, but for its
    /// `destination`: chains with a priority below ours see what was `dialled`, those above it the `destination` and the mark
    /// that the packet has at the next hook of the way. Of a chain with the very priority of ours (-100, where kube-proxy's and
    /// iptables' nat chains stand) it is not known whether it is asked before ours. A nat chain above it is asked only if ours
    /// does not translate, which is when the two are the same.
    ///
    /// At most `left` rules are asked, and `left` becomes what is left of that: many packets may share one limit, such as
    /// [`MOST_RULES`]. Where it is reached, what follows is not certain.
    pub fn pass(&self, way: &[(Hook, Packet)], left: &mut usize) -> Vec<Finding> {
        let mut walk = walk::Walk::new(self, way.iter().any(|(hook, _)| *hook == Hook::Output), *left);
        for (index, (hook, packet)) in way.iter().enumerate() {
            let next_mark = way.get(index + 1).map_or(packet.mark, |(_, next)| next.mark);
            if !walk.hook(*hook, packet, next_mark) {
                break;
            }
        }
        let findings;
        (findings, *left) = walk.end();
        findings
    }
}

#[cfg(test)]
mod tests;
