//! What a rule consists of.

use serde_json::Value;

use super::expression::{Expression, Kind, Pattern, Sets, number, short};

/// One part of a rule. A rule goes on to its next part as long as its matches hold and no verdict ends it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Statement {
    /// A comparison
    Match(Expression, Comparison, Pattern),
    /// Something that may end the rule here; in words what it depends on
    Perhaps(String),
    /// A verdict
    Verdict(Verdict),
    /// A verdict for each value
    VerdictMap(Expression, Vec<(Pattern, Verdict)>),
    /// Sets the packet's mark
    SetMark(Expression),
    /// Sets the connection's mark
    SetConnectionMark(Expression),
    /// Ends the packet's way with an error to the sender
    Reject,
    /// Leaves the packet to a program that listens, as the words say
    HandOver(String),
    /// Gives the packet to a socket of this node, if one is there
    TransparentProxy(String),
    /// Keeps the packet from connection tracking
    NoTrack,
    /// Sends the connection elsewhere
    Translate(Translation),
    /// Hides the sender; ends the chain
    HideSource,
    /// Writes another destination into the packet
    Rewrite,
}

/// How a match compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    /// Has any of these bits
    AnyOf,
    /// Has none of these bits
    NoneOf,
    Less,
    More,
    AtMost,
    AtLeast,
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Continue,
    Return,
    Jump(String),
    Goto(String),
}

/// A translation of the destination.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Translation {
    /// Only packets of this family: 4 or 6
    pub family: Option<u8>,
    /// The address, if it is one; none for this node itself
    pub address: Option<u128>,
    /// The port, if it is one; the packet's own if none is set
    pub port: Option<u128>,
    /// There is an address and a port that it depends on the packet or on chance which
    pub several: bool,
    /// A translation by a map: what is looked up, and the values that it knows
    pub key: Option<(Expression, Pattern)>,
}

impl Statement {
    /// Reads one expression of a rule. `None` is one that does nothing to the packet: counters, logs, comments.
    pub fn read(json: &Value, sets: &Sets<'_>) -> Option<Self> {
        let Some((name, body)) = json.as_object().and_then(|object| object.iter().next()) else {
            return Some(Statement::Perhaps(short(json)));
        };
        if let Some(verdict) = Verdict::read(json) {
            return Some(Statement::Verdict(verdict));
        }
        Some(match name.as_str() {
            "counter" | "log" | "dup" | "flow" => return None,
            "match" => comparison(body, sets).unwrap_or_else(|| Statement::Perhaps(short(body))),
            "vmap" => verdict_map(body, sets).unwrap_or_else(|| Statement::Perhaps(short(body))),
            "mangle" => return mangle(body),
            // Adding to a set ends no rule, but for a limit at the element.
            "set" | "map" if body.get("stmt").is_none() => return None,
            "reject" => Statement::Reject,
            "queue" => Statement::HandOver("what the program decides that listens to the queue".to_owned()),
            "synproxy" => Statement::HandOver("the kernel's SYN proxy".to_owned()),
            "tproxy" => Statement::TransparentProxy("whether a process listens for it".to_owned()),
            "notrack" => Statement::NoTrack,
            "dnat" => Statement::Translate(translation(body, sets)),
            "redirect" => Statement::Translate(Translation { address: None, ..translation(body, sets) }),
            "snat" | "masquerade" => Statement::HideSource,
            "limit" => Statement::Perhaps("the limit".to_owned()),
            "quota" => Statement::Perhaps("the quota".to_owned()),
            "ct count" => Statement::Perhaps("the number of connections".to_owned()),
            _ => Statement::Perhaps(short(json)),
        })
    }
}

impl Verdict {
    fn read(json: &Value) -> Option<Self> {
        let (name, body) = json.as_object()?.iter().next()?;
        let target = || Some(body.get("target")?.as_str()?.to_owned());
        match name.as_str() {
            "accept" => Some(Verdict::Accept),
            "drop" => Some(Verdict::Drop),
            "continue" => Some(Verdict::Continue),
            "return" => Some(Verdict::Return),
            "jump" => target().map(Verdict::Jump),
            "goto" => target().map(Verdict::Goto),
            _ => None,
        }
    }
}

fn comparison(body: &Value, sets: &Sets<'_>) -> Option<Statement> {
    let left = Expression::read(body.get("left")?);
    let right = Pattern::read(body.get("right")?, &left, sets);
    let is_value = matches!(right, Pattern::Masked(_, u128::MAX));
    let comparison = match body.get("op")?.as_str()? {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "in" if is_value => Comparison::AnyOf,
        "in" => Comparison::Equal,
        "!" if is_value => Comparison::NoneOf,
        "<" => Comparison::Less,
        ">" => Comparison::More,
        "<=" => Comparison::AtMost,
        ">=" => Comparison::AtLeast,
        _ => return None,
    };
    Some(Statement::Match(left, comparison, right))
}

fn verdict_map(body: &Value, sets: &Sets<'_>) -> Option<Statement> {
    let key = Expression::read(body.get("key")?);
    let read = |pair: &Value| {
        let pattern = Pattern::read(pair.get(0)?, &key, sets);
        Some((pattern, Verdict::read(pair.get(1)?)?))
    };
    let pairs = elements(body.get("data")?, sets)?.iter().map(read).collect::<Option<_>>()?;
    Some(Statement::VerdictMap(key, pairs))
}

/// The pairs of a map, given by name or on the spot.
fn elements<'a>(data: &'a Value, sets: &Sets<'a>) -> Option<&'a [Value]> {
    match data.as_str() {
        Some(name) => match sets.get(name.strip_prefix('@')?)?.get("elem") {
            Some(elements) => elements.as_array().map(Vec::as_slice),
            None => Some(&[]),
        },
        None => data.get("set")?.as_array().map(Vec::as_slice),
    }
}

fn mangle(body: &Value) -> Option<Statement> {
    let key = Expression::read(body.get("key")?);
    let json = body.get("value")?;
    let value = number(json, key.kind()).map_or_else(|| Expression::read(json), Expression::Number);
    match key {
        Expression::Meta(key) if key == "mark" => Some(Statement::SetMark(value)),
        Expression::Ct(key, _) if key == "mark" => Some(Statement::SetConnectionMark(value)),
        Expression::Payload(_, field) if ["daddr", "dport"].contains(&field.as_str()) => Some(Statement::Rewrite),
        _ => None,
    }
}

fn translation(body: &Value, sets: &Sets<'_>) -> Translation {
    let family = match body.get("family").and_then(Value::as_str) {
        Some("ip") => Some(4),
        Some("ip6") => Some(6),
        _ => None,
    };
    let (address, port) = (body.get("addr"), body.get("port"));
    let mut result = Translation {
        family,
        address: address.and_then(|json| number(json, Kind::Address)),
        port: port.and_then(|json| number(json, Kind::Port)),
        several: false,
        key: None,
    };
    result.several = address.is_some() && result.address.is_none() || port.is_some() && result.port.is_none();
    if let Some(map) = [address, port].into_iter().flatten().find_map(|json| json.get("map"))
        && let Some(key) = map.get("key").map(Expression::read)
    {
        let known = map.get("data").and_then(|data| elements(data, sets)).unwrap_or_default().iter();
        let known = known.filter_map(|pair| Some(Pattern::read(pair.get(0)?, &key, sets))).collect();
        result.key = Some((key, Pattern::Set(known)));
    }
    result
}
