//! Values of which not every bit is known, and what can be said of them.

use std::collections::BTreeSet;

/// A number of which only the bits in `known` are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits {
    value: u128,
    known: u128,
}

impl Bits {
    /// Nothing is known.
    pub const UNKNOWN: Bits = Bits { value: 0, known: 0 };

    pub fn exactly(value: impl Into<u128>) -> Self {
        Self::partly(value.into(), u128::MAX)
    }

    pub fn partly(value: u128, known: u128) -> Self {
        Self { value: value & known, known }
    }

    /// The value, if all of it is known.
    pub fn exact(self) -> Option<u128> {
        (self.known == u128::MAX).then_some(self.value)
    }

    pub fn and(self, other: Self) -> Self {
        // A zero on either side decides.
        let zero = (self.known & !self.value) | (other.known & !other.value);
        Self::partly(self.value & other.value, (self.known & other.known) | zero)
    }

    pub fn or(self, other: Self) -> Self {
        Self { value: self.value | other.value, known: (self.known & other.known) | self.value | other.value }
    }

    pub fn xor(self, other: Self) -> Self {
        Self::partly(self.value ^ other.value, self.known & other.known)
    }

    /// What is known if it is either of the two.
    pub fn either(self, other: Self) -> Self {
        Self::partly(self.value, self.known & other.known & !(self.value ^ other.value))
    }

    /// The bits in which this may differ from another.
    pub fn differs(self, other: Self) -> u128 {
        !(self.known & other.known) | (self.value ^ other.value)
    }

    /// These bits of this value, all others of the other one.
    pub fn over(self, bits: u128, other: Self) -> Self {
        Self { value: self.value & bits | other.value & !bits, known: self.known & bits | other.known & !bits }
    }

    fn least(self) -> u128 {
        self.value
    }

    fn most(self) -> u128 {
        self.value | !self.known
    }

    /// Whether it is this value under a mask.
    pub fn equals(self, value: u128, mask: u128) -> Option<bool> {
        if (self.value ^ value) & mask & self.known != 0 {
            return Some(false);
        }
        (mask & !self.known == 0).then_some(true)
    }

    /// Whether it has a bit of these.
    pub fn has_any(self, bits: u128) -> Option<bool> {
        if self.value & bits != 0 {
            return Some(true);
        }
        (bits & !self.known == 0).then_some(false)
    }

    /// Whether it is between these two, both included.
    pub fn within(self, first: u128, last: u128) -> Option<bool> {
        if self.least() >= first && self.most() <= last {
            return Some(true);
        }
        (self.most() < first || self.least() > last).then_some(false)
    }
}

/// What something depends on; nothing if it is certain.
pub(super) type Doubts = BTreeSet<String>;

/// More than this need not be known of what something depends on: it is as uncertain with less.
const MOST_DOUBTS: usize = 16;

/// Adds to what something depends on. Every rule may add one of its own, and they are handed on from rule to rule.
pub(super) fn add(doubts: &mut Doubts, more: impl IntoIterator<Item = String>) {
    for doubt in more {
        if doubts.len() >= MOST_DOUBTS {
            break;
        }
        doubts.insert(doubt);
    }
}

/// Both together.
pub(super) fn both(doubts: &Doubts, more: &Doubts) -> Doubts {
    let mut all = doubts.clone();
    add(&mut all, more.iter().cloned());
    all
}

/// Whether something holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    /// It depends on these
    Unknown(Doubts),
}

impl Truth {
    pub fn unknown(what: impl Into<String>) -> Self {
        Truth::Unknown(Doubts::from([what.into()]))
    }

    /// Of something that may be not known at all; `what` says what it depends on.
    pub fn of(holds: Option<bool>, what: &str) -> Self {
        match holds {
            Some(true) => Truth::Yes,
            Some(false) => Truth::No,
            None => Truth::unknown(what),
        }
    }

    pub fn not(self) -> Self {
        match self {
            Truth::Yes => Truth::No,
            Truth::No => Truth::Yes,
            unknown => unknown,
        }
    }

    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Truth::No, _) | (_, Truth::No) => Truth::No,
            (Truth::Yes, other) | (other, Truth::Yes) => other,
            (Truth::Unknown(mut all), Truth::Unknown(more)) => {
                add(&mut all, more);
                Truth::Unknown(all)
            }
        }
    }

    pub fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_result_is_true_for_every_value_that_it_may_have() {
        // All numbers of three bits, each bit 0, 1 or unknown.
        let all: Vec<Bits> = (0..8).flat_map(|k: u128| (0..8).map(move |v: u128| Bits::partly(v, k | !7))).collect();
        let may_be = |bits: Bits| (0..8_u128).filter(move |value| (value ^ bits.value) & bits.known == 0);
        for a in &all {
            for b in &all {
                for x in may_be(*a) {
                    for y in may_be(*b) {
                        for (result, value) in [(a.and(*b), x & y), (a.or(*b), x | y), (a.xor(*b), x ^ y)] {
                            assert!(may_be(result).any(|possible| possible == value), "{a:?} {b:?}");
                        }
                        assert!(may_be(a.either(*b)).any(|possible| possible == x));
                        assert!(may_be(a.either(*b)).any(|possible| possible == y));
                    }
                }
            }
            for limit in 0..8 {
                let is = |answer: Option<bool>, truth: &dyn Fn(u128) -> bool| {
                    let truths: BTreeSet<bool> = may_be(*a).map(truth).collect();
                    assert!(answer.is_none_or(|answer| truths == BTreeSet::from([answer])), "{a:?} {limit}");
                };
                is(a.within(2, limit), &|x| (2..=limit).contains(&x));
                is(a.equals(limit, 5), &|x| (x ^ limit) & 5 == 0);
                is(a.has_any(limit), &|x| x & limit != 0);
            }
        }
    }

    #[test]
    fn a_bit_that_is_set_stays_known_whatever_the_others_are() {
        let mark = Bits::UNKNOWN.or(Bits::exactly(0x4000_u128));
        assert_eq!(mark.equals(0x4000, 0x4000), Some(true));
        assert_eq!(mark.equals(0, u128::MAX), Some(false));
        assert_eq!(mark.and(Bits::exactly(0x4000_u128)).exact(), Some(0x4000));
    }
}
