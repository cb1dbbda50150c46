use std::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering},
};

/// Upper limits of the batch sizes that are counted together.
pub const BATCH_LIMITS: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// What the sockets of one [`super::Serving`] saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches of datagrams, by size: up to each of [`BATCH_LIMITS`], not cumulative
    pub batches: [u64; BATCH_LIMITS.len()],
    /// Datagrams that were received
    pub datagrams: u64,
    /// Datagrams that the kernel dropped because they were not read in time
    pub overflowed: u64,
    /// Datagrams that nobody may be answered for: from port 0, or from ourselves
    pub unanswerable: u64,
    /// Answers that could not be sent
    pub unsent: u64,
    /// Queries, UDP and TCP, that would have had to wait and for which there was no room
    pub busy: u64,
    /// Queries that wait now
    pub outstanding: u64,
    /// TCP connections that were taken
    pub connections: u64,
    /// TCP connections that were closed at once because of a limit
    pub refused_connections: u64,
    /// TCP connections that were given up: slow, idle or malformed
    pub dropped_connections: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (sum, batches) in self.batches.iter_mut().zip(other.batches) {
            *sum += batches;
        }
        self.datagrams += other.datagrams;
        self.overflowed += other.overflowed;
        self.unanswerable += other.unanswerable;
        self.unsent += other.unsent;
        self.busy += other.busy;
        self.outstanding += other.outstanding;
        self.connections += other.connections;
        self.refused_connections += other.refused_connections;
        self.dropped_connections += other.dropped_connections;
    }
}

/// One counter for each worker, and those of TCP, which all connections share.
#[derive(Debug)]
pub(super) struct Counters {
    workers: Box<[OfWorker]>,
    pub(super) busy: AtomicU64,
    pub(super) unsent: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) refused_connections: AtomicU64,
    pub(super) dropped_connections: AtomicU64,
}

/// Written by one thread only: on cache lines of their own, without a locked instruction.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct OfWorker {
    pub(super) batches: [AtomicU64; BATCH_LIMITS.len()],
    pub(super) datagrams: AtomicU64,
    pub(super) overflowed: AtomicU64,
    pub(super) unanswerable: AtomicU64,
    pub(super) unsent: AtomicU64,
}

impl Counters {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| OfWorker::default()).collect(),
            busy: AtomicU64::default(),
            unsent: AtomicU64::default(),
            connections: AtomicU64::default(),
            refused_connections: AtomicU64::default(),
            dropped_connections: AtomicU64::default(),
        }
    }

    pub(super) fn worker(&self, index: usize) -> &OfWorker {
        &self.workers[index]
    }

    pub(super) fn sum(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut counts = Counts {
            busy: read(&self.busy),
            unsent: read(&self.unsent),
            connections: read(&self.connections),
            refused_connections: read(&self.refused_connections),
            dropped_connections: read(&self.dropped_connections),
            ..Counts::default()
        };
        for worker in &self.workers {
            for (sum, batches) in counts.batches.iter_mut().zip(&worker.batches) {
                *sum += read(batches);
            }
            counts.datagrams += read(&worker.datagrams);
            counts.overflowed += read(&worker.overflowed);
            counts.unanswerable += read(&worker.unanswerable);
            counts.unsent += read(&worker.unsent);
        }
        counts
    }
}

impl OfWorker {
    /// A batch of this many datagrams, at least one.
    pub(super) fn batch(&self, size: usize) {
        let size = size as u64;
        let class = BATCH_LIMITS.iter().position(|limit| size <= *limit).unwrap_or(BATCH_LIMITS.len() - 1);
        add(&self.batches[class], 1);
        add(&self.datagrams, size);
    }
}

/// Adds to a counter that no other thread writes.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}
