//! Which endpoints a node uses: docs/service-behaviour.md, sections 3.1 and 3.2.

use std::sync::Arc;

use portolan::{
    compile::{Selection, Use, Wanted, select},
    model::{EndpointFacts, Family, Node, Protocol, ServiceId, ServicePort, Slice, SliceId, SlicePort, Target},
};

const BOTH: Wanted = Wanted { all: true, local: true };

fn node() -> Node {
    Node { name: "here".into(), zone: Some("zone-a".into()), ..Node::default() }
}

fn names(names: &[&str]) -> Box<[Arc<str>]> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// A ready endpoint 10.0.0.`last` on `node`.
fn endpoint(last: u8, node: &str) -> EndpointFacts {
    EndpointFacts {
        address: [10, 0, 0, last].into(),
        ready: true,
        serving: true,
        terminating: false,
        node: (!node.is_empty()).then(|| node.into()),
        pod: None,
        zone_hints: names(&[]),
        node_hints: names(&[]),
    }
}

fn terminating(endpoint: EndpointFacts) -> EndpointFacts {
    EndpointFacts { ready: false, terminating: true, ..endpoint }
}

fn unready(endpoint: EndpointFacts) -> EndpointFacts {
    EndpointFacts { ready: false, serving: false, ..endpoint }
}

fn zone(endpoint: EndpointFacts, zone: &str) -> EndpointFacts {
    EndpointFacts { zone_hints: names(&[zone]), ..endpoint }
}

fn slice(name: &str, endpoints: Vec<EndpointFacts>) -> Slice {
    Slice {
        id: SliceId { namespace: "shop".into(), name: name.into() },
        service: ServiceId::new("shop", "web"),
        ports: vec![SlicePort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints,
    }
}

/// The last bytes of the addresses on the cluster list and the local list, and whether anything is usable anywhere.
fn lists(wanted: Wanted, node: &Node, slices: &[Slice]) -> (Vec<u8>, Vec<u8>, bool) {
    let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    let selection = select(&port, Family::V4, slices.iter(), node, wanted);
    (last_bytes(&selection.all), last_bytes(&selection.local), selection.has_any)
}

fn last_bytes(targets: &[Target]) -> Vec<u8> {
    let last = |t: &Target| match t.address {
        std::net::IpAddr::V4(a) => a.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    targets.iter().map(last).collect()
}

#[test]
fn ready_endpoints_make_the_lists() {
    let endpoints = vec![endpoint(1, "here"), endpoint(2, "there"), unready(endpoint(3, "here")), endpoint(4, "")];
    assert_eq!(lists(BOTH, &node(), &[slice("a", endpoints)]), (vec![1, 2, 4], vec![1], true));
}

#[test]
fn terminating_endpoints_serve_only_while_none_is_ready() {
    let slices = [slice("a", vec![terminating(endpoint(1, "here")), endpoint(2, "there")])];
    assert_eq!(lists(BOTH, &node(), &slices), (vec![2], vec![1], true), "each list falls back for itself");
    let slices = [slice("a", vec![terminating(endpoint(1, "here")), unready(endpoint(2, "there"))])];
    assert_eq!(lists(BOTH, &node(), &slices), (vec![1], vec![1], true));
    let gone = EndpointFacts { serving: false, ..terminating(endpoint(1, "here")) };
    assert_eq!(lists(BOTH, &node(), &[slice("a", vec![gone])]), (vec![], vec![], false));
}

#[test]
fn something_usable_elsewhere_is_remembered() {
    let slices = [slice("a", vec![endpoint(2, "there")])];
    let local = Wanted { all: false, local: true };
    assert_eq!(lists(local, &node(), &slices), (vec![], vec![], true), "to be dropped, not refused");
    let slices = [slice("a", vec![unready(endpoint(2, "there"))])];
    assert_eq!(lists(local, &node(), &slices), (vec![], vec![], false), "to be refused");
}

#[test]
fn zone_hints_count_when_all_ready_endpoints_have_them() {
    let a = zone(endpoint(1, "there"), "zone-a");
    let b = zone(endpoint(2, "there"), "zone-b");
    let all = |endpoints: &[&EndpointFacts], node: &Node| {
        lists(BOTH, node, &[slice("a", endpoints.iter().map(|e| (*e).clone()).collect())]).0
    };
    assert_eq!(all(&[&a, &b], &node()), [1]);
    assert_eq!(all(&[&a, &b, &endpoint(3, "there")], &node()), [1, 2, 3], "one without a hint");
    assert_eq!(all(&[&a, &b, &unready(endpoint(3, "there"))], &node()), [1], "unready ones do not count");
    assert_eq!(all(&[&b], &node()), [2], "no hint for this zone");
    assert_eq!(all(&[&a, &b], &Node { zone: None, ..node() }), [1, 2], "a node without a zone");
}

#[test]
fn node_hints_come_before_zone_hints_and_never_touch_the_local_list() {
    let hinted = |last: u8, node: &str, hint: &str| EndpointFacts {
        node_hints: names(&[hint]),
        ..zone(endpoint(last, node), "zone-a")
    };
    let slices = [slice("a", vec![hinted(1, "here", "here"), hinted(2, "here", "there")])];
    assert_eq!(lists(BOTH, &node(), &slices), (vec![1], vec![1, 2], true));
    let slices = [slice("a", vec![hinted(1, "there", "there"), hinted(2, "there", "there")])];
    assert_eq!(lists(BOTH, &node(), &slices).0, [1, 2], "no node hint for this node: zone hints decide");
}

#[test]
fn one_endpoint_in_two_slices_counts_once() {
    let slices = [slice("a", vec![terminating(endpoint(1, "here"))]), slice("b", vec![endpoint(1, "here")])];
    assert_eq!(lists(BOTH, &node(), &slices), (vec![1], vec![1], true), "the one that is not terminating counts");
    let slices = [slice("a", vec![endpoint(1, "here")]), slice("b", vec![terminating(endpoint(1, "here"))])];
    assert_eq!(lists(BOTH, &node(), &slices), (vec![1], vec![1], true));
}

#[test]
fn ports_match_by_name_and_protocol() {
    let port = ServicePort { name: "https".into(), protocol: Protocol::Tcp, port: 443, node_port: None };
    let slices = [slice("a", vec![endpoint(1, "here")])];
    let selection = select(&port, Family::V4, slices.iter(), &node(), BOTH);
    assert!(selection.judged.is_empty() && !selection.has_any);
}

#[test]
fn every_endpoint_keeps_its_reason() {
    let endpoints = vec![
        zone(endpoint(1, "here"), "zone-a"),
        zone(endpoint(2, "there"), "zone-b"),
        terminating(endpoint(3, "there")),
        unready(endpoint(4, "there")),
    ];
    let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    let slices = [slice("a", endpoints)];
    let node = node();
    let selection: Selection = select(&port, Family::V4, slices.iter(), &node, BOTH);
    let reasons: Vec<(Use, Use)> = selection.judged.iter().map(|j| (j.all, j.local)).collect();
    let expected = [
        (Use::Ready, Use::Ready),
        (Use::OtherZoneHint, Use::NotLocal),
        (Use::Terminating, Use::NotLocal),
        (Use::NotReady, Use::NotLocal),
    ];
    assert_eq!(reasons, expected);
}
