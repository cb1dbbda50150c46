//! Affinity groups: made, made anew, damaged by hand, deleted; and what they remember.

use std::{collections::BTreeSet, slice};

use portolan::{
    kernel::{DataPlane, NetlinkDataPlane},
    model::{Family, Protocol, Settings},
    tables::{AffinityGroup, Element, List, Program, Transaction, group_text},
};

use crate::namespace::{frontend, in_namespace, installed, ip, listing, nft, run, target};

/// The group of the Service shop/web in a family.
fn web(family: Family, timeout: u32, all: bool, local: bool) -> AffinityGroup {
    AffinityGroup { family, name: "shop/web/tcp/http".into(), timeout, all, local }
}

fn write<'a>(groups: impl IntoIterator<Item = &'a AffinityGroup>) -> Transaction {
    Transaction { write_groups: groups.into_iter().cloned().collect(), ..Transaction::default() }
}

fn delete<'a>(groups: impl IntoIterator<Item = &'a AffinityGroup>) -> Transaction {
    Transaction { delete_groups: groups.into_iter().cloned().collect(), ..Transaction::default() }
}

fn groups(plane: &mut NetlinkDataPlane) -> Vec<AffinityGroup> {
    let state = plane.dump().unwrap();
    assert_eq!(state.strangers, BTreeSet::new());
    Vec::from_iter(state.groups)
}

#[test]
fn groups_come_back_as_written() {
    in_namespace(|| {
        let mut plane = installed();
        let empty = listing("ip6", "portolan");
        let mut wanted = vec![
            web(Family::V4, 10800, true, false),
            AffinityGroup { name: "shop/both/udp".into(), ..web(Family::V4, 1, true, true) },
            web(Family::V6, 86400, false, true),
        ];
        wanted.sort();
        plane.commit(&write(&wanted)).unwrap();
        assert_eq!(groups(&mut plane), wanted);
        nft(&group_text(&web(Family::V4, 30, true, true), "portolan", true));
        assert_eq!(groups(&mut plane)[1], web(Family::V4, 30, true, true), "rendered text is the same thing");
        let text = listing("ip6", "portolan");
        nft(&format!("delete table ip6 portolan\n{text}"));
        assert_eq!(listing("ip6", "portolan"), text, "nft reads its own listing back");
        let leftovers = groups(&mut plane);
        plane.commit(&delete(&leftovers)).unwrap();
        assert_eq!(groups(&mut plane), []);
        assert_eq!(listing("ip6", "portolan"), empty);
    });
}

#[test]
fn text_without_rewriting_makes_a_new_group_in_one_transaction_with_its_table() {
    in_namespace(|| {
        let mut plane = NetlinkDataPlane::open().unwrap();
        for family in Family::ALL {
            let program = Program::new(family, &Settings::default()).text;
            nft(&format!("{program}{}", group_text(&web(family, 60, true, true), "portolan", false)));
        }
        assert_eq!(groups(&mut plane), Family::ALL.map(|family| web(family, 60, true, true)));
    });
}

#[test]
fn rewriting_keeps_what_a_group_remembers_and_drops_lists_no_longer_used() {
    in_namespace(|| {
        let mut plane = installed();
        let old = web(Family::V4, 60, true, true);
        plane.commit(&write([&old])).unwrap();
        nft("add element ip portolan affinity-shop/web/tcp/http-address { 10.0.0.7 timeout 60s : 10.1.0.1 }
             add element ip portolan affinity-shop/web/tcp/http-port { 10.0.0.7 timeout 60s : 8080 }");
        let member = |list| Element::Member { group: old.name.clone(), list, target: target("10.1.0.1", 8080) };
        let sticky = |list| Element::Sticky {
            frontend: frontend("10.96.0.10", Protocol::Tcp, 80),
            list,
            group: old.name.clone(),
        };
        let learner = Element::Learner { frontend: frontend("10.96.0.10", Protocol::Tcp, 80), group: old.name.clone() };
        let add = vec![member(List::All), member(List::Local), sticky(List::All), sticky(List::Local), learner];
        plane.commit(&Transaction { add: add.clone(), ..Transaction::default() }).unwrap();
        let mut elements = plane.dump().unwrap().elements;
        elements.sort();
        let mut wanted = add;
        wanted.sort();
        assert_eq!(elements, wanted);

        let new = web(Family::V4, 120, true, false);
        let transaction = Transaction {
            write_groups: vec![new.clone()],
            delete: vec![sticky(List::Local)],
            retire: vec![member(List::Local)],
            ..Transaction::default()
        };
        plane.commit(&transaction).unwrap();
        assert_eq!(groups(&mut plane), slice::from_ref(&new));
        assert_eq!(plane.remembered(&new, List::All).unwrap().len(), 1);
        assert!(!listing("ip", "portolan").contains("local-affinity"));
    });
}

#[test]
fn a_group_that_lacks_a_part_or_was_edited_asks_to_be_rewritten() {
    let damage = [
        "flush chain ip portolan learn-shop/web/tcp/http",
        "flush chain ip portolan sticky-shop/web/tcp/http",
        "add rule ip portolan learn-shop/web/tcp/http ip daddr . th dport @members-shop/web/tcp/http drop",
        "flush chain ip portolan learn-shop/web/tcp/http
         delete set ip portolan members-shop/web/tcp/http",
        "delete chain ip portolan sticky-shop/web/tcp/http
         delete chain ip portolan learn-shop/web/tcp/http
         delete map ip portolan affinity-shop/web/tcp/http-port",
        "flush chain ip portolan learn-shop/web/tcp/http
         table ip portolan {
           chain learn-shop/web/tcp/http {
             ip daddr . th dport @members-shop/web/tcp/http update @affinity-shop/web/tcp/http-address { ct original ip saddr timeout 1s : ip daddr } update @affinity-shop/web/tcp/http-port { ct original ip saddr timeout 2s : th dport }
           }
         }",
    ];
    for text in damage {
        in_namespace(|| {
            let mut plane = installed();
            let empty = listing("ip", "portolan");
            let whole = web(Family::V4, 60, true, false);
            plane.commit(&write([&whole])).unwrap();
            nft(text);
            let damaged = AffinityGroup { timeout: 0, ..whole.clone() };
            assert_eq!(groups(&mut plane), slice::from_ref(&damaged), "{text}");
            plane.commit(&write([&whole])).unwrap();
            assert_eq!(groups(&mut plane), slice::from_ref(&whole), "{text}");

            nft(text);
            plane.commit(&delete([&damaged])).unwrap();
            assert_eq!(listing("ip", "portolan"), empty, "{text}");
        });
    }
}

#[test]
fn clients_are_remembered_and_forgotten() {
    in_namespace(|| {
        let mut plane = installed();
        for (family, nft_family, clients, endpoint) in [
            (Family::V4, "ip", ["10.0.0.7", "10.0.0.8", "10.0.0.9"], "10.1.0.1"),
            (Family::V6, "ip6", ["fd00::7", "fd00::8", "fd00::9"], "fd01::1"),
        ] {
            let group = web(family, 60, false, true);
            assert_eq!(plane.remembered(&group, List::Local).unwrap(), [], "before it exists");
            plane.forget(&group, List::Local, &[ip(clients[0])]).unwrap();
            plane.commit(&write([&group])).unwrap();
            for client in clients {
                nft(&format!(
                    "add element {nft_family} portolan {} {{ {client} timeout 60s : {endpoint} }}
                     add element {nft_family} portolan {} {{ {client} timeout 60s : 8080 }}",
                    group.addresses(List::Local),
                    group.ports(List::Local)
                ));
            }
            let mut known = plane.remembered(&group, List::Local).unwrap();
            known.sort();
            assert_eq!(Vec::from_iter(known.iter().map(|r| r.client)), clients.map(ip));
            assert!(known.iter().all(|r| r.target == target(endpoint, 8080) && (50..=60).contains(&r.expires)));
            assert_eq!(plane.remembered(&group, List::All).unwrap(), [], "the other list");

            plane.forget(&group, List::Local, &[ip(clients[0]), ip(clients[2]), ip(endpoint)]).unwrap();
            plane.forget(&group, List::Local, &[ip(clients[0])]).unwrap();
            let known = plane.remembered(&group, List::Local).unwrap();
            assert_eq!(Vec::from_iter(known.iter().map(|r| r.client)), [ip(clients[1])]);
        }
        run("nft", &["delete", "table", "ip", "portolan"]);
        assert_eq!(plane.remembered(&web(Family::V4, 60, false, true), List::Local).unwrap(), []);
    });
}
