//! Names over real sockets: every case of tests/dns against `portolan dns` as an operator runs it, and what clients see
//! while names change.

#[path = "../common/sandbox.rs"]
mod sandbox;

#[path = "../dns/mod.rs"]
mod dns;

mod answering;
mod changing;
mod client;
mod corefile;
mod server;
mod upstream;
