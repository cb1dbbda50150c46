//! What rules look at, and what they compare it with, as nft writes it in JSON (libnftables-json(5)).

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

/// Something that a rule looks at.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// `meta mark`, by key
    Meta(String),
    /// `tcp dport`: header and field
    Payload(String, String),
    /// `ct original proto-dst`: key, and whether it is of the original direction
    Ct(String, Option<bool>),
    /// `fib daddr type`, and nothing else but `type` of one address
    FibType { source: bool },
    /// `numgen`, of as many numbers
    Random(u128),
    /// A number
    Number(u128),
    /// `meta mark & 0xff`
    Binary(Operator, Box<(Expression, Expression)>),
    /// `ip daddr . tcp dport`
    Concatenation(Vec<Expression>),
    /// What this reader does not know, in words
    Other(String),
}

/// An operator on bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Xor,
}

/// What kind of value it is, which says what the words for values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    Port,
    Protocol,
    EtherType,
    FamilyNumber,
    State,
    Status,
    Direction,
    Mark,
    AddressType,
    PacketType,
    TcpFlags,
    Interface,
    Number,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pattern {
    /// A value under a mask
    Masked(u128, u128),
    /// From, to
    Range(u128, u128),
    /// An interface's name; one that ends with `*` stands for all that begin so
    Name(String),
    /// Any of these
    Set(Vec<Pattern>),
    /// One for each part of a concatenation
    Concatenation(Vec<Pattern>),
    /// What this reader does not know, in words
    Other(String),
}

impl Expression {
    pub fn read(json: &Value) -> Self {
        if let Some(number) = json.as_u64() {
            return Expression::Number(number.into());
        }
        Self::known(json).unwrap_or_else(|| Expression::Other(short(json)))
    }

    fn known(json: &Value) -> Option<Self> {
        let (name, body) = json.as_object()?.iter().next()?;
        let word = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        match name.as_str() {
            "meta" => word("key").map(Expression::Meta),
            "payload" => Some(Expression::Payload(word("protocol")?, word("field")?)),
            "ct" => Some(Expression::Ct(word("key")?, word("dir").map(|direction| direction == "original"))),
            "fib" if word("result")? == "type" => match body.get("flags")? {
                Value::String(flag) => fib(flag),
                Value::Array(flags) if flags.len() == 1 => fib(flags.first()?.as_str()?),
                _ => None,
            },
            "numgen" => Some(Expression::Random(body.get("mod")?.as_u64()?.into())),
            "concat" => Some(Expression::Concatenation(body.as_array()?.iter().map(Expression::read).collect())),
            "&" => binary(Operator::And, body),
            "|" => binary(Operator::Or, body),
            "^" => binary(Operator::Xor, body),
            _ => None,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Expression::Meta(key) => match key.as_str() {
                "l4proto" => Kind::Protocol,
                "protocol" => Kind::EtherType,
                "nfproto" => Kind::FamilyNumber,
                "mark" => Kind::Mark,
                "pkttype" => Kind::PacketType,
                "iif" | "oif" | "iifname" | "oifname" => Kind::Interface,
                _ => Kind::Number,
            },
            Expression::Payload(_, field) => match field.as_str() {
                "saddr" | "daddr" => Kind::Address,
                "sport" | "dport" => Kind::Port,
                "protocol" | "nexthdr" => Kind::Protocol,
                "flags" => Kind::TcpFlags,
                _ => Kind::Number,
            },
            Expression::Ct(key, _) => match key.as_str() {
                "state" => Kind::State,
                "status" => Kind::Status,
                "direction" => Kind::Direction,
                "mark" => Kind::Mark,
                "protocol" => Kind::Protocol,
                "proto-src" | "proto-dst" => Kind::Port,
                "saddr" | "daddr" | "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr" => Kind::Address,
                _ => Kind::Number,
            },
            Expression::FibType { .. } => Kind::AddressType,
            Expression::Binary(_, sides) => sides.0.kind(),
            _ => Kind::Number,
        }
    }
}

fn fib(flag: &str) -> Option<Expression> {
    match flag {
        "saddr" => Some(Expression::FibType { source: true }),
        "daddr" => Some(Expression::FibType { source: false }),
        _ => None,
    }
}

/// Newer versions of nft write more than two operands into one list.
fn binary(operator: Operator, operands: &Value) -> Option<Expression> {
    let mut operands = operands.as_array()?.iter();
    let first = Expression::read(operands.next()?);
    let kind = first.kind();
    let side = |json: &Value| match number(json, kind) {
        Some(number) => Expression::Number(number),
        None => Expression::read(json),
    };
    Some(operands.fold(first, |left, right| Expression::Binary(operator, Box::new((left, side(right))))))
}

/// The sets and maps of a table: their elements in JSON.
pub(super) type Sets<'a> = BTreeMap<&'a str, &'a Value>;

impl Pattern {
    /// Reads what `left` is compared with.
    pub fn read(json: &Value, left: &Expression, sets: &Sets<'_>) -> Self {
        Self::known(json, left, sets).unwrap_or_else(|| Pattern::Other(short(json)))
    }

    fn known(json: &Value, left: &Expression, sets: &Sets<'_>) -> Option<Self> {
        if let Some(named) = json.as_str().and_then(|word| word.strip_prefix('@')) {
            let set = sets.get(named)?;
            // Elements with a limit or a quota of their own match as long as that lets them.
            let counted = |statement: &Value| statement.get("counter").is_some();
            if set.get("stmt").and_then(Value::as_array).is_some_and(|all| !all.iter().all(counted)) {
                return None;
            }
            let elements = set.get("elem").and_then(Value::as_array);
            let elements = elements.into_iter().flatten().map(|element| Pattern::read(element, left, sets));
            return Some(Pattern::Set(elements.collect()));
        }
        if let Expression::Concatenation(parts) = left
            && let Some(values) = json.get("concat").and_then(Value::as_array)
        {
            let values = parts.iter().zip(values).map(|(part, value)| Pattern::read(value, part, sets));
            return Some(Pattern::Concatenation(values.collect()));
        }
        let kind = left.kind();
        if kind == Kind::Interface
            && let Some(name) = json.as_str()
        {
            return Some(Pattern::Name(name.to_owned()));
        }
        if let Some(value) = number(json, kind) {
            return Some(Pattern::Masked(value, u128::MAX));
        }
        let (name, body) = json.as_object()?.iter().next()?;
        match name.as_str() {
            "set" => Some(Pattern::Set(body.as_array()?.iter().map(|one| Pattern::read(one, left, sets)).collect())),
            "elem" if !["limit", "quota", "ct count", "last"].iter().any(|key| body.get(key).is_some()) => {
                Some(Pattern::read(body.get("val")?, left, sets))
            }
            "range" => Some(Pattern::Range(number(body.get(0)?, kind)?, number(body.get(1)?, kind)?)),
            "prefix" => prefix(body, kind),
            _ => None,
        }
    }
}

fn prefix(body: &Value, kind: Kind) -> Option<Pattern> {
    let address = body.get("addr")?;
    let length = u32::try_from(body.get("len")?.as_u64()?).ok()?;
    let width: u32 = match (address.as_str().map(str::parse), kind) {
        (Some(Ok(IpAddr::V4(_))), _) | (_, Kind::Mark) => 32,
        (Some(Ok(IpAddr::V6(_))), _) => 128,
        (_, Kind::Port) => 16,
        _ => return None,
    };
    let host_bits = 1_u128.checked_shl(width.checked_sub(length)?).map_or(u128::MAX, |size| size - 1);
    Some(Pattern::Masked(number(address, kind)?, !host_bits))
}

/// A constant: a number, a word for one, or flags, several of them as a list.
pub(super) fn number(json: &Value, kind: Kind) -> Option<u128> {
    match json {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::String(word) => named(word, kind),
        Value::Array(flags) => flags.iter().try_fold(0, |all, flag| Some(all | number(flag, kind)?)),
        Value::Object(object) => match object.get("|")? {
            Value::Array(flags) => flags.iter().try_fold(0, |all, flag| Some(all | number(flag, kind)?)),
            _ => None,
        },
        _ => None,
    }
}

/// An address as a number.
pub(super) fn address(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The numbers are those of the kernel's headers: linux/in.h, if_ether.h, nf_conntrack_common.h, rtnetlink.h, if_packet.h.
fn named(word: &str, kind: Kind) -> Option<u128> {
    if kind == Kind::Address {
        return word.parse().ok().map(address);
    }
    let names: &[(&str, u128)] = match kind {
        Kind::Protocol => &[
            ("icmp", 1),
            ("igmp", 2),
            ("tcp", 6),
            ("udp", 17),
            ("dccp", 33),
            ("gre", 47),
            ("esp", 50),
            ("ah", 51),
            ("ipv6-icmp", 58),
            ("icmpv6", 58),
            ("ospf", 89),
            ("vrrp", 112),
            ("sctp", 132),
            ("udplite", 136),
        ],
        Kind::EtherType => &[("ip", 0x0800), ("arp", 0x0806), ("vlan", 0x8100), ("ip6", 0x86dd)],
        Kind::FamilyNumber => &[("ipv4", 2), ("ipv6", 10)],
        Kind::State => &[("invalid", 1), ("established", 2), ("related", 4), ("new", 8), ("untracked", 64)],
        Kind::Status => &[
            ("expected", 1),
            ("seen-reply", 2),
            ("assured", 4),
            ("confirmed", 8),
            ("snat", 16),
            ("dnat", 32),
            ("dying", 512),
        ],
        Kind::Direction => &[("original", 0), ("reply", 1)],
        Kind::AddressType => &[
            ("unicast", 1),
            ("local", 2),
            ("broadcast", 3),
            ("anycast", 4),
            ("multicast", 5),
            ("blackhole", 6),
            ("unreachable", 7),
            ("prohibit", 8),
        ],
        Kind::PacketType => &[("host", 0), ("unicast", 0), ("broadcast", 1), ("multicast", 2), ("other", 3)],
        Kind::TcpFlags => {
            &[("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ecn", 64), ("cwr", 128)]
        }
        _ => &[],
    };
    let hexadecimal = || u128::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let found = names.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    found.or_else(|| word.parse().ok()).or_else(hexadecimal)
}

/// JSON that nobody here understands, for those who may.
pub(super) fn short(json: &Value) -> String {
    let text = json.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("`{}...`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}
