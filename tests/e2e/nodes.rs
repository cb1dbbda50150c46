//! A node that is lost takes its endpoints with it.

use portolan::{
    lab::{Probe, Traffic, TrafficPlan},
    model::{Family, Protocol},
};
use serde_json::json;

use crate::support::{BRIEF, Cluster, cluster_ip, cluster_ips_serve, comes_to, frontend};

#[test]
#[ignore = "needs a real API server: make e2e"]
fn endpoints_of_a_lost_node_are_left_out() {
    let pods = [("here-1", 1), ("here-2", 1), ("there-1", 2), ("there-2", 2), ("guest", 1)];
    let Some(mut cluster) = Cluster::start("endpoints_of_a_lost_node_are_left_out", &pods) else { return };
    let _portolan = cluster.portolan(1);
    let all = ["here-1", "here-2", "there-1", "there-2"];
    let web = cluster.expose("web", json!({}), &all);
    let guest = cluster.pod("guest");
    let at = |family| frontend(cluster_ip(&web, family), Protocol::Tcp, 80);
    cluster_ips_serve(&guest, &web, &all);

    // The node goes: its kubelet is silent, its pods are gone, the node controller says that they are not ready.
    let ready = [("here-1", true), ("here-2", true), ("there-1", false), ("there-2", false)];
    for pod in ["there-1", "there-2"] {
        cluster.lab.remove_pod("shop", pod).unwrap();
    }
    cluster.set_endpoints("web", &ready);
    cluster_ips_serve(&guest, &web, &["here-1", "here-2"]);
    let traffic = Traffic::start(&guest, TrafficPlan::new(Probe::new(at(Family::V4)))).unwrap();

    // Then its Node object is deleted, and its endpoints with it.
    cluster.client.delete(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}}));
    cluster.set_endpoints("web", &ready[..2]);
    cluster.rules_become_right(1);
    cluster_ips_serve(&guest, &web, &["here-1", "here-2"]);
    let report = traffic.stop().unwrap();
    assert!(report.sessions_unharmed(), "{report:?}");
    assert_eq!(report.connections.answered(), report.connections.total(), "{:?}", report.connections.outcomes);

    // Nobody is left.
    cluster.set_endpoints("web", &[("here-1", false), ("here-2", false)]);
    for family in Family::ALL {
        comes_to(&guest, at(family), &["refused"]);
        assert!(Probe::new(at(family)).patience(BRIEF).run(&guest).unwrap().pod().is_none());
    }
    cluster.set_endpoints("web", &[("here-2", true)]);
    cluster_ips_serve(&guest, &web, &["here-2"]);
}
