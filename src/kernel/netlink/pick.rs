//! The rule of a pick chain, which stands in it twice, and which nft 1.0.6 and 1.1.3 cannot be told as text once its map exists (dataplane.md):
//!
//! `dnat ip to ip daddr . meta l4proto . th dport . numgen random mod N map @endpoints`

use super::{
    dump::Rule,
    expression::{FIRST, expression, payload},
    uapi::{
        NFT_META_L4PROTO, NFT_NAT_DNAT, NFT_NG_RANDOM, NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER,
        NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_LOOKUP_DREG, NFTA_LOOKUP_SET, NFTA_LOOKUP_SREG, NFTA_META_DREG,
        NFTA_META_KEY, NFTA_NAT_FAMILY, NFTA_NAT_REG_ADDR_MIN, NFTA_NAT_REG_PROTO_MIN, NFTA_NAT_TYPE, NFTA_NG_DREG,
        NFTA_NG_MODULUS, NFTA_NG_OFFSET, NFTA_NG_TYPE,
    },
    wire::{Attributes, Writer, protocol_family},
};
use crate::{
    model::Family,
    tables::{Container, PickChain},
};

/// The registers of 4 bytes: the first of them is another name for the start of register 1.
const QUARTER: u32 = 8;

/// Where things lie in a family's packets and registers.
struct Layout {
    /// The destination address in the network header
    destination: u32,
    /// Its length
    length: u32,
    /// The register behind an address that is loaded into register 1, as nft numbers it
    behind_address: u32,
}

fn layout(family: Family) -> Layout {
    match family {
        Family::V4 => Layout { destination: 16, length: 4, behind_address: QUARTER + 1 },
        Family::V6 => Layout { destination: 24, length: 16, behind_address: FIRST + 1 },
    }
}

/// Writes the expressions that nft would make of the rule's text, so that `nft list` shows that text.
pub(crate) fn write_pick_rule(writer: &mut Writer, pick: &PickChain) {
    let Layout { destination, length, behind_address } = layout(pick.family);
    let after_address = QUARTER + length / 4; // behind_address under its other name
    payload(writer, FIRST, NFT_PAYLOAD_NETWORK_HEADER, destination, length);
    expression(writer, "meta", |w| {
        w.number(NFTA_META_DREG, behind_address);
        w.number(NFTA_META_KEY, NFT_META_L4PROTO);
    });
    payload(writer, after_address + 1, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
    expression(writer, "numgen", |w| {
        w.number(NFTA_NG_DREG, after_address + 2);
        w.number(NFTA_NG_MODULUS, pick.count.into());
        w.number(NFTA_NG_TYPE, NFT_NG_RANDOM);
        w.number(NFTA_NG_OFFSET, pick.list.first_slot().into());
    });
    expression(writer, "lookup", |w| {
        w.text(NFTA_LOOKUP_SET, &Container::Endpoints.name());
        w.number(NFTA_LOOKUP_SREG, FIRST);
        w.number(NFTA_LOOKUP_DREG, FIRST);
    });
    expression(writer, "nat", |w| {
        w.number(NFTA_NAT_TYPE, NFT_NAT_DNAT);
        w.number(NFTA_NAT_FAMILY, u8::from(protocol_family(pick.family)).into());
        w.number(NFTA_NAT_REG_ADDR_MIN, FIRST);
        w.number(NFTA_NAT_REG_PROTO_MIN, behind_address);
    });
}

/// Whether these are the rules of a pick chain, as far as anything in them depends on the chain.
pub(crate) fn are_pick_rules(rules: &[&Rule], pick: &PickChain) -> bool {
    rules.len() == PickChain::RULES && rules.iter().all(|rule| is_pick_rule(rule, pick))
}

fn is_pick_rule(rule: &Rule, pick: &PickChain) -> bool {
    let expressions: Vec<_> = Attributes(&rule.expressions).iter().map(|(_, value)| Attributes(value)).collect();
    let names = expressions.iter().map(|expression| expression.text(NFTA_EXPR_NAME).unwrap_or_default());
    let data = |index: usize| expressions[index].nested(NFTA_EXPR_DATA);
    names.eq(["payload", "meta", "payload", "numgen", "lookup", "nat"])
        && data(3).number(NFTA_NG_MODULUS) == Some(pick.count.into())
        && data(3).number(NFTA_NG_OFFSET).unwrap_or(0) == u32::from(pick.list.first_slot())
        && data(4).text(NFTA_LOOKUP_SET) == Some(&Container::Endpoints.name())
}
