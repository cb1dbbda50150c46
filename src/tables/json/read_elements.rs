//! Elements of a listing read back: the inverse of [`super::elements`].

use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use super::read::{address, pick_chain};
use crate::{
    model::{Frontend, IpRange, Protocol, Target},
    tables::{Container, DeadEnd, Element, List, Policy, guard_prefix},
};

/// The element that a listing has in this container; `None` if it is none that Portolan writes there.
pub(super) fn element(container: Container<'_>, value: &Value) -> Option<Element> {
    match container {
        Container::ServiceNetworks => range(value).map(Element::ServiceNetwork),
        Container::Pods => range(value).map(Element::Pods),
        Container::ClusterIps => address(value).map(Element::ClusterIp),
        Container::Hairpin => match parts(value)? {
            [from, to] if from == to => address(from).map(Element::Hairpin),
            _ => None,
        },
        Container::Remembered => {
            let Frontend { address, protocol, port } = frontend(parts(value)?)?;
            Some(Element::Remembered { target: Target { address, port }, protocol })
        }
        Container::AllowedSources => {
            let (source, key) = parts(value)?.split_last()?;
            Some(Element::AllowedSource { frontend: frontend(key)?, range: range(source)? })
        }
        Container::Members { group, list } => {
            Some(Element::Member { group: group.into(), list, target: target(value)? })
        }
        Container::Frontends | Container::DeadEnds => counted(container, value),
        Container::Endpoints => {
            let (key, endpoint) = pair(value)?;
            let (slot, key) = parts(key)?.split_last()?;
            Some(Element::Slot { frontend: frontend(key)?, slot: number(slot)?, target: target(endpoint)? })
        }
        Container::Picks => pick(value, List::All, false),
        Container::LocalPicks => pick(value, List::Local, false),
        Container::FirstPicks => pick(value, List::All, true),
        Container::LocalFirstPicks => pick(value, List::Local, true),
        Container::Learners => {
            let (key, verdict) = pair(value)?;
            let group = goto(verdict)?.strip_prefix("learn-")?;
            Some(Element::Learner { frontend: frontend(parts(key)?)?, group: group.into() })
        }
    }
}

/// Of the maps whose elements have a counter and a comment.
fn counted(container: Container<'_>, value: &Value) -> Option<Element> {
    let (key, verdict) = pair(value)?;
    let key = key.get("elem")?;
    let owner: Arc<str> = key.get("comment").and_then(Value::as_str).unwrap_or_default().into();
    let frontend = frontend(parts(key.get("val")?)?)?;
    if container == Container::DeadEnds {
        let verdict = match goto(verdict) {
            Some("refuse") => DeadEnd::Refuse,
            None if verdict.get("drop").is_some() => DeadEnd::Drop,
            _ => return None,
        };
        return Some(Element::DeadEnd { frontend, verdict, owner });
    }
    let chain = goto(verdict)?;
    let open = chain.strip_prefix(guard_prefix(true));
    let policy = Policy::ALL.into_iter().find(|policy| policy.chain() == open.unwrap_or(chain))?;
    Some(Element::Frontend { frontend, policy, guarded: open.is_some(), owner })
}

fn pick(value: &Value, list: List, first: bool) -> Option<Element> {
    let (key, verdict) = pair(value)?;
    let (frontend, chain) = (frontend(parts(key)?)?, goto(verdict)?);
    if let Some(pick) = pick_chain(frontend.family(), chain).filter(|pick| pick.list == list) {
        return Some(Element::Pick { frontend, list, first, count: pick.count });
    }
    let group = chain.strip_prefix(list.prefix())?.strip_prefix("sticky-").filter(|_| !first)?;
    Some(Element::Sticky { frontend, list, group: group.into() })
}

/// Key and value of a map's element.
fn pair(value: &Value) -> Option<(&Value, &Value)> {
    match value.as_array()?.as_slice() {
        [key, value] => Some((key, value)),
        _ => None,
    }
}

fn parts(value: &Value) -> Option<&[Value]> {
    value.get("concat")?.as_array().map(Vec::as_slice)
}

fn frontend(key: &[Value]) -> Option<Frontend> {
    let [to, protocol, port] = key else { return None };
    let protocol = protocol.as_str().and_then(|name| Protocol::parse(&name.to_ascii_uppercase()))?;
    Some(Frontend { address: address(to)?, protocol, port: number(port)? })
}

fn target(value: &Value) -> Option<Target> {
    let [to, port] = parts(value)? else { return None };
    Some(Target { address: address(to)?, port: number(port)? })
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64()?.try_into().ok()
}

fn goto(verdict: &Value) -> Option<&str> {
    verdict.get("goto")?.get("target")?.as_str()
}

/// An address, a prefix, or a range that is none.
fn range(value: &Value) -> Option<IpRange> {
    if let Some(single) = address(value) {
        return Some(IpRange { first: single, last: single });
    }
    if let Some(prefix) = value.get("prefix") {
        let length = prefix.get("len")?.as_u64()?.try_into().ok()?;
        return IpNet::new(address(prefix.get("addr")?)?, length).ok().map(IpRange::from);
    }
    match value.get("range")?.as_array()?.as_slice() {
        [first, last] => {
            let (first, last) = (address(first)?, address(last)?);
            (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(IpRange { first, last })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_range_goes_from_one_address_to_a_later_one_of_the_same_family() {
        let read = |first: &str, last: &str| range(&json!({ "range": [first, last] })).map(|range| range.to_string());
        assert_eq!(read("10.0.0.3", "10.0.0.9").as_deref(), Some("10.0.0.3-10.0.0.9"));
        assert_eq!(read("10.0.0.9", "10.0.0.3"), None);
        assert_eq!(read("10.0.0.1", "fd00::1"), None);
        assert_eq!(read("fd00::2", "fd00::1"), None);
    }
}
