//! Random rulesets.

use std::{cell::Cell, fmt::Write};

use portolan::model::{Family, Protocol};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::{
    support::can_run,
    town::{Town, Way},
};

/// A table of others.
#[derive(Clone, Debug)]
struct Table {
    family: &'static str,
    chains: Vec<Chain>,
    side: Vec<Rule>,
}

/// A base chain.
#[derive(Clone, Debug)]
struct Chain {
    hook: &'static str,
    priority: i32,
    nat: bool,
    drops: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    matches: Vec<&'static str>,
    action: &'static str,
}

/// WEB, GUEST, OTHER and NODE are addresses, SERVICE the cluster IP, IP the family.
const MATCHES: [&str; 52] = [
    "IP daddr WEB",
    "IP daddr SERVICE",
    "IP daddr NODE",
    "IP daddr != WEB",
    "IP daddr { WEB, SERVICE }",
    "IP daddr @hosts",
    "IP daddr RANGE",
    "IP saddr GUEST",
    "IP saddr CLIENT",
    "IP saddr != { GUEST, NODE }",
    "IP daddr . udp dport { WEB . 8080, SERVICE . 80 }",
    "IP daddr . meta l4proto . th dport @ports",
    "IP daddr . th dport @ranges",
    "ct original IP daddr SERVICE",
    "ct original IP daddr != SERVICE",
    "udp dport 80",
    "udp dport 8080",
    "udp dport != 80",
    "udp dport 80-90",
    "udp dport { 1-100, 30001 }",
    "udp dport >= 8080",
    "th dport < 8080",
    "tcp dport 80",
    "udp sport 1-30000",
    "udp sport != 1-20100",
    "meta l4proto udp",
    "meta l4proto { tcp, sctp }",
    "meta l4proto udp ct original proto-dst 80",
    "ct state new",
    "ct state established,related",
    "ct state != new",
    "ct state { new, untracked }",
    "ct state invalid",
    "ct status dnat",
    "ct status & dnat == 0",
    "ct direction original",
    "ct mark 0x7",
    "meta mark 0",
    "meta mark 0x7",
    "meta mark & 0x4000 == 0x4000",
    "meta mark & 0x4000 != 0x4000",
    "meta mark { 0x7, 0x4000 }",
    "iifname eth0",
    "iifname \"veth*\"",
    "iifname != { eth0, lo }",
    "oifname \"veth*\"",
    "oifname != eth0",
    "iif lo",
    "fib daddr type local",
    "fib daddr type { local, multicast }",
    "fib saddr type != local",
    "fib daddr type != local",
];

/// What depends on chance or on what this reader does not know.
const UNKNOWN: [&str; 4] =
    ["meta cpu 0", "limit rate 1/minute burst 2 packets", "numgen random mod 2 0", "meta length 20-70"];

const ACTIONS: [&str; 22] = [
    "drop",
    "drop",
    "counter drop",
    "reject",
    "reject",
    "reject with icmpx admin-prohibited",
    "accept",
    "accept",
    "accept",
    "return",
    "return",
    "jump side",
    "jump side",
    "goto side",
    "counter",
    "meta mark set 0x7",
    "meta mark set meta mark | 0x10000",
    "meta mark set meta mark & 0xffffbfff",
    "ct mark set 0x7",
    "udp dport vmap { 80 : accept, 8080 : drop, 30001 : jump side }",
    "ct state vmap { established : accept, new : jump side, invalid : drop }",
    "iifname vmap { eth0 : goto side, \"lo\" : drop }",
];

fn rules(most: usize, unknown: bool) -> impl Strategy<Value = Vec<Rule>> {
    let known = select(&MATCHES[..]);
    let some = if unknown { prop_oneof![3 => known, 1 => select(&UNKNOWN[..])].boxed() } else { known.boxed() };
    let rule = (vec(some, 0..3), select(&ACTIONS[..])).prop_map(|(matches, action)| Rule { matches, action });
    vec(rule, 0..most)
}

fn chain(unknown: bool) -> impl Strategy<Value = Chain> {
    // The priorities of connection tracking and of our own translation have a test of their own.
    let hooks = prop_oneof![
        3 => select(vec![-300, -199, -150, -101, -99, 0, 5]).prop_map(|priority| ("prerouting", priority)),
        2 => select(vec![-10, 0, 110]).prop_map(|priority| ("input", priority)),
        4 => select(vec![-300, -10, 0, 5, 110]).prop_map(|priority| ("forward", priority)),
        2 => select(vec![-300, -101, -99, 0, 5]).prop_map(|priority| ("output", priority)),
        2 => select(vec![-150, 0, 99]).prop_map(|priority| ("postrouting", priority)),
    ];
    let filter = (hooks, prop::bool::weighted(0.15), rules(5, unknown))
        .prop_map(|((hook, priority), drops, rules)| Chain { hook, priority, nat: false, drops, rules });
    let actions = vec!["dnat to OTHER:8080", "redirect to :9", "accept", "return", "dnat to :8080", "jump side"];
    let rule = (vec(select(&MATCHES[..]), 0..3), select(actions));
    let rule = rule.prop_map(|(matches, action)| Rule { matches, action });
    let nat = (select(vec!["prerouting", "output"]), select(vec![-110, -90]), vec(rule, 0..3))
        .prop_map(|(hook, priority, rules)| Chain { hook, priority, nat: true, drops: false, rules });
    prop_oneof![6 => filter, 1 => nat]
}

fn tables(unknown: bool) -> impl Strategy<Value = Vec<Table>> {
    let table = (select(vec!["ip", "ip6", "inet", "inet"]), vec(chain(unknown), 1..3), rules(4, unknown));
    let table = table.prop_map(|(family, chains, mut side)| {
        // No chain leads to itself.
        side.retain(|rule| !rule.action.contains("side"));
        Table { family, chains, side }
    });
    vec(table, 1..4)
}

/// The table as nft text.
fn text(town: &Town, number: usize, table: &Table) -> String {
    let families: &[Family] = match table.family {
        "ip" => &[Family::V4],
        "ip6" => &[Family::V6],
        _ => &Family::ALL,
    };
    let mut text = format!("table {} others-{number} {{\n", table.family);
    for family in families {
        let [word, kind] = if *family == Family::V4 { ["ip", "ipv4_addr"] } else { ["ip6", "ipv6_addr"] };
        let sets = [
            format!("set {word}-hosts {{ type {kind}; flags interval; elements = {{ WEB, RANGE }} }}\n"),
            format!(
                "set {word}-ports {{ type {kind} . inet_proto . inet_service; elements = {{ WEB . udp . 8080, NODE . udp . 9 }} }}\n"
            ),
            format!(
                "set {word}-ranges {{ type {kind} . inet_service; flags interval; elements = {{ RANGE . 1-100, WEB . 8080 }} }}\n"
            ),
        ];
        sets.iter().for_each(|set| text.push_str(&place(town, set, *family)));
    }
    let all = |rules: &[Rule], nat: bool, quiet: bool| {
        let mut text = String::new();
        for (index, rule) in rules.iter().enumerate() {
            let family = families[index % families.len()];
            // Ports are translated only of protocols that have some.
            let port = if nat && rule.action.contains(':') { "meta l4proto udp " } else { "" };
            let action = if nat && rule.action.contains(" to OTHER") && table.family == "inet" {
                rule.action.replace("dnat", "dnat IP")
            } else {
                rule.action.to_owned()
            };
            // Only filter chains refuse, and not in postrouting.
            let action = if quiet { action.replace("side", "quiet").replace("reject", "drop") } else { action };
            let action = action.replace("drop with icmpx admin-prohibited", "drop");
            let action = match table.family {
                "ip" => action.replace("icmpx", "icmp"),
                "ip6" => action.replace("icmpx", "icmpv6"),
                _ => action,
            };
            let line = format!("    {} {port}{action}\n", rule.matches.join(" "));
            text.push_str(&place(town, &line, family));
        }
        text
    };
    for (name, quiet) in [("side", false), ("quiet", true)] {
        writeln!(text, "  chain {name} {{\n{}  }}", all(&table.side, false, quiet)).unwrap();
    }
    for (index, chain) in table.chains.iter().enumerate() {
        let kind = if chain.nat { "nat" } else { "filter" };
        let policy = if chain.drops { "drop" } else { "accept" };
        writeln!(text, "  chain base-{index} {{").unwrap();
        writeln!(text, "    type {kind} hook {} priority {}; policy {policy};", chain.hook, chain.priority).unwrap();
        // Errors and answers are let through: it is the first packet that this is about.
        text.push_str("    meta l4proto { icmp, ipv6-icmp } accept\n    th sport { 9, 80, 8080, 30001 } accept\n");
        text.push_str(&all(&chain.rules, chain.nat, chain.nat || chain.hook == "postrouting"));
        text.push_str("  }\n");
    }
    text + "}\n"
}

fn place(town: &Town, text: &str, family: Family) -> String {
    let address = |way| town.source(way, family).to_string();
    let v4 = family == Family::V4;
    let other = town.pod("other", family).to_string();
    let other = if v4 { other } else { format!("[{other}]") };
    text.replace("IP ", if v4 { "ip " } else { "ip6 " })
        .replace("@", if v4 { "@ip-" } else { "@ip6-" })
        .replace("OTHER:", &format!("{other}:"))
        .replace("WEB", &town.pod("web", family).to_string())
        .replace("SERVICE", &town.frontend(Way::Pod, family, Protocol::Udp).address.to_string())
        .replace("GUEST", &address(Way::Pod))
        .replace("NODE", &address(Way::Host))
        .replace("CLIENT", &address(Way::Outside))
        .replace("RANGE", if v4 { "10.96.0.0/24" } else { "fd00:96::/64" })
}

/// Loads random tables and sends packets of every way; `unknown` says whether findings may be uncertain.
fn packets_decide(cases: u32, unknown: bool) {
    let town = Town::up();
    let (tried, refused, findings) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() });
    let result = runner.run(&tables(unknown), |tables| {
        let rules: String = tables.iter().enumerate().map(|(number, table)| text(&town, number, table)).collect();
        town.clean();
        tried.set(tried.get() + 1);
        if let Err(reason) = town.load(&rules) {
            // Such as one that asks for two protocols at once.
            println!("{reason}");
            refused.set(refused.get() + 1);
            return Ok(());
        }
        let seen = town.look();
        for way in Way::ALL {
            for family in Family::ALL {
                let fail = |reason: String| TestCaseError::fail(format!("{reason}\n{rules}"));
                let found = town.try_out(&seen, way, family, Protocol::Udp).map_err(fail)?;
                findings.set(findings.get() + found.len());
                if !unknown && found.iter().any(|finding| !finding.certain) {
                    return Err(fail(format!("{way:?} {family}: uncertain for no reason: {found:#?}")));
                }
            }
        }
        Ok(())
    });
    town.clean();
    if let Err(error) = result {
        panic!("{error}");
    }
    let (tried, refused, findings) = (tried.get(), refused.get(), findings.get());
    println!("{tried} rulesets, of which nft refused {refused}; {findings} findings");
    assert!(refused * 5 < tried, "nft refused {refused} of {tried} rulesets");
    assert!(findings > tried / 2, "only {findings} findings in {tried} rulesets");
}

#[test]
fn what_is_found_of_known_rules_is_certain_and_is_what_becomes_of_packets() {
    if can_run("what_is_found_of_known_rules_is_certain_and_is_what_becomes_of_packets") {
        packets_decide(100, false);
    }
}

#[test]
fn what_is_certain_among_unknown_rules_is_what_becomes_of_packets() {
    if can_run("what_is_certain_among_unknown_rules_is_what_becomes_of_packets") {
        packets_decide(50, true);
    }
}
