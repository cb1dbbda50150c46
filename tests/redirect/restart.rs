//! Planned restarts under load: no query is lost.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    agent::Agent,
    client::{Asked, Way, from, load, lost, until, vip},
    net::{Machine, Net},
};

/// The clients: where and how.
fn clients() -> Vec<(Machine, usize, Way)> {
    let mut clients = Vec::new();
    for index in 0..2 {
        for way in [Way::OneFlow, Way::ManyFlows, Way::Connections] {
            clients.push((Machine::Pod, index, way));
        }
        clients.push((Machine::Node, index, Way::ManyFlows));
    }
    clients
}

/// Has all clients ask while `work` is done. Nothing may be lost.
fn without_loss(net: &Net, work: impl FnOnce()) -> Vec<Vec<Asked>> {
    let over = AtomicBool::new(false);
    let asked: Vec<Vec<Asked>> = thread::scope(|scope| {
        let started = clients().into_iter().map(|(machine, index, way)| {
            let over = &over;
            scope.spawn(move || net.inside(machine, || load(vip(index), way, over)))
        });
        let started: Vec<_> = started.collect();
        thread::sleep(Duration::from_millis(300));
        work();
        over.store(true, Ordering::Relaxed);
        started.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for (asked, client) in asked.iter().zip(clients()) {
        assert!(lost(asked).is_empty(), "{client:?}, of {}: {:?}", asked.len(), lost(asked));
    }
    println!("{} queries, none lost", asked.iter().map(Vec::len).sum::<usize>());
    asked
}

#[test]
fn a_new_process_takes_over_beside_the_old_one() {
    let Some(net) = Net::up("a_new_process_takes_over_beside_the_old_one") else { return };
    let mut old = Agent::redirecting(&net, "OLD");
    let mut new = None;
    let asked = without_loss(&net, || {
        new = Some(Agent::redirecting(&net, "NEW"));
        old.order("restart");
        old.ended();
        for index in 0..2 {
            until(&net, Machine::Pod, index, "NEW");
            until(&net, Machine::Node, index, "NEW");
        }
        thread::sleep(Duration::from_millis(300));
    });
    for asked in &asked {
        assert!(from(asked, "OLD") > 10 && from(asked, "CENTRAL") > 10 && from(asked, "NEW") > 10);
    }
}

#[test]
fn where_only_one_can_run_the_central_dns_serves_meanwhile() {
    let Some(net) = Net::up("where_only_one_can_run_the_central_dns_serves_meanwhile") else { return };
    let mut old = Agent::redirecting(&net, "OLD");
    let mut new = None;
    without_loss(&net, || {
        old.order("restart");
        old.ended();
        thread::sleep(Duration::from_secs(5));
        new = Some(Agent::start(&net, "NEW"));
    });
    let mut new = new.unwrap();
    until(&net, Machine::Pod, 0, "CENTRAL");
    new.order("ready");
    until(&net, Machine::Pod, 0, "NEW");
    until(&net, Machine::Node, 1, "NEW");
}
