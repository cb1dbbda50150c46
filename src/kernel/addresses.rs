//! The addresses of the node's interfaces, and word of every change to them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::pin,
};

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::{
    Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
        route::{RouteAddress, RouteAttribute},
    },
};
use tokio::{sync::watch, task::JoinHandle};

use super::KernelError;
use crate::model::Family;

/// Addresses outside the node (RFC 5737, RFC 3849): the route to them is the default route. Nothing is sent there.
const OUTSIDE: [(Family, IpAddr); 2] = [
    (Family::V4, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
    (Family::V6, IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
];
/// The loopback interface has this index in every namespace.
const LOOPBACK: u32 = 1;

/// What the node's interfaces have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceAddresses {
    /// Every address but loopback addresses (127.0.0.0/8, ::1) and IPv6 link-local ones, in the order of interfaces;
    /// those of the loopback interface, which nobody reaches by themselves, come last
    pub all: Vec<IpAddr>,
    /// For each family, if it has any: the address that the node reaches the world with
    pub preferred: Vec<IpAddr>,
}

/// Reads the addresses of a network namespace and tells of changes.
pub struct AddressWatch {
    handle: Handle,
    changes: watch::Receiver<()>,
    connection: JoinHandle<()>,
}

impl AddressWatch {
    /// Subscribes to the changes in the network namespace that the calling thread is in. Must be called within a tokio
    /// runtime with I/O enabled, which keeps a task for it until the value is dropped.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if no netlink socket can be had.
    pub fn open() -> Result<Self, KernelError> {
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, mut messages) =
            new_multicast_connection(&groups).map_err(|error| failed("subscribing to interface addresses", &error))?;
        let (sender, changes) = watch::channel(());
        // What changed is not looked at: it is read anew. The channel makes one change of many that come together.
        let forward = async move { while messages.next().await.is_some_and(|_| sender.send(()).is_ok()) {} };
        let connection = tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = forward => {}
            }
        });
        Ok(Self { handle, changes, connection })
    }

    /// Waits until addresses have changed since the last call (or since the subscription). May be cancelled.
    ///
    /// # Errors
    /// [`KernelError::Failed`] once the subscription is broken; only another one can help.
    pub async fn changed(&mut self) -> Result<(), KernelError> {
        let attempt = "waiting for changes of interface addresses";
        self.changes.changed().await.map_err(|_| failed(attempt, &"the netlink socket was closed"))
    }

    /// Reads the addresses as they are now.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if the kernel does not answer as it should.
    pub async fn read(&self) -> Result<InterfaceAddresses, KernelError> {
        let messages: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|error| failed("reading interface addresses", &error))?;
        let mut owned: Vec<Owned> = messages.iter().filter_map(Owned::of).collect();
        owned.sort_by_key(|address| (address.interface == LOOPBACK, address.interface));
        let mut preferred = Vec::new();
        for (family, outside) in OUTSIDE {
            let default_route = self.source_towards(outside).await;
            preferred.extend(choose(owned.iter().filter(|a| Family::of(a.address) == family), default_route));
        }
        Ok(InterfaceAddresses { all: owned.iter().map(|address| address.address).collect(), preferred })
    }

    /// The interface and the source address that the kernel would use towards an address; nothing without a route.
    async fn source_towards(&self, destination: IpAddr) -> Route {
        let length = if destination.is_ipv4() { 32 } else { 128 };
        let request = RouteMessageBuilder::<IpAddr>::new().destination_prefix(destination, length);
        let Ok(request) = request.map(RouteMessageBuilder::build) else { return Route::default() };
        let mut answers = pin!(self.handle.route().get(request).execute());
        let mut route = Route::default();
        for attribute in answers.try_next().await.ok().flatten().into_iter().flat_map(|answer| answer.attributes) {
            match attribute {
                RouteAttribute::Oif(interface) => route.interface = Some(interface),
                RouteAttribute::PrefSource(RouteAddress::Inet(address)) => route.source = Some(address.into()),
                RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => route.source = Some(address.into()),
                _ => {}
            }
        }
        route
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn failed(attempt: &str, reason: &dyn std::fmt::Display) -> KernelError {
    KernelError::Failed { attempt: attempt.to_owned(), reason: reason.to_string() }
}

/// The answer to a look-up in the routing tables.
#[derive(Clone, Copy, Default)]
struct Route {
    interface: Option<u32>,
    source: Option<IpAddr>,
}

/// An address of an interface.
#[derive(Clone, Copy)]
struct Owned {
    address: IpAddr,
    interface: u32,
    /// Fit to be the node's own: global, and not one of the passing ones that IPv6 makes for privacy (RFC 8981)
    lasting: bool,
}

impl Owned {
    fn of(message: &AddressMessage) -> Option<Self> {
        let find = |local: bool| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) if local => Some(*address),
                AddressAttribute::Address(address) if !local => Some(*address),
                _ => None,
            })
        };
        // On a point-to-point link the other one is the peer's.
        let address = find(true).or_else(|| find(false))?;
        let link_local = matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
        let flags = message.header.flags;
        let temporary = address.is_ipv6() && flags.contains(AddressHeaderFlags::Secondary);
        let usable = !flags.intersects(AddressHeaderFlags::Deprecated | AddressHeaderFlags::Dadfailed);
        let lasting = message.header.scope == AddressScope::Universe && usable && !temporary;
        (!address.is_loopback() && !link_local).then_some(Self { address, interface: message.header.index, lasting })
    }
}

/// The source address of the default route, or else the first lasting address of its interface, or else of any.
fn choose<'a>(addresses: impl Iterator<Item = &'a Owned>, default_route: Route) -> Option<IpAddr> {
    let candidates: Vec<&Owned> = addresses.filter(|address| address.lasting).collect();
    let of_route = candidates.iter().find(|a| Some(a.address) == default_route.source);
    let of_interface = || candidates.iter().find(|a| Some(a.interface) == default_route.interface);
    of_route.or_else(of_interface).or(candidates.first()).map(|address| address.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_routes_address_comes_before_its_interfaces_first_and_before_any() {
        let owned = |address: &str, interface, lasting| Owned { address: address.parse().unwrap(), interface, lasting };
        let addresses = [
            owned("fd00::2", 2, true),
            owned("fd00::bad", 3, false),
            owned("fd00::3", 3, true),
            owned("fd00::33", 3, true),
        ];
        let chosen = |interface, source: Option<&str>| {
            let route = Route { interface, source: source.map(|source| source.parse().unwrap()) };
            choose(addresses.iter(), route).unwrap().to_string()
        };
        assert_eq!(chosen(Some(3), Some("fd00::33")), "fd00::33");
        assert_eq!(chosen(Some(3), Some("fd00::bad")), "fd00::3");
        assert_eq!(chosen(Some(9), None), "fd00::2");
        assert_eq!(chosen(None, None), "fd00::2");
        assert_eq!(choose(addresses[1..2].iter(), Route::default()), None);
    }
}
