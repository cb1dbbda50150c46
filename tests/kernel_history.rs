//! Histories of changes on the real kernel: however it came about, the kernel holds what a fresh start would write, and
//! nft lists what it lists after it has loaded the rendered text.
//!
//! Needs root. Without it the test prints SKIPPED; with PORTOLAN_REQUIRE_KERNEL=1 it fails instead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic: that is how they fail")]

mod common;
#[path = "kernel/namespace.rs"]
#[allow(dead_code, reason = "written for the tests of the kernel, which use more of it")]
mod namespace;

use std::collections::BTreeSet;

use common::{Step, settings, without_slot_order};
use namespace::{assert_same_text, in_namespace, nft, run};
use portolan::{
    agent::{Agent, Synced},
    desired::Desired,
    kernel::{DataPlane, NetlinkDataPlane},
    model::{Family, World},
    tables::{Contents, Program, TableState, nft_text},
};
use proptest::prelude::*;

fn programs() -> Vec<Program> {
    Family::ALL.map(|family| Program::new(family, &settings())).to_vec()
}

/// An agent for the namespace of the calling thread, that has done its first work.
fn started(world: World) -> (Agent<NetlinkDataPlane>, Synced) {
    let mut agent = Agent::new(NetlinkDataPlane::open().unwrap());
    agent.set(world, settings(), false);
    let synced = agent.sync().unwrap();
    assert!(synced.refused.is_empty(), "{:?}", synced.refused);
    (agent, synced)
}

fn take(agent: &mut Agent<NetlinkDataPlane>, step: Step) {
    match step {
        Step::PutService(service) => _ = agent.desired().put_service(service),
        Step::RemoveService(id) => agent.desired().remove_service(&id),
        Step::PutSlice(slice) => _ = agent.desired().put_slice(slice),
        Step::MoveNode(node) => {
            let mut world = agent.desired().world().clone();
            world.node = node;
            agent.set(world, settings(), false);
        }
    }
}

/// What a node that has just started wants.
fn wanted(world: &World) -> TableState {
    let mut desired = Desired::default();
    desired.replace(world.clone(), settings());
    let mut contents = Contents::default();
    let work = desired.work(&contents);
    contents.accept(work.changes);
    contents.state()
}

/// Asserts that the kernel holds this and nothing else.
#[track_caller]
fn assert_holds(agent: &mut Agent<NetlinkDataPlane>, wanted: &TableState) {
    let held = agent.kernel().dump().unwrap();
    assert_eq!(held.strangers, BTreeSet::new());
    assert_eq!(without_slot_order(&held), without_slot_order(wanted));
    assert_eq!(without_slot_order(&agent.contents().state()), without_slot_order(wanted), "what the agent believes");
}

fn listing() -> String {
    run("nft", &["--stateless", "list", "ruleset"])
}

/// A listing with its chains, maps and sets in alphabetical order, and with the elements of each in theirs: nft prints
/// those of a set with intervals in the order in which the kernel's buckets have them.
fn in_order_of_names(listing: &str) -> String {
    let (mut table, mut block) = ("", "");
    let mut lines = Vec::new();
    for (number, line) in listing.lines().filter(|line| !line.is_empty()).enumerate() {
        let (number, line) = match element(line) {
            Some(element) => (usize::MAX, element),
            None => (number, line),
        };
        match line.strip_prefix('\t') {
            None => (table, block) = (line, ""),
            Some(opening) if opening.ends_with('{') => block = opening,
            Some(_) => {}
        }
        lines.push((table, block, number, line));
    }
    lines.sort_unstable();
    lines.into_iter().map(|(.., line)| format!("{line}\n")).collect()
}

/// The element in a line of a listing, without what is around it.
fn element(line: &str) -> Option<&str> {
    let line = line.strip_prefix("\t\t")?;
    let inside = line.strip_prefix("elements = { ").or_else(|| line.strip_prefix("\t     "))?;
    Some(inside.trim_end_matches(" }").trim_end_matches(','))
}

/// Carries out a history, watching the kernel at every step. Returns the world at its end.
fn live_through(steps: Vec<Step>) -> World {
    let (mut agent, _) = started(World::default());
    for step in steps {
        take(&mut agent, step);
        let synced = agent.sync().unwrap();
        assert!(synced.refused.is_empty() && !synced.installed, "{synced:?}");
        let wanted = wanted(agent.desired().world());
        assert_holds(&mut agent, &wanted);
        agent.doubt();
        let again = agent.sync().unwrap();
        assert!(again.repaired.is_empty() && again.changed.is_empty(), "nobody changed anything: {again:?}");
    }
    assert_eq!(agent.kernel().damaged_chains(&programs()).unwrap(), Vec::<String>::new());
    let world = agent.desired().world().clone();
    let (mut restarted, synced) = started(world.clone());
    assert!(synced.operations == 0 && synced.changed.is_empty() && !synced.installed, "a restart did {synced:?}");
    assert_holds(&mut restarted, &wanted(&world));
    world
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::with_cases(30) })]

    #[test]
    fn the_kernel_ends_where_a_fresh_start_does(steps in common::steps(12)) {
        let mut world = None;
        in_namespace(|| world = Some(live_through(steps)));
        // Without namespaces there is nothing to see.
        let Some(world) = world else { return Ok(()) };

        let (mut fresh, mut loaded) = (String::new(), String::new());
        in_namespace(|| {
            let (mut agent, _) = started(world.clone());
            assert_holds(&mut agent, &wanted(&world));
            fresh = listing();
        });
        in_namespace(|| {
            nft(&nft_text(&programs(), &wanted(&world)));
            loaded = listing();
        });
        // The chains of affinity groups come before the pick chains here and after them there.
        assert_same_text(&in_order_of_names(&fresh), &in_order_of_names(&loaded));
    }
}
