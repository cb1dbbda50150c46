//! The ruleset as JSON, beside what nft lists after it has loaded the same as text.

use std::collections::BTreeMap;

use expect_test::expect_file;
use portolan::{
    model::{Family, PodDetector, Protocol, Settings},
    tables::{AffinityGroup, Element, List, PickChain, Program, TableState, nft_json, nft_text},
};
use serde_json::Value;

use crate::{
    elements::{one_of_each, picks},
    namespace::{frontend, in_namespace, nft, range, run, target},
};

/// What nft lists in this namespace.
fn listing() -> Vec<Value> {
    objects(&run("nft", &["-j", "list", "ruleset"]))
}

/// The objects of a ruleset, without what is not the ruleset: handles, versions, what counters counted.
fn objects(json: &str) -> Vec<Value> {
    let mut ruleset: BTreeMap<String, Vec<Value>> = serde_json::from_str(json).unwrap();
    let mut objects = ruleset.remove("nftables").unwrap();
    assert!(objects.remove(0).get("metainfo").is_some());
    for object in &mut objects {
        object.as_object_mut().unwrap().values_mut().next().unwrap().as_object_mut().unwrap().remove("handle");
        zero_counters(object);
    }
    objects
}

fn zero_counters(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(zero_counters),
        Value::Object(fields) => {
            if let Some(Value::Object(counter)) = fields.get_mut("counter") {
                counter.values_mut().for_each(|count| *count = 0.into());
            }
            fields.values_mut().for_each(zero_counters);
        }
        _ => {}
    }
}

/// The order that means something, and no other: that of the rules of a chain. Sets, maps and chains by name, elements
/// by their text.
fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    for elements in objects.iter_mut().filter_map(|object| {
        let kind = if object.get("set").is_some() { "set" } else { "map" };
        object.get_mut(kind)?.get_mut("elem")?.as_array_mut()
    }) {
        elements.sort_by_key(Value::to_string);
    }
    objects.sort_by_key(|object| {
        let (kind, body) = object.as_object().unwrap().iter().next().unwrap();
        let part = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        (kind.clone(), part("family"), part("chain"), part("name"))
    });
    objects
}

#[test]
fn rules_json_is_what_nft_makes_of_the_program() {
    let programs = [
        (include_str!("../../rules/ipv4.nft"), expect_file!["../../rules/ipv4.json"]),
        (include_str!("../../rules/ipv6.nft"), expect_file!["../../rules/ipv6.json"]),
    ];
    in_namespace(|| {
        for (text, expected) in programs {
            let mut marked = text.to_owned();
            for mark in ["detector", "hide"] {
                marked = marked.replace(&format!(" # {mark}\n"), &format!(" comment \"{mark}\"\n"));
            }
            nft(&format!("flush ruleset\n{marked}"));
            let lines: Vec<String> = listing().iter().map(Value::to_string).collect();
            expected.assert_eq(&format!("{{\"nftables\": [\n{}\n]}}\n", lines.join(",\n")));
        }
    });
}

/// A group that is used for both lists, with a member of each, and a frontend that leads to it; and one for this
/// node's endpoints only.
fn affinity(family: Family) -> (Vec<AffinityGroup>, Vec<Element>) {
    let (service, endpoint) = match family {
        Family::V4 => ("10.96.0.10", "10.0.0.7"),
        Family::V6 => ("fd00::10", "fc00::7"),
    };
    let web = frontend(service, Protocol::Tcp, 90);
    let group = |name: &str, timeout, all| AffinityGroup { family, name: name.into(), timeout, all, local: true };
    let groups = vec![group("shop/web/tcp/http", 10800, true), group("shop/dns/udp", 90, false)];
    let name = &groups[0].name;
    let mut elements = vec![Element::Learner { frontend: web, group: name.clone() }];
    for (list, port) in [(List::All, 8080), (List::Local, 8081)] {
        elements.push(Element::Sticky { frontend: web, list, group: name.clone() });
        elements.push(Element::Member { group: name.clone(), list, target: target(endpoint, port) });
    }
    (groups, elements)
}

/// Every kind of everything, in both families.
fn full_state() -> TableState {
    let mut state = TableState::default();
    for family in Family::ALL {
        let (groups, elements) = affinity(family);
        state.groups.extend(groups);
        state.picks.extend(picks(family));
        state.elements.extend(one_of_each(family).into_iter().chain(elements));
    }
    let everywhere = range("0.0.0.0", "255.255.255.255");
    let open = frontend("10.96.0.10", Protocol::Tcp, 443);
    state.elements.push(Element::AllowedSource { frontend: open, range: everywhere });
    let long: String = "shop/".chars().chain("ü".repeat(90).chars()).collect();
    let policy = portolan::tables::Policy::External;
    state.elements.push(Element::Frontend { frontend: open, policy, guarded: true, owner: long.into() });
    state
}

/// Settings that between them choose every form of every line.
fn settings() -> Vec<Settings> {
    let ranges = |ranges: &[&str]| PodDetector::SourceRanges(ranges.iter().map(|r| r.parse().unwrap()).collect());
    let detectors = [
        ranges(&[]),
        ranges(&["10.0.0.0/8"]),
        ranges(&["10.0.0.0/8", "fd00:10::/64"]),
        PodDetector::BridgeInterface("cni0".into()),
        PodDetector::InterfaceNamePrefix("veth".into()),
    ];
    let mut all = Vec::new();
    for (detector, masquerade_bit) in detectors.into_iter().zip([14, 0, 30, 14, 3]) {
        for masquerade_all in [false, true] {
            all.push(Settings { detector: detector.clone(), masquerade_all, masquerade_bit, ..Settings::default() });
        }
    }
    all
}

#[track_caller]
fn assert_listed(settings: &Settings, state: &TableState) {
    let programs = Family::ALL.map(|family| Program::new(family, settings));
    nft(&nft_text(&programs, state));
    let (wanted, given) = (sorted(listing()), sorted(objects(&nft_json(&programs, state).unwrap())));
    for (wanted, given) in wanted.iter().zip(&given) {
        assert_eq!(given, wanted, "{settings:?}");
    }
    assert_eq!(given.len(), wanted.len(), "{settings:?}");
}

#[test]
fn json_is_what_nft_lists_of_the_text() {
    in_namespace(|| {
        let state = full_state();
        for settings in settings() {
            assert_listed(&settings, &state);
        }
        assert_listed(&Settings::default(), &TableState::default());
    });
}

#[test]
fn json_of_a_pick_chain_alone_needs_no_elements() {
    in_namespace(|| {
        let pick = PickChain { family: Family::V6, list: List::Local, count: 32768 };
        let state = TableState { picks: [pick].into(), ..TableState::default() };
        assert_listed(&Settings::default(), &state);
    });
}
