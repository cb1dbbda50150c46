//! Names on the wire: sockets, forwarding, the cache of forwarded answers, the redirect of the DNS VIP to this node.

pub mod cache;
pub mod corefile;
pub mod forward;
mod limit;
pub mod names;
pub mod process;
pub mod redirect;
pub mod serve;
