//! `errors`: a line for failures, at most one a second, so that an upstream that is away does not fill disks.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::base::Name;
use tracing::warn;

use crate::answers::{Failure, query::Question};

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the lines of one block.
#[derive(Debug, Default)]
pub struct ErrorLog(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    last: Option<Instant>,
    left_out: u64,
}

impl ErrorLog {
    /// A question whose answer is a failure at `now`.
    pub fn failed(&self, question: &Question, failure: &Failure, now: Instant) {
        let Some(left_out) = self.turn(now) else { return };
        let name =
            Name::from_octets(&*question.name).map_or_else(|_| "-".to_owned(), |name| name.fmt_with_dot().to_string());
        warn!(%name, qtype = %question.qtype, left_out, "no answer, the client is told {}: {}", failure.rcode, reason(failure));
    }

    /// Whether a line may be written at `now`, and how many were not since the last.
    fn turn(&self, now: Instant) -> Option<u64> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            turns.left_out += 1;
            return None;
        }
        turns.last = Some(now);
        Some(std::mem::take(&mut turns.left_out))
    }
}

fn reason(failure: &Failure) -> String {
    match failure.ede {
        None => "no reason is known".to_owned(),
        Some(ede) if ede.text.is_empty() => ede.code.to_string(),
        Some(ede) => ede.text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let log = ErrorLog::default();
        let begin = Instant::now();
        let turns = [0, 1, 999, 1000, 1001, 5000].map(|at| log.turn(begin + Duration::from_millis(at)));
        assert_eq!(turns, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn the_reason_is_what_the_client_is_told() {
        assert_eq!(reason(&crate::dns::forward::TOO_MANY), "too many queries are under way");
        assert!(!reason(&Failure::NO_UPSTREAM).is_empty());
    }
}
