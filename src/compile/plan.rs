//! What this node does for one Service: the truth table of section 12, frontend by frontend.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Claims, FrontendKind, OwnFrontend, Selection, Wanted, frontends, select};
use crate::{
    model::{
        Family, Frontend, IpRange, PortId, Service, ServiceId, ServicePort, ServiceType, Settings, Target,
        TrafficPolicy, World, merge_ranges,
    },
    tables::{DeadEnd, Policy},
};

/// The decisions for one Service on this node.
#[derive(Clone, Debug)]
pub struct ServicePlan<'a> {
    /// The Service
    pub service: &'a Service,
    /// Its cluster IPs, in use or not
    pub cluster_ips: &'a [IpAddr],
    /// One for each port and family
    pub ports: Vec<PortPlan<'a>>,
    /// Frontends that it asked for and another Service has
    pub lost: Vec<LostFrontend>,
}

/// A frontend that went to another Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFrontend {
    /// The frontend
    pub frontend: Frontend,
    /// What it would have been
    pub kind: FrontendKind,
    /// Who has it
    pub owner: ServiceId,
}

/// The decisions for one service port in one family.
#[derive(Clone, Debug)]
pub struct PortPlan<'a> {
    /// Identity
    pub id: PortId,
    /// Family
    pub family: Family,
    /// Its endpoints and why each is used or not
    pub selection: Selection<'a>,
    /// Its frontends
    pub frontends: Vec<FrontendPlan>,
    /// Seconds a client is remembered, with session affinity
    pub affinity_seconds: Option<u32>,
    /// Used endpoints that may run on this node
    pub hairpins: BTreeSet<Target>,
}

/// The decisions for one frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendPlan {
    /// What a client dials
    pub frontend: Frontend,
    /// What it is to the Service
    pub kind: FrontendKind,
    /// The policy chain
    pub policy: Policy,
    /// Uses the cluster list, which is not empty
    pub all: bool,
    /// Uses the local list, which is not empty
    pub local: bool,
    /// What happens to those for whom there is no endpoint
    pub dead_end: Option<DeadEnd>,
    /// Who may come, if not everybody: merged ranges
    pub allowed: Option<Vec<IpRange>>,
}

/// Decides for one Service. `claims` says which of its frontends it owns.
pub fn plan<'a>(service: &'a Service, world: &'a World, settings: &Settings, claims: &Claims) -> ServicePlan<'a> {
    let (own, lost) = owned(service, frontends(service, &world.node, settings), claims);
    let mut ports = Vec::new();
    for family in Family::ALL {
        for (index, port) in service.ports.iter().enumerate() {
            let of_port = own.iter().filter(|f| f.port == index && f.frontend.family() == family);
            let of_port: Vec<&OwnFrontend> = of_port.collect();
            if !of_port.is_empty() {
                ports.push(port_plan(service, port, family, &of_port, world));
            }
        }
    }
    let cluster_ips = if own.is_empty() && lost.is_empty() { &[] } else { service.cluster_ips.as_slice() };
    ServicePlan { service, cluster_ips, ports, lost }
}

/// Splits what the Service asks for into what it has, once each, and what another Service has.
fn owned(service: &Service, asked: Vec<OwnFrontend>, claims: &Claims) -> (Vec<OwnFrontend>, Vec<LostFrontend>) {
    let mut seen = BTreeSet::new();
    let (mut own, mut lost) = (Vec::new(), Vec::new());
    for frontend in asked {
        match claims.owner(&frontend.frontend) {
            Some(owner) if *owner != service.id => {
                lost.push(LostFrontend { frontend: frontend.frontend, kind: frontend.kind, owner: owner.clone() });
            }
            _ if !seen.insert(frontend.frontend) => {}
            _ => own.push(frontend),
        }
    }
    (own, lost)
}

fn port_plan<'a>(
    service: &Service,
    port: &ServicePort,
    family: Family,
    own: &[&OwnFrontend],
    world: &'a World,
) -> PortPlan<'a> {
    let external = own.iter().any(|f| f.kind.is_external());
    let local_external = external && external_policy(service) == TrafficPolicy::Local;
    let wanted = Wanted {
        all: service.internal_policy == TrafficPolicy::Cluster || external,
        local: service.internal_policy == TrafficPolicy::Local || local_external,
    };
    let selection = select(port, family, world.slices_of(&service.id), &world.node, wanted);
    let allowed = allowed_sources(service, family, world);
    let frontends = own.iter().map(|f| frontend_plan(service, f, &selection, allowed.as_deref())).collect();
    let hairpins = selection.may_be_here(&world.node);
    let id = PortId { service: service.id.clone(), name: port.name.clone(), protocol: port.protocol };
    PortPlan { id, family, selection, frontends, affinity_seconds: service.affinity_seconds, hairpins }
}

/// The external policy counts for Services that are meant to be reached from outside, by type or by `externalIPs`;
/// an address that only status names does not make a Service one of them (section 2.3).
fn external_policy(service: &Service) -> TrafficPolicy {
    let inside = service.kind == ServiceType::ClusterIp && service.external_ips.is_empty();
    if inside { TrafficPolicy::Cluster } else { service.external_policy }
}

fn frontend_plan(
    service: &Service,
    own: &OwnFrontend,
    selection: &Selection,
    allowed: Option<&[IpRange]>,
) -> FrontendPlan {
    let policy = match (own.kind.is_external(), service.internal_policy, external_policy(service)) {
        (false, TrafficPolicy::Cluster, _) => Policy::Internal,
        (false, TrafficPolicy::Local, _) => Policy::InternalLocal,
        (true, _, TrafficPolicy::Cluster) => Policy::External,
        (true, _, TrafficPolicy::Local) => Policy::ExternalLocal,
    };
    let all = policy != Policy::InternalLocal && !selection.all.is_empty();
    let local = matches!(policy, Policy::InternalLocal | Policy::ExternalLocal) && !selection.local.is_empty();
    // With an external Local policy the cluster list is for pods and this host only; the rest needs the local one.
    let served = if policy == Policy::ExternalLocal { local } else { all || local };
    let dead_end = match (served, selection.has_any) {
        (true, _) => None,
        (false, true) => Some(DeadEnd::Drop),
        (false, false) => Some(DeadEnd::Refuse),
    };
    let allowed = allowed.filter(|_| own.kind == FrontendKind::LoadBalancer).map(<[IpRange]>::to_vec);
    FrontendPlan { frontend: own.frontend, kind: own.kind, policy, all, local, dead_end, allowed }
}

/// Who may use the load-balancer addresses of a family; `None` means everybody (section 2.8).
///
/// If a range holds one of the node's own addresses, the load-balancer addresses are allowed too: the kernel may pick
/// one of them as the source when the node itself connects.
pub(super) fn allowed_sources(service: &Service, family: Family, world: &World) -> Option<Vec<IpRange>> {
    let ranges = service.source_ranges.iter().filter(|r| Family::of(r.network()) == family);
    let mut ranges: Vec<_> = ranges.copied().collect();
    if ranges.is_empty() {
        return None;
    }
    let node = &world.node;
    let node_ips = if node.addresses.is_empty() { &node.interface_addresses } else { &node.addresses };
    if node_ips.iter().any(|ip| ranges.iter().any(|r| r.contains(ip))) {
        let vips = service.load_balancer_ips.iter().filter(|ip| Family::of(**ip) == family);
        ranges.extend(vips.map(|ip| ipnet::IpNet::from(*ip)));
    }
    Some(merge_ranges(ranges))
}
