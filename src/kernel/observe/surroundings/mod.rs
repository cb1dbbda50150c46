//! The node around our tables.

mod routes;
mod tables;

pub use tables::own_table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
    thread,
};

use crate::{
    kernel::kube_proxy::{find_alive, find_leftovers},
    model::Family,
    observed::{Seen, Surroundings},
};

const IPV4_FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const IPV6_FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Reads the node's forwarding settings, its addresses, the routes to `destinations` and all tables that are not ours, in
/// the calling thread's network namespace. Changes nothing. What cannot be read is said in [`Surroundings::unread`] and
/// costs nothing else; asking `nft` takes seconds at most.
///
/// # Errors
/// Nobody can be asked about addresses and routes: there is no routing netlink socket.
pub fn surroundings(destinations: &BTreeSet<IpAddr>) -> Seen<Surroundings> {
    // A thread of its own, because the caller may be within a runtime. It is in the same network namespace.
    let looked = thread::scope(|scope| scope.spawn(|| routes::look(destinations)).join());
    let (own_addresses, routes, mut unread) =
        looked.map_err(|_| "reading addresses and routes: the thread that did it failed".to_owned())??;
    let forwarding = [(Family::V4, IPV4_FORWARDING), (Family::V6, IPV6_FORWARDING)];
    let forwarding = forwarding.into_iter().filter_map(|(family, file)| Some((family, switched_on(file)?)));
    let forwarding: BTreeMap<Family, bool> = forwarding.collect();
    let foreign = tables::read(own_addresses.clone(), &mut unread);
    Ok(Surroundings { forwarding, own_addresses, routes, foreign, kube_proxy: kube_proxy(), unread })
}

/// A family that is switched off has no such file. The kernel shows each thread the files of its own namespace.
fn switched_on(file: &str) -> Option<bool> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim() != "0")
}

/// A living kube-proxy, or else what a dead one left, which translates all the same.
fn kube_proxy() -> Option<String> {
    if let Some(alive) = find_alive(Path::new("/proc")) {
        return Some(alive.to_string());
    }
    let left = find_leftovers().ok().filter(|left| !left.is_empty())?;
    Some(format!("it does not run any more, but has left rules: {left}"))
}
