//! What several test files share: random clusters, and table contents compared without the order of slots.

#![allow(dead_code, reason = "every test file uses a part of it")]
use std::{collections::BTreeSet, net::IpAddr};

use portolan::{
    model::{
        EndpointFacts, Node, NodePortAddresses, PodDetector, Protocol, Service, ServiceId, ServicePort, ServiceType,
        Settings, Slice, SliceId, SlicePort, TrafficPolicy,
    },
    tables::{Element, LOCAL_SLOTS, List, TableState},
};
use proptest::{collection::vec, option, prelude::*, sample::select, sample::subsequence};

/// One step of a cluster's life.
#[derive(Clone, Debug)]
pub enum Step {
    PutService(Service),
    RemoveService(ServiceId),
    PutSlice(Slice),
    MoveNode(Node),
}

pub fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(
        prop_oneof![
            4 => service().prop_map(Step::PutService),
            1 => service_id().prop_map(Step::RemoveService),
            6 => slice().prop_map(Step::PutSlice),
            1 => node().prop_map(Step::MoveNode),
        ],
        1..count,
    )
}

pub fn settings() -> Settings {
    Settings {
        detector: PodDetector::SourceRanges(vec!["10.0.0.0/8".parse().unwrap(), "fd00:10::/64".parse().unwrap()]),
        node_port_addresses: NodePortAddresses::Primary,
        masquerade_all: false,
        masquerade_bit: 14,
    }
}

pub fn node() -> impl Strategy<Value = Node> {
    (select(vec!["192.168.49.11", "192.168.49.12"]), option::of(select(vec!["zone-a", "zone-b"]))).prop_map(
        |(address, zone)| Node {
            name: "here".into(),
            addresses: vec![address.parse().unwrap(), "fd00:49::11".parse().unwrap()],
            zone: zone.map(Into::into),
            ..Node::default()
        },
    )
}

fn service_id() -> impl Strategy<Value = ServiceId> {
    select(vec!["web", "dns", "db"]).prop_map(|name| ServiceId::new("shop", name))
}

fn addresses(pool: &[&str]) -> impl Strategy<Value = Vec<IpAddr>> + use<> {
    let pool: Vec<IpAddr> = pool.iter().map(|a| a.parse().unwrap()).collect();
    let all = pool.len();
    subsequence(pool, 0..=all)
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local])
}

/// A Service out of few addresses and ports, so that Services often want the same frontend.
pub fn service() -> impl Strategy<Value = Service> {
    let ports =
        subsequence(vec![("http", Protocol::Tcp, 80), ("dns", Protocol::Udp, 53), ("", Protocol::Sctp, 9)], 0..=3);
    let node_ports = option::of(30000u16..30003);
    let addresses = (
        addresses(&["172.30.0.1", "fd00:30::1"]),
        addresses(&["172.30.0.1", "192.0.2.9", "fd00:2::9"]),
        addresses(&["192.0.2.7", "192.0.2.8", "fd00:2::7"]),
    );
    let ranges = select(vec![vec![], vec!["203.0.113.0/24", "203.0.112.0/24", "192.168.0.0/16"], vec!["fd00:3::/64"]]);
    (
        service_id(),
        select(vec![ServiceType::ClusterIp, ServiceType::LoadBalancer, ServiceType::ExternalName]),
        addresses,
        (ports, node_ports),
        option::of(1u32..4),
        (policy(), policy()),
        ranges,
        proptest::bool::weighted(0.9),
    )
        .prop_map(
            |(id, kind, (cluster, external, load), (ports, node_port), affinity, policies, ranges, proxied)| {
                let ports = ports.into_iter().enumerate().map(|(index, (name, protocol, port))| ServicePort {
                    name: name.into(),
                    protocol,
                    port,
                    node_port: node_port.map(|n| n + index as u16),
                });
                Service {
                    id,
                    created: None,
                    kind,
                    proxied,
                    cluster_ips: cluster,
                    external_ips: external,
                    load_balancer_ips: load,
                    ports: ports.collect(),
                    affinity_seconds: affinity.map(|hours| hours * 3600),
                    internal_policy: policies.0,
                    external_policy: policies.1,
                    source_ranges: ranges.iter().map(|r| r.parse().unwrap()).collect(),
                    health_check_node_port: None,
                }
            },
        )
}

pub fn slice() -> impl Strategy<Value = Slice> {
    let port = (select(vec![("http", Protocol::Tcp), ("dns", Protocol::Udp), ("", Protocol::Sctp)]), 8080u16..8082);
    (service_id(), 0..2u8, any::<bool>(), port, vec(endpoint(), 0..6)).prop_map(
        |(service, number, v6, ((name, protocol), port), endpoints)| Slice {
            id: SliceId {
                namespace: "shop".into(),
                name: format!("{}-{number}-{}", service.name, if v6 { "v6" } else { "v4" }).into(),
            },
            service,
            ports: vec![SlicePort { name: name.into(), protocol, port }],
            endpoints: endpoints
                .into_iter()
                .map(|(last, facts)| EndpointFacts {
                    address: if v6 {
                        format!("fd00:10::{last}").parse().unwrap()
                    } else {
                        IpAddr::from([10, 0, 0, last])
                    },
                    ..facts
                })
                .collect(),
        },
    )
}

fn endpoint() -> impl Strategy<Value = (u8, EndpointFacts)> {
    let hint = || select(vec![None, Some("zone-a"), Some("zone-b")]);
    let node = select(vec![None, Some("here"), Some("there")]);
    let conditions = select(vec![(true, true, false), (true, true, false), (false, true, true), (false, false, false)]);
    (1..9u8, conditions, node, hint()).prop_map(|(last, (ready, serving, terminating), node, hint)| {
        let facts = EndpointFacts {
            address: [0, 0, 0, 0].into(),
            ready,
            serving,
            terminating,
            node: node.map(Into::into),
            pod: None,
            zone_hints: hint.into_iter().map(Into::into).collect(),
            node_hints: Box::new([]),
        };
        (last, facts)
    })
}

/// The state as sorted lines, each endpoint without its slot number; panics if slots have holes.
pub fn without_slot_order(state: &TableState) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut slots: BTreeSet<(String, u16)> = BTreeSet::new();
    for element in &state.elements {
        let line = match element {
            Element::Slot { frontend, slot, target } => {
                let list = if *slot >= LOCAL_SLOTS { List::Local } else { List::All };
                slots.insert((format!("{frontend} {list:?}"), slot - list.first_slot()));
                format!("slot {frontend} {list:?} {target}")
            }
            other => format!("{other:?}"),
        };
        assert!(lines.insert(line.clone()), "held twice: {line}");
    }
    for (list, slot) in &slots {
        assert!(*slot == 0 || slots.contains(&(list.clone(), slot - 1)), "a hole below slot {slot} of {list}");
    }
    lines.extend(state.picks.iter().map(|pick| format!("{pick:?}")));
    lines.extend(state.groups.iter().map(|group| format!("{group:?}")));
    lines.extend(state.strangers.iter().map(|stranger| format!("stranger {stranger}")));
    lines
}
