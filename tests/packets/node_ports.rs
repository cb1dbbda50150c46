//! Where node ports answer (section 2.6), and endpoints that are processes of a node.

use std::net::IpAddr;

use portolan::{
    lab::{LabSpec, Outcome},
    model::{Family, Frontend, NodePortAddresses, Protocol, Service, Settings, TrafficPolicy},
};

use crate::{
    services::{Kind, READY, families_and_protocols, service, settings, world},
    support::{Net, can_run, lab_pod, node_address, run, second_address, spec},
};

fn node_port(address: IpAddr, protocol: Protocol) -> Frontend {
    Frontend { address, ..Kind::NodePort.frontend(1, Family::of(address), protocol) }
}

/// Asserts that the client finds the node port at these addresses of node-1 and the node's own kernel at the others.
#[track_caller]
fn answers_at(net: &Net, wanted: &[IpAddr], others: &[IpAddr]) {
    let client = net.client();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for address in wanted {
            client.is_served(node_port(*address, protocol), &["here"], node_address(1, Family::of(*address)));
        }
        let nobody = if protocol == Protocol::Tcp { Outcome::Reset } else { Outcome::Refused };
        for address in others {
            assert_eq!(client.ask(node_port(*address, protocol)), nobody, "{address} {protocol}");
        }
    }
}

#[test]
fn node_ports_answer_at_the_chosen_addresses() {
    if !can_run("node_ports_answer_at_the_chosen_addresses") {
        return;
    }
    let mut net = Net::up(spec(1, &[("here", 1)]));
    let world = world(net.lab.spec(), &[(service(1), vec![("here", READY)])]);
    let [first, second] = [node_address, second_address].map(|which| Family::ALL.map(|family| which(1, family)));
    let at = |ranges: &[&str]| Settings {
        node_port_addresses: NodePortAddresses::Ranges(ranges.iter().map(|r| r.parse().unwrap()).collect()),
        ..settings()
    };

    net.program(&world, &settings());
    answers_at(&net, &first, &second);
    net.program(&world, &at(&["192.168.49.0/24", "fd00:49::11/128"]));
    answers_at(&net, &[first[0], second[0], first[1]], &[second[1]]);
    net.program(&world, &at(&[&format!("{}/32", second[0])]));
    answers_at(&net, &[second[0], first[1], second[1]], &[first[0]]);
    net.program(&world, &at(&["0.0.0.0/0", "::/0"]));
    answers_at(&net, &[first, second].concat(), &[]);
    let loopback = node_port([127, 0, 0, 1].into(), Protocol::Tcp);
    let outcome = portolan::lab::Probe::new(loopback).run(&net.lab.node("node-1").unwrap()).unwrap();
    assert_eq!(outcome, Outcome::Reset, "no node ports on loopback addresses");
    net.program(&world, &settings());
    answers_at(&net, &first, &second);
}

#[test]
fn a_new_address_of_the_node_answers_at_once() {
    if !can_run("a_new_address_of_the_node_answers_at_once") {
        return;
    }
    let mut net = Net::up(spec(1, &[("here", 1)]));
    let world = world(net.lab.spec(), &[(service(1), vec![("here", READY)])]);
    let everywhere = Settings { node_port_addresses: NodePortAddresses::Ranges(vec![]), ..settings() };
    net.program(&world, &everywhere);
    let node = net.lab.node("node-1").unwrap();
    let new: [IpAddr; 2] = ["192.168.49.71".parse().unwrap(), "fd00:49::71".parse().unwrap()];
    net.lab.route(&new, "node-1").unwrap();
    for address in new {
        // The second addresses stay those that packets are sent from.
        let flags = if address.is_ipv6() { " nodad preferred_lft 0" } else { "" };
        run(&node, &format!("ip addr add {address} dev eth0{flags}"));
    }
    answers_at(&net, &Family::ALL.map(|family| node_address(1, family)), &new);
    let mut seen = net.seen_by("node-1", &world);
    seen.node.interface_addresses.extend(new);
    let known = net.with_agent("node-1", |agent| {
        agent.set(seen, everywhere.clone(), false);
        agent.sync().unwrap()
    });
    assert!(known.refused.is_empty() && !known.installed && known.operations > 0, "{known:?}");
    answers_at(&net, &[&Family::ALL.map(|family| node_address(1, family)), &new[..]].concat(), &[]);
    net.program(&world, &everywhere);
    answers_at(&net, &Family::ALL.map(|family| node_address(1, family)), &new);
}

#[test]
fn processes_of_nodes_are_endpoints_like_others() {
    if !can_run("processes_of_nodes_are_endpoints_like_others") {
        return;
    }
    let mut lab_spec: LabSpec = spec(2, &[("guest", 1)]);
    for (name, number) in [("host-here", 1), ("host-there", 2)] {
        let mut pod = lab_pod(name, number, 0);
        pod.host_network = true;
        pod.addresses = Family::ALL.map(|family| node_address(number, family)).to_vec();
        lab_spec.pods.push(pod);
    }
    let mut net = Net::up(lab_spec);
    let local = Service { external_policy: TrafficPolicy::Local, ..service(2) };
    let endpoints = || vec![("host-here", READY), ("host-there", READY)];
    net.program(&world(net.lab.spec(), &[(service(1), endpoints()), (local, endpoints())]), &settings());
    let (client, guest, host) = (net.client(), net.pod("guest"), net.host(1));
    for (family, protocol) in families_and_protocols() {
        let of = |kind: Kind, number| kind.frontend(number, family, protocol);
        guest.is_served_as_itself(of(Kind::ClusterIp, 1), &["host-here", "host-there"]);
        host.is_served_as_itself(of(Kind::ClusterIp, 1), &["host-here", "host-there"]);
        host.is_served_as_itself(of(Kind::NodePort, 1), &["host-here", "host-there"]);
        client.is_served_as_itself(of(Kind::NodePort, 2), &["host-here"]);
        guest.is_served_as_itself(of(Kind::NodePort, 2), &["host-here", "host-there"]);
        // What ends in the node itself passes no postrouting: there the client's address stays, and it need not be
        // hidden, because the answer passes the node anyway.
        let outcomes: Vec<Outcome> = (0..40).map(|_| client.ask(of(Kind::NodePort, 1))).collect();
        for outcome in &outcomes {
            let seen_as =
                if outcome.pod() == Some("host-here") { client.address(family) } else { node_address(1, family) };
            assert_eq!(outcome.source(), Some(seen_as), "{outcome:?}");
        }
        for pod in ["host-here", "host-there"] {
            assert!(outcomes.iter().any(|outcome| outcome.pod() == Some(pod)), "{pod}: {outcomes:?}");
        }
    }
}
