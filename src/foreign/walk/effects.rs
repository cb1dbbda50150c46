//! What rules change of a packet.

use super::{Here, Place, Walk};
use crate::{
    foreign::{
        Fate,
        expression::Expression,
        facts::{Fact, Moment, matches},
        statement::Translation,
        value::{Bits, Doubts, Truth, both},
    },
    model::{Family, Target},
};

impl<'a> Walk<'a> {
    /// Whether the translation is made; `None` if it is not one for this packet, and the rule goes on.
    pub(super) fn translate(
        &mut self,
        here: &mut Here<'_, 'a>,
        translation: &Translation,
        place: Place<'_>,
        doubts: &Doubts,
    ) -> Option<Truth> {
        let packet = here.moment.packet;
        let family = if packet.family == Family::V4 { 4 } else { 6 };
        if !here.base.nat || translation.family.is_some_and(|other| other != family) {
            return None;
        }
        let looked_up = match &translation.key {
            Some((key, known)) => matches(&here.moment.fact(key), known),
            None => Truth::Yes,
        };
        let more = match &looked_up {
            Truth::No => return Some(Truth::No),
            Truth::Yes => Doubts::new(),
            Truth::Unknown(more) => more.clone(),
        };
        let to = translation.address.filter(|_| !translation.several).and_then(|number| {
            let address = match packet.family {
                Family::V4 => std::net::Ipv4Addr::from(u32::try_from(number).ok()?).into(),
                Family::V6 => std::net::Ipv6Addr::from(number).into(),
            };
            let port = translation.port.map_or(Some(packet.dialled.port), |port| u16::try_from(port).ok())?;
            Some(Target { address, port })
        });
        let all = both(doubts, &more);
        self.find(Fate::Translated, &all, place, to);
        self.moved(&mut here.moment, all.is_empty());
        Some(looked_up)
    }

    /// From here on the packet has, or may have, another destination.
    pub(super) fn moved(&mut self, moment: &mut Moment<'_>, certain: bool) {
        self.moved = true;
        moment.moved = true;
        self.ended |= certain;
    }

    /// A packet that is not tracked is not translated. That matters only if it should be.
    pub(super) fn exempt(&mut self, moment: &mut Moment<'_>, mut doubts: Doubts, place: Place<'_>) {
        let ahead = moment.tracked != Some(true);
        if !ahead || moment.exempt {
            return;
        }
        let certain = doubts.is_empty() && moment.tracked == Some(false);
        if moment.tracked.is_none() {
            doubts.insert("whether the chain is asked before connection tracking".to_owned());
        }
        self.exempt = if certain { Some(true) } else { None };
        moment.exempt = certain;
        if moment.packet.dialled != moment.packet.destination {
            self.find(Fate::Untracked, &doubts, place, None);
            self.ended |= certain;
        }
        if !certain {
            moment.tracked = None;
        }
    }
}

/// The value of an expression, as far as it is known.
pub(super) fn value_of(moment: &Moment<'_>, expression: &Expression) -> Bits {
    match moment.fact(expression) {
        Fact::Bits(all, _) => all.into_iter().reduce(Bits::either).unwrap_or(Bits::UNKNOWN),
        _ => Bits::UNKNOWN,
    }
}
