//! The source `kube` against an API server that does what a test tells it to, on real sockets: the moments that a real
//! one has once a year. What a real one sends is in `recorded/`.

mod encode;
mod listing;
mod lists;
mod recorded;
mod server;
mod stopping;
mod trouble;
mod undecodable;
mod watches;

use std::time::Duration;

use portolan::{
    objects::Object,
    source::kube::{self, ApiAddress, Change, Kind, Timing, Watches},
};
use server::FakeApi;
use tokio::sync::mpsc;

/// How long a test waits before it fails; nothing that goes well comes near it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Short pauses; and no watch lives long enough to count as a good one, unless a test wants it.
fn timing() -> Timing {
    Timing {
        first_retry: Duration::from_millis(10),
        longest_retry: Duration::from_millis(160),
        calm: PATIENCE,
        answer: PATIENCE,
        watch: PATIENCE,
        grace: PATIENCE,
        unserved: Duration::from_millis(20),
    }
}

/// Follows the fake API server, and tells of one kind only, a line a change.
struct Followed {
    changes: mpsc::Receiver<Change>,
    watches: Watches,
    kind: Kind,
}

impl Followed {
    async fn start(api: &FakeApi, kind: Kind, timing: &Timing) -> Self {
        let address = ApiAddress { server: Some(format!("http://{}", api.address)), kubeconfig: None };
        let server = kube::connect(&address).await.unwrap();
        let (changes, watches) = kube::watch(&server, "node-1", timing);
        Self { changes, watches, kind }
    }

    /// The next change of the kind.
    async fn change(&mut self) -> Change {
        loop {
            let change = tokio::time::timeout(PATIENCE, self.changes.recv()).await.expect("a change in time").unwrap();
            if kind_of(&change) == self.kind.name() {
                return change;
            }
        }
    }

    /// The next changes must be these, in this order.
    async fn expect(&mut self, wanted: &[&str]) {
        let mut found = Vec::new();
        while found.len() < wanted.len() {
            found.push(line(&self.change().await));
        }
        assert_eq!(found, wanted);
    }

    /// The text of the next change, which must be trouble.
    async fn trouble(&mut self) -> (String, Duration) {
        match self.change().await {
            Change::Trouble { error, retry_in, .. } => (error, retry_in),
            other => panic!("no trouble: {}", line(&other)),
        }
    }
}

fn kind_of(change: &Change) -> String {
    match change {
        Change::Put(object) => object.kind().into(),
        Change::Undecodable { object, .. } => object.kind.to_string(),
        Change::Gone { kind, .. } | Change::Listed(kind) | Change::Trouble { kind, .. } | Change::Recovered(kind) => {
            kind.name().into()
        }
        Change::NodeMissing { .. } => "Node".into(),
    }
}

fn line(change: &Change) -> String {
    match change {
        Change::Put(object) => match &**object {
            Object::Service(service) => format!("put {}:{}", service.metadata.name, service.spec.ports[0].port),
            other => format!("put {}", other.metadata().name),
        },
        Change::Gone { namespace, name, .. } => format!("gone {namespace}/{name}"),
        Change::Undecodable { object, reason } => format!("undecodable {object}: {reason}"),
        Change::Listed(_) => "listed".into(),
        Change::NodeMissing { advice } => format!("no node: {advice}"),
        Change::Trouble { error, .. } => format!("trouble: {error}"),
        Change::Recovered(_) => "recovered".into(),
    }
}
