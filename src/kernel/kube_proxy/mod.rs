//! kube-proxy on this node: whether one is alive, and what one has left behind.
//!
//! Two programs that translate the same packets give results that nobody can foresee. So Portolan does not start beside
//! a living kube-proxy, and what a dead one left - kube-proxy leaves its rules when it ends - is named, or removed.

mod alive;
mod leftovers;
mod legacy;
mod names;

pub use alive::{Alive, MARK, find_alive};
pub use leftovers::{Leftovers, find_leftovers, remove_leftovers};
