//! A client that does nothing but send and count. dnsperf, on one processor, is slower than a good server on another;
//! this one is not, and so finds out what the server can do.

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    time::{Duration, Instant},
};

use portolan::lab::{Namespace, in_namespace};

use crate::{check, questions};

/// Queries outstanding at most; sent in parts of so many.
const WINDOW: usize = 200;
const PART: usize = 50;
/// After this time what is outstanding is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// What came of it.
pub struct Flooded {
    pub answers: usize,
    pub lost: usize,
    pub seconds: f64,
}

/// The questions of dnsperf's file, as messages.
pub fn messages(questions: &Path) -> Vec<Vec<u8>> {
    questions::read(&fs::read_to_string(questions).unwrap()).iter().map(check::wire).collect()
}

/// Asks the server on 127.0.0.1 port 53 there, as fast as it answers.
pub fn run(namespace: &Namespace, messages: &[Vec<u8>], duration: Duration) -> Flooded {
    let socket = in_namespace(namespace, || UdpSocket::bind("127.0.0.1:0")).unwrap().unwrap();
    socket.connect("127.0.0.1:53").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut answers, mut lost, mut outstanding) = (0, 0, 0);
    let mut next = messages.iter().cycle();
    let mut buffer = [0; 4096];
    let started = Instant::now();
    while started.elapsed() < duration {
        for message in next.by_ref().take(PART) {
            socket.send(message).unwrap();
        }
        outstanding += PART;
        while outstanding > WINDOW - PART {
            if socket.recv(&mut buffer).is_ok() {
                (answers, outstanding) = (answers + 1, outstanding - 1);
            } else {
                (lost, outstanding) = (lost + outstanding, 0);
            }
        }
    }
    Flooded { answers, lost, seconds: started.elapsed().as_secs_f64() }
}
