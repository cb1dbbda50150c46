//! The API server goes away and comes back: nothing is lost, nothing is invented.

use std::{env, thread, time::Duration};

use portolan::{
    lab::{Probe, Traffic, TrafficPlan, in_namespace},
    model::{Family, Protocol},
};
use serde_json::{Value, json};

use crate::support::{Cluster, cluster_ip, cluster_ips_serve, comes_to, frontend, is_served};

const PODS: [(&str, u8); 4] = [("web-1", 1), ("web-2", 2), ("web-3", 2), ("guest", 1)];

/// How long the API server is away; 60 s unless `E2E_AWAY_SECONDS` says otherwise.
fn away() -> Duration {
    let text = env::var("E2E_AWAY_SECONDS").unwrap_or_else(|_| "60".to_owned());
    Duration::from_secs(text.parse().unwrap())
}

/// Traffic from the guest to the Service for a long time.
fn traffic(cluster: &Cluster, service: &Value) -> Traffic {
    let probe = Probe::new(frontend(cluster_ip(service, Family::V4), Protocol::Tcp, 80));
    let plan = TrafficPlan {
        limit: away() + Duration::from_secs(300),
        pause: Duration::from_millis(10),
        ..TrafficPlan::new(probe)
    };
    Traffic::start(&cluster.pod("guest"), plan).unwrap()
}

fn assert_unharmed(traffic: Traffic) {
    let report = traffic.stop().unwrap();
    assert!(report.sessions_unharmed(), "{report:?}");
    assert!(report.connections.total() > 100);
    assert_eq!(report.connections.answered(), report.connections.total(), "{:?}", report.connections.outcomes);
}

fn ruleset(cluster: &Cluster) -> String {
    let node = cluster.lab.node("node-1").unwrap();
    let output = crate::cluster::command_in(&node, "nft").args(["--stateless", "list", "ruleset"]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn the_api_server_crashes_and_returns() {
    let Some(mut cluster) = Cluster::start("the_api_server_crashes_and_returns", &PODS) else { return };
    let mut portolan = cluster.portolan(1);
    let stable = cluster.expose("stable", json!({}), &["web-1"]);
    let web = cluster.expose("web", json!({}), &["web-1", "web-2"]);
    let guest = cluster.pod("guest");
    cluster_ips_serve(&guest, &web, &["web-1", "web-2"]);
    is_served(&guest, frontend(cluster_ip(&stable, Family::V4), Protocol::Tcp, 80), &["web-1"]);
    cluster.rules_become_right(1);
    let (before, traffic) = (ruleset(&cluster), traffic(&cluster, &stable));

    cluster.api.crash();
    // A pod dies meanwhile, and nobody can say so.
    cluster.lab.remove_pod("shop", "web-2").unwrap();
    thread::sleep(away());
    assert_eq!(ruleset(&cluster), before, "nothing is known, so nothing changes");
    assert!(portolan.process.is_alive(), "{}", portolan.process.last_words());

    cluster.api.resume();
    cluster.set_endpoints("web", &[("web-1", true), ("web-3", true)]);
    cluster_ips_serve(&guest, &web, &["web-1", "web-3"]);
    cluster.rules_become_right(1);
    // An orderly restart, without a change.
    let before = ruleset(&cluster);
    cluster.api.stop();
    cluster.api.resume();
    cluster.expose("fresh", json!({}), &["web-3"]);
    cluster.rules_become_right(1);
    cluster.client.delete(&crate::support::service("fresh", json!({})));
    cluster.set_endpoints("fresh", &[]);
    cluster.rules_become_right(1);
    assert_eq!(ruleset(&cluster).lines().count(), before.lines().count());
    assert_unharmed(traffic);
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn what_happens_behind_a_dead_network_is_caught_up_with() {
    let Some(cluster) = Cluster::start("what_happens_behind_a_dead_network_is_caught_up_with", &PODS) else { return };
    let mut portolan = cluster.portolan(1);
    let stable = cluster.expose("stable", json!({}), &["web-1"]);
    let web = cluster.expose("web", json!({}), &["web-1", "web-2"]);
    let deleted = cluster.expose("deleted", json!({}), &["web-1"]);
    let guest = cluster.pod("guest");
    let at = |service: &Value| frontend(cluster_ip(service, Family::V4), Protocol::Tcp, 80);
    is_served(&guest, at(&web), &["web-1", "web-2"]);
    is_served(&guest, at(&deleted), &["web-1"]);
    let traffic = traffic(&cluster, &stable);

    // Nobody closes the connections of the watches: they are silent, that is all.
    for (hook, interface) in [("input", "iifname"), ("output", "oifname")] {
        let chain = format!("add chain inet cut {hook} {{ type filter hook {hook} priority 0; }}");
        nft(&cluster, &format!("add table inet cut; {chain}; add rule inet cut {hook} {interface} eth0 drop"));
    }
    cluster.set_endpoints("web", &[("web-1", false), ("web-3", true)]);
    cluster.client.delete(&deleted);
    let made = cluster.expose("made", json!({}), &["web-2"]);
    thread::sleep(away());
    is_served(&guest, at(&web), &["web-1", "web-2"]);
    is_served(&guest, at(&deleted), &["web-1"]);
    assert!(portolan.process.is_alive(), "{}", portolan.process.last_words());

    nft(&cluster, "delete table inet cut");
    is_served(&guest, at(&web), &["web-3"]);
    is_served(&guest, at(&made), &["web-2"]);
    comes_to(&guest, at(&deleted), &["silence"]);
    cluster.rules_become_right(1);
    assert_unharmed(traffic);
}

/// Has nft do something where the API server lives.
fn nft(cluster: &Cluster, text: &str) {
    let control = cluster.lab.spec().outside();
    in_namespace(&control, || portolan::kernel::nft::run(text, false, "cut the network")).unwrap().unwrap();
}
