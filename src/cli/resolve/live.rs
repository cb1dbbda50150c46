//! Answers of a running server.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use domain::base::iana::{Class, Rtype};

use super::walk::Answer;
use crate::{
    answers::{
        foreign::{Foreign, Kind, Unusable},
        query::Question,
        why,
    },
    config::dns::{DNS_PORT, Name},
};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// So often a query is sent.
const ATTEMPTS: usize = 3;
/// So long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server as it was given.
#[derive(Clone, Copy, Debug)]
pub struct Server(SocketAddr);

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)).or_else(|_| text.parse());
        address.map(Self).map_err(|_| format!("{text:?} is no IP[:PORT]"))
    }
}

/// A server to ask.
pub struct Live {
    pub server: SocketAddr,
}

impl Live {
    /// # Errors
    /// Nobody is named, and resolv.conf names nobody either.
    pub fn new(server: Option<Server>) -> anyhow::Result<Self> {
        if let Some(Server(server)) = server {
            return Ok(Self { server });
        }
        let text = fs::read_to_string(RESOLV_CONF)
            .with_context(|| format!("cannot read {RESOLV_CONF}; --server names the server"))?;
        let mut servers = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next().filter(|word| *word == "nameserver").and(words.next())?.parse().ok()
        });
        let Some(address) = servers.next() else { bail!("{RESOLV_CONF} names no server; --server does") };
        Ok(Self { server: SocketAddr::new(address, DNS_PORT) })
    }

    /// Asks over UDP, and again over TCP where the answer is too long for that.
    ///
    /// # Errors
    /// There is no answer that can be read.
    pub fn ask(&self, name: &Name, qtype: Rtype) -> anyhow::Result<Answer> {
        let question = Question {
            name: name.as_octets().as_slice().into(),
            qtype,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
        };
        let failed = || format!("the server {} does not answer for {} {qtype}", self.server, name.fmt_with_dot());
        let answer = self.over_udp(name, &question).with_context(failed)?;
        let answer = match answer.kind() {
            Kind::Truncated => self.over_tcp(name, &question).with_context(failed)?,
            _ => answer,
        };
        Ok(Answer::of_others(qtype, answer.rcode().to_string(), why::records(answer.wire())))
    }

    fn over_udp(&self, name: &Name, question: &Question) -> anyhow::Result<Foreign> {
        let from: IpAddr =
            if self.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(self.server)?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        for _ in 0..ATTEMPTS {
            let query = query(name, question.qtype);
            socket.send(&query)?;
            let deadline = Instant::now() + PATIENCE;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                socket.set_read_timeout(Some(left))?;
                let length = match socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                    Err(error) => return Err(error.into()),
                };
                if buffer[..length].get(..2) != query.get(..2) {
                    continue;
                }
                match Foreign::parse(&buffer[..length], question) {
                    Err(Unusable::NotTheAnswer) => {}
                    read => return Ok(read?),
                }
            }
        }
        Err(anyhow!("silence, {ATTEMPTS} times for {} seconds", PATIENCE.as_secs()))
    }

    fn over_tcp(&self, name: &Name, question: &Question) -> anyhow::Result<Foreign> {
        let mut stream = TcpStream::connect_timeout(&self.server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let query = query(name, question.qtype);
        let length = u16::try_from(query.len())?;
        stream.write_all(&[&length.to_be_bytes()[..], &query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        if answer.get(..2) != query.get(..2) {
            bail!("the answer has another id");
        }
        Ok(Foreign::parse(&answer, question)?)
    }
}

/// A query with an id of its own.
fn query(name: &Name, qtype: Rtype) -> Vec<u8> {
    let mut query = why::question(name, qtype);
    query[..2].copy_from_slice(&rand::random::<[u8; 2]>());
    query
}
