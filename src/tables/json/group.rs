use nftables::{
    expr::{Expression, Meta, MetaKey, NamedExpression, SetItem},
    schema::{NfListObject, Rule},
    stmt::{Match, NAT, Operator, Statement},
};
use serde_json::{Value, json};

use super::{
    Object, nf_family,
    pick::{map, payload},
};
use crate::{
    model::Family,
    tables::{AffinityGroup, List, TABLE, group::CLIENTS},
};

/// The sets and maps of a group: `set` or `map`, and the declaration.
pub(super) fn sets(group: &AffinityGroup) -> Vec<(&'static str, Value)> {
    let (family, table) = (group.family.nft(), TABLE);
    let address = match group.family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    };
    let members = |name| json!({ "family": family, "table": table, "name": name, "type": [address, "inet_service"] });
    let memory = |name, value| {
        // nft 1.0.6 lists the flag `timeout` only, not `dynamic`.
        json!({
            "family": family, "table": table, "name": name, "type": address, "map": value,
            "size": CLIENTS, "flags": ["timeout"],
        })
    };
    let of_list = |list| {
        [
            ("set", members(group.members(list))),
            ("map", memory(group.addresses(list), address)),
            ("map", memory(group.ports(list), "inet_service")),
        ]
    };
    group.lists().flat_map(of_list).collect()
}

/// The rules of a group's chains.
pub(super) fn rules(group: &AffinityGroup) -> Vec<Object<'static>> {
    let sticky = |list| {
        [
            Object::Listed(NfListObject::Rule(known_client_rule(group, list))),
            Object::Plain(new_client_rule(group, list)),
            Object::Plain(new_client_rule(group, list)),
        ]
    };
    let learn = group.lists().map(|list| Object::Plain(learn_rule(group, list)));
    group.lists().flat_map(sticky).chain(learn).collect()
}

/// `meta l4proto { tcp, udp, sctp } dnat to ip saddr map @... : ip saddr map @...`
fn known_client_rule(group: &AffinityGroup, list: List) -> Rule<'static> {
    let ip = group.family.nft();
    let protocols = ["tcp", "udp", "sctp"].map(|name| SetItem::Element(Expression::String(name.into())));
    let is_transport = Match {
        left: Expression::Named(NamedExpression::Meta(Meta { key: MetaKey::L4proto })),
        right: Expression::Named(NamedExpression::Set(protocols.into())),
        op: Operator::EQ,
    };
    let nat = NAT {
        addr: Some(map(payload(ip, "saddr"), &group.addresses(list))),
        family: None,
        port: Some(map(payload(ip, "saddr"), &group.ports(list))),
        flags: None,
    };
    Rule {
        family: nf_family(group.family),
        table: TABLE.into(),
        chain: group.sticky(list).into(),
        expr: vec![Statement::Match(is_transport), Statement::DNAT(Some(nat))].into(),
        ..Rule::default()
    }
}

/// `ip daddr . meta l4proto . th dport vmap @first-picks`
fn new_client_rule(group: &AffinityGroup, list: List) -> Value {
    let ip = group.family.nft();
    let key = json!({ "concat": [payload(ip, "daddr"), { "meta": { "key": "l4proto" } }, payload("th", "dport")] });
    let data = format!("@{}first-picks", list.prefix());
    json!({ "rule": {
        "family": ip,
        "table": TABLE,
        "chain": group.sticky(list),
        "expr": [{ "vmap": { "key": key, "data": data } }],
    } })
}

/// `ip daddr . th dport @members update @... update @...`. nft 1.0.6 has no JSON for the statement `update @map` and
/// lists its text instead, with a duration in its own form; so does this.
fn learn_rule(group: &AffinityGroup, list: List) -> Value {
    let (ip, timeout) = (group.family.nft(), duration(group.timeout));
    let endpoint = json!({ "concat": [payload(ip, "daddr"), payload("th", "dport")] });
    let members = format!("@{}", group.members(list));
    let update = |map, value| format!("update @{map} {{ ct original {ip} saddr timeout {timeout} : {value} }}");
    json!({ "rule": {
        "family": ip,
        "table": TABLE,
        "chain": group.learn(),
        "expr": [
            { "match": { "op": "==", "left": endpoint, "right": members } },
            update(group.addresses(list), format!("{ip} daddr")),
            update(group.ports(list), "th dport".to_owned()),
        ],
    } })
}

/// Seconds as nft prints them: `1d2h3m4s`, without the parts that are zero.
fn duration(seconds: u32) -> String {
    let parts = [(seconds / 86400, 'd'), (seconds / 3600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_written_as_nft_does() {
        for (seconds, text) in [(1, "1s"), (60, "1m"), (90, "1m30s"), (10800, "3h"), (86400, "1d"), (90061, "1d1h1m1s")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
