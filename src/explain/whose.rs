//! Whose an address is, where no Pod and no Service that is served says it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Host, Question, Scene, Source, scene};
use crate::{
    compile::{FrontendKind, Path, Sender, path},
    controlplane::has_ended,
    model::{Family, Frontend, ServiceId, ServicePort, parse_address},
    objects::{Node, Object, Pod, Service},
};

impl Question {
    /// The question as another node gets it: a process of this node is there somebody with this node's address.
    pub fn from_afar(self, scene: &Scene) -> Self {
        if self.source != Some(Source::Host) {
            return self;
        }
        let dialled = match &self.dialled.host {
            Host::Address(address) => Some(*address),
            Host::Name(name) => {
                let node = scene.nodes().find(|node| node.metadata.name == *name);
                node.and_then(|node| scene::node_addresses(node).next())
            }
            Host::Service(_) => None,
        };
        let node = &scene.world.node;
        let fits = |own: &&IpAddr| dialled.is_none_or(|dialled| Family::of(dialled) == Family::of(**own));
        let own = node.addresses.iter().chain(&node.interface_addresses).find(fits);
        Self { source: own.copied().map(Source::Address), ..self }
    }
}

impl Scene {
    /// Whether a client is of the cluster: a Pod, a node, or an address of one.
    pub(super) fn is_inside(&self, source: &Source) -> bool {
        match source {
            Source::Host | Source::Pod { .. } => true,
            Source::Address(address) => {
                let address = *address;
                self.is_here(address) || self.node_at(address).is_some() || self.whose_pod(address).is_some()
            }
        }
    }

    /// For an address of the pods': which node it is on, if that is known. None for all other addresses.
    pub(super) fn whose_pod(&self, address: IpAddr) -> Option<Option<String>> {
        if let Some(pod) = self.pod_at(address) {
            return Some(pod.spec.node_name.clone());
        }
        if let Some(node) = self.nodes().find(|node| pod_ranges(node).any(|range| range.contains(&address))) {
            return Some(Some(node.metadata.name.clone()));
        }
        let slices = self.world.services.keys().flat_map(|id| self.world.slices_of(id));
        let of_endpoint = slices.flat_map(|slice| &slice.endpoints).find(|facts| facts.address == address);
        let node = of_endpoint.and_then(|facts| facts.node.as_ref()).map(ToString::to_string);
        let range = self.settings.detector.range_of(Family::of(address));
        // An endpoint that is on no node is a machine outside the cluster.
        (node.is_some() || range.is_some_and(|range| range.contains(&address))).then_some(node)
    }

    /// A Pod that had an address, and has ended. The address may be another's meanwhile.
    pub(super) fn ended_at(&self, address: IpAddr) -> Option<&Pod> {
        let mut ended = self.pods().filter(|pod| has_ended(pod) && pod.spec.host_network != Some(true));
        ended.find(|pod| scene::addresses(pod).any(|own| own == address))
    }

    /// A Service that was refused, and whose object has this address or node port.
    pub(super) fn refused_at(&self, frontend: &Frontend) -> Option<ServiceId> {
        let left_out = self.left_out.iter().filter_map(|located| match &located.object {
            Object::Service(service) => Some(service),
            _ => None,
        });
        let id = |service: &Service| ServiceId::new(service.metadata.namespace(), &service.metadata.name);
        let unused = self.services().filter(|service| !self.world.services.contains_key(&id(service)));
        let at_node = self.is_here(frontend.address) || self.node_at(frontend.address).is_some();
        left_out.chain(unused).find(|service| names(service, frontend, at_node)).map(id)
    }

    /// A Service that is left to another proxy, and has this address or node port; and what it is to it.
    pub(super) fn other_proxy_at(&self, frontend: &Frontend) -> Option<(ServiceId, &'static str)> {
        let Frontend { address, port, .. } = frontend;
        let at_node = self.is_here(*address) || self.node_at(*address).is_some();
        let others = self.world.services.values().filter(|service| !service.proxied);
        let what = others.filter_map(|service| {
            let external = service.load_balancer_ips.contains(address) || service.external_ips.contains(address);
            let of_node = at_node && service.ports.iter().any(|own| own.node_port == Some(*port));
            let what = match (service.cluster_ips.contains(address), external, of_node) {
                (true, ..) => "the cluster IP",
                (_, true, _) => "an external address",
                (_, _, true) => "a node port",
                _ => return None,
            };
            Some((service.id.clone(), what))
        });
        what.min()
    }

    /// Why a frontend is its owner's, and not that of another Service to which it is `what`.
    pub(super) fn why_first(&self, at: &Frontend, what: FrontendKind, owner: &ServiceId, other: &ServiceId) -> String {
        let created = |id: &ServiceId| self.world.services.get(id).and_then(|service| service.created);
        match self.claims().kind(at) {
            Some(own) if own != what => format!("whose {} it is, which counts first", own.name()),
            _ if created(owner) != created(other) => "which is older".to_owned(),
            _ => "whose name comes first".to_owned(),
        }
    }

    /// The node port of a service port that leads clients outside the cluster to an endpoint, if there is one.
    pub(super) fn node_port(&self, id: &ServiceId, port: &ServicePort) -> Option<Frontend> {
        let plan = self.plan(id)?;
        let mut own = plan.ports.iter().filter(|own| own.id.name == port.name && own.id.protocol == port.protocol);
        own.find_map(|own| {
            let leads = |frontend: &&crate::compile::FrontendPlan| {
                let path = path(frontend, own, &Sender::default(), &self.settings);
                frontend.kind == FrontendKind::NodePort && matches!(path, Path::Served { .. })
            };
            own.frontends.iter().find(leads).map(|frontend| frontend.frontend)
        })
    }
}

/// The ranges of a node's pods.
fn pod_ranges(node: &Node) -> impl Iterator<Item = IpNet> {
    let all = node.spec.pod_cidrs.iter().chain(&node.spec.pod_cidr);
    all.filter_map(|range| range.parse().ok())
}

/// Whether the object of a Service has a frontend's address or, at a node, its port.
fn names(service: &Service, frontend: &Frontend, at_node: bool) -> bool {
    let spec = &service.spec;
    let ingress = service.status.load_balancer.ingress.iter().filter_map(|ingress| ingress.ip.as_ref());
    let texts = spec.cluster_ips.iter().chain(&spec.cluster_ip).chain(&spec.external_ips).chain(&spec.load_balancer_ip);
    let has = texts.chain(ingress).any(|text| parse_address(text) == Some(frontend.address));
    has || (at_node && spec.ports.iter().any(|port| port.node_port == Some(i32::from(frontend.port))))
}
