//! What health checks and metrics are told of Services.

use std::collections::{BTreeMap, BTreeSet};

use portolan::{
    compile::{HealthCheck, WithoutLocal, health_check_addresses},
    desired::Desired,
    model::{Family, Frontend, Node, NodePortAddresses, Protocol, ServiceId, Settings, World, ingest},
    objects::Object,
    tables::Contents,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{self, Step};

/// A LoadBalancer Service with external policy Local and a health check node port, changed by `spec`.
fn service(spec: Value) -> Object {
    let mut whole = json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "type": "LoadBalancer", "clusterIPs": ["172.30.0.1", "fd00:30::1"], "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 31000,
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "alt", "port": 81, "nodePort": 30081}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
    });
    for (key, value) in spec.as_object().unwrap() {
        whole["spec"][key] = value.clone();
    }
    Object::Service(serde_json::from_value(whole).unwrap())
}

/// IPv4 endpoints `(address, node, ready)`; those that are not ready serve and terminate. Both ports of the Service have
/// them.
fn slice(endpoints: &[(&str, &str, bool)]) -> Object {
    let endpoint = |(address, node, ready): &(&str, &str, bool)| {
        let conditions = json!({"ready": ready, "serving": true, "terminating": !ready});
        json!({"addresses": [address], "nodeName": node, "conditions": conditions})
    };
    let slice = json!({
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}, {"name": "alt", "port": 8081}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    });
    Object::EndpointSlice(serde_json::from_value(slice).unwrap())
}

/// The desired state of the node `here`, worked through.
fn desired(objects: &[Object]) -> Desired {
    let (mut world, notices) = ingest::world("here", objects.iter().map(|object| (object, None)));
    assert_eq!(notices, []);
    world.node.addresses = vec!["192.168.49.11".parse().unwrap()];
    let mut desired = Desired::default();
    desired.replace(world, Settings::default());
    let _ = desired.work(&Contents::default());
    desired
}

fn web() -> ServiceId {
    ServiceId::new("shop", "web")
}

fn health_check(objects: &[Object]) -> Option<HealthCheck> {
    desired(objects).reports().get(&web())?.health_check.clone()
}

#[test]
fn distinct_ready_addresses_on_this_node_are_counted_for_each_family() {
    let endpoints = [
        ("10.0.0.1", "here", true),
        ("10.0.0.2", "here", true),
        ("10.0.0.3", "here", false),
        ("10.0.0.4", "there", true),
    ];
    let check = health_check(&[service(json!({})), slice(&endpoints)]).unwrap();
    assert_eq!(check.port, 31000);
    assert_eq!(check.ready_local, BTreeMap::from([(Family::V4, 2), (Family::V6, 0)]));
    let check = health_check(&[service(json!({"clusterIPs": ["172.30.0.1"]})), slice(&endpoints)]).unwrap();
    assert_eq!(check.ready_local, BTreeMap::from([(Family::V4, 2)]), "a family that the Service does not have");
}

#[test]
fn only_load_balancers_with_external_policy_local_have_a_health_check() {
    for other in [
        json!({"externalTrafficPolicy": "Cluster"}),
        json!({"type": "NodePort"}),
        json!({"healthCheckNodePort": null}),
        json!({"healthCheckNodePort": 0}),
    ] {
        assert_eq!(health_check(&[service(other.clone()), slice(&[("10.0.0.1", "here", true)])]), None, "{other}");
    }
}

#[test]
fn ports_with_endpoints_elsewhere_only_are_counted_by_policy() {
    let without = |spec: Value, endpoints: &[(&str, &str, bool)]| {
        let desired = desired(&[service(spec), slice(endpoints)]);
        desired.reports().get(&web()).map(|report| report.without_local.clone()).unwrap_or_default()
    };
    let two = || BTreeMap::from([(Family::V4, 2)]);
    let nothing = BTreeMap::new;
    let there: &[_] = &[("10.0.0.4", "there", true)];
    assert_eq!(without(json!({}), there), WithoutLocal { internal: nothing(), external: two() }, "two ports");
    let both = json!({"internalTrafficPolicy": "Local"});
    assert_eq!(without(both.clone(), there), WithoutLocal { internal: two(), external: two() });
    let here: &[_] = &[("10.0.0.1", "here", true)];
    assert_eq!(without(both.clone(), here), WithoutLocal::default(), "they have local ones");
    assert_eq!(without(both.clone(), &[("10.0.0.3", "here", false)]), WithoutLocal::default(), "it serves still");
    assert_eq!(without(both, &[]), WithoutLocal::default(), "there are none at all");
}

#[test]
fn reports_follow_changes() {
    let mut desired = desired(&[service(json!({})), slice(&[("10.0.0.1", "here", true)])]);
    assert!(desired.reports().contains_key(&web()));
    desired.remove_service(&web());
    let _ = desired.work(&Contents::default());
    assert!(desired.reports().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_history_ends_in_the_reports_of_a_fresh_start(steps in common::steps(12)) {
        let mut desired = Desired::default();
        desired.replace(World::default(), common::settings());
        for step in steps {
            take(&mut desired, step);
            let _ = desired.work(&Contents::default());
        }
        let mut fresh = Desired::default();
        fresh.replace(desired.world().clone(), desired.settings().clone());
        let _ = fresh.work(&Contents::default());
        prop_assert_eq!(desired.reports(), fresh.reports());
    }
}

fn take(desired: &mut Desired, step: Step) {
    match step {
        Step::PutService(mut service) => {
            service.health_check_node_port = Some(31000);
            desired.put_service(service);
        }
        Step::RemoveService(id) => desired.remove_service(&id),
        Step::PutSlice(slice) => {
            desired.put_slice(slice);
        }
        Step::MoveNode(node) => {
            let mut world = desired.world().clone();
            world.node = node;
            desired.replace(world, common::settings());
        }
    }
}

#[test]
fn every_frontend_leads_to_its_port() {
    let desired = desired(&[service(json!({})), slice(&[])]);
    let port = |address: &str, port| {
        let frontend = Frontend { address: address.parse().unwrap(), protocol: Protocol::Tcp, port };
        desired.port_of(&frontend).map(|port| port.to_string())
    };
    for (address, number, name) in [
        ("172.30.0.1", 80, Some("shop/web:http")),
        ("fd00:30::1", 81, Some("shop/web:alt")),
        ("192.0.2.7", 80, Some("shop/web:http")),
        ("192.168.49.11", 30081, Some("shop/web:alt")),
        ("192.168.49.11", 80, None),
        ("172.30.0.1", 30080, None),
    ] {
        assert_eq!(port(address, number).as_deref(), name, "{address} {number}");
    }
}

#[test]
fn health_checks_listen_where_node_ports_answer() {
    let node = |addresses: &[&str]| Node {
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        interface_addresses: ["192.168.49.11", "10.9.0.1", "fd00:49::11"].map(|a| a.parse().unwrap()).to_vec(),
        ..Node::default()
    };
    let ranges = |ranges: &[&str]| NodePortAddresses::Ranges(ranges.iter().map(|r| r.parse().unwrap()).collect());
    let known: &[&str] = &["192.168.49.11", "10.9.0.1", "fd00:49::11"];
    let cases = [
        (known, NodePortAddresses::Primary, vec!["192.168.49.11", "fd00:49::11"]),
        (&known[..1], NodePortAddresses::Primary, vec!["192.168.49.11"]),
        (&[], NodePortAddresses::Primary, vec!["0.0.0.0", "::"]),
        (known, ranges(&["10.0.0.0/8"]), vec!["10.9.0.1", "::"]),
        (known, ranges(&["10.0.0.0/8", "0.0.0.0/0", "fd00:99::/64"]), vec!["0.0.0.0"]),
    ];
    for (addresses, chosen, expected) in cases {
        let settings = Settings { node_port_addresses: chosen.clone(), ..Settings::default() };
        let expected: BTreeSet<_> = expected.iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(health_check_addresses(&node(addresses), &settings), expected, "{addresses:?} {chosen:?}");
    }
}
