//! What a question is answered from.

use std::{collections::BTreeMap, net::IpAddr};

use super::Source;
use crate::{
    compile::{self, Claims, LostFrontend, ServicePlan, frontends},
    controlplane::{Options, has_ended, pending_reason},
    model::{EndpointFacts, Located, Notice, ServiceId, Settings, Severity, World, parse_address},
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
    /// The objects came from an API server, whose control plane did the work
    pub api: Option<ApiLists>,
    /// Objects that the control plane refused
    pub left_out: Vec<Located>,
    claims: Claims,
}

/// What an API server did not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiLists {
    /// Kinds that could not be listed, as manifests spell them, and that in words: `Pods may not be listed (forbidden)`
    pub unlisted: BTreeMap<String, String>,
}

/// A Pod as the endpoints have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub namespace: String,
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub node: Option<String>,
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
        Self { world, settings, objects, notices, options, api: None, left_out: Vec::new(), claims }
    }

    /// The same, of objects that an API server told.
    pub fn of_api(self, lists: ApiLists) -> Self {
        Self { api: Some(lists), ..self }
    }

    /// The same, where these objects were refused.
    pub fn leaving_out(self, left_out: Vec<Located>) -> Self {
        Self { left_out, ..self }
    }

    /// That Pods could not be listed, in words, if they could not.
    pub(super) fn pods_unlisted(&self) -> Option<&str> {
        self.api.as_ref()?.unlisted.get("Pod").map(String::as_str)
    }

    /// A Pod that could not be listed, as the endpoints have it: that of which this is true, by namespace and endpoint.
    fn backend(&self, is_it: impl Fn(&str, &EndpointFacts) -> bool) -> Option<Backend> {
        self.pods_unlisted()?;
        let services = self.world.services.keys();
        let slices = services.flat_map(|id| self.world.slices_of(id).map(move |slice| (&*id.namespace, slice)));
        let all = slices.flat_map(|(namespace, slice)| slice.endpoints.iter().map(move |facts| (namespace, facts)));
        let mut found: Option<Backend> = None;
        for (namespace, facts) in all.filter(|(namespace, facts)| is_it(namespace, facts)) {
            let Some(name) = &facts.pod else { continue };
            let backend = found.get_or_insert_with(|| Backend {
                namespace: namespace.to_owned(),
                name: name.to_string(),
                addresses: Vec::new(),
                node: facts.node.as_ref().map(ToString::to_string),
            });
            if !backend.addresses.contains(&facts.address) {
                backend.addresses.push(facts.address);
            }
        }
        found
    }

    /// A Pod that could not be listed, by its name.
    pub(super) fn backend_named(&self, namespace: &str, name: &str) -> Option<Backend> {
        self.backend(|own, facts| own == namespace && facts.pod.as_deref() == Some(name))
    }

    /// A Pod that could not be listed, by an address that is not a node's.
    pub(super) fn backend_at(&self, address: IpAddr) -> Option<Backend> {
        if self.is_here(address) || self.node_at(address).is_some() {
            return None;
        }
        self.backend(|_, facts| facts.address == address)
    }

    /// The Pod with an address of its own, as `Pod namespace/name`.
    pub(super) fn pod_name_at(&self, address: IpAddr) -> Option<String> {
        let known = self.pod_at(address).map(|pod| (pod.metadata.namespace().to_owned(), pod.metadata.name.clone()));
        let known = known.or_else(|| self.backend_at(address).map(|backend| (backend.namespace, backend.name)));
        known.map(|(namespace, name)| format!("Pod {namespace}/{name}"))
    }

    /// The node that a client runs on, if that is known.
    pub(super) fn runs_on(&self, source: &Source) -> Option<String> {
        let (pod, backend) = match source {
            Source::Pod { namespace, name } => (self.pod(namespace, name), self.backend_named(namespace, name)),
            Source::Address(address) => (self.pod_at(*address), self.backend_at(*address)),
            Source::Host => (None, None),
        };
        let node = pod.and_then(|pod| pod.spec.node_name.clone()).or(backend.and_then(|backend| backend.node));
        let of_address = || match source {
            Source::Address(address) => {
                self.node_at(*address).map(str::to_owned).or_else(|| self.whose_pod(*address)?)
            }
            Source::Host | Source::Pod { .. } => None,
        };
        node.or_else(of_address).filter(|node| !node.is_empty())
    }

    /// Why the external address of a Service is pending, if it is, and what to do.
    pub(super) fn pending(&self, service: &Service) -> Option<(String, &'static str)> {
        let reason = pending_reason(service, &self.options)?;
        Some(match (&self.api, &service.spec.load_balancer_class) {
            (Some(_), None) => {
                let reason = "no load balancer provider has given it one".to_owned();
                (reason, "install a load balancer provider, or see its log")
            }
            (Some(_), Some(_)) => (reason, "see that this provider runs, and its log"),
            (None, Some(_)) => (reason, "see that this provider runs, and its log"),
            (None, None) if self.options.load_balancer_pool.is_empty() => {
                (reason, "install a load balancer provider, or give --load-balancer-pool")
            }
            (None, None) if service.spec.load_balancer_ip.is_some() => {
                (reason, "ask for another address with spec.loadBalancerIP, or widen --load-balancer-pool")
            }
            (None, None) => (reason, "widen --load-balancer-pool"),
        })
    }

    /// The addresses that a client may come from, in as far as they are known.
    pub fn addresses_of(&self, source: &Source) -> Vec<IpAddr> {
        match source {
            Source::Host => Vec::new(),
            Source::Address(address) => vec![*address],
            Source::Pod { namespace, name } => {
                let pod = self.pod(namespace, name).map(|pod| addresses(pod).collect());
                let unlisted = || self.backend_named(namespace, name).map(|backend| backend.addresses);
                pod.or_else(unlisted).unwrap_or_default()
            }
        }
    }

    /// The names of all Nodes.
    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.nodes().map(|node| node.metadata.name.as_str())
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

    /// The Pod with an address of its own, which is not its node's. One that has ended has none any more.
    pub(super) fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        let own = |pod: &&Pod| pod.spec.host_network != Some(true) && addresses(pod).any(|own| own == address);
        self.pods().filter(|pod| !has_ended(pod)).find(own)
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

    /// What could not be read at all.
    pub(super) fn unread(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().filter(|notice| notice.object.is_none() && notice.severity == Severity::Refused)
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
