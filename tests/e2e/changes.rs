//! Changes of every kind of object: many at once, labels, zones, ranges of cluster IPs.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use portolan::{
    lab::{Probe, Traffic, TrafficPlan},
    model::{Family, Protocol},
};
use serde_json::{Value, json};

use crate::support::{Cluster, cluster_ip, comes_to, frontend, is_served, make_node, passes_through, service, slice};

const SERVICES: usize = 50;
/// Slices written in a second. Each brings four or five new endpoints, and the old ones go.
const RATE: u32 = 250;

/// How long endpoints change; 60 s unless `E2E_CHURN_SECONDS` says otherwise.
fn duration() -> u32 {
    env::var("E2E_CHURN_SECONDS").unwrap_or_else(|_| "60".to_owned()).parse().unwrap()
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn five_hundred_changes_a_second_and_more_end_in_the_right_rules() {
    let pods = [("web-1", 1), ("web-2", 2), ("guest", 1)];
    let Some(cluster) = Cluster::start("five_hundred_changes_a_second_and_more_end_in_the_right_rules", &pods) else {
        return;
    };
    let mut portolan = cluster.portolan(1);
    let stable = cluster.expose("stable", json!({}), &["web-1", "web-2"]);
    for number in 0..SERVICES {
        cluster.expose(&format!("busy-{number}"), json!({}), &[]);
    }
    let at = frontend(cluster_ip(&stable, Family::V4), Protocol::Tcp, 80);
    is_served(&cluster.pod("guest"), at, &["web-1", "web-2"]);
    let plan = TrafficPlan { limit: Duration::from_secs(600), ..TrafficPlan::new(Probe::new(at)) };
    let traffic = Traffic::start(&cluster.pod("guest"), plan).unwrap();

    let changes: Vec<Value> = (0..RATE * duration()).map(|number| change(number as usize)).collect();
    let endpoints: usize = changes.iter().map(|slice| slice["endpoints"].as_array().unwrap().len()).sum();
    let started = Instant::now();
    cluster.client.replace_steadily(&changes, RATE);
    let seconds = started.elapsed().as_secs_f64();
    println!("{} slices with {endpoints} new endpoints in {seconds:.1} s", changes.len());
    cluster.rules_become_right(1);
    assert!(portolan.process.is_alive(), "{}", portolan.process.last_words());
    let report = traffic.stop().unwrap();
    assert!(report.sessions_unharmed(), "{report:?}");
    assert_eq!(report.connections.answered(), report.connections.total(), "{:?}", report.connections.outcomes);
}

/// A slice of one of the busy Services with other endpoints than before: none up to nine, here and there, ready or not.
fn change(number: usize) -> Value {
    let family = Family::ALL[number / SERVICES % 2];
    let address = |index: usize| match family {
        Family::V4 => format!("10.244.{}.{}", 100 + number / SERVICES % 100, 1 + index),
        Family::V6 => format!("fd00:10:244:{:x}::{:x}", 0x1000 + number / SERVICES, 1 + index),
    };
    let endpoints: Vec<Value> = (0..number * 7 % 10)
        .map(|index| {
            let ready = !(number + index).is_multiple_of(5);
            json!({
                "addresses": [address(index)], "nodeName": format!("node-{}", 1 + index % 2),
                "conditions": {"ready": ready, "serving": ready, "terminating": false},
            })
        })
        .collect();
    slice(&format!("busy-{}", number % SERVICES), family, &endpoints)
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn labels_and_zones_act_at_once() {
    let pods = [("web-1", 1), ("web-2", 2), ("guest", 1)];
    let Some(cluster) = Cluster::start("labels_and_zones_act_at_once", &pods) else { return };
    let _portolan = cluster.portolan(1);
    let web = cluster.expose("web", json!({}), &["web-1", "web-2"]);
    let (guest, at) = (cluster.pod("guest"), frontend(cluster_ip(&web, Family::V4), Protocol::Tcp, 80));
    is_served(&guest, at, &["web-1", "web-2"]);

    // Another proxy's Service, and ours again.
    let labelled = |value: Value| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "shop", "name": "web", "labels": {"service.kubernetes.io/service-proxy-name": value}},
        })
    };
    cluster.client.patch(&labelled("other".into()));
    // Its address is none of ours, but one of the range.
    comes_to(&guest, at, &["silence"]);
    cluster.client.patch(&labelled(Value::Null));
    is_served(&guest, at, &["web-1", "web-2"]);

    // Hints decide by the zone of the own node, whatever it is now.
    let mut endpoints = cluster.endpoints(Family::V4, &[("web-1", true), ("web-2", true)]);
    for (endpoint, zone) in endpoints.iter_mut().zip(["a", "b"]) {
        endpoint["zone"] = zone.into();
        endpoint["hints"] = json!({"forZones": [{"name": zone}]});
    }
    cluster.client.apply(&slice("web", Family::V4, &endpoints));
    is_served(&guest, at, &["web-1"]);
    make_node(&cluster.client, 1, "b");
    is_served(&guest, at, &["web-2"]);
    make_node(&cluster.client, 1, "c");
    is_served(&guest, at, &["web-1", "web-2"]);
    make_node(&cluster.client, 1, "a");
    is_served(&guest, at, &["web-1"]);
    cluster.rules_become_right(1);
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn a_new_range_of_cluster_ips_counts_at_once() {
    let pods = [("web-1", 1), ("guest", 1)];
    let Some(cluster) = Cluster::start("a_new_range_of_cluster_ips_counts_at_once", &pods) else { return };
    let _portolan = cluster.portolan(1);
    let guest = cluster.pod("guest");
    let at = |address: &str| frontend(address.parse().unwrap(), Protocol::Tcp, 80);
    // Addresses that no Service has: dropped inside the ranges, the router's business outside.
    comes_to(&guest, at("172.30.99.99"), &["silence"]);
    passes_through(&guest, at("172.31.0.99"));
    let range = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
        "spec": {"cidrs": ["172.31.0.0/24", "fd00:31::/112"]},
    });
    cluster.client.apply(&range);
    comes_to(&guest, at("172.31.0.99"), &["silence"]);
    comes_to(&guest, at("fd00:31::99"), &["silence"]);
    // The API server takes a moment to give out addresses of it.
    let wanted = service("web", json!({"clusterIP": "172.31.0.7", "ipFamilyPolicy": "SingleStack"}));
    crate::cluster::wait_for("a cluster IP of the new range", crate::support::PATIENCE, || {
        thread::sleep(Duration::from_millis(200));
        cluster.client.create(&wanted).ok()
    });
    cluster.set_endpoints("web", &[("web-1", true)]);
    is_served(&guest, at("172.31.0.7"), &["web-1"]);
    comes_to(&guest, at("172.31.0.99"), &["silence"]);
    cluster.rules_become_right(1);
}
