//! Word of other people's changes to our tables: of each once, with a name, and of nothing else.

use std::{
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use portolan::{
    kernel::{
        DataPlane, NetlinkDataPlane,
        monitor::{ForeignChange, RulesetMonitor, Touch, Touched},
    },
    model::{Family, Protocol},
    tables::{AffinityGroup, Element, List, PickChain, Policy, Transaction},
};
use tokio::{runtime::Builder, time::timeout};

use crate::{
    elements::{change, fill},
    namespace::{frontend, in_namespace, installed, nft, programs, run, target},
    owned::in_owning_namespace,
};

/// How long a change may take that must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test in a namespace, in a runtime, with both programs installed and a monitor.
fn watching(test: impl AsyncFnOnce(&mut NetlinkDataPlane, &mut RulesetMonitor) + Send) {
    in_namespace(|| {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut plane = installed();
            let mut monitor = plane.monitor().unwrap();
            test(&mut plane, &mut monitor).await;
        });
    });
}

async fn next(monitor: &mut RulesetMonitor) -> ForeignChange {
    timeout(PATIENCE, monitor.changed()).await.expect("a change").unwrap()
}

/// Asserts that the monitor has heard of everything, and that nothing of it is worth a word.
#[track_caller]
fn assert_quiet(plane: &mut NetlinkDataPlane, monitor: &mut RulesetMonitor) {
    let generation = plane.generation().unwrap();
    assert!(monitor.saw(generation).unwrap(), "every commit up to generation {generation} was seen");
    assert_eq!(monitor.more().unwrap(), []);
}

/// Whether PIDs here are those that the kernel reports: this is the initial PID namespace (PROC_PID_INIT_INO).
fn on_the_host() -> bool {
    std::fs::read_link("/proc/self/ns/pid").unwrap().to_str() == Some("pid:[4026531836]")
}

fn touched(family: Family, table: &str, how: Touch) -> Touched {
    Touched { family, table: table.to_owned(), how }
}

#[test]
fn every_kind_of_foreign_change_is_told_once_with_the_culprits_name_and_pid() {
    use Touch::{Chains, ElementsAdded, ElementsDeleted, Others, Rules, Sets, TableChanged, TableDeleted};
    let v4 = |how| touched(Family::V4, "portolan", how);
    let v6 = |how| touched(Family::V6, "portolan", how);
    let changes = [
        ("add element ip portolan cluster-ips { 10.9.9.9 }", vec![v4(ElementsAdded)]),
        ("delete element ip portolan cluster-ips { 10.9.9.9 }", vec![v4(ElementsDeleted)]),
        ("flush map ip portolan endpoints", vec![v4(ElementsDeleted)]),
        ("add chain ip6 portolan foo", vec![v6(Chains)]),
        ("insert rule ip6 portolan external drop", vec![v6(Rules)]),
        ("flush chain ip portolan prerouting", vec![v4(Rules)]),
        ("add set ip portolan bar { type ipv4_addr; }", vec![v4(Sets)]),
        ("add counter ip portolan baz", vec![v4(Others)]),
        ("add table ip portolan { flags dormant; }", vec![v4(TableChanged)]),
        ("delete table ip6 portolan", vec![v6(TableDeleted)]),
        ("add table ip6 portolan-standby", vec![touched(Family::V6, "portolan-standby", TableChanged)]),
        ("flush ruleset", vec![v4(TableDeleted), touched(Family::V6, "portolan-standby", TableDeleted)]),
    ];
    watching(async |plane, monitor| {
        let slot = Element::Slot {
            frontend: frontend("10.96.0.10", Protocol::Tcp, 80),
            slot: 0,
            target: target("10.0.0.7", 80),
        };
        plane.commit(&change(&[], &[slot])).unwrap();
        for (text, what) in changes {
            let mut child = Command::new("nft").arg(text).spawn().unwrap();
            assert!(child.wait().unwrap().success(), "{text}");
            let told = next(monitor).await;
            let culprit = told.culprit.clone().unwrap();
            assert_eq!(culprit.name, "nft", "{text}");
            assert!(culprit.pid == child.id() || !on_the_host(), "{text}: {culprit}, not {}", child.id());
            assert_eq!(told.what, what, "{text}");
            assert_eq!(told.generation, Some(plane.generation().unwrap()), "{text}");
            assert_quiet(plane, monitor);
        }
    });
}

#[test]
fn what_we_do_ourselves_is_not_told() {
    watching(async |plane, monitor| {
        fill(plane);
        assert_quiet(plane, monitor);
        plane.install(&programs()).unwrap();
        let group = AffinityGroup { family: Family::V4, name: "a/b/tcp".into(), timeout: 60, all: true, local: false };
        let everything = Transaction { write_groups: vec![group], ..Transaction::default() };
        plane.install_standby(&programs(), &everything).unwrap();
        assert_eq!(plane.damaged_chains(&programs()).unwrap(), [""; 0]);
        plane.remove_standby().unwrap();
        assert_quiet(plane, monitor);
        plane.remove().unwrap();
        assert_quiet(plane, monitor);
        // What nft does for somebody else is no run of ours, a moment later either.
        nft("table ip portolan");
        assert_eq!(next(monitor).await.what, [touched(Family::V4, "portolan", Touch::TableChanged)]);
    });
}

#[test]
fn what_an_owner_does_is_not_told_though_it_changes_its_socket() {
    in_owning_namespace(|| {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut plane = NetlinkDataPlane::open_owning().unwrap();
            let mut monitor = plane.monitor().unwrap();
            plane.install(&programs()).unwrap();
            for timeout in [60, 90] {
                let name = "a/b/tcp".into();
                let group = AffinityGroup { family: Family::V4, name, timeout, all: true, local: false };
                plane.commit(&Transaction { write_groups: vec![group], ..Transaction::default() }).unwrap();
            }
            fill(&mut plane);
            assert_quiet(&mut plane, &mut monitor);
            drop(plane);
            nft("add chain ip portolan foo");
            assert_eq!(next(&mut monitor).await.what, [touched(Family::V4, "portolan", Touch::Chains)]);
        });
    });
}

#[test]
fn other_tables_are_nobodys_business() {
    watching(async |plane, monitor| {
        let elements: Vec<String> =
            (0..5000u32).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()).collect();
        nft(&format!(
            "table ip other {{ set s {{ type ipv4_addr; elements = {{ {} }}; }}; }}
             table inet portolan {{ chain c {{ }}; }}
             table ip portolan2",
            elements.join(", ")
        ));
        nft("flush table ip other\ndelete table inet portolan");
        assert_quiet(plane, monitor);
    });
}

#[test]
fn clients_that_packets_make_known_are_no_change() {
    watching(async |plane, monitor| {
        let group = AffinityGroup { family: Family::V4, name: "a/b/tcp".into(), timeout: 60, all: true, local: false };
        let (web, name) = (frontend("10.96.0.10", Protocol::Tcp, 80), group.name.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = target("127.0.0.1", listener.local_addr().unwrap().port());
        run("ip", &["route", "add", "10.96.0.0/16", "dev", "lo"]);
        let transaction = Transaction {
            write_groups: vec![group.clone()],
            add_picks: vec![PickChain { family: Family::V4, list: List::All, count: 1 }],
            add: vec![
                Element::Frontend { frontend: web, policy: Policy::Internal, guarded: false, owner: "a/b".into() },
                Element::Sticky { frontend: web, list: List::All, group: name.clone() },
                Element::Pick { frontend: web, list: List::All, first: true, count: 1 },
                Element::Slot { frontend: web, slot: 0, target: backend },
                Element::Learner { frontend: web, group: name.clone() },
                Element::Remembered { target: backend, protocol: Protocol::Tcp },
                Element::Member { group: name, list: List::All, target: backend },
            ],
            ..Transaction::default()
        };
        plane.commit(&transaction).unwrap();
        let client = TcpStream::connect_timeout(&"10.96.0.10:80".parse().unwrap(), PATIENCE).unwrap();
        listener.accept().unwrap();
        drop(client);
        let remembered = plane.remembered(&group, List::All).unwrap();
        assert_eq!(remembered.len(), 1, "the client was remembered");
        assert_quiet(plane, monitor);
        plane.forget(&group, List::All, &[remembered[0].client]).unwrap();
        assert_quiet(plane, monitor);
    });
}

#[test]
fn a_process_in_another_pid_namespace_is_named_by_its_number_on_the_host() {
    watching(async |plane, monitor| {
        let words = ["--pid", "--fork", "--kill-child", "sh", "-c", "nft add chain ip portolan foo & echo $!; wait"];
        let inner = run("unshare", &words);
        let told = next(monitor).await;
        let culprit = told.culprit.unwrap();
        assert_eq!(culprit.name, "nft");
        assert!(culprit.pid > inner.trim().parse().unwrap(), "{} there, {} here", inner.trim(), culprit.pid);
        assert_quiet(plane, monitor);
    });
}

/// Runs tests of this file in a PID namespace of their own, as in a container: there, neither our own PID nor that of
/// our nft is what the kernel reports.
#[test]
fn own_commits_are_known_in_a_pid_namespace_of_our_own() {
    in_namespace(|| {
        for test in ["what_we_do_ourselves_is_not_told", "clients_that_packets_make_known_are_no_change"] {
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(std::env::current_exe().unwrap());
            let output = command.args(["--exact", &format!("monitor::{test}")]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
    });
}

#[test]
fn lost_notifications_are_a_reason_to_look() {
    watching(async |plane, monitor| {
        let elements: Vec<String> =
            (0..200_000u32).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()).collect();
        nft(&format!("table ip other {{ set s {{ type ipv4_addr; elements = {{ {} }}; }}; }}", elements.join(", ")));
        let told = next(monitor).await;
        assert_eq!((told.culprit, told.generation, told.what), (None, None, vec![]));
        // From here on it hears everything again.
        monitor.more().unwrap();
        nft("add chain ip portolan foo");
        assert_eq!(next(monitor).await.what, [touched(Family::V4, "portolan", Touch::Chains)]);
        assert_quiet(plane, monitor);
    });
}

#[test]
fn a_large_commit_of_our_own_loses_nothing() {
    watching(async |plane, monitor| {
        let add =
            (0..200_000u32).map(|n| Element::ClusterIp(std::net::Ipv4Addr::from(0x0a60_0000 + n).into())).collect();
        plane.commit(&Transaction { add, ..Transaction::default() }).unwrap();
        nft("add chain ip portolan foo");
        assert_eq!(next(monitor).await.what, [touched(Family::V4, "portolan", Touch::Chains)]);
        assert_quiet(plane, monitor);
    });
}

#[test]
fn a_monitor_that_heard_less_than_the_generation_says_so() {
    watching(async |plane, monitor| {
        nft("add chain ip portolan foo");
        let generation = plane.generation().unwrap();
        assert!(!monitor.saw(generation + 1).unwrap());
        assert!(monitor.saw(generation).unwrap());
        assert_eq!(monitor.more().unwrap().len(), 1, "what was read on the way is not lost");
    });
}

#[test]
fn waiting_may_be_given_up_and_begun_again() {
    watching(async |plane, monitor| {
        for number in 0..20 {
            let _ = timeout(Duration::from_micros(50), monitor.changed()).await;
            nft(&format!("add chain ip portolan foo{number}"));
            assert_eq!(next(monitor).await.what.len(), 1);
        }
        assert_quiet(plane, monitor);
    });
}
