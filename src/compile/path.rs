//! What the fixed program does with the first packet of a connection to a frontend, from one sender: the policy chains
//! of rules/ipv4.nft, section "Who gets what" of rules/README.md.

use std::net::IpAddr;

use super::{FrontendPlan, PortPlan};
use crate::{
    model::{Family, Node, Settings, Target},
    tables::{DeadEnd, List, Policy},
};

/// Who sends a packet, as the rules of the node see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The source address, where it is known; nobody in particular is let in by every source range
    pub address: Option<IpAddr>,
    /// The detector recognises a pod
    pub pod: bool,
    /// The packet comes from this node itself
    pub host: bool,
}

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path<'a> {
    /// Dropped: the sender is in none of the source ranges
    NotAllowed,
    /// Nobody to serve it
    DeadEnd {
        /// What happens to it
        verdict: DeadEnd,
        /// The list that it would be served from
        list: List,
    },
    /// Sent to any one of these
    Served {
        /// The list they are on
        list: List,
        /// The endpoints
        targets: &'a [Target],
        /// Why the sender's address is hidden from them, if it is
        hidden: Option<Hidden>,
    },
}

/// Why the address of a sender is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// A cluster IP, and everybody is hidden there (`--masquerade-all`)
    Everybody,
    /// A cluster IP, and the sender is not recognised as a pod
    NotPod,
    /// An external frontend with policy Cluster
    External,
    /// An external frontend with policy Local, and the sender is this node
    Host,
}

/// The way of a packet from `sender` to a frontend of `port`.
pub fn path<'a>(frontend: &FrontendPlan, port: &'a PortPlan, sender: &Sender, settings: &Settings) -> Path<'a> {
    let allows = |address: IpAddr| frontend.allowed.as_ref().is_none_or(|all| all.iter().any(|r| r.contains(address)));
    if sender.address.is_some_and(|address| !allows(address)) {
        return Path::NotAllowed;
    }
    let family = frontend.frontend.family();
    let (list, hidden) = policy(frontend.policy, family, sender, settings);
    let (used, targets) = match list {
        List::All => (frontend.all, &port.selection.all),
        List::Local => (frontend.local, &port.selection.local),
    };
    match (used, frontend.dead_end) {
        (true, _) => Path::Served { list, targets, hidden },
        // The plan has a dead end wherever one of its lists is missing.
        (false, verdict) => Path::DeadEnd { verdict: verdict.unwrap_or(DeadEnd::Drop), list },
    }
}

/// The list that a policy chain picks from, and whether it hides the sender.
fn policy(policy: Policy, family: Family, sender: &Sender, settings: &Settings) -> (List, Option<Hidden>) {
    let hidden = match (settings.masquerade_all, settings.detector.detects(family), sender.pod) {
        (true, ..) => Some(Hidden::Everybody),
        (false, true, false) => Some(Hidden::NotPod),
        (false, ..) => None,
    };
    match policy {
        Policy::Internal => (List::All, hidden),
        Policy::InternalLocal => (List::Local, hidden),
        Policy::External => (List::All, Some(Hidden::External)),
        Policy::ExternalLocal if sender.pod => (List::All, None),
        Policy::ExternalLocal if sender.host => (List::All, Some(Hidden::Host)),
        Policy::ExternalLocal => (List::Local, None),
    }
}

/// Whether the endpoint sees this node's address in place of the sender's: `hidden` says what the policy asks for. An
/// endpoint that is sent to itself is hidden in any case, one in the node's own network namespace never is, unless the
/// sender is there, too: what arrives for it does not pass postrouting (section 3.4).
pub fn is_hidden(target: Target, sender: &Sender, hidden: Option<Hidden>, port: &PortPlan, node: &Node) -> bool {
    let hairpin = sender.address == Some(target.address) && port.hairpins.contains(&target);
    let of_node = node.addresses.contains(&target.address) || node.interface_addresses.contains(&target.address);
    (hidden.is_some() || hairpin) && (sender.host || !of_node)
}
