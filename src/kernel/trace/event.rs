use std::net::IpAddr;

use netlink_packet_netfilter::nftables::Verdict as Code;
use nix::net::if_::if_indextoname;

use crate::{
    kernel::netlink::{
        uapi::{
            NF_ACCEPT, NF_DROP, NF_QUEUE, NFT_TRACETYPE_RETURN, NFT_TRACETYPE_RULE, NFTA_TRACE_CHAIN,
            NFTA_TRACE_CT_STATE, NFTA_TRACE_ID, NFTA_TRACE_IIF, NFTA_TRACE_NETWORK_HEADER, NFTA_TRACE_OIF,
            NFTA_TRACE_POLICY, NFTA_TRACE_RULE_HANDLE, NFTA_TRACE_TABLE, NFTA_TRACE_TRANSPORT_HEADER, NFTA_TRACE_TYPE,
            NFTA_TRACE_VERDICT, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
        },
        wire::{Attributes, HEADERS, NETLINK_HEADER, address, family_name},
    },
    model::{Protocol, Target},
    traced::{By, Event, Headers, Tracking, Verdict},
};

/// Bits of NFTA_TRACE_CT_STATE (`NF_CT_STATE_BIT`).
const INVALID: u32 = 1;
const NEW: u32 = 8;
const UNTRACKED: u32 = 64;

/// Reads an event; `None` if it is none that can be used.
pub(super) fn decode(payload: &[u8]) -> Option<Event> {
    let family = family_name(*payload.first()?);
    let attributes = Attributes(payload.get(HEADERS - NETLINK_HEADER..)?);
    let (by, verdict) = decision(attributes)?;
    Some(Event {
        id: attributes.number(NFTA_TRACE_ID)?,
        family,
        table: attributes.text(NFTA_TRACE_TABLE)?.to_owned(),
        chain: attributes.text(NFTA_TRACE_CHAIN)?.to_owned(),
        by,
        verdict,
        headers: headers(attributes),
        incoming: interface(attributes, NFTA_TRACE_IIF),
        outgoing: interface(attributes, NFTA_TRACE_OIF),
        tracking: attributes.number(NFTA_TRACE_CT_STATE).map(tracking),
    })
}

fn decision(attributes: Attributes<'_>) -> Option<(By, Verdict)> {
    let given = attributes.nested(NFTA_TRACE_VERDICT);
    match attributes.number(NFTA_TRACE_TYPE)? {
        // Behind the last rule of a chain stands one without a handle.
        NFT_TRACETYPE_RULE => Some((
            attributes.long(NFTA_TRACE_RULE_HANDLE).map_or(By::End, By::Rule),
            verdict(given.number(NFTA_VERDICT_CODE)?, given)?,
        )),
        NFT_TRACETYPE_RETURN => Some((By::Return, Verdict::Return)),
        _ => Some((By::Policy, verdict(attributes.number(NFTA_TRACE_POLICY)?, given)?)),
    }
}

fn verdict(code: u32, given: Attributes<'_>) -> Option<Verdict> {
    let chain = || given.text(NFTA_VERDICT_CHAIN).map(str::to_owned);
    Some(match Code::from(code) {
        Code::Jump => Verdict::Jump(chain()?),
        Code::Goto => Verdict::Goto(chain()?),
        Code::Return => Verdict::Return,
        Code::Continue | Code::Break => Verdict::Continue,
        // A queue's number stands in the upper half.
        _ => match code & 0xff {
            NF_DROP => Verdict::Drop,
            NF_ACCEPT => Verdict::Accept,
            NF_QUEUE => Verdict::Queue,
            _ => Verdict::Stolen,
        },
    })
}

fn headers(attributes: Attributes<'_>) -> Option<Headers> {
    let network = attributes.get(NFTA_TRACE_NETWORK_HEADER)?;
    let transport = attributes.get(NFTA_TRACE_TRANSPORT_HEADER)?;
    let between = |from: usize, to: usize| network.get(from..to).and_then(address);
    // Of IPv6 the header that comes first is all that is told; those between are seldom met.
    let (protocol, source, destination) = match network.first()? >> 4 {
        4 => (*network.get(9)?, between(12, 16)?, between(16, 20)?),
        6 => (*network.get(6)?, between(8, 24)?, between(24, 40)?),
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(transport.get(at..at + 2)?.try_into().ok()?));
    let target = |address: IpAddr, port: u16| Target { address, port };
    Some(Headers {
        protocol: Protocol::from_number(protocol)?,
        source: target(source, port(0)?),
        destination: target(destination, port(2)?),
    })
}

/// The interface's name, or its number if it is gone.
fn interface(attributes: Attributes<'_>, kind: u16) -> Option<String> {
    let index = attributes.number(kind).filter(|index| *index != 0)?;
    let name = if_indextoname(index).ok().and_then(|name| name.into_string().ok());
    Some(name.unwrap_or_else(|| format!("interface {index}")))
}

fn tracking(state: u32) -> Tracking {
    match state {
        _ if state & UNTRACKED != 0 => Tracking::Untracked,
        _ if state & NEW != 0 => Tracking::New,
        _ if state & INVALID != 0 => Tracking::Invalid,
        _ => Tracking::Known,
    }
}
