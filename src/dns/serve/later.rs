use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Queries that wait for somebody else, of all sockets together.
#[derive(Clone, Debug)]
pub(super) struct Outstanding(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    count: AtomicUsize,
    ended: Notify,
}

/// The place of one query; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Outstanding);

impl Outstanding {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, count: AtomicUsize::new(0), ended: Notify::new() }))
    }

    /// A place for one more, if there is one.
    pub(super) fn enter(&self) -> Option<Place> {
        let before = self.0.count.fetch_add(1, Ordering::AcqRel);
        // Whoever is over the limit gives back what was counted: the place is dropped.
        let place = Place(self.clone());
        (before < self.0.most).then_some(place)
    }

    pub(super) fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Returns when nothing is outstanding.
    pub(super) async fn none(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.ended.notify_waiters();
        }
    }
}
