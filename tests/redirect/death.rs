//! A process that answers dies, freezes or hangs.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    agent::Agent,
    client::{Asked, PATIENCE, Way, ask_over, assert_answers, from, load, lost, until, vip},
    net::{Machine, NODE, Net, POD},
};

/// Clients in the pod, until `work` is done.
fn under_load<T>(net: &Net, targets: &[(SocketAddr, Way)], work: impl FnOnce() -> T) -> (Vec<Vec<Asked>>, T) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = targets.iter().map(|(target, way)| {
            let over = &over;
            scope.spawn(move || net.inside(Machine::Pod, || load(*target, *way, over)))
        });
        let clients: Vec<_> = clients.collect();
        thread::sleep(Duration::from_millis(500));
        let outcome = work();
        // Who waits for an answer that does not come goes on after that.
        thread::sleep(PATIENCE + Duration::from_millis(500));
        over.store(true, Ordering::Relaxed);
        (clients.into_iter().map(|client| client.join().unwrap()).collect(), outcome)
    })
}

#[test]
fn after_a_sigkill_the_next_query_goes_to_the_central_dns() {
    let Some(net) = Net::up("after_a_sigkill_the_next_query_goes_to_the_central_dns") else { return };
    let mut agent = Agent::redirecting(&net, "LOCAL");
    let clients = [(vip(0), Way::OneFlow), (vip(0), Way::ManyFlows), (vip(1), Way::OneFlow), (vip(1), Way::ManyFlows)];
    let (asked, (killed, gone)) = under_load(&net, &clients, || {
        let killed = Instant::now();
        agent.die();
        (killed, Instant::now())
    });
    println!("{:?} from the signal to the end", gone - killed);
    for (asked, client) in asked.iter().zip(clients) {
        // What a dying process has read or is about to read nobody answers. Before and after it, nothing is lost.
        let lost = lost(asked);
        let at_death = |asked: &&&Asked| asked.sent + Duration::from_millis(20) > killed && asked.sent < gone;
        assert_eq!(lost.iter().filter(at_death).count(), lost.len(), "{client:?}: {lost:?}");
        assert!(lost.len() <= 1, "{client:?}: {lost:?}");
        let (local, central) = (from(asked, "LOCAL"), from(asked, "CENTRAL"));
        assert!(local > 10 && central > 10, "{client:?}: {local} {central}");
        println!("{client:?}: {} queries, lost {}", asked.len(), lost.len());
    }
    // Over TCP, too; and a process of the node once the element is over.
    assert_answers(&net, Machine::Pod, "CENTRAL", POD);
    until(&net, Machine::Node, 0, "CENTRAL");
    until(&net, Machine::Node, 1, "CENTRAL");
    assert_answers(&net, Machine::Node, "CENTRAL", NODE);
    // What is left is no hindrance.
    let _agent = Agent::redirecting(&net, "SECOND");
    assert_answers(&net, Machine::Pod, "SECOND", POD);
}

/// How long a client that asks again every 200 ms has no answer, until the central DNS gives one.
fn gap(net: &Net, machine: Machine, index: usize) -> Duration {
    let begun = Instant::now();
    net.inside(machine, || {
        let socket = crate::client::udp(vip(index));
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (mut answered, mut longest) = (begun, Duration::ZERO);
        for id in 0.. {
            let answer = ask_over(&socket, id);
            longest = longest.max(answered.elapsed());
            assert!(longest < Duration::from_secs(30), "no answer at all");
            match answer {
                Ok(answer) if answer.starts_with("CENTRAL") => break,
                Ok(_) => answered = Instant::now(),
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(10));
        }
        longest
    })
}

#[test]
fn a_frozen_process_is_left_when_its_element_is_over() {
    let Some(net) = Net::up("a_frozen_process_is_left_when_its_element_is_over") else { return };
    let agent = Agent::redirecting(&net, "LOCAL");
    for (machine, index) in [(Machine::Pod, 0), (Machine::Node, 1)] {
        agent.signal(Signal::SIGSTOP);
        let gap = gap(&net, machine, index);
        println!("{machine:?}: {:.1} s without an answer (2 s are documented)", gap.as_secs_f32());
        agent.signal(Signal::SIGCONT);
        for index in 0..2 {
            until(&net, Machine::Pod, index, "LOCAL");
            until(&net, Machine::Node, index, "LOCAL");
        }
    }
}

#[test]
fn one_thread_that_hangs_ends_the_redirect_though_the_others_go_on() {
    let Some(net) = Net::up("one_thread_that_hangs_ends_the_redirect_though_the_others_go_on") else { return };
    let mut agent = Agent::redirecting(&net, "LOCAL");
    agent.order("hang");
    agent.hear("states 10.96.0.10 off (hung");
    for _ in 0..5 {
        assert_answers(&net, Machine::Pod, "CENTRAL", POD);
        assert_answers(&net, Machine::Node, "CENTRAL", NODE);
    }
    // A good process beside it does not get the clients back, for they would come to the thread that hangs, too.
    let mut good = Agent::redirecting(&net, "GOOD");
    for _ in 0..5 {
        assert_answers(&net, Machine::Pod, "CENTRAL", POD);
        thread::sleep(Duration::from_millis(300));
    }
    agent.die();
    until(&net, Machine::Pod, 0, "GOOD");
    until(&net, Machine::Node, 1, "GOOD");
    good.order("off");
    good.ended();
}
