use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Pauses between tries: each is twice the one before, until [`Backoff::reset`].
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first.min(longest) }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        shortened(pause, 0.5)
    }

    /// All is well again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A duration, shortened at random by up to this part of it: what happened to all nodes at once must not bring them all
/// back at once.
pub fn shortened(duration: Duration, part: f64) -> Duration {
    // The standard library's only source of chance: keys for its hashing, new ones each time.
    let chance = (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64;
    duration.mul_f64(1.0 - part * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_anew_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
            let (pause, full) = (backoff.pause(), Duration::from_secs(seconds));
            assert!(pause > full / 2 && pause <= full, "{pause:?} is not within half of {full:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_secs(1));
    }

    #[test]
    fn chance_differs() {
        let pauses: Vec<_> = (0..20).map(|_| shortened(Duration::from_secs(1), 0.5)).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
