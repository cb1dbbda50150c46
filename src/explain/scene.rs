//! What a question is answered from.

use std::net::IpAddr;

use super::Source;
use crate::{
    compile::{self, Claims, LostFrontend, ServicePlan, frontends},
    controlplane::Options,
    model::{Located, Notice, ServiceId, Settings, Severity, World, parse_address},
    objects::{Node, Object, Pod, Service},
};

/// A cluster as one node has it, with the objects that it was made of.
#[derive(Debug)]
pub struct Scene {
    /// Inputs of the data plane
    pub world: World,
    /// Settings of this node
    pub settings: Settings,
    /// The objects, as the control plane completed them
    pub objects: Vec<Located>,
    /// What was wrong with them
    pub notices: Vec<Notice>,
    /// What the control plane worked with
    pub options: Options,
    claims: Claims,
}

impl Scene {
    /// Settles who owns which frontend.
    pub fn new(
        world: World,
        settings: Settings,
        objects: Vec<Located>,
        notices: Vec<Notice>,
        options: Options,
    ) -> Self {
        let mut claims = Claims::default();
        for service in world.services.values() {
            claims.set(service, &frontends(service, &world.node, &settings));
        }
        Self { world, settings, objects, notices, options, claims }
    }

    /// The addresses that a client may come from, in as far as they are known.
    pub fn addresses_of(&self, source: &Source) -> Vec<IpAddr> {
        match source {
            Source::Host => Vec::new(),
            Source::Address(address) => vec![*address],
            Source::Pod { namespace, name } => {
                self.pod(namespace, name).map(|pod| addresses(pod).collect()).unwrap_or_default()
            }
        }
    }

    /// Who owns which frontend.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The decisions for a Service.
    pub fn plan(&self, id: &ServiceId) -> Option<ServicePlan<'_>> {
        let service = self.world.services.get(id)?;
        Some(compile::plan(service, &self.world, &self.settings, &self.claims))
    }

    /// The frontends that others asked for in vain because this Service has them, with those others.
    pub(super) fn lost_to(&self, id: &ServiceId) -> Vec<(ServiceId, LostFrontend)> {
        let others = self.world.services.keys().filter(|other| *other != id);
        let contested =
            |other: &&ServiceId| self.claims.of(other).iter().any(|frontend| self.claims.owner(frontend) == Some(id));
        let plans = others.filter(contested).filter_map(|other| Some((other, self.plan(other)?)));
        plans
            .flat_map(|(other, plan)| plan.lost.into_iter().map(move |lost| (other.clone(), lost)))
            .filter(|(_, lost)| lost.owner == *id)
            .collect()
    }

    /// A Service as its object has it.
    pub(super) fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.services().find(|service| is(&service.metadata, &id.namespace, &id.name))
    }

    /// All Services as their objects have them.
    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.objects.iter().filter_map(|located| match &located.object {
            Object::Service(service) => Some(service),
            _ => None,
        })
    }

    /// All Pods.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.objects.iter().filter_map(|located| match &located.object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        })
    }

    /// A Pod.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods().find(|pod| is(&pod.metadata, namespace, name))
    }

    /// The Pod with an address of its own, which is not its node's.
    pub(super) fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        let own = |pod: &&Pod| pod.spec.host_network != Some(true) && addresses(pod).any(|own| own == address);
        self.pods().find(own)
    }

    /// All Nodes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.objects.iter().filter_map(|located| match &located.object {
            Object::Node(node) => Some(node),
            _ => None,
        })
    }

    /// The Node that an address belongs to.
    pub(super) fn node_at(&self, address: IpAddr) -> Option<&str> {
        let node = self.nodes().find(|node| node_addresses(node).any(|own| own == address));
        node.map(|node| node.metadata.name.as_str())
    }

    /// Whether an address belongs to this node.
    pub(super) fn is_here(&self, address: IpAddr) -> bool {
        let node = &self.world.node;
        node.addresses.contains(&address) || node.interface_addresses.contains(&address)
    }

    /// What is said of an object.
    pub(super) fn said_of(&self, kind: &str, id: &ServiceId, severity: Severity) -> impl Iterator<Item = &Notice> {
        self.notices.iter().filter(move |notice| {
            notice.severity == severity
                && notice
                    .object
                    .as_ref()
                    .is_some_and(|o| *o.kind == *kind && o.namespace == id.namespace && o.name == id.name)
        })
    }
}

fn is(metadata: &crate::objects::Metadata, namespace: &str, name: &str) -> bool {
    metadata.name == name && metadata.namespace() == namespace
}

/// The addresses of a Pod.
pub(super) fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = &pod.status;
    let single = status.pod_ip.iter().filter(|_| status.pod_ips.is_empty());
    status.pod_ips.iter().map(|ip| &ip.ip).chain(single).filter_map(|text| parse_address(text))
}

/// The addresses of a Node.
pub(super) fn node_addresses(node: &Node) -> impl Iterator<Item = IpAddr> {
    node.status.addresses.iter().filter_map(|address| parse_address(&address.address))
}
