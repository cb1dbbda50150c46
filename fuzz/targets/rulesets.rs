//! Rulesets as `nft -j` and `nft -a` print them, of others and of Portolan: whatever they are, reading them ends, and what
//! is said of a packet that meets them is consistent.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use portolan::{
    foreign::{Hook, Packet, Ruleset},
    model::{Family, Protocol, Target},
    tables::{Element, read_nft_json},
};

/// Rules that are asked at most. A chain of jumps may lead to very many.
const MOST_RULES: usize = 10_000;

fuzz_target!(|input: &[u8]| {
    let input = String::from_utf8_lossy(input);
    // The JSON, and after an empty line the text.
    let (json, text) = input.split_once("\n\n").unwrap_or((&input, ""));
    let mut ruleset = Ruleset::new(["10.96.0.1".parse().unwrap()].into());
    if ruleset.add(json, text).is_ok() {
        for (family, client, dialled, endpoint) in [
            (Family::V4, "10.244.1.11", "10.96.0.1", "10.244.1.10"),
            (Family::V6, "fd00:10:244:1::b", "fd00:10:96::1", "fd00:10:244:1::a"),
        ] {
            let target = |address: &str, port| Target { address: address.parse().unwrap(), port };
            let packet = Packet {
                family,
                protocol: Protocol::Tcp,
                source: (client.parse().unwrap(), None),
                destination: target(endpoint, 8080),
                dialled: target(dialled, 80),
                incoming: Some("veth1".to_owned()),
                outgoing: None,
                mark: 0,
            };
            let way = [Hook::Prerouting, Hook::Forward, Hook::Postrouting].map(|hook| (hook, packet.clone()));
            let mut left = MOST_RULES;
            let findings = ruleset.pass(&way, &mut left);
            assert!(left <= MOST_RULES);
            for finding in &findings {
                assert_eq!(finding.certain, finding.depends_on.is_empty(), "{finding:?}");
            }
            assert_eq!(findings.iter().collect::<BTreeSet<_>>().len(), findings.len(), "said twice");
            assert_eq!(ruleset.pass(&way, &mut MOST_RULES.clone()), findings, "said once more");
        }
    }
    if let Ok(listing) = read_nft_json(json) {
        for element in &listing.state.elements {
            if let Element::ServiceNetwork(range) | Element::Pods(range) = element {
                assert!(range.first <= range.last && range.first.is_ipv4() == range.last.is_ipv4(), "{range:?}");
            }
        }
    }
});
