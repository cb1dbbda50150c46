use nftables::{
    expr::{Expression, Map, Meta, MetaKey, NamedExpression, NgMode, Numgen, Payload, PayloadField},
    schema::Rule,
    stmt::{NAT, NATFamily, Statement},
};

use super::nf_family;
use crate::{
    model::Family,
    tables::{Container, PickChain, TABLE},
};

/// The rule of a pick chain: `dnat ip to ip daddr . meta l4proto . th dport . numgen random mod N map @endpoints`.
pub(super) fn rule(pick: &PickChain) -> Rule<'static> {
    let (ip, nat_family) = match pick.family {
        Family::V4 => ("ip", NATFamily::IP),
        Family::V6 => ("ip6", NATFamily::IP6),
    };
    let slot = Numgen {
        mode: NgMode::Random,
        ng_mod: pick.count.into(),
        // nft lists an offset of 0 too.
        offset: Some(pick.list.first_slot().into()),
    };
    let key = NamedExpression::Concat(vec![
        payload(ip, "daddr"),
        Expression::Named(NamedExpression::Meta(Meta { key: MetaKey::L4proto })),
        payload("th", "dport"),
        Expression::Named(NamedExpression::Numgen(slot)),
    ]);
    let nat = NAT {
        addr: Some(map(Expression::Named(key), &Container::Endpoints.name())),
        family: Some(nat_family),
        port: None,
        flags: None,
    };
    Rule {
        family: nf_family(pick.family),
        table: TABLE.into(),
        chain: pick.name().into(),
        expr: vec![Statement::DNAT(Some(nat))].into(),
        ..Rule::default()
    }
}

/// A field of a header, such as `ip daddr`.
pub(super) fn payload(protocol: &'static str, field: &'static str) -> Expression<'static> {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

/// What a named map has for a key.
pub(super) fn map(key: Expression<'static>, name: &str) -> Expression<'static> {
    let data = Expression::String(format!("@{name}").into());
    Expression::Named(NamedExpression::Map(Box::new(Map { key, data })))
}
