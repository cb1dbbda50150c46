//! The API server as a source: lists and watches, and nothing kept of the objects but their names and versions.
//!
//! One task for each kind lists it page by page, hands every object on as it is read, and watches from there. The
//! receiver is never told that everything is gone and comes again: after a new list it hears of what changed and of
//! what is not there any more, no more than that. docs/adr/0005-api-server.md has the reasons for the wire format and
//! for an own loop.

mod backoff;
mod connect;
mod decode;
mod failure;
mod follow;
mod frames;
mod kind;
mod known;
mod listing;
mod request;
mod wire;

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use connect::{ApiAddress, ApiServer, KubeError, connect};
pub use kind::Kind;
pub use listing::{Listed, Unlisted, list};

use crate::objects::{Object, ObjectRef};

/// How many changes may wait for the receiver; then the tasks wait, and the API server with them.
const WAITING: usize = 256;

/// What [`watch`] tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An object is there, new or changed. One of a known resourceVersion is not told again.
    Put(Box<Object>),
    /// An object is not there any more.
    Gone {
        /// Its kind
        kind: Kind,
        /// Its namespace; empty for kinds that have none
        namespace: String,
        /// Its name
        name: String,
    },
    /// An object is there, but cannot be read: what was known of it stays. Its name is empty if not even that could be
    /// read.
    Undecodable {
        /// The object
        object: ObjectRef,
        /// What is wrong, by the field's numbers in the API's generated.proto
        reason: String,
    },
    /// Everything that a complete list of this kind held has been told, and so has what was not in it any more. An
    /// API that the server does not have (ServiceCIDR before Kubernetes 1.33) counts as a list without objects.
    Listed(Kind),
    /// The list of Nodes has been read, and the own one is not in it. Told once; a `Put` follows should it appear.
    NodeMissing {
        /// What is wrong and who can mend it
        advice: String,
    },
    /// A kind cannot be followed for now. What was told stays true as far as is known. Each cause is told once, until
    /// [`Change::Recovered`].
    Trouble {
        /// The kind
        kind: Kind,
        /// What was attempted, why it failed and who can mend it
        error: String,
        /// When the next try is made
        retry_in: Duration,
    },
    /// A kind that was in trouble has been followed for a while ([`Timing::calm`]).
    Recovered(Kind),
}

/// How long things may take. The default is meant for clusters; tests are in more of a hurry.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The pause after a first failure; it doubles with each one after it, and is shortened at random by up to half.
    pub first_retry: Duration,
    /// The longest pause.
    pub longest_retry: Duration,
    /// A watch that has lived this long is a good one: the pauses start anew.
    pub calm: Duration,
    /// The longest wait for an answer, and for each further part of a list.
    pub answer: Duration,
    /// How long the server is asked to keep a watch at most; shortened at random by up to a sixth, so that the nodes
    /// of a cluster do not all come back at once.
    pub watch: Duration,
    /// How much longer than asked for a watch may take to end before the server counts as dead.
    pub grace: Duration,
    /// The pause before an API that the server does not have is looked for again.
    pub unserved: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(30),
            calm: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            // Below five minutes: load balancers and proxies often cut connections after that time.
            watch: Duration::from_secs(290),
            grace: Duration::from_secs(15),
            unserved: Duration::from_secs(600),
        }
    }
}

/// Follows what the data plane needs, see [`watch_kinds`].
pub fn watch(server: &ApiServer, node_name: &str, timing: &Timing) -> (mpsc::Receiver<Change>, Watches) {
    watch_kinds(server, node_name, Kind::ALL, timing)
}

/// Follows these kinds on `server`, and of the Nodes the one named `node_name`. To be called within a tokio runtime; the
/// tasks run there. The receiver may be cancelled while it waits, nothing is lost; it ends only if the runtime does.
pub fn watch_kinds(
    server: &ApiServer,
    node_name: &str,
    kinds: impl IntoIterator<Item = Kind>,
    timing: &Timing,
) -> (mpsc::Receiver<Change>, Watches) {
    let (sender, changes) = mpsc::channel(WAITING);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for kind in kinds {
        let requests = request::Requests::new(server.clone(), kind, node_name, timing.clone());
        let follower = follow::Follower::new(requests, sender.clone());
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            // Every await of a follower may be its last: it holds nothing that needs an end in good order.
            tokio::select! {
                () = stopped => {}
                () = follower.run() => {}
            }
        });
    }
    (changes, Watches { stop, tasks })
}

/// What keeps changes coming. Ends with its last owner, at once; [`Watches::stop`] waits for it.
#[derive(Debug)]
pub struct Watches {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Watches {
    /// Ends the watches and their connections, whatever state they are in.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
