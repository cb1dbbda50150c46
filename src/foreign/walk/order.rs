//! When a chain is asked, and what it sees of the packet.

use std::cmp::{Ordering, Reverse};

use super::Walk;
use crate::{
    foreign::{
        Hook, Packet,
        facts::{Moment, View},
        ruleset::{Base, Chain, Ruleset, Table},
        value::Bits,
    },
    model::Family,
};

/// Where our own translation stands, and that of everybody: the kernel asks all nat chains of a hook here, in the order
/// of their own priorities (`nf_nat_register_fn`).
const DESTINATION_NAT: i64 = -100;
pub(super) const SOURCE_NAT: i64 = 100;
/// Where connection tracking begins.
const CONNTRACK: i64 = -200;
impl<'a> Walk<'a> {
    /// The packet as it is for a base chain; `None` if it does not come there.
    pub(super) fn moment<'p>(
        &self,
        hook: Hook,
        packet: &'p Packet,
        position: i64,
        base: Base,
        next_mark: u32,
    ) -> Option<Moment<'p>>
    where
        'a: 'p,
    {
        let arrives = matches!(hook, Hook::Prerouting | Hook::Output);
        // What comes back by the loopback interface was tracked, and translated, when it was sent.
        let again = hook == Hook::Prerouting && packet.incoming.as_deref() == Some("lo");
        let asked_at = if base.nat { base.priority } else { position };
        let view = match asked_at.cmp(&DESTINATION_NAT) {
            Ordering::Less if arrives && !again => View::Before,
            Ordering::Equal if arrives && !again => View::Either,
            _ => View::After,
        };
        let exempt = self.exempt;
        let tracked = match position.cmp(&CONNTRACK) {
            _ if !arrives || again => exempt.map(|exempt| !exempt),
            Ordering::Less => Some(false),
            Ordering::Equal => None,
            Ordering::Greater => exempt.map(|exempt| !exempt),
        };
        // The first translation that is made is the connection's; no other chain is asked for one.
        let translated = view == View::After && arrives && packet.dialled != packet.destination;
        if base.nat && (tracked == Some(false) || again || translated) {
            return None;
        }
        let outside = Bits::exactly(if view == View::After && arrives { next_mark } else { packet.mark });
        Some(Moment {
            packet,
            hook,
            view: if exempt == Some(true) { View::Before } else { view },
            tracked,
            exempt: exempt == Some(true),
            local: self.local,
            source_hidden: hook == Hook::Postrouting && position >= SOURCE_NAT,
            moved: self.moved,
            mark: self.mark.0.over(self.mark.1, outside),
            connection_mark: self.connection_mark,
            own: &self.rules.own,
        })
    }
}

/// The base chains that a packet meets at a hook, in the order in which the kernel asks them, each with the priority
/// that it is asked at. Of those at the same priority the kernel asks the youngest first; tables and chains have
/// handles that grow.
pub(super) fn chains(rules: &Ruleset, hook: Hook, family: Family) -> Vec<(i64, &Table, &str, &Chain, Base)> {
    let tables = rules.tables.iter().filter(|table| table.sees(family));
    let all = tables.flat_map(|table| table.chains.iter().map(move |(name, chain)| (table, name.as_str(), chain)));
    let mut found: Vec<_> = all
        .filter_map(|(table, name, chain)| {
            let base = chain.base.filter(|base| base.hook == hook)?;
            let position = match hook {
                Hook::Prerouting | Hook::Output if base.nat => DESTINATION_NAT,
                Hook::Input | Hook::Postrouting if base.nat => SOURCE_NAT,
                _ => base.priority,
            };
            Some((position, table, name, chain, base))
        })
        .collect();
    found.sort_by_key(|(position, table, _, chain, base)| {
        (*position, base.priority, Reverse(table.handle), Reverse(chain.handle))
    });
    found
}
