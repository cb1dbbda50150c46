//! Reads elements back from what the kernel dumps: the inverse of [`super::encode`].

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use netlink_packet_netfilter::nftables::{SetElementFlags, Verdict};

use super::{
    uapi::{
        NF_DROP, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY,
        NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_USERDATA, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE, UDATA_COMMENT,
    },
    wire::{Attributes, address},
};
use crate::{
    model::{Family, Frontend, IpRange, Protocol, Target},
    tables::{Container, DeadEnd, Element, List, Policy, guard_prefix},
};

/// Gives each text one allocation: thousands of elements share an owner or a group.
#[derive(Default)]
pub(crate) struct Names(BTreeSet<Arc<str>>);

impl Names {
    /// The shared copy of a text.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.0.insert(new.clone());
        new
    }
}

/// Reads an element of any container but the interval sets. `None` if it is none that Portolan could have written.
pub(crate) fn element(
    container: Container<'_>,
    family: Family,
    attributes: Attributes<'_>,
    names: &mut Names,
) -> Option<Element> {
    let mut key = Parts::of(attributes.nested(NFTA_SET_ELEM_KEY), family)?;
    let data = attributes.nested(NFTA_SET_ELEM_DATA);
    let element = match container {
        Container::ClusterIps => Element::ClusterIp(key.address()?),
        Container::Hairpin => hairpin(&mut key)?,
        Container::Remembered => {
            let Frontend { address, protocol, port } = key.frontend()?;
            Element::Remembered { target: Target { address, port }, protocol }
        }
        Container::AllowedSources => allowed_source(&mut key, attributes, family)?,
        Container::Endpoints => slot(&mut key, Parts::of(data, family)?)?,
        Container::Members { group, list } => {
            Element::Member { group: names.share(group), list, target: key.target()? }
        }
        Container::Frontends
        | Container::Picks
        | Container::LocalPicks
        | Container::DeadEnds
        | Container::FirstPicks
        | Container::LocalFirstPicks
        | Container::Learners => {
            verdict_element(container, key.frontend()?, data.nested(NFTA_DATA_VERDICT), attributes, names)?
        }
        Container::ServiceNetworks | Container::Pods => return None,
    };
    key.is_empty().then_some(element)
}

fn hairpin(key: &mut Parts<'_>) -> Option<Element> {
    let (source, destination) = (key.address()?, key.address()?);
    (source == destination).then_some(Element::Hairpin(source))
}

fn allowed_source(key: &mut Parts<'_>, attributes: Attributes<'_>, family: Family) -> Option<Element> {
    let (frontend, first) = (key.frontend()?, key.address()?);
    let mut end = Parts::of(attributes.nested(NFTA_SET_ELEM_KEY_END), family)?;
    let (same, last) = (end.frontend()?, end.address()?);
    (frontend == same && end.is_empty()).then_some(Element::AllowedSource { frontend, range: IpRange { first, last } })
}

fn slot(key: &mut Parts<'_>, mut data: Parts<'_>) -> Option<Element> {
    let element = Element::Slot { frontend: key.frontend()?, slot: key.slot()?, target: data.target()? };
    data.is_empty().then_some(element)
}

/// An element of a verdict map.
fn verdict_element(
    container: Container<'_>,
    frontend: Frontend,
    verdict: Attributes<'_>,
    attributes: Attributes<'_>,
    names: &mut Names,
) -> Option<Element> {
    let code = verdict.number(NFTA_VERDICT_CODE)?;
    let chain = verdict.text(NFTA_VERDICT_CHAIN);
    if code == NF_DROP && container == Container::DeadEnds {
        let owner = names.share(comment(attributes));
        return Some(Element::DeadEnd { frontend, verdict: DeadEnd::Drop, owner });
    }
    let chain = chain?;
    if Verdict::from(code) != Verdict::Goto {
        return None;
    }
    let list = match container {
        Container::LocalPicks | Container::LocalFirstPicks => List::Local,
        _ => List::All,
    };
    let own = chain.strip_prefix(list.prefix());
    match container {
        Container::Frontends => {
            let unguarded = chain.strip_prefix(guard_prefix(true));
            let name = unguarded.unwrap_or(chain);
            let policy = Policy::ALL.into_iter().find(|policy| policy.chain() == name)?;
            let owner = names.share(comment(attributes));
            Some(Element::Frontend { frontend, policy, guarded: unguarded.is_some(), owner })
        }
        Container::DeadEnds if chain == "refuse" => {
            Some(Element::DeadEnd { frontend, verdict: DeadEnd::Refuse, owner: names.share(comment(attributes)) })
        }
        Container::Picks | Container::LocalPicks => Some(match own?.strip_prefix("sticky-") {
            Some(group) => Element::Sticky { frontend, list, group: names.share(group) },
            None => Element::Pick { frontend, list, first: false, count: pick_count(own?)? },
        }),
        Container::FirstPicks | Container::LocalFirstPicks => {
            Some(Element::Pick { frontend, list, first: true, count: pick_count(own?)? })
        }
        Container::Learners => Some(Element::Learner { frontend, group: names.share(chain.strip_prefix("learn-")?) }),
        _ => None,
    }
}

/// N in `pick-N`, if it is spelt as we spell it.
pub(crate) fn pick_count(chain: &str) -> Option<u16> {
    let digits = chain.strip_prefix("pick-")?;
    let count: u16 = digits.parse().ok()?;
    (count > 0 && digits == count.to_string()).then_some(count)
}

/// The comment in an element's user data; empty if it has none.
fn comment(attributes: Attributes<'_>) -> &str {
    attributes.get(NFTA_SET_ELEM_USERDATA).and_then(user_comment).unwrap_or_default()
}

/// The comment in the user data of a table or an element: entries of kind, length and value.
pub(crate) fn user_comment(mut userdata: &[u8]) -> Option<&str> {
    while let [kind, length, rest @ ..] = userdata {
        let (value, next) = rest.split_at_checked(usize::from(*length))?;
        if *kind == UDATA_COMMENT {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok();
        }
        userdata = next;
    }
    None
}

/// Reads an element of an interval set: an address, and whether a range begins there (or the one below it has ended).
pub(crate) fn bound(family: Family, attributes: Attributes<'_>) -> Option<(IpAddr, bool)> {
    let mut key = Parts::of(attributes.nested(NFTA_SET_ELEM_KEY), family)?;
    let address = key.address()?;
    let flags = attributes.number(NFTA_SET_ELEM_FLAGS).unwrap_or_default();
    key.is_empty().then_some((address, flags & SetElementFlags::IntervalEnd.bits() == 0))
}

/// The ranges that the elements of an interval set make. nft marks with an end that nothing lies below the first
/// range; such an end closes nothing here.
pub(crate) fn ranges(mut bounds: Vec<(IpAddr, bool)>) -> Vec<IpRange> {
    bounds.sort_unstable(); // an end before a beginning at the same address
    let mut ranges = Vec::new();
    let mut open = None;
    for (address, begins) in bounds {
        if let (Some(first), Some(last)) = (open.take(), before(address)) {
            ranges.push(IpRange { first, last });
        }
        open = begins.then_some(address);
    }
    ranges.extend(open.map(|first| IpRange { first, last: last_address(first) }));
    ranges
}

/// The address in front.
fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(a) => u32::from(a).checked_sub(1).map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(a) => u128::from(a).checked_sub(1).map(|n| Ipv6Addr::from(n).into()),
    }
}

/// The last address of the family of `like`.
fn last_address(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::BROADCAST.into(),
        IpAddr::V6(_) => Ipv6Addr::from(u128::MAX).into(),
    }
}

/// Reads the parts of a concatenation one after the other.
pub(crate) struct Parts<'a> {
    bytes: &'a [u8],
    family: Family,
}

impl<'a> Parts<'a> {
    /// The parts of a value whose addresses are of `family`.
    pub fn of(value: Attributes<'a>, family: Family) -> Option<Self> {
        Some(Self { bytes: value.get(NFTA_DATA_VALUE)?, family })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(part)
    }

    /// An address.
    pub fn address(&mut self) -> Option<IpAddr> {
        address(self.take(match self.family {
            Family::V4 => 4,
            Family::V6 => 16,
        })?)
    }

    /// A port. The last part of a value comes back without its padding.
    pub fn port(&mut self) -> Option<u16> {
        let part = self.take(self.bytes.len().min(4))?;
        let (port, padding) = part.split_first_chunk::<2>()?;
        padding.iter().all(|b| *b == 0).then(|| u16::from_be_bytes(*port))
    }

    /// A frontend.
    pub fn frontend(&mut self) -> Option<Frontend> {
        let address = self.address()?;
        let [protocol, 0, 0, 0] = self.take(4)? else { return None };
        Some(Frontend { address, protocol: Protocol::from_number(*protocol)?, port: self.port()? })
    }

    /// An endpoint.
    pub fn target(&mut self) -> Option<Target> {
        Some(Target { address: self.address()?, port: self.port()? })
    }

    /// A slot.
    pub fn slot(&mut self) -> Option<u16> {
        u32::from_ne_bytes(self.take(4)?.try_into().ok()?).try_into().ok()
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// An element's key as it stands; empty for the catch-all element `*`, which has none.
pub(crate) fn key_bytes(attributes: Attributes<'_>) -> &[u8] {
    attributes.nested(NFTA_SET_ELEM_KEY).get(NFTA_DATA_VALUE).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netlink::{encode::write_element, wire::Writer};

    fn decoded(element: &Element) -> Option<Element> {
        let mut writer = Writer::new(1);
        write_element(&mut writer, element);
        let (_, bytes) = Attributes(writer.bytes()).iter().next()?;
        super::element(element.container(), element.family(), Attributes(bytes), &mut Names::default())
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for address in ["10.96.0.10", "fd00::10"] {
            let address: IpAddr = address.parse().unwrap();
            let target = Target { address, port: 65535 };
            let frontend = Frontend { address, protocol: Protocol::Sctp, port: 1 };
            let group: Arc<str> = "shop/web/tcp".into();
            let mut elements = vec![
                Element::ClusterIp(address),
                Element::Hairpin(address),
                Element::Remembered { target, protocol: Protocol::Udp },
                Element::AllowedSource { frontend, range: IpRange { first: address, last: last_address(address) } },
                Element::DeadEnd { frontend, verdict: DeadEnd::Drop, owner: "shop/web".into() },
                Element::DeadEnd { frontend, verdict: DeadEnd::Refuse, owner: "".into() },
                Element::Slot { frontend, slot: 65535, target },
                Element::Learner { frontend, group: group.clone() },
            ];
            for guarded in [false, true] {
                let owner: Arc<str> = "a/b:c".into();
                let goes_to = |policy| Element::Frontend { frontend, policy, guarded, owner: owner.clone() };
                elements.extend(Policy::ALL.map(goes_to));
            }
            for list in [List::All, List::Local] {
                elements.extend([false, true].map(|first| Element::Pick { frontend, list, first, count: 65535 }));
                elements.push(Element::Sticky { frontend, list, group: group.clone() });
                elements.push(Element::Member { group: group.clone(), list, target });
            }
            for element in elements {
                assert_eq!(decoded(&element).as_ref(), Some(&element));
            }
        }
    }

    #[test]
    fn what_portolan_would_not_write_is_not_decoded() {
        let frontend = Frontend { address: [10, 96, 0, 10].into(), protocol: Protocol::Tcp, port: 80 };
        assert_eq!(decoded(&Element::Pick { frontend, list: List::All, first: false, count: 0 }), None);
        let mut writer = Writer::new(1);
        write_element(&mut writer, &Element::Pick { frontend, list: List::All, first: false, count: 3 });
        let (_, bytes) = Attributes(writer.bytes()).iter().next().unwrap();
        let read = |container, family| element(container, family, Attributes(bytes), &mut Names::default());
        assert!(read(Container::Picks, Family::V4).is_some());
        assert_eq!(read(Container::LocalPicks, Family::V4), None, "pick-3 among the local picks");
        assert_eq!(read(Container::Learners, Family::V4), None, "a pick chain among the learners");
        assert_eq!(read(Container::Endpoints, Family::V4), None, "no slot");
        assert_eq!(read(Container::Picks, Family::V6), None, "a key of the other family");
        for cut in 0..bytes.len() {
            let cut = element(Container::Picks, Family::V4, Attributes(&bytes[..cut]), &mut Names::default());
            assert_eq!(cut, None, "a message cut short");
        }
    }

    #[test]
    fn bounds_make_ranges() {
        let ranges = |bounds: &[(&str, bool)]| {
            let bounds = bounds.iter().map(|(address, begins)| (address.parse().unwrap(), *begins)).collect();
            Vec::from_iter(super::ranges(bounds).iter().map(IpRange::to_string))
        };
        assert_eq!(ranges(&[("11.0.0.0", false), ("10.0.0.0", true)]), ["10.0.0.0/8"]);
        assert_eq!(ranges(&[("0.0.0.0", true)]), ["0.0.0.0/0"]);
        assert_eq!(ranges(&[("0.0.0.0", false), ("10.0.0.1", true), ("10.0.0.2", false)]), ["10.0.0.1"]);
        let neighbours = [("10.0.0.0", true), ("10.0.1.0", false), ("10.0.1.0", true), ("10.0.2.0", false)];
        assert_eq!(ranges(&neighbours), ["10.0.0.0/24", "10.0.1.0/24"]);
        assert_eq!(ranges(&[("fd00::", true)]), ["fd00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
    }
}
