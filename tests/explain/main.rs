//! Is what `portolan explain` says true? Situations that operators meet, healthy ones and generated ones: each is played
//! in a lab, asked about, and driven by real packets, which must do what was predicted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic: that is how they fail")]

mod broken_endpoints;
mod broken_kernel;
mod broken_names;
mod broken_node;
mod broken_objects;
mod broken_policy;
mod caller;
mod generated;
mod healthy;
mod manifests;
mod names;
mod packets;
mod situation;
mod stage;
#[path = "../names/upstream.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod upstream;

use std::env;

use situation::Situation;
use stage::{Stage, can_run};

/// Plays situations one after another in one lab; all of them, and then says which were wrong. `EXPLAIN_ONLY` is a part
/// of the names of those to play.
fn play(test: &str, situations: Vec<Situation>) {
    if !can_run(test) {
        return;
    }
    let only = env::var("EXPLAIN_ONLY").unwrap_or_default();
    let mut stage = Stage::build();
    let mut wrong = Vec::new();
    let chosen: Vec<_> = situations.iter().filter(|situation| situation.name.contains(&only)).collect();
    for situation in &chosen {
        match situation.play(&mut stage) {
            Ok(told) => println!("{}\n    {}\n    packet: {}", situation.name, told.sentence, told.packet),
            Err(complaint) => {
                println!("WRONG {complaint}");
                wrong.push(complaint);
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n\n{}", wrong.len(), chosen.len(), wrong.join("\n\n"));
}

fn broken() -> Vec<Situation> {
    [
        broken_objects::situations(),
        broken_endpoints::situations(),
        broken_policy::situations(),
        broken_kernel::situations(),
        broken_node::situations(),
        broken_names::situations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn broken_objects_are_explained() {
    play("broken_objects_are_explained", broken_objects::situations());
}

#[test]
fn broken_endpoints_are_explained() {
    play("broken_endpoints_are_explained", broken_endpoints::situations());
}

#[test]
fn broken_policies_are_explained() {
    play("broken_policies_are_explained", broken_policy::situations());
}

#[test]
fn broken_kernels_are_explained() {
    play("broken_kernels_are_explained", broken_kernel::situations());
}

#[test]
fn broken_nodes_are_explained() {
    play("broken_nodes_are_explained", broken_node::situations());
}

#[test]
fn broken_names_are_explained() {
    play("broken_names_are_explained", broken_names::situations());
}

#[test]
fn nothing_is_claimed_of_what_works() {
    play("nothing_is_claimed_of_what_works", healthy::situations());
}

#[test]
fn nothing_is_claimed_of_names_that_work() {
    play("nothing_is_claimed_of_names_that_work", broken_names::healthy());
}

/// The number of situations, counted.
#[test]
fn there_are_enough_situations() {
    let broken = broken();
    let healthy: Vec<_> = healthy::situations().into_iter().chain(broken_names::healthy()).collect();
    assert!(broken.iter().all(Situation::is_broken) && !healthy.iter().any(Situation::is_broken));
    let mut names: Vec<&str> = broken.iter().chain(&healthy).map(|situation| situation.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), broken.len() + healthy.len(), "two situations have one name");
    let driven = |all: &[Situation]| all.iter().filter(|s| s.without_packet().is_none()).count();
    println!(
        "{} broken, {} healthy; with packets {}, {}",
        broken.len(),
        healthy.len(),
        driven(&broken),
        driven(&healthy)
    );
    for situation in &broken {
        if let Some(why) = situation.without_packet() {
            println!("no packet for {:?}: {why}", situation.name);
        }
    }
    assert!(driven(&broken) >= 60, "{}", driven(&broken));
    assert!(driven(&healthy) >= 20, "{}", driven(&healthy));
}
