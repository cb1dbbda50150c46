//! Portolan dies, or somebody deletes its table, while connections are made.

use std::time::{Duration, Instant};

use portolan::{
    lab::{Probe, Traffic, TrafficPlan, in_namespace},
    model::{Family, Protocol},
};
use serde_json::json;

use crate::{
    cluster::wait_for,
    support::{BRIEF, Cluster, PATIENCE, cluster_ip, cluster_ips_serve, comes_to, frontend, is_served},
};

const PODS: [(&str, u8); 4] = [("web-1", 1), ("web-2", 2), ("web-3", 2), ("guest", 1)];

#[test]
#[ignore = "needs a real API server: make e2e"]
fn a_killed_process_leaves_its_rules_and_its_successor_takes_them_over() {
    let test = "a_killed_process_leaves_its_rules_and_its_successor_takes_them_over";
    let Some(cluster) = Cluster::start(test, &PODS) else { return };
    let mut portolan = cluster.portolan(1);
    let web = cluster.expose("web", json!({"type": "NodePort"}), &["web-1", "web-2"]);
    let guest = cluster.pod("guest");
    let at = |protocol, port| frontend(cluster_ip(&web, Family::V4), protocol, port);
    is_served(&guest, at(Protocol::Tcp, 80), &["web-1", "web-2"]);
    is_served(&guest, at(Protocol::Udp, 53), &["web-1", "web-2"]);
    let traffic = [(Protocol::Tcp, 80), (Protocol::Udp, 53)].map(|(protocol, port)| {
        let plan = TrafficPlan { limit: Duration::from_secs(300), ..TrafficPlan::new(Probe::new(at(protocol, port))) };
        Traffic::start(&guest, plan).unwrap()
    });
    let other = cluster.expose("other", json!({}), &["web-1"]);
    let other_at = frontend(cluster_ip(&other, Family::V4), Protocol::Tcp, 80);
    is_served(&guest, other_at, &["web-1"]);
    for pods in [["web-2"], ["web-3"], ["web-1"]] {
        portolan.process.kill();
        // What changes meanwhile is there when it returns; what did not is not touched.
        cluster.set_endpoints("other", &pods.map(|pod| (pod, true)));
        portolan = cluster.portolan(1);
        is_served(&guest, other_at, &pods);
    }
    portolan.process.kill();
    cluster.client.delete(&other);
    portolan = cluster.portolan(1);
    comes_to(&guest, other_at, &["silence"]);
    cluster.rules_become_right(1);
    assert!(portolan.process.is_alive());
    for traffic in traffic {
        let report = traffic.stop().unwrap();
        assert!(report.sessions_unharmed(), "{report:?}");
        assert!(report.connections.total() > 100, "{report:?}");
        assert_eq!(report.connections.answered(), report.connections.total(), "{:?}", report.connections.outcomes);
    }
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn a_deleted_table_is_there_again() {
    let Some(cluster) = Cluster::start("a_deleted_table_is_there_again", &PODS) else { return };
    let mut portolan = cluster.portolan(1);
    let web = cluster.expose("web", json!({}), &["web-1", "web-2"]);
    let (guest, node) = (cluster.pod("guest"), cluster.lab.node("node-1").unwrap());
    let at = |family| frontend(cluster_ip(&web, family), Protocol::Tcp, 80);
    cluster_ips_serve(&guest, &web, &["web-1", "web-2"]);
    let plan =
        TrafficPlan { sessions: 0, limit: Duration::from_secs(300), ..TrafficPlan::new(Probe::new(at(Family::V6))) };
    let traffic = Traffic::start(&guest, plan).unwrap();
    // The other family's traffic must not notice.
    for text in ["delete table ip portolan", "flush table ip portolan", "flush map ip portolan endpoints"] {
        in_namespace(&node, || portolan::kernel::nft::run(text, false, "break the tables")).unwrap().unwrap();
        let broken = Instant::now();
        wait_for(&format!("connections after `nft {text}`"), PATIENCE, || {
            let outcome = Probe::new(at(Family::V4)).patience(BRIEF).run(&guest).unwrap();
            outcome.pod().is_some().then_some(())
        });
        println!("`nft {text}`: connections again after {} ms", broken.elapsed().as_millis());
        is_served(&guest, at(Family::V4), &["web-1", "web-2"]);
        cluster.rules_become_right(1);
    }
    assert!(portolan.process.is_alive(), "{}", portolan.process.last_words());
    let report = traffic.stop().unwrap();
    assert_eq!(report.connections.answered(), report.connections.total(), "{:?}", report.connections.outcomes);
}
