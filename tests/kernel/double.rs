//! The data plane in memory does and refuses what the kernel does and refuses.

use portolan::{
    kernel::{DataPlane, KernelError, MemoryDataPlane},
    model::{Family, Frontend, Protocol, Target},
    tables::{AffinityGroup, DeadEnd, Element, List, PickChain, Policy, TableState, Transaction},
};

use crate::namespace::{frontend, in_namespace, installed, ip, programs, range, target};

fn web() -> Frontend {
    frontend("10.96.0.10", Protocol::Tcp, 80)
}

fn pick(count: u16) -> Element {
    Element::Pick { frontend: web(), list: List::All, first: false, count }
}

fn chain(count: u16) -> PickChain {
    PickChain { family: Family::V4, list: List::All, count }
}

fn group(all: bool, local: bool) -> AffinityGroup {
    AffinityGroup { family: Family::V4, name: "shop/web/tcp".into(), timeout: 60, all, local }
}

fn sticky(list: List) -> Element {
    Element::Sticky { frontend: web(), list, group: "shop/web/tcp".into() }
}

fn member(list: List) -> Element {
    Element::Member { group: "shop/web/tcp".into(), list, target: endpoint() }
}

fn endpoint() -> Target {
    target("10.1.0.1", 8080)
}

fn named(policy: Policy, owner: &str) -> Element {
    Element::Frontend { frontend: web(), policy, guarded: false, owner: owner.into() }
}

fn source(first: &str, last: &str) -> Element {
    Element::AllowedSource { frontend: web(), range: range(first, last) }
}

fn pods(first: &str, last: &str) -> Element {
    Element::Pods(range(first, last))
}

/// Each with what it does to the state that those before it have left.
fn story() -> Vec<(&'static str, Transaction)> {
    let none = Transaction::default;
    let add = |add: &[Element]| Transaction { add: add.to_vec(), ..none() };
    let delete = |delete: &[Element]| Transaction { delete: delete.to_vec(), ..none() };
    vec![
        ("nothing", none()),
        ("a pick without its chain", add(&[pick(3)])),
        (
            "the same with it",
            Transaction { add_picks: vec![chain(3)], ..add(&[pick(3), named(Policy::Internal, "a")]) },
        ),
        ("the same again", Transaction { add_picks: vec![chain(3)], ..add(&[pick(3), named(Policy::Internal, "a")]) }),
        ("another owner alone", add(&[named(Policy::Internal, "b")])),
        ("another policy", add(&[named(Policy::External, "b")])),
        ("both, deleted first", {
            Transaction { delete: vec![named(Policy::Internal, "a")], ..add(&[named(Policy::External, "b")]) }
        }),
        ("another chain for a key", Transaction { add_picks: vec![chain(4)], ..add(&[pick(4)]) }),
        ("deleting a chain in use", Transaction { delete_picks: vec![chain(3)], ..none() }),
        ("deleting a chain with its last use", Transaction { delete_picks: vec![chain(3)], ..delete(&[pick(3)]) }),
        ("deleting what is gone", delete(&[pick(3)])),
        ("deleting a chain that is gone", Transaction { delete_picks: vec![chain(3)], ..none() }),
        ("deleting by key", delete(&[named(Policy::Internal, "c")])),
        ("two values for a key at once", {
            let dead = |verdict| Element::DeadEnd { frontend: web(), verdict, owner: "a".into() };
            add(&[dead(DeadEnd::Drop), dead(DeadEnd::Refuse)])
        }),
        ("ranges", add(&[pods("10.0.0.0", "10.0.0.255"), source("10.0.0.0", "10.0.0.255")])),
        ("the same ranges", add(&[pods("10.0.0.0", "10.0.0.255"), source("10.0.0.0", "10.0.0.255")])),
        ("a range within another", add(&[pods("10.0.0.7", "10.0.0.8")])),
        ("a range across another's end", add(&[pods("10.0.0.7", "10.0.1.8")])),
        ("a source range within another", add(&[source("10.0.0.7", "10.0.0.8")])),
        ("a source range across another's end", add(&[source("10.0.0.7", "10.0.1.8")])),
        ("a range next to another", add(&[pods("10.0.1.0", "10.0.1.255"), source("10.0.1.0", "10.0.1.255")])),
        (
            "a smaller range instead",
            Transaction {
                delete: vec![pods("10.0.0.0", "10.0.0.255"), source("10.0.0.0", "10.0.0.255")],
                ..add(&[pods("10.0.0.7", "10.0.0.8"), source("10.0.0.7", "10.0.0.8")])
            },
        ),
        ("affinity without a group", add(&[sticky(List::All)])),
        ("learning without a group", add(&[Element::Learner { frontend: web(), group: "shop/web/tcp".into() }])),
        ("members without a group", add(&[member(List::All)])),
        ("a group", Transaction { write_groups: vec![group(true, true)], ..add(&[sticky(List::Local)]) }),
        ("its members", add(&[member(List::All), member(List::Local)])),
        ("dropping a list in use", Transaction { write_groups: vec![group(true, false)], ..none() }),
        ("dropping it with its last use", {
            Transaction { write_groups: vec![group(true, false)], ..delete(&[sticky(List::Local)]) }
        }),
        ("a member of the dropped list", add(&[member(List::Local)])),
        ("affinity to the list that is left", add(&[sticky(List::All)])),
        ("deleting a group in use", Transaction { delete_groups: vec![group(true, false)], ..none() }),
        ("retiring what leads to it", {
            Transaction { retire: vec![sticky(List::All)], delete_groups: vec![group(true, false)], ..none() }
        }),
        ("deleting it again", Transaction { delete_groups: vec![group(true, false)], ..none() }),
        ("a family without a table", add(&[Element::ClusterIp(ip("fd00::1"))])),
    ]
}

fn sorted(state: TableState) -> TableState {
    let mut state = state;
    state.elements.sort();
    state
}

#[test]
fn the_double_agrees_with_the_kernel() {
    in_namespace(|| {
        let mut kernel = installed();
        let mut double = MemoryDataPlane::new();
        portolan::kernel::nft::run("delete table ip6 portolan", false, "test").unwrap();
        double.install(&programs()[..1]).unwrap();
        for (what, transaction) in story() {
            let outcomes = [kernel.commit(&transaction), double.commit(&transaction)];
            let [real, doubled] = &outcomes;
            assert_eq!(real.is_ok(), doubled.is_ok(), "{what}: {outcomes:?}");
            for outcome in outcomes {
                assert!(matches!(outcome, Ok(()) | Err(KernelError::Refused { .. })), "{what}: {outcome:?}");
            }
            assert_eq!(sorted(kernel.dump().unwrap()), sorted(double.dump().unwrap()), "{what}");
        }
    });
}
