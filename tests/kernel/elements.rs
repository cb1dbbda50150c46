//! Elements and pick chains: what is committed is what is dumped, and what nft would have written.

use std::net::UdpSocket;

use portolan::{
    kernel::{Count, DataPlane, KernelError, NetlinkDataPlane},
    model::{Family, Frontend, Protocol},
    tables::{DeadEnd, Element, List, PickChain, Policy, TableState, Transaction, fit_comment},
};

use crate::namespace::{
    assert_same_text, frontend, in_namespace, installed, ip, listing, nft, programs, range, run, target,
};

/// One element of every kind but those of affinity, for a family.
pub fn one_of_each(family: Family) -> Vec<Element> {
    let (service, client, last) = match family {
        Family::V4 => ("10.96.0.10", "10.0.0.7", "255.255.255.255"),
        Family::V6 => ("fd00::10", "fc00::7", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    };
    let (first_net, last_net, high) = match family {
        Family::V4 => ("10.96.0.0", "10.111.255.255", "192.0.2.1"),
        Family::V6 => ("fd00::", "fd00::ffff", "fe00::1"),
    };
    let web = frontend(service, Protocol::Tcp, 80);
    let dns = frontend(service, Protocol::Udp, 53);
    let call = frontend(service, Protocol::Sctp, 3868);
    let mut all = vec![
        Element::ServiceNetwork(range(first_net, last_net)),
        Element::Pods(range(first_net, last_net)),
        Element::Pods(range(high, last)),
        Element::ClusterIp(ip(service)),
        Element::Hairpin(ip(client)),
        Element::Remembered { target: target(client, 8080), protocol: Protocol::Tcp },
        Element::AllowedSource { frontend: web, range: range(first_net, last_net) },
        Element::AllowedSource { frontend: web, range: range(client, client) },
        Element::AllowedSource { frontend: dns, range: range(high, last) },
        Element::DeadEnd { frontend: dns, verdict: DeadEnd::Refuse, owner: "shop/dns".into() },
        Element::DeadEnd { frontend: call, verdict: DeadEnd::Drop, owner: "shop/call:diameter".into() },
        Element::Slot { frontend: web, slot: 0, target: target(client, 8080) },
        Element::Slot { frontend: web, slot: 32768, target: target(client, 8081) },
    ];
    all.extend(Policy::ALL.into_iter().zip([80, 81, 82, 83]).map(|(policy, port)| Element::Frontend {
        frontend: frontend(service, Protocol::Tcp, port),
        policy,
        guarded: policy == Policy::External,
        owner: "shop/web:http".into(),
    }));
    for (list, count) in [(List::All, 3), (List::Local, 1)] {
        all.extend([(web, false), (dns, true)].map(|(frontend, first)| Element::Pick { frontend, list, first, count }));
    }
    all
}

pub fn picks(family: Family) -> [PickChain; 2] {
    [(List::All, 3), (List::Local, 1)].map(|(list, count)| PickChain { family, list, count })
}

fn sorted(mut elements: Vec<Element>) -> Vec<Element> {
    elements.sort();
    elements
}

/// Commits one of each in both families.
pub fn fill(plane: &mut NetlinkDataPlane) -> TableState {
    let wanted = TableState {
        programs: programs().into_iter().map(|program| (program.family, program.fingerprint)).collect(),
        elements: sorted(Family::ALL.into_iter().flat_map(one_of_each).collect()),
        picks: Family::ALL.into_iter().flat_map(picks).collect(),
        ..TableState::default()
    };
    let transaction = Transaction {
        add_picks: wanted.picks.iter().copied().collect(),
        add: wanted.elements.clone(),
        ..Transaction::default()
    };
    plane.commit(&transaction).unwrap();
    wanted
}

/// What is dumped, its elements sorted.
fn dumped(plane: &mut NetlinkDataPlane) -> TableState {
    let state = plane.dump().unwrap();
    TableState { elements: sorted(state.elements), ..state }
}

#[test]
fn every_kind_of_element_comes_back_as_committed() {
    in_namespace(|| {
        let mut plane = installed();
        let wanted = fill(&mut plane);
        assert_eq!(dumped(&mut plane), wanted);
        let undo = Transaction {
            delete: wanted.elements.clone(),
            delete_picks: wanted.picks.iter().copied().collect(),
            ..Transaction::default()
        };
        plane.commit(&undo).unwrap();
        assert_eq!(dumped(&mut plane), TableState { programs: wanted.programs, ..TableState::default() });
    });
}

/// The elements of [`one_of_each`] as nft text.
const IPV4_TEXT: &str = r#"
table ip portolan {
    chain pick-3 {
        dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 3 map @endpoints
        dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 3 map @endpoints
    }
    chain local-pick-1 {
        dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 offset 32768 map @endpoints
        dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 offset 32768 map @endpoints
    }
}
add element ip portolan service-networks { 10.96.0.0/12 }
add element ip portolan pods { 10.96.0.0/12, 192.0.2.1-255.255.255.255 }
add element ip portolan cluster-ips { 10.96.0.10 }
add element ip portolan hairpin { 10.0.0.7 . 10.0.0.7 }
add element ip portolan remembered { 10.0.0.7 . tcp . 8080 }
add element ip portolan allowed-sources { 10.96.0.10 . tcp . 80 . 10.0.0.7, 10.96.0.10 . tcp . 80 . 10.96.0.0/12, 10.96.0.10 . udp . 53 . 192.0.2.1-255.255.255.255 }
add element ip portolan dead-ends { 10.96.0.10 . udp . 53 comment "shop/dns" : goto refuse, 10.96.0.10 . sctp . 3868 comment "shop/call:diameter" : drop }
add element ip portolan endpoints { 10.96.0.10 . tcp . 80 . 0 : 10.0.0.7 . 8080, 10.96.0.10 . tcp . 80 . 32768 : 10.0.0.7 . 8081 }
add element ip portolan frontends { 10.96.0.10 . tcp . 80 comment "shop/web:http" : goto internal, 10.96.0.10 . tcp . 81 comment "shop/web:http" : goto internal-local }
add element ip portolan frontends { 10.96.0.10 . tcp . 82 comment "shop/web:http" : goto guarded-external, 10.96.0.10 . tcp . 83 comment "shop/web:http" : goto external-local }
add element ip portolan picks { 10.96.0.10 . tcp . 80 : goto pick-3 }
add element ip portolan local-picks { 10.96.0.10 . tcp . 80 : goto local-pick-1 }
add element ip portolan first-picks { 10.96.0.10 . udp . 53 : goto pick-3 }
add element ip portolan local-first-picks { 10.96.0.10 . udp . 53 : goto local-pick-1 }
"#;

/// The same for IPv6.
fn ipv6_text() -> String {
    let mut text = IPV4_TEXT.to_owned();
    for (ipv4, ipv6) in [
        ("dnat ip to ip daddr", "dnat ip6 to ip6 daddr"),
        ("table ip ", "table ip6 "),
        ("element ip ", "element ip6 "),
        ("10.96.0.0/12", "fd00::/112"),
        ("10.96.0.10", "fd00::10"),
        ("10.0.0.7", "fc00::7"),
        ("192.0.2.1-255.255.255.255", "fe00::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ] {
        text = text.replace(ipv4, ipv6);
    }
    text
}

/// The pick chains' rules as the kernel has them, down to the registers.
fn pick_rules() -> String {
    let of = |pick: PickChain| {
        run("nft", &["--debug=netlink", "list", "chain", pick.family.nft(), "portolan", &pick.name()])
            .lines()
            .filter(|line| line.contains("[ "))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    Family::ALL.into_iter().flat_map(picks).map(of).collect()
}

#[test]
fn nft_lists_the_same_as_if_it_had_written_the_elements_itself() {
    in_namespace(|| {
        let mut plane = installed();
        let wanted = fill(&mut plane);
        let over_netlink = (listing("ip", "portolan"), listing("ip6", "portolan"));
        let rules_over_netlink = pick_rules();
        assert!(rules_over_netlink.contains("numgen reg 11 = random mod 3"), "{rules_over_netlink}");
        let mut text: String = programs().into_iter().map(|program| program.text).collect();
        text = format!("delete table ip portolan\ndelete table ip6 portolan\n{text}{IPV4_TEXT}{}", ipv6_text());
        nft(&text);
        assert_same_text(&over_netlink.0, &listing("ip", "portolan"));
        assert_same_text(&over_netlink.1, &listing("ip6", "portolan"));
        assert!(over_netlink.0.contains(r#"tcp . 80 counter comment "shop/web:http" : goto internal"#));
        assert_same_text(&rules_over_netlink, &pick_rules());
        assert_eq!(dumped(&mut plane), wanted, "and what nft wrote reads the same");
    });
}

/// A transaction that only deletes and adds.
pub fn change(delete: &[Element], add: &[Element]) -> Transaction {
    Transaction { delete: delete.to_vec(), add: add.to_vec(), ..Transaction::default() }
}

#[test]
fn whole_families_and_last_addresses_are_ranges_too() {
    in_namespace(|| {
        let mut plane = installed();
        let everything = [
            Element::Pods(range("0.0.0.0", "255.255.255.255")),
            Element::Pods(range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        ];
        plane.commit(&change(&[], &everything)).unwrap();
        assert_eq!(plane.dump().unwrap().elements, everything);
        assert!(listing("ip", "portolan").contains("elements = { 0.0.0.0/0 }"));
        assert!(listing("ip6", "portolan").contains("elements = { ::/0 }"));

        let parts = [
            Element::Pods(range("0.0.0.0", "0.0.0.0")),
            Element::Pods(range("10.0.0.0", "10.255.255.255")),
            Element::Pods(range("255.255.255.255", "255.255.255.255")),
            Element::Pods(range("::", "::")),
            Element::Pods(range("fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        ];
        plane.commit(&change(&everything, &parts)).unwrap();
        assert_eq!(plane.dump().unwrap().elements, parts);
        assert!(listing("ip", "portolan").contains("elements = { 0.0.0.0, 10.0.0.0/8,"));

        nft("add element ip portolan pods { 192.0.2.0/24 }\nadd element ip portolan service-networks { 10.96.0.0/12 }");
        let read = plane.dump().unwrap().elements;
        assert!(read.contains(&Element::Pods(range("192.0.2.0", "192.0.2.255"))), "{read:?}");
        let theirs = Element::ServiceNetwork(range("10.96.0.0", "10.111.255.255"));
        assert!(read.contains(&theirs), "{read:?}");
        plane.commit(&change(&[theirs], &[])).unwrap();
        assert!(!plane.dump().unwrap().elements.iter().any(|e| matches!(e, Element::ServiceNetwork(_))));
    });
}

#[test]
fn a_key_can_change_what_it_leads_to_in_one_step() {
    in_namespace(|| {
        let mut plane = installed();
        fill(&mut plane);
        let web = frontend("10.96.0.10", Protocol::Tcp, 80);
        let slot = |port| Element::Slot { frontend: web, slot: 0, target: target("10.0.0.7", port) };
        let network = |last| Element::Pods(range("10.96.0.0", last));
        let source = |last| Element::AllowedSource { frontend: web, range: range("10.96.0.0", last) };
        let old = [slot(8080), network("10.111.255.255"), source("10.111.255.255")];
        let new = [slot(9090), network("10.96.255.255"), source("10.96.255.255")];
        plane.commit(&change(&old, &new)).unwrap();
        let read = plane.dump().unwrap().elements;
        assert!(new.iter().all(|element| read.contains(element)), "{read:?}");
        assert!(!old.iter().any(|element| read.contains(element)), "{read:?}");
    });
}

#[test]
fn removed_slots_and_pick_chains_go_in_a_later_step() {
    in_namespace(|| {
        let mut plane = installed();
        fill(&mut plane);
        let web = frontend("10.96.0.10", Protocol::Tcp, 80);
        let pick = |count| Element::Pick { frontend: web, list: List::All, first: false, count };
        let chain = |count| PickChain { family: Family::V4, list: List::All, count };
        let dns = frontend("10.96.0.10", Protocol::Udp, 53);
        let first = |count| Element::Pick { frontend: dns, list: List::All, first: true, count };
        let slot = Element::Slot { frontend: web, slot: 0, target: target("10.0.0.7", 8080) };
        let before = plane.generation().unwrap();
        let transaction = Transaction {
            add_picks: vec![chain(2)],
            delete: vec![pick(3), first(3)],
            add: vec![pick(2), first(2)],
            retire: vec![slot.clone()],
            delete_picks: vec![chain(3)],
            ..Transaction::default()
        };
        plane.commit(&transaction).unwrap();
        assert_eq!(plane.generation().unwrap(), before + 2, "two steps");
        let state = plane.dump().unwrap();
        assert!(state.elements.contains(&pick(2)) && !state.elements.contains(&pick(3)));
        assert!(!state.elements.contains(&slot));
        assert!(state.picks.contains(&chain(2)) && !state.picks.contains(&chain(3)));
        plane.commit(&Transaction::default()).unwrap();
        assert_eq!(plane.generation().unwrap(), before + 2, "nothing to do, nothing done");
    });
}

#[test]
fn a_refused_batch_changes_nothing_and_names_the_culprit() {
    in_namespace(|| {
        let mut plane = installed();
        let wanted = fill(&mut plane);
        let good = Element::ClusterIp(ip("10.96.0.99"));
        let refusal = |plane: &mut NetlinkDataPlane, delete: &[Element], add: &[Element]| {
            let error = plane.commit(&change(delete, add)).unwrap_err();
            assert!(matches!(error, KernelError::Refused { .. }), "{error}");
            assert_eq!(dumped(plane), wanted);
            error.to_string()
        };
        let port = |port| frontend("10.96.0.20", Protocol::Tcp, port);
        let pick = |number, count| Element::Pick { frontend: port(number), list: List::All, first: false, count };
        let missing = refusal(&mut plane, &[], &[good.clone(), pick(1, 3), pick(2, 9), pick(3, 3)]);
        assert!(missing.contains("No such file or directory (ENOENT)"), "{missing}");
        assert!(missing.contains("adding elements to ip picks, at 10.96.0.20:2/TCP -> pick-9"), "{missing}");

        let slot = Element::Slot {
            frontend: frontend("10.96.0.10", Protocol::Tcp, 80),
            slot: 0,
            target: target("10.0.0.8", 1),
        };
        let other_data = refusal(&mut plane, &[], &[good.clone(), slot]);
        assert!(other_data.contains("ip endpoints, at 10.96.0.10:80/TCP slot 0 -> 10.0.0.8:1"), "{other_data}");

        let absent = refusal(&mut plane, &[good], &[]);
        assert!(absent.contains("deleting elements of ip cluster-ips, at 10.96.0.99"), "{absent}");
    });
}

#[test]
fn a_long_owner_is_cut_as_nft_would_want_it() {
    in_namespace(|| {
        let mut plane = installed();
        let owner = format!("{}ß", "x".repeat(126));
        let web = frontend("10.96.0.10", Protocol::Tcp, 80);
        let element = |owner: &str| Element::Frontend {
            frontend: web,
            policy: Policy::Internal,
            guarded: false,
            owner: owner.into(),
        };
        plane.commit(&change(&[], &[element(&owner)])).unwrap();
        assert_eq!(fit_comment(&owner), "x".repeat(126));
        assert_eq!(plane.dump().unwrap().elements, [element(fit_comment(&owner))]);
        let text = listing("ip", "portolan");
        nft(&format!("delete table ip portolan\n{text}"));
        assert_eq!(listing("ip", "portolan"), text);
    });
}

#[test]
fn a_full_table_is_one_batch() {
    in_namespace(|| {
        let mut plane = installed();
        let mut add = Vec::new();
        for n in 0..10_000u32 {
            let address = std::net::Ipv4Addr::from(0x0a60_0000 + n).into();
            let web = Frontend { address, protocol: Protocol::Tcp, port: 80 };
            add.push(Element::Frontend {
                frontend: web,
                policy: Policy::Internal,
                guarded: false,
                owner: format!("n/s{n}").into(),
            });
            add.push(Element::Pick { frontend: web, list: List::All, first: false, count: 9 });
            add.extend((0..9).map(|slot| Element::Slot { frontend: web, slot, target: target("10.1.2.3", slot + 1) }));
        }
        let chain = PickChain { family: Family::V4, list: List::All, count: 9 };
        let before = plane.generation().unwrap();
        plane.commit(&Transaction { add_picks: vec![chain], add: add.clone(), ..Transaction::default() }).unwrap();
        assert_eq!(plane.generation().unwrap(), before + 1);
        assert_eq!(sorted(plane.dump().unwrap().elements), sorted(add));
    });
}

#[test]
fn a_frontend_counts_new_connections() {
    in_namespace(|| {
        run("ip", &["address", "add", "10.0.0.7/32", "dev", "lo"]);
        run("ip", &["route", "add", "10.96.0.0/12", "dev", "lo", "src", "10.0.0.7"]);
        let mut plane = installed();
        let dns = frontend("10.96.0.10", Protocol::Udp, 53);
        let dead = frontend("10.96.0.11", Protocol::Udp, 53);
        let chain = PickChain { family: Family::V4, list: List::All, count: 1 };
        let server = UdpSocket::bind("10.0.0.7:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let add = vec![
            Element::Frontend {
                frontend: dns,
                policy: Policy::Internal,
                guarded: false,
                owner: "kube-system/dns".into(),
            },
            Element::Pick { frontend: dns, list: List::All, first: false, count: 1 },
            Element::Slot { frontend: dns, slot: 0, target: target("10.0.0.7", port) },
            Element::DeadEnd { frontend: dead, verdict: DeadEnd::Drop, owner: "shop/dead".into() },
        ];
        plane.commit(&Transaction { add_picks: vec![chain], add, ..Transaction::default() }).unwrap();
        for _ in 0..2 {
            let client = UdpSocket::bind("10.0.0.7:0").unwrap();
            client.send_to(b"12345", "10.96.0.10:53").unwrap();
            client.send_to(b"12345", "10.96.0.10:53").unwrap();
            let _ = client.send_to(b"12345", "10.96.0.11:53").expect_err("dropped on the way out");
        }
        let count = |frontend, dead_end, packets| Count { frontend, dead_end, packets, bytes: packets * 33 };
        assert_eq!(plane.counters(Family::V4).unwrap(), [count(dns, false, 2), count(dead, true, 2)]);
        assert_eq!(plane.counters(Family::V6).unwrap(), []);
        plane.remove().unwrap();
        assert_eq!(plane.counters(Family::V4).unwrap(), []);
    });
}
