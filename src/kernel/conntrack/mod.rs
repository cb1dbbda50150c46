//! The kernel's connection tracking table: reading it as a stream, deleting entries, and which of them are stale.

mod stale;

use std::{collections::BTreeMap, net::IpAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_packet_netfilter::{NetfilterSubsystem, conntrack::ConntrackMessageType};
use nix::errno::Errno;

pub use stale::is_stale;

use super::{
    KernelError,
    netlink::{
        socket::{Fault, NetfilterSocket},
        wire::{Attributes, Kind, Writer, address, protocol_family, push_address},
    },
};
use crate::{
    compile::ServingTargets,
    model::{Family, Frontend, Protocol, Target},
};

// Names and numbers of linux/netfilter/nfnetlink_conntrack.h.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_SCTP: u16 = 3;
/// The state, in either of the two.
const CTA_PROTOINFO_STATE: u16 = 1;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// The bit of the status that says that an answer was seen.
const IPS_SEEN_REPLY: u32 = 1 << 1;
// States of linux/netfilter/nf_conntrack_tcp.h and nf_conntrack_sctp.h.
const TCP_CONNTRACK_TIME_WAIT: u8 = 7;
const TCP_CONNTRACK_CLOSE: u8 = 8;
const SCTP_CONNTRACK_CLOSED: u8 = 1;
/// The bit of a filter that compares CTA_PROTO_NUM; part of the interface, though no public header has it.
const CTA_FILTER_F_CTA_PROTO_NUM: u32 = 1 << 3;

/// An entry of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Protocol
    pub protocol: Protocol,
    /// Where the first packet came from
    pub source: Target,
    /// Where the first packet went, before any translation
    pub destination: Target,
    /// Where answers come from: the endpoint, if the destination was translated
    pub reply_source: Target,
    /// Where answers go: this node, if the source was hidden
    pub reply_destination: Target,
    /// A packet was seen in the answer's direction
    pub answered: bool,
    /// The connection is over: the entry only waits for late packets, and a new connection replaces it. Never so for UDP.
    pub ended: bool,
    /// The entry's identity, so that a later entry of the same addresses is not mistaken for it
    pub id: Option<u32>,
    /// The conntrack zone, if it is not the default one
    pub zone: Option<u16>,
}

/// The connection tracking table of the network namespace that the thread was in when it was opened.
pub struct ConntrackTable {
    socket: NetfilterSocket,
}

impl ConntrackTable {
    /// Opens a socket to the kernel.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if the kernel has no netfilter netlink or the process no file descriptor left.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { socket: NetfilterSocket::open()? })
    }

    /// Hands over every entry of a family and protocol, without keeping any. Entries that come or go meanwhile may be
    /// missed or repeated.
    ///
    /// The kernel is asked for this protocol only; one before 5.8 sends all of them, and the others are left out here.
    pub fn for_each(
        &mut self,
        family: Family,
        protocol: Protocol,
        mut each: impl FnMut(&Flow),
    ) -> Result<(), KernelError> {
        let mut request = self.socket.writer();
        request.message(kind(ConntrackMessageType::Get), NLM_F_DUMP, protocol_family(family), 0, |w| {
            w.nested(CTA_TUPLE_ORIG, |w| {
                w.nested(CTA_TUPLE_PROTO, |w| w.attribute(CTA_PROTO_NUM, &[protocol.number()]));
            });
            w.nested(CTA_FILTER, |w| {
                w.attribute(CTA_FILTER_ORIG_FLAGS, &CTA_FILTER_F_CTA_PROTO_NUM.to_ne_bytes());
                w.attribute(CTA_FILTER_REPLY_FLAGS, &0u32.to_ne_bytes());
            });
        });
        let result = self.socket.request(&request, |message| {
            if let Some(flow) = flow(message.attributes).filter(|flow| flow.protocol == protocol) {
                each(&flow);
            }
        });
        match result {
            // The table always changes while it is read; what was read is good.
            Err(Fault::Interrupted) => Ok(()),
            other => other.map_err(|fault| fault.during(format!("reading {family} conntrack entries"))),
        }
    }

    /// Deletes an entry. Returns whether it was still there.
    pub fn delete(&mut self, flow: &Flow) -> Result<bool, KernelError> {
        let family = protocol_family(Family::of(flow.source.address));
        let mut request = self.socket.writer();
        request.message(kind(ConntrackMessageType::Delete), NLM_F_ACK, family, 0, |w| {
            w.nested(CTA_TUPLE_ORIG, |w| write_tuple(w, flow));
            if let Some(id) = flow.id {
                w.number(CTA_ID, id);
            }
            if let Some(zone) = flow.zone {
                w.attribute(CTA_ZONE, &zone.to_be_bytes());
            }
        });
        match self.socket.request(&request, |_| {}) {
            Ok(()) => Ok(true),
            Err(fault) if fault.is(Errno::ENOENT) => Ok(false),
            Err(fault) => {
                let Flow { protocol, source, destination, .. } = flow;
                Err(fault.during(format!("deleting the conntrack entry {protocol} {source} -> {destination}")))
            }
        }
    }

    /// Deletes the UDP entries that keep clients on an endpoint that no longer serves, or away from any
    /// ([`is_stale`]). `frontends` are all UDP frontends, and with no targets those that have just gone.
    ///
    /// Returns how many entries were deleted.
    pub fn flush_stale(&mut self, frontends: &BTreeMap<Frontend, ServingTargets>) -> Result<usize, KernelError> {
        let mut stale = Vec::new();
        for family in Family::ALL {
            if frontends.keys().any(|frontend| frontend.family() == family) {
                self.for_each(family, Protocol::Udp, |flow| {
                    if is_stale(frontends, flow) {
                        stale.push(flow.clone());
                    }
                })?;
            }
        }
        let mut deleted = 0;
        for flow in &stale {
            deleted += usize::from(self.delete(flow)?);
        }
        Ok(deleted)
    }
}

fn kind(message: ConntrackMessageType) -> Kind {
    Kind::new(NetfilterSubsystem::Conntrack, message.into())
}

/// The attribute kinds of source and destination address.
fn address_kinds(family: Family) -> (u16, u16) {
    match family {
        Family::V4 => (1, 2), // CTA_IP_V4_SRC, CTA_IP_V4_DST
        Family::V6 => (3, 4), // CTA_IP_V6_SRC, CTA_IP_V6_DST
    }
}

fn write_tuple(writer: &mut Writer, flow: &Flow) {
    let (source, destination) = address_kinds(Family::of(flow.source.address));
    writer.nested(CTA_TUPLE_IP, |w| {
        w.attribute_with(source, |bytes| push_address(bytes, flow.source.address));
        w.attribute_with(destination, |bytes| push_address(bytes, flow.destination.address));
    });
    writer.nested(CTA_TUPLE_PROTO, |w| {
        w.attribute(CTA_PROTO_NUM, &[flow.protocol.number()]);
        w.attribute(CTA_PROTO_SRC_PORT, &flow.source.port.to_be_bytes());
        w.attribute(CTA_PROTO_DST_PORT, &flow.destination.port.to_be_bytes());
    });
}

/// Reads an entry; `None` for a protocol that Services do not know.
fn flow(attributes: Attributes<'_>) -> Option<Flow> {
    let (protocol, source, destination) = tuple(attributes.nested(CTA_TUPLE_ORIG))?;
    let (_, reply_source, reply_destination) = tuple(attributes.nested(CTA_TUPLE_REPLY))?;
    let answered = attributes.number(CTA_STATUS).is_some_and(|status| status & IPS_SEEN_REPLY != 0);
    let ended = ended(protocol, attributes.nested(CTA_PROTOINFO));
    let id = attributes.number(CTA_ID);
    let zone = attributes.get(CTA_ZONE).and_then(|v| v.try_into().ok()).map(u16::from_be_bytes);
    Some(Flow { protocol, source, destination, reply_source, reply_destination, answered, ended, id, zone })
}

/// Whether the connection is over, by what its protocol's state says.
fn ended(protocol: Protocol, states: Attributes<'_>) -> bool {
    let state = |kind| match states.nested(kind).get(CTA_PROTOINFO_STATE) {
        Some([state]) => Some(*state),
        _ => None,
    };
    match protocol {
        Protocol::Tcp => matches!(state(CTA_PROTOINFO_TCP), Some(TCP_CONNTRACK_TIME_WAIT | TCP_CONNTRACK_CLOSE)),
        Protocol::Sctp => state(CTA_PROTOINFO_SCTP) == Some(SCTP_CONNTRACK_CLOSED),
        Protocol::Udp => false,
    }
}

fn tuple(attributes: Attributes<'_>) -> Option<(Protocol, Target, Target)> {
    let (addresses, ports) = (attributes.nested(CTA_TUPLE_IP), attributes.nested(CTA_TUPLE_PROTO));
    let [protocol] = ports.get(CTA_PROTO_NUM)? else { return None };
    let protocol = Protocol::from_number(*protocol)?;
    let of = |address_kind: u16, port_kind: u16| {
        let address: IpAddr = address(addresses.get(address_kind)?)?;
        let port = u16::from_be_bytes(ports.get(port_kind)?.try_into().ok()?);
        Some(Target { address, port })
    };
    Family::ALL.into_iter().find_map(|family| {
        let (source, destination) = address_kinds(family);
        Some((protocol, of(source, CTA_PROTO_SRC_PORT)?, of(destination, CTA_PROTO_DST_PORT)?))
    })
}
