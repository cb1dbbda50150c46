//! Equal questions that are under way at a time are one (2.2).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::watch};

use crate::answers::{Failure, foreign::Foreign, query::Question};

/// What became of a question.
pub type Outcome = Result<Arc<Foreign>, Failure>;

/// A question, and whether the answer may have any size.
type Key = (Question, bool);

/// Questions under way.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>);

/// Somebody who waits for an outcome.
#[derive(Debug)]
pub struct Waiter(watch::Receiver<Option<Outcome>>);

impl Flights {
    /// Joins an equal question, or starts one. It goes on when nobody waits for it any more: its answer is kept for the
    /// next. Returns whether it was there before.
    pub fn join<F>(self: &Arc<Self>, key: Key, runtime: &Handle, start: impl FnOnce() -> F) -> (Waiter, bool)
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut flights = self.lock();
        // One whose sender is gone ended without an outcome.
        if let Some(flight) = flights.get(&key)
            && flight.has_changed().is_ok()
        {
            return (Waiter(flight.clone()), true);
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key.clone(), receiver.clone());
        drop(flights);
        let flights = Arc::clone(self);
        let task = start();
        runtime.spawn(async move {
            let outcome = task.await;
            flights.lock().remove(&key);
            sender.send_replace(Some(outcome));
        });
        (Waiter(receiver), false)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Outcome>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// The outcome; nothing if the runtime ended before.
    pub async fn outcome(mut self) -> Option<Outcome> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}
