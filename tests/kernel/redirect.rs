//! The redirect of cluster DNS: its elements end by themselves, and nobody takes their refreshing for a foreign change.

use std::{net::IpAddr, time::Duration};

use portolan::{
    kernel::{
        DataPlane, KernelError, NetlinkDataPlane,
        redirect::{Numbers, RedirectTable, Routing, Set, Step},
    },
    model::{Family, Settings},
    tables::{DNS_TABLE, Program, RedirectMarks},
};
use tokio::runtime::Builder;

use crate::{
    elements::fill,
    namespace::{in_namespace, installed, ip, listing, nft, programs, run},
};

const LONG: Duration = Duration::from_secs(3600);

fn vips() -> [IpAddr; 2] {
    [ip("10.96.0.10"), ip("fd00:96::a")]
}

fn open() -> RedirectTable {
    RedirectTable::open(RedirectMarks::default()).unwrap()
}

fn refresh(table: &mut RedirectTable, lasting: Duration) {
    table.commit(&vips().map(|address| Step::Put(Set::Live, address, lasting))).unwrap();
}

/// How many elements of both families' sets are there, by the kernel's list.
fn elements() -> usize {
    ["ip", "ip6"].map(|family| with_elements(family).matches(" timeout ").count()).iter().sum()
}

fn with_elements(family: &str) -> String {
    run("nft", &["list", "table", family, DNS_TABLE])
}

#[test]
fn elements_last_as_long_as_they_were_last_told_to() {
    in_namespace(|| {
        let mut table = open();
        assert!(matches!(table.commit(&[Step::Remove(Set::Live, vips()[0])]), Err(KernelError::Refused { .. })));
        assert!(table.ensure(true).unwrap(), "made");
        assert!(!table.ensure(true).unwrap(), "and there");
        assert_eq!(elements(), 0);
        refresh(&mut table, LONG);
        assert_eq!(elements(), 4, "two protocols of two families");
        // Over and over: neither an error nor the old time. The time left is what it was set to, to the last digit.
        for _ in 0..3 {
            refresh(&mut table, Duration::from_secs(60));
        }
        assert_eq!(elements(), 4);
        let listed = with_elements("ip");
        assert!(
            listed.contains("10.96.0.10 . udp . 53 timeout 1m expires") && !listed.contains("timeout 1h"),
            "{listed}"
        );
        assert!(!table.ensure(true).unwrap(), "elements are none of its business");
        refresh(&mut table, Duration::from_millis(300));
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(elements(), 0, "over");
        refresh(&mut table, LONG);
        let held = Step::Put(Set::Held, vips()[0], LONG);
        table.commit(&[held, Step::Remove(Set::Live, vips()[0])]).unwrap();
        table.commit(&[Step::Remove(Set::Live, vips()[0])]).unwrap();
        let listed = with_elements("ip");
        assert!(
            !listed.contains("live {\n\t\ttypeof ip daddr . meta l4proto . th dport\n\t\tflags timeout\n\t\telem"),
            "{listed}"
        );
        assert_eq!(listed.matches(" timeout ").count(), 2, "{listed}");
        table.remove().unwrap();
        table.remove().unwrap();
        assert_eq!(run("nft", &["list", "ruleset"]), "");
    });
}

#[test]
fn what_somebody_changed_is_made_again_and_another_releases_table_only_at_the_start() {
    in_namespace(|| {
        let mut table = open();
        table.ensure(true).unwrap();
        let whole = listing("ip", DNS_TABLE);
        for damage in [
            "delete table ip portolan-dns",
            "flush chain ip portolan-dns output",
            "insert rule ip portolan-dns deliver accept",
            "add table ip portolan-dns { flags dormant; }",
        ] {
            nft(damage);
            assert!(table.ensure(false).unwrap(), "{damage}");
            assert_eq!(listing("ip", DNS_TABLE), whole);
        }
        let other = RedirectMarks { local: 1 << 20, bypass: 1 << 21 };
        let mut newer = RedirectTable::open(other).unwrap();
        assert!(newer.ensure(true).unwrap());
        assert!(!table.ensure(false).unwrap(), "the one before goes on beside it");
        refresh(&mut table, LONG);
        assert!(table.ensure(true).unwrap(), "one that begins wants its own");
    });
}

#[test]
fn refreshing_is_no_change_to_the_data_plane_nor_its_work_one_to_the_redirect() {
    in_namespace(|| {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut plane = installed();
            fill(&mut plane);
            let contents = |plane: &mut NetlinkDataPlane| {
                let mut state = plane.dump().unwrap();
                state.elements.sort();
                state
            };
            let before = contents(&mut plane);
            let mut monitor = plane.monitor().unwrap();
            let mut table = open();
            table.ensure(true).unwrap();
            let mut redirect_monitor = table.watch().unwrap();
            for _ in 0..30 {
                refresh(&mut table, LONG);
            }
            // The look at the generation that the loop takes every 30 seconds.
            let generation = plane.generation().unwrap();
            assert!(monitor.saw(generation).unwrap(), "every refresh was seen: no reason to read the tables");
            assert_eq!(monitor.more().unwrap(), [], "and none of them is a word worth");
            assert_eq!(contents(&mut plane), before);
            assert_eq!(plane.damaged_chains(&programs()).unwrap(), [""; 0]);
            plane.install(&programs()).unwrap();
            assert!(redirect_monitor.saw(plane.generation().unwrap()).unwrap());
            assert_eq!(redirect_monitor.more().unwrap(), []);
            plane.remove().unwrap();
            assert_eq!(elements(), 4, "not ours to remove");
        });
    });
}

#[test]
fn its_marks_are_nobody_elses() {
    let RedirectMarks { local, bypass } = RedirectMarks::default();
    let settings = Settings { masquerade_bit: 14, ..Settings::default() };
    let kube_proxy = settings.mark() | 0x8000;
    assert!(local.is_power_of_two() && bypass.is_power_of_two() && (local & bypass) == 0);
    assert!(!RedirectMarks::default().collide(kube_proxy) && RedirectMarks::default().collide(kube_proxy | local));
    assert!(Program::redirect(Family::V6, RedirectMarks::default()).text.contains(&format!("{local:#010x}")));
}

#[test]
fn rules_and_routes_are_made_once_and_removed_and_others_stay() {
    in_namespace(|| {
        run("ip", &["rule", "add", "pref", "54", "fwmark", "0x1000/0x1000", "lookup", "99"]);
        let all = || {
            let shown = [
                &["rule", "show"][..],
                &["-6", "rule", "show"],
                &["route", "show", "table", "all"],
                &["-6", "route", "show", "table", "all"],
            ];
            shown.map(|words| run("ip", words)).concat()
        };
        let before = all();
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let routing = Routing::open(Numbers::default()).unwrap();
            for _ in 0..2 {
                for vip in vips() {
                    routing.ensure(vip).await.unwrap();
                }
            }
            let made = all();
            assert_eq!(made.matches("53:\tfrom all fwmark 0x1000/0x1000 lookup 10053 proto 53").count(), 2, "{made}");
            assert!(made.contains("local 10.96.0.10 dev lo table 10053 proto 53"), "{made}");
            assert!(made.contains("local fd00:96::a dev lo table 10053 proto 53"), "{made}");
            routing.keep_only(&vips()).await.unwrap();
            assert_eq!(all(), made);
            // The next process takes other numbers and one address less.
            let numbers = Numbers { table: 10054, preference: 55, ..Numbers::default() };
            let next = Routing::open(numbers).unwrap();
            next.ensure(vips()[0]).await.unwrap();
            next.keep_only(&vips()[..1]).await.unwrap();
            let kept = all();
            assert!(!kept.contains("10053") && kept.contains("local 10.96.0.10 dev lo table 10054 proto 53"), "{kept}");
            next.forget(vips()[0]).await.unwrap();
            next.forget(vips()[0]).await.unwrap();
            assert!(!all().contains("10.96.0.10"));
            next.remove().await.unwrap();
            next.remove().await.unwrap();
        });
        assert_eq!(all(), before);
    });
}
