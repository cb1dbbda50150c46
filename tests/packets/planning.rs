//! What `plan` says of clients is what happens to them: each test has the plan first, then makes the change under open
//! connections.

use std::collections::BTreeSet;

use portolan::{
    lab::{Outcome, PATIENCE, Session},
    model::{Family, Protocol, Service, TrafficPolicy, World},
    plan::{Effect, Impact, NewSide, OldSide, compare_node},
};

use crate::{
    asking::Caller,
    services::{Kind, READY, State, addresses, service, settings, world},
    support::{Net, can_run, node_address, spec},
};

const PODS: [&str; 2] = ["here", "there"];

fn net() -> Net {
    let net = Net::up(spec(2, &[("here", 1), ("there", 2), ("guest", 1)]));
    net.lab.route(&addresses(1..=1), "node-1").unwrap();
    net
}

fn of(net: &Net, service: Service, pods: &[&'static str]) -> World {
    let endpoints: Vec<(&str, State)> = pods.iter().map(|pod| (*pod, READY)).collect();
    world(net.lab.spec(), &[(service, endpoints)])
}

/// What the plan says of Service 1 on node-1.
fn plan(net: &Net, old: &World, new: &World) -> Vec<Effect> {
    let seen = |world: &World| Box::new(net.seen_by("node-1", world));
    let new = NewSide::Wanted { world: seen(new), settings: settings(), refused: BTreeSet::new(), incomplete: false };
    let difference = compare_node(OldSide::Wanted(seen(old), settings()), new);
    assert!(difference.node.is_empty(), "{:?}", difference.node);
    difference.services.into_values().flat_map(|(_, effects)| effects).collect()
}

/// The effect that says this of this frontend.
#[track_caller]
fn said<'a>(effects: &'a [Effect], frontend: &str, notices: &str) -> &'a Effect {
    let fits = |e: &&Effect| e.frontends.iter().any(|f| f == frontend) && e.notices.contains(notices);
    effects.iter().find(fits).unwrap_or_else(|| panic!("{frontend}: {notices}: {effects:#?}"))
}

/// Open flows of a caller, until each pod has one.
fn flows(caller: &Caller, protocol: Protocol) -> Vec<(Session, String)> {
    let frontend = Kind::ClusterIp.frontend(1, Family::V4, protocol);
    let mut flows = Vec::new();
    // Of two endpoints one is missed with a probability of 2^-39.
    for _ in 0..40 {
        let mut session = Session::open(&caller.probe(frontend), &caller.namespace).unwrap().unwrap();
        let pod = session.exchange(PATIENCE).unwrap().pod().unwrap().to_owned();
        flows.push((session, pod));
        if PODS.iter().all(|pod| flows.iter().any(|(_, of)| of == pod)) {
            return flows;
        }
    }
    panic!("not every pod answers")
}

fn goes_on(session: &mut Session) -> Option<String> {
    session.exchange(PATIENCE).unwrap().pod().map(str::to_owned)
}

/// Makes a change under open flows of a pod, of which those of TCP must stay; the pod, and those of UDP.
fn flows_through(net: &mut Net, before: &World, after: &World) -> (Caller, Vec<(Session, String)>) {
    net.program_node("node-1", before, &settings());
    let guest = net.pod("guest");
    let (mut tcp, udp) = (flows(&guest, Protocol::Tcp), flows(&guest, Protocol::Udp));
    net.program_node("node-1", after, &settings());
    for (session, pod) in &mut tcp {
        assert_eq!(goes_on(session).as_ref(), Some(&*pod), "TCP stays");
    }
    (guest, udp)
}

#[test]
fn an_endpoint_that_leaves_keeps_tcp_and_loses_udp_as_planned() {
    if !can_run("an_endpoint_that_leaves_keeps_tcp_and_loses_udp_as_planned") {
        return;
    }
    let mut net = net();
    let (before, after) = (of(&net, service(1), &PODS), of(&net, service(1), &["here"]));
    let effects = plan(&net, &before, &after);
    assert!(effects.iter().all(|effect| effect.impact == Impact::NewConnections), "{effects:#?}");
    let tcp =
        said(&effects, "10.96.0.1:80/TCP", "new connections go to 1 endpoint instead of 2; established ones stay");
    assert!(tcp.change.contains("(there) leaves (gone)"), "{tcp:?}");
    let udp = said(&effects, "10.96.0.1:80/UDP", "UDP clients are moved at once");
    assert!(udp.change.contains("(there) are deleted"), "{udp:?}");

    let (guest, mut udp) = flows_through(&mut net, &before, &after);
    for (session, _) in &mut udp {
        assert_eq!(goes_on(session).as_deref(), Some("here"), "UDP moves");
    }
    let frontend = Kind::ClusterIp.frontend(1, Family::V4, Protocol::Tcp);
    guest.is_served_as_itself(frontend, &["here"]);
}

#[test]
fn a_dead_end_refuses_and_leaves_the_established_alone_as_planned() {
    if !can_run("a_dead_end_refuses_and_leaves_the_established_alone_as_planned") {
        return;
    }
    let mut net = net();
    let (before, after) = (of(&net, service(1), &PODS), of(&net, service(1), &[]));
    let effects = plan(&net, &before, &after);
    for frontend in ["10.96.0.1:80/TCP", "198.51.100.1:80/TCP", "203.0.113.1:80/TCP", "node port 30001/TCP"] {
        let effect = said(&effects, frontend, "clients are refused from now on; established connections stay");
        assert_eq!(effect.impact, Impact::Interrupted);
    }
    said(&effects, "10.96.0.1:80/UDP", "UDP clients are cut off at once");

    let (guest, mut udp) = flows_through(&mut net, &before, &after);
    for (session, _) in &mut udp {
        assert_eq!(session.exchange(PATIENCE).unwrap(), Outcome::Refused, "UDP is cut off");
    }
    for kind in Kind::ALL {
        guest.is_refused(kind.frontend(1, Family::V4, Protocol::Tcp));
        net.client().is_refused(kind.frontend(1, Family::V4, Protocol::Tcp));
    }
}

#[test]
fn source_ranges_shut_out_whom_the_plan_says() {
    if !can_run("source_ranges_shut_out_whom_the_plan_says") {
        return;
    }
    let mut net = net();
    let guarded = Service { source_ranges: vec!["10.244.0.0/16".parse().unwrap()], ..service(1) };
    let (before, after) = (of(&net, service(1), &PODS), of(&net, guarded, &PODS));
    let effects = plan(&net, &before, &after);
    let effect = said(&effects, "203.0.113.1:80/TCP", "clients from elsewhere lose it: dropped");
    assert_eq!((effect.impact, effect.change.as_str()), (Impact::Interrupted, "only 10.244.0.0/16 may come"));
    assert!(effect.frontends.iter().all(|frontend| frontend.starts_with("203.0.113.1:")), "{effect:?}");

    net.program_node("node-1", &before, &settings());
    let balancer = Kind::LoadBalancer.frontend(1, Family::V4, Protocol::Tcp);
    let hidden = node_address(1, Family::V4);
    net.client().is_served(balancer, &PODS, hidden);
    net.program_node("node-1", &after, &settings());
    net.client().is_dropped(balancer);
    net.pod("guest").is_served(balancer, &PODS, hidden);
    net.client().is_served(Kind::NodePort.frontend(1, Family::V4, Protocol::Tcp), &PODS, hidden);
}

#[test]
fn endpoints_see_whom_the_plan_says() {
    if !can_run("endpoints_see_whom_the_plan_says") {
        return;
    }
    let mut net = net();
    let local = Service { external_policy: TrafficPolicy::Local, ..service(1) };
    let (before, after) = (of(&net, service(1), &PODS), of(&net, local, &PODS));
    let effects = plan(&net, &before, &after);
    let effect = said(&effects, "node port 30001/TCP", "endpoints see the address of clients from outside");
    assert_eq!(effect.change, "externalTrafficPolicy Local instead of externalTrafficPolicy Cluster");
    said(&effects, "node port 30001/TCP", "new connections of clients from outside go to 1 endpoint instead of 2");
    assert!(!effects.iter().any(|effect| effect.frontends.iter().any(|f| f.starts_with("10.96."))), "{effects:#?}");

    let frontend = Kind::NodePort.frontend(1, Family::V4, Protocol::Tcp);
    net.program_node("node-1", &before, &settings());
    net.client().is_served(frontend, &PODS, node_address(1, Family::V4));
    net.program_node("node-1", &after, &settings());
    net.client().is_served_as_itself(frontend, &["here"]);
}
