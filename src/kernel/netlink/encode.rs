//! Elements as the kernel stores them: a key of plain bytes, and for maps an endpoint or a verdict.
//!
//! Each part of a concatenation is padded to four bytes. Addresses, protocols and ports stand in network order; the
//! slot is compared with what `numgen` leaves in a register, a number in host order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_netfilter::nftables::{SetElementFlags, Verdict};

use super::{
    uapi::{
        NF_DROP, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS,
        NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_TIMEOUT, NFTA_SET_ELEM_USERDATA, NFTA_VERDICT_CHAIN,
        NFTA_VERDICT_CODE, UDATA_COMMENT,
    },
    wire::{Writer, pad, push_address},
};
use crate::{
    model::{Frontend, IpRange, Protocol, Target},
    tables::{DeadEnd, Element, fit_comment, guard_prefix},
};

/// Appends the list entry (for a range, the entries) that add an element, or that name it for deletion.
pub(crate) fn write_element(writer: &mut Writer, element: &Element) {
    if let Element::ServiceNetwork(range) | Element::Pods(range) = element {
        return write_range(writer, range);
    }
    writer.nested(NFTA_LIST_ELEM, |w| {
        write_key(w, NFTA_SET_ELEM_KEY, |bytes| push_key(bytes, element, false));
        if let Element::AllowedSource { .. } = element {
            write_key(w, NFTA_SET_ELEM_KEY_END, |bytes| push_key(bytes, element, true));
        }
        write_data(w, element);
        if let Element::Frontend { owner, .. } | Element::DeadEnd { owner, .. } = element {
            write_comment(w, NFTA_SET_ELEM_USERDATA, owner);
        }
    });
}

/// An interval set holds where a range begins and where the next one could; the latter carries a flag. A range that
/// ends at the last address has no such end.
fn write_range(writer: &mut Writer, range: &IpRange) {
    let bounds = [Some((range.first, SetElementFlags::empty())), after(range.last).map(|a| (a, INTERVAL_END))];
    for (address, flags) in bounds.into_iter().flatten() {
        writer.nested(NFTA_LIST_ELEM, |w| {
            write_key(w, NFTA_SET_ELEM_KEY, |bytes| push_address(bytes, address));
            if !flags.is_empty() {
                w.number(NFTA_SET_ELEM_FLAGS, flags.bits());
            }
        });
    }
}

/// Appends the list entry whose key is one address.
pub(crate) fn write_address_key(writer: &mut Writer, address: IpAddr) {
    writer.nested(NFTA_LIST_ELEM, |w| write_key(w, NFTA_SET_ELEM_KEY, |bytes| push_address(bytes, address)));
}

/// Appends the list entry whose key is a frontend. With a timeout it ends by itself after so many milliseconds.
pub(crate) fn write_frontend_key(writer: &mut Writer, frontend: &Frontend, timeout: Option<u64>) {
    writer.nested(NFTA_LIST_ELEM, |w| {
        write_key(w, NFTA_SET_ELEM_KEY, |bytes| push_frontend(bytes, frontend));
        if let Some(timeout) = timeout {
            w.attribute(NFTA_SET_ELEM_TIMEOUT, &timeout.to_be_bytes());
        }
    });
}

const INTERVAL_END: SetElementFlags = SetElementFlags::IntervalEnd;

/// The next address of the family.
fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(a) => u32::from(a).checked_add(1).map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(a) => u128::from(a).checked_add(1).map(|n| Ipv6Addr::from(n).into()),
    }
}

/// Writes a key, or the data of a map whose values are endpoints.
fn write_key(writer: &mut Writer, kind: u16, push: impl FnOnce(&mut Vec<u8>)) {
    writer.nested(kind, |w| w.attribute_with(NFTA_DATA_VALUE, push));
}

/// `end` asks for the last key of an element that stands for a range of keys.
fn push_key(bytes: &mut Vec<u8>, element: &Element, end: bool) {
    match element {
        Element::ClusterIp(address) => push_address(bytes, *address),
        Element::Hairpin(address) => {
            push_address(bytes, *address);
            push_address(bytes, *address);
        }
        Element::Remembered { target, protocol } => push_endpoint(bytes, target.address, *protocol, target.port),
        Element::Member { target, .. } => push_target(bytes, target),
        Element::AllowedSource { frontend, range } => {
            push_frontend(bytes, frontend);
            push_address(bytes, if end { range.last } else { range.first });
        }
        Element::Slot { frontend, slot, .. } => {
            push_frontend(bytes, frontend);
            bytes.extend_from_slice(&u32::from(*slot).to_ne_bytes());
        }
        Element::Frontend { frontend, .. }
        | Element::DeadEnd { frontend, .. }
        | Element::Pick { frontend, .. }
        | Element::Sticky { frontend, .. }
        | Element::Learner { frontend, .. } => push_frontend(bytes, frontend),
        Element::ServiceNetwork(range) | Element::Pods(range) => push_address(bytes, range.first),
    }
}

fn push_frontend(bytes: &mut Vec<u8>, frontend: &Frontend) {
    push_endpoint(bytes, frontend.address, frontend.protocol, frontend.port);
}

fn push_endpoint(bytes: &mut Vec<u8>, address: IpAddr, protocol: Protocol, port: u16) {
    push_address(bytes, address);
    bytes.extend_from_slice(&[protocol.number(), 0, 0, 0]);
    push_port(bytes, port);
}

fn push_target(bytes: &mut Vec<u8>, target: &Target) {
    push_address(bytes, target.address);
    push_port(bytes, target.port);
}

fn push_port(bytes: &mut Vec<u8>, port: u16) {
    let start = bytes.len();
    bytes.extend_from_slice(&port.to_be_bytes());
    pad(bytes, start);
}

/// Writes what the element's key is mapped to, if it stands in a map.
fn write_data(writer: &mut Writer, element: &Element) {
    match element {
        Element::Slot { target, .. } => write_key(writer, NFTA_SET_ELEM_DATA, |bytes| push_target(bytes, target)),
        Element::Frontend { policy, guarded, .. } => {
            write_verdict(writer, Verdict::Goto, &[guard_prefix(*guarded), policy.chain()]);
        }
        Element::DeadEnd { verdict: DeadEnd::Refuse, .. } => write_verdict(writer, Verdict::Goto, &["refuse"]),
        Element::DeadEnd { verdict: DeadEnd::Drop, .. } => write_verdict(writer, Verdict::Other(NF_DROP), &[]),
        Element::Pick { list, count, .. } => {
            write_verdict(writer, Verdict::Goto, &[list.prefix(), "pick-", &count.to_string()]);
        }
        Element::Sticky { list, group, .. } => {
            write_verdict(writer, Verdict::Goto, &[list.prefix(), "sticky-", group]);
        }
        Element::Learner { group, .. } => write_verdict(writer, Verdict::Goto, &["learn-", group]),
        Element::ServiceNetwork(_)
        | Element::Pods(_)
        | Element::ClusterIp(_)
        | Element::Hairpin(_)
        | Element::Remembered { .. }
        | Element::AllowedSource { .. }
        | Element::Member { .. } => {}
    }
}

/// `chain` is the chain's name in pieces; none for a verdict that leads nowhere.
fn write_verdict(writer: &mut Writer, verdict: Verdict, chain: &[&str]) {
    writer.nested(NFTA_SET_ELEM_DATA, |w| {
        w.nested(NFTA_DATA_VERDICT, |w| {
            w.number(NFTA_VERDICT_CODE, verdict.into());
            if !chain.is_empty() {
                w.attribute_with(NFTA_VERDICT_CHAIN, |bytes| {
                    for piece in chain {
                        bytes.extend_from_slice(piece.as_bytes());
                    }
                    bytes.push(0);
                });
            }
        });
    });
}

/// The comment as nft writes it: kind, length, text with NUL.
pub(crate) fn write_comment(writer: &mut Writer, attribute: u16, text: &str) {
    let comment = fit_comment(text);
    writer.attribute_with(attribute, |bytes| {
        bytes.extend_from_slice(&[UDATA_COMMENT, comment.len() as u8 + 1]);
        bytes.extend_from_slice(comment.as_bytes());
        bytes.push(0);
    });
}
