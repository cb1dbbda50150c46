//! Both sides put together.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{KernelSight, Objects, Side};
use crate::{
    compile::FrontendKind,
    model::{Family, Frontend, PortId, ServiceId, Target},
    observed::{Connection, Connections, RememberedClient},
    tables::{DeadEnd, Policy},
};

/// What is known of this node's frontends at one moment.
pub struct View<'a> {
    /// By frontend
    pub frontends: BTreeMap<Frontend, Seen<'a>>,
    /// The objects, where there are any
    pub objects: Option<&'a Objects>,
    kernel: Option<&'a KernelSight>,
}

/// A frontend.
pub struct Seen<'a> {
    /// What a client dials
    pub frontend: Frontend,
    /// As the kernel has it
    pub held: Option<&'a Side>,
    /// As the objects want it
    pub wanted: Option<&'a Side>,
    /// What it is to its Service, as far as that is known
    pub kind: Option<FrontendKind>,
    /// What the kernel counted; `None` if it does not hold the frontend
    pub counts: Option<Counts>,
}

/// New connections, counted since the frontend was programmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Led to an endpoint. With source ranges, those turned away are among them.
    pub new: u64,
    /// Refused: there is no endpoint at all
    pub refused: u64,
    /// Dropped: there is no endpoint on this node
    pub dropped: u64,
    /// Dropped: the client is outside the source ranges. Only known where there is no endpoint; see [`View::turned_away`].
    pub not_allowed: u64,
}

impl Counts {
    /// With others.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            new: self.new + other.new,
            refused: self.refused + other.refused,
            dropped: self.dropped + other.dropped,
            not_allowed: self.not_allowed + other.not_allowed,
        }
    }
}

impl<'a> Seen<'a> {
    /// The side that serves: what the kernel holds, or what is wanted if it holds nothing.
    pub fn side(&self) -> Option<&'a Side> {
        self.held.or(self.wanted)
    }

    /// The service port.
    pub fn port(&self) -> Option<&'a PortId> {
        // A long comment is cut off in the kernel.
        self.wanted.or(self.held).map(|side| &side.port)
    }
}

impl<'a> View<'a> {
    /// Puts them together. No kernel: nothing is held.
    pub fn new(kernel: Option<&'a KernelSight>, objects: Option<&'a Objects>) -> Self {
        let held = || kernel.into_iter().flat_map(|kernel| &kernel.frontends);
        let wanted = || objects.into_iter().flat_map(|objects| &objects.frontends);
        let mut frontends: BTreeMap<Frontend, Seen<'a>> = BTreeMap::new();
        let seen =
            |frontend: &Frontend| Seen { frontend: *frontend, held: None, wanted: None, kind: None, counts: None };
        for (frontend, side) in held() {
            frontends.entry(*frontend).or_insert_with(|| seen(frontend)).held = Some(side);
        }
        for (frontend, side) in wanted() {
            frontends.entry(*frontend).or_insert_with(|| seen(frontend)).wanted = Some(side);
        }
        for seen in frontends.values_mut() {
            let kind = objects.and_then(|objects| objects.kinds.get(&seen.frontend).copied());
            seen.kind =
                kind.or_else(|| seen.held.zip(kernel).and_then(|(side, kernel)| kind_of(&seen.frontend, side, kernel)));
            seen.counts = seen.held.zip(kernel).map(|(side, kernel)| counts(&seen.frontend, side, kernel));
        }
        Self { frontends, objects, kernel }
    }

    /// The kernel was read.
    pub fn looked(&self) -> bool {
        self.kernel.is_some()
    }

    /// The kernel was read and has our tables.
    pub fn programmed(&self) -> bool {
        self.kernel.is_some_and(|kernel| kernel.exist)
    }

    /// The frontends of each Service, Services without any left out.
    pub fn by_service(&self) -> BTreeMap<&'a ServiceId, Vec<&Seen<'a>>> {
        let mut services: BTreeMap<&'a ServiceId, Vec<&Seen<'a>>> = BTreeMap::new();
        for seen in self.frontends.values() {
            if let Some(port) = seen.port() {
                services.entry(&port.service).or_default().push(seen);
            }
        }
        services
    }

    /// Connection tracking; `None` if it could not be read or was not asked for.
    pub fn connections(&self) -> Option<&'a Connections> {
        self.kernel?.connections.as_ref()?.as_ref().ok()
    }

    /// Why connection tracking could not be read, if that was asked for.
    pub fn untracked(&self) -> Option<&'a str> {
        self.kernel?.connections.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// The clients that session affinity remembers.
    pub fn remembered(&self) -> impl Iterator<Item = &'a (PortId, RememberedClient)> + use<'a> {
        self.kernel.into_iter().flat_map(|kernel| &kernel.remembered)
    }

    /// Packets that source ranges turned away, all frontends of a family and policy together.
    pub fn turned_away(&self) -> impl Iterator<Item = ((Family, Policy), u64)> + use<'a> {
        self.kernel.into_iter().flat_map(|kernel| &kernel.turned_away).map(|(what, packets)| (*what, *packets))
    }

    /// Why a connection's endpoint gets no new ones by this frontend; `None` if it does.
    pub fn leaving(&self, connection: &Connection) -> Option<&'static str> {
        let Connection { frontend, endpoint, .. } = connection;
        let seen = self.frontends.get(frontend)?;
        if seen.side().is_some_and(|side| side.uses(endpoint)) {
            return None;
        }
        if *endpoint == (Target { address: frontend.address, port: frontend.port }) {
            return Some("not translated");
        }
        let Some(objects) = self.objects else { return Some("endpoint no longer used") };
        let known = seen.port().and_then(|port| objects.endpoints.get(&(port.clone(), *endpoint)));
        Some(match known {
            None => "endpoint gone",
            Some(endpoint) if endpoint.terminating => "endpoint terminating",
            Some(endpoint) if endpoint.state == "not ready" => "endpoint not ready",
            Some(_) => "endpoint no longer used",
        })
    }

    /// The addresses of the endpoints that a Service's frontends use.
    pub fn used(frontends: &[&Seen<'a>]) -> BTreeSet<IpAddr> {
        let targets = frontends.iter().filter_map(|seen| seen.side()).flat_map(Side::targets);
        targets.map(|target| target.address).collect()
    }
}

/// What can be told of a frontend's kind from the tables alone.
fn kind_of(frontend: &Frontend, side: &Side, kernel: &KernelSight) -> Option<FrontendKind> {
    match (side.policy, side.guarded) {
        (Some(Policy::Internal | Policy::InternalLocal), _) => Some(FrontendKind::ClusterIp),
        (Some(Policy::External | Policy::ExternalLocal), true) => Some(FrontendKind::LoadBalancer),
        (Some(Policy::External | Policy::ExternalLocal), false) => None,
        (None, _) => kernel.cluster_ips.contains(&frontend.address).then_some(FrontendKind::ClusterIp),
    }
}

/// A frontend with a policy chain and a dead end is counted in both maps: first in the one, then, if no endpoint was found
/// there, in the other.
fn counts(frontend: &Frontend, side: &Side, kernel: &KernelSight) -> Counts {
    let counted = kernel.counters.get(frontend).copied().unwrap_or_default();
    let (refused, dropped) = match side.dead_end {
        Some(DeadEnd::Refuse) => (counted.dead_end, 0),
        Some(DeadEnd::Drop) => (0, counted.dead_end),
        None => (0, 0),
    };
    let rest = counted.served.saturating_sub(refused + dropped);
    let has_endpoints = !(side.all.is_empty() && side.local.is_empty());
    let (new, not_allowed) = if has_endpoints { (rest, 0) } else { (0, rest) };
    Counts { new, refused, dropped, not_allowed }
}
