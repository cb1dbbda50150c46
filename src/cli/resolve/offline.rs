//! Answers made of manifests.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use domain::base::iana::Rtype;
use tracing::warn;

use super::walk::Answer;
use crate::{
    answers::{
        Site, Sources,
        extras::{file, hosts},
        why::KnownService,
    },
    cli::dns::files::Key,
    config::dns::{DNS_PORT, DnsConfig, Name, corefile, is_reverse},
    dns::process::Files,
    objects::{Object, SERVICE_NAME_LABEL, Service},
    zone::{Builder, Snapshot, State},
};

/// Serial of the SOA, which has no meaning here.
const SERIAL: u32 = 1;

/// The configuration and the names as they would be served.
pub struct Offline {
    site: Site,
    snapshots: Vec<Option<Arc<Snapshot>>>,
    files: Files,
    services: Vec<KnownService>,
}

impl Sources for Offline {
    fn snapshot(&self, block: usize) -> Option<&Snapshot> {
        self.snapshots.get(block)?.as_deref()
    }

    fn hosts(&self, block: usize) -> Option<&hosts::Table> {
        self.files.hosts(block)
    }

    fn files(&self, block: usize, nth: usize) -> &[file::Zone] {
        self.files.zones(block, nth)
    }
}

impl Offline {
    pub fn new(config: &DnsConfig, objects: &BTreeMap<Key, Object>) -> Self {
        let snapshots = config.servers.iter().map(|server| {
            let mut builder = Builder::new(Arc::new(server.kubernetes.clone()?));
            for object in objects.values() {
                builder.put(object);
            }
            Some(builder.publish(State::Synced, SERIAL))
        });
        let port = port(config);
        let blocks = config.servers.iter().enumerate().filter(|(_, server)| server.port == port);
        Self {
            site: Site::new(blocks),
            snapshots: snapshots.collect(),
            files: Files::read(config, None),
            services: services(objects),
        }
    }

    /// What a client would be answered.
    pub fn ask(&self, name: &Name, qtype: Rtype, client: IpAddr) -> Answer {
        Answer::explained(qtype, self.site.explain(name, qtype, client, self, &self.services))
    }
}

/// The port that is looked at: that of pods' resolvers, or if there is nothing on it, the first that there is.
fn port(config: &DnsConfig) -> u16 {
    let ports: Vec<u16> = config.servers.iter().map(|server| server.port).collect();
    let port = if ports.contains(&DNS_PORT) { DNS_PORT } else { ports.first().copied().unwrap_or(DNS_PORT) };
    let others: Vec<String> = ports.iter().filter(|other| **other != port).map(ToString::to_string).collect();
    if !others.is_empty() {
        warn!("only the server blocks on port {port} are looked at, not those on {}", others.join(", "));
    }
    port
}

/// The cluster's domain.
pub fn domain(config: &DnsConfig) -> Name {
    let mut zones = config.servers.iter().filter_map(|server| server.kubernetes.as_ref()).flat_map(|k| &k.zones);
    let found = zones.find(|zone| !is_reverse(zone) && !zone.is_root()).cloned();
    found.or_else(|| corefile::name("cluster.local").ok()).unwrap_or_else(Name::root_vec)
}

/// All Services, with what their slices have.
fn services(objects: &BTreeMap<Key, Object>) -> Vec<KnownService> {
    let mut counts: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for object in objects.values() {
        let Object::EndpointSlice(slice) = object else { continue };
        let Some(service) = slice.metadata.labels.get(SERVICE_NAME_LABEL) else { continue };
        let (ready, not_ready) = counts.entry((object.namespace(), service)).or_default();
        for endpoint in &slice.endpoints {
            *(if endpoint.conditions.ready == Some(false) { &mut *not_ready } else { &mut *ready }) += 1;
        }
    }
    let known = |namespace: &str, service: &Service| {
        let name = service.metadata.name.as_str();
        let (ready, not_ready) = counts.get(&(namespace, name)).copied().unwrap_or_default();
        let headless = service.spec.cluster_ip.as_deref() == Some("None");
        KnownService { namespace: namespace.to_owned(), name: name.to_owned(), headless, ready, not_ready }
    };
    objects
        .values()
        .filter_map(|object| match object {
            Object::Service(service) => Some(known(object.namespace(), service)),
            _ => None,
        })
        .collect()
}
