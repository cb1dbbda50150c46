use std::net::IpAddr;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::{
    Error, Handle, IpVersion, RouteMessageBuilder, new_connection,
    packet_route::{
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};
use tokio::task::JoinHandle;

use crate::{kernel::KernelError, model::Family, tables::RedirectMarks};

/// What our rules and routes carry as the protocol that made them: nobody else's, by the list in
/// `linux/rtnetlink.h` and iproute2's `rt_protos`. What a process left behind that died is known by it.
const PROTOCOL: u8 = 53;
/// The loopback interface has this index in every namespace.
const LOOPBACK: u32 = 1;

/// The numbers that the redirect takes of those that all programs of a host share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The packets' marks
    pub marks: RedirectMarks,
    /// The routing table that the addresses are local in
    pub table: u32,
    /// The preference of the rule that leads marked packets there: before those of any CNI plugin that sends by source
    pub preference: u32,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { marks: RedirectMarks::default(), table: 10053, preference: 53 }
    }
}

/// The routing rules, and the routes that make addresses local for marked packets.
pub struct Routing {
    handle: Handle,
    connection: JoinHandle<()>,
    numbers: Numbers,
}

impl Routing {
    /// Opens a socket in the network namespace of the calling thread. Must be called within a tokio runtime with I/O
    /// enabled, which keeps a task for it until the value is dropped.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if no netlink socket can be had.
    pub fn open(numbers: Numbers) -> Result<Self, KernelError> {
        let opened = new_connection().map_err(|error| failed("opening a routing netlink socket", &error))?;
        let (connection, handle, _) = opened;
        Ok(Self { handle, connection: tokio::spawn(connection), numbers })
    }

    /// Makes the address local for marked packets. What is there already stays.
    ///
    /// # Errors
    /// [`KernelError::NotPermitted`] without CAP_NET_ADMIN; [`KernelError::Failed`] with the kernel's words, such as
    /// for an IPv6 address where IPv6 is switched off.
    pub async fn ensure(&self, address: IpAddr) -> Result<(), KernelError> {
        let mut rule = self.handle.rule().add();
        *rule.message_mut() = self.rule(Family::of(address));
        match rule.execute().await {
            Err(error) if is(&error, Errno::EEXIST) => {}
            other => other.map_err(|error| refused("adding the routing rule of the DNS redirect", &error))?,
        }
        let attempt = format!("adding a local route to {address} for the DNS redirect");
        let route = self.route(address, &attempt)?;
        self.handle.route().add(route).replace().execute().await.map_err(|error| refused(&attempt, &error))
    }

    /// Removes the route to an address. An absent one is no error.
    ///
    /// # Errors
    /// As [`Routing::ensure`].
    pub async fn forget(&self, address: IpAddr) -> Result<(), KernelError> {
        let attempt = format!("removing the local route to {address} of the DNS redirect");
        let route = self.route(address, &attempt)?;
        gone(&attempt, self.handle.route().del(route).execute().await)
    }

    /// Removes what an earlier process left behind under other numbers or for other addresses than these.
    ///
    /// # Errors
    /// As [`Routing::ensure`].
    pub async fn keep_only(&self, addresses: &[IpAddr]) -> Result<(), KernelError> {
        let ours = |rule: &RuleMessage| {
            let Numbers { marks, table, preference } = self.numbers;
            let has = |attribute| rule.attributes.contains(&attribute);
            has(RuleAttribute::FwMark(marks.local))
                && has(RuleAttribute::FwMask(marks.local))
                && has(RuleAttribute::Table(table))
                && has(RuleAttribute::Priority(preference))
        };
        self.sweep(ours, |route| {
            let local = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::from(*address)),
                RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::from(*address)),
                _ => None,
            });
            route.attributes.contains(&RouteAttribute::Table(self.numbers.table))
                && local.is_some_and(|address| addresses.contains(&address))
        })
        .await
    }

    /// Removes every rule and route that a redirect made, under whatever numbers.
    ///
    /// # Errors
    /// As [`Routing::ensure`].
    pub async fn remove(&self) -> Result<(), KernelError> {
        self.sweep(|_| false, |_| false).await
    }

    /// Removes rules and routes of ours but for those to be kept. A family that the kernel does not have has none.
    async fn sweep(
        &self,
        keep_rule: impl Fn(&RuleMessage) -> bool,
        keep_route: impl Fn(&RouteMessage) -> bool,
    ) -> Result<(), KernelError> {
        let attempt = "removing routing rules and routes of the DNS redirect";
        for (version, family) in [(IpVersion::V4, Family::V4), (IpVersion::V6, Family::V6)] {
            let rules: Vec<RuleMessage> = match self.handle.rule().get(version).execute().try_collect().await {
                Err(error) if is(&error, Errno::EAFNOSUPPORT) || is(&error, Errno::EOPNOTSUPP) => continue,
                other => other.map_err(|error| refused(attempt, &error))?,
            };
            let made =
                |rule: &RuleMessage| rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
            for rule in rules.into_iter().filter(|rule| made(rule) && !keep_rule(rule)) {
                gone(attempt, self.handle.rule().del(rule).execute().await)?;
            }
            let all = match family {
                Family::V4 => RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
                Family::V6 => RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
            };
            let routes: Vec<RouteMessage> =
                self.handle.route().get(all).execute().try_collect().await.map_err(|e| refused(attempt, &e))?;
            let made = |route: &RouteMessage| route.header.protocol == RouteProtocol::from(PROTOCOL);
            for route in routes.into_iter().filter(|route| made(route) && !keep_route(route)) {
                gone(attempt, self.handle.route().del(route).execute().await)?;
            }
        }
        Ok(())
    }

    /// `fwmark M/M lookup T`
    fn rule(&self, family: Family) -> RuleMessage {
        let Numbers { marks, table, preference } = self.numbers;
        let rule = self.handle.rule().add().action(RuleAction::ToTable).priority(preference).table_id(table);
        let rule = rule.fw_mark(marks.local);
        let mut message = match family {
            Family::V4 => rule.v4().message_mut().clone(),
            Family::V6 => rule.v6().message_mut().clone(),
        };
        message.attributes.push(RuleAttribute::FwMask(marks.local));
        message.attributes.push(RuleAttribute::Protocol(PROTOCOL.into()));
        message
    }

    /// `local A dev lo table T`
    fn route(&self, address: IpAddr, attempt: &str) -> Result<RouteMessage, KernelError> {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let route = RouteMessageBuilder::<IpAddr>::new().destination_prefix(address, length);
        let route = route.map_err(|error| failed(attempt, &error))?;
        let route = route.kind(RouteType::Local).scope(RouteScope::Host).protocol(PROTOCOL.into());
        Ok(route.table_id(self.numbers.table).output_interface(LOOPBACK).build())
    }
}

impl Drop for Routing {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Whether the kernel said no for this reason.
fn is(error: &Error, errno: Errno) -> bool {
    matches!(error, Error::NetlinkError(message) if message.raw_code() == -(errno as i32))
}

/// The outcome of removing what may be gone already.
fn gone(attempt: &str, outcome: Result<(), Error>) -> Result<(), KernelError> {
    match outcome {
        Err(error) if is(&error, Errno::ESRCH) || is(&error, Errno::ENOENT) => Ok(()),
        other => other.map_err(|error| refused(attempt, &error)),
    }
}

fn refused(attempt: &str, error: &Error) -> KernelError {
    match is(error, Errno::EPERM) {
        true => KernelError::NotPermitted { attempt: attempt.to_owned() },
        false => failed(attempt, error),
    }
}

fn failed(attempt: &str, reason: &dyn std::fmt::Display) -> KernelError {
    KernelError::Failed { attempt: attempt.to_owned(), reason: reason.to_string() }
}
