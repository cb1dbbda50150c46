//! Established UDP flows (section 5): a client that keeps sending from one port must not stay with an endpoint that no
//! longer serves, nor with nobody; and must stay with one that does.

use std::time::Duration;

use portolan::{
    agent::Synced,
    lab::{LabSpec, Outcome, PATIENCE, Session},
    model::{Family, Protocol, World},
};

use crate::{
    asking::{BRIEF, Caller, owners},
    services::{Kind, LEAVING, READY, State, addresses, service, settings, world},
    support::{Net, can_run, spec},
};

const PODS: [&str; 4] = ["here-1", "here-2", "there-1", "there-2"];

/// Service 1 under traffic; the addresses of it and of Service 2 belong to real hosts as far as no rule takes them.
fn net() -> Net {
    let pods = [("here-1", 1), ("here-2", 1), ("there-1", 2), ("there-2", 2), ("guest", 1)];
    let addresses = addresses(1..=2);
    let net = Net::up(LabSpec { externals: owners(&addresses, &[80]), ..spec(2, &pods) });
    net.lab.route(&addresses, "node-1").unwrap();
    net
}

/// Gives Service 1 these endpoints.
fn give(net: &mut Net, endpoints: &[(&str, State)]) -> Synced {
    let world = world(net.lab.spec(), &[(service(1), endpoints.to_vec())]);
    program(net, &world)
}

fn all(pods: &[&'static str]) -> Vec<(&'static str, State)> {
    pods.iter().map(|pod| (*pod, READY)).collect()
}

fn program(net: &mut Net, world: &World) -> Synced {
    net.program_node("node-1", world, &settings())
}

/// A flow, and who answered it last.
struct Flow {
    session: Session,
    about: String,
    last: Outcome,
}

impl Flow {
    fn open(caller: &Caller, kind: Kind, family: Family, protocol: Protocol) -> Self {
        let frontend = kind.frontend(1, family, protocol);
        let about = format!("{} to {frontend}", caller.namespace);
        let session = Session::open(&caller.probe(frontend), &caller.namespace).unwrap().unwrap();
        let mut flow = Self { session, about, last: Outcome::Silence };
        flow.go_on();
        flow
    }

    /// Sends one more line from the same port. Returns what came of the one before.
    fn go_on(&mut self) -> Outcome {
        self.wait(PATIENCE)
    }

    fn wait(&mut self, patience: Duration) -> Outcome {
        let outcome = self.session.exchange(patience).unwrap();
        std::mem::replace(&mut self.last, outcome)
    }

    fn pod(&self) -> &str {
        self.last.pod().unwrap_or_else(|| panic!("{}: {:?}", self.about, self.last))
    }

    /// Goes on with the same pod, which sees the very same flow.
    #[track_caller]
    fn is_unharmed(&mut self) {
        let before = self.go_on();
        assert_eq!(self.last, before, "{}", self.about);
    }
}

/// Flows from everywhere to every frontend, a few of each.
fn flows(net: &Net, protocol: Protocol) -> Vec<Flow> {
    let mut flows = Vec::new();
    for caller in [net.client(), net.pod("guest"), net.host(1)] {
        for (kind, family) in Kind::ALL.into_iter().flat_map(|kind| Family::ALL.map(|family| (kind, family))) {
            flows.extend((0..3).map(|_| Flow::open(&caller, kind, family, protocol)));
        }
    }
    flows
}

#[test]
fn flows_leave_an_endpoint_that_is_gone_and_only_that() {
    if !can_run("flows_leave_an_endpoint_that_is_gone_and_only_that") {
        return;
    }
    let mut net = net();
    give(&mut net, &all(&PODS));
    let mut udp = flows(&net, Protocol::Udp);
    let mut tcp = flows(&net, Protocol::Tcp);
    assert!(udp.iter().all(|flow| PODS.contains(&flow.pod())));

    // Who leaves and still serves keeps its flows; so does whoever is joined by others.
    let leaving = [("here-1", READY), ("here-2", LEAVING), ("there-1", READY), ("there-2", LEAVING)];
    assert_eq!(give(&mut net, &leaving).flows_deleted(), 0);
    udp.iter_mut().chain(&mut tcp).for_each(Flow::is_unharmed);

    // Who is gone loses them. (The pods live on here, and would answer.)
    let synced = give(&mut net, &all(&["here-1", "there-1"]));
    let is_gone = |flow: &Flow| flow.pod().ends_with('2');
    assert_eq!(synced.flows_deleted(), udp.iter().filter(|flow| is_gone(flow)).count(), "flows deleted");
    for flow in &mut udp {
        if is_gone(flow) {
            flow.go_on();
            assert!(!is_gone(flow), "{} goes on to {}", flow.about, flow.pod());
        } else {
            flow.is_unharmed();
        }
    }
    tcp.iter_mut().for_each(Flow::is_unharmed);

    // A new process looks at everything, and deletes nothing that is good.
    net.restart("node-1");
    assert_eq!(give(&mut net, &all(&["here-1", "there-1"])).flows_deleted(), 0);
    udp.iter_mut().chain(&mut tcp).for_each(Flow::is_unharmed);
}

#[test]
fn flows_notice_that_nobody_is_left_and_that_somebody_returns() {
    if !can_run("flows_notice_that_nobody_is_left_and_that_somebody_returns") {
        return;
    }
    let mut net = net();
    give(&mut net, &all(&PODS));
    let mut udp = flows(&net, Protocol::Udp);
    let mut tcp = flows(&net, Protocol::Tcp);
    give(&mut net, &[]);
    for flow in &mut udp {
        flow.go_on();
        assert_eq!(flow.last, Outcome::Refused, "{}", flow.about);
    }
    give(&mut net, &all(&["here-1"]));
    for flow in &mut udp {
        flow.go_on();
        assert_eq!(flow.pod(), "here-1", "{}", flow.about);
    }
    tcp.iter_mut().for_each(Flow::is_unharmed);
}

#[test]
fn flows_notice_that_their_service_is_gone_and_that_it_returns() {
    if !can_run("flows_notice_that_their_service_is_gone_and_that_it_returns") {
        return;
    }
    let mut net = net();
    give(&mut net, &all(&PODS));
    let mut udp = flows(&net, Protocol::Udp);
    let mut tcp = flows(&net, Protocol::Tcp);
    // Cluster IPs are refused while some Service has one, here Service 2; other addresses have owners of their own,
    // which answer by their address.
    let others = world(net.lab.spec(), &[(service(2), all(&["here-1"]))]);
    assert!(program(&mut net, &others).flows_deleted() >= udp.len());
    for flow in &mut udp {
        flow.wait(BRIEF);
        assert!(!matches!(flow.last.pod(), Some(pod) if PODS.contains(&pod)), "{}: {:?}", flow.about, flow.last);
    }
    tcp.iter_mut().for_each(Flow::is_unharmed);
    // Now every flow has an entry that is not translated.
    give(&mut net, &all(&["there-1"]));
    for flow in &mut udp {
        flow.go_on();
        assert_eq!(flow.pod(), "there-1", "{}", flow.about);
    }

    // Another Service takes over the addresses, and one of the endpoints: its flows are good.
    let mut heir = service(1);
    heir.id.name = "heir".into();
    let heir = world(net.lab.spec(), &[(heir, all(&["there-1", "here-2"]))]);
    assert_eq!(program(&mut net, &heir).flows_deleted(), 0);
    udp.iter_mut().for_each(Flow::is_unharmed);
}

#[test]
fn a_client_that_sent_too_early_is_served_as_soon_as_there_is_a_service() {
    if !can_run("a_client_that_sent_too_early_is_served_as_soon_as_there_is_a_service") {
        return;
    }
    // With owners that answered, and with nobody at these addresses.
    let lonely = Net::up(spec(2, &[("here-1", 1), ("here-2", 1), ("there-1", 2), ("there-2", 2), ("guest", 1)]));
    lonely.lab.route(&addresses(1..=1), "node-1").unwrap();
    for mut net in [net(), lonely] {
        let mut nothing = world(net.lab.spec(), &[]);
        nothing.service_networks.clear();
        program(&mut net, &nothing);
        let mut flows = Vec::new();
        for caller in [net.client(), net.pod("guest"), net.host(1)] {
            for (kind, family) in Kind::ALL.into_iter().flat_map(|kind| Family::ALL.map(|family| (kind, family))) {
                let frontend = kind.frontend(1, family, Protocol::Udp);
                // Whoever hears nothing at first need not wait for it.
                let probe = caller.probe(frontend).patience(BRIEF);
                let mut session = Session::open(&probe, &caller.namespace).unwrap().unwrap();
                let last = session.exchange(BRIEF).unwrap();
                assert!(!matches!(last.pod(), Some(pod) if PODS.contains(&pod)));
                flows.push(Flow { session, about: format!("{} to {frontend}", caller.namespace), last });
            }
        }
        let endpoint = world(net.lab.spec(), &[(service(1), all(&["there-2"]))]);
        assert!(program(&mut net, &endpoint).flows_deleted() > 0);
        for flow in &mut flows {
            flow.go_on();
            assert_eq!(flow.pod(), "there-2", "{}", flow.about);
        }
    }
}
