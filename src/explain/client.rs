//! Who asks.

use std::net::IpAddr;

use super::{
    Source,
    scene::{self, Backend},
};
use crate::{
    compile::Sender,
    controlplane::has_ended,
    explain::Scene,
    model::{Family, PodDetector, nearest},
};

/// A client, as the node that decides sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// In words
    pub label: String,
    /// Its namespace; that of its resolver's search list
    pub namespace: Option<String>,
    pub addresses: Vec<IpAddr>,
    pub role: Role,
    /// Nobody said who asks
    pub assumed: bool,
    /// Why it can hardly ask
    pub doubt: Option<String>,
}

/// What a client is to the node that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A pod of this node
    Pod,
    /// A pod of another node, whose packets arrive from there
    FarPod,
    /// A process of this node
    Host,
    /// Anybody else
    Outside,
}

impl Role {
    /// That of a pod, by whether it has its node's network, and whether that node is this one.
    fn of_pod(of_host: bool, here: bool) -> Self {
        match (of_host, here) {
            (true, true) => Role::Host,
            (true, false) => Role::Outside,
            (false, true) => Role::Pod,
            (false, false) => Role::FarPod,
        }
    }
}

impl Client {
    /// Finds out who asks.
    ///
    /// # Errors
    /// There is no such Pod.
    pub fn new(source: &Source, scene: &Scene) -> Result<Self, String> {
        match source {
            Source::Host => Ok(Self::host(scene)),
            Source::Pod { namespace, name } => match scene.pod(namespace, name) {
                Some(pod) => Ok(Self::pod(pod, scene)),
                None => match (scene.backend_named(namespace, name), scene.pods_unlisted()) {
                    (Some(backend), _) => Ok(Self::backend(backend, scene)),
                    (None, Some(unlisted)) => Ok(Self::unlisted(namespace, name, unlisted, scene)),
                    (None, None) => Err(no_pod(namespace, name, scene)),
                },
            },
            Source::Address(address) if scene.is_here(*address) => {
                Ok(Self { addresses: vec![*address], ..Self::host(scene) })
            }
            Source::Address(address) => match (scene.pod_at(*address), scene.backend_at(*address)) {
                (Some(pod), _) => Ok(Self::pod(pod, scene)),
                (None, Some(backend)) => Ok(Self::backend(backend, scene)),
                (None, None) if scene.node_at(*address).is_none() && is_unlisted_pod(*address, scene) => {
                    let label = format!("a pod of this node ({address}; which one is unknown)");
                    Ok(Self { label, addresses: vec![*address], assumed: false, ..Self::some_pod(scene) })
                }
                (None, None) => {
                    let (whose, role) = match (scene.node_at(*address), scene.whose_pod(*address)) {
                        (Some(node), _) => (format!("a process of node {node}"), Role::Outside),
                        (None, Some(node)) => {
                            let here = node.as_deref().is_none_or(|node| *node == *scene.world.node.name);
                            ("a pod, of which there is no object".to_owned(), Role::of_pod(false, here))
                        }
                        (None, None) => ("a client outside the cluster".to_owned(), Role::Outside),
                    };
                    let label = format!("{whose} ({address})");
                    let (namespace, addresses) = (None, vec![*address]);
                    Ok(Self { label, namespace, addresses, role, assumed: false, doubt: None })
                }
            },
        }
    }

    /// Some pod of this node.
    pub fn some_pod(scene: &Scene) -> Self {
        let label = format!("some pod of this node, {} (--from says another client)", scene.world.node.name);
        Self {
            label,
            namespace: Some("default".to_owned()),
            addresses: Vec::new(),
            role: Role::Pod,
            assumed: true,
            doubt: None,
        }
    }

    /// Some client outside the cluster.
    pub fn outsider() -> Self {
        let label = "some client outside the cluster (--from says another)".to_owned();
        Self { label, namespace: None, addresses: Vec::new(), role: Role::Outside, assumed: true, doubt: None }
    }

    fn host(scene: &Scene) -> Self {
        let node = &scene.world.node;
        let own = if node.addresses.is_empty() { &node.interface_addresses } else { &node.addresses };
        let label = format!("a process of this node, {}", node.name);
        Self { label, namespace: None, addresses: own.clone(), role: Role::Host, assumed: false, doubt: None }
    }

    fn pod(pod: &crate::objects::Pod, scene: &Scene) -> Self {
        let addresses: Vec<IpAddr> = scene::addresses(pod).collect();
        let node = pod.spec.node_name.as_deref().filter(|name| !name.is_empty());
        let here = node.is_none_or(|node| *node == *scene.world.node.name);
        let of_host = pod.spec.host_network == Some(true);
        let role = Role::of_pod(of_host, here);
        let mut words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        words.extend(node.map(|node| format!("on {node}")));
        words.extend(of_host.then(|| "with the node's network".to_owned()));
        let namespace = pod.metadata.namespace();
        let words = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
        let label = format!("Pod {namespace}/{}{words}", pod.metadata.name);
        let doubt = doubt(pod, &addresses);
        Self { label, namespace: Some(namespace.to_owned()), addresses, role, assumed: false, doubt }
    }

    /// A Pod that the endpoints tell of.
    fn backend(backend: Backend, scene: &Scene) -> Self {
        let Backend { namespace, name, addresses, node } = backend;
        let here = node.as_deref().is_none_or(|node| *node == *scene.world.node.name);
        // Its address is the node's if it has the node's network.
        let of_host = addresses.iter().any(|own| scene.is_here(*own) || scene.node_at(*own).is_some());
        let mut words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        words.extend(node.map(|node| format!("on {node}")));
        let label = format!("Pod {namespace}/{name} ({})", words.join(", "));
        Self {
            label,
            namespace: Some(namespace),
            addresses,
            role: Role::of_pod(of_host, here),
            assumed: false,
            doubt: None,
        }
    }

    /// A Pod of which nothing is known.
    fn unlisted(namespace: &str, name: &str, unlisted: &str, scene: &Scene) -> Self {
        let label = format!(
            "Pod {namespace}/{name}: {unlisted}, and it is no endpoint, so it is taken for a pod of this node, {}, with \
             an address of its own",
            scene.world.node.name
        );
        Self { label, namespace: Some(namespace.to_owned()), ..Self::some_pod(scene) }
    }

    /// Its address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().find(|address| Family::of(**address) == family).copied()
    }

    /// Whether it can speak a family; who has no known address can.
    pub fn speaks(&self, family: Family) -> bool {
        self.addresses.is_empty() || self.address(family).is_some()
    }

    /// The client as the node's rules see it.
    pub fn sender(&self, family: Family, scene: &Scene) -> Sender {
        let address = self.address(family);
        let pod = match &scene.settings.detector {
            PodDetector::SourceRanges(_) => {
                let range = scene.settings.detector.range_of(family);
                range.is_some_and(|range| match address {
                    Some(address) => range.contains(&address),
                    None => self.role == Role::Pod,
                })
            }
            PodDetector::BridgeInterface(_) | PodDetector::InterfaceNamePrefix(_) => self.role == Role::Pod,
        };
        Sender { address, pod, host: self.role == Role::Host }
    }

    /// Whether it is neither a pod nor a node of the cluster.
    pub fn is_stranger(&self, scene: &Scene) -> bool {
        let is_node = |address: &IpAddr| scene.node_at(*address).is_some() || scene.pod_name_at(*address).is_some();
        self.role == Role::Outside && self.namespace.is_none() && !self.addresses.iter().any(is_node)
    }

    pub fn is_pod(&self) -> bool {
        matches!(self.role, Role::Pod | Role::FarPod)
    }
}

/// Why a Pod can hardly ask. Of one without a phase nobody has said anything yet.
fn doubt(pod: &crate::objects::Pod, addresses: &[IpAddr]) -> Option<String> {
    let whole = format!("Pod {}/{}", pod.metadata.namespace(), pod.metadata.name);
    match pod.status.phase.as_deref() {
        Some(phase) if has_ended(pod) => {
            Some(format!("the client, {whole}, has ended ({phase}) and asks nothing any more"))
        }
        Some(phase) if addresses.is_empty() && pod.spec.host_network != Some(true) => {
            Some(format!("the client, {whole}, has no address yet ({phase}) and cannot ask"))
        }
        _ => None,
    }
}

/// Whether an address is inside of the pods' range, and which Pods there are is not known.
fn is_unlisted_pod(address: IpAddr, scene: &Scene) -> bool {
    let range = scene.settings.detector.range_of(Family::of(address));
    scene.pods_unlisted().is_some() && range.is_some_and(|range| range.contains(&address))
}

fn no_pod(namespace: &str, name: &str, scene: &Scene) -> String {
    let elsewhere = scene.pods().filter(|pod| pod.metadata.name == name);
    let elsewhere: Vec<String> = elsewhere.map(|pod| format!("{}/{name}", pod.metadata.namespace())).collect();
    let in_namespace = scene.pods().filter(|pod| pod.metadata.namespace() == namespace);
    let near = nearest(name, in_namespace.map(|pod| pod.metadata.name.clone()));
    let hint = match (elsewhere.as_slice(), near) {
        ([], None) => String::new(),
        ([], Some(near)) => format!("; is {namespace}/{near} meant?"),
        (elsewhere, _) => format!("; is {} meant?", elsewhere.join(" or ")),
    };
    format!("--from: there is no Pod {namespace}/{name}{hint}")
}
