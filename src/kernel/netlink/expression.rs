//! Expressions of rules, as nft would write them: everything goes through the first register.

use super::{
    uapi::{
        NFTA_BITWISE_DREG, NFTA_BITWISE_LEN, NFTA_BITWISE_MASK, NFTA_BITWISE_SREG, NFTA_BITWISE_XOR, NFTA_CMP_DATA,
        NFTA_CMP_OP, NFTA_CMP_SREG, NFTA_DATA_VALUE, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_IMMEDIATE_DATA,
        NFTA_IMMEDIATE_DREG, NFTA_LIST_ELEM, NFTA_META_DREG, NFTA_META_KEY, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_DREG,
        NFTA_PAYLOAD_LEN, NFTA_PAYLOAD_OFFSET,
    },
    wire::Writer,
};

/// The first of the registers of 16 bytes.
pub(crate) const FIRST: u32 = 1;

/// Writes one expression of a rule.
pub(crate) fn expression(writer: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    writer.nested(NFTA_LIST_ELEM, |w| {
        w.text(NFTA_EXPR_NAME, name);
        w.nested(NFTA_EXPR_DATA, data);
    });
}

/// Loads bytes of the packet.
pub(crate) fn payload(writer: &mut Writer, register: u32, base: u32, offset: u32, length: u32) {
    expression(writer, "payload", |w| {
        w.number(NFTA_PAYLOAD_DREG, register);
        w.number(NFTA_PAYLOAD_BASE, base);
        w.number(NFTA_PAYLOAD_OFFSET, offset);
        w.number(NFTA_PAYLOAD_LEN, length);
    });
}

/// Loads bytes of the packet into the first register.
pub(crate) fn load_payload(writer: &mut Writer, base: u32, offset: u32, length: u32) {
    payload(writer, FIRST, base, offset, length);
}

/// Loads something that is known of the packet into the first register.
pub(crate) fn load_meta(writer: &mut Writer, key: u32) {
    expression(writer, "meta", |w| {
        w.number(NFTA_META_DREG, FIRST);
        w.number(NFTA_META_KEY, key);
    });
}

/// Loads a value into the first register.
pub(crate) fn immediate(writer: &mut Writer, value: &[u8]) {
    expression(writer, "immediate", |w| {
        w.number(NFTA_IMMEDIATE_DREG, FIRST);
        w.nested(NFTA_IMMEDIATE_DATA, |w| w.attribute(NFTA_DATA_VALUE, value));
    });
}

/// Goes on only if the first register compares so with a value.
pub(crate) fn compare(writer: &mut Writer, operator: u32, value: &[u8]) {
    expression(writer, "cmp", |w| {
        w.number(NFTA_CMP_SREG, FIRST);
        w.number(NFTA_CMP_OP, operator);
        w.nested(NFTA_CMP_DATA, |w| w.attribute(NFTA_DATA_VALUE, value));
    });
}

/// Leaves only these bits in the first register.
pub(crate) fn mask(writer: &mut Writer, bits: &[u8]) {
    expression(writer, "bitwise", |w| {
        w.number(NFTA_BITWISE_SREG, FIRST);
        w.number(NFTA_BITWISE_DREG, FIRST);
        w.number(NFTA_BITWISE_LEN, bits.len() as u32);
        w.nested(NFTA_BITWISE_MASK, |w| w.attribute(NFTA_DATA_VALUE, bits));
        w.nested(NFTA_BITWISE_XOR, |w| w.attribute(NFTA_DATA_VALUE, &vec![0; bits.len()]));
    });
}
