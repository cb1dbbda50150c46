//! Who asks: bytes to bytes over sockets.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

/// The longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks over UDP, from a port of its own.
pub fn udp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, String> {
    Udp::new(server).ask(query)
}

/// A client with one port.
pub struct Udp(UdpSocket);

impl Udp {
    pub fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub fn ask(&self, query: &[u8]) -> Result<Vec<u8>, String> {
        self.0.send(query).map_err(|error| format!("cannot ask: {error}"))?;
        let mut buffer = vec![0; 65535];
        let length = self.0.recv(&mut buffer).map_err(|error| format!("no reply: {error}"))?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// Asks all of them over one TCP connection without waiting in between. Replies come in any order and are told apart by
/// their ids, which must differ.
pub fn tcp(server: SocketAddr, queries: &[Vec<u8>]) -> BTreeMap<u16, Vec<u8>> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for query in queries {
                let length = u16::try_from(query.len()).unwrap().to_be_bytes();
                writer.write_all(&[&length[..], query].concat()).unwrap();
            }
        });
        let mut replies = BTreeMap::new();
        for _ in queries {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut reply).unwrap();
            let id = u16::from_be_bytes([reply[0], reply[1]]);
            assert!(replies.insert(id, reply).is_none(), "two replies to one query");
        }
        replies
    })
}
