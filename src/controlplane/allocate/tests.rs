use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Allocations, pending_reason};
use crate::controlplane::{
    Completed, Options,
    testing::{complete_text, networks, service},
};

fn complete(text: &str, options: &Options) -> Completed {
    complete_text(text, options, &mut Allocations::default())
}

/// `clusterIPs nodePorts healthCheckNodePort loadBalancer` of a Service.
fn shown(completed: &Completed, name: &str) -> String {
    let service = completed.service(name);
    let ports = service.spec.ports.iter().filter_map(|port| port.node_port).map(|port| port.to_string());
    let ingress = service.status.load_balancer.ingress.iter().filter_map(|ingress| ingress.ip.clone());
    let parts = [
        service.spec.cluster_ips.join(","),
        ports.collect::<Vec<_>>().join(","),
        service.spec.health_check_node_port.map(|port| port.to_string()).unwrap_or_default(),
        ingress.collect::<Vec<_>>().join(","),
    ];
    parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn types_get_what_belongs_to_them() {
    let text = service("plain", "")
        + &service("headless", "clusterIP: None")
        + &service("external", "type: ExternalName, externalName: a")
        + &service("node", "type: NodePort")
        + &service(
            "dns",
            "type: NodePort, ports: [{name: t, port: 53}, {name: u, port: 53, protocol: UDP}, {name: m, port: 9}]",
        )
        + &service(
            "half",
            "type: NodePort, ports: [{name: t, port: 53}, {name: u, port: 53, protocol: UDP, nodePort: 30053}]",
        )
        + &service("lb", "type: LoadBalancer, externalTrafficPolicy: Local")
        + &service("bare", "type: LoadBalancer, allocateLoadBalancerNodePorts: false");
    let completed = complete(&text, &Options::default());
    assert_eq!(completed.texts(), [""; 0]);
    let shown: Vec<String> = ["plain", "headless", "external", "node", "dns", "half", "lb", "bare"]
        .iter()
        .map(|name| format!("{name} {}", shown(&completed, name)))
        .collect();
    assert_eq!(
        shown,
        [
            "plain 10.109.87.98",
            "headless None",
            "external ",
            "node 10.103.171.52 30129",
            "dns 10.103.124.113 30786,30786,32327",
            "half 10.105.108.141 30053,30053",
            "lb 10.98.223.32 30107 32626",
            "bare 10.100.115.106",
        ]
    );
    assert_eq!(completed.service("plain").spec.cluster_ip.as_deref(), Some("10.109.87.98"));
    assert_eq!(completed.service("plain").spec.ip_families, ["IPv4"]);
    assert!(completed.service("external").spec.ip_families.is_empty());
}

#[test]
fn families_follow_policy_and_networks() {
    let v4 = || networks(&["10.0.0.0/16"]);
    let dual = || networks(&["fd00::/112", "10.0.0.0/16"]);
    let open = Options::default;
    for (options, spec, families) in [
        (v4(), "", "IPv4"),
        (dual(), "", "IPv6"),
        (dual(), "ipFamilies: [IPv4]", "IPv4"),
        (dual(), "ipFamilyPolicy: PreferDualStack", "IPv6 IPv4"),
        (dual(), "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4]", "IPv4 IPv6"),
        (v4(), "ipFamilyPolicy: PreferDualStack", "IPv4"),
        (dual(), "ipFamilyPolicy: SingleStack, clusterIP: 10.0.0.9", "IPv4"),
        (dual(), "ipFamilyPolicy: PreferDualStack, clusterIP: 10.0.0.9", "IPv4 IPv6"),
        (v4(), "clusterIP: 'fd00::9'", "IPv6"),
        (open(), "", "IPv4"),
        (open(), "clusterIP: 'fd00::9', ipFamilies: [IPv6]", "IPv6"),
        (
            open(),
            "clusterIP: 10.0.0.9, clusterIPs: [10.0.0.9, 'fd00::9'], ipFamilyPolicy: RequireDualStack",
            "IPv4 IPv6",
        ),
        (v4(), "clusterIP: None", "IPv4 IPv6"),
        (v4(), "clusterIP: None, selector: {a: b}", "IPv4"),
        (open(), "clusterIP: None, selector: {a: b}, ipFamilies: [IPv6]", "IPv6"),
    ] {
        let completed = complete(&service("x", spec), &options);
        assert_eq!(completed.texts(), [""; 0], "{spec}");
        assert_eq!(completed.service("x").spec.ip_families.join(" "), families, "{spec}");
    }
    for (options, spec, notice) in [
        (v4(), "ipFamilyPolicy: RequireDualStack", "spec.ipFamilyPolicy: there is no IPv6 service network"),
        (v4(), "ipFamilies: [IPv6]", "spec.ipFamilies[0]: there is no IPv6 service network"),
        (open(), "ipFamilies: [IPv6]", "spec.ipFamilies[0]: there is no IPv6 service network"),
        (v4(), "clusterIP: None, selector: {a: b}, ipFamilies: [IPv6]", "spec.ipFamilies[0]: there is no IPv6"),
        (dual(), "ipFamilies: [IPv4, IPv6]", "spec.ipFamilyPolicy: two families or cluster IPs need PreferDualStack"),
    ] {
        let completed = complete(&service("x", spec), &options);
        assert!(completed.texts()[0].starts_with(&format!("Service default/x: {notice}")), "{:?}", completed.texts());
        assert!(completed.objects.is_empty());
    }
}

#[test]
fn what_a_manifest_asks_for_must_be_possible_and_free() {
    let ask = |ip: &str| format!("clusterIP: {ip}");
    let node_port = |port: i32| format!("type: NodePort, ports: [{{port: 80, nodePort: {port}}}]");
    for (first, second, notice) in [
        (
            ask("10.0.0.9"),
            ask("10.0.0.9"),
            "b: spec.clusterIP: 10.0.0.9 is already allocated to default/a; choose another",
        ),
        (ask("10.0.0.9"), ask("10.1.0.9"), "b: spec.clusterIP: 10.1.0.9 is outside the service network 10.0.0.0/24"),
        (ask("10.0.0.1"), ask("10.0.0.0"), "b: spec.clusterIP: 10.0.0.0 is an end of the service network"),
        (ask("10.0.0.1"), ask("10.0.0.255"), "b: spec.clusterIP: 10.0.0.255 is an end of the service network"),
        (node_port(30008), node_port(30008), "b: spec.ports[0].nodePort: 30008 is already allocated to default/a"),
        (node_port(30008), node_port(8080), "b: spec.ports[0].nodePort: 8080 is outside 30000-32767"),
        (node_port(30008), node_port(70000), "b: spec.ports[0].nodePort: 70000 is not a port number"),
    ] {
        let completed = complete(&(service("a", &first) + &service("b", &second)), &networks(&["10.0.0.0/24"]));
        assert_eq!(completed.objects.len(), 1);
        assert!(completed.texts()[0].starts_with(&format!("Service default/{notice}")), "{:?}", completed.texts());
    }
}

#[test]
fn the_older_service_goes_first_then_the_first_by_name() {
    let ask = |name: &str, created: &str| {
        service(name, "clusterIP: 10.0.0.9").replace(&format!("name: {name}"), &format!("name: {name}{created}"))
    };
    for (a, b, winner) in [
        ("", "", "a"),
        ("", ", creationTimestamp: 2026-01-01T00:00:00Z", "b"),
        (", creationTimestamp: 2026-01-02T00:00:00Z", ", creationTimestamp: 2026-01-01T00:00:00Z", "b"),
        (", creationTimestamp: 2026-01-01T00:00:00Z", ", creationTimestamp: 2026-01-01T00:00:00Z", "a"),
    ] {
        for text in [ask("a", a) + &ask("b", b), ask("b", b) + &ask("a", a)] {
            let completed = complete(&text, &Options::default());
            assert_eq!(completed.objects[0].object.metadata().name, winner);
            assert_eq!(completed.texts().len(), 1);
        }
    }
}

#[test]
fn what_is_held_stands_against_a_newcomer() {
    let mut allocations = Allocations::default();
    let options = networks(&["10.0.0.0/24"]);
    let old = service("old", "type: NodePort");
    let completed = complete_text(&old, &options, &mut allocations);
    let held = shown(&completed, "old");
    let (ip, port) = held.split_once(' ').unwrap();
    let newcomer = service("new", &format!("clusterIP: {ip}"))
        + &service("n2", &format!("type: NodePort, ports: [{{port: 80, nodePort: {port}}}]"));
    let completed = complete_text(&(newcomer.clone() + &old), &options, &mut allocations);
    assert_eq!(shown(&completed, "old"), held);
    assert_eq!(
        completed.texts(),
        [
            format!(
                "Service default/n2: spec.ports[0].nodePort: {port} is already allocated to default/old; choose another"
            ),
            format!("Service default/new: spec.clusterIP: {ip} is already allocated to default/old; choose another"),
        ]
    );
    // Once the old Service is gone, the newcomers can have it all.
    let completed = complete_text(&newcomer, &options, &mut allocations);
    assert_eq!(completed.texts(), [""; 0]);
    assert_eq!(allocations.services.keys().collect::<Vec<_>>(), ["default/n2", "default/new"]);
}

#[test]
fn nothing_is_forgotten_while_a_service_exists() {
    let mut allocations = Allocations::default();
    let options = networks(&["10.0.0.0/24"]);
    let good = service("a", "type: NodePort");
    let held = shown(&complete_text(&good, &options, &mut allocations), "a");
    // Refused for a while.
    let bad = good.replace("type: NodePort", "type: NodePort, sessionAffinity: x");
    assert!(complete_text(&bad, &options, &mut allocations).objects.is_empty());
    // Not readable for a while.
    let incomplete = Options { incomplete: true, ..options.clone() };
    assert!(complete_text("", &incomplete, &mut allocations).objects.is_empty());
    assert_eq!(shown(&complete_text(&good, &options, &mut allocations), "a"), held);
    // A node port that was asked for stays when it is left open.
    let asked = service("a", "type: NodePort, ports: [{port: 80, nodePort: 30001}]");
    assert!(shown(&complete_text(&asked, &options, &mut allocations), "a").ends_with("30001"));
    assert!(shown(&complete_text(&good, &options, &mut allocations), "a").ends_with("30001"));
    // Gone.
    complete_text("", &options, &mut allocations);
    assert_eq!(allocations, Allocations::default());
}

#[test]
fn a_remembered_value_that_no_longer_fits_is_replaced() {
    let mut allocations = Allocations::default();
    complete_text(&service("a", ""), &networks(&["10.0.0.0/24"]), &mut allocations);
    let completed = complete_text(&service("a", ""), &networks(&["10.9.0.0/24"]), &mut allocations);
    assert!(shown(&completed, "a").starts_with("10.9.0."));
}

#[test]
fn an_exhausted_range_costs_only_those_that_come_last() {
    let text: String = (1..=8).map(|i| service(&format!("s{i}"), "")).collect();
    let completed = complete(&text, &networks(&["10.0.0.0/29"]));
    assert_eq!(completed.objects.len(), 5);
    assert_eq!(
        completed.texts()[0],
        "Service default/s6: spec.clusterIP: no IPv4 cluster IP is free; all of the range are allocated"
    );
}

fn pool(ranges: &[&str]) -> Options {
    let ranges = ranges.iter().map(|range| range.parse::<ipnet::IpNet>().unwrap().into());
    Options { load_balancer_pool: ranges.collect(), ..networks(&["10.0.0.0/24", "fd00:96::/112"]) }
}

#[test]
fn load_balancers_get_addresses_of_the_pool() {
    let options = pool(&["192.0.2.96/30", "fd00:1b::/126"]);
    let text = service("a", "type: LoadBalancer")
        + &service("dual", "type: LoadBalancer, ipFamilyPolicy: PreferDualStack")
        + &service("asks", "type: LoadBalancer, loadBalancerIP: 192.0.2.97")
        + &service("set", "type: LoadBalancer")
            .replace("}}\n", "}, status: {loadBalancer: {ingress: [{ip: 192.0.2.127}]}}}\n");
    let completed = complete(&text, &options);
    assert_eq!(completed.texts(), [""; 0]);
    let ingress = |name: &str| -> Vec<String> {
        completed.service(name).status.load_balancer.ingress.iter().filter_map(|i| i.ip.clone()).collect()
    };
    assert_eq!(ingress("asks"), ["192.0.2.97"]);
    assert_eq!(ingress("set"), ["192.0.2.127"]);
    assert_eq!(ingress("a"), ["192.0.2.98"]);
    assert_eq!(ingress("dual"), ["192.0.2.99", "fd00:1b::1"]);
    assert_eq!(completed.service("a").status.load_balancer.ingress[0].ip_mode.as_deref(), Some("VIP"));
}

#[test]
fn a_pending_load_balancer_says_why() {
    let lb = "type: LoadBalancer";
    for (options, spec, reason) in [
        (Options::default(), lb.to_owned(), "no load balancer provider and no --load-balancer-pool"),
        (
            pool(&["192.0.2.96/32"]),
            format!("{lb}, loadBalancerClass: a/b"),
            "loadBalancerClass a/b is for another provider to serve",
        ),
        (
            pool(&["192.0.2.96/32"]),
            format!("{lb}, loadBalancerIP: 10.0.0.1"),
            "10.0.0.1, which it asks for, is not in --load-balancer-pool",
        ),
        (pool(&["192.0.2.96/32"]), format!("{lb}, ipFamilies: [IPv6]"), "--load-balancer-pool has no IPv6 address"),
        (pool(&["192.0.2.96/32"]), lb.to_owned(), "no address of --load-balancer-pool is free for it"),
    ] {
        let text = service("first", "type: LoadBalancer, loadBalancerIP: 192.0.2.96") + &service("x", &spec);
        let completed = complete(&text, &options);
        let x = completed.service("x");
        assert_eq!(pending_reason(x, &options).as_deref(), Some(reason));
        assert!(x.spec.ports[0].node_port.is_some() && !x.spec.cluster_ips.is_empty(), "it works as a NodePort");
        let is_served = !options.load_balancer_pool.is_empty();
        assert_eq!(pending_reason(completed.service("first"), &options).is_none(), is_served);
    }
    let completed = complete(&service("x", "type: NodePort"), &Options::default());
    assert_eq!(pending_reason(completed.service("x"), &Options::default()), None);
}

#[test]
fn an_address_outside_the_pool_is_a_warning() {
    let text = service("x", "type: LoadBalancer, loadBalancerIP: 10.0.0.1");
    let completed = complete(&text, &pool(&["192.0.2.96/32"]));
    assert_eq!(
        completed.texts(),
        ["Service default/x: spec.loadBalancerIP: 10.0.0.1 is outside the load balancer pool; it stays pending"]
    );
    assert_eq!(completed.objects.len(), 1);
    let annotated = service("x", "type: LoadBalancer")
        .replace("name: x", "name: x, annotations: {metallb.io/loadBalancerIPs: '192.0.2.96, fd00::1'}");
    let completed = complete(&annotated, &pool(&["192.0.2.96/31"]));
    assert!(shown(&completed, "x").ends_with(" 192.0.2.96"));
}

/// A Service of one of a few shapes, by number.
fn any_service(index: usize, shape: usize) -> String {
    let spec = [
        "",
        "type: NodePort",
        "type: LoadBalancer",
        "clusterIP: None",
        "type: LoadBalancer, externalTrafficPolicy: Local",
    ];
    service(&format!("s{index}"), spec[shape % spec.len()])
}

fn manifests(services: &BTreeMap<usize, usize>) -> String {
    services.iter().map(|(index, shape)| any_service(*index, *shape)).collect()
}

/// A set of Services, by number and shape, out of a range of cluster IPs that they nearly fill.
fn any_services() -> impl Strategy<Value = BTreeMap<usize, usize>> {
    prop::collection::btree_map(0usize..20, 0usize..5, 0..16)
}

fn small() -> Options {
    Options { load_balancer_pool: pool(&["192.0.2.96/28"]).load_balancer_pool, ..networks(&["10.0.0.0/27"]) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// With memory, Services that come and go move no other.
    #[test]
    fn allocations_are_stable(before in any_services(), after in any_services()) {
        let mut allocations = Allocations::default();
        let first = complete_text(&manifests(&before), &small(), &mut allocations);
        let second = complete_text(&manifests(&after), &small(), &mut allocations);
        prop_assert_eq!(first.texts(), Vec::<String>::new());
        prop_assert_eq!(second.texts(), Vec::<String>::new());
        for (index, shape) in &before {
            if after.get(index) == Some(shape) {
                let name = format!("s{index}");
                prop_assert_eq!(shown(&first, &name), shown(&second, &name));
            }
        }
        let third = complete_text(&manifests(&after), &small(), &mut allocations);
        prop_assert_eq!(second, third);
    }

    /// Without memory, nodes agree, in whatever order their files are read; and nothing is given out twice.
    #[test]
    fn nodes_agree(services in any_services()) {
        let one = complete(&manifests(&services), &small());
        let other: String = services.iter().rev().map(|(index, shape)| any_service(*index, *shape)).collect();
        let other = complete(&other, &small());
        let mut ports = Vec::new();
        let mut addresses = Vec::new();
        for index in services.keys() {
            let name = format!("s{index}");
            prop_assert_eq!(shown(&one, &name), shown(&other, &name));
            let service = one.service(&name);
            ports.extend(service.spec.ports.iter().filter_map(|port| port.node_port));
            ports.extend(service.spec.health_check_node_port);
            addresses.extend(service.spec.cluster_ips.iter().filter(|ip| *ip != "None").cloned());
            addresses.extend(service.status.load_balancer.ingress.iter().filter_map(|i| i.ip.clone()));
        }
        let count = (ports.len(), addresses.len());
        ports.sort();
        ports.dedup();
        addresses.sort();
        addresses.dedup();
        prop_assert_eq!(count, (ports.len(), addresses.len()));
    }
}
