//! Frontends that several Services ask for, and addresses that the node itself has: one Service serves, always the same.

use portolan::{
    lab::{Outcome, Traffic, TrafficPlan},
    model::{Family, Frontend, Protocol, Service, ServiceId, World},
};

use crate::{
    services::{Kind, READY, State, addresses, families_and_protocols, service, settings, world},
    support::{Net, can_run, node_address, spec},
};

/// Service 1 under another name, with another cluster IP, created at this time.
fn rival(name: &str, number: u8, created: &str) -> Service {
    Service {
        id: ServiceId::new("shop", name),
        created: Some(created.parse().unwrap()),
        cluster_ips: service(number).cluster_ips,
        ..service(1)
    }
}

fn net() -> Net {
    let net = Net::up(spec(2, &[("older", 1), ("younger", 2), ("guest", 1)]));
    net.lab.route(&addresses(1..=3), "node-1").unwrap();
    net
}

fn rivals(net: &Net, names: &[&'static str]) -> World {
    let all = [rival("older", 2, "2024-01-01T00:00:00Z"), rival("younger", 3, "2025-01-01T00:00:00Z")];
    let all = all.into_iter().zip(["older", "younger"]).filter(|(_, name)| names.contains(name));
    let services: Vec<(Service, Vec<(&str, State)>)> = all.map(|(s, name)| (s, vec![(name, READY)])).collect();
    world(net.lab.spec(), &services)
}

#[test]
fn the_older_service_serves_and_its_heir_takes_over_without_a_gap() {
    if !can_run("the_older_service_serves_and_its_heir_takes_over_without_a_gap") {
        return;
    }
    let mut net = net();
    net.program(&rivals(&net, &["younger"]), &settings());
    let client = net.client();
    let contested = [Kind::ExternalIp, Kind::LoadBalancer, Kind::NodePort];
    let traffic = contested.map(|kind| {
        let probe = client.probe(kind.frontend(1, Family::V4, Protocol::Tcp));
        Traffic::start(&client.namespace, TrafficPlan { workers: 1, sessions: 1, ..TrafficPlan::new(probe) }).unwrap()
    });
    for (names, server) in
        [(&["older", "younger"][..], "older"), (&["younger"], "younger"), (&["older"], "older")].repeat(4)
    {
        net.program(&rivals(&net, names), &settings());
        for (family, kind) in Family::ALL.into_iter().flat_map(|family| contested.map(|kind| (family, kind))) {
            client.is_served(kind.frontend(1, family, Protocol::Tcp), &[server], node_address(1, family));
        }
    }
    for traffic in traffic {
        let report = traffic.stop().unwrap();
        assert_eq!(report.connections.answered(), report.connections.total(), "{report:?}");
        assert!(report.sessions_unharmed(), "{report:?}");
    }
    // What nobody contests each has for itself.
    net.program(&rivals(&net, &["older", "younger"]), &settings());
    for (family, protocol) in families_and_protocols() {
        for (number, pod) in [(2, "older"), (3, "younger")] {
            client.is_served(Kind::ClusterIp.frontend(number, family, protocol), &[pod], node_address(1, family));
        }
    }
}

#[test]
fn nobody_takes_a_cluster_ip_away() {
    if !can_run("nobody_takes_a_cluster_ip_away") {
        return;
    }
    let mut net = net();
    let thief = Service { external_ips: service(2).cluster_ips, ..rival("thief", 3, "2020-01-01T00:00:00Z") };
    let victim = rival("victim", 2, "2025-01-01T00:00:00Z");
    let world = world(net.lab.spec(), &[(thief, vec![("younger", READY)]), (victim, vec![("older", READY)])]);
    net.program(&world, &settings());
    for (family, protocol) in families_and_protocols() {
        net.pod("guest").is_served_as_itself(Kind::ClusterIp.frontend(2, family, protocol), &["older"]);
    }
}

#[test]
fn an_external_ip_may_be_the_nodes_own() {
    if !can_run("an_external_ip_may_be_the_nodes_own") {
        return;
    }
    let mut net = net();
    let own = Service { external_ips: Family::ALL.map(|family| node_address(1, family)).to_vec(), ..service(1) };
    net.program(&world(net.lab.spec(), &[(own, vec![("older", READY), ("younger", READY)])]), &settings());
    for (family, protocol) in families_and_protocols() {
        let at_node = |port| Frontend { address: node_address(1, family), protocol, port };
        for caller in [net.client(), net.pod("guest"), net.host(1)] {
            caller.is_served(at_node(80), &["older", "younger"], node_address(1, family));
            // Other ports stay the node's.
            let nobody = if protocol == Protocol::Tcp { Outcome::Reset } else { Outcome::Refused };
            assert_eq!(caller.ask(at_node(81)), nobody);
        }
    }
}
