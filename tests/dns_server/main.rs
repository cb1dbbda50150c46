//! `portolan dns` as an operator runs it: a Corefile, manifests, real sockets.

#[path = "../common/sandbox.rs"]
mod sandbox;

mod answering;
mod changing;
mod ending;
mod server;
