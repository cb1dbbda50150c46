//! Queries over connections that are kept, several at a time on each (RFC 7766).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    query::{id, set_id},
    socket::From,
};

/// Queries under way on one connection.
const MOST_WAITING: usize = 100;

/// How long connections are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without use
    pub expire: Duration,
    /// Altogether; zero for no limit
    pub max_age: Duration,
    /// So many idle ones; zero for no limit
    pub max_idle: usize,
}

/// Connections to one upstream.
#[derive(Debug)]
pub struct TcpPool {
    limits: Limits,
    open: Mutex<Vec<Arc<Connection>>>,
    /// One opens at a time: who waits for it may use what it opened
    opening: tokio::sync::Mutex<()>,
}

/// An open connection. The task that serves it ends when nobody holds this any more.
#[derive(Debug)]
struct Connection {
    since: Instant,
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// Who waits for an answer, by id.
#[derive(Debug, Default)]
struct Waiting {
    by_id: Mutex<HashMap<u16, oneshot::Sender<Vec<u8>>>>,
    /// How often something arrived
    heard: AtomicU64,
    /// Nothing arrived for as long as a query waited: the other end may be gone without a word
    dead: AtomicBool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<u16, oneshot::Sender<Vec<u8>>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait, given up when dropped. `heard` is what was heard when the query was sent.
struct Place<'a> {
    waiting: &'a Waiting,
    id: u16,
    heard: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let unanswered = self.waiting.lock().remove(&self.id).is_some();
        // An upstream that is slow with one name answers others meanwhile. From a dead one nothing comes, and the kernel
        // notices only after minutes.
        if unanswered && self.waiting.heard.load(Relaxed) == self.heard {
            self.waiting.dead.store(true, Relaxed);
        }
    }
}

impl TcpPool {
    /// No connections yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    /// Sends a query and waits for the message with its id. Returns it, and whether the connection was there before.
    ///
    /// # Errors
    ///
    /// If there is no connection to be had, or if it ends.
    pub async fn ask(&self, from: &From, to: SocketAddr, query: &[u8], limit: Duration) -> io::Result<(Vec<u8>, bool)> {
        if let Some(connection) = self.take()
            && let Ok(reply) = connection.ask(query).await
        {
            self.tidy();
            return Ok((reply, true));
        }
        let connection = self.opened(from, to, limit).await?;
        let reply = connection.ask(query).await;
        drop(connection);
        self.tidy();
        reply.map(|reply| (reply, false))
    }

    async fn opened(&self, from: &From, to: SocketAddr, limit: Duration) -> io::Result<Arc<Connection>> {
        let _turn = self.opening.lock().await;
        if let Some(connection) = self.take() {
            return Ok(connection);
        }
        let connection = Arc::new(Connection::new(from.tcp(to, limit).await?, self.limits.expire));
        self.lock().push(Arc::clone(&connection));
        Ok(connection)
    }

    fn take(&self) -> Option<Arc<Connection>> {
        let max_age = self.limits.max_age;
        let mut open = self.lock();
        open.retain(|connection| {
            !connection.outgoing.is_closed()
                && !connection.waiting.dead.load(Relaxed)
                && (max_age.is_zero() || connection.since.elapsed() < max_age)
        });
        open.iter().find(|connection| connection.waiting.lock().len() < MOST_WAITING).cloned()
    }

    /// Lets go of idle connections above the limit.
    fn tidy(&self) {
        let mut left = self.limits.max_idle;
        if left == 0 {
            return;
        }
        self.lock().retain(|connection| {
            let idle = connection.waiting.lock().is_empty();
            let keep = !idle || left > 0;
            left = left.saturating_sub(usize::from(idle));
            keep
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn new(stream: TcpStream, expire: Duration) -> Self {
        let (outgoing, queries) = mpsc::channel(MOST_WAITING);
        let waiting = Arc::<Waiting>::default();
        let served = Arc::clone(&waiting);
        tokio::spawn(async move {
            let (reader, writer) = stream.into_split();
            let _ = tokio::select! {
                end = write(writer, queries) => end,
                end = read(reader, &served, expire) => end,
            };
            // Who still waits learns that the connection is gone.
            served.lock().clear();
        });
        Self { since: Instant::now(), outgoing, waiting }
    }

    async fn ask(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let (sender, reply) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting.lock();
            let mut id = rand::random();
            while waiting.contains_key(&id) {
                id = rand::random();
            }
            waiting.insert(id, sender);
            id
        };
        let _place = Place { waiting: &self.waiting, id, heard: self.waiting.heard.load(Relaxed) };
        let mut framed = Vec::with_capacity(query.len() + 2);
        framed.extend((query.len() as u16).to_be_bytes());
        framed.extend(query);
        set_id(&mut framed[2..], id);
        let gone = |_| io::Error::from(io::ErrorKind::ConnectionReset);
        self.outgoing.send(framed).await.map_err(|_| gone(()))?;
        // The task may have ended between the two, with nobody left to let go of our place.
        tokio::select! {
            reply = reply => reply.map_err(|_| gone(())),
            () = self.outgoing.closed() => Err(gone(())),
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queries: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(query) = queries.recv().await {
        writer.write_all(&query).await?;
    }
    Ok(())
}

async fn read(mut reader: OwnedReadHalf, waiting: &Waiting, expire: Duration) -> io::Result<()> {
    let mut octets = Vec::new();
    loop {
        while let Some(length) = octets.first_chunk().map(|field| usize::from(u16::from_be_bytes(*field)))
            && let Some(message) = octets.get(2..2 + length)
        {
            // Nobody waits for what has another id, or no longer.
            if let Some(sender) = id(message).and_then(|id| waiting.lock().remove(&id)) {
                let _ = sender.send(message.to_vec());
            }
            octets.drain(..2 + length);
        }
        match timeout(expire, reader.read_buf(&mut octets)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(_)) => _ = waiting.heard.fetch_add(1, Relaxed),
            Ok(Err(error)) => return Err(error),
            Err(_) if waiting.lock().is_empty() => return Ok(()),
            // They give up sooner or later, and with them the connection.
            Err(_) => {}
        }
    }
}
