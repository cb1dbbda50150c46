//! Changes under traffic: whoever can be served is.

use crate::{
    services::settings,
    support::can_run,
    traffic::{Busy, net, world_at},
};

#[test]
fn three_hundred_changes_and_not_one_lost_connection() {
    if !can_run("three_hundred_changes_and_not_one_lost_connection") {
        return;
    }
    let mut net = net();
    net.program(&world_at(&net, 0), &settings());
    let busy = Busy::start(&net);
    for step in 1..=300 {
        let world = world_at(&net, step);
        let synced = net.program_node("node-1", &world, &settings());
        assert!(synced.operations > 0 && !synced.installed, "{synced:?}");
    }
    busy.assert_unharmed();
}
