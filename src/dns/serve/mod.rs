//! Sockets: queries in, answers out, over UDP and TCP. Knows nothing of what is asked.
//!
//! Each UDP worker is a thread with sockets of its own, in a SO_REUSEPORT group with those of the others. It answers
//! inline: a batch of datagrams is received, each is given to the [`Responder`], and the batch of answers is sent. No
//! task, no channel and no allocation for such a query. What has to wait for somebody else is a [`Responder::Later`]
//! and goes to the asynchronous runtime, a bounded number at a time.

mod beat;
mod counts;
mod frames;
mod later;
mod mmsg;
pub mod socket;
mod tcp;
mod udp;

use std::{
    future::Future,
    io,
    net::UdpSocket,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use beat::{Heartbeats, STRIDE};
pub use counts::{BATCH_LIMITS, Counts};

use crate::answers::Client;
use beat::Beat;
use counts::Counters;
use later::Outstanding;

/// The longest query that is read over UDP, in octets. What is longer is cut, and thereby malformed.
pub const LONGEST_QUERY: usize = 4096;
/// The room for an answer over UDP, in octets.
pub const LONGEST_REPLY: usize = 4096;
/// The room for an answer over TCP, in octets: what its length can say.
pub const LONGEST_MESSAGE: usize = 65535;

/// Makes answers.
pub trait Responder: Send + Sync + 'static {
    /// What a thread keeps for itself: counters, say.
    type Local: Send + 'static;
    /// A query that cannot be answered at once, with all that is needed to answer it.
    type Later: Send + 'static;

    /// For a thread that begins.
    fn local(&self) -> Self::Local;

    /// Answers at once, into `out`, or says why not. `arrived` is when the query was received; `random` is fresh for each
    /// query, good enough for orders and no secret. Must not block: the thread has other clients.
    fn now(
        &self,
        local: &mut Self::Local,
        query: &[u8],
        client: Client,
        arrived: Instant,
        random: u64,
        out: &mut [u8],
    ) -> Now<Self::Later>;

    /// The answer that took time; none for silence. Must end by itself in a few seconds.
    fn later(&self, later: Self::Later) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// The answer to a query for whose waiting there is no room: its length in `out`; none for silence.
    fn busy(&self, later: Self::Later, out: &mut [u8]) -> Option<usize>;
}

/// What becomes of a query.
#[derive(Debug)]
pub enum Now<L> {
    /// An answer of this length was written
    Reply(usize),
    /// Silence
    Drop,
    /// An answer that takes time
    Later(L),
}

/// How much is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Queries that wait for somebody else, UDP and TCP together; one more is answered as [`Responder::busy`] says. Once
    /// half of them are taken, so is one more of a client that has a quarter
    pub outstanding: usize,
    /// TCP connections; one more is closed at once
    pub connections: usize,
    /// TCP connections of one client address
    pub connections_per_client: usize,
    /// Queries of one TCP connection that wait; before they are answered no more are read
    pub pipelined: usize,
    /// How long the first query of a TCP connection may take to arrive
    pub first_query: Duration,
    /// How long after the last one a TCP connection is kept
    pub idle: Duration,
    /// How long a client may take to read an answer
    pub write: Duration,
    /// How long queries that wait may take at the end
    pub farewell: Duration,
}

impl Default for Limits {
    /// Times as CoreDNS has them; one client holds at most a thirtieth of the connections.
    fn default() -> Self {
        Self {
            outstanding: 4096,
            connections: 4096,
            connections_per_client: 128,
            pipelined: 64,
            first_query: Duration::from_secs(3),
            idle: Duration::from_secs(10),
            write: Duration::from_secs(5),
            farewell: Duration::from_secs(5),
        }
    }
}

/// The sockets of one responder.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Those of each worker: a thread is started for each entry
    pub udp: Vec<Vec<UdpSocket>>,
    /// Listening sockets
    pub tcp: Vec<std::net::TcpListener>,
}

/// What serves these sockets. Dropped without [`Serving::stop`], the UDP workers end all the same, within [`STRIDE`].
#[derive(Debug)]
pub struct Serving {
    stop: CancellationToken,
    workers: Vec<std::thread::JoinHandle<()>>,
    listeners: JoinSet<()>,
    heartbeats: Heartbeats,
    counters: Arc<Counters>,
    outstanding: Outstanding,
    farewell: Duration,
}

impl Serving {
    /// Starts to answer. `runtime` carries TCP and what takes time.
    ///
    /// # Errors
    /// No more threads, or no more files.
    pub fn start<R: Responder>(
        responder: &Arc<R>,
        sockets: Sockets,
        limits: Limits,
        runtime: &Handle,
    ) -> io::Result<Self> {
        let beats = Heartbeats::new(sockets.udp.len());
        let mut serving = Self {
            stop: CancellationToken::new(),
            workers: Vec::new(),
            listeners: JoinSet::new(),
            counters: Arc::new(Counters::new(sockets.udp.len())),
            heartbeats: beats,
            outstanding: Outstanding::new(limits.outstanding),
            farewell: limits.farewell,
        };
        for (index, sockets) in sockets.udp.into_iter().enumerate() {
            let worker = udp::Worker {
                responder: responder.clone(),
                sockets: sockets.into_iter().map(udp::Listening::new).collect::<io::Result<_>>()?,
                stop: serving.stop.clone(),
                beat: Beat::new(&serving.heartbeats, index),
                counters: serving.counters.clone(),
                index,
                outstanding: serving.outstanding.clone(),
                runtime: runtime.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("dns-udp-{index}"));
            serving.workers.push(thread.spawn(move || worker.run())?);
        }
        let shared = Arc::new(tcp::Shared::new(responder.clone(), limits, &serving));
        for listener in sockets.tcp {
            listener.set_nonblocking(true)?;
            let _inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serving.listeners.spawn_on(tcp::listen(listener, shared.clone()), runtime);
        }
        Ok(serving)
    }

    /// When each worker last went round.
    pub fn heartbeats(&self) -> Heartbeats {
        self.heartbeats.clone()
    }

    /// What was counted, up to now.
    pub fn counts(&self) -> Counts {
        Counts { outstanding: self.outstanding.count() as u64, ..self.counters.sum() }
    }

    /// A reader of [`Serving::counts`] that may outlive this.
    pub fn counter(&self) -> impl Fn() -> Counts + Send + Sync + 'static {
        let (counters, outstanding) = (self.counters.clone(), self.outstanding.clone());
        move || Counts { outstanding: outstanding.count() as u64, ..counters.sum() }
    }

    /// Takes no new queries, answers those that have arrived, and closes the sockets. Where another process shares the
    /// port, it gets what arrives from now on.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                // A worker that panicked has nothing left to say.
                let _ = worker.join();
            }
        });
        let _ = joined.await;
        let all = async {
            while self.listeners.join_next().await.is_some() {}
            self.outstanding.none().await;
        };
        let _ = tokio::time::timeout(self.farewell, all).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
