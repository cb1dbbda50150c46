//! How long names take.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper limits of the times until a change is visible, in seconds.
pub const LATENCIES: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.5, 1.0];

/// Upper limits of the times from a change of endpoints to their names: 0.001 seconds times powers of two, this many.
pub const PROGRAMMING: usize = 20;

/// What [`Names`](super::Names) counts.
#[derive(Debug, Default)]
pub struct NameStats {
    /// Objects that came, changed or went
    pub events: AtomicU64,
    /// Times from a change to its publication, by [`LATENCIES`] and above, not cumulative
    pub latencies: [AtomicU64; LATENCIES.len() + 1],
    /// Their sum, in microseconds
    pub latency_sum: AtomicU64,
    /// Times from a change of a headless Service's endpoints, as their slice tells it, to its publication, by
    /// [`PROGRAMMING`] and above, not cumulative
    pub programming: [AtomicU64; PROGRAMMING + 1],
    /// Their sum, in microseconds
    pub programming_sum: AtomicU64,
}

impl NameStats {
    /// A change of endpoints became visible so long after it was made.
    pub(super) fn programmed(&self, took: Duration) {
        let class = (0..PROGRAMMING).find(|power| took <= Duration::from_millis(1 << power)).unwrap_or(PROGRAMMING);
        self.programming[class].fetch_add(1, Relaxed);
        self.programming_sum.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// A change became visible so long after it came here.
    pub(super) fn took(&self, took: Duration) {
        let class = LATENCIES.iter().position(|limit| took.as_secs_f64() <= *limit).unwrap_or(LATENCIES.len());
        self.latencies[class].fetch_add(1, Relaxed);
        self.latency_sum.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}
