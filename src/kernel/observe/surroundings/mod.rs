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
    observed::{Route, Seen, Surroundings},
};

const IPV4_FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// Before the name of an interface, and [`PASSES_ON`]
const INTERFACES: &str = "/proc/sys/net/ipv4/conf";
const PASSES_ON: &str = "forwarding";
const IPV6_FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Reads the node's forwarding settings, its addresses, the routes to `destinations`, and all tables that are not ours, in
/// the calling thread's network namespace. Changes nothing. What cannot be read is said in [`Surroundings::unread`] and
/// [`Surroundings::unread_tables`], and costs nothing else; asking `nft` takes seconds at most.
///
/// # Errors
/// Nobody can be asked about addresses and routes: there is no routing netlink socket.
pub fn surroundings(destinations: &BTreeSet<IpAddr>, clients: &BTreeSet<IpAddr>, mark: u32) -> Seen<Surroundings> {
    // A thread of its own, because the caller may be within a runtime. It is in the same network namespace.
    let looked = thread::scope(|scope| scope.spawn(|| routes::look(destinations, clients, mark)).join());
    let (own_addresses, routes, unread) =
        looked.map_err(|_| "reading addresses and routes: the thread that did it failed".to_owned())??;
    let forwarding = [(Family::V4, IPV4_FORWARDING), (Family::V6, IPV6_FORWARDING)];
    let forwarding = forwarding.into_iter().filter_map(|(family, file)| Some((family, switched_on(file)?)));
    let forwarding: BTreeMap<Family, bool> = forwarding.collect();
    let mut unread_tables = Vec::new();
    let foreign = tables::read(own_addresses.clone(), &mut unread_tables);
    let (kube_proxy, kube_proxy_rules) = kube_proxy();
    Ok(Surroundings {
        forwarding,
        passes_on: passes_on(&routes),
        own_addresses,
        routes,
        foreign,
        kube_proxy,
        kube_proxy_rules,
        old_tables: old_tables(),
        unread,
        unread_tables,
    })
}

/// A family that is switched off has no such file. The kernel shows each thread the files of its own namespace.
fn switched_on(file: &str) -> Option<bool> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim() != "0")
}

/// The switches of the interfaces that routes name. An interface's name has no slash in it; the kernel sees to that.
fn passes_on(routes: &BTreeMap<IpAddr, Route>) -> BTreeMap<String, bool> {
    let interfaces = routes.values().filter_map(|route| match route {
        Route::Out { interface, .. } => Some(interface),
        _ => None,
    });
    let read = |name: &String| Some((name.clone(), switched_on(&format!("{INTERFACES}/{name}/{PASSES_ON}"))?));
    interfaces.collect::<BTreeSet<_>>().into_iter().filter_map(read).collect()
}

/// The tables in use of an iptables that is no front end of nftables; none, where it is not even loaded.
fn old_tables() -> BTreeMap<Family, Vec<String>> {
    let of_family = |family| {
        let list = match family {
            Family::V4 => "ip_tables_names",
            Family::V6 => "ip6_tables_names",
        };
        let names = fs::read_to_string(format!("/proc/thread-self/net/{list}")).unwrap_or_default();
        (family, names.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    Family::ALL.map(of_family).into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

/// A living kube-proxy, or else what a dead one left, which translates all the same.
fn kube_proxy() -> (Option<String>, BTreeMap<Family, String>) {
    if let Some(alive) = find_alive(Path::new("/proc")) {
        return (Some(alive.to_string()), BTreeMap::new());
    }
    let Ok(left) = find_leftovers() else { return (None, BTreeMap::new()) };
    let rules = Family::ALL.map(|family| (family, left.of(family))).into_iter().filter(|(_, left)| !left.is_empty());
    (None, rules.map(|(family, left)| (family, left.to_string())).collect())
}
