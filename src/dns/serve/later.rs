use std::{net::IpAddr, sync::Arc};

use tokio::sync::Notify;

use crate::dns::limit::{Limit, Permit};

/// Queries that wait for somebody else, of all sockets together.
#[derive(Clone, Debug)]
pub(super) struct Outstanding {
    limit: Arc<Limit>,
    ended: Arc<Notify>,
}

/// The place of one query; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    permit: Option<Permit>,
    outstanding: Outstanding,
}

impl Outstanding {
    pub(super) fn new(most: usize) -> Self {
        Self { limit: Limit::new(most), ended: Arc::default() }
    }

    /// A place for one more, if there is one, and if this client has not more than its share.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let permit = Some(self.limit.enter(client)?);
        Some(Place { permit, outstanding: self.clone() })
    }

    pub(super) fn count(&self) -> usize {
        self.limit.count()
    }

    /// Returns when nothing is outstanding.
    pub(super) async fn none(&self) {
        loop {
            let ended = self.ended.notified();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The place is free before anybody is told.
        self.permit = None;
        if self.outstanding.count() == 0 {
            self.outstanding.ended.notify_waiters();
        }
    }
}
