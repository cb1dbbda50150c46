//! One question to a server on this node, in plain HTTP: for programs that look who listens there.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long an answer may take in all. Those who are asked answer from memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The code
    pub code: u16,
    /// Names of the headers, in lower case
    pub headers: Vec<String>,
    /// What follows the headers, up to the limit
    pub body: String,
}

impl Answer {
    /// Whether there is a header of this name, which is in lower case.
    pub fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|other| other == header)
    }

    /// Reads an answer that is there in full. `None` if it is none of HTTP.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let first = lines.next()?;
        let code = first.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
        Some(Self { code, headers, body: body.to_owned() })
    }
}

/// Asks for a path, which is to be a valid one, in the calling thread's network namespace. Takes a second at most, and
/// reads no more than about `limit` bytes.
///
/// # Errors
/// Nobody listens there (`ConnectionRefused`); the answer takes too long (`TimedOut`); it is none of HTTP (`InvalidData`).
pub fn get(address: SocketAddr, path: &str, limit: usize) -> io::Result<Answer> {
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while answer.len() < limit {
        let left = PATIENCE.checked_sub(started.elapsed()).filter(|left| !left.is_zero());
        stream.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            // What the kernel calls a read that took too long.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    Answer::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "that is no HTTP"))
}
