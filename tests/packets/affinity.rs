//! Session affinity (section 2.4): who is sent where he was before, for how long, and where not.
//!
//! Whether a choice is kept shows at once; whether it is made anew only in many choices. So there are a dozen Services,
//! all alike, and what may differ must differ in one of them.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use portolan::{
    kernel::DataPlane,
    lab::{PATIENCE, Session},
    model::{Family, Protocol, Service, TrafficPolicy, World},
    tables::List,
};

use crate::{
    asking::Caller,
    services::{Kind, PROTOCOLS, READY, State, addresses, families_and_protocols, service, settings, world},
    support::{Net, can_run, spec},
};

const NUMBERS: std::ops::RangeInclusive<u8> = 1..=12;
const PODS: [&str; 4] = ["here-1", "here-2", "there-1", "there-2"];

fn net() -> Net {
    let net = Net::up(spec(2, &[("here-1", 1), ("here-2", 1), ("there-1", 2), ("there-2", 2), ("guest", 1)]));
    net.lab.route(&addresses(NUMBERS), "node-1").unwrap();
    net
}

/// The dozen Services, each with these endpoints, after `change`.
fn dozen(net: &Net, pods: &[&'static str], seconds: u32, change: impl Fn(&mut Service)) -> World {
    let services: Vec<(Service, Vec<(&str, State)>)> = NUMBERS
        .map(|number| {
            let mut service = Service { affinity_seconds: Some(seconds), ..service(number) };
            service.ports.retain(|port| port.protocol != Protocol::Sctp);
            change(&mut service);
            (service, pods.iter().map(|pod| (*pod, READY)).collect())
        })
        .collect();
    world(net.lab.spec(), &services)
}

/// Whom the caller gets from each of the Services, for each family and protocol.
#[track_caller]
fn choices(caller: &Caller, kind: Kind) -> Vec<String> {
    choices_of(caller, kind, NUMBERS)
}

#[track_caller]
fn choices_of(caller: &Caller, kind: Kind, numbers: impl Iterator<Item = u8> + Clone) -> Vec<String> {
    let mut choices = Vec::new();
    for (family, protocol) in families_and_protocols() {
        choices.extend(numbers.clone().map(|number| caller.pod(kind.frontend(number, family, protocol))));
    }
    choices
}

/// Asserts that in each family and protocol one of the dozen differs.
#[track_caller]
fn assert_independent(one: &[String], other: &[String]) {
    for (one, other) in one.chunks(NUMBERS.count()).zip(other.chunks(NUMBERS.count())) {
        assert_ne!(one, other);
    }
}

#[test]
fn a_client_keeps_its_endpoint_whichever_frontend_it_asks() {
    if !can_run("a_client_keeps_its_endpoint_whichever_frontend_it_asks") {
        return;
    }
    let mut net = net();
    net.program(&dozen(&net, &PODS, 10_800, |_| {}), &settings());
    let callers = [net.client(), net.other_client(), net.pod("guest"), net.host(1)];
    let firsts: Vec<_> = callers.iter().map(|caller| choices(caller, Kind::ClusterIp)).collect();
    for (caller, first) in callers.iter().zip(&firsts) {
        for kind in Kind::ALL.into_iter().chain(Kind::ALL) {
            assert_eq!(choices(caller, kind), *first, "{kind:?} from {}", caller.namespace);
        }
    }
    for pair in firsts.windows(2) {
        assert_independent(&pair[0], &pair[1]);
    }
    // TCP and UDP are two ports of one Service.
    for of_family in firsts[0].chunks(PROTOCOLS.len() * NUMBERS.count()) {
        let (tcp, udp) = of_family.split_at(NUMBERS.count());
        assert_ne!(tcp, udp, "two ports of a Service choose apart");
    }

    // A new process finds in the kernel what the old one left.
    net.restart("node-1");
    net.program(&dozen(&net, &PODS, 10_800, |_| {}), &settings());
    for (caller, first) in callers.iter().zip(&firsts) {
        assert_eq!(choices(caller, Kind::NodePort), *first);
    }
    // Another timeout makes nobody forget.
    net.program(&dozen(&net, &PODS, 600, |_| {}), &settings());
    assert_eq!(choices(&callers[0], Kind::NodePort), firsts[0]);
    // Without affinity everybody goes anywhere.
    net.program(&dozen(&net, &PODS, 600, |service| service.affinity_seconds = None), &settings());
    assert_independent(&choices(&callers[0], Kind::NodePort), &firsts[0]);
}

#[test]
fn only_clients_of_an_endpoint_that_leaves_move() {
    if !can_run("only_clients_of_an_endpoint_that_leaves_move") {
        return;
    }
    let mut net = net();
    let few = ["here-2", "there-1", "there-2"];
    net.program(&dozen(&net, &few, 10_800, |_| {}), &settings());
    let (client, guest) = (net.client(), net.pod("guest"));
    let before = [&client, &guest].map(|caller| choices(caller, Kind::ClusterIp));
    let kinds = [Kind::NodePort, Kind::ClusterIp];
    // One comes: nobody moves.
    net.program(&dozen(&net, &PODS, 10_800, |_| {}), &settings());
    assert_eq!([&client, &guest].map(|caller| choices(caller, Kind::ClusterIp)), before);
    // One goes.
    let stay = ["here-1", "here-2", "there-2"];
    net.program(&dozen(&net, &stay, 10_800, |_| {}), &settings());
    let mut after = Vec::new();
    for (caller, before) in [&client, &guest].into_iter().zip(&before) {
        let moved = choices(caller, Kind::ClusterIp);
        for (old, new) in before.iter().zip(&moved) {
            assert!(new == old || old == "there-1", "moved from {old} to {new}");
            assert!(stay.contains(&new.as_str()), "sent to {new}, who is gone");
        }
        assert!(before.iter().any(|old| old == "there-1"), "nobody was there to move");
        assert!(kinds.iter().all(|kind| choices(caller, *kind) == moved), "those who moved stay as well");
        after.push(moved);
    }
    // He returns: whoever had to move does not go back.
    net.program(&dozen(&net, &PODS, 10_800, |_| {}), &settings());
    assert_eq!([&client, &guest].map(|caller| choices(caller, Kind::ClusterIp)).to_vec(), after);
}

#[test]
fn a_local_policy_sends_nobody_to_another_node() {
    if !can_run("a_local_policy_sends_nobody_to_another_node") {
        return;
    }
    let mut net = net();
    let local = |service: &mut Service| service.external_policy = TrafficPolicy::Local;
    net.program(&dozen(&net, &PODS, 10_800, local), &settings());
    let client = net.client();
    let everywhere = choices(&client, Kind::ClusterIp);
    assert!(everywhere.iter().any(|pod| pod.starts_with("there")), "{everywhere:?}");
    let here = choices(&client, Kind::NodePort);
    for (any, local) in everywhere.iter().zip(&here) {
        assert!(local.starts_with("here"), "through the node port to {local}");
        assert!(any.starts_with("there") || any == local, "known at {any}, sent to {local}");
    }
    assert_eq!(choices(&client, Kind::LoadBalancer), here, "and it stays there");
    assert_eq!(choices(&client, Kind::NodePort), here);

    // The internal policy has a list of its own, too.
    let local = |service: &mut Service| service.internal_policy = TrafficPolicy::Local;
    let other = net.other_client();
    net.program(&dozen(&net, &PODS, 10_800, local), &settings());
    let everywhere = choices(&other, Kind::NodePort);
    assert!(everywhere.iter().any(|pod| pod.starts_with("there")), "{everywhere:?}");
    let here = choices(&other, Kind::ClusterIp);
    assert!(here.iter().all(|pod| pod.starts_with("here")), "{here:?}");
    // No endpoint here any more: what is remembered from before does not help.
    net.program(&dozen(&net, &["there-1", "there-2"], 10_800, local), &settings());
    for (family, protocol) in families_and_protocols() {
        other.is_dropped(Kind::ClusterIp.frontend(1, family, protocol));
    }
    assert!(choices(&other, Kind::NodePort).iter().all(|pod| pod.starts_with("there")));
}

/// How many clients node-1 remembers, all groups together.
fn remembered(net: &mut Net) -> usize {
    net.with_agent("node-1", |agent| {
        let groups = agent.kernel().dump().unwrap().groups;
        groups.iter().map(|group| agent.kernel().remembered(group, List::All).unwrap().len()).sum()
    })
}

#[test]
fn every_new_connection_renews_the_memory_and_nothing_else_does() {
    if !can_run("every_new_connection_renews_the_memory_and_nothing_else_does") {
        return;
    }
    const SECONDS: u32 = 5;
    let mut net = net();
    net.program(&dozen(&net, &PODS, SECONDS, |_| {}), &settings());
    let client = net.client();
    let few = || 1..=4;

    // New connections every second or so, for more than two timeouts, all to the same endpoints.
    let rounds = |last: &mut Instant| {
        let first = choices_of(&client, Kind::ClusterIp, few());
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(11) {
            let before = Instant::now();
            let again = choices_of(&client, Kind::ClusterIp, few());
            // A machine that stood still says nothing.
            if last.elapsed() > Duration::from_secs(4) {
                return false;
            }
            *last = before;
            assert_eq!(again, first);
            thread::sleep(Duration::from_secs(1));
        }
        true
    };
    let renewed = (0..5).any(|_| rounds(&mut Instant::now()));
    assert!(renewed, "the machine is too slow to tell");

    // A connection that stays open, and talks, does not renew anything.
    let before = choices(&client, Kind::ClusterIp);
    let frontend = Kind::ClusterIp.frontend(1, Family::V4, Protocol::Tcp);
    let mut session = Session::open(&client.probe(frontend), &client.namespace).unwrap().unwrap();
    let begin = Instant::now();
    while remembered(&mut net) > 0 {
        assert!(begin.elapsed() < Duration::from_secs(30), "still remembered after six timeouts");
        assert_eq!(session.exchange(PATIENCE).unwrap().pod(), Some(before[0].as_str()));
        thread::sleep(Duration::from_millis(200));
    }
    let after = choices(&client, Kind::ClusterIp);
    assert_independent(&before, &after);
    assert_eq!(session.exchange(PATIENCE).unwrap().pod(), Some(before[0].as_str()), "it stays where it was");
    let pods: BTreeSet<&str> = after.iter().map(String::as_str).collect();
    assert_eq!(pods, BTreeSet::from(PODS), "all endpoints are chosen some time");
}
