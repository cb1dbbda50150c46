//! The server's sockets with a responder that knows nothing of DNS: real datagrams and connections.

#[path = "../common/sandbox.rs"]
mod sandbox;

mod addresses;
mod limits;
mod responder;
mod stopping;
mod tcp;
mod udp;
