//! What is known of a packet when a rule looks at it.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Hook, Packet,
    expression::{Expression, Operator, Pattern, address},
    statement::Comparison,
    value::{Bits, Truth},
};
use crate::model::{Family, Protocol, Target, is_loopback};

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact {
    /// The packet has no such thing: the rule does not match, whatever it compares with
    Absent,
    /// One of these, and what it depends on which
    Bits(Vec<Bits>, String),
    /// A name
    Name(String),
    /// One for each part of a concatenation
    Parts(Vec<Fact>),
    /// Nothing is known; what it depends on
    Unknown(String),
}

/// Before or after our own translation of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Before,
    /// The chain has the priority of our own: it depends on which was there first
    Either,
    After,
}

/// The packet at the moment that a base chain is asked.
#[derive(Clone, Debug)]
pub(super) struct Moment<'a> {
    pub packet: &'a Packet,
    pub hook: Hook,
    pub view: View,
    /// Connection tracking knows the packet: false ahead of it, `None` if it may be exempt
    pub tracked: Option<bool>,
    /// A rule has exempted it
    pub exempt: bool,
    /// A process of this node sent it
    pub local: bool,
    /// The sender may have been hidden already
    pub source_hidden: bool,
    /// A rule of others may have changed the destination
    pub moved: bool,
    pub mark: Bits,
    pub connection_mark: Bits,
    pub own: &'a BTreeSet<IpAddr>,
}

fn exactly(value: impl Into<u128>) -> Fact {
    Fact::Bits(vec![Bits::exactly(value)], String::new())
}

fn bits(value: Bits, what: &str) -> Fact {
    Fact::Bits(vec![value], what.to_owned())
}

fn unknown(what: &str) -> Fact {
    Fact::Unknown(what.to_owned())
}

impl Moment<'_> {
    /// The value of an expression.
    pub fn fact(&self, expression: &Expression) -> Fact {
        match expression {
            Expression::Number(number) => exactly(*number),
            Expression::Meta(key) => self.meta(key),
            Expression::Payload(header, field) => self.payload(header, field),
            Expression::Ct(key, original) => self.ct(key, *original),
            Expression::FibType { source } => {
                let address = if *source { self.source() } else { self.destination(|target| address(target.address)) };
                self.address_type(address, if *source { Some(self.packet.source.0) } else { None })
            }
            Expression::Random(size) if *size <= 64 => {
                Fact::Bits((0..*size).map(Bits::exactly).collect(), "chance".to_owned())
            }
            Expression::Random(_) => unknown("chance"),
            Expression::Concatenation(parts) => Fact::Parts(parts.iter().map(|part| self.fact(part)).collect()),
            Expression::Binary(operator, sides) => self.binary(*operator, &sides.0, &sides.1),
            Expression::Other(words) => unknown(words),
        }
    }

    /// Whether a comparison holds.
    pub fn compare(&self, left: &Expression, comparison: Comparison, right: &Pattern) -> Truth {
        let fact = self.fact(left);
        if absent(&fact) {
            return Truth::No;
        }
        match (comparison, right, &fact) {
            (Comparison::Equal, ..) => matches(&fact, right),
            (Comparison::NotEqual, ..) => matches(&fact, right).not(),
            (_, Pattern::Masked(value, _), Fact::Bits(all, what)) => decide(all, what, |bits| match comparison {
                Comparison::AnyOf => bits.has_any(*value),
                Comparison::NoneOf => bits.has_any(*value).map(|has| !has),
                Comparison::Less => bits.within(*value, u128::MAX).map(|holds| !holds),
                Comparison::AtLeast => bits.within(*value, u128::MAX),
                Comparison::AtMost => bits.within(0, *value),
                _ => bits.within(0, *value).map(|holds| !holds),
            }),
            _ => matches(&fact, &Pattern::Other("a comparison that was not understood".to_owned())),
        }
    }

    fn binary(&self, operator: Operator, left: &Expression, right: &Expression) -> Fact {
        match (self.fact(left), self.fact(right)) {
            (Fact::Bits(left, what), Fact::Bits(right, other)) => {
                let apply = |a: Bits, b: Bits| match operator {
                    Operator::And => a.and(b),
                    Operator::Or => a.or(b),
                    Operator::Xor => a.xor(b),
                };
                let all = left.iter().flat_map(|a| right.iter().map(move |b| apply(*a, *b))).collect();
                Fact::Bits(all, if what.is_empty() { other } else { what })
            }
            (Fact::Absent, _) | (_, Fact::Absent) => Fact::Absent,
            (Fact::Unknown(what), _) | (_, Fact::Unknown(what)) => Fact::Unknown(what),
            _ => unknown("a comparison that was not understood"),
        }
    }

    fn meta(&self, key: &str) -> Fact {
        let family = self.packet.family;
        match key {
            "l4proto" => exactly(self.packet.protocol.number()),
            "nfproto" => exactly(if family == Family::V4 { 2_u8 } else { 10 }),
            "protocol" => exactly(if family == Family::V4 { 0x0800_u16 } else { 0x86dd }),
            "mark" => bits(self.mark, "the packet's mark"),
            "iif" | "iifname" => match (&self.packet.incoming, self.hook) {
                (Some(name), _) => Fact::Name(name.clone()),
                // A packet that was made here came by no interface, and that is what the kernel compares with.
                (None, Hook::Output) => Fact::Name(String::new()),
                (None, Hook::Postrouting) if self.local => Fact::Name(String::new()),
                (None, _) => unknown("the interface that the packet comes by"),
            },
            "oif" | "oifname" => match (&self.packet.outgoing, self.hook) {
                (_, Hook::Prerouting | Hook::Input) => Fact::Name(String::new()),
                (Some(name), _) => Fact::Name(name.clone()),
                (None, _) => unknown("the interface that the packet leaves by"),
            },
            // To this host, to another one, or outgoing; broadcasts and multicasts are no connections.
            "pkttype" => {
                let all = [0_u8, 3, 4].map(Bits::exactly).to_vec();
                Fact::Bits(all, "the packet's type".to_owned())
            }
            "skuid" | "skgid" | "cgroup" if !self.local => Fact::Absent,
            _ => unknown(&format!("`meta {key}`")),
        }
    }

    fn payload(&self, header: &str, field: &str) -> Fact {
        let transport = match header {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "sctp" => Some(Protocol::Sctp),
            _ => None,
        };
        let wrong_family = match header {
            "ip" => self.packet.family != Family::V4,
            "ip6" => self.packet.family != Family::V6,
            _ => false,
        };
        let wrong_protocol = transport.is_some_and(|protocol| protocol != self.packet.protocol)
            || ["icmp", "icmpv6", "igmp", "arp", "ah", "esp", "dccp", "udplite", "gre"].contains(&header);
        if wrong_family || wrong_protocol {
            return Fact::Absent;
        }
        match (header, field) {
            ("ip" | "ip6", "saddr") => self.source(),
            ("ip" | "ip6", "daddr") => self.destination(|target| address(target.address)),
            ("ip", "protocol") | ("ip6", "nexthdr") => exactly(self.packet.protocol.number()),
            ("ip", "version") => exactly(4_u8),
            ("ip6", "version") => exactly(6_u8),
            // Not a fragment; that it may not become one is up to the sender.
            ("ip", "frag-off") => bits(Bits::partly(0, !0x4000), "whether the packet may be split"),
            ("tcp" | "udp" | "sctp" | "th", "dport") => self.destination(|target| target.port.into()),
            ("tcp" | "udp" | "sctp" | "th", "sport") => match self.packet.source.1 {
                Some(port) if !self.source_hidden => exactly(port),
                _ => bits(Bits::partly(0, !0xffff), "the client's port"),
            },
            // The first packet of a connection; one that can take notice of congestion says so in two more.
            ("tcp", "flags") => bits(Bits::partly(2, !0xc0), "what the client tells of congestion"),
            _ => unknown(&format!("`{header} {field}`")),
        }
    }

    fn source(&self) -> Fact {
        if self.source_hidden {
            return unknown("the sender's address, which may have been hidden before");
        }
        exactly(address(self.packet.source.0))
    }

    fn destination(&self, part: impl Fn(&Target) -> u128) -> Fact {
        let (dialled, destination) = (part(&self.packet.dialled), part(&self.packet.destination));
        let either = || Fact::Bits([dialled, destination].map(Bits::exactly).to_vec(), ORDER.to_owned());
        match self.view {
            _ if self.moved => unknown("a translation before"),
            View::Before => exactly(dialled),
            View::After => exactly(destination),
            View::Either if dialled == destination => exactly(destination),
            View::Either => either(),
        }
    }

    /// `source` is the address, if it is the sender's: loopback addresses are local without being in the list.
    fn address_type(&self, address: Fact, source: Option<IpAddr>) -> Fact {
        let Fact::Bits(all, what) = address else { return address };
        let candidates = match source {
            Some(source) => vec![source],
            None => vec![self.packet.dialled.address, self.packet.destination.address],
        };
        let mut types = Vec::new();
        for bits in all {
            let found =
                candidates.iter().find(|candidate| bits.exact() == Some(super::expression::address(**candidate)));
            let Some(address) = found else { return unknown("an address") };
            if self.own.contains(address) || is_loopback(*address) {
                types.push(2);
            } else if address.is_ipv4() {
                types.push(1);
            } else {
                // Of IPv6 addresses the routes say more than whether they are local.
                types.extend([1, 4, 6, 7, 8]);
            }
        }
        let what = if what.is_empty() { "the route to the address".to_owned() } else { what };
        Fact::Bits(types.into_iter().map(|number: u128| Bits::exactly(number)).collect(), what)
    }

    fn ct(&self, key: &str, original: Option<bool>) -> Fact {
        if key == "state" {
            let state = match (self.tracked, self.exempt) {
                (Some(true), _) => 8_u8,
                (Some(false), true) => 64,
                // Ahead of connection tracking a packet is `invalid`.
                (Some(false), false) => 1,
                (None, _) => return unknown("whether the connection is tracked"),
            };
            return exactly(state);
        }
        match self.tracked {
            Some(true) => {}
            Some(false) => return Fact::Absent,
            None => return unknown("whether the connection is tracked"),
        }
        let packet = self.packet;
        match (key, original) {
            ("status", _) => self.status(),
            ("direction", _) => exactly(0_u8),
            ("mark", _) => bits(self.connection_mark, "the connection's mark"),
            ("protocol", _) => exactly(packet.protocol.number()),
            ("proto-dst", Some(true)) if !self.moved => exactly(packet.dialled.port),
            ("proto-src", Some(true)) => match packet.source.1 {
                Some(port) => exactly(port),
                None => bits(Bits::partly(0, !0xffff), "the client's port"),
            },
            ("daddr" | "ip daddr" | "ip6 daddr" | "saddr" | "ip saddr" | "ip6 saddr", Some(true)) if !self.moved => {
                let other = if packet.family == Family::V4 { "ip6" } else { "ip " };
                if key.starts_with(other) {
                    Fact::Absent
                } else if key.ends_with("daddr") {
                    exactly(address(packet.dialled.address))
                } else if self.source_hidden {
                    unknown("the client's address")
                } else {
                    exactly(address(packet.source.0))
                }
            }
            _ => unknown(&format!("`ct {key}`")),
        }
    }

    /// `dnat` and `snat`, as far as they are decided, and that nothing was answered; all else is left open.
    fn status(&self) -> Fact {
        let (dialled, destination) = (self.packet.dialled, self.packet.destination);
        let translated = match self.view {
            _ if self.moved => None,
            View::Before => Some(false),
            View::After => Some(dialled != destination),
            View::Either => (dialled == destination).then_some(false),
        };
        let mut known = 0x7_u128 | !0xffff;
        known |= if translated.is_some() { 0x20 } else { 0 };
        known |= if self.source_hidden { 0 } else { 0x10 };
        let value = if translated == Some(true) { 0x20 } else { 0 };
        bits(Bits::partly(value, known), "the connection's status")
    }
}

/// Why it is not known whether a chain at our own priority comes before us.
pub(super) const ORDER: &str = "whether the chain is asked before Portolan's, at the same priority";

fn absent(fact: &Fact) -> bool {
    match fact {
        Fact::Absent => true,
        Fact::Parts(parts) => parts.iter().any(absent),
        _ => false,
    }
}

/// Whether all values agree.
fn decide(all: &[Bits], what: &str, holds: impl Fn(Bits) -> Option<bool>) -> Truth {
    let mut answers = all.iter().map(|bits| holds(*bits));
    let first = answers.next().flatten();
    Truth::of(first.filter(|_| answers.all(|answer| answer == first)), what)
}

/// Whether a value is one of a pattern.
pub(super) fn matches(fact: &Fact, pattern: &Pattern) -> Truth {
    match (fact, pattern) {
        (Fact::Absent, _) => Truth::No,
        (Fact::Parts(facts), Pattern::Concatenation(patterns)) if facts.len() == patterns.len() => {
            let mut parts = facts.iter().zip(patterns).map(|(fact, pattern)| matches(fact, pattern));
            parts.by_ref().fold(Truth::Yes, Truth::and)
        }
        // One of the values may be in one part of a set and another one in another.
        (Fact::Bits(all, what), Pattern::Set(patterns)) if all.len() > 1 => {
            let mut each = all.iter().map(|bits| matches(&Fact::Bits(vec![*bits], what.clone()), pattern));
            let first = each.next().unwrap_or(Truth::No);
            if each.all(|other| other == first) { first } else { Truth::unknown(what) }
        }
        (_, Pattern::Set(patterns)) => {
            let mut sum = Truth::No;
            for one in patterns {
                match matches(fact, one) {
                    Truth::Yes => return Truth::Yes,
                    other => sum = sum.or(other),
                }
            }
            sum
        }
        (Fact::Unknown(what), _) => Truth::unknown(what),
        (_, Pattern::Other(words)) => Truth::unknown(words),
        (Fact::Bits(all, what), Pattern::Masked(value, mask)) => decide(all, what, |bits| bits.equals(*value, *mask)),
        (Fact::Bits(all, what), Pattern::Range(first, last)) => decide(all, what, |bits| bits.within(*first, *last)),
        (Fact::Name(name), Pattern::Name(pattern)) => Truth::of(Some(named(name, pattern)), ""),
        // Such as an interface that is gone, which nft lists by its number.
        _ => Truth::unknown("a comparison that was not understood"),
    }
}

/// Whether an interface's name is meant: `eth*` means all that begin so, `eth\*` one with an asterisk.
fn named(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(exact) if exact.ends_with('\\') => name == format!("{}*", exact.trim_end_matches('\\')),
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}
