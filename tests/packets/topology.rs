//! Topology hints and the fall-backs to endpoints that are leaving (section 3.2), as packets see them on node-1.

use portolan::{
    lab::LabSpec,
    model::{Family, Protocol, Service, TrafficPolicy, World},
};

use crate::{
    services::{Kind, LEAVING, NOT_READY, READY, State, empty_world, service, settings, slices},
    support::{Net, can_run, node_address, spec},
};

/// An endpoint: pod, state, hinted zones, hinted nodes.
type Hinted = (&'static str, State, &'static [&'static str], &'static [&'static str]);

/// pod-1 runs on node-1, pod-2 on node-2, and so on.
const PODS: [(&str, u8); 3] = [("pod-1", 1), ("pod-2", 2), ("pod-3", 3)];

/// One case: what it shows, the node's zone, the endpoints, those that are used.
type Case = (&'static str, Option<&'static str>, &'static [Hinted], &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "zone hints: those for this zone",
        Some("a"),
        &[("pod-1", READY, &["a"], &[]), ("pod-2", READY, &["a", "b"], &[]), ("pod-3", READY, &["b"], &[])],
        &["pod-1", "pod-2"],
    ),
    (
        "the same from the other zone",
        Some("b"),
        &[("pod-1", READY, &["a"], &[]), ("pod-2", READY, &["a", "b"], &[]), ("pod-3", READY, &["b"], &[])],
        &["pod-2", "pod-3"],
    ),
    (
        "one ready endpoint has no hint: all",
        Some("a"),
        &[("pod-1", READY, &["a"], &[]), ("pod-2", READY, &[], &[]), ("pod-3", READY, &["b"], &[])],
        &["pod-1", "pod-2", "pod-3"],
    ),
    (
        "endpoints that are not ready need no hint and lend none",
        Some("a"),
        &[("pod-1", NOT_READY, &["b"], &[]), ("pod-2", READY, &["a"], &[]), ("pod-3", LEAVING, &[], &[])],
        &["pod-2"],
    ),
    (
        "no hint names this zone: all",
        Some("c"),
        &[("pod-1", READY, &["a"], &[]), ("pod-2", READY, &["b"], &[]), ("pod-3", LEAVING, &["c"], &[])],
        &["pod-1", "pod-2"],
    ),
    (
        "a node without a zone: all",
        None,
        &[("pod-1", READY, &["a"], &[]), ("pod-2", READY, &["b"], &[])],
        &["pod-1", "pod-2"],
    ),
    (
        "node hints come before zone hints",
        Some("a"),
        &[
            ("pod-1", READY, &["b"], &["node-2"]),
            ("pod-2", READY, &["b"], &["node-1"]),
            ("pod-3", READY, &["a"], &["node-3"]),
        ],
        &["pod-2"],
    ),
    (
        "no node hint names this node: zone hints",
        Some("a"),
        &[
            ("pod-1", READY, &["b"], &["node-2"]),
            ("pod-2", READY, &["b"], &["node-2"]),
            ("pod-3", READY, &["a"], &["node-3"]),
        ],
        &["pod-3"],
    ),
    (
        "one ready endpoint has no node hint: zone hints",
        Some("a"),
        &[("pod-1", READY, &["a"], &["node-1"]), ("pod-2", READY, &["b"], &["node-2"]), ("pod-3", READY, &["a"], &[])],
        &["pod-1", "pod-3"],
    ),
    (
        "nobody is ready: all that still serve, whatever their hints",
        Some("a"),
        &[
            ("pod-1", NOT_READY, &["a"], &["node-1"]),
            ("pod-2", LEAVING, &["b"], &["node-2"]),
            ("pod-3", LEAVING, &["a"], &[]),
        ],
        &["pod-2", "pod-3"],
    ),
    (
        "somebody is ready: nobody who leaves",
        Some("a"),
        &[("pod-1", LEAVING, &[], &[]), ("pod-2", LEAVING, &[], &[]), ("pod-3", READY, &[], &[])],
        &["pod-3"],
    ),
];

fn hinted_world(spec: &LabSpec, service: &Service, zone: Option<&str>, endpoints: &[Hinted]) -> World {
    let plain: Vec<_> = endpoints.iter().map(|(pod, state, ..)| (*pod, *state)).collect();
    let mut world = empty_world();
    world.node.zone = zone.map(Into::into);
    for mut slice in slices(spec, service, &plain) {
        for (facts, (_, _, zones, nodes)) in slice.endpoints.iter_mut().zip(endpoints) {
            facts.zone_hints = zones.iter().map(|z| (*z).into()).collect();
            facts.node_hints = nodes.iter().map(|n| (*n).into()).collect();
        }
        world.put_slice(slice);
    }
    world.services.insert(service.id.clone(), service.clone());
    world
}

#[test]
fn hints_and_conditions_choose_the_endpoints() {
    if !can_run("hints_and_conditions_choose_the_endpoints") {
        return;
    }
    let mut net = Net::up(spec(3, &PODS));
    let host = net.host(1);
    let frontend = |kind: Kind, family| kind.frontend(1, family, Protocol::Tcp);
    // One agent lives through all of them, so each case is a change of the one before.
    for (about, zone, endpoints, wanted) in CASES {
        println!("{about}");
        let world = hinted_world(net.lab.spec(), &service(1), *zone, endpoints);
        net.program_node("node-1", &world, &settings());
        for (kind, family) in
            [(Kind::ClusterIp, Family::V4), (Kind::NodePort, Family::V4), (Kind::ClusterIp, Family::V6)]
        {
            host.is_served(frontend(kind, family), wanted, node_address(1, family));
        }
    }
}

#[test]
fn the_local_list_knows_no_hints() {
    if !can_run("the_local_list_knows_no_hints") {
        return;
    }
    let mut net = Net::up(spec(3, &PODS));
    let local = Service { internal_policy: TrafficPolicy::Local, external_policy: TrafficPolicy::Local, ..service(1) };
    let endpoints: [Hinted; 3] = [
        ("pod-1", READY, &["b"], &["node-2"]),
        ("pod-2", READY, &["a"], &["node-1"]),
        ("pod-3", READY, &["b"], &["node-3"]),
    ];
    let world = hinted_world(net.lab.spec(), &local, Some("a"), &endpoints);
    net.program_node("node-1", &world, &settings());
    for family in Family::ALL {
        let frontend = |kind: Kind| kind.frontend(1, family, Protocol::Tcp);
        net.host(1).is_served(frontend(Kind::ClusterIp), &["pod-1"], node_address(1, family));
        net.client().is_served_as_itself(frontend(Kind::NodePort), &["pod-1"]);
        // The short-circuit has the cluster list, and so the hints.
        net.host(1).is_served(frontend(Kind::ExternalIp), &["pod-2"], node_address(1, family));
    }
}
