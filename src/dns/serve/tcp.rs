//! TCP: many queries a connection, answered as they come, each answer whole, in any order (RFC 7766).

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    LONGEST_MESSAGE, Limits, Now, Responder, Serving,
    counts::Counters,
    frames::{self, Frame, Received},
    later::Outstanding,
    udp::Random,
};
use crate::answers::{Client, Transport};

/// A pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Answers are written when so much has gathered, though more could be answered at once.
const WRITE_AT: usize = 64 * 1024;

/// What all connections share.
pub(super) struct Shared<R: Responder> {
    responder: Arc<R>,
    limits: Limits,
    stop: CancellationToken,
    counters: Arc<Counters>,
    outstanding: Outstanding,
    /// Connections by client
    clients: Mutex<BTreeMap<IpAddr, usize>>,
    /// Answers are made one at a time: it takes microseconds, and most clients come over UDP
    maker: Mutex<Maker<R>>,
}

struct Maker<R: Responder> {
    local: R::Local,
    random: Random,
    room: Box<[u8]>,
}

impl<R: Responder> Shared<R> {
    pub(super) fn new(responder: Arc<R>, limits: Limits, serving: &Serving) -> Self {
        let room = vec![0; LONGEST_MESSAGE].into_boxed_slice();
        let maker = Mutex::new(Maker { local: responder.local(), random: Random::new(), room });
        Self {
            responder,
            limits,
            stop: serving.stop.clone(),
            counters: serving.counters.clone(),
            outstanding: serving.outstanding.clone(),
            clients: Mutex::default(),
            maker,
        }
    }

    /// Takes up a connection, if there is room.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted<R>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = clients.values().sum();
        let of_client = clients.entry(address).or_default();
        let room = all < self.limits.connections && *of_client < self.limits.connections_per_client;
        *of_client += usize::from(room);
        if *of_client == 0 {
            clients.remove(&address);
        }
        room.then(|| Admitted { shared: self.clone(), address })
    }

    /// Answers one query into `out`, or leaves it for later. What is left goes on when the connection ends, and keeps
    /// its place until then: who resets connections must not get places for what still costs others.
    fn answer(&self, query: &[u8], client: Client, out: &mut Vec<u8>) -> Option<JoinHandle<Option<Vec<u8>>>> {
        let mut maker = self.maker.lock().unwrap_or_else(PoisonError::into_inner);
        let Maker { local, random, room } = &mut *maker;
        let later = match self.responder.now(local, query, client, Instant::now().into_std(), random.next(), room) {
            Now::Reply(length) => {
                frames::push(out, &room[..length]);
                return None;
            }
            Now::Drop => return None,
            Now::Later(later) => later,
        };
        let Some(place) = self.outstanding.enter(client.address) else {
            bump(&self.counters.busy);
            if let Some(length) = self.responder.busy(later, room) {
                frames::push(out, &room[..length]);
            }
            return None;
        };
        let responder = self.responder.clone();
        Some(tokio::spawn(async move {
            let _place = place;
            responder.later(later).await
        }))
    }
}

/// The place of one connection; given back when dropped.
struct Admitted<R: Responder> {
    shared: Arc<Shared<R>>,
    address: IpAddr,
}

impl<R: Responder> Drop for Admitted<R> {
    fn drop(&mut self) {
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.address);
            }
        }
    }
}

/// Takes connections until it is told to stop, and then waits for those that have something outstanding.
pub(super) async fn listen<R: Responder>(listener: TcpListener, shared: Arc<Shared<R>>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("cannot accept a TCP connection: {error}; trying again");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        match shared.admit(address) {
            Some(admitted) => {
                bump(&shared.counters.connections);
                connections.spawn(serve(stream, admitted));
            }
            None => bump(&shared.counters.refused_connections),
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve<R: Responder>(stream: TcpStream, admitted: Admitted<R>) {
    // Answers are written whole; there is nothing to gain from waiting for more.
    let _ = stream.set_nodelay(true);
    if let Err(reason) = (Connection { stream, admitted: &admitted }).run().await {
        bump(&admitted.shared.counters.dropped_connections);
        debug!(client = %admitted.address, "a TCP connection was given up: {reason}");
    }
}

struct Connection<'a, R: Responder> {
    stream: TcpStream,
    admitted: &'a Admitted<R>,
}

impl<R: Responder> Connection<'_, R> {
    /// Until the client is done, or is slow or strange: an error.
    async fn run(mut self) -> io::Result<()> {
        let shared = self.admitted.shared.clone();
        let limits = shared.limits;
        let client = Client { address: self.admitted.address, transport: Transport::Tcp };
        let mut received = Received::default();
        let mut waiting = FuturesUnordered::new();
        let mut out = Vec::new();
        let mut deadline = Instant::now() + limits.first_query;
        let mut ended = false;
        loop {
            // What has arrived is answered, as far as there is room for what must wait.
            let mut more = false;
            while waiting.len() < limits.pipelined {
                match received.take() {
                    Frame::Whole(query) => {
                        waiting.extend(shared.answer(query, client, &mut out));
                        deadline = Instant::now() + limits.idle;
                    }
                    Frame::Part => {
                        more = true;
                        break;
                    }
                    Frame::Malformed => {
                        self.write(&mut out, limits.write).await?;
                        return Err(io::Error::new(io::ErrorKind::InvalidData, "a length that no query has"));
                    }
                }
                if out.len() >= WRITE_AT {
                    self.write(&mut out, limits.write).await?;
                }
            }
            self.write(&mut out, limits.write).await?;
            if shared.stop.is_cancelled() && !ended {
                // What the client has sent so far is answered; closing with it unread would cost it the answers, too.
                while let Ok(1..) = self.stream.try_read_buf(received.room()) {}
                ended = true;
                continue;
            }
            if waiting.is_empty() && ended {
                return Ok(());
            }
            let read = more && !ended;
            tokio::select! {
                answer = waiting.next(), if !waiting.is_empty() => {
                    if let Some(Ok(Some(message))) = answer {
                        frames::push(&mut out, &message);
                    }
                    // One that waits is not idle.
                    deadline = Instant::now() + limits.idle;
                }
                read = self.stream.read_buf(received.room()), if read => ended = read? == 0,
                () = sleep_until(deadline), if waiting.is_empty() => {
                    return match received.is_empty() {
                        true => Ok(()),
                        false => Err(io::Error::new(io::ErrorKind::TimedOut, "a query did not arrive in time")),
                    };
                }
                () = shared.stop.cancelled(), if !ended => {}
            }
        }
    }

    async fn write(&mut self, out: &mut Vec<u8>, patience: Duration) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        timeout(patience, self.stream.write_all(out)).await.map_err(io::Error::from)??;
        out.clear();
        // An answer of 64 KiB may be the last large one for long.
        out.shrink_to(WRITE_AT / 16);
        Ok(())
    }
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
