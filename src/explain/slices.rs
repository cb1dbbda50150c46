//! Endpoints that somebody made, and that are not those of the Service they were probably made for.

use super::Scene;
use crate::{
    model::{ServiceId, resembles},
    objects::{EndpointSlice, Endpoints, Object, SERVICE_NAME_LABEL},
};

/// Endpoints and EndpointSlices that just miss a Service, a phrase each.
pub(super) fn near(id: &ServiceId, scene: &Scene) -> Vec<String> {
    let all = scene.objects.iter().chain(&scene.left_out).filter_map(|located| match &located.object {
        Object::Endpoints(endpoints) => of_endpoints(endpoints, id),
        Object::EndpointSlice(slice) => of_slice(slice, id),
        _ => None,
    });
    let mut all: Vec<String> = all.collect();
    all.sort();
    all.dedup();
    all
}

fn of_endpoints(endpoints: &Endpoints, id: &ServiceId) -> Option<String> {
    let (namespace, name) = (endpoints.metadata.namespace(), &endpoints.metadata.name);
    let whole = format!("Endpoints {namespace}/{name}");
    match (*namespace == *id.namespace, **name == *id.name) {
        (true, true) => Some(format!("{whole} has no addresses")),
        (true, false) => resembles(&id.name, name).then(|| format!("there is {whole}")),
        (false, true) => Some(format!("{whole} is in namespace {namespace}")),
        (false, false) => None,
    }
}

fn of_slice(slice: &EndpointSlice, id: &ServiceId) -> Option<String> {
    let (namespace, labels) = (slice.metadata.namespace(), &slice.metadata.labels);
    let whole = format!("EndpointSlice {namespace}/{}", slice.metadata.name);
    let label = labels.get(SERVICE_NAME_LABEL);
    if *namespace != *id.namespace {
        return label.filter(|name| **name == *id.name).map(|_| format!("{whole} is in namespace {namespace}"));
    }
    let similar = |key: &&String| key.as_str() != SERVICE_NAME_LABEL && resembles(SERVICE_NAME_LABEL, key);
    let misspelt = labels.keys().find(similar).filter(|key| labels.get(*key).is_some_and(|name| **name == *id.name));
    match label {
        Some(name) if **name == *id.name => Some(match slice.address_type.as_str() {
            "FQDN" => format!("{whole} has names in place of addresses (addressType FQDN), which no proxy serves"),
            _ if slice.endpoints.is_empty() => format!("{whole} has no endpoints"),
            _ => format!("{whole} is not used"),
        }),
        Some(name) => resembles(&id.name, name).then(|| format!("{whole} has {SERVICE_NAME_LABEL}={name}")),
        None => match misspelt {
            Some(key) => Some(format!("{whole} has the label {key} in place of {SERVICE_NAME_LABEL}")),
            // Who makes a slice by hand names it like its Service, with something behind it.
            None => {
                let prefixed = slice.metadata.name.strip_prefix(&*id.name);
                let is_named = prefixed.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
                is_named.then(|| format!("{whole} lacks the label {SERVICE_NAME_LABEL}"))
            }
        },
    }
}
