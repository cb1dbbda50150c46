//! The truth table, generated: every frontend, policy, client, state of the endpoints and setting, with real packets.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use portolan::{
    lab::{CLIENTS, Lab, Namespace, Outcome, PATIENCE, Probe, Tally, sctp},
    model::{Family, Frontend, PodDetector, Protocol, Service, Settings, TrafficPolicy, World},
};

use crate::{
    asking::{BRIEF, is_complete, spread},
    oracle::{Cell, Client, Endpoint, Verdict},
    services::{Kind, LEAVING, NOT_READY, PROTOCOLS, READY, State, addresses, service, settings, world},
    support::{Net, can_run, node_address, pod_address, run, second_address, spec},
};

/// here-1 and here-2 run on node-1, there-1 and there-2 on node-2; what is in a name not listed has no endpoint.
const ENDPOINTS: [(&str, [Option<State>; 4]); 9] = [
    ("local and remote", [Some(READY); 4]),
    ("only remote", [None, None, Some(READY), Some(READY)]),
    ("only local", [Some(READY), Some(READY), None, None]),
    ("none", [None; 4]),
    ("only not ready", [Some(NOT_READY), None, None, Some(NOT_READY)]),
    ("only leaving, local", [Some(LEAVING), Some(LEAVING), None, Some(NOT_READY)]),
    ("only leaving, remote", [Some(NOT_READY), None, Some(LEAVING), None]),
    ("leaving local, ready remote", [Some(LEAVING), None, Some(READY), Some(NOT_READY)]),
    ("ready local, leaving remote", [Some(READY), Some(LEAVING), Some(LEAVING), None]),
];

const PODS: [(&str, u8); 4] = [("here-1", 1), ("here-2", 1), ("there-1", 2), ("there-2", 2)];

/// A Service of the table.
#[derive(Clone)]
struct Case {
    number: u8,
    name: &'static str,
    internal_local: bool,
    external_local: bool,
    endpoints: Vec<Endpoint>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, states) in ENDPOINTS {
        for (internal_local, external_local) in [(false, false), (true, true), (false, true), (true, false)] {
            let endpoints = PODS.iter().zip(states);
            let endpoints =
                endpoints.filter_map(|((pod, node), state)| Some(Endpoint { pod, node: *node, state: state? }));
            let number = 1 + cases.len() as u8;
            cases.push(Case { number, name, internal_local, external_local, endpoints: endpoints.collect() });
        }
    }
    cases
}

fn table(net: &Net, cases: &[Case]) -> World {
    let policy = |local: bool| if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
    let services = cases.iter().map(|case| {
        let service = Service {
            internal_policy: policy(case.internal_local),
            external_policy: policy(case.external_local),
            ..service(case.number)
        };
        (service, case.endpoints.iter().map(|e| (e.pod, e.state)).collect())
    });
    let services: Vec<_> = services.collect();
    world(net.lab.spec(), &services)
}

/// Somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// A pod of node-1
    Guest1,
    /// A pod of node-3, where no endpoint is
    Guest3,
    /// Another one, for node ports: see [`bend_replies`]
    Visitor3,
    Host1,
    Host3,
    /// The client outside, whose packets for any Service go to node-1
    Outside,
}

impl Asker {
    const ALL: [Asker; 6] = [Asker::Guest1, Asker::Guest3, Asker::Visitor3, Asker::Host1, Asker::Host3, Asker::Outside];

    /// What it asks.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Asker::Guest3 => &[Kind::ClusterIp, Kind::ExternalIp, Kind::LoadBalancer],
            Asker::Visitor3 => &[Kind::NodePort],
            _ => &Kind::ALL,
        }
    }

    /// The pod's name, if it is one.
    fn pod(self) -> Option<&'static str> {
        match self {
            Asker::Guest1 => Some("guest-1"),
            Asker::Guest3 => Some("guest-3"),
            Asker::Visitor3 => Some("visitor-3"),
            _ => None,
        }
    }

    fn namespace(self, lab: &Lab) -> Namespace {
        match self {
            Asker::Host1 => lab.node("node-1").unwrap(),
            Asker::Host3 => lab.node("node-3").unwrap(),
            Asker::Outside => lab.client(),
            pod => lab.pod("shop", pod.pod().unwrap()).unwrap(),
        }
    }

    fn address(self, lab: &Lab, family: Family) -> IpAddr {
        match self {
            // Not the address that hides others, so that it shows whether the host is hidden itself.
            Asker::Host1 => second_address(1, family),
            Asker::Host3 => second_address(3, family),
            Asker::Outside => CLIENTS.into_iter().find(|a| Family::of(*a) == family).unwrap(),
            pod => pod_address(lab.spec(), pod.pod().unwrap(), family),
        }
    }

    /// The node that decides, and what the asker is to it. Its own node does; but a node port of another node is none
    /// of its own node's frontends.
    fn seen(self, kind: Kind) -> (u8, Client) {
        match (self, kind) {
            (Asker::Guest1, _) => (1, Client::Pod),
            (Asker::Guest3, _) => (3, Client::Pod),
            (Asker::Visitor3, _) => (1, Client::Pod),
            (Asker::Host1, _) => (1, Client::Host),
            (Asker::Host3, Kind::NodePort) => (1, Client::Outside),
            (Asker::Host3, _) => (3, Client::Host),
            (Asker::Outside, _) => (1, Client::Outside),
        }
    }
}

/// One question of the table, with the right answer.
struct Question {
    asker: Asker,
    frontend: Frontend,
    verdict: Verdict,
    /// The client's own address
    client: IpAddr,
    /// The client's address that pods must see
    source: IpAddr,
    /// For reports
    about: String,
}

fn questions(lab: &Lab, cases: &[Case], asker: Asker, protocols: &[Protocol], settings: &Settings) -> Vec<Question> {
    let detector = settings.detector != PodDetector::default();
    let mut questions = Vec::new();
    for case in cases {
        for (family, protocol) in Family::ALL.into_iter().flat_map(|f| protocols.iter().map(move |p| (f, *p))) {
            for kind in asker.kinds().iter().copied() {
                let (node, client) = asker.seen(kind);
                let cell = Cell {
                    kind,
                    internal_local: case.internal_local,
                    external_local: case.external_local,
                    client,
                    detector,
                    masquerade_all: settings.masquerade_all,
                    node,
                    endpoints: &case.endpoints,
                };
                let verdict = cell.verdict();
                let hidden = matches!(verdict, Verdict::Serve { hidden: true, .. });
                let own = asker.address(lab, family);
                let source = if hidden { node_address(node, family) } else { own };
                let frontend = kind.frontend(case.number, family, protocol);
                let policies = [(case.internal_local, "internal"), (case.external_local, "external")];
                let local: Vec<_> = policies.iter().filter(|(local, _)| *local).map(|(_, name)| *name).collect();
                let about = format!(
                    "{asker:?} asks {kind:?} {frontend}, endpoints {}, local policies {local:?}, detector {detector}, \
                     masqueradeAll {}",
                    case.name, settings.masquerade_all
                );
                questions.push(Question { asker, frontend, verdict, client: own, source, about });
            }
        }
    }
    questions
}

/// Asks often enough, and says what was wrong.
fn complaint(question: &Question, from: &Namespace) -> Option<String> {
    let probe = Probe::new(question.frontend).from(question.client);
    let (tally, right) = match &question.verdict {
        Verdict::Refuse => {
            let tally = probe.spread(from, 2).unwrap();
            let right = outcomes(&tally) == [Outcome::Refused.to_string()];
            (tally, right)
        }
        Verdict::Drop => {
            let tally = probe.patience(BRIEF).spread(from, 1).unwrap();
            // The kernel tells a UDP socket that its packet was dropped; TCP tries again.
            let told = dropped_at_home(question) && question.frontend.protocol == Protocol::Udp;
            let silence = if told { Outcome::NotPermitted } else { Outcome::Silence };
            let right = outcomes(&tally) == [silence.to_string()];
            (tally, right)
        }
        Verdict::Serve { pods, .. } => {
            let tally = spread(from, &probe, pods);
            let right = is_complete(&tally, pods) && tally.sources == BTreeSet::from([question.source]);
            (tally, right)
        }
    };
    (!right).then(|| {
        format!("{}\n  wanted {:?}, seen as {}\n  got {tally:?}", question.about, question.verdict, question.source)
    })
}

/// Whether a drop happens in the asker's own output hook: it is a host, and its own node decides.
fn dropped_at_home(question: &Question) -> bool {
    match question.asker {
        Asker::Host1 => true,
        Asker::Host3 => question.frontend.port == 80,
        _ => false,
    }
}

fn outcomes(tally: &Tally) -> Vec<String> {
    tally.outcomes.keys().cloned().collect()
}

/// Replies of node-2's pods to those whose packets node-1 passed on with their own source address must come back through
/// node-1, where the translation is undone; without this they would take the shorter way. Of a pod that asks its own
/// node too, replies must not be bent: node-1 might know a connection with the same ports.
fn bend_replies(lab: &Lab) {
    let node = lab.node("node-2").unwrap();
    for family in Family::ALL {
        for asker in [Asker::Outside, Asker::Visitor3] {
            let (to, via) = (asker.address(lab, family), node_address(1, family));
            let length = if family == Family::V4 { 32 } else { 128 };
            run(&node, &format!("ip route replace {to}/{length} via {via} dev eth0"));
        }
    }
}

/// Asks all questions, several at a time, because silence takes time. Returns what was wrong.
fn ask_all(lab: &Lab, questions: &[Question]) -> Vec<String> {
    const THREADS: usize = 24;
    let next = AtomicUsize::new(0);
    let ask = || {
        let mut complaints = Vec::new();
        while let Some(question) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
            complaints.extend(complaint(question, &question.asker.namespace(lab)));
        }
        complaints
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn everybody_gets_what_the_table_says() {
    if !can_run("everybody_gets_what_the_table_says") {
        return;
    }
    let pods: Vec<_> = PODS.into_iter().chain([("guest-1", 1), ("guest-3", 3), ("visitor-3", 3)]).collect();
    let mut net = Net::up(spec(3, &pods));
    bend_replies(&net.lab);
    let cases = cases();
    let world = table(&net, &cases);
    let numbers = 1..=cases.len() as u8;
    net.lab.route(&addresses(numbers), "node-1").unwrap();

    for (detector, masquerade_all) in [(true, false), (true, true), (false, false), (false, true)] {
        let usual = settings();
        let detector = if detector { usual.detector.clone() } else { PodDetector::default() };
        let settings = Settings { detector, masquerade_all, ..usual };
        net.program(&world, &settings);
        let lab = &net.lab;
        let questions: Vec<Question> =
            Asker::ALL.iter().flat_map(|a| questions(lab, &cases, *a, &PROTOCOLS, &settings)).collect();
        assert_eq!(questions.len(), 36 * 20 * 4, "Services, askers' kinds of frontends, families and protocols");
        let complaints = ask_all(lab, &questions);
        assert_no_complaints(&complaints);
    }
    sctp_gets_what_the_table_says(&mut net, &cases, &world);
}

fn assert_no_complaints(complaints: &[String]) {
    let first: Vec<_> = complaints.iter().take(20).cloned().collect();
    assert!(complaints.is_empty(), "{} wrong, among them\n{}", complaints.len(), first.join("\n"));
}

/// A part of the table for SCTP. There are no sockets to answer; the pod that the first packet reached is known.
fn sctp_gets_what_the_table_says(net: &mut Net, cases: &[Case], world: &World) {
    net.program(world, &settings());
    let chosen = |case: &&Case| case.internal_local == case.external_local;
    let chosen: Vec<Case> = cases.iter().filter(chosen).step_by(3).cloned().collect();
    let mut complaints = Vec::new();
    for asker in [Asker::Guest1, Asker::Outside] {
        let from = asker.namespace(&net.lab);
        for question in questions(&net.lab, &chosen, asker, &[Protocol::Sctp], &settings()) {
            let patience = if question.verdict == Verdict::Drop { BRIEF } else { PATIENCE };
            let outcome = sctp::ask(&net.lab, &from, &Probe::new(question.frontend).patience(patience)).unwrap();
            let right = match (&question.verdict, &outcome) {
                (Verdict::Refuse, Outcome::Refused) | (Verdict::Drop, Outcome::Silence) => true,
                (Verdict::Serve { pods, .. }, Outcome::Answered { pod, source, .. }) => {
                    pods.contains(pod.as_str()) && source.ip() == question.source
                }
                _ => false,
            };
            if !right {
                complaints.push(format!("{}\n  wanted {:?}\n  got {outcome:?}", question.about, question.verdict));
            }
        }
    }
    assert_no_complaints(&complaints);
}
