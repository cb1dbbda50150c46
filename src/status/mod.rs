//! What a running agent tells of itself: when each Service was last changed in the kernel and how, what the kernel refuses,
//! whether the source of objects is heard of, and the last changes. Kept in memory, and never more than a little for each
//! Service.

mod state;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::{model::ServiceId, observed::AgentReport};
pub use state::{By, Entry, State, Summary, Trouble};

/// The status of this process. Cheap to clone; every clone is the same one, from any thread.
#[derive(Clone, Debug)]
pub struct Status(Arc<Mutex<State>>);

impl Status {
    /// The status of a process that starts now, on the node of this name.
    pub fn new(node: &str) -> Self {
        Self(Arc::new(Mutex::new(State::new(node, Timestamp::now()))))
    }

    /// A part of the source of objects, such as `Service` or `manifests`, cannot be read, for this reason.
    pub fn source_failed(&self, part: &str, reason: &str) {
        self.state().source_failed(part, reason, Timestamp::now());
    }

    /// A part of the source of objects is read.
    pub fn source_heard(&self, part: &str) {
        self.state().source_heard(part);
    }

    /// Rows of these Services changed in the kernel, each in a few words; a Service may have none.
    pub fn programmed(&self, changed: impl IntoIterator<Item = (ServiceId, Vec<String>)>) {
        self.state().programmed(changed, Timestamp::now());
    }

    /// Something else than Services changed in our tables.
    pub fn happened(&self, by: By, subject: &str, what: Vec<String>) {
        self.state().happened(by, subject, what, Timestamp::now());
    }

    /// A pass of the loop succeeded. The kernel refuses these Services' rows, with its words; `exists` says which
    /// Services there are still; `verified` that everything was read and compared.
    pub fn passed(&self, refused: BTreeMap<ServiceId, String>, exists: impl Fn(&ServiceId) -> bool, verified: bool) {
        self.state().passed(refused, exists, verified, Timestamp::now());
    }

    /// The loop does its work again: inputs are applied, and the kernel is as they say.
    pub fn recovered(&self) {
        self.state().recovered();
    }

    /// The loop failed as a whole, for this reason.
    pub fn failed(&self, reason: &str) {
        self.state().failed(reason, Timestamp::now());
    }

    /// Everything but the Services, one by one.
    pub fn summary(&self) -> Summary {
        self.state().summary()
    }

    /// What is to be told to somebody who asks about a Service.
    pub fn report(&self, service: &ServiceId) -> AgentReport {
        self.state().report(service)
    }

    /// The last changes after the one of this number, oldest first; at most some 200 are kept.
    pub fn changes_since(&self, number: u64) -> Vec<Entry> {
        self.state().changes_since(number)
    }

    /// A holder that panicked has left nothing that a reader could stumble over.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
