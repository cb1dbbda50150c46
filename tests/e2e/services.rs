//! Every type of Service, made through the API, as packets see it.

use std::net::IpAddr;

use portolan::{
    lab::{CLIENTS, Probe},
    model::{Family, Protocol},
};
use serde_json::json;

use crate::support::{
    Cluster, cluster_ip, comes_to, frontend, is_served, node_address, node_port, passes_through, service,
};

const PODS: [(&str, u8); 4] = [("web-1", 1), ("web-2", 1), ("web-3", 2), ("guest", 1)];
const WEB: [&str; 3] = ["web-1", "web-2", "web-3"];
const PROTOCOLS: [(Protocol, &str, u16); 2] = [(Protocol::Tcp, "TCP", 80), (Protocol::Udp, "UDP", 53)];

#[test]
#[ignore = "needs a real API server: make e2e"]
fn cluster_ips_and_node_ports() {
    let Some(cluster) = Cluster::start("cluster_ips_and_node_ports", &PODS) else { return };
    let _portolan = cluster.portolan(1);
    let web = cluster.expose("web", json!({"type": "NodePort"}), &WEB);
    let local = cluster.expose(
        "local",
        json!({"type": "NodePort", "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"}),
        &WEB,
    );
    let (guest, host, outside) = (cluster.pod("guest"), cluster.lab.node("node-1").unwrap(), cluster.lab.client());
    for family in Family::ALL {
        for (protocol, name, port) in PROTOCOLS {
            let at = |address, port| frontend(address, protocol, port);
            is_served(&guest, at(cluster_ip(&web, family), port), &WEB);
            is_served(&host, at(cluster_ip(&web, family), port), &WEB);
            is_served(&outside, at(node_address(1, family), node_port(&web, name)), &WEB);
            // This node's own endpoints alone, and nobody hides the client from them.
            is_served(&guest, at(cluster_ip(&local, family), port), &["web-1", "web-2"]);
            let tally = is_served(&outside, at(node_address(1, family), node_port(&local, name)), &["web-1", "web-2"]);
            assert!(tally.sources.iter().all(|source| CLIENTS.contains(source)), "{tally:?}");
        }
        // A port that the Service does not have.
        comes_to(&guest, frontend(cluster_ip(&web, family), Protocol::Tcp, 81), &["refused"]);
    }
    cluster.client.delete(&web);
    for family in Family::ALL {
        // An address that no Service has is dropped; a port that nobody listens on is the host's own business.
        comes_to(&guest, frontend(cluster_ip(&web, family), Protocol::Tcp, 80), &["silence"]);
        comes_to(&outside, frontend(node_address(1, family), Protocol::Tcp, node_port(&web, "TCP")), &["reset"]);
        is_served(&guest, frontend(cluster_ip(&local, family), Protocol::Tcp, 80), &["web-1", "web-2"]);
    }
    cluster.rules_become_right(1);
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn load_balancers_and_external_addresses() {
    let Some(cluster) = Cluster::start("load_balancers_and_external_addresses", &PODS) else { return };
    let _portolan = cluster.portolan(1);
    let external: [IpAddr; 2] = ["192.0.2.20".parse().unwrap(), "2001:db8::20".parse().unwrap()];
    let ingress: [IpAddr; 2] = ["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()];
    cluster.lab.route(&[external, ingress].concat(), "node-1").unwrap();
    let outside = cluster.lab.client();

    // A load balancer hands out one protocol's ports at a time without further ado.
    let tcp = json!([{"name": "tcp", "protocol": "TCP", "port": 80, "targetPort": 8080}]);
    let spec = json!({"type": "LoadBalancer", "externalIPs": external, "ports": tcp});
    let web = cluster.expose("web", spec, &WEB);
    for address in external {
        is_served(&outside, frontend(address, Protocol::Tcp, 80), &WEB);
    }
    for address in ingress {
        // No load balancer has said anything yet, so the packets go on to the router, which knows nobody there.
        passes_through(&outside, frontend(address, Protocol::Tcp, 80));
    }
    let mut status = web.clone();
    status["status"] = json!({"loadBalancer": {"ingress": ingress.map(|ip| json!({"ip": ip, "ipMode": "VIP"}))}});
    cluster.client.patch_status(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"}, "status": status["status"],
    }));
    for address in ingress {
        is_served(&outside, frontend(address, Protocol::Tcp, 80), &WEB);
    }
    // Only one of the client's addresses may come.
    let allowed = [CLIENTS[1], CLIENTS[3]].map(|ip| format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 }));
    cluster.client.patch(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"loadBalancerSourceRanges": allowed},
    }));
    for (address, source) in ingress.into_iter().zip([CLIENTS[1], CLIENTS[3]]) {
        let at = frontend(address, Protocol::Tcp, 80);
        comes_to(&outside, at, &["silence"]);
        assert!(Probe::new(at).from(source).run(&outside).unwrap().pod().is_some(), "{source} may come");
    }
    cluster.rules_become_right(1);
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn affinity_and_services_without_endpoints_or_addresses() {
    let Some(cluster) = Cluster::start("affinity_and_services_without_endpoints_or_addresses", &PODS) else { return };
    let _portolan = cluster.portolan(1);
    let guest = cluster.pod("guest");
    let affine = cluster.expose("affine", json!({"sessionAffinity": "ClientIP"}), &WEB);
    let empty = cluster.expose("empty", json!({}), &[]);
    let headless = cluster.expose("headless", json!({"clusterIP": "None"}), &WEB);
    assert_eq!(headless["spec"]["clusterIP"], "None");
    cluster.client.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "elsewhere"},
        "spec": {"type": "ExternalName", "externalName": "example.com"},
    }));
    for family in Family::ALL {
        comes_to(&guest, frontend(cluster_ip(&empty, family), Protocol::Tcp, 80), &["refused"]);
        let at = frontend(cluster_ip(&affine, family), Protocol::Tcp, 80);
        comes_to(&guest, at, &WEB);
        let first = Probe::new(at).run(&guest).unwrap();
        let first = first.pod().unwrap();
        is_served(&guest, at, &[first]);
    }
    // The first endpoint comes, and goes.
    cluster.set_endpoints("empty", &[("web-3", true)]);
    for family in Family::ALL {
        is_served(&guest, frontend(cluster_ip(&empty, family), Protocol::Tcp, 80), &["web-3"]);
    }
    cluster.set_endpoints("empty", &[]);
    for family in Family::ALL {
        comes_to(&guest, frontend(cluster_ip(&empty, family), Protocol::Udp, 53), &["refused"]);
    }
    // A Service of another type under the same name.
    cluster.client.delete(&service("elsewhere", json!({})));
    let now = cluster.expose("elsewhere", json!({}), &["web-2"]);
    is_served(&guest, frontend(cluster_ip(&now, Family::V4), Protocol::Tcp, 80), &["web-2"]);
    cluster.rules_become_right(1);
}
