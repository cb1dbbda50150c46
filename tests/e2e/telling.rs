//! What Portolan tells others: load balancers, the owners of Services, and whoever scrapes metrics.

use portolan::{
    lab::{Namespace, in_namespace},
    model::{Family, Protocol},
};
use serde_json::{Value, json};

use crate::{
    cluster::wait_for,
    support::{Cluster, PATIENCE, SHOP, cluster_ip, frontend, get, is_served, node_address},
};

const PODS: [(&str, u8); 3] = [("web-1", 1), ("web-2", 2), ("guest", 1)];

/// Waits until the answer begins with this code and holds all these texts.
#[track_caller]
fn answers(from: &Namespace, address: (std::net::IpAddr, u16), path: &str, code: u16, texts: &[&str]) -> String {
    wait_for(&format!("{address:?}{path} answers {code} with {texts:?}"), PATIENCE, || {
        let answer = in_namespace(from, || get(address.into(), path)).unwrap()?;
        let right = answer.starts_with(&format!("HTTP/1.1 {code} ")) && texts.iter().all(|text| answer.contains(text));
        right.then_some(answer)
    })
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn load_balancers_owners_and_scrapers_are_told() {
    let Some(cluster) = Cluster::start("load_balancers_owners_and_scrapers_are_told", &PODS) else { return };
    let _portolan = cluster.portolan(1);
    let (guest, node, outside) = (cluster.pod("guest"), cluster.lab.node("node-1").unwrap(), cluster.lab.client());

    // A load balancer asks whether this node has endpoints of its own.
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31999});
    let balanced = cluster.expose("balanced", spec, &["web-1", "web-2"]);
    let check = (node_address(1, Family::V4), 31999);
    let one = ["x-load-balancing-endpoint-weight: 1", "\"localEndpoints\":1", "\"serviceProxyHealthy\":true"];
    answers(&outside, check, "/", 200, &one);
    answers(&outside, (node_address(1, Family::V6), 31999), "/", 200, &one);
    cluster.set_endpoints("balanced", &[("web-1", false), ("web-2", true)]);
    answers(&outside, check, "/", 503, &["\"localEndpoints\":0"]);

    // The owner of a Service reads in its Events that it does not get an address.
    let contested = json!({"externalIPs": ["192.0.2.77"]});
    cluster.expose("first", contested.clone(), &["web-1"]);
    cluster.rules_become_right(1);
    cluster.expose("second", contested, &["web-2"]);
    wait_for("an Event on the Service that came second", PATIENCE, || {
        let events = cluster.client.list("events.k8s.io/v1", "Event").unwrap();
        let of_second =
            |event: &&Value| event["regarding"]["name"] == "second" && event["regarding"]["namespace"] == SHOP;
        let event = events.iter().find(of_second)?;
        assert_eq!((&event["reason"], &event["type"]), (&json!("FrontendConflict"), &json!("Warning")), "{event}");
        assert!(event["note"].as_str().unwrap().contains("192.0.2.77") && event["regarding"]["uid"].is_string());
        Some(())
    });

    // Connections are counted by Service, from the first pass on.
    let counted = cluster.expose("counted", json!({}), &["web-1"]);
    is_served(&guest, frontend(cluster_ip(&counted, Family::V4), Protocol::Tcp, 80), &["web-1"]);
    let series = "portolan_service_new_connections_total{service_namespace=\"shop\",service_name=\"counted\",\
                  port_name=\"tcp\",protocol=\"TCP\"} ";
    let metrics = ([127, 0, 0, 1].into(), 10249);
    let page = wait_for("the connections are counted", PATIENCE, || {
        let page = in_namespace(&node, || get(metrics.into(), "/metrics")).unwrap()?;
        let count: u64 = page.lines().find_map(|line| line.strip_prefix(series))?.parse().unwrap();
        (count >= 8).then_some(page)
    });
    let value = |name: &str| {
        let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("portolan_kernel_verified_timestamp_seconds") > 1.7e9);
    assert_eq!(value("portolan_refused_services"), 0.0);
    assert!(value("kubeproxy_sync_proxy_rules_last_timestamp_seconds") > 1.7e9);
    answers(&node, metrics, "/proxyMode", 200, &["nftables", "x-portolan"]);
    cluster.client.delete(&balanced);
    wait_for("the health check is closed", PATIENCE, || {
        in_namespace(&outside, || get(check.into(), "/")).unwrap().is_none().then_some(())
    });
}
