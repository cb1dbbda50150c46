//! An agent ends, hangs or is replaced while pods look names up: no look-up fails.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::town::{Town, can_run};

/// Looks names up in a pod of node-1 with glibc and musl while `work` goes on, and some times before and after. Panics
/// if one look-up fails.
fn under_load<T>(town: &Town, work: impl FnOnce(&dyn Fn(usize)) -> T) -> T {
    let stop = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        let glibc = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let found = town.glibc("default", "client", "kubia");
                assert_eq!(found, ["10.96.1.1"], "glibc, after {} look-ups", done.load(Ordering::Relaxed));
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        let musl = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let found = town.musl("default", "client", "headless1");
                assert_eq!(found, ["10.244.1.13", "10.244.2.13"], "musl");
                let outside = town.musl("default", "client", "www.example.com");
                assert_eq!(outside, ["203.0.113.80"], "musl, a name of the world");
            }
        });
        // Waits for so many look-ups more; an end of the look-ups, which is a failure, ends the waiting as well.
        let look_ups = |count: usize| {
            let target = done.load(Ordering::Relaxed) + count;
            while done.load(Ordering::Relaxed) < target && !glibc.is_finished() && !musl.is_finished() {
                thread::sleep(Duration::from_millis(5));
            }
        };
        look_ups(30);
        let result = work(&look_ups);
        look_ups(30);
        stop.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn no_look_up_fails_when_an_agent_dies_and_comes_back() {
    if !can_run("no_look_up_fails_when_an_agent_dies_and_comes_back") {
        return;
    }
    let mut town = Town::build();
    let agent = town.take_agent("node-1");
    under_load(&town, |look_ups| {
        agent.signal(Signal::SIGKILL);
        look_ups(100);
    });
    agent.ended();
    town.eventually("the redirect has run out", || !town.is_redirected("node-1"));
    let next = under_load(&town, |look_ups| {
        let next = town.agent("node-1");
        town.await_redirect("node-1");
        look_ups(50);
        next
    });
    town.keep_agent("node-1", next);
}

#[test]
fn no_look_up_fails_while_an_agent_hangs() {
    if !can_run("no_look_up_fails_while_an_agent_hangs") {
        return;
    }
    let mut town = Town::build();
    let agent = town.take_agent("node-1");
    under_load(&town, |look_ups| {
        agent.signal(Signal::SIGSTOP);
        town.eventually("the redirect has run out", || !town.is_redirected("node-1"));
        look_ups(50);
        agent.signal(Signal::SIGCONT);
        town.await_redirect("node-1");
        look_ups(50);
    });
    town.keep_agent("node-1", agent);
}

#[test]
fn no_look_up_fails_when_an_agent_is_replaced() {
    if !can_run("no_look_up_fails_when_an_agent_is_replaced") {
        return;
    }
    let mut town = Town::build();
    for side_by_side in [false, true] {
        let old = town.take_agent("node-1");
        let next = under_load(&town, |look_ups| {
            let first = side_by_side.then(|| town.agent("node-1"));
            look_ups(30);
            old.signal(Signal::SIGTERM);
            old.ended();
            look_ups(30);
            let next = first.unwrap_or_else(|| town.agent("node-1"));
            town.await_redirect("node-1");
            look_ups(30);
            next
        });
        town.keep_agent("node-1", next);
    }
}
