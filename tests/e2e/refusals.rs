//! What is wrong is said, by name, and mended where it is mended, without a restart.

use std::time::Duration;

use portolan::model::{Family, Protocol};
use serde_json::{Value, json};

use crate::{
    cluster::{chart_rules, command_in, wait_for},
    support::{Cluster, PATIENCE, Portolan, cluster_ip, frontend, is_served},
};

/// Waits until one line of the log holds all these words.
#[track_caller]
fn says(portolan: &Portolan, words: &[&str]) {
    wait_for(&format!("portolan says {words:?}"), PATIENCE, || {
        portolan.process.log().lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

#[track_caller]
fn wrote_nothing(cluster: &Cluster, portolan: &Portolan) {
    let node = cluster.lab.node("node-1").unwrap();
    let output = command_in(&node, "nft").args(["list", "tables"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{}", portolan.process.last_words());
    assert!(!portolan.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")), "it is not ready");
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn what_is_wrong_is_named_and_nothing_is_written() {
    let Some(cluster) = Cluster::start("what_is_wrong_is_named_and_nothing_is_written", &[("web-1", 1), ("guest", 1)])
    else {
        return;
    };
    let web = cluster.expose("web", json!({}), &["web-1"]);
    let (good, url) = (cluster.api.portolan_kubeconfig(), cluster.api.url());

    let stranger = cluster.api.kubeconfig("stranger", "no-such-token");
    let portolan = cluster.launch(1, "node-1", &stranger, &url);
    says(&portolan, &[&url, "401"]);
    wrote_nothing(&cluster, &portolan);
    portolan.process.kill();

    let closed = url.replace("6443", "6444");
    let portolan = cluster.launch(1, "node-1", &good, &closed);
    says(&portolan, &[&closed]);
    wrote_nothing(&cluster, &portolan);
    portolan.process.kill();

    // Every right but one; the one is then given.
    let without_slices: Vec<Value> =
        chart_rules().into_iter().filter(|rule| rule["resources"][0] != "endpointslices").collect();
    cluster.api.allow_portolan_only(&without_slices);
    let mut portolan = cluster.launch(1, "node-1", &good, &url);
    says(&portolan, &["endpointslices", "\"list\"", "discovery.k8s.io", "kube-system/portolan"]);
    wrote_nothing(&cluster, &portolan);
    // Twice the sync period later it is still no reason for a restart.
    std::thread::sleep(Duration::from_secs(3));
    assert!(portolan.get("/livez").unwrap().starts_with("HTTP/1.1 200"), "{}", portolan.process.last_words());
    cluster.api.allow_portolan();
    portolan.wait_until_ready();
    is_served(&cluster.pod("guest"), frontend(cluster_ip(&web, Family::V4), Protocol::Tcp, 80), &["web-1"]);
    portolan.process.kill();

    let portolan = cluster.launch(1, "nobody", &good, &url);
    says(&portolan, &["nobody"]);
}
