//! What is kept about one question.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::Failed;
use crate::{
    answers::foreign::{Foreign, Kind},
    config::dns::Prefetch,
};

/// First time that a failure is kept, in seconds.
const FIRST_FAILURE: u32 = 1;

/// What is kept about one question: an answer, that asking failed, or both.
pub struct Entry {
    pub kept: Option<Kept>,
    pub failing: Option<Failing>,
    /// Hits without a long pause between them
    hits: AtomicU32,
    /// When the last hit was, in milliseconds since the answer came
    last_hit: AtomicU64,
    /// Somebody was told to ask again
    asked_again: AtomicBool,
}

/// An answer.
#[derive(Clone)]
pub struct Kept {
    pub foreign: Arc<Foreign>,
    pub since: Instant,
    pub ends: Instant,
}

/// That asking failed.
pub struct Failing {
    pub failed: Failed,
    pub since: Instant,
    pub ends: Instant,
    /// Seconds that it is kept
    period: u32,
}

impl Entry {
    /// An answer that is kept for `keep` seconds. No record says more than that, or less than `least`.
    pub fn new(foreign: &Arc<Foreign>, keep: u32, least: u32, now: Instant) -> Self {
        let most = if foreign.kind() == Kind::Answer && foreign.keep() <= Some(keep) { u32::MAX } else { keep };
        // As it came if nothing changes: the answer is on its way to a client and can be shared.
        let foreign = match foreign.with_ttls(|ttl| ttl.min(most).max(least)) {
            same if same == **foreign => Arc::clone(foreign),
            other => Arc::new(other),
        };
        let ends = now + Duration::from_secs(keep.into());
        Self::with(Some(Kept { foreign, since: now, ends }), None)
    }

    /// What is left of an earlier answer, and the failure to have another.
    pub fn failing(kept: Option<Kept>, failing: Failing) -> Self {
        Self::with(kept, Some(failing))
    }

    fn with(kept: Option<Kept>, failing: Option<Failing>) -> Self {
        Self {
            kept,
            failing,
            hits: AtomicU32::new(0),
            last_hit: AtomicU64::new(0),
            asked_again: AtomicBool::new(false),
        }
    }

    /// Counts a hit. Returns whether it is time to ask again, once.
    pub fn due(&self, kept: &Kept, prefetch: Prefetch, now: Instant) -> bool {
        let at = now.saturating_duration_since(kept.since).as_millis() as u64;
        let before = self.last_hit.swap(at, Relaxed);
        // Two hits at a time may count as one. Nothing depends on it.
        let hits = match at.saturating_sub(before) > prefetch.pause.as_millis() as u64 {
            true => 1,
            false => self.hits.load(Relaxed).saturating_add(1),
        };
        self.hits.store(hits, Relaxed);
        let whole = kept.ends.saturating_duration_since(kept.since);
        let left = kept.ends.saturating_duration_since(now);
        hits >= prefetch.hits
            && left * 100 < whole * u32::from(prefetch.percent)
            && !self.asked_again.swap(true, Relaxed)
    }

    /// What it counts as.
    pub fn kind(&self) -> Kind {
        self.kept.as_ref().map_or(Kind::Failure, |kept| kept.foreign.kind())
    }

    /// Octets that it takes.
    pub fn octets(&self) -> u64 {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.foreign.octets());
        let failing = match &self.failing {
            Some(Failing { failed: Failed::Told(foreign), .. }) => foreign.octets(),
            _ => 0,
        };
        (size_of::<Self>() + kept + failing) as u64
    }
}

impl Failing {
    /// A failure, kept longer if it follows another.
    pub fn after(before: Option<&Self>, failed: Failed, longest: u32, now: Instant) -> Self {
        let period = before.map_or(FIRST_FAILURE, |before| before.period.saturating_mul(2)).min(longest);
        Self { failed, since: now, ends: now + Duration::from_secs(period.into()), period }
    }
}
