//! Clients: one question each, or many while something happens.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::net::{Machine, Net, VIPS};

/// How long an answer may take that is not to be waited for in vain.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What came to one query.
#[derive(Debug)]
pub struct Asked {
    pub sent: Instant,
    /// The text; or why none came
    pub answer: io::Result<String>,
}

pub fn vip(index: usize) -> SocketAddr {
    (VIPS[index].parse::<IpAddr>().unwrap(), 53).into()
}

/// A UDP socket that speaks to an address. Only what comes from there is received.
pub fn udp(target: SocketAddr) -> UdpSocket {
    let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(target).unwrap();
    socket
}

/// Asks once over a socket.
pub fn ask_over(socket: &UdpSocket, id: u16) -> io::Result<String> {
    socket.send(&id.to_be_bytes())?;
    let mut answer = [0; 512];
    loop {
        let length = socket.recv(&mut answer)?;
        if answer[..2] == id.to_be_bytes() {
            return Ok(String::from_utf8_lossy(&answer[2..length]).into_owned());
        }
    }
}

pub fn ask_udp(target: SocketAddr) -> io::Result<String> {
    ask_over(&udp(target), 1)
}

pub fn ask_tcp(target: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[0, 7])?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.len() < 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&answer[2..]).into_owned())
}

/// Asserts who answers the machine, over both families and protocols, and that it sees `client`.
#[track_caller]
pub fn assert_answers(net: &Net, machine: Machine, who: &str, clients: [&str; 2]) {
    for (index, client) in clients.into_iter().enumerate() {
        let (udp, tcp) = net.inside(machine, || (ask_udp(vip(index)), ask_tcp(vip(index))));
        let wanted = format!("{who} saw {client}");
        assert_eq!(udp.unwrap_or_else(|e| e.to_string()), wanted, "{machine:?} over UDP");
        assert_eq!(tcp.unwrap_or_else(|e| e.to_string()), wanted, "{machine:?} over TCP");
    }
}

/// Asks again until this one answers.
#[track_caller]
pub fn until(net: &Net, machine: Machine, index: usize, who: &str) {
    let begun = Instant::now();
    loop {
        let answer = net.inside(machine, || ask_udp(vip(index)));
        if answer.as_ref().is_ok_and(|answer| answer.starts_with(who)) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{machine:?}: no answer from {who}, but {answer:?}");
    }
}

/// Ways to ask many times.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// One UDP socket: the same addresses and ports each time
    OneFlow,
    /// A UDP socket for each query
    ManyFlows,
    /// A TCP connection for each query
    Connections,
}

/// Asks without pause until it is over. To be called inside a machine.
pub fn load(target: SocketAddr, way: Way, over: &AtomicBool) -> Vec<Asked> {
    let socket = udp(target);
    let mut asked = Vec::new();
    let mut id = 0u16;
    while !over.load(Ordering::Relaxed) {
        id = id.wrapping_add(1);
        let sent = Instant::now();
        let answer = match way {
            Way::OneFlow => ask_over(&socket, id),
            Way::ManyFlows => ask_udp(target),
            Way::Connections => ask_tcp(target),
        };
        asked.push(Asked { sent, answer });
        std::thread::sleep(Duration::from_millis(3));
    }
    asked
}

/// How many answers came from whom.
pub fn from(asked: &[Asked], who: &str) -> usize {
    asked.iter().filter(|asked| asked.answer.as_ref().is_ok_and(|answer| answer.starts_with(who))).count()
}

/// Queries without an answer.
pub fn lost(asked: &[Asked]) -> Vec<&Asked> {
    asked.iter().filter(|asked| asked.answer.is_err()).collect()
}
