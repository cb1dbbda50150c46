//! The redirect of the cluster's DNS address to this node (3.3, 3.4; docs/adr/0007-dns-redirect.md).
//!
//! Sockets on an address that no interface has, a routing rule that makes it local for marked packets, and a program
//! of nftables that marks them while an element with a timeout says so: that is all. [`Keeper`] says so again twice
//! a second, and only while everything that is needed for an answer works. The Service of that address stays as it is
//! and serves whenever the element is not there. Nothing here knows what is asked or answered.

mod address;
mod keeper;
pub mod probe;
pub mod sockets;

use std::{collections::BTreeMap, fmt, future::Future, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::watch;

pub use crate::kernel::redirect::{DNS_PORT, Numbers, RedirectMarks, remove};
pub use keeper::{Ending, Keeper};

/// How often it is looked whether all is well.
pub const LOOK: Duration = Duration::from_millis(250);
/// How often the kernel is told.
pub const REFRESH: Duration = Duration::from_millis(500);
/// What is not told again is over after this time. Shorter than the 2.5 seconds after which musl asks a second and last
/// time: its look-up survives that the process hangs.
pub const LIFE: Duration = Duration::from_secs(2);
/// How long new conversations are held away from an address that is about to be closed, or that is not well: longer than
/// anybody can have called it live.
pub const HOLD: Duration = Duration::from_secs(3);
/// A thread that answers is taken to hang after so long without a sign.
pub const SILENCE: Duration = Duration::from_secs(2);
/// How old the last answer to ourselves may be. We ask every half second and wait a second for the answer: one query may
/// be lost where the queues are full, and the next one be late.
pub const UNANSWERED: Duration = Duration::from_millis(2500);
/// How long sockets are served on after the last query was sent to them.
pub const DRAIN: Duration = Duration::from_secs(1);

/// A future in a box.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Opens sockets on redirected addresses and answers there.
pub trait Service: Send + Sync + 'static {
    /// Begins to answer at an address, UDP and TCP, on sockets as [`sockets`] makes them. Called within a tokio
    /// runtime, not before the process is ready to answer: another process may answer at this address as well, and
    /// from now on some of its queries come here.
    ///
    /// # Errors
    /// Why not, as a sentence for the log; it is tried again.
    fn open(&self, address: IpAddr) -> Result<Box<dyn Answering>, String>;
}

/// What answers at one address.
pub trait Answering: Send + 'static {
    /// How long ago the last sign of life was of the thread that has been silent longest.
    fn silence(&self) -> Duration;

    /// Answers what has arrived and closes the sockets.
    fn close(self: Box<Self>) -> Later<()>;
}

/// Asks this node's own socket at an address, as [`probe::ask`] does, and looks at the answer. The error is a sentence.
pub type SelfQuery = Arc<dyn Fn(IpAddr) -> Later<Result<(), String>> + Send + Sync>;

/// What the keeper goes by.
pub struct Inputs {
    /// The addresses to redirect: the DNS Service's cluster IPs, and perhaps a static one as 169.254.20.10
    pub addresses: watch::Receiver<Vec<IpAddr>>,
    /// Whether the process knows enough to answer
    pub ready: watch::Receiver<bool>,
    /// What answers
    pub service: Arc<dyn Service>,
    /// How it is asked whether it does
    pub ask: SelfQuery,
    /// What is taken of the host's marks, routing tables and rules
    pub numbers: Numbers,
}

/// The addresses, and how each of them stands.
pub type States = BTreeMap<IpAddr, State>;

/// How an address stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Queries from this node are answered on this node
    On,
    /// They go to whom the Service names
    Off(Why),
}

/// Why an address is not redirected. As text: a sentence without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The process does not know enough to answer
    NotReady,
    /// No route or no sockets
    Sockets(String),
    /// It does not answer itself
    SelfQuery(String),
    /// A thread gives no sign of life
    Hung,
    /// The kernel does not take the element
    Kernel(String),
    /// The process ends, or the address is no longer wanted
    Stopping,
}

impl Why {
    /// A word for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Why::NotReady => "not-ready",
            Why::Sockets(_) => "sockets",
            Why::SelfQuery(_) => "self-query",
            Why::Hung => "hung",
            Why::Kernel(_) => "kernel",
            Why::Stopping => "stopping",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NotReady => f.write_str("not ready to answer yet"),
            Why::Sockets(reason) | Why::Kernel(reason) => f.write_str(reason),
            Why::SelfQuery(reason) => write!(f, "our own query is not answered: {reason}"),
            Why::Hung => write!(f, "a thread that answers gave no sign of life for {} s", SILENCE.as_secs()),
            Why::Stopping => f.write_str("stopping"),
        }
    }
}
