//! Somebody edits our tables by hand.

use portolan::{
    kernel::{DataPlane, NetlinkDataPlane},
    model::{Family, PodDetector, Settings},
    tables::{Element, List, PickChain, Program, Transaction},
};

use crate::namespace::{in_namespace, installed, ip, nft, programs, run};

fn edited(plane: &mut NetlinkDataPlane) -> Vec<String> {
    plane.damaged_chains(&programs()).unwrap()
}

#[test]
fn a_fresh_program_is_intact_whatever_its_elements_counters_and_handles() {
    in_namespace(|| {
        let mut plane = installed();
        assert_eq!(edited(&mut plane), [""; 0]);
        let add = vec![Element::ClusterIp(ip("10.96.0.1"))];
        plane.commit(&Transaction { add, ..Transaction::default() }).unwrap();
        plane.install(&programs()).unwrap();
        nft("add chain ip portolan foo\nadd rule ip portolan guarded-external drop");
        nft("flush chain ip portolan guarded-external
             add rule ip portolan guarded-external ip daddr . meta l4proto . th dport . ip saddr @allowed-sources goto external
             add rule ip portolan guarded-external counter packets 7 bytes 99 drop");
        assert_eq!(edited(&mut plane), [""; 0]);
        let after_restart = &mut NetlinkDataPlane::open().unwrap();
        assert_eq!(edited(after_restart), [""; 0]);
        assert!(!run("nft", &["list", "tables"]).contains("comparison"));
    });
}

#[test]
fn every_setting_makes_a_program_that_is_intact_after_installation() {
    in_namespace(|| {
        let mut plane = NetlinkDataPlane::open().unwrap();
        for detector in [
            PodDetector::BridgeInterface("cni0".into()),
            PodDetector::InterfaceNamePrefix("veth".into()),
            PodDetector::SourceRanges(vec![]),
        ] {
            let settings = Settings { detector, masquerade_all: true, masquerade_bit: 31, ..Settings::default() };
            let programs = Family::ALL.map(|family| Program::new(family, &settings));
            plane.install(&programs).unwrap();
            assert_eq!(plane.damaged_chains(&programs).unwrap(), [""; 0]);
            assert_ne!(edited(&mut plane), [""; 0], "other settings, other chains");
        }
    });
}

#[test]
fn edited_chains_are_named() {
    let damage = [
        ("flush chain ip portolan internal", "ip chain internal"),
        ("insert rule ip6 portolan prerouting accept", "ip6 chain prerouting"),
        ("add rule ip portolan hide-source meta mark set 1", "ip chain hide-source"),
        ("add chain ip portolan filter-input { policy drop\n }", "ip chain filter-input"),
        ("flush chain ip portolan refuse\nadd rule ip portolan refuse reject with tcp reset", "ip chain refuse"),
        (
            "flush chain ip portolan filter-output
             delete chain ip portolan filter-output
             table ip portolan {
               chain filter-output {
                 type filter hook output priority -1
                 ct state new ct status & dnat == 0 jump check-destination
               }
             }",
            "ip chain filter-output",
        ),
    ];
    for (text, chain) in damage {
        in_namespace(|| {
            let mut plane = installed();
            assert_eq!(edited(&mut plane), [""; 0]);
            nft(text);
            assert_eq!(edited(&mut plane), [chain], "{text}");
            assert_eq!(edited(&mut NetlinkDataPlane::open().unwrap()), [chain], "{text}");
            plane.install(&programs()).unwrap();
            assert_eq!(edited(&mut plane), [""; 0]);
        });
    }
}

#[test]
fn a_table_that_is_gone_has_no_chain_of_the_program() {
    in_namespace(|| {
        let mut plane = installed();
        nft("delete table ip6 portolan");
        let edited = edited(&mut plane);
        assert_eq!(edited.len(), Program::chains().count());
        assert!(edited.iter().all(|name| name.starts_with("ip6 chain ")), "{edited:?}");
    });
}

#[test]
fn an_edited_pick_chain_is_a_stranger_until_it_is_made_again() {
    in_namespace(|| {
        let mut plane = installed();
        let three = PickChain { family: Family::V6, list: List::Local, count: 3 };
        let make = Transaction { add_picks: vec![three], ..Transaction::default() };
        plane.commit(&make).unwrap();
        for text in ["flush chain ip6 portolan local-pick-3", "insert rule ip6 portolan local-pick-3 accept"] {
            nft(text);
            let state = plane.dump().unwrap();
            assert!(state.picks.is_empty());
            assert_eq!(Vec::from_iter(state.strangers), ["ip6 chain local-pick-3"]);
            plane.commit(&make).unwrap();
            let state = plane.dump().unwrap();
            assert_eq!(Vec::from_iter(state.picks), [three]);
            assert!(state.strangers.is_empty());
        }
    });
}

#[test]
fn a_comparison_that_was_cut_short_does_no_harm() {
    in_namespace(|| {
        let mut plane = installed();
        nft("table ip portolan-comparison { chain x { }\n }");
        assert_eq!(edited(&mut plane), [""; 0]);
        nft("table ip portolan-comparison { flags dormant; }");
        plane.remove().unwrap();
        assert_eq!(run("nft", &["list", "tables"]), "");
    });
}
