//! `portolan dns` as an operator runs it: a Corefile, manifests, real sockets.

#[path = "../dns/mod.rs"]
mod dns;
#[path = "../common/sandbox.rs"]
mod sandbox;

mod answering;
mod cases;
mod changing;
mod ending;
mod server;
