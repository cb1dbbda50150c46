use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    pin::pin,
};

use futures_util::TryStreamExt;
use nix::{errno::Errno, net::if_::if_indextoname};
use rtnetlink::{
    Error, Handle, RouteMessageBuilder, new_connection,
    packet_route::{
        address::AddressAttribute,
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
};

use crate::observed::Route;

/// What [`look`] finds: this node's addresses, a route for each destination, and what could not be found out.
pub(super) type Found = (BTreeSet<IpAddr>, BTreeMap<IpAddr, Route>, Vec<String>);

/// Asks the kernel for all addresses of all interfaces, and for the way to each destination.
pub(super) fn look(destinations: &BTreeSet<IpAddr>) -> Result<Found, String> {
    let opening = |error: std::io::Error| format!("opening a routing netlink socket: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(opening)?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection().map_err(opening)?;
        let connection = tokio::spawn(connection);
        let own = addresses(&handle).await.map_err(|error| format!("reading interface addresses: {error}"))?;
        let (mut routes, mut unread) = (BTreeMap::new(), Vec::new());
        for destination in destinations {
            match route(&handle, *destination).await {
                Ok(route) => drop(routes.insert(*destination, route)),
                Err(reason) => unread.push(format!("asking for the route to {destination}: {reason}")),
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

async fn route(handle: &Handle, destination: IpAddr) -> Result<Route, String> {
    let length = if destination.is_ipv4() { 32 } else { 128 };
    let request = RouteMessageBuilder::<IpAddr>::new().destination_prefix(destination, length);
    let request = request.map_err(|error| error.to_string())?.build();
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
