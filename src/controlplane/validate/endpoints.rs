//! Endpoints and EndpointSlices.

use std::collections::BTreeSet;

use super::{Faults, addresses, names, ports};
use crate::{
    model::Family,
    objects::{EndpointAddress, EndpointPort, EndpointSlice, Endpoints, SliceEndpoint},
};

/// The API's limits of an EndpointSlice.
const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;

pub(super) fn check_endpoints(endpoints: &Endpoints, faults: &mut Faults<'_>) {
    faults.metadata(&endpoints.metadata, names::subdomain);
    for (i, subset) in endpoints.subsets.iter().enumerate() {
        let field = format!("subsets[{i}]");
        if subset.addresses.is_empty() && subset.not_ready_addresses.is_empty() {
            faults.refuse(&field, "needs addresses or notReadyAddresses");
        }
        for (list, found) in [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)] {
            for (j, address) in found.iter().enumerate() {
                check_address(&format!("{field}.{list}[{j}]"), address, faults);
            }
        }
        for (j, port) in subset.ports.iter().enumerate() {
            check_port(&format!("{field}.ports[{j}]"), port, subset.ports.len() > 1, faults);
        }
    }
}

fn check_address(field: &str, address: &EndpointAddress, faults: &mut Faults<'_>) {
    faults.check(format!("{field}.ip"), addresses::reachable(&address.ip));
    if let Some(hostname) = address.hostname.as_deref().filter(|name| !name.is_empty()) {
        faults.check(format!("{field}.hostname"), names::label(hostname));
    }
    if let Some(node) = &address.node_name {
        faults.check(format!("{field}.nodeName"), names::subdomain(node));
    }
}

fn check_port(field: &str, port: &EndpointPort, needs_name: bool, faults: &mut Faults<'_>) {
    match port.name.as_deref().unwrap_or_default() {
        "" if needs_name => {
            faults.refuse(format!("{field}.name"), "missing; if there are several ports, each needs a name");
        }
        "" => {}
        name => {
            faults.check(format!("{field}.name"), names::label(name));
        }
    }
    faults.check(format!("{field}.port"), ports::number(port.port));
    ports::check_protocol(&format!("{field}.protocol"), port.protocol.as_deref(), faults);
}

pub(super) fn check_slice(slice: &EndpointSlice, faults: &mut Faults<'_>) {
    faults.metadata(&slice.metadata, names::subdomain);
    match slice.address_type.as_str() {
        "" => faults.refuse("addressType", "missing; IPv4, IPv6 or FQDN"),
        kind => faults.one_of("addressType", Some(kind), &["IPv4", "IPv6", "FQDN"]),
    }
    if slice.endpoints.len() > MOST_ENDPOINTS {
        faults.refuse("endpoints", format!("{} are more than {MOST_ENDPOINTS}", slice.endpoints.len()));
        return;
    }
    for (i, endpoint) in slice.endpoints.iter().enumerate() {
        check_endpoint(&format!("endpoints[{i}]"), endpoint, &slice.address_type, faults);
    }
    let mut seen = BTreeSet::new();
    for (i, port) in slice.ports.iter().enumerate() {
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            faults.check(format!("ports[{i}].name"), names::label(name));
        }
        if !seen.insert(name) {
            faults.refuse(format!("ports[{i}].name"), format!("{} stands twice", names::shown(name)));
        }
        if let Some(number) = port.port {
            faults.check(format!("ports[{i}].port"), ports::number(number));
        }
        ports::check_protocol(&format!("ports[{i}].protocol"), port.protocol.as_deref(), faults);
    }
}

fn check_endpoint(field: &str, endpoint: &SliceEndpoint, address_type: &str, faults: &mut Faults<'_>) {
    if endpoint.addresses.is_empty() {
        faults.refuse(format!("{field}.addresses"), "needs an address");
    } else if endpoint.addresses.len() > MOST_ADDRESSES {
        let count = endpoint.addresses.len();
        faults.refuse(format!("{field}.addresses"), format!("{count} are more than {MOST_ADDRESSES}"));
    }
    for (j, text) in endpoint.addresses.iter().enumerate() {
        let field = format!("{field}.addresses[{j}]");
        if address_type == "FQDN" {
            faults.check(field, names::subdomain(text.strip_suffix('.').unwrap_or(text)));
        } else if let Some(family) = faults.check(&field, addresses::reachable(text)).map(Family::of)
            && family.to_string() != address_type
        {
            faults.refuse(field, format!("{text} is {family}, but addressType is {}", names::shown(address_type)));
        }
    }
    if let Some(hostname) = endpoint.hostname.as_deref() {
        faults.check(format!("{field}.hostname"), names::label(hostname));
    }
    if let Some(node) = &endpoint.node_name {
        faults.check(format!("{field}.nodeName"), names::subdomain(node));
    }
}
