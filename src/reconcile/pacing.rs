//! When the loop works: at once after a quiet time, gathered under load, later and later while the kernel fails.

use std::time::{Duration, Instant};

/// The first new try after a failure; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// After a repair the next one waits this many times as long as it took: where two programs fight over the tables,
/// reading them again and again must not eat the processor.
const REST: u32 = 20;
/// But never longer than this: a change by others is to be noticed within two seconds.
const LONGEST_REST: Duration = Duration::from_millis(1500);

/// How a pass of the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel holds what is wanted
    Done,
    /// The kernel refused some owners' rows; they are tried again
    Refused,
    /// Nothing, or not everything, was done
    Failed,
}

/// Decides when the next pass may begin. The clock is the caller's.
#[derive(Debug)]
pub struct Pacing {
    /// Least time from the end of a pass to the begin of the next
    least: Duration,
    /// Longest time between two tries
    longest_retry: Duration,
    /// Not before this
    earliest: Instant,
    /// Something changed that no pass has seen
    wanted: bool,
    /// The next try without any change, and the pause after it
    retry: Option<Instant>,
    pause: Duration,
    /// Somebody else's change is not looked at before this
    rested: Instant,
}

impl Pacing {
    /// A loop that has not done anything yet and wants nothing.
    pub fn new(least: Duration, longest_retry: Duration, now: Instant) -> Self {
        let pause = FIRST_RETRY.min(longest_retry);
        Self { least, longest_retry, earliest: now, wanted: false, retry: None, pause, rested: now }
    }

    /// Some input changed.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Somebody else changed the tables.
    pub fn want_repair(&mut self) {
        self.wanted = true;
        self.earliest = self.earliest.max(self.rested);
    }

    /// When the next pass is due; `None` while there is nothing to do.
    pub fn due(&self) -> Option<Instant> {
        if self.wanted { Some(self.earliest) } else { self.retry.map(|retry| retry.max(self.earliest)) }
    }

    /// Whether it is time for what failed to be tried again.
    pub fn retries(&self, now: Instant) -> bool {
        self.retry.is_some_and(|retry| retry <= now)
    }

    /// Something besides a pass failed, and is to be tried again.
    pub fn failed(&mut self, now: Instant) {
        if self.retry.is_none_or(|retry| retry <= now) {
            self.retry = Some(now + self.pause);
            self.pause = (self.pause * 2).min(self.longest_retry);
        }
    }

    /// A pass that began at `begun` ended at `now`.
    pub fn finished(&mut self, outcome: Outcome, repair: bool, begun: Instant, now: Instant) {
        self.wanted = false;
        self.earliest = now + self.least;
        if repair {
            self.rested = now + (now.duration_since(begun) * REST).min(LONGEST_REST);
        }
        match outcome {
            Outcome::Done => {
                self.retry = None;
                self.pause = FIRST_RETRY.min(self.longest_retry);
            }
            // A pass for other reasons in between does not put off the next try.
            Outcome::Refused => self.failed(now),
            Outcome::Failed => {
                self.earliest = now + self.least.max(FIRST_RETRY.min(self.longest_retry));
                self.failed(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn the_first_change_after_a_quiet_time_is_handled_at_once_and_the_next_ones_are_gathered() {
        let start = Instant::now();
        let mut pacing = Pacing::new(LEAST, LONGEST, start);
        assert_eq!(pacing.due(), None);
        pacing.want();
        assert_eq!(pacing.due(), Some(start));
        let end = start + Duration::from_millis(3);
        pacing.finished(Outcome::Done, false, start, end);
        assert_eq!(pacing.due(), None);
        pacing.want();
        pacing.want();
        assert_eq!(pacing.due(), Some(end + LEAST));
    }

    #[test]
    fn failures_are_tried_again_later_and_later_and_a_change_does_not_wait_for_that() {
        let mut now = Instant::now();
        let mut pacing = Pacing::new(LEAST, LONGEST, now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            pacing.finished(Outcome::Failed, false, now, now);
            let due = pacing.due().unwrap();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        pacing.want();
        assert!(pacing.due().unwrap() - now <= FIRST_RETRY);
        pacing.finished(Outcome::Done, false, now, now);
        assert_eq!(pacing.due(), None);
        pacing.finished(Outcome::Refused, false, now, now);
        assert_eq!(pacing.due(), Some(now + FIRST_RETRY), "after a success the pauses begin anew");
    }

    #[test]
    fn what_is_refused_is_tried_again_in_its_own_time_whatever_else_changes() {
        let start = Instant::now();
        let mut pacing = Pacing::new(LEAST, LONGEST, start);
        pacing.finished(Outcome::Refused, false, start, start);
        for tenth in 1..10 {
            let now = start + Duration::from_millis(100 * tenth);
            pacing.want();
            assert!(!pacing.retries(now));
            pacing.finished(Outcome::Refused, false, now, now);
            assert_eq!(pacing.due(), Some(start + FIRST_RETRY).max(Some(now + LEAST)));
        }
        assert!(pacing.retries(start + FIRST_RETRY));
    }

    #[test]
    fn a_fight_over_the_tables_leaves_most_of_the_processor_alone_but_is_answered_within_two_seconds() {
        let start = Instant::now();
        let mut pacing = Pacing::new(LEAST, LONGEST, start);
        let took = |ms| Duration::from_millis(ms);
        pacing.finished(Outcome::Done, true, start, start + took(10));
        pacing.want_repair();
        assert_eq!(pacing.due(), Some(start + took(10 + 200)));
        pacing.finished(Outcome::Done, true, start, start + took(700));
        pacing.want_repair();
        assert_eq!(pacing.due(), Some(start + took(700) + LONGEST_REST));
    }
}
