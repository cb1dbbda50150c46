use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How long a scrape waits for the loop. A loop that is busy answers later, and the scrape gets the values it had.
const PATIENCE: Duration = Duration::from_secs(2);
/// The loop is not asked more often: reading all counters costs it something.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Asks the loop, who has the kernel, to bring the metrics up to date.
#[derive(Clone, Debug)]
pub struct Refresh {
    requests: mpsc::Sender<oneshot::Sender<()>>,
    last: Arc<Mutex<Option<Instant>>>,
}

/// What the loop receives: it brings the metrics up to date and then sends `()`.
pub type RefreshRequests = mpsc::Receiver<oneshot::Sender<()>>;

impl Refresh {
    /// Both ends. At most one request waits.
    pub fn channel() -> (Self, RefreshRequests) {
        let (requests, received) = mpsc::channel(1);
        (Self { requests, last: Arc::default() }, received)
    }

    /// Returns when the metrics are up to date, were so a moment ago, or the loop is busy.
    pub async fn ask(&self) {
        if self.last().is_some_and(|last| last.elapsed() < LEAST_INTERVAL) {
            return;
        }
        let (reply, replied) = oneshot::channel();
        if self.requests.try_send(reply).is_ok() && matches!(timeout(PATIENCE, replied).await, Ok(Ok(()))) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_busy_loop_keeps_nobody_waiting_for_long() {
        let (refresh, mut requests) = Refresh::channel();
        let start = tokio::time::Instant::now();
        refresh.ask().await;
        assert_eq!(start.elapsed(), PATIENCE, "nobody answered");
        refresh.ask().await;
        assert_eq!(start.elapsed(), PATIENCE, "the first request waits still: a second one is of no use");
        requests.try_recv().unwrap().send(()).unwrap_err();
        assert!(requests.try_recv().is_err(), "one request at most");
    }

    #[tokio::test]
    async fn a_scrape_right_after_another_asks_for_nothing() {
        let (refresh, mut requests) = Refresh::channel();
        let (asked, ()) = tokio::join!(refresh.ask(), async {
            requests.recv().await.unwrap().send(()).unwrap();
        });
        let () = asked;
        refresh.ask().await;
        assert!(requests.try_recv().is_err());
    }
}
