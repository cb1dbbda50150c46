//! What a trace leaves behind, in whatever way it ends: nothing. What it does to others meanwhile: nothing.

use std::{fs, net::UdpSocket, os::unix::fs::PermissionsExt, time::Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portolan::{
    kernel::{DataPlane, NetlinkDataPlane},
    lab::in_namespace,
    model::{Family, Protocol},
};
use tokio::runtime;

use crate::{
    services::{Kind, READY, service, settings, world},
    support::{Net, can_run, spec},
    tracing::{Trace, tables},
};

fn net() -> Net {
    let mut net = Net::up(spec(1, &[("here", 1), ("guest", 1)]));
    let world = world(net.lab.spec(), &[(service(1), vec![("here", READY)])]);
    net.program(&world, &settings());
    net
}

#[test]
fn nothing_is_left_behind() {
    if !can_run("nothing_is_left_behind") {
        return;
    }
    let net = net();
    let node = net.lab.node("node-1").unwrap();
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM] {
        let trace = Trace::start(&node, &["shop/web-1", "--for", "600s"]);
        assert_eq!(tables(&node).len(), 2, "one in each family");
        kill(Pid::from_raw(trace.child.id().try_into().unwrap()), signal).unwrap();
        let ended = trace.end();
        assert_eq!(tables(&node), [""; 0], "{signal}");
        match signal {
            Signal::SIGKILL => assert_eq!(ended.code, None),
            _ => {
                assert_eq!(ended.code, Some(1), "{ended:?}");
                assert!(ended.sentence().starts_with("No packet seen in "), "{ended:?}");
                assert!(!ended.sentence().contains("10m0s"), "that is what was asked for: {ended:?}");
            }
        }
    }
    let ended = Trace::run(&node, &["10.96.0.1", "--for", "200ms"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.sentence().starts_with("No packet seen in 200ms: new connections to 10.96.0.1 from anybody"),
        "{ended:?}"
    );
    for wrong in ["shop/nobody", "shop/web-1:4711", "node-7:80", "10.96.0.1:http", "10.96.0.1:0"] {
        let ended = Trace::run(&node, &[wrong, "--for", "200ms"]);
        assert_eq!(ended.code, Some(2), "{wrong}: {ended:?}");
        assert!(ended.errors.starts_with("portolan: ") || ended.errors.starts_with("error: "), "{wrong}: {ended:?}");
    }
    assert_eq!(tables(&node), [""; 0]);
}

#[test]
fn a_flood_is_sampled() {
    if !can_run("a_flood_is_sampled") {
        return;
    }
    const RATE: u64 = 2;
    let net = net();
    let (node, guest) = (net.lab.node("node-1").unwrap(), net.pod("guest"));
    let target = Kind::ClusterIp.frontend(1, Family::V4, Protocol::Udp);
    let begin = Instant::now();
    let rate = RATE.to_string();
    let words = [&target.to_string(), "--for", "3s", "--packets", "1000", "--rate", &rate];
    let mut trace = Trace::start(&node, &words);
    let flood = || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((target.address, target.port)).unwrap();
        let mut sent = 0u64;
        while trace.child.try_wait().unwrap().is_none() {
            for _ in 0..100 {
                // Refusals that come back are of no interest here.
                sent += u64::from(socket.send(b"hello\n").is_ok());
            }
        }
        sent
    };
    let sent = in_namespace(&guest.namespace, flood).unwrap();
    let ended = trace.end();
    // The bucket holds RATE packets, and fills while the trace runs.
    let most = RATE * (begin.elapsed().as_secs() + 2);
    let seen = ended.packets().len() as u64;
    assert!(sent > 10 * most, "{sent} packets are no flood");
    assert!(0 < seen && seen <= most, "{seen} of {sent} packets were traced, at most {most} should be");
    assert_eq!(ended.json["eventsLost"], false);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn two_traces_do_not_meet_and_the_agent_does_not_mind() {
    if !can_run("two_traces_do_not_meet_and_the_agent_does_not_mind") {
        return;
    }
    let mut net = net();
    let (node, guest) = (net.lab.node("node-1").unwrap(), net.pod("guest"));
    let frontend = Kind::ClusterIp.frontend(1, Family::V4, Protocol::Tcp);
    let words = ["shop/web-1:80", "--packets", "1", "--for", "60s"];
    net.lab
        .on_node("node-1", || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut plane = NetlinkDataPlane::open().unwrap();
                let mut monitor = plane.monitor().unwrap();
                let traces = [Trace::start(&node, &words), Trace::start(&node, &words)];
                assert_eq!(tables(&node).len(), 4);
                assert_eq!(plane.dump().unwrap().strangers, Default::default());
                assert_eq!(guest.pod(frontend), "here");
                for trace in traces {
                    trace.end().assert(
                        "delivered",
                        "",
                        &["frontend", "one endpoint to go to", "to endpoint", "leaves by"],
                    );
                }
                assert_eq!(tables(&node), [""; 0]);
                let generation = plane.generation().unwrap();
                assert!(monitor.saw(generation).unwrap(), "the agent would read its tables anew");
                assert_eq!(monitor.more().unwrap(), [], "the agent would take it for damage");
            });
        })
        .unwrap();
    let synced = net.with_agent("node-1", |agent| {
        agent.doubt();
        agent.sync().unwrap()
    });
    assert!(synced.compared && synced.repaired.is_empty() && !synced.installed, "{synced:?}");
    assert_eq!(synced.operations, 0, "{synced:?}");
}

#[test]
fn rules_that_cannot_be_read_are_not_asked_for_again_and_again() {
    if !can_run("rules_that_cannot_be_read_are_not_asked_for_again_and_again") {
        return;
    }
    let net = net();
    let (node, guest) = (net.lab.node("node-1").unwrap(), net.pod("guest"));
    let folder = tempfile::tempdir().unwrap();
    let (program, calls) = (folder.path().join("nft"), folder.path().join("calls"));
    fs::write(&program, format!("#!/bin/sh\necho called >>{}\nexit 1\n", calls.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let frontend = Kind::ClusterIp.frontend(1, Family::V4, Protocol::Tcp);
    let words = ["shop/web-1:80", "--packets", "5", "--rate", "100", "--for", "60s"];
    let trace = Trace::start_with(&node, &words, "", |command| {
        command.env("PATH", path);
    });
    (0..5).for_each(|_| assert_eq!(guest.pod(frontend), "here"));
    let ended = trace.end();
    assert_eq!(ended.packets().len(), 5, "{ended:?}");
    assert_eq!(fs::read_to_string(&calls).unwrap(), "called\n", "nothing changed meanwhile");
    assert_eq!(ended.errors.matches("rules are named by their handles").count(), 1, "{}", ended.errors);
}
