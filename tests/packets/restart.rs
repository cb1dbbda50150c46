//! A new process under traffic: it takes over what the old one left, also when it brings another program.

use portolan::model::Settings;

use crate::{
    services::settings,
    support::{can_run, run},
    traffic::{Busy, net, world_at},
};

#[test]
fn a_restart_goes_unnoticed() {
    if !can_run("a_restart_goes_unnoticed") {
        return;
    }
    let mut net = net();
    net.program(&world_at(&net, 0), &settings());
    let busy = Busy::start(&net);
    for step in 0..20 {
        let world = world_at(&net, step);
        net.program_node("node-1", &world, &settings());
        net.restart("node-1");
        let nothing = net.program_node("node-1", &world, &settings());
        assert!(nothing.changed.is_empty() && nothing.operations == 0 && !nothing.installed, "{nothing:?}");
        net.restart("node-1");
        let world = world_at(&net, step + 100);
        let synced = net.program_node("node-1", &world, &settings());
        assert!(synced.operations > 0 && !synced.installed, "{synced:?}");
    }
    busy.assert_unharmed();
}

#[test]
fn a_new_program_takes_over_without_a_gap() {
    if !can_run("a_new_program_takes_over_without_a_gap") {
        return;
    }
    let mut net = net();
    net.program(&world_at(&net, 0), &settings());
    let busy = Busy::start(&net);
    for step in 0..12 {
        let world = world_at(&net, step / 2);
        // Every other time as after an upgrade: the process is new as well.
        if step % 2 == 1 {
            net.restart("node-1");
        }
        let masquerade_bit = [0, 15, 31][step as usize % 3];
        let settings = Settings { masquerade_bit, masquerade_all: step % 4 == 3, ..settings() };
        let synced = net.program_node("node-1", &world, &settings);
        assert!(synced.installed, "{synced:?}");
    }
    busy.assert_unharmed();
}

#[test]
fn a_program_that_somebody_edited_is_replaced_without_a_gap() {
    if !can_run("a_program_that_somebody_edited_is_replaced_without_a_gap") {
        return;
    }
    let mut net = net();
    net.program(&world_at(&net, 0), &settings());
    let node = net.lab.node("node-1").unwrap();
    let busy = Busy::start(&net);
    for _ in 0..6 {
        run(&node, "nft add chain ip portolan backdoor");
        run(&node, "nft add rule ip6 portolan external counter");
        let synced = net.with_agent("node-1", |agent| {
            agent.doubt();
            agent.sync().unwrap()
        });
        assert!(synced.installed && synced.refused.is_empty(), "{synced:?}");
    }
    busy.assert_unharmed();
}
