//! Whose resolver looks the name up.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use anyhow::bail;

use crate::{
    cli::dns::files::Key,
    config::dns::{Name, corefile},
    objects::{Object, Pod},
};

/// Names with fewer dots are tried with the search list first, as the kubelet has it.
pub const NDOTS: usize = 5;

/// Who asks, as it was given.
#[derive(Clone, Debug)]
pub enum Who {
    /// Namespace and name of a pod
    Pod(String, String),
    /// A pod's address
    Address(IpAddr),
}

impl FromStr for Who {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text.parse(), text.split_once('/')) {
            (Ok(address), _) => Who::Address(address),
            (Err(_), Some((namespace, pod))) => Who::Pod(namespace.to_owned(), pod.to_owned()),
            (Err(_), None) => Who::Pod("default".to_owned(), text.to_owned()),
        })
    }
}

/// A client, and its resolv.conf as the kubelet writes it.
pub struct Asker {
    /// None if nobody was named
    pub pod: Option<String>,
    pub namespace: String,
    address: Option<IpAddr>,
    /// It has the node's network, and perhaps the node's resolv.conf
    pub host_network: bool,
    pub search: Vec<Name>,
}

impl Asker {
    /// Finds the pod. Without objects its namespace is taken on trust.
    ///
    /// # Errors
    /// There is no such pod.
    pub fn new(from: Option<&Who>, objects: Option<&BTreeMap<Key, Object>>, domain: Name) -> anyhow::Result<Self> {
        let (namespace, name, pod) = match from {
            None => ("default".to_owned(), None, None),
            Some(Who::Pod(namespace, name)) => {
                let pod = objects.map(|objects| by_name(objects, namespace, name)).transpose()?;
                (namespace.clone(), Some(name.clone()), pod)
            }
            Some(Who::Address(address)) => {
                let pod = by_address(objects, *address)?;
                (pod.metadata.namespace().to_owned(), Some(pod.metadata.name.clone()), Some(pod))
            }
        };
        let address = match from {
            Some(Who::Address(address)) => Some(*address),
            _ => pod.and_then(|pod| addresses(pod).next()),
        };
        let domain = domain.to_string();
        let suffixes = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain];
        let search = suffixes.iter().map(|suffix| corefile::name(suffix)).collect::<Result<_, _>>();
        let Ok(search) = search else { bail!("--from: {namespace:?} is no namespace") };
        let host_network = pod.is_some_and(|pod| pod.spec.host_network == Some(true));
        Ok(Self { pod: name.map(|name| format!("{namespace}/{name}")), namespace, address, host_network, search })
    }

    /// What `acl` sees; no host's address if nobody was named.
    pub fn address(&self) -> IpAddr {
        self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// The address, if it is known.
    pub fn known_address(&self) -> Option<IpAddr> {
        self.address
    }

    /// What a resolver tries for a name without a dot at its end (resolv.conf(5)). What becomes too long is left out.
    pub fn candidates(&self, text: &str, name: Name) -> Vec<Name> {
        let completed = self.search.iter().filter_map(|suffix| corefile::name(&format!("{text}.{suffix}")).ok());
        if text.matches('.').count() >= NDOTS {
            std::iter::once(name).chain(completed).collect()
        } else {
            completed.chain(std::iter::once(name.clone())).collect()
        }
    }
}

fn pods(objects: &BTreeMap<Key, Object>) -> impl Iterator<Item = &Pod> {
    objects.values().filter_map(|object| match object {
        Object::Pod(pod) => Some(pod),
        _ => None,
    })
}

fn by_name<'a>(objects: &'a BTreeMap<Key, Object>, namespace: &str, name: &str) -> anyhow::Result<&'a Pod> {
    if let Some(Object::Pod(pod)) = objects.get(&("Pod", namespace.to_owned(), name.to_owned())) {
        return Ok(pod);
    }
    let others: Vec<String> = pods(objects)
        .filter(|pod| pod.metadata.name == name)
        .map(|pod| format!("{}/{name}", pod.metadata.namespace()))
        .collect();
    match others.is_empty() {
        true => bail!("--from: the manifests have no Pod {namespace}/{name}"),
        false => bail!("--from: the manifests have no Pod {namespace}/{name}, but {}", others.join(", ")),
    }
}

fn by_address(objects: Option<&BTreeMap<Key, Object>>, address: IpAddr) -> anyhow::Result<&Pod> {
    let Some(objects) = objects else { bail!("--from {address}: whose address that is, only manifests can say (-f)") };
    // The node's address is that of many pods, none of which is meant.
    let mut own = pods(objects).filter(|pod| pod.spec.host_network != Some(true));
    match own.find(|pod| addresses(pod).any(|own| own == address)) {
        Some(pod) => Ok(pod),
        None => bail!("--from: no Pod of the manifests has the address {address}"),
    }
}

fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = &pod.status;
    status.pod_ips.iter().map(|ip| &ip.ip).chain(&status.pod_ip).filter_map(|ip| ip.parse().ok())
}
