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

#[cfg(test)]
mod tests {
    use crate::controlplane::{Allocations, Options, testing::complete_text};

    fn notices(kind: &str, rest: &str) -> Vec<String> {
        let version = if kind == "Endpoints" { "v1" } else { "discovery.k8s.io/v1" };
        let text = format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: x, annotations: \
             {{control-plane.alpha.kubernetes.io/leader: ''}}}}, {rest}}}"
        );
        complete_text(&text, &Options::default(), &mut Allocations::default()).texts()
    }

    #[test]
    fn endpoints_are_checked() {
        let good = [
            "subsets: []",
            "subsets: [{addresses: [{ip: 192.0.2.42, hostname: a, nodeName: node-1}], ports: [{port: 9376}]}]",
            "subsets: [{notReadyAddresses: [{ip: 172.30.0.041}, {ip: 'fd00::1'}], ports: [{port: 1, name: a}, {port: 1, \
             name: b, protocol: UDP}]}]",
            "subsets: [{addresses: [{ip: 192.0.2.42}]}]",
        ];
        good.iter().for_each(|rest| assert_eq!(notices("Endpoints", rest), [""; 0], "{rest}"));
        for (rest, notice) in [
            ("subsets: [{ports: [{port: 1}]}]", "subsets[0]: needs addresses or notReadyAddresses"),
            ("subsets: [{addresses: [{ip: 127.0.0.1}]}]", "subsets[0].addresses[0].ip: 127.0.0.1 is a loopback"),
            (
                "subsets: [{notReadyAddresses: [{ip: 'fe80::1'}]}]",
                "subsets[0].notReadyAddresses[0].ip: fe80::1 is a link-local",
            ),
            (
                "subsets: [{addresses: [{ip: 224.0.0.251}]}]",
                "subsets[0].addresses[0].ip: 224.0.0.251 is a link-local multicast",
            ),
            (
                "subsets: [{addresses: [{ip: example.com}]}]",
                "subsets[0].addresses[0].ip: \"example.com\" is not an IP address",
            ),
            ("subsets: [{addresses: [{ip: 10.0.0.1, hostname: A}]}]", "subsets[0].addresses[0].hostname: \"A\""),
            ("subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 0}]}]", "subsets[0].ports[0].port: 0 is outside"),
            (
                "subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 1, name: a}, {port: 2}]}]",
                "subsets[0].ports[1].name: missing",
            ),
            (
                "subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 1, protocol: ICMP}]}]",
                "subsets[0].ports[0].protocol: \"ICMP\" is none of",
            ),
        ] {
            let found = notices("Endpoints", rest);
            assert!(found.len() == 1 && found[0].starts_with(&format!("Endpoints default/x: {notice}")), "{found:?}");
        }
    }

    #[test]
    fn slices_are_checked() {
        let good = [
            "addressType: IPv4",
            "addressType: IPv4, endpoints: [{addresses: [10.0.0.1, 10.0.0.2]}], ports: [{port: 80}, {name: b}]",
            "addressType: FQDN, endpoints: [{addresses: [a.example.com]}]",
            "addressType: IPv6, endpoints: [{addresses: ['fd00::1'], hostname: a, nodeName: node-1}]",
        ];
        good.iter().for_each(|rest| assert_eq!(notices("EndpointSlice", rest), [""; 0], "{rest}"));
        let many = format!("addressType: IPv4, endpoints: [{}]", "{addresses: [10.0.0.1]}, ".repeat(1001));
        for (rest, notice) in [
            ("ports: []", "addressType: missing; IPv4, IPv6 or FQDN"),
            ("addressType: IP", "addressType: \"IP\" is none of IPv4, IPv6, FQDN"),
            ("addressType: IPv4, endpoints: [{}]", "endpoints[0].addresses: needs an address"),
            (
                "addressType: IPv6, endpoints: [{addresses: [10.0.0.1]}]",
                "endpoints[0].addresses[0]: 10.0.0.1 is IPv4, but addressType is \"IPv6\"",
            ),
            (
                "addressType: IPv4, endpoints: [{addresses: [169.254.0.1]}]",
                "endpoints[0].addresses[0]: 169.254.0.1 is a link-local",
            ),
            ("addressType: IPv4, ports: [{port: 80}, {port: 81}]", "ports[1].name: \"\" stands twice"),
            ("addressType: IPv4, ports: [{port: 0}]", "ports[0].port: 0 is outside 1-65535"),
            ("addressType: IPv4, ports: [{name: A}]", "ports[0].name: \"A\" is not a name"),
            (&many, "endpoints: 1001 are more than 1000"),
        ] {
            let found = notices("EndpointSlice", rest);
            assert!(
                found.len() == 1 && found[0].starts_with(&format!("EndpointSlice default/x: {notice}")),
                "{found:?}"
            );
        }
    }
}
