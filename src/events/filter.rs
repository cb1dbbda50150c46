use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::Told;

/// The same event is not sent again before: the API server keeps Events for an hour.
const REPEAT: Duration = Duration::from_secs(30 * 60);
/// Events that may be sent at once.
const BURST: u32 = 20;
/// After a burst, one event each.
const REFILL: Duration = Duration::from_secs(10);

/// Decides which events are sent, so that one node's trouble does not become the API server's.
#[derive(Debug)]
pub(super) struct Filter {
    /// What was sent, and when. It stays small: so many as can be sent until they are forgotten.
    sent: BTreeMap<Told, Instant>,
    /// Events that may be sent now, as of `refilled`
    tokens: u32,
    refilled: Instant,
}

impl Filter {
    /// A filter that has let nothing through.
    pub(super) fn new(now: Instant) -> Self {
        Self { sent: BTreeMap::new(), tokens: BURST, refilled: now }
    }

    /// Whether the event is to be sent at `now`. One that is not, because there were too many, may be told again.
    pub(super) fn lets_through(&mut self, told: &Told, now: Instant) -> bool {
        self.sent.retain(|_, at| now.saturating_duration_since(*at) < REPEAT);
        if self.sent.contains_key(told) || !self.take_token(now) {
            return false;
        }
        self.sent.insert(told.clone(), now);
        true
    }

    fn take_token(&mut self, now: Instant) -> bool {
        while self.tokens < BURST && now.saturating_duration_since(self.refilled) >= REFILL {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
        let some = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Reason, *};
    use crate::model::ServiceId;

    fn told(number: usize) -> Told {
        Told {
            service: ServiceId::new("shop", "web"),
            reason: Reason::KernelRefused,
            note: format!("refused: {number}"),
        }
    }

    #[test]
    fn the_same_event_is_sent_once_in_a_while() {
        let start = Instant::now();
        let mut filter = Filter::new(start);
        assert!(filter.lets_through(&told(1), start));
        assert!(!filter.lets_through(&told(1), start + REPEAT - Duration::from_secs(1)));
        assert!(filter.lets_through(&told(2), start + Duration::from_secs(1)), "another one");
        assert!(filter.lets_through(&told(1), start + REPEAT));
    }

    #[test]
    fn a_flood_is_cut_to_a_burst_and_a_trickle() {
        let start = Instant::now();
        let mut filter = Filter::new(start);
        let sent = (0..1000).filter(|n| filter.lets_through(&told(*n), start)).count();
        assert_eq!(sent, BURST as usize);
        let mut later = |seconds| {
            let now = start + Duration::from_secs(seconds);
            (2000..3000).filter(|n| filter.lets_through(&told(*n), now)).count()
        };
        assert_eq!(later(9), 0);
        assert_eq!(later(10), 1);
        assert_eq!(later(35), 2);
        assert_eq!(later(1_000), BURST as usize, "no more than a burst is saved up");
    }

    #[test]
    fn what_is_remembered_stays_small() {
        let start = Instant::now();
        let mut filter = Filter::new(start);
        let most = BURST + (REPEAT.as_secs() / REFILL.as_secs()) as u32;
        for number in 0..10 * most {
            assert!(filter.lets_through(&told(number as usize), start + REFILL * number));
        }
        assert!(filter.sent.len() <= most as usize, "{} are remembered", filter.sent.len());
    }
}
