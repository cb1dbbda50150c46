//! What manifests say, if there are any.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::bail;

use crate::{
    cli::{InputArgs, NodeArgs, input, node_name},
    compile,
    model::{Frontend, ServiceId},
    objects::{Object, Pod},
};

/// Pods, and Services as this node would program them.
#[derive(Default)]
pub struct Known {
    loaded: Option<input::Loaded>,
    pods: BTreeMap<(String, String), Vec<IpAddr>>,
    node: String,
}

impl Known {
    /// Reads the manifests. None is no error.
    ///
    /// # Errors
    /// Those of [`input::load`].
    pub fn read(args: &InputArgs, node: &NodeArgs) -> anyhow::Result<Self> {
        let name = node_name(node);
        if args.manifests.is_empty() {
            return Ok(Self { node: name, ..Self::default() });
        }
        let loaded = input::load(args, node, input::Allocating::ReadOnly)?;
        input::print_notices(&loaded.notices);
        let pods = loaded.objects.iter().filter_map(|located| match &located.object {
            Object::Pod(pod) => {
                Some(((pod.metadata.namespace().to_owned(), pod.metadata.name.clone()), addresses(pod)))
            }
            _ => None,
        });
        Ok(Self { pods: pods.collect(), loaded: Some(loaded), node: name })
    }

    pub fn has_manifests(&self) -> bool {
        self.loaded.is_some()
    }

    /// The Service's frontends on this node, each with the name of its port.
    pub fn frontends(&self, id: &ServiceId) -> Vec<(Frontend, &str)> {
        let Some(loaded) = &self.loaded else { return Vec::new() };
        let Some(service) = loaded.world.services.get(id) else { return Vec::new() };
        let own = compile::frontends(service, &loaded.world.node, &loaded.settings);
        let named = |own: compile::OwnFrontend| Some((own.frontend, &*service.ports.get(own.port)?.name));
        own.into_iter().filter_map(named).collect()
    }

    /// This node's addresses.
    ///
    /// # Errors
    /// It is another node, or nothing says its addresses.
    pub fn node(&self, name: &str) -> anyhow::Result<Vec<IpAddr>> {
        let addresses = self.loaded.as_ref().filter(|_| name == self.node).map(|loaded| &loaded.world.node.addresses);
        match addresses {
            Some(addresses) if !addresses.is_empty() => Ok(addresses.clone()),
            _ if name != self.node => {
                bail!(
                    "{name} is no address and no Service (NAMESPACE/NAME), and this node's name is {} (--node)",
                    self.node
                )
            }
            _ => bail!("nothing says the addresses of node {name}: give its address, or its Node object with -f"),
        }
    }

    /// The Pod's addresses.
    ///
    /// # Errors
    /// There is no such Pod, or it has none.
    pub fn pod(&self, namespace: &str, name: &str) -> anyhow::Result<Vec<IpAddr>> {
        if !self.has_manifests() {
            bail!("the address of Pod {namespace}/{name}, only manifests can say (-f); or give the address");
        }
        match self.pods.get(&(namespace.to_owned(), name.to_owned())) {
            Some(addresses) if !addresses.is_empty() => Ok(addresses.clone()),
            Some(_) => bail!("Pod {namespace}/{name} has no address of its own in the manifests"),
            None => bail!("the manifests have no Pod {namespace}/{name}"),
        }
    }

    /// Pods by their addresses, as `namespace/name`.
    pub fn pod_names(&self) -> BTreeMap<IpAddr, String> {
        let of_pods = self.pods.iter().flat_map(|((namespace, name), addresses)| {
            addresses.iter().map(move |address| (*address, format!("{namespace}/{name}")))
        });
        let slices = self
            .loaded
            .iter()
            .flat_map(|loaded| loaded.world.services.keys().flat_map(|id| loaded.world.slices_of(id)));
        let of_slices = slices.flat_map(|slice| {
            let named = slice.endpoints.iter().filter_map(|endpoint| Some((endpoint.address, endpoint.pod.as_ref()?)));
            named.map(|(address, pod)| (address, format!("{}/{pod}", slice.id.namespace)))
        });
        of_slices.chain(of_pods).collect()
    }
}

/// None for a Pod with the node's network: the node's address is that of many.
fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let status = &pod.status;
    let own =
        status.pod_ips.iter().map(|ip| &ip.ip).chain(&status.pod_ip).filter(|_| pod.spec.host_network != Some(true));
    let mut addresses: Vec<IpAddr> = own.filter_map(|ip| ip.parse().ok()).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}
