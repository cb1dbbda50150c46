//! The scripted upstream behind sockets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    thread,
};

use hickory_proto::op::Message;

use crate::dns::upstream;

/// What goes into a datagram; the rest is to be asked for over TCP.
const DATAGRAM: usize = 1232;

/// Starts it at an address, over UDP and TCP. Ends with the test's process.
pub fn start(address: SocketAddr) {
    let udp = UdpSocket::bind(address).unwrap();
    let tcp = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            let mut reply = upstream::reply(&buffer[..length]);
            if reply.len() > DATAGRAM {
                reply = truncated(&reply);
            }
            udp.send_to(&reply, peer).unwrap();
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    if stream.read_exact(&mut query).is_err() {
                        return;
                    }
                    let reply = upstream::reply(&query);
                    let length = u16::try_from(reply.len()).expect("a message").to_be_bytes();
                    if stream.write_all(&[&length[..], &reply].concat()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// As many whole records as fit, with TC.
fn truncated(reply: &[u8]) -> Vec<u8> {
    let mut message = Message::from_vec(reply).expect("our own reply");
    message.metadata.truncation = true;
    while message.to_vec().is_ok_and(|short| short.len() > DATAGRAM) {
        message.answers.pop();
    }
    message.to_vec().expect("a message")
}
