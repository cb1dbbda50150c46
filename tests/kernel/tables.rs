//! Our tables as a whole: installed, removed, told apart from what is not ours.

use portolan::{
    kernel::{DataPlane, NetlinkDataPlane},
    tables::{Element, TableState},
};

use crate::{
    elements::{change, fill},
    namespace::{assert_same_text, in_namespace, installed, ip, listing, nft, programs, run},
};

#[test]
fn strangers_are_reported() {
    in_namespace(|| {
        let mut plane = installed();
        nft("
            table ip portolan {
                chain foo { drop
                }
                chain members-x { }
                chain pick-03 { }
                set bar { type ipv4_addr; }
                set sticky-x { type ipv4_addr; }
            }
            add element ip portolan picks { 10.96.0.10 . tcp . 80 : goto foo }
            add element ip portolan endpoints { 10.96.0.10 . icmp . 80 . 0 : 10.0.0.7 . 80 }
            table ip other {
                chain foreign { }
                set foreign { type ipv4_addr; }
            }
        ");
        let state = plane.dump().unwrap();
        assert_eq!(
            Vec::from_iter(state.strangers),
            [
                "ip chain foo",
                "ip chain members-x",
                "ip chain pick-03",
                "ip element endpoints 0a60000a010000000050000000000000",
                "ip element picks 0a60000a0600000000500000",
                "ip set bar",
                "ip set sticky-x"
            ]
        );
        assert_eq!((state.elements, state.groups.len()), (vec![], 0));
    });
}

#[test]
fn strangers_are_removed_and_ours_stays() {
    in_namespace(|| {
        let mut plane = installed();
        fill(&mut plane);
        let sorted = |mut state: TableState| {
            state.elements.sort();
            state
        };
        let ours = sorted(plane.dump().unwrap());
        let before = [listing("ip", "portolan"), listing("ip6", "portolan")];
        nft("
            table ip portolan {
                set bar { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }
                chain foo { type filter hook input priority 7; ip saddr @bar jump baz
                }
                chain baz { drop
                }
                chain pick-03 { }
            }
            insert rule ip portolan pick-3 accept
            flush chain ip6 portolan local-pick-1
            add element ip portolan picks { 10.96.0.99 . tcp . 80 : goto baz }
            add element ip portolan endpoints { 10.96.0.10 . icmp . 80 . 0 : 10.0.0.7 . 80 }
            add element ip6 portolan dead-ends { fd00::99 . tcp . 80 : accept }
            add element ip6 portolan frontends { * : accept }
        ");
        assert_eq!(plane.dump().unwrap().strangers.len(), 10);
        plane.remove_strangers().unwrap();
        assert_eq!(sorted(plane.dump().unwrap()), ours);
        for (before, family) in before.iter().zip(["ip", "ip6"]) {
            assert_same_text(before, &listing(family, "portolan"));
        }
    });
}

#[test]
fn a_stranger_that_a_rule_of_ours_uses_stays() {
    in_namespace(|| {
        let mut plane = installed();
        nft("add chain ip portolan foo; add chain ip portolan bar; add rule ip portolan internal jump foo");
        plane.remove_strangers().unwrap();
        assert_eq!(Vec::from_iter(plane.dump().unwrap().strangers), ["ip chain bar", "ip chain foo"]);
    });
}

#[test]
fn removing_takes_our_tables_only() {
    in_namespace(|| {
        let mut plane = installed();
        fill(&mut plane);
        nft("table ip other { }");
        assert_eq!(plane.dump().unwrap().programs.len(), 2);
        plane.remove().unwrap();
        assert_eq!(plane.dump().unwrap(), TableState::default());
        assert_eq!(run("nft", &["list", "tables"]), "table ip other\n");
        plane.remove().unwrap();
    });
}

#[test]
fn installing_replaces_a_table_of_the_same_name() {
    in_namespace(|| {
        nft("table ip portolan { chain old { }\n }");
        let mut plane = installed();
        assert_eq!(plane.dump().unwrap().strangers.len(), 0);
        fill(&mut plane);
        plane.install(&programs()).unwrap();
        assert_eq!(plane.dump().unwrap().elements, []);
    });
}

#[test]
fn another_table_name_keeps_two_planes_apart() {
    in_namespace(|| {
        let mut one = installed();
        let mut two = NetlinkDataPlane::open().unwrap().with_table("second");
        two.install(&programs()[..1]).unwrap();
        fill(&mut one);
        assert_eq!(two.dump().unwrap().elements, []);
        two.commit(&change(&[], &[Element::ClusterIp(ip("10.96.0.1"))])).unwrap();
        assert_eq!(two.dump().unwrap().elements, [Element::ClusterIp(ip("10.96.0.1"))]);
        two.remove().unwrap();
        assert_eq!(one.dump().unwrap().programs.len(), 2);
    });
}
