//! A responder that does what the query's first octet behind the header says.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use portolan::{
    answers::Client,
    dns::serve::{Limits, Now, Responder, Serving, Sockets, socket},
};
use tokio::runtime::Runtime;

/// The answer is the query.
pub const ECHO: u8 = b'e';
/// No answer.
pub const DROP: u8 = b'd';
/// The query, after as many tens of milliseconds as the next octet says.
pub const LATER: u8 = b'l';
/// The query, once the gate is open; the thread hangs until then.
pub const HANG: u8 = b'h';
/// The query, once the gate is open; others are served meanwhile.
pub const WAIT: u8 = b'w';
/// As many KiB as the next octet says.
pub const BIG: u8 = b'b';
/// What a query gets for which there is no room.
pub const BUSY: &[u8] = b"busy";

/// The longest a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub struct Echo {
    /// Comes last in every answer, to tell servers apart
    pub tag: u8,
    pub threads: AtomicUsize,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Echo {
    pub fn tagged(tag: u8) -> Self {
        Self { tag, ..Self::default() }
    }

    pub fn open(&self) {
        *self.gate.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn write(&self, query: &[u8], out: &mut [u8]) -> usize {
        out[..query.len()].copy_from_slice(query);
        out[query.len()] = self.tag;
        query.len() + 1
    }
}

impl Responder for Echo {
    type Local = ();
    type Later = Vec<u8>;

    fn local(&self) {
        self.threads.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self, (): &mut (), query: &[u8], _: Client, _: Instant, _: u64, out: &mut [u8]) -> Now<Vec<u8>> {
        match query.get(12) {
            Some(&DROP) => Now::Drop,
            Some(&LATER | &WAIT) => Now::Later(query.to_vec()),
            Some(&HANG) => {
                let gate = self.gate.lock().unwrap();
                drop(self.opened.wait_while(gate, |open| !*open).unwrap());
                Now::Reply(self.write(query, out))
            }
            Some(&BIG) => {
                let length = usize::from(query[13]) * 1024;
                out[..length].fill(0);
                out[..query.len()].copy_from_slice(query);
                Now::Reply(length)
            }
            _ => Now::Reply(self.write(query, out)),
        }
    }

    async fn later(&self, mut later: Vec<u8>) -> Option<Vec<u8>> {
        let tick = Duration::from_millis(10);
        match later[12] {
            WAIT => {
                while !*self.gate.lock().unwrap() {
                    tokio::time::sleep(tick).await;
                }
            }
            _ => tokio::time::sleep(tick * u32::from(later[13])).await,
        }
        later.push(self.tag);
        Some(later)
    }

    fn busy(&self, _: Vec<u8>, out: &mut [u8]) -> Option<usize> {
        out[..BUSY.len()].copy_from_slice(BUSY);
        Some(BUSY.len())
    }
}

/// A query with a number of its own.
pub fn query(number: u32, what: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), &[0; 8][..], what].concat()
}

pub fn localhost(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), port)
}

/// A server with its runtime. UDP and TCP have the same port.
pub struct Server {
    pub echo: Arc<Echo>,
    pub serving: Option<Serving>,
    pub port: u16,
    pub runtime: Runtime,
}

pub const SHARED: socket::Options = socket::Options { transparent: false, reuse_port: true };

impl Server {
    pub fn start(address: SocketAddr, workers: usize, limits: Limits) -> Self {
        Self::with(Echo::default(), address, workers, limits)
    }

    pub fn with(echo: Echo, address: SocketAddr, workers: usize, limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let echo = Arc::new(echo);
        // A port that is free for both.
        let (first, tcp) = loop {
            let udp = socket::udp(address, SHARED).unwrap();
            let there = udp.local_addr().unwrap();
            match socket::tcp(there, SHARED) {
                Ok(tcp) => break (udp, tcp),
                Err(error) => assert_eq!(address.port(), 0, "{error}"),
            }
        };
        let there = first.local_addr().unwrap();
        let mut udp = vec![vec![first]];
        udp.extend((1..workers).map(|_| vec![socket::udp(there, SHARED).unwrap()]));
        let serving = Serving::start(&echo, Sockets { udp, tcp: vec![tcp] }, limits, runtime.handle()).unwrap();
        Self { echo, serving: Some(serving), port: there.port(), runtime }
    }

    pub fn serving(&self) -> &Serving {
        self.serving.as_ref().unwrap()
    }

    pub fn stop(&mut self) {
        let serving = self.serving.take().unwrap();
        self.runtime.block_on(serving.stop());
    }
}

/// A client of one address: answers from elsewhere do not reach it.
pub fn client(server: SocketAddr) -> UdpSocket {
    let from = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let client = UdpSocket::bind(from).unwrap();
    client.connect(server).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// The next answer.
#[track_caller]
pub fn answer(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 8192];
    let length = client.recv(&mut buffer).expect("an answer");
    buffer[..length].to_vec()
}

#[track_caller]
pub fn ask(client: &UdpSocket, query: &[u8]) -> Vec<u8> {
    client.send(query).unwrap();
    answer(client)
}
