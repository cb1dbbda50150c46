use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The longest that a worker without traffic goes without a beat.
pub const STRIDE: Duration = Duration::from_millis(500);

/// When each worker last went round its loop. A worker that hangs grows old here: this is what health and the keeper of
/// the redirect look at, so that they do not speak for threads that do not answer.
#[derive(Clone, Debug)]
pub struct Heartbeats(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    since: Instant,
    beats: Box<[Padded]>,
}

/// A line of the cache for itself: others' beats must not slow this thread's.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded {
    /// Milliseconds since `since`
    at: AtomicU64,
}

impl Heartbeats {
    pub(super) fn new(workers: usize) -> Self {
        Self(Arc::new(Shared { since: Instant::now(), beats: (0..workers).map(|_| Padded::default()).collect() }))
    }

    /// How long ago the last beat of each worker was.
    pub fn ages(&self) -> impl Iterator<Item = Duration> {
        let now = self.0.since.elapsed();
        self.0.beats.iter().map(move |beat| now.saturating_sub(Duration::from_millis(beat.at.load(Ordering::Relaxed))))
    }

    /// How long ago the last beat of the worker was that has been silent longest. Above 2 s something hangs. Zero
    /// without workers.
    pub fn oldest(&self) -> Duration {
        self.ages().max().unwrap_or_default()
    }
}

/// One worker's side.
pub(super) struct Beat {
    all: Heartbeats,
    index: usize,
}

impl Beat {
    pub(super) fn new(all: &Heartbeats, index: usize) -> Self {
        Self { all: all.clone(), index }
    }

    /// The worker goes round.
    pub(super) fn beat(&self) {
        let now = u64::try_from(self.all.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.all.0.beats[self.index].at.store(now, Ordering::Relaxed);
    }
}
