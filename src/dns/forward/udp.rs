//! Queries in datagrams.

use std::{io, sync::Mutex, time::Duration};

use tokio::{net::UdpSocket, time::Instant};

use super::{
    query::{id, set_id},
    socket::From,
};
use crate::answers::{
    foreign::{Foreign, Unusable},
    query::Question,
};

/// So many queries a socket is used for: whoever learns its port can guess at few of them (RFC 5452).
const MOST_USES: u32 = 16;
/// So long a socket is used.
const LONGEST_USE: Duration = Duration::from_secs(30);
/// Idle sockets kept for an upstream.
const MOST_IDLE: usize = 64;
/// Room for a datagram: four times what we ask for. One that fills it is taken for cut off.
const ROOM: usize = 4 * super::query::UDP_SIZE as usize;
const TRUNCATED: u8 = 0x02;

/// Sockets to one upstream. A socket has one query at a time, so each query that is under way has a port of its own.
#[derive(Debug, Default)]
pub struct UdpPool {
    idle: Mutex<Vec<Pooled>>,
}

#[derive(Debug)]
struct Pooled {
    socket: UdpSocket,
    since: Instant,
    uses: u32,
}

/// What came back.
pub struct Reply {
    /// The answer
    pub result: Result<Foreign, Unusable>,
    /// The socket was there before
    pub reused: bool,
}

impl UdpPool {
    /// Sends a query and waits for its answer, for ever: the caller has the deadline. What is not the answer is ignored.
    ///
    /// # Errors
    ///
    /// What the socket says: there is no way to the upstream, or nobody listens there.
    pub async fn ask(
        &self,
        from: &From,
        to: std::net::SocketAddr,
        query: &[u8],
        question: &Question,
        ignored: impl Fn(),
    ) -> io::Result<Reply> {
        if let Some(pooled) = self.take() {
            // An error here may belong to the query before.
            if let Ok(result) = exchange(&pooled.socket, query, question, &ignored).await {
                self.put_back(pooled);
                return Ok(Reply { result, reused: true });
            }
        }
        let pooled = Pooled { socket: from.udp(to)?, since: Instant::now(), uses: 0 };
        let result = exchange(&pooled.socket, query, question, &ignored).await?;
        self.put_back(pooled);
        Ok(Reply { result, reused: false })
    }

    /// A socket whose query ends without an answer is not put back: the answer may still come.
    fn take(&self) -> Option<Pooled> {
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|pooled| pooled.uses < MOST_USES && now - pooled.since < LONGEST_USE);
        match idle.len() {
            0 => None,
            count => Some(idle.swap_remove(rand::random_range(0..count))),
        }
    }

    fn put_back(&self, mut pooled: Pooled) {
        pooled.uses += 1;
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(pooled);
        }
    }
}

async fn exchange(
    socket: &UdpSocket,
    query: &[u8],
    question: &Question,
    ignored: &impl Fn(),
) -> io::Result<Result<Foreign, Unusable>> {
    let sent_id = rand::random();
    let mut query = query.to_vec();
    set_id(&mut query, sent_id);
    socket.send(&query).await?;
    let mut room = vec![0; ROOM];
    loop {
        let length = socket.recv(&mut room).await?;
        let datagram = &mut room[..length];
        if id(datagram) == Some(sent_id) {
            if length == ROOM {
                datagram[2] |= TRUNCATED;
            }
            match Foreign::parse(datagram, question) {
                Err(Unusable::NotTheAnswer) => {}
                result => return Ok(result),
            }
        }
        ignored();
    }
}
