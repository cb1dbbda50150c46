//! The UDP worker: one thread, its sockets, answers inline.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    LONGEST_QUERY, LONGEST_REPLY, Now, Responder, STRIDE,
    beat::Beat,
    counts::{Counters, OfWorker, add},
    later::{Outstanding, Place},
    mmsg::{self, BATCH, Buffers, Datagram, Local, Outgoing},
    socket,
};
use crate::answers::{Client, Transport};

/// How long an answer waits for room to be sent. A queue that stays full for longer is not helped by waiting.
const SEND_PATIENCE: Duration = Duration::from_millis(100);
/// How long a worker that was told to stop answers what is queued. That takes milliseconds; but where nobody else takes
/// what arrives, a flood would keep the queue from ever being empty.
const FAREWELL: Duration = Duration::from_secs(1);
/// A pause after a failure of the socket itself: of memory, most likely.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// A socket that datagrams are read from.
pub(super) struct Listening {
    /// Shared with the answers that take time
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    /// What the kernel last said it had dropped
    overflowed: u32,
}

impl Listening {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket::set_patience(&socket, STRIDE, SEND_PATIENCE)?;
        let address = socket.local_addr()?;
        Ok(Self { socket: Arc::new(socket), address, overflowed: 0 })
    }

    /// Whether the datagram came from this socket: it must have been reflected, and the answer would be, too.
    fn sent(&self, datagram: &Datagram) -> bool {
        let asked = datagram.local.map_or(self.address.ip(), |local| local.address);
        datagram.peer.port() == self.address.port() && datagram.peer.ip().to_canonical() == asked.to_canonical()
    }
}

/// All that a thread needs.
pub(super) struct Worker<R: Responder> {
    pub(super) responder: Arc<R>,
    pub(super) sockets: Vec<Listening>,
    pub(super) stop: CancellationToken,
    pub(super) beat: Beat,
    pub(super) counters: Arc<Counters>,
    pub(super) index: usize,
    pub(super) outstanding: Outstanding,
    pub(super) runtime: Handle,
}

/// The buffers of a worker, made once.
struct Room {
    queries: Buffers<LONGEST_QUERY>,
    replies: Buffers<LONGEST_REPLY>,
    datagrams: Vec<Datagram>,
    /// For each reply: its buffer, its length, and whose datagram it answers
    made: Vec<Made>,
    random: Random,
}

#[derive(Clone, Copy)]
struct Made {
    index: usize,
    length: usize,
    peer: SocketAddr,
    local: Option<Local>,
}

impl<R: Responder> Worker<R> {
    /// Answers until it is told to stop, then answers what is queued.
    pub(super) fn run(mut self) {
        let mut room = Room::new();
        let mut local = self.responder.local();
        let mut sockets = std::mem::take(&mut self.sockets);
        while !self.stop.is_cancelled() {
            self.beat.beat();
            // With one socket, receiving waits as well as poll does, and saves a call.
            let several = sockets.len() != 1;
            if several && !self.wait(&sockets) {
                continue;
            }
            for listening in &mut sockets {
                self.serve(listening, !several, &mut room, &mut local);
            }
        }
        let told = Instant::now();
        for listening in &mut sockets {
            socket::leave_group(&listening.socket);
            while told.elapsed() < FAREWELL && self.serve(listening, false, &mut room, &mut local) {
                self.beat.beat();
            }
        }
    }

    /// Waits until one of the sockets has something, or the time has come for a beat.
    fn wait(&self, sockets: &[Listening]) -> bool {
        let stride = PollTimeout::try_from(STRIDE).unwrap_or(PollTimeout::ZERO);
        // As many sockets as a worker has; a query's own way does not come by here.
        let mut wanted: Vec<PollFd> =
            sockets.iter().map(|listening| PollFd::new(listening.socket.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut wanted, stride).is_ok_and(|ready| ready > 0)
    }

    /// Answers one batch. Returns whether there was any.
    fn serve(&self, listening: &mut Listening, wait: bool, room: &mut Room, local: &mut R::Local) -> bool {
        match mmsg::receive(listening.socket.as_fd(), &mut room.queries, &mut room.datagrams, wait) {
            Ok(()) if room.datagrams.is_empty() => return false,
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return false,
            Err(error) => {
                warn!(address = %listening.address, "cannot receive queries: {error}; trying again");
                std::thread::sleep(FAILURE_PAUSE);
                return false;
            }
        }
        let counters = self.counters.worker(self.index);
        counters.batch(room.datagrams.len());
        room.made.clear();
        let arrived = Instant::now();
        for index in 0..room.datagrams.len() {
            let datagram = room.datagrams[index];
            if let Some(overflowed) = datagram.overflowed {
                add(&counters.overflowed, u64::from(overflowed.wrapping_sub(listening.overflowed)));
                listening.overflowed = overflowed;
            }
            if datagram.peer.port() == 0 || listening.sent(&datagram) {
                add(&counters.unanswerable, 1);
                continue;
            }
            let query = &room.queries[index][..datagram.length];
            let client = Client { address: datagram.peer.ip().to_canonical(), transport: Transport::Udp };
            let out = &mut room.replies[index];
            let length = match self.responder.now(local, query, client, arrived, room.random.next(), out) {
                Now::Reply(length) => Some(length),
                Now::Drop => None,
                Now::Later(later) => self.later(later, client, listening, &datagram, out),
            };
            if let Some(length) = length {
                room.made.push(Made { index, length, peer: datagram.peer, local: datagram.local });
            }
        }
        send(listening, room, counters);
        true
    }

    /// Has a query answered on the runtime. Where there is no room for it, the answer to that.
    fn later(
        &self,
        later: R::Later,
        client: Client,
        listening: &Listening,
        datagram: &Datagram,
        out: &mut [u8],
    ) -> Option<usize> {
        let Some(place) = self.outstanding.enter(client.address) else {
            self.counters.busy.fetch_add(1, Ordering::Relaxed);
            return self.responder.busy(later, out);
        };
        let (responder, counters) = (self.responder.clone(), self.counters.clone());
        let (socket, peer, local) = (listening.socket.clone(), datagram.peer, datagram.local);
        self.runtime.spawn(async move {
            let _place: Place = place;
            if let Some(bytes) = responder.later(later).await
                && mmsg::send(socket.as_fd(), &[Outgoing { bytes: &bytes, peer, local }]).is_err()
            {
                counters.unsent.fetch_add(1, Ordering::Relaxed);
            }
        });
        None
    }
}

/// Sends what was made. A datagram that cannot be sent costs itself; a full queue costs the rest of the batch.
fn send(listening: &Listening, room: &Room, counters: &OfWorker) {
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut outgoing = [Outgoing { bytes: &[], peer: nobody, local: None }; BATCH];
    for (out, made) in outgoing.iter_mut().zip(&room.made) {
        let bytes = &room.replies[made.index][..made.length.min(LONGEST_REPLY)];
        *out = Outgoing { bytes, peer: made.peer, local: made.local };
    }
    let mut rest = &outgoing[..room.made.len()];
    while !rest.is_empty() {
        rest = match mmsg::send(listening.socket.as_fd(), rest) {
            Ok(sent) => &rest[sent..],
            Err(error) if error.kind() == ErrorKind::Interrupted => rest,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                add(&counters.unsent, rest.len() as u64);
                return;
            }
            Err(_) => {
                add(&counters.unsent, 1);
                &rest[1..]
            }
        };
    }
}

impl Room {
    fn new() -> Self {
        Self {
            queries: Box::new([[0; LONGEST_QUERY]; BATCH]),
            replies: Box::new([[0; LONGEST_REPLY]; BATCH]),
            datagrams: Vec::with_capacity(BATCH),
            made: Vec::with_capacity(BATCH),
            random: Random::new(),
        }
    }
}

/// SplitMix64, seeded by the system: fast, and even enough for orders. Not for secrets.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one("a thread's own seed"))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
