//! What others than the tables are told of a Service: health checks and metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Claims, FrontendKind, PortPlan, ServicePlan, frontends::node_port_addresses};
use crate::{
    model::{Family, Frontend, Node, NodePortAddresses, PortId, Service, ServiceType, Settings, TrafficPolicy, World},
    tables::Policy,
};

/// What is told of one Service. Most Services have nothing to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceReport {
    /// The health check that its load balancer asks for
    pub health_check: Option<HealthCheck>,
    /// Service ports with a Local policy that have endpoints, but none here
    pub without_local: WithoutLocal,
}

/// How many service ports have usable endpoints somewhere and none on this node, although the policy is Local; by
/// family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithoutLocal {
    /// By the internal traffic policy
    pub internal: BTreeMap<Family, usize>,
    /// By the external traffic policy
    pub external: BTreeMap<Family, usize>,
}

/// A healthCheckNodePort (section 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The port to listen on
    pub port: u16,
    /// Distinct addresses of ready endpoints on this node, for each family that the Service has. Terminating ones do not
    /// count, so that the load balancer turns away while they still serve.
    pub ready_local: BTreeMap<Family, usize>,
}

impl ServiceReport {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is to be told of a Service with this plan, on this node.
pub fn report(plan: &ServicePlan, node: &Node) -> ServiceReport {
    let lacks = |policy: Policy| {
        let lacking = plan.ports.iter().filter(move |port| lacks_local(port, policy));
        lacking.fold(BTreeMap::new(), |mut counts, port| {
            *counts.entry(port.family).or_default() += 1;
            counts
        })
    };
    let without_local = WithoutLocal { internal: lacks(Policy::InternalLocal), external: lacks(Policy::ExternalLocal) };
    ServiceReport { health_check: health_check(plan, node), without_local }
}

fn lacks_local(port: &PortPlan, policy: Policy) -> bool {
    let selection = &port.selection;
    selection.has_any && selection.local.is_empty() && port.frontends.iter().any(|f| f.policy == policy)
}

fn health_check(plan: &ServicePlan, node: &Node) -> Option<HealthCheck> {
    let Service { kind, proxied, external_policy, health_check_node_port, cluster_ips, .. } = plan.service;
    let port = (*health_check_node_port)?;
    if *kind != ServiceType::LoadBalancer || *external_policy != TrafficPolicy::Local || !proxied {
        return None;
    }
    let count = |family: Family| {
        let judged = plan.ports.iter().filter(|port| port.family == family).flat_map(|port| &port.selection.judged);
        let ready = judged.filter(|j| j.facts.ready && j.facts.node.as_ref() == Some(&node.name));
        ready.map(|j| j.target.address).collect::<BTreeSet<_>>().len()
    };
    let families = cluster_ips.iter().map(|ip| Family::of(*ip));
    Some(HealthCheck { port, ready_local: families.map(|family| (family, count(family))).collect() })
}

/// Where health check node ports listen: the addresses that answer on node ports, or the wildcard address of a family if
/// all of them do (section 6.2).
pub fn health_check_addresses(node: &Node, settings: &Settings) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    for (family, any) in [(Family::V4, Ipv4Addr::UNSPECIFIED.into()), (Family::V6, Ipv6Addr::UNSPECIFIED.into())] {
        let everywhere = match &settings.node_port_addresses {
            NodePortAddresses::Primary => node.addresses.is_empty(),
            NodePortAddresses::Ranges(ranges) => {
                let mut ranges = ranges.iter().filter(|range| Family::of(range.network()) == family).peekable();
                ranges.peek().is_none() || ranges.any(|range| range.prefix_len() == 0)
            }
        };
        if everywhere {
            addresses.insert(any);
        } else {
            addresses.extend(node_port_addresses(family, node, &settings.node_port_addresses));
        }
    }
    addresses
}

/// The service port that a frontend leads to; `None` if no Service has the frontend.
pub fn port_of(frontend: &Frontend, world: &World, claims: &Claims) -> Option<PortId> {
    let owner = claims.owner(frontend)?;
    let node_port = claims.kind(frontend) == Some(FrontendKind::NodePort);
    let port = world.services.get(owner)?.ports.iter().find(|port| {
        let number = if node_port { port.node_port } else { Some(port.port) };
        port.protocol == frontend.protocol && number == Some(frontend.port)
    })?;
    Some(PortId { service: owner.clone(), name: port.name.clone(), protocol: port.protocol })
}
