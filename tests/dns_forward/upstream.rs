//! An upstream that does as it is told, on real sockets.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
};

/// A query that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub from: SocketAddr,
    pub octets: Vec<u8>,
    pub tcp: bool,
}

/// What is done with it.
pub enum Act {
    Reply(Vec<u8>),
    /// From another port
    FromElsewhere(Vec<u8>),
    Wait(Duration),
    /// Ends the connection
    HangUp,
}

impl Seen {
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.octets[0], self.octets[1]])
    }

    /// The question, in wire form.
    pub fn question(&self) -> &[u8] {
        let end = 12 + self.octets[12..].iter().position(|octet| *octet == 0).unwrap();
        &self.octets[12..end + 5]
    }

    pub fn qtype(&self) -> u8 {
        let question = self.question();
        question[question.len() - 3]
    }

    /// What follows the question.
    pub fn opt(&self) -> &[u8] {
        &self.octets[12 + self.question().len()..]
    }

    /// An answer without records. `flags` are the lower two octets of the header's second word.
    pub fn empty(&self, flags: u16) -> Vec<u8> {
        let mut octets = self.octets[..2].to_vec();
        octets.extend((0x8080 | flags).to_be_bytes());
        octets.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        octets.extend(self.question());
        octets
    }

    /// An answer with an address.
    pub fn address(&self, ttl: u32, last: u8) -> Vec<u8> {
        let mut octets = self.empty(0);
        octets[7] = 1;
        octets.extend([0xc0, 12, 0, 1, 0, 1]);
        octets.extend(ttl.to_be_bytes());
        octets.extend([0, 4, 192, 0, 2, last]);
        octets
    }

    /// An answer with a TXT record of this many strings of 250 octets.
    pub fn text(&self, strings: usize) -> Vec<u8> {
        let mut octets = self.empty(0);
        octets[7] = 1;
        octets.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        octets.extend((strings as u16 * 251).to_be_bytes());
        for _ in 0..strings {
            octets.push(250);
            octets.extend([b'x'; 250]);
        }
        octets
    }
}

/// The upstream. It ends with the test's runtime.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections that were made
    pub connections: Arc<AtomicUsize>,
    /// Connections that are open
    pub open: Arc<AtomicUsize>,
}

type Script = Arc<dyn Fn(&Seen) -> Vec<Act> + Send + Sync>;

/// Health probes ask for this; scripts and logs see them like all others.
pub const NS: u8 = 2;

impl Upstream {
    pub async fn new(script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // Another test may have that port.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (Arc::new(udp), tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let script: Script = Arc::new(script);
        tokio::spawn(datagrams(udp, Arc::clone(&script), Arc::clone(&seen)));
        let open = Arc::<AtomicUsize>::default();
        let (log, count, now_open) = (Arc::clone(&seen), Arc::clone(&connections), Arc::clone(&open));
        tokio::spawn(async move {
            while let Ok((stream, from)) = tcp.accept().await {
                count.fetch_add(1, SeqCst);
                now_open.fetch_add(1, SeqCst);
                let served = connection(stream, from, Arc::clone(&script), Arc::clone(&log));
                let now_open = Arc::clone(&now_open);
                tokio::spawn(async move {
                    served.await;
                    now_open.fetch_sub(1, SeqCst);
                });
            }
        });
        Self { address, seen, connections, open }
    }

    /// What arrived, apart from health probes.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.qtype() != NS).cloned().collect()
    }

    pub fn probes(&self) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.qtype() == NS).count()
    }
}

async fn datagrams(socket: Arc<UdpSocket>, script: Script, log: Arc<Mutex<Vec<Seen>>>) {
    let mut room = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut room).await {
        let seen = Seen { from, octets: room[..length].to_vec(), tcp: false };
        log.lock().unwrap().push(seen.clone());
        let (socket, acts) = (Arc::clone(&socket), script(&seen));
        tokio::spawn(async move {
            for act in acts {
                match act {
                    Act::Reply(octets) => _ = socket.send_to(&octets, from).await,
                    Act::FromElsewhere(octets) => {
                        let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                        let _ = other.send_to(&octets, from).await;
                    }
                    Act::Wait(time) => tokio::time::sleep(time).await,
                    Act::HangUp => {}
                }
            }
        });
    }
}

async fn connection(stream: TcpStream, from: SocketAddr, script: Script, log: Arc<Mutex<Vec<Seen>>>) {
    let (mut reader, mut writer) = stream.into_split();
    let (sender, mut replies) = mpsc::unbounded_channel::<Option<Vec<u8>>>();
    tokio::spawn(async move {
        while let Some(Some(reply)) = replies.recv().await {
            let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
            framed.extend(reply);
            let _ = writer.write_all(&framed).await;
        }
    });
    while let Ok(length) = reader.read_u16().await {
        let mut octets = vec![0; length.into()];
        if reader.read_exact(&mut octets).await.is_err() {
            return;
        }
        let seen = Seen { from, octets, tcp: true };
        log.lock().unwrap().push(seen.clone());
        let acts = script(&seen);
        if acts.iter().any(|act| matches!(act, Act::HangUp)) {
            return;
        }
        let sender = sender.clone();
        tokio::spawn(async move {
            for act in acts {
                match act {
                    Act::Reply(octets) | Act::FromElsewhere(octets) => _ = sender.send(Some(octets)),
                    Act::Wait(time) => tokio::time::sleep(time).await,
                    Act::HangUp => {}
                }
            }
        });
    }
}
