//! Tables that belong to a data plane: nobody else can change them while it lives, and they outlive it.

use std::collections::BTreeMap;

use portolan::{
    kernel::{DataPlane, KernelError, NetlinkDataPlane},
    model::Family,
    tables::{AffinityGroup, Element, List, TableState, Transaction},
};

use crate::{
    elements::{change, fill},
    namespace::{assert_same_text, in_namespace, installed, ip, listing, nft, programs, run, target},
};

/// An owning data plane with both programs installed.
fn owning() -> NetlinkDataPlane {
    let mut plane = NetlinkDataPlane::open_owning().unwrap();
    plane.install(&programs()).unwrap();
    plane
}

/// Runs a test in a namespace, if the kernel can do what is tested.
pub fn in_owning_namespace(test: impl FnOnce() + Send) {
    in_namespace(|| match NetlinkDataPlane::open_owning() {
        Ok(_) => test(),
        Err(error) => {
            assert!(error.to_string().contains("Linux 6.9"), "{error}");
            assert_eq!(run("nft", &["list", "ruleset"]), "", "a kernel that cannot do it is left as it was");
            assert!(std::env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|value| value != "1"), "{error}");
            println!("SKIPPED: {error}");
        }
    });
}

fn group(timeout: u32) -> AffinityGroup {
    AffinityGroup { family: Family::V6, name: "a/b/tcp".into(), timeout, all: true, local: true }
}

/// What nft lists of our tables, without the line of flags.
fn listings() -> String {
    let both = ["ip", "ip6"].map(|family| listing(family, "portolan")).concat();
    let lines = both.lines().filter(|line| !line.is_empty() && *line != "\tflags owner");
    lines.map(|line| format!("{}\n", line.split(" # progname").next().unwrap())).collect()
}

#[test]
fn what_is_installed_and_written_is_the_same_as_without() {
    let mut wanted = String::new();
    let work = |plane: &mut NetlinkDataPlane| {
        fill(plane);
        for timeout in [60, 90] {
            plane.commit(&Transaction { write_groups: vec![group(timeout)], ..Transaction::default() }).unwrap();
        }
        let member = Element::Member { group: "a/b/tcp".into(), list: List::All, target: target("fd00::7", 80) };
        plane.commit(&change(&[], &[member])).unwrap();
    };
    in_namespace(|| {
        work(&mut installed());
        wanted = listings();
    });
    in_owning_namespace(|| {
        let mut plane = owning();
        work(&mut plane);
        assert_same_text(&listings(), &wanted);
        assert!(listing("ip", "portolan").contains("\tflags owner\n"));
        assert_eq!(plane.damaged_chains(&programs()).unwrap(), [""; 0]);
        let state = plane.dump().unwrap();
        assert_eq!((state.programs.len(), state.strangers.len(), state.groups.len()), (2, 0, 1));
        plane.commit(&Transaction { delete_groups: vec![group(90)], ..Transaction::default() }).unwrap();
        assert!(plane.dump().unwrap().groups.is_empty());
        plane.install(&programs()).unwrap();
        assert!(plane.dump().unwrap().elements.is_empty());
        plane.remove().unwrap();
        assert_eq!(run("nft", &["list", "tables"]), "");
    });
}

#[test]
fn others_are_refused_and_a_flush_of_everything_passes_it_by() {
    in_owning_namespace(|| {
        let mut plane = owning();
        fill(&mut plane);
        plane.commit(&Transaction { write_groups: vec![group(60)], ..Transaction::default() }).unwrap();
        let before = listings();
        for text in [
            "delete table ip portolan",
            "flush table ip6 portolan",
            "flush map ip portolan endpoints",
            "add element ip portolan cluster-ips { 10.9.9.9 }",
            "add chain ip6 portolan foo",
            "insert rule ip6 portolan external drop",
            "add table ip portolan { flags dormant; }",
        ] {
            let error = portolan::kernel::nft::run(text, false, text).unwrap_err();
            assert!(matches!(error, KernelError::NotPermitted { .. }), "{error}");
        }
        nft("add table ip other\nflush ruleset");
        assert_eq!(run("nft", &["list", "tables"]), "table ip portolan\ntable ip6 portolan\n");
        assert_same_text(&listings(), &before);
    });
}

#[test]
fn another_data_plane_is_told_whose_the_tables_are() {
    in_owning_namespace(|| {
        let mut owner = owning();
        let mut other = NetlinkDataPlane::open().unwrap();
        let add = change(&[], &[Element::ClusterIp(ip("10.9.9.9"))]);
        let write = Transaction { write_groups: vec![group(60)], ..Transaction::default() };
        let errors = [
            NetlinkDataPlane::open_owning().map(drop).unwrap_err(),
            other.install(&programs()).unwrap_err(),
            other.commit(&add).unwrap_err(),
            other.commit(&write).unwrap_err(),
            other.remove().unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(&error, KernelError::Owned { table, .. } if table.ends_with(" portolan")), "{error}");
            assert!(error.to_string().contains("end that process first"), "{error}");
        }
        assert_eq!(owner.dump().unwrap().programs.len(), 2);
        owner.commit(&add).unwrap();
        assert_eq!(other.dump().unwrap(), owner.dump().unwrap(), "reading is free");
        drop(owner);
        other.commit(&write).unwrap();
        other.install(&programs()).unwrap();
        let error = NetlinkDataPlane::open_owning().map(drop);
        assert!(error.is_ok(), "tables that nobody owns are no obstacle: {error:?}");
        other.remove().unwrap();
    });
}

#[test]
fn tables_outlive_their_owner_and_the_next_one_takes_them_over() {
    in_owning_namespace(|| {
        let mut plane = owning();
        let wanted = fill(&mut plane);
        drop(plane);
        nft("add element ip portolan cluster-ips { 10.9.9.9 }");
        let mut next = NetlinkDataPlane::open_owning().unwrap();
        portolan::kernel::nft::run("delete table ip portolan", false, "trying").unwrap_err();
        next.remove_strangers().unwrap();
        next.commit(&change(&[Element::ClusterIp(ip("10.9.9.9"))], &[])).unwrap();
        let sorted = |state: TableState| {
            let mut elements = state.elements;
            elements.sort();
            elements
        };
        assert_eq!(sorted(next.dump().unwrap()), sorted(wanted));
    });
}

#[test]
fn tables_that_were_made_without_an_owner_ask_to_be_made_anew() {
    in_owning_namespace(|| {
        drop(installed());
        let mut plane = NetlinkDataPlane::open_owning().unwrap();
        let none = Family::ALL.map(|family| (family, String::new()));
        assert_eq!(plane.dump().unwrap().programs, BTreeMap::from(none));
        plane
            .install_standby(&programs(), &Transaction { write_groups: vec![group(60)], ..Transaction::default() })
            .unwrap();
        nft("flush ruleset");
        assert_eq!(
            run("nft", &["list", "tables"]),
            "table ip portolan-standby\ntable ip6 portolan-standby\n",
            "the standby is owned, what it replaces is not yet"
        );
        plane.install(&programs()).unwrap();
        plane.remove_standby().unwrap();
        assert_eq!(plane.dump().unwrap().programs.len(), 2);
        assert!(plane.dump().unwrap().programs.values().all(|fingerprint| !fingerprint.is_empty()));
    });
}
