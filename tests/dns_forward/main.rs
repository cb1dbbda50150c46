//! Forwarding, against upstreams that misbehave, on real sockets (section 2).

mod asking;
mod bench;
mod keeping;
mod lasting;
mod upstream;
