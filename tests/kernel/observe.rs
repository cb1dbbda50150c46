//! Looking at a node changes nothing, and sees what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{TcpListener, TcpStream},
};

use portolan::{
    agent::Agent,
    compile::{Claims, frontends, node_rows, plan},
    kernel::{
        DataPlane, NetlinkDataPlane,
        observe::{connections, programmed},
    },
    model::{
        EndpointFacts, Family, Frontend, Protocol, Service, ServiceId, ServicePort, ServiceType, Settings, Slice,
        SliceId, SlicePort, TrafficPolicy, World,
    },
    observed::{Counters, ListName, ProgramState, Programmed},
};

use crate::namespace::{frontend, in_namespace, ip, nft, run, target};

/// A Service `shop/NAME` with session affinity, whose one endpoint listens on 8080.
fn add(world: &mut World, name: &str, cluster_ip: &str, endpoint: &str) {
    let id = ServiceId::new("shop", name);
    let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    let service = Service {
        id: id.clone(),
        created: None,
        kind: ServiceType::ClusterIp,
        proxied: true,
        cluster_ips: vec![ip(cluster_ip)],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        ports: vec![port],
        affinity_seconds: Some(600),
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        source_ranges: Vec::new(),
        health_check_node_port: None,
    };
    world.services.insert(id.clone(), service);
    world.put_slice(Slice {
        id: SliceId { namespace: "shop".into(), name: name.into() },
        service: id,
        ports: vec![SlicePort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: vec![EndpointFacts {
            address: ip(endpoint),
            ready: true,
            serving: true,
            terminating: false,
            node: None,
            pod: None,
            zone_hints: [].into(),
            node_hints: [].into(),
        }],
    });
}

/// `shop/web` and `shop/other`, which share their endpoint.
fn world() -> World {
    let mut world = World::default();
    world.node.name = "node-1".into();
    world.service_networks = vec!["10.96.0.0/16".parse().unwrap()];
    add(&mut world, "web", "10.96.0.10", "10.1.2.3");
    add(&mut world, "other", "10.96.0.11", "10.1.2.3");
    world
}

fn settings() -> Settings {
    Settings { masquerade_bit: 14, ..Settings::default() }
}

fn install() {
    let mut agent = Agent::new(NetlinkDataPlane::open().unwrap());
    agent.set(world(), settings(), false);
    assert!(agent.sync().unwrap().refused.is_empty());
}

/// What is seen of a Service, by somebody who comes anew; the ruleset's generation stays what it is.
fn see(name: &str, settings: &Settings) -> Programmed {
    let world = world();
    let mut claims = Claims::default();
    for service in world.services.values() {
        claims.set(service, &frontends(service, &world.node, settings));
    }
    let plan = plan(&world.services[&ServiceId::new("shop", name)], &world, settings, &claims);
    let mut kernel = NetlinkDataPlane::open().unwrap();
    let before = kernel.generation().unwrap();
    let seen = programmed(&mut kernel, Some(&plan), &node_rows(&world, settings), settings).unwrap();
    assert_eq!(kernel.generation().unwrap(), before, "looking changed the ruleset");
    seen
}

fn differences(seen: &Programmed) -> Vec<String> {
    seen.differences.iter().map(ToString::to_string).collect()
}

fn both(state: ProgramState) -> BTreeMap<Family, ProgramState> {
    Family::ALL.map(|family| (family, state.clone())).into()
}

#[test]
fn a_node_that_is_as_it_should_be_shows_no_difference() {
    in_namespace(|| {
        assert_eq!(see("web", &settings()).programs, both(ProgramState::Missing));
        install();
        for name in ["web", "other"] {
            let seen = see(name, &settings());
            assert_eq!(seen.programs, both(ProgramState::Intact));
            assert_eq!(differences(&seen), [""; 0], "{name}");
        }
        let changed = Settings { masquerade_bit: 15, ..settings() };
        assert_eq!(see("web", &changed).programs, both(ProgramState::Other));
        nft("add table ip portolan { flags dormant; }");
        let programs = [(Family::V4, ProgramState::Dormant), (Family::V6, ProgramState::Intact)];
        assert_eq!(see("web", &settings()).programs, programs.into());
    });
}

#[test]
fn what_somebody_changed_is_named_and_only_for_the_service_that_it_concerns() {
    in_namespace(|| {
        install();
        nft("delete element ip portolan endpoints { 10.96.0.10 . tcp . 80 . 0 }
             flush set ip portolan service-networks
             add element ip portolan pods { 10.99.0.0/24 }
             insert rule ip portolan internal accept
             add chain ip portolan mine");
        let seen = see("web", &settings());
        let damage = vec!["ip chain internal".to_owned(), "ip chain mine".to_owned()];
        let programs = [(Family::V4, ProgramState::Damaged(damage)), (Family::V6, ProgramState::Intact)];
        assert_eq!(seen.programs, programs.into());
        let of_node = ["pod range 10.99.0.0/24 left over", "service network 10.96.0.0/16 missing"];
        let of_web = ["endpoint 10.1.2.3:8080 missing (10.96.0.10:80/TCP)"];
        assert_eq!(differences(&seen), [&of_node[..], &of_web].concat());
        assert_eq!(differences(&see("other", &settings())), of_node);
    });
}

#[test]
fn clients_that_affinity_remembers_are_seen_and_those_of_departed_endpoints_too() {
    in_namespace(|| {
        install();
        for (map, value) in [("address", "10.1.2.9"), ("port", "8080")] {
            nft(&format!(
                "add element ip portolan affinity-shop/web/tcp/http-{map} {{ 10.0.0.7 timeout 500s : {value} }}"
            ));
        }
        let seen = see("web", &settings());
        let [client] = seen.remembered.as_slice() else { panic!("{:?}", seen.remembered) };
        assert_eq!(
            (client.list, client.client, client.target),
            (ListName::All, ip("10.0.0.7"), target("10.1.2.9", 8080))
        );
        assert_eq!((client.protocol, client.port_name.as_str()), (Protocol::Tcp, "http"));
        assert!((400..=500).contains(&client.expires), "{client:?}");
        assert_eq!(see("other", &settings()).remembered, []);
    });
}

#[test]
fn connections_are_counted_and_seen_with_their_endpoint() {
    in_namespace(|| {
        install();
        run("ip", &["address", "add", "10.1.2.3/32", "dev", "lo"]);
        run("ip", &["route", "add", "10.96.0.0/16", "dev", "lo"]);
        let web: Frontend = frontend("10.96.0.10", Protocol::Tcp, 80);
        let listener = TcpListener::bind("10.1.2.3:8080").unwrap();
        let clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect("10.96.0.10:80").unwrap()).collect();
        let direct = TcpStream::connect("10.1.2.3:8080").unwrap();
        let seen = see("web", &settings());
        assert_eq!(seen.counters[&web], Counters { served: 3, dead_end: 0 });
        assert_eq!(seen.remembered.len(), 1);

        let found = connections(&BTreeSet::from([web])).unwrap();
        let ports: BTreeSet<u16> = clients.iter().map(|client| client.local_addr().unwrap().port()).collect();
        assert_eq!(found.entries.iter().map(|entry| entry.client.port).collect::<BTreeSet<_>>(), ports);
        for entry in &found.entries {
            assert_eq!((entry.frontend, entry.endpoint, entry.answered), (web, target("10.1.2.3", 8080), true));
        }
        assert!(found.count >= 4 && found.max > found.count, "{found:?}");
        assert_eq!(connections(&BTreeSet::new()).unwrap().entries, []);
        drop((listener, clients, direct));
    });
}
