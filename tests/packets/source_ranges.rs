//! loadBalancerSourceRanges (section 2.8), and Services that have nothing in the kernel.

use std::path::Path;

use portolan::{
    kernel::DataPlane,
    lab::{LabSpec, Outcome, PATIENCE, Session},
    model::{Family, Protocol, Service, TrafficPolicy, World, ingest},
    source::manifests,
    tables::Element,
};

use crate::{
    asking::{BRIEF, owners},
    services::{Kind, PROTOCOLS, READY, addresses, families_and_protocols, service, settings, world},
    support::{Net, can_run, node_address, run, spec},
};

/// A Service with source ranges.
fn guarded(number: u8, ranges: &[&str]) -> Service {
    Service { source_ranges: ranges.iter().map(|r| r.parse().unwrap()).collect(), ..service(number) }
}

#[test]
fn source_ranges_guard_load_balancer_addresses_and_nothing_else() {
    if !can_run("source_ranges_guard_load_balancer_addresses_and_nothing_else") {
        return;
    }
    let mut net = Net::up(spec(2, &[("here", 1), ("there", 2), ("guest-1", 1), ("guest-2", 2)]));
    net.lab.route(&addresses(1..=6), "node-1").unwrap();
    let here = || vec![("here", READY)];
    let services = [
        (guarded(1, &["192.168.49.100/32", "fd00:49::100/128", "203.0.0.0/24"]), here()),
        (guarded(2, &["10.244.1.0/24", "fd00:10:244:1::/64"]), here()),
        (guarded(3, &["192.168.49.8/29", "fd00:49::11/128"]), here()),
        (guarded(4, &["fd00:49::100/128"]), here()),
        (guarded(5, &["192.168.49.100/32", "fd00:49::100/128"]), vec![]),
        (
            Service {
                external_policy: TrafficPolicy::Local,
                ..guarded(6, &["192.168.49.100/32", "10.244.1.0/24", "fd00:49::100/128", "fd00:10:244:1::/64"])
            },
            vec![("here", READY), ("there", READY)],
        ),
    ];
    let world = world(net.lab.spec(), &services);
    net.program(&world, &settings());
    let (client, other) = (net.client(), net.other_client());
    let (guest_1, guest_2, host_1, host_2) = (net.pod("guest-1"), net.pod("guest-2"), net.host(1), net.host(2));

    for (family, protocol) in families_and_protocols() {
        let hidden = node_address(1, family);
        let of = |kind: Kind, number: u8| kind.frontend(number, family, protocol);
        let balancer = |number: u8| of(Kind::LoadBalancer, number);

        client.is_served(balancer(1), &["here"], hidden);
        for outside in [&other, &guest_1, &host_1, &guest_2, &host_2] {
            outside.is_dropped(balancer(1));
        }
        for kind in [Kind::ClusterIp, Kind::ExternalIp, Kind::NodePort] {
            other.is_served(of(kind, 1), &["here"], hidden);
            host_1.is_served(of(kind, 1), &["here"], hidden);
        }

        guest_1.is_served(balancer(2), &["here"], hidden);
        for outside in [&guest_2, &client, &host_1] {
            outside.is_dropped(balancer(2));
        }

        // 192.168.49.8/29 holds node-1 and node-2 in IPv4.
        host_1.is_served(balancer(3), &["here"], hidden);
        client.is_dropped(balancer(3));
        if family == Family::V6 {
            host_2.is_dropped(balancer(3));
            other.is_dropped(balancer(4));
            client.is_served(balancer(4), &["here"], hidden);
        } else {
            host_2.is_served(balancer(3), &["here"], node_address(2, family));
            other.is_served(balancer(4), &["here"], hidden);
        }

        client.is_served_as_itself(balancer(6), &["here"]);
        guest_1.is_served_as_itself(balancer(6), &["here", "there"]);
        for outside in [&other, &guest_2, &host_1] {
            outside.is_dropped(balancer(6));
        }

        client.is_refused(balancer(5));
        other.is_dropped(balancer(5));
        other.is_refused(of(Kind::ClusterIp, 5));
    }
}

#[test]
fn new_ranges_are_for_new_connections() {
    if !can_run("new_ranges_are_for_new_connections") {
        return;
    }
    let mut net = Net::up(spec(1, &[("here", 1)]));
    net.lab.route(&addresses(1..=1), "node-1").unwrap();
    let client = net.client();
    let ranges = |ranges: &[&str]| (guarded(1, ranges), vec![("here", READY)]);
    for family in Family::ALL {
        net.program(&world(net.lab.spec(), &[ranges(&["192.168.49.100/32", "fd00:49::100/128"])]), &settings());
        let frontends = PROTOCOLS.map(|protocol| Kind::LoadBalancer.frontend(1, family, protocol));
        let mut sessions =
            frontends.map(|frontend| Session::open(&client.probe(frontend), &client.namespace).unwrap().unwrap());
        assert!(sessions.iter_mut().all(|session| session.exchange(PATIENCE).unwrap().pod() == Some("here")));
        net.program(&world(net.lab.spec(), &[ranges(&["192.0.2.0/24", "2001:db8::/32"])]), &settings());
        frontends.iter().for_each(|frontend| client.is_dropped(*frontend));
        assert!(sessions.iter_mut().all(|session| session.exchange(PATIENCE).unwrap().pod() == Some("here")));
    }
}

#[test]
fn a_node_that_is_allowed_may_come_from_the_load_balancers_address() {
    if !can_run("a_node_that_is_allowed_may_come_from_the_load_balancers_address") {
        return;
    }
    let mut net = Net::up(spec(1, &[("here", 1)]));
    let services = [
        (guarded(1, &["192.168.49.11/32", "fd00:49::11/128"]), vec![("here", READY)]),
        (guarded(2, &["192.168.49.12/32", "fd00:49::12/128"]), vec![("here", READY)]),
    ];
    net.program(&world(net.lab.spec(), &services), &settings());
    let node = net.lab.node("node-1").unwrap();
    for (family, protocol) in families_and_protocols() {
        for number in [1, 2] {
            let vip = Kind::LoadBalancer.address(number, family);
            // As a load balancer's agent does, so that the kernel takes the address as source too.
            let flags = if family == Family::V6 { " nodad" } else { "" };
            run(&node, &format!("ip addr replace {vip} dev eth0{flags}"));
        }
        let host = net.host(1);
        let frontend = |number| Kind::LoadBalancer.frontend(number, family, protocol);
        let from_vip = |number| host.probe(frontend(number)).from(Kind::LoadBalancer.address(number, family));
        let outcome = from_vip(1).run(&node).unwrap();
        assert_eq!(outcome.pod(), Some("here"), "{outcome:?}");
        let outcome = from_vip(2).patience(BRIEF).run(&node).unwrap();
        assert!(matches!(outcome, Outcome::Silence | Outcome::NotPermitted), "{outcome:?}");
    }
}

/// Services that this proxy leaves alone. Each has an endpoint.
const LEFT_ALONE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: db.example.com, clusterIP: 10.96.0.2, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata:
  name: other-proxy
  namespace: shop
  labels: {service.kubernetes.io/service-proxy-name: ""}
spec: {clusterIP: 10.96.0.3, externalIPs: [198.51.100.3], ports: [{port: 80}]}
"#;

/// An address that a proxy of the provider answers for, another that nodes do.
const PROXY_MODE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: balanced, namespace: shop}
spec: {type: LoadBalancer, clusterIP: 10.96.0.4, ports: [{port: 80}]}
status:
  loadBalancer:
    ingress: [{ip: 203.0.113.4, ipMode: Proxy}, {ip: 203.0.113.5, ipMode: VIP}, {ip: 203.0.113.6}]
"#;

fn slice(service: &str) -> String {
    format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-1, namespace: shop, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
endpoints: [{{addresses: [10.244.1.10], nodeName: node-1}}]
ports: [{{port: 8080, name: ''}}]
"
    )
}

/// What the manifests say, for node-1.
fn read(text: &str) -> World {
    let read = manifests::read_text(Path::new("test.yaml"), text);
    assert!(read.notices.is_empty() && !read.objects.is_empty(), "{:?}", read.notices);
    let (world, notices) = ingest::world("node-1", read.objects.iter().map(|o| (&o.object, Some(&o.origin))));
    assert!(notices.is_empty(), "{notices:?}");
    world
}

#[test]
fn services_of_others_have_nothing_in_the_kernel() {
    if !can_run("services_of_others_have_nothing_in_the_kernel") {
        return;
    }
    let addresses = addresses(2..=6);
    let mut net = Net::up(LabSpec { externals: owners(&addresses, &[80]), ..spec(1, &[("here", 1)]) });
    net.lab.route(&addresses, "node-1").unwrap();
    let slices = ["headless", "alias", "other-proxy", "balanced"].map(slice).concat();
    net.program(&read(&format!("{LEFT_ALONE}{slices}")), &settings());
    let elements = net.with_agent("node-1", |agent| agent.kernel().dump()).unwrap().elements;
    assert!(!elements.is_empty() && elements.iter().all(|e| matches!(e, Element::Pods(_))), "{elements:?}");

    let v4 = |kind: Kind, number| kind.frontend(number, Family::V4, Protocol::Tcp);
    let client = net.client();
    for (kind, number) in [(Kind::ClusterIp, 2), (Kind::ClusterIp, 3), (Kind::ExternalIp, 3)] {
        client.reaches_owner(v4(kind, number));
    }
    let labelled = "  labels: {service.kubernetes.io/service-proxy-name: \"\"}\n";
    let unlabelled = LEFT_ALONE.replace(labelled, "");
    let hidden = node_address(1, Family::V4);
    for _ in 0..2 {
        net.program(&read(&format!("{unlabelled}---{PROXY_MODE}{slices}")), &settings());
        client.is_served(v4(Kind::ClusterIp, 3), &["here"], hidden);
        client.reaches_owner(v4(Kind::LoadBalancer, 4));
        client.is_served(v4(Kind::LoadBalancer, 5), &["here"], hidden);
        client.is_served(v4(Kind::LoadBalancer, 6), &["here"], hidden);
        // The label on a Service that was served: as if it were deleted.
        net.program(&read(&format!("{LEFT_ALONE}{slices}")), &settings());
        client.reaches_owner(v4(Kind::ClusterIp, 3));
        client.reaches_owner(v4(Kind::LoadBalancer, 5));
    }
}
