//! Which endpoints an established UDP flow may belong to (section 5).

use std::collections::{BTreeMap, BTreeSet};

use super::{Claims, FrontendKind};
use crate::model::{Family, Frontend, Protocol, ServiceId, Target, World};

/// Where flows to a UDP frontend may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServingTargets {
    /// Endpoints that serve: ready or terminating, on any node, whatever the policies
    pub targets: BTreeSet<Target>,
    /// The frontend is a node port: its address belongs to the node, so that untranslated flows may be somebody else's
    pub node_port: bool,
}

impl ServingTargets {
    /// Whether untranslated packets of this frontend may belong to a process of the node.
    pub fn may_be_the_node(&self) -> bool {
        self.node_port && self.targets.is_empty()
    }
}

/// The UDP frontends of the given Services with the endpoints that serve them.
pub fn udp_frontends<'a>(
    services: impl Iterator<Item = &'a ServiceId>,
    world: &World,
    claims: &Claims,
) -> BTreeMap<Frontend, ServingTargets> {
    let mut serving = BTreeMap::new();
    for id in services {
        let Some(service) = world.services.get(id) else { continue };
        for frontend in claims.of(id).iter().filter(|f| f.protocol == Protocol::Udp) {
            let kind = claims.kind(frontend).filter(|_| claims.owner(frontend) == Some(id));
            let Some(kind) = kind else { continue };
            let node_port = kind == FrontendKind::NodePort;
            let port = service.ports.iter().find(|p| {
                let number = if node_port { p.node_port } else { Some(p.port) };
                p.protocol == Protocol::Udp && number == Some(frontend.port)
            });
            let targets = port.map(|p| serving_targets(id, &p.name, frontend.family(), world)).unwrap_or_default();
            serving.insert(*frontend, ServingTargets { targets, node_port });
        }
    }
    serving
}

fn serving_targets(service: &ServiceId, port_name: &str, family: Family, world: &World) -> BTreeSet<Target> {
    let mut targets = BTreeSet::new();
    for slice in world.slices_of(service) {
        for port in slice.ports.iter().filter(|p| *p.name == *port_name && p.protocol == Protocol::Udp) {
            let serving = slice.endpoints.iter().filter(|e| e.serving && Family::of(e.address) == family);
            targets.extend(serving.map(|e| Target { address: e.address, port: port.port }));
        }
    }
    targets
}
