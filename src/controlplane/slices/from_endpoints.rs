//! The EndpointSliceMirroring controller: slices from Endpoints objects, for Services without selector.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Draft, Key, ports::protocol};
use crate::{
    controlplane::validate::address,
    model::{Family, Located, Notice, Severity},
    objects::{Conditions, EndpointAddress, EndpointPort, Endpoints, Object, Service, SliceEndpoint, SlicePort},
};

/// Label that asks for an Endpoints object not to be mirrored.
const SKIP_MIRROR_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation of Endpoints objects that are not about endpoints at all, but elect a leader.
const LEADER_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// Whether the Endpoints object takes part in mirroring.
pub(super) fn is_mirrored(endpoints: &Endpoints) -> bool {
    let metadata = &endpoints.metadata;
    metadata.labels.get(SKIP_MIRROR_LABEL).is_none_or(|value| value != "true")
        && !metadata.annotations.contains_key(LEADER_ANNOTATION)
}

/// Name, protocol and number of each port of a subset.
type Ports = Vec<(String, String, i32)>;

/// Addresses that share their ports, and whether they are ready.
struct Group<'a> {
    ports: Vec<SlicePort>,
    addresses: BTreeMap<IpAddr, (&'a EndpointAddress, bool)>,
}

/// The slices of an Endpoints object. Subsets with the same ports share them; an address that stands twice is one
/// endpoint, ready if one of them is.
pub(super) fn mirror(endpoints: &Endpoints) -> Vec<Draft> {
    let mut groups: BTreeMap<(Family, Ports), Group<'_>> = BTreeMap::new();
    for subset in &endpoints.subsets {
        let ready = subset.addresses.iter().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().map(|address| (address, false));
        for (entry, ready) in ready.chain(not_ready) {
            let Ok(ip) = address(&entry.ip) else { continue };
            let ports = subset.ports.iter().map(port_key).collect();
            let group = groups.entry((Family::of(ip), ports)).or_insert_with(|| Group {
                ports: subset.ports.iter().map(slice_port).collect(),
                addresses: BTreeMap::new(),
            });
            group.addresses.entry(ip).or_insert((entry, ready)).1 |= ready;
        }
    }
    let mut drafts = Vec::new();
    for ((family, _), group) in groups {
        let endpoints = group.addresses.into_iter().map(|(ip, (entry, ready))| endpoint(ip, entry, ready)).collect();
        drafts.extend(Draft::split(family, &group.ports, endpoints));
    }
    drafts
}

fn port_key(port: &EndpointPort) -> (String, String, i32) {
    let name = port.name.clone().unwrap_or_default();
    (name, protocol(port.protocol.as_deref()).to_owned(), port.port)
}

fn slice_port(port: &EndpointPort) -> SlicePort {
    SlicePort {
        name: Some(port.name.clone().unwrap_or_default()),
        protocol: Some(protocol(port.protocol.as_deref()).to_owned()),
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    }
}

fn endpoint(ip: IpAddr, entry: &EndpointAddress, ready: bool) -> SliceEndpoint {
    SliceEndpoint {
        addresses: vec![ip.to_string()],
        conditions: Conditions { ready: Some(ready), serving: Some(ready), terminating: Some(false) },
        hostname: entry.hostname.clone().filter(|name| !name.is_empty()),
        target_ref: entry.target_ref.clone(),
        node_name: entry.node_name.clone(),
        zone: None,
        hints: None,
    }
}

/// Warns of ports of the Service that the Endpoints object does not have: the two are matched by name.
pub(super) fn warn_of_ports(located: &Located, service: &Service, endpoints: &Endpoints, notices: &mut Vec<Notice>) {
    let shown = |name: &str| if name.is_empty() { "a port without a name".to_owned() } else { format!("'{name}'") };
    let ports = endpoints.subsets.iter().flat_map(|subset| &subset.ports);
    let names: BTreeSet<&str> = ports.map(|port| port.name.as_deref().unwrap_or_default()).collect();
    for (i, port) in service.spec.ports.iter().enumerate() {
        let wanted = port.name.as_deref().unwrap_or_default();
        if !names.is_empty() && !names.contains(wanted) {
            let names: Vec<String> = names.iter().map(|name| shown(name)).collect();
            let reason = format!(
                "the Endpoints of this name do not have {}, so nothing serves it (they have: {})",
                shown(wanted),
                names.join(", ")
            );
            notices.push(located.notice(Severity::Warning, format!("spec.ports[{i}].name"), reason));
        }
    }
}

/// Warns of Endpoints objects that do nothing: those of Services with a selector, and those without a Service.
pub(super) fn warn_of_unused(
    objects: &[Located],
    services: &BTreeMap<Key<'_>, &Service>,
    exported: &BTreeSet<Key<'_>>,
    notices: &mut Vec<Notice>,
) {
    for located in objects {
        let Object::Endpoints(endpoints) = &located.object else { continue };
        let key = (endpoints.metadata.namespace(), endpoints.metadata.name.as_str());
        if !is_mirrored(endpoints) || exported.contains(&key) {
            continue;
        }
        let reason = match services.get(&key) {
            Some(service) if service.spec.type_.as_deref() == Some("ExternalName") => {
                "not used: the Service of this name is an ExternalName".to_owned()
            }
            Some(service) if !service.spec.selector.is_empty() => {
                "not used: the Service of this name has a selector, so its endpoints are the pods it selects".to_owned()
            }
            Some(_) => continue,
            None => format!("not used: there is no Service {}/{}", key.0, key.1),
        };
        notices.push(located.notice(Severity::Warning, "", reason));
    }
}
