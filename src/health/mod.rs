//! Whether this process does its work: what liveness and readiness probes, and load balancers, are told.
//!
//! The answers are kube-proxy's (section 6.1 of the Service behaviour), because load balancers and node problem
//! detectors read them; `/readyz` is Portolan's own.

mod node;
mod report;
mod state;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

pub use node::NodeState;
pub use report::{HealthReport, ReadyReport};
pub use state::State;

/// The health of this process. Cheap to clone; every clone is the same one, from any thread.
///
/// The loop calls [`Health::queued`] when something is to be done, and [`Health::updated`] when it is in the kernel. After
/// a failure it calls nothing: what is outstanding gets older.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

impl Health {
    /// The health of a process that starts now. `timeout` is how long an update may be outstanding: kube-proxy has
    /// twice `--sync-period`. Until [`Health::node`] says otherwise the node is `node`: unknown with an API server,
    /// eligible with manifests, where nobody takes nodes away.
    pub fn new(timeout: Duration, node: NodeState) -> Self {
        Self(Arc::new(Mutex::new(State::new(Instant::now(), timeout, node))))
    }

    /// Something is to be done. Of several, the oldest counts.
    pub fn queued(&self) {
        self.state().queue(Instant::now());
    }

    /// Everything that was queued up to `begun`, when the pass that did it began, is in the kernel or was there already.
    /// From the first time on the process is ready: nothing is written before the lists that it needs are complete.
    pub fn updated(&self, begun: Instant) {
        self.state().update(begun, Instant::now());
    }

    /// Everything in the kernel was read and compared, and is as it should be.
    pub fn verified(&self) {
        self.state().verify(Instant::now());
    }

    /// What is known of this node's object.
    pub fn node(&self, node: NodeState) {
        self.state().node = node;
    }

    /// What the process waits for before it writes anything, such as `the list of EndpointSlices`, each with the reason
    /// why it is not there, as far as that is known. Replaces what was said before. Once ready, a process stays so.
    pub fn waits_for(&self, missing: impl IntoIterator<Item = (String, Option<String>)>) {
        self.state().missing = missing.into_iter().collect();
    }

    /// Whether nothing is outstanding for too long: what health check node ports say of the proxy.
    pub fn is_current(&self) -> bool {
        self.state().is_current(Instant::now())
    }

    /// What `/healthz` says, which is about this process and about its node.
    pub fn healthz(&self) -> HealthReport {
        self.state().healthz(Instant::now(), Timestamp::now())
    }

    /// What `/livez` says, which is about this process only.
    pub fn livez(&self) -> HealthReport {
        self.state().livez(Instant::now(), Timestamp::now())
    }

    /// What `/readyz` says.
    pub fn readyz(&self) -> ReadyReport {
        self.state().readyz(Timestamp::now())
    }

    /// A holder that panicked has not left the state half written: each change is one assignment or two.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
