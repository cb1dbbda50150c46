use std::net::IpAddr;

use nftables::{
    expr::{Expression, NamedExpression, Prefix, Range, Verdict},
    stmt::JumpTarget,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    model::{Frontend, IpRange, Protocol, Target},
    tables::{DeadEnd, Element, PickChain, fit_comment, guard_prefix},
};

/// An element as it stands in a listing.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Entry {
    /// Of a set
    Key(Expression<'static>),
    /// Of a map
    Pair(Expression<'static>, Expression<'static>),
    /// Of a map with counters and comments. The crate writes absent timeouts as `null`, and the verdict `drop` as a
    /// string; nft does neither.
    Counted(Value, Value),
}

impl From<&Element> for Entry {
    fn from(element: &Element) -> Self {
        match element {
            Element::ServiceNetwork(range) | Element::Pods(range) => Entry::Key(addresses(range)),
            Element::ClusterIp(address) => Entry::Key(text(*address)),
            Element::Hairpin(address) => Entry::Key(concat([text(*address), text(*address)])),
            Element::Remembered { target: Target { address, port }, protocol } => {
                Entry::Key(concat([text(*address), name(*protocol), number(*port)]))
            }
            Element::AllowedSource { frontend, range } => Entry::Key(key(frontend, [addresses(range)])),
            Element::Member { target, .. } => Entry::Key(endpoint(target)),
            Element::Frontend { frontend, policy, guarded, owner } => {
                let target = [guard_prefix(*guarded), policy.chain()].concat();
                Entry::Counted(counted(frontend, owner), json!({ "goto": { "target": target } }))
            }
            Element::DeadEnd { frontend, verdict, owner } => {
                let verdict = match verdict {
                    DeadEnd::Refuse => json!({ "goto": { "target": "refuse" } }),
                    DeadEnd::Drop => json!({ "drop": null }),
                };
                Entry::Counted(counted(frontend, owner), verdict)
            }
            Element::Pick { frontend, list, count, .. } => {
                let pick = PickChain { family: frontend.family(), list: *list, count: *count };
                Entry::Pair(key(frontend, []), goto(pick.name()))
            }
            Element::Slot { frontend, slot, target } => Entry::Pair(key(frontend, [number(*slot)]), endpoint(target)),
            Element::Sticky { frontend, list, group } => {
                Entry::Pair(key(frontend, []), goto(format!("{}sticky-{group}", list.prefix())))
            }
            Element::Learner { frontend, group } => Entry::Pair(key(frontend, []), goto(format!("learn-{group}"))),
        }
    }
}

/// The key of an element of `frontends` or `dead-ends`, with what goes with it.
fn counted(frontend: &Frontend, owner: &str) -> Value {
    json!({ "elem": {
        "val": key(frontend, []),
        "comment": fit_comment(owner),
        "counter": { "packets": 0, "bytes": 0 },
    } })
}

/// A frontend, and what follows it in the key.
fn key<const N: usize>(frontend: &Frontend, more: [Expression<'static>; N]) -> Expression<'static> {
    let Frontend { address, protocol, port } = frontend;
    concat([text(*address), name(*protocol), number(*port)].into_iter().chain(more))
}

fn endpoint(target: &Target) -> Expression<'static> {
    concat([text(target.address), number(target.port)])
}

/// An address, a prefix, or a range that is none.
fn addresses(range: &IpRange) -> Expression<'static> {
    match range.as_net() {
        Some(_) if range.first == range.last => text(range.first),
        Some(net) => {
            let prefix = Prefix { addr: Box::new(text(range.first)), len: net.prefix_len().into() };
            Expression::Named(NamedExpression::Prefix(prefix))
        }
        None => Expression::Range(Box::new(Range { range: [text(range.first), text(range.last)] })),
    }
}

fn concat(parts: impl IntoIterator<Item = Expression<'static>>) -> Expression<'static> {
    Expression::Named(NamedExpression::Concat(parts.into_iter().collect()))
}

fn goto(chain: String) -> Expression<'static> {
    Expression::Verdict(Verdict::Goto(JumpTarget { target: chain.into() }))
}

fn name(protocol: Protocol) -> Expression<'static> {
    Expression::String(protocol.nft().into())
}

fn number(number: u16) -> Expression<'static> {
    Expression::Number(number.into())
}

fn text(address: IpAddr) -> Expression<'static> {
    Expression::String(address.to_string().into())
}
