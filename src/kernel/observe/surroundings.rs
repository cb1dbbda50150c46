use std::{collections::BTreeSet, net::IpAddr};

use crate::observed::{Seen, Surroundings};

/// Reads the node's forwarding settings, its addresses, the routes to `destinations` and all tables that are not ours, in
/// the calling thread's network namespace.
pub fn surroundings(_destinations: &BTreeSet<IpAddr>) -> Seen<Surroundings> {
    Err("nobody looked".to_owned())
}
