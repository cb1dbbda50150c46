//! Pods that come and go, and traffic meanwhile.

use std::{thread, time::Duration};

use portolan::{
    lab::{Attachment, LabSpec, Outcome, PATIENCE, Probe, Session, Traffic, TrafficPlan},
    model::{Frontend, Protocol},
};

use crate::support::{BRIEF, can_run, frontends, ip, spec, up};

#[test]
fn a_pod_dies_and_returns_with_another_address() {
    if !can_run("a_pod_dies_and_returns_with_another_address") {
        return;
    }
    for attachment in [Attachment::Routed, Attachment::Bridge] {
        let mut lab = up(LabSpec { attachment, ..spec() });
        let client = lab.client();
        let before = frontends(&lab, "web-2");
        let mut session = Session::open(&Probe::new(before[0]), &client).unwrap().unwrap();
        assert_eq!(session.exchange(PATIENCE).unwrap().pod(), Some("web-2"));
        let mut pod = lab.remove_pod("default", "web-2").unwrap();
        assert_eq!(session.exchange(BRIEF).unwrap(), Outcome::Reset, "the process ended, so its connection did");
        for to in &before {
            assert_eq!(Probe::new(*to).patience(BRIEF).run(&client).unwrap(), Outcome::Unreachable, "{to}");
        }
        pod.addresses = vec![ip("10.244.2.250"), ip("fd00:10:244:2::250")];
        lab.add_pod(pod).unwrap();
        for from in [client, lab.pod("default", "web-1").unwrap(), lab.node("node-2").unwrap()] {
            for to in frontends(&lab, "web-2") {
                assert_eq!(Probe::new(to).run(&from).unwrap().pod(), Some("web-2"), "{attachment:?} {from} {to}");
            }
        }
    }
}

#[test]
fn traffic_shows_who_was_harmed_and_who_was_not() {
    if !can_run("traffic_shows_who_was_harmed_and_who_was_not") {
        return;
    }
    let mut lab = up(spec());
    let plan = |to: Frontend| TrafficPlan::new(Probe::new(to));
    let start = |to: Frontend| Traffic::start(&lab.client(), plan(to)).unwrap();
    let doomed = start(frontends(&lab, "web-1")[0]);
    let spared: Vec<Traffic> = frontends(&lab, "web-2").into_iter().map(start).collect();
    thread::sleep(Duration::from_millis(100));
    lab.remove_pod("default", "web-1").unwrap();
    thread::sleep(Duration::from_millis(100));

    let doomed = doomed.stop().unwrap();
    assert!(!doomed.sessions_unharmed());
    assert!(doomed.sessions.iter().all(|lines| lines.answered() + 1 == lines.total()), "each broke once: {doomed:?}");
    assert!(doomed.connections.pods["web-1"] > 10, "{doomed:?}");
    assert!(doomed.connections.answered() < doomed.connections.total(), "{doomed:?}");
    for traffic in spared {
        let report = traffic.stop().unwrap();
        assert!(report.sessions_unharmed() && report.sessions.len() == 4, "{report:?}");
        assert!(report.sessions.iter().all(|lines| lines.total() > 10), "{report:?}");
        assert_eq!(report.connections.answered(), report.connections.total(), "{report:?}");
    }
}

#[test]
fn traffic_ends_by_itself() {
    if !can_run("traffic_ends_by_itself") {
        return;
    }
    let lab = up(spec());
    let to = frontends(&lab, "web-1").into_iter().find(|to| to.protocol == Protocol::Udp).unwrap();
    let plan = TrafficPlan { limit: Duration::from_millis(50), ..TrafficPlan::new(Probe::new(to)) };
    let traffic = Traffic::start(&lab.client(), plan).unwrap();
    thread::sleep(Duration::from_millis(500));
    let report = traffic.stop().unwrap();
    // Two workers that rest 2 ms each time cannot do more in 50 ms.
    assert!((1..=50).contains(&report.connections.total()), "{report:?}");
}
