//! On and off, and what is left.

use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::{
    agent::Agent,
    client::{PATIENCE, ask_over, assert_answers, udp, until, vip},
    net::{Machine, NODE, Net, POD},
};

#[test]
fn it_is_served_here_while_it_is_live_and_by_the_service_otherwise() {
    let Some(net) = Net::up("it_is_served_here_while_it_is_live_and_by_the_service_otherwise") else { return };
    let mut agent = Agent::start(&net, "LOCAL");
    agent.order("unready");
    assert_answers(&net, Machine::Pod, "CENTRAL", POD);
    assert_answers(&net, Machine::Node, "CENTRAL", NODE);
    let tracked = net.tracked();
    assert!(tracked >= 8, "{tracked}: what the Service serves is tracked");
    agent.order("ready");
    agent.hear_on();
    for _ in 0..5 {
        assert_answers(&net, Machine::Pod, "LOCAL", POD);
        assert_answers(&net, Machine::Node, "LOCAL", NODE);
    }
    assert!(net.tracked() <= tracked, "what is served here is not tracked");
    // The data plane's own pass finds nothing of this to mend, and breaks nothing of it.
    let handles = || net.run(Machine::Node, &["nft", "-a", "-t", "list", "table", "ip", "portolan-dns"]);
    let before = handles();
    net.program();
    assert_eq!(handles(), before);
    assert_answers(&net, Machine::Pod, "LOCAL", POD);
    agent.order("unready");
    agent.hear("states 10.96.0.10 off (not-ready");
    assert_answers(&net, Machine::Pod, "CENTRAL", POD);
    assert_answers(&net, Machine::Node, "CENTRAL", NODE);
    agent.order("ready");
    agent.hear_on();
    until(&net, Machine::Pod, 0, "LOCAL");
    until(&net, Machine::Node, 1, "LOCAL");
    assert!(net.remains().contains("portolan-dns") && net.remains().contains("proto 53"), "{}", net.remains());
    agent.order("off");
    agent.ended();
    assert_eq!(net.remains(), "");
    assert_answers(&net, Machine::Pod, "CENTRAL", POD);
    assert_answers(&net, Machine::Node, "CENTRAL", NODE);
}

#[test]
fn what_has_the_bypass_mark_goes_to_the_service() {
    let Some(net) = Net::up("what_has_the_bypass_mark_goes_to_the_service") else { return };
    let _agent = Agent::redirecting(&net, "LOCAL");
    for (index, node) in NODE.into_iter().enumerate() {
        let answer = net.inside(Machine::Node, || {
            let socket = udp(vip(index));
            assert_eq!(ask_over(&socket, 1).unwrap(), format!("LOCAL saw {node}"));
            SockRef::from(&socket).set_mark(portolan::tables::RedirectMarks::default().bypass).unwrap();
            ask_over(&socket, 2)
        });
        assert_eq!(answer.unwrap(), format!("CENTRAL saw {node}"));
    }
}

#[test]
fn addresses_come_and_go_at_run_time() {
    let Some(net) = Net::up("addresses_come_and_go_at_run_time") else { return };
    let mut agent = Agent::redirecting(&net, "LOCAL");
    agent.order("addresses 10.96.0.10 169.254.20.10");
    agent.hear("states 10.96.0.10 on 169.254.20.10 on");
    for (machine, client) in [(Machine::Pod, POD[0]), (Machine::Node, NODE[0])] {
        let answer = net.inside(machine, || ask_over(&udp("169.254.20.10:53".parse().unwrap()), 1));
        assert_eq!(answer.unwrap(), format!("LOCAL saw {client}"));
    }
    until(&net, Machine::Pod, 1, "CENTRAL");
    until(&net, Machine::Node, 1, "CENTRAL");
    assert_answers_v4(&net);
    // What was said to it over TCP came by its route until the sockets were closed.
    let routes = || net.run(Machine::Node, &["ip", "-6", "route", "show", "table", "10053"]);
    let start = Instant::now();
    while routes().contains("fd00:96::a") {
        assert!(start.elapsed() < Duration::from_secs(30), "the route stays: {}", routes());
        std::thread::sleep(Duration::from_millis(50));
    }
    agent.die();
    // The next process finds what the other left, uses what it needs and removes the rest.
    let again = Agent::redirecting(&net, "AGAIN");
    until(&net, Machine::Pod, 0, "AGAIN");
    until(&net, Machine::Pod, 1, "AGAIN");
    let remains = net.remains();
    assert!(!remains.contains("169.254.20.10"), "{remains}");
    assert_eq!(remains.matches("lookup 10053").count(), 2, "{remains}");
    drop(again);
    net.clean_up();
    assert_eq!(net.remains(), "");
    assert_eq!(net.run(Machine::Node, &["nft", "list", "tables"]), "");
}

fn assert_answers_v4(net: &Net) {
    let answer = net.inside(Machine::Pod, || {
        let socket = udp(vip(0));
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        ask_over(&socket, 1)
    });
    assert_eq!(answer.unwrap(), format!("LOCAL saw {}", POD[0]));
}
