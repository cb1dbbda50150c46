//! EndpointSlices, as the EndpointSlice controller makes them from Pods, and the EndpointSliceMirroring controller from
//! Endpoints objects.

mod from_endpoints;
mod from_pods;
mod pods;
mod ports;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

pub use pods::{has_ended, is_ready};
pub use verdict::{PodVerdict, declared, is_selected, verdict};

use self::{from_endpoints::mirror, from_pods::select, pods::Pods};
use super::hash;
use crate::{
    model::{Family, Located, Notice},
    objects::{
        EndpointSlice, Endpoints, MANAGED_BY_LABEL, Metadata, Object, SERVICE_NAME_LABEL, Service, SliceEndpoint,
        SlicePort,
    },
};

/// The most endpoints of a slice; more make a further slice.
const MOST_ENDPOINTS: usize = 100;

/// Who keeps the slices that are made here.
const MANAGED_BY: &str = "endpointslice-controller.portolan";

/// The controllers of a real cluster. If a Service comes with slices of theirs, it was exported together with them, and
/// they know better.
const REAL_CONTROLLERS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

/// Namespace and name of a Service.
type Key<'a> = (&'a str, &'a str);

/// The slices of all Services among the objects, which are valid and complete.
pub(super) fn make(objects: &[Located], notices: &mut Vec<Notice>) -> Vec<Located> {
    let exported = exported(objects);
    let pods = Pods::new(objects);
    let endpoints = endpoints(objects);
    let mut services = BTreeMap::new();
    let mut made = Vec::new();
    for located in objects {
        let Object::Service(service) = &located.object else { continue };
        let key = (service.metadata.namespace(), service.metadata.name.as_str());
        services.insert(key, service);
        if exported.contains(&key) || service.spec.type_.as_deref() == Some("ExternalName") {
            continue;
        }
        let slices = if !service.spec.selector.is_empty() {
            select(located, service, &pods, notices)
        } else if let Some(endpoints) = endpoints.get(&key) {
            from_endpoints::warn_of_ports(located, service, endpoints, notices);
            mirror(endpoints)
        } else {
            continue;
        };
        let slices = slices.into_iter().map(|slice| Object::EndpointSlice(slice.named(service)));
        made.extend(slices.map(|object| Located { object, origin: located.origin.clone() }));
    }
    from_endpoints::warn_of_unused(objects, &services, &exported, notices);
    made
}

/// The Services that come with slices of a real cluster's controllers.
fn exported(objects: &[Located]) -> BTreeSet<Key<'_>> {
    objects.iter().filter_map(exported_service).collect()
}

fn exported_service(located: &Located) -> Option<Key<'_>> {
    let Object::EndpointSlice(slice) = &located.object else { return None };
    let controller = slice.metadata.labels.get(MANAGED_BY_LABEL)?;
    let service = slice.metadata.labels.get(SERVICE_NAME_LABEL)?;
    REAL_CONTROLLERS.contains(&controller.as_str()).then_some((slice.metadata.namespace(), service))
}

/// Endpoints objects by namespace and name.
fn endpoints(objects: &[Located]) -> BTreeMap<Key<'_>, &Endpoints> {
    let mut endpoints = BTreeMap::new();
    for located in objects {
        if let Object::Endpoints(o) = &located.object
            && from_endpoints::is_mirrored(o)
        {
            endpoints.insert((o.metadata.namespace(), o.metadata.name.as_str()), o);
        }
    }
    endpoints
}

/// The families of a completed Service.
fn families(service: &Service) -> impl Iterator<Item = Family> {
    service.spec.ip_families.iter().filter_map(|name| Family::ALL.into_iter().find(|f| f.to_string() == *name))
}

/// A slice without its name.
struct Draft {
    family: Family,
    ports: Vec<SlicePort>,
    endpoints: Vec<SliceEndpoint>,
    /// Which of the slices with these ports it is
    number: usize,
}

impl Draft {
    /// Puts endpoints into slices of at most [`MOST_ENDPOINTS`].
    fn split(family: Family, ports: &[SlicePort], mut endpoints: Vec<SliceEndpoint>) -> Vec<Draft> {
        let mut drafts = Vec::new();
        while !endpoints.is_empty() {
            let rest = endpoints.split_off(endpoints.len().min(MOST_ENDPOINTS));
            drafts.push(Draft { family, ports: ports.to_vec(), endpoints, number: drafts.len() });
            endpoints = rest;
        }
        drafts
    }

    /// The slice, with a name that follows from what it holds: the Service's name and five characters.
    fn named(self, service: &Service) -> EndpointSlice {
        let metadata = &service.metadata;
        let ports: Vec<String> = self.ports.iter().map(port_text).collect();
        let [family, number] = [self.family.to_string(), self.number.to_string()];
        let parts = [metadata.namespace(), &metadata.name, &family, &ports.join(" "), &number];
        let labels = [(SERVICE_NAME_LABEL, metadata.name.as_str()), (MANAGED_BY_LABEL, MANAGED_BY)];
        EndpointSlice {
            metadata: Metadata {
                name: format!("{}-{}", metadata.name, hash::suffix(&parts, 5)),
                namespace: metadata.namespace().to_owned(),
                labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                ..Metadata::default()
            },
            address_type: family,
            endpoints: self.endpoints,
            ports: self.ports,
        }
    }
}

fn port_text(port: &SlicePort) -> String {
    let name = port.name.as_deref().unwrap_or_default();
    format!("{name}:{}/{}", port.port.unwrap_or_default(), port.protocol.as_deref().unwrap_or_default())
}
