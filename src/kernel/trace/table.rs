//! The table that has packets traced, for each family that is asked for:
//!
//! ```text
//! table ip portolan-trace-4711 {
//!     flags owner
//!     chain sample {
//!         limit rate 5/second burst 5 packets meta nftrace set 1
//!     }
//!     chain prerouting {
//!         type filter hook prerouting priority -450
//!         iif != lo ip daddr 10.96.0.10 meta l4proto tcp th dport 80 tcp flags & (syn | ack) == syn goto sample
//!     }
//!     chain output {
//!         type filter hook output priority -450
//!         ...
//!     }
//!     chain forward { type filter hook forward priority 450 }
//!     chain input { type filter hook input priority 450 }
//!     chain postrouting { type filter hook postrouting priority 450 }
//! }
//! ```
//!
//! The last three have no rules: that a packet comes to their end says that it survived the hook, and how it looks then.
//! At -450 connection tracking has not seen the packet, so that what opens a connection is told by the packet itself.

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::nftables::Verdict;
use nix::errno::Errno;

use super::Request;
use crate::{
    kernel::{
        KernelError,
        netlink::{
            batch::{BaseChain, Batch},
            expression::{FIRST as REGISTER, compare, expression, immediate, load_meta, load_payload, mask},
            socket::NetfilterSocket,
            uapi::{
                NF_INET_FORWARD, NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING, NF_INET_PRE_ROUTING,
                NFT_CMP_EQ, NFT_CMP_NEQ, NFT_META_IIF, NFT_META_L4PROTO, NFT_META_NFTRACE, NFT_PAYLOAD_NETWORK_HEADER,
                NFT_PAYLOAD_TRANSPORT_HEADER, NFT_REG_VERDICT, NFT_TABLE_F_OWNER, NFTA_DATA_VERDICT,
                NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG, NFTA_LIMIT_BURST, NFTA_LIMIT_RATE, NFTA_LIMIT_UNIT,
                NFTA_META_KEY, NFTA_META_SREG, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
            },
            wire::{Writer, push_address},
        },
    },
    model::{Family, Protocol},
    traced::{Flow, Sender},
};

const SAMPLE: &str = "sample";
/// Before everything that nftables or iptables can hook in, defragmentation (-400) included.
const FIRST: i32 = -450;
/// After every translation.
const LAST: i32 = 450;
/// The loopback interface has this index in every network namespace.
const LOOPBACK: u32 = 1;

/// Makes the table, owned by this socket.
pub(super) fn make(socket: &mut NetfilterSocket, table: &str, request: &Request) -> Result<(), KernelError> {
    let attempt = "making the table that traces";
    let mut batch = Batch::new(socket, table);
    for family in Family::ALL {
        let flows: Vec<&Flow> = request.flows.iter().filter(|flow| flow.family() == family).collect();
        if !flows.is_empty() {
            write(&mut batch, family, &flows, request);
        }
    }
    match batch.try_send(socket) {
        Err(failed) if failed.is(Errno::EOPNOTSUPP) || failed.is(Errno::EINVAL) => Err(KernelError::Failed {
            attempt: attempt.into(),
            reason:
                "this kernel does not know the table flag `owner`, without which a table could be left behind; tracing \
                     takes Linux 5.12 or later"
                    .into(),
        }),
        outcome => outcome.map_err(|failed| failed.during(attempt)),
    }
}

fn write(batch: &mut Batch<'_>, family: Family, flows: &[&Flow], request: &Request) {
    batch.make_table(family, NLM_F_CREATE, NFT_TABLE_F_OWNER, None);
    batch.make_chain(family, SAMPLE, None);
    batch.add_rule(family, SAMPLE, |w| write_sample(w, request.rate));
    let chains = [
        ("prerouting", NF_INET_PRE_ROUTING, FIRST),
        ("output", NF_INET_LOCAL_OUT, FIRST),
        ("forward", NF_INET_FORWARD, LAST),
        ("input", NF_INET_LOCAL_IN, LAST),
        ("postrouting", NF_INET_POST_ROUTING, LAST),
    ];
    for (name, hook, priority) in chains {
        batch.make_chain(family, name, Some(BaseChain { hook, priority }));
    }
    for flow in flows {
        let protocols = flow.protocol.map_or(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp], |only| vec![only]);
        for protocol in protocols {
            let mut rule = |chain: &str, arrived: bool| {
                batch.add_rule(family, chain, |w| write_flow(w, flow, protocol, request.first_only, arrived));
            };
            rule("output", false);
            if flow.from != Sender::Host {
                rule("prerouting", true);
            }
        }
    }
}

/// Up to so many packets a second are traced.
fn write_sample(writer: &mut Writer, rate: u32) {
    expression(writer, "limit", |w| {
        w.attribute(NFTA_LIMIT_RATE, &u64::from(rate).to_be_bytes());
        w.attribute(NFTA_LIMIT_UNIT, &1u64.to_be_bytes());
        w.number(NFTA_LIMIT_BURST, rate);
    });
    immediate(writer, &1u32.to_ne_bytes());
    expression(writer, "meta", |w| {
        w.number(NFTA_META_KEY, NFT_META_NFTRACE);
        w.number(NFTA_META_SREG, REGISTER);
    });
}

/// Matches a flow's packets of one protocol. `arrived`: not those that come in by the loopback interface, which were seen
/// when they went out by it.
fn write_flow(writer: &mut Writer, flow: &Flow, protocol: Protocol, first_only: bool, arrived: bool) {
    if arrived {
        load_meta(writer, NFT_META_IIF);
        compare(writer, NFT_CMP_NEQ, &LOOPBACK.to_ne_bytes());
    }
    let (source, destination) = match flow.family() {
        Family::V4 => (12, 16),
        Family::V6 => (8, 24),
    };
    let mut address = |offset: u32, address: std::net::IpAddr| {
        let mut bytes = Vec::new();
        push_address(&mut bytes, address);
        load_payload(writer, NFT_PAYLOAD_NETWORK_HEADER, offset, bytes.len() as u32);
        compare(writer, NFT_CMP_EQ, &bytes);
    };
    address(destination, flow.destination);
    if let Sender::Address(sender) = flow.from {
        address(source, sender);
    }
    load_meta(writer, NFT_META_L4PROTO);
    compare(writer, NFT_CMP_EQ, &[protocol.number()]);
    if let Some(port) = flow.port {
        load_payload(writer, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
        compare(writer, NFT_CMP_EQ, &port.to_be_bytes());
    }
    if first_only {
        write_first(writer, protocol);
    }
    expression(writer, "immediate", |w| {
        w.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        w.nested(NFTA_IMMEDIATE_DATA, |w| {
            w.nested(NFTA_DATA_VERDICT, |w| {
                w.number(NFTA_VERDICT_CODE, Verdict::Goto.into());
                w.text(NFTA_VERDICT_CHAIN, SAMPLE);
            });
        });
    });
}

/// Matches what opens a connection: SYN without ACK, INIT. UDP has nothing of the kind.
fn write_first(writer: &mut Writer, protocol: Protocol) {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    const INIT: u8 = 1;
    match protocol {
        Protocol::Tcp => {
            load_payload(writer, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);
            mask(writer, &[SYN | ACK]);
            compare(writer, NFT_CMP_EQ, &[SYN]);
        }
        Protocol::Sctp => {
            load_payload(writer, NFT_PAYLOAD_TRANSPORT_HEADER, 12, 1);
            compare(writer, NFT_CMP_EQ, &[INIT]);
        }
        Protocol::Udp => {}
    }
}
