//! What the agent does when the kernel refuses, fails, or holds what nobody expected.

mod common;

use std::collections::BTreeSet;

use common::without_slot_order;
use portolan::{
    agent::Agent,
    kernel::{DataPlane, MemoryDataPlane, Remembered},
    model::{
        EndpointFacts, Family, Protocol, Service, ServiceId, ServicePort, ServiceType, Settings, Slice, SliceId,
        SlicePort, Target, TrafficPolicy, World,
    },
    tables::{Element, List, Owner},
};

/// A Service `shop/<name>` at 172.30.0.`number`:80 with endpoints 10.0.`number`.x:8080.
fn add(world: &mut World, name: &str, number: u8, endpoints: &[u8], affinity: Option<u32>) {
    let id = ServiceId::new("shop", name);
    let service = Service {
        id: id.clone(),
        created: None,
        kind: ServiceType::ClusterIp,
        proxied: true,
        cluster_ips: vec![[172, 30, 0, number].into()],
        external_ips: vec![],
        load_balancer_ips: vec![],
        ports: vec![ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: None }],
        affinity_seconds: affinity,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        source_ranges: vec![],
        health_check_node_port: None,
    };
    let facts = |last: &u8| EndpointFacts {
        address: [10, 0, number, *last].into(),
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        pod: None,
        zone_hints: Box::new([]),
        node_hints: Box::new([]),
    };
    world.services.insert(id.clone(), service);
    world.put_slice(Slice {
        id: SliceId { namespace: "shop".into(), name: name.into() },
        service: id,
        ports: vec![SlicePort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: endpoints.iter().map(facts).collect(),
    });
}

fn cluster(names: &[&str]) -> World {
    let mut world = World::default();
    for (number, name) in names.iter().enumerate() {
        add(&mut world, name, number as u8 + 1, &[1, 2, 3], None);
    }
    world
}

fn agent_with(world: World) -> Agent<MemoryDataPlane> {
    let mut agent = Agent::new(MemoryDataPlane::new());
    agent.set(world, common::settings(), false);
    agent.sync().unwrap();
    agent
}

/// What a fresh start would make of the world.
fn fresh(world: World) -> BTreeSet<String> {
    without_slot_order(&agent_with(world).kernel().dump().unwrap())
}

fn owner(name: &str) -> Owner {
    Owner::Service(ServiceId::new("shop", name))
}

/// An element of the Service at 172.30.0.`number`.
fn is_of(element: &Element, number: u8) -> bool {
    element.frontend().is_some_and(|f| f.address == std::net::IpAddr::from([172, 30, 0, number]))
}

#[test]
fn what_the_kernel_refuses_costs_only_its_service() {
    let names: Vec<String> = (1..=20).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut agent = Agent::new(MemoryDataPlane::new());
    agent.kernel().refuse_when(|element| is_of(element, 7) || is_of(element, 16));
    agent.set(cluster(&names), common::settings(), false);
    let synced = agent.sync().unwrap();
    assert_eq!(synced.refused.keys().cloned().collect::<Vec<_>>(), [owner("s16"), owner("s7")]);
    assert!(synced.refused.values().all(|reason| reason.contains("told to refuse")), "the kernel's own words");
    let mut without = cluster(&names);
    for name in ["s7", "s16"] {
        without.services.remove(&ServiceId::new("shop", name));
    }
    assert_eq!(without_slot_order(&agent.kernel().dump().unwrap()), fresh(without), "all others are there");

    // Once the kernel takes it, the next try brings it in.
    agent.kernel().refuse_when(|_| false);
    assert_eq!(agent.sync().unwrap().refused.len(), 2, "it is not tried at every turn, and not forgotten");
    agent.retry();
    let synced = agent.sync().unwrap();
    assert!(synced.refused.is_empty());
    assert_eq!(without_slot_order(&agent.kernel().dump().unwrap()), fresh(cluster(&names)));
}

#[test]
fn a_refused_service_keeps_its_last_good_state() {
    let mut agent = agent_with(cluster(&["a", "b"]));
    let before = agent.kernel().dump().unwrap();
    let mut changed = cluster(&["a", "b"]);
    add(&mut changed, "a", 1, &[1, 2, 3, 4], None);
    add(&mut changed, "b", 2, &[1], None);
    agent.kernel().refuse_when(|element| is_of(element, 1));
    agent.set(changed, common::settings(), false);
    let synced = agent.sync().unwrap();
    assert_eq!(synced.refused.keys().cloned().collect::<Vec<_>>(), [owner("a")]);
    assert_eq!(synced.changed, BTreeSet::from([owner("b")]));
    let after = agent.kernel().dump().unwrap();
    let of_a = |state: &portolan::tables::TableState| -> BTreeSet<Element> {
        state.elements.iter().filter(|element| is_of(element, 1)).cloned().collect()
    };
    assert_eq!(of_a(&before), of_a(&after));
}

#[test]
fn an_unreadable_input_removes_nothing() {
    let mut agent = agent_with(cluster(&["a", "b"]));
    let before = without_slot_order(&agent.kernel().dump().unwrap());

    // In the running process, and after a restart on the same kernel.
    let kernel = std::mem::take(agent.kernel());
    let mut restarted = Agent::new(kernel);
    restarted.set(cluster(&["a"]), common::settings(), true);
    restarted.sync().unwrap();
    assert_eq!(without_slot_order(&restarted.kernel().dump().unwrap()), before);

    // Endpoints can stand in another file than their Service.
    let mut without_endpoints = cluster(&["a"]);
    let slice = without_endpoints.slices_of(&ServiceId::new("shop", "a")).next().unwrap().clone();
    without_endpoints.remove_slice(&slice.service, &slice.id);
    restarted.set(without_endpoints, common::settings(), true);
    restarted.sync().unwrap();
    assert_eq!(without_slot_order(&restarted.kernel().dump().unwrap()), before);

    // Even if the program has to be replaced meanwhile.
    let settings = Settings { masquerade_bit: 3, ..common::settings() };
    restarted.set(cluster(&["a"]), settings.clone(), true);
    assert!(restarted.sync().unwrap().installed);
    let elements = |agent: &mut Agent<MemoryDataPlane>| agent.kernel().dump().unwrap().elements.len();
    assert_eq!(elements(&mut restarted), fresh_elements(&["a", "b"]));

    // Once everything can be read again, what is not wanted goes.
    restarted.set(cluster(&["a"]), settings, false);
    restarted.sync().unwrap();
    assert_eq!(elements(&mut restarted), fresh_elements(&["a"]));
}

fn fresh_elements(names: &[&str]) -> usize {
    agent_with(cluster(names)).kernel().dump().unwrap().elements.len()
}

#[test]
fn a_service_that_became_unusable_keeps_what_it_has() {
    let mut agent = agent_with(cluster(&["a", "b", "c"]));
    let before = without_slot_order(&agent.kernel().dump().unwrap());
    let unusable = BTreeSet::from([ServiceId::new("shop", "c")]);
    for restart in [false, true] {
        if restart {
            agent = Agent::new(std::mem::take(agent.kernel()));
        }
        agent.keep(unusable.clone());
        agent.set(cluster(&["a", "b"]), common::settings(), false);
        agent.sync().unwrap();
        assert_eq!(without_slot_order(&agent.kernel().dump().unwrap()), before);
    }
    // Deleted at last.
    agent.keep(BTreeSet::new());
    agent.set(cluster(&["a", "b"]), common::settings(), false);
    agent.sync().unwrap();
    assert_eq!(without_slot_order(&agent.kernel().dump().unwrap()), fresh(cluster(&["a", "b"])));
}

#[test]
fn another_program_is_installed_behind_a_standby_that_holds_everything() {
    let mut agent = agent_with(cluster(&["a", "b"]));
    let held = without_slot_order(&agent.kernel().dump().unwrap());
    agent.set(cluster(&["a", "b"]), Settings { masquerade_all: true, ..common::settings() }, false);
    assert!(agent.sync().unwrap().installed);
    let standby = agent.kernel().last_standby().cloned().unwrap();
    assert_eq!(without_slot_order(&standby), held, "packets that met the second table were served by it");
    assert_eq!(without_slot_order(&agent.kernel().dump().unwrap()), held);
}

#[test]
fn another_program_is_installed_although_the_kernel_refuses_a_service() {
    let mut agent = agent_with(cluster(&["a", "b"]));
    agent.kernel().refuse_when(|element| is_of(element, 2));
    agent.set(cluster(&["a", "b"]), Settings { masquerade_all: true, ..common::settings() }, false);
    let synced = agent.sync().unwrap();
    assert!(synced.installed);
    assert_eq!(synced.refused.keys().cloned().collect::<Vec<_>>(), [owner("b")]);
    assert_eq!(without_slot_order(&agent.kernel().dump().unwrap()), fresh(cluster(&["a"])));
}

#[test]
fn what_others_changed_is_mended() {
    let mut agent = agent_with(cluster(&["a", "b"]));
    let good = without_slot_order(&agent.kernel().dump().unwrap());
    let damages: [fn(&mut portolan::tables::TableState); 4] = [
        |state| state.elements.retain(|element| !is_of(element, 1)),
        |state| state.elements.push(Element::ClusterIp([172, 30, 0, 99].into())),
        |state| state.elements.retain(|element| !matches!(element, Element::Frontend { .. })),
        |state| state.strangers.extend(["ip chain foo".to_owned()]),
    ];
    for damage in damages {
        agent.kernel().tamper(damage);
        agent.doubt();
        agent.sync().unwrap();
        assert_eq!(without_slot_order(&agent.kernel().dump().unwrap()), good);
    }
    agent.kernel().edit_chain("ip chain internal");
    agent.doubt();
    assert!(agent.sync().unwrap().installed);
    agent.kernel().remove().unwrap();
    agent.doubt();
    agent.sync().unwrap();
    assert_eq!(without_slot_order(&agent.kernel().dump().unwrap()), good);
    agent.doubt();
    let synced = agent.sync().unwrap();
    assert_eq!((synced.changed.len(), synced.operations), (0, 0), "nothing more to mend");
}

#[test]
fn what_others_changed_is_told_by_its_owners_and_only_once() {
    let mut agent = agent_with(cluster(&["a", "b"]));
    let mut repaired = |damage: fn(&mut Agent<MemoryDataPlane>)| {
        damage(&mut agent);
        agent.doubt();
        let repaired = agent.sync().unwrap().repaired;
        agent.doubt();
        assert!(agent.sync().unwrap().repaired.is_empty(), "it was mended");
        (Vec::from_iter(repaired.owners), Vec::from_iter(repaired.program))
    };
    let tampered = repaired(|agent| agent.kernel().tamper(|state| state.elements.retain(|e| !is_of(e, 1))));
    assert_eq!(tampered, (vec![owner("a")], vec![]));
    let stray = repaired(|agent| {
        agent.kernel().tamper(|state| state.elements.push(Element::ClusterIp([192, 0, 2, 1].into())));
    });
    assert_eq!(stray, (vec![Owner::Stray], vec![]));
    let stranger = repaired(|agent| agent.kernel().tamper(|s| s.strangers.extend(["ip chain foo".to_owned()])));
    assert_eq!(stranger, (vec![], vec!["ip chain foo".to_owned()]));
    let edited = repaired(|agent| agent.kernel().edit_chain("ip chain internal"));
    assert_eq!(edited, (vec![], vec!["ip chain internal".to_owned()]));
    // Changes of our own inputs are no drift, whatever else is mended with them.
    let both = repaired(|agent| {
        agent.kernel().tamper(|state| state.elements.retain(|element| !is_of(element, 2)));
        agent.set(cluster(&["a", "b", "c"]), common::settings(), false);
    });
    assert_eq!(both, (vec![owner("b")], vec![]));
    let settings = repaired(|agent| {
        agent.set(cluster(&["a", "b"]), Settings { masquerade_all: true, ..common::settings() }, false);
    });
    assert_eq!(settings, (vec![], vec![]));
    let (owners, program) = repaired(|agent| agent.kernel().remove().unwrap());
    assert!(owners.contains(&owner("a")) && owners.contains(&owner("b")), "{owners:?}");
    assert_eq!(program, ["ip table portolan", "ip6 table portolan"]);
}

#[test]
fn clients_of_an_endpoint_that_left_are_forgotten_and_their_neighbours_are_not() {
    let mut world = World::default();
    add(&mut world, "a", 1, &[1, 2], Some(60));
    let mut agent = agent_with(world);
    let group = agent.kernel().dump().unwrap().groups.pop_first().unwrap();
    assert_eq!(group.family, Family::V4);
    let remembered = |client: u8, last: u8| Remembered {
        client: [10, 9, 0, client].into(),
        target: Target { address: [10, 0, 1, last].into(), port: 8080 },
        expires: 50,
    };
    agent.kernel().remember(&group, List::All, remembered(1, 1));
    agent.kernel().remember(&group, List::All, remembered(2, 2));
    let mut world = World::default();
    add(&mut world, "a", 1, &[2, 3], Some(60));
    agent.set(world, common::settings(), false);
    agent.sync().unwrap();
    assert_eq!(agent.kernel().remembered(&group, List::All).unwrap(), [remembered(2, 2)]);
}
