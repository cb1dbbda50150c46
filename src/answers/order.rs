//! The order of a set's records (1.13): every address is first equally often, and nothing is allocated for it.

/// Up to so many records are mixed fully.
const SMALL: usize = 8;

/// Indices 0 to `length`, each once, mixed.
pub enum Order {
    /// As they are
    Plain(std::ops::Range<usize>),
    /// A permutation, equally likely as any other
    Small { order: [u8; SMALL], at: u8, length: u8 },
    /// From a random start in random steps, as far around as there are records. Steps share no divisor with the number,
    /// so each record comes once, and what fits into a truncated reply is not a run of neighbours.
    Stride { next: usize, step: usize, length: usize, left: usize },
}

impl Order {
    /// An order; nothing is mixed without `random`.
    pub fn new(length: usize, random: Option<u64>) -> Self {
        match random {
            None => Self::Plain(0..length),
            Some(_) if length < 2 => Self::Plain(0..length),
            Some(random) if length <= SMALL => Self::small(length, random),
            Some(random) => {
                let start = scaled(random >> 32, length);
                let mut step = 1 + scaled(random & 0xffff_ffff, length - 1);
                while greatest_divisor(step, length) != 1 {
                    step = step % (length - 1) + 1;
                }
                Self::Stride { next: start, step, length, left: length }
            }
        }
    }

    /// Fisher and Yates. 8! permutations take less than 16 bits, so the bias of dividing 64 bits cannot be measured.
    fn small(length: usize, mut random: u64) -> Self {
        let mut order = [0, 1, 2, 3, 4, 5, 6, 7];
        for last in (1..length).rev() {
            let sides = last as u64 + 1;
            order.swap(last, (random % sides) as usize);
            random /= sides;
        }
        Self::Small { order, at: 0, length: length as u8 }
    }
}

impl Iterator for Order {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Plain(range) => range.next(),
            Self::Small { order, at, length } => {
                if at == length {
                    return None;
                }
                *at += 1;
                order.get(usize::from(*at) - 1).map(|&index| index.into())
            }
            Self::Stride { next, step, length, left } => {
                *left = left.checked_sub(1)?;
                let index = *next;
                *next += *step;
                if *next >= *length {
                    *next -= *length;
                }
                Some(index)
            }
        }
    }
}

/// The items of a slice in a mixed order.
pub fn mixed<T: Copy>(items: &[T], random: Option<u64>) -> impl Iterator<Item = T> + '_ {
    Order::new(items.len(), random).filter_map(|index| items.get(index).copied())
}

/// 32 random bits as a number below `bound`.
fn scaled(random: u64, bound: usize) -> usize {
    (((random & 0xffff_ffff) * bound as u64) >> 32) as usize
}

fn greatest_divisor(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator that is good enough to count with (splitmix64).
    fn randoms() -> impl Iterator<Item = u64> {
        let mut state = 7_u64;
        std::iter::from_fn(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some(z ^ (z >> 31))
        })
    }

    #[test]
    fn each_index_comes_once() {
        for length in (0..40).chain([300, 5000]) {
            for random in randoms().take(50) {
                let mut order: Vec<usize> = Order::new(length, Some(random)).collect();
                order.sort_unstable();
                assert_eq!(order, (0..length).collect::<Vec<_>>());
            }
        }
        assert_eq!(Order::new(3, None).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn every_record_is_equally_often_first_and_last() {
        for length in [2, 3, 7, 8, 9, 30] {
            let rounds = 3000 * length;
            let mut first = vec![0; length];
            let mut last = vec![0; length];
            for random in randoms().take(rounds) {
                let order: Vec<usize> = Order::new(length, Some(random)).collect();
                first[order[0]] += 1;
                last[order[length - 1]] += 1;
            }
            // Six standard deviations of 3000 around 3000 are 330.
            for count in first.iter().chain(&last) {
                assert!((2670..3330).contains(count), "{length} records: {first:?} {last:?}");
            }
        }
    }

    #[test]
    fn small_sets_come_in_every_order() {
        let mut seen = std::collections::BTreeMap::new();
        for random in randoms().take(24 * 500) {
            *seen.entry(Order::new(4, Some(random)).collect::<Vec<_>>()).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 24);
        assert!(seen.values().all(|count| (365..635).contains(count)), "{seen:?}");
    }
}
