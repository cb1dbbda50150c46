//! What somebody breaks with nft is mended as soon as the agent looks, and ends as a fresh start does.

use std::collections::BTreeSet;

use portolan::{
    lab::{Namespace, Outcome, in_namespace},
    model::{Protocol, Service, TrafficPolicy, World},
};

use crate::{
    services::{Kind, READY, families_and_protocols, service, settings, world},
    support::{Net, can_run, node_address, run, spec},
};

/// What somebody types, and whether the program itself must then be written anew.
const DAMAGE: &[(&str, bool)] = &[
    ("delete element ip portolan frontends { 10.96.0.1 . tcp . 80 }", false),
    ("delete element ip6 portolan endpoints { fd00:96::1 . udp . 80 . 0 }", false),
    ("flush map ip portolan endpoints", false),
    ("flush map ip6 portolan picks; flush map ip6 portolan frontends; flush map ip6 portolan dead-ends", false),
    ("flush set ip portolan cluster-ips; flush set ip portolan pods; flush set ip portolan hairpin", false),
    ("flush set ip6 portolan allowed-sources; flush set ip6 portolan service-networks", false),
    ("add element ip portolan frontends { 192.0.2.1 . tcp . 80 : goto external }", false),
    ("add element ip portolan pods { 192.168.49.0/24 }", false),
    ("add element ip portolan cluster-ips { 198.51.100.1 }", false),
    (
        "delete element ip portolan picks { 10.96.0.1 . tcp . 80 }; \
      add element ip portolan picks { 10.96.0.1 . tcp . 80 : goto pick-1 }",
        false,
    ),
    ("add chain ip portolan pick-77", false),
    ("flush chain ip portolan pick-2", false),
    ("flush chain ip portolan local-pick-1; flush chain ip6 portolan local-pick-1", false),
    ("flush chain ip portolan prerouting", true),
    ("insert rule ip6 portolan external drop", true),
    ("add rule ip portolan filter-forward counter accept", true),
    ("add rule ip portolan pick-1 drop", false),
    ("add chain ip portolan filter-forward { policy drop; }", true),
    ("add table ip6 portolan { flags dormant; }", true),
    ("add chain ip portolan backdoor", false),
    ("add set ip6 portolan mine { type ipv6_addr; }", false),
    ("flush chain ip portolan learn-shop/web-3/tcp/tcp", false),
    ("flush chain ip6 portolan sticky-shop/web-3/udp/udp", false),
    ("flush table ip portolan", true),
    ("delete table ip6 portolan", true),
    ("delete table ip portolan; delete table ip6 portolan", true),
];

/// What nft lists, table by table and block by block, in an order of its own: chains stand in the order in which they
/// came. Counters are left out.
fn listing(namespace: &Namespace) -> BTreeSet<String> {
    let text = run(namespace, "nft --stateless list ruleset");
    let mut blocks = BTreeSet::new();
    let (mut table, mut block) = (String::new(), String::new());
    for line in text.lines() {
        if line.starts_with("table ") {
            table = line.to_owned();
        } else if line.starts_with('\t') {
            block = format!("{block}{line}\n");
        }
        let ends = line == "\t}" || (line.starts_with("\tcomment") && block.lines().count() == 1);
        if ends {
            assert!(blocks.insert(format!("{table}\n{block}")), "listed twice: {table} {block}");
            block.clear();
        }
    }
    assert!(block.is_empty(), "{block:?}");
    blocks
}

/// Service 1 with endpoints here and there, 2 with local policies, 3 with affinity, 4 with source ranges, 5 without
/// endpoints, 6 with one.
fn everything(net: &Net) -> World {
    let local = TrafficPolicy::Local;
    let ranges = ["192.168.49.100/32", "10.0.0.0/8", "fd00:49::/64"].map(|range| range.parse().unwrap());
    let both = || vec![("here", READY), ("there", READY)];
    let services = [
        (service(1), both()),
        (Service { internal_policy: local, external_policy: local, ..service(2) }, both()),
        (Service { affinity_seconds: Some(10_800), external_policy: local, ..service(3) }, both()),
        (Service { source_ranges: ranges.to_vec(), ..service(4) }, both()),
        (service(5), vec![]),
        (service(6), vec![("here", READY)]),
    ];
    world(net.lab.spec(), &services)
}

/// Asserts that packets to node-1 find what they should.
fn works(net: &Net) {
    let (client, guest) = (net.client(), net.pod("guest"));
    for (family, protocol) in families_and_protocols() {
        let of = |kind: Kind, number| kind.frontend(number, family, protocol);
        client.is_served(of(Kind::NodePort, 1), &["here", "there"], node_address(1, family));
        guest.is_served_as_itself(of(Kind::ClusterIp, 2), &["here"]);
        client.is_served_as_itself(of(Kind::NodePort, 2), &["here"]);
        let first = guest.pod(of(Kind::ClusterIp, 3));
        assert_eq!([0; 4].map(|_| guest.pod(of(Kind::ClusterIp, 3))), [(); 4].map(|()| first.clone()));
        client.is_refused(of(Kind::NodePort, 5));
    }
}

#[test]
fn what_somebody_breaks_is_mended() {
    if !can_run("what_somebody_breaks_is_mended") {
        return;
    }
    let mut net = Net::up(spec(2, &[("here", 1), ("there", 2), ("guest", 1)]));
    let world = everything(&net);
    let node = net.lab.node("node-1").unwrap();
    // What is not ours is there before and after.
    nft(&node, "add table ip theirs; add chain ip theirs input { type filter hook input priority 5; }");
    nft(&node, "add rule ip theirs input tcp dport 4712 counter drop");
    net.program(&world, &settings());
    // What is remembered of clients is listed too; so there are no packets before the comparison is over.
    let wanted = listing(&node);
    assert!(wanted.len() > 40, "{wanted:#?}");
    for (text, rewrites) in DAMAGE {
        nft(&node, text);
        assert_ne!(listing(&node), wanted, "{text}: does nothing");
        let mended = net.with_agent("node-1", |agent| {
            agent.doubt();
            agent.sync().unwrap()
        });
        assert!(!mended.repaired.is_empty(), "{text}: not told");
        assert!(mended.refused.is_empty(), "{text}: {mended:?}");
        assert_eq!(mended.installed, *rewrites, "{text}: {mended:?}");
        assert_same(&listing(&node), &wanted, text);
        let nothing = net.with_agent("node-1", |agent| {
            agent.doubt();
            agent.sync().unwrap()
        });
        assert!(
            nothing.operations == 0 && !nothing.installed && nothing.repaired.is_empty(),
            "{text}: a second look finds {nothing:?}"
        );
    }
    works(&net);

    // The same while the agent is away: the next one mends it.
    nft(&node, "flush chain ip portolan postrouting; flush map ip portolan picks; delete table ip6 portolan");
    assert_eq!(
        net.client().ask(Kind::NodePort.frontend(1, portolan::model::Family::V4, Protocol::Tcp)),
        Outcome::Reset
    );
    net.restart("node-1");
    net.program(&world, &settings());
    assert_same(&listing(&node), &wanted, "a restart");
    works(&net);
}

fn nft(namespace: &Namespace, text: &str) {
    in_namespace(namespace, || portolan::kernel::nft::run(text, false, "break the tables")).unwrap().unwrap();
}

/// Shows what differs, and not the whole of it.
#[track_caller]
fn assert_same(got: &BTreeSet<String>, wanted: &BTreeSet<String>, text: &str) {
    let lacks: Vec<_> = wanted.difference(got).collect();
    let more: Vec<_> = got.difference(wanted).collect();
    assert!(lacks.is_empty() && more.is_empty(), "after {text}\nlacks {lacks:#?}\nhas more {more:#?}");
}
