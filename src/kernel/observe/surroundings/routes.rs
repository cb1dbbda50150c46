use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    pin::pin,
};

use futures_util::TryStreamExt;
use nix::{
    errno::Errno,
    net::if_::{if_indextoname, if_nametoindex},
};
use rtnetlink::{
    Error, Handle, RouteMessageBuilder, new_connection,
    packet_route::{
        address::AddressAttribute,
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
};

use super::{INTERFACES, IPV6_FORWARDING, PASSES_ON, switched_on};
use crate::observed::Route;

/// What [`look`] finds: this node's addresses, a route for each destination, and what could not be found out.
pub(super) type Found = (BTreeSet<IpAddr>, BTreeMap<IpAddr, Route>, Vec<String>);

/// Asks the kernel for all addresses of all interfaces, and for the way to each destination.
/// Packets of `clients`, with this mark, may take another way than the node's own (`ip rule`), or none.
pub(super) fn look(destinations: &BTreeSet<IpAddr>, clients: &BTreeSet<IpAddr>, mark: u32) -> Result<Found, String> {
    let opening = |error: std::io::Error| format!("opening a routing netlink socket: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(opening)?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection().map_err(opening)?;
        let connection = tokio::spawn(connection);
        let own = addresses(&handle).await.map_err(|error| format!("reading interface addresses: {error}"))?;
        let (mut routes, mut unread) = (BTreeMap::new(), Vec::new());
        for destination in destinations.union(clients) {
            match route(&handle, *destination, None).await {
                Ok(route) => drop(routes.insert(*destination, route)),
                Err(reason) => unread.push(format!("asking for the route to {destination}: {reason}")),
            }
        }
        let senders: Vec<Sender> = clients.iter().filter_map(|client| sender(*client, &routes, mark)).collect();
        for destination in destinations.difference(clients) {
            let of_family = |sender: &&Sender| sender.address.is_ipv4() == destination.is_ipv4();
            let Some(sender) = senders.iter().find(of_family) else { continue };
            match route(&handle, *destination, Some(sender)).await {
                Ok(route) => drop(routes.insert(*destination, route)),
                Err(reason) => {
                    unread.push(format!("asking for the route from {} to {destination}: {reason}", sender.address));
                }
            }
        }
        connection.abort();
        Ok((own, routes, unread))
    })
}

async fn addresses(handle: &Handle) -> Result<BTreeSet<IpAddr>, Error> {
    let mut own = BTreeSet::new();
    let mut messages = pin!(handle.address().get().execute());
    while let Some(message) = messages.try_next().await? {
        // On a point-to-point link `Address` is the peer's.
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let plain = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        });
        own.extend(local.or(plain));
    }
    Ok(own)
}

/// Whose packets are passed on.
struct Sender {
    address: IpAddr,
    /// The interface that they come by, as the way back says
    interface: u32,
    mark: u32,
}

/// `None` if it is not known by which interface its packets come, or if that passes none on, which the routing would tell as
/// a route that is missing.
fn sender(address: IpAddr, routes: &BTreeMap<IpAddr, Route>, mark: u32) -> Option<Sender> {
    let Some(Route::Out { interface: name, .. }) = routes.get(&address) else { return None };
    let switch =
        if address.is_ipv4() { format!("{INTERFACES}/{name}/{PASSES_ON}") } else { IPV6_FORWARDING.to_owned() };
    switched_on(&switch).filter(|on| *on)?;
    Some(Sender { address, interface: if_nametoindex(name.as_str()).ok()?, mark })
}

async fn route(handle: &Handle, destination: IpAddr, sender: Option<&Sender>) -> Result<Route, String> {
    let length = if destination.is_ipv4() { 32 } else { 128 };
    let request = RouteMessageBuilder::<IpAddr>::new().destination_prefix(destination, length);
    let mut request = request.map_err(|error| error.to_string())?;
    if let Some(Sender { address, interface, mark }) = sender {
        request = request.source_prefix(*address, length).map_err(|error| error.to_string())?;
        request = request.input_interface(*interface).mark(*mark);
    }
    let request = request.build();
    let mut answers = pin!(handle.route().get(request).execute());
    match answers.try_next().await {
        Ok(Some(answer)) => Ok(told(&answer)),
        Ok(None) => Err("the kernel gave no answer".to_owned()),
        Err(Error::NetlinkError(message)) => match Errno::from_raw(-message.raw_code()) {
            // fib_props in net/ipv4/fib_semantics.c says which kind of route gives which error.
            Errno::ENETUNREACH => Ok(Route::None("no route".to_owned())),
            Errno::EHOSTUNREACH => Ok(Route::None("unreachable".to_owned())),
            Errno::EACCES => Ok(Route::None("prohibited".to_owned())),
            Errno::EINVAL => Ok(Route::None("blackhole".to_owned())),
            other => Err(other.desc().to_owned()),
        },
        Err(error) => Err(error.to_string()),
    }
}

fn told(answer: &RouteMessage) -> Route {
    match answer.header.kind {
        RouteType::Local => return Route::Here,
        RouteType::BlackHole => return Route::None("blackhole".to_owned()),
        RouteType::Unreachable => return Route::None("unreachable".to_owned()),
        RouteType::Prohibit => return Route::None("prohibited".to_owned()),
        _ => {}
    }
    let (mut interface, mut gateway) = (None, None);
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(IpAddr::from(*address)),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => gateway = Some(IpAddr::from(*address)),
            _ => {}
        }
    }
    let Some(index) = interface else { return Route::None("no route".to_owned()) };
    let name = if_indextoname(index).ok().and_then(|name| name.into_string().ok());
    Route::Out { interface: name.unwrap_or_else(|| format!("interface {index}")), gateway }
}
