//! Traffic that must not notice what changes.

use std::time::Duration;

use portolan::{
    lab::{Traffic, TrafficPlan},
    model::{Family, Frontend, Protocol, Service, TrafficPolicy, World},
};

use crate::{
    asking::Caller,
    services::{Kind, LEAVING, READY, State, addresses, service, world},
    support::{Net, spec},
};

const PODS: [(&str, u8); 6] =
    [("here-1", 1), ("here-2", 1), ("here-3", 1), ("there-1", 2), ("there-2", 2), ("there-3", 2)];

/// Numbers of the Services that are under traffic; others come and go beside them.
const TCP: u8 = 1;
const UDP: u8 = 2;
const AFFINITY: u8 = 3;
const REPLACED: u8 = 4;

/// Six pods on two nodes, and a guest.
pub fn net() -> Net {
    let pods: Vec<_> = PODS.into_iter().chain([("guest", 1)]).collect();
    let net = Net::up(spec(2, &pods));
    net.lab.route(&addresses(TCP..=REPLACED), "node-1").unwrap();
    net
}

/// The world at step `step` of its life. All pods live all the time; only what is said of them changes.
///
/// * Service `TCP` always has here-1, others come and go; its external policy changes.
/// * Service `UDP` has all pods, some ready and the others leaving: flows to these must go on (section 5).
/// * Service `AFFINITY` always has here-1; session affinity is switched on and off.
/// * Service `REPLACED` has other endpoints at every step, now and then none that it had before.
/// * Some others have what comes, or do not exist.
pub fn world_at(net: &Net, step: u32) -> World {
    let chosen = |bits: u32| PODS.iter().enumerate().filter(move |(i, _)| bits >> i & 1 == 1).map(|(_, (pod, _))| *pod);
    let ready = |bits: u32| -> Vec<(&str, State)> { chosen(bits).map(|pod| (pod, READY)).collect() };
    let bits = scramble(step);
    let policy = if step % 7 < 3 { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
    let half = 1 + bits % 62;
    let conditions = PODS.iter().map(|(pod, _)| (*pod, if chosen(half).any(|p| p == *pod) { READY } else { LEAVING }));
    let affinity_seconds = (step / 8 % 3 < 2).then_some(60 + step / 24 % 2);
    let tcp = |number| with_port(number, Protocol::Tcp);
    let mut services = vec![
        (Service { external_policy: policy, ..tcp(TCP) }, ready(bits | 1)),
        (with_port(UDP, Protocol::Udp), conditions.collect()),
        (Service { affinity_seconds, ..tcp(AFFINITY) }, ready(bits >> 3 | 1)),
        (tcp(REPLACED), ready(if step.is_multiple_of(2) { half } else { !(1 + scramble(step - 1) % 62) })),
    ];
    for number in 10..18 {
        let bits = scramble(step * 8 + u32::from(number));
        if bits & 64 == 0 {
            let affinity_seconds = (number == 10 && step % 8 < 4).then_some(10_800);
            services.push((Service { affinity_seconds, ..tcp(number) }, ready(bits)));
        }
    }
    world(net.lab.spec(), &services)
}

/// A Service with the port of this protocol alone.
fn with_port(number: u8, protocol: Protocol) -> Service {
    let mut service = service(number);
    service.ports.retain(|port| port.protocol == protocol);
    service
}

/// A number that looks random, the same every time.
fn scramble(number: u32) -> u32 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9);
    (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b) >> 8
}

/// Traffic to the four Services, in both families, from inside and from outside.
pub struct Busy {
    traffics: Vec<(Frontend, Traffic)>,
}

impl Busy {
    pub fn start(net: &Net) -> Self {
        let (client, guest) = (net.client(), net.pod("guest"));
        let plans: [(&Caller, Kind, u8, Family, Protocol); 6] = [
            (&client, Kind::NodePort, TCP, Family::V4, Protocol::Tcp),
            (&guest, Kind::ExternalIp, TCP, Family::V6, Protocol::Tcp),
            (&client, Kind::LoadBalancer, UDP, Family::V6, Protocol::Udp),
            (&guest, Kind::ClusterIp, UDP, Family::V4, Protocol::Udp),
            (&client, Kind::ClusterIp, AFFINITY, Family::V6, Protocol::Tcp),
            (&guest, Kind::ClusterIp, REPLACED, Family::V4, Protocol::Tcp),
        ];
        let traffics = plans.map(|(caller, kind, number, family, protocol)| {
            let frontend = kind.frontend(number, family, protocol);
            // Connection tracking remembers every UDP flow for minutes, and reading them all takes its time.
            let pause = Duration::from_millis(if protocol == Protocol::Udp { 20 } else { 1 });
            let plan = TrafficPlan {
                workers: 1,
                sessions: 2,
                pause,
                limit: Duration::from_secs(120),
                ..TrafficPlan::new(caller.probe(frontend))
            };
            (frontend, Traffic::start(&caller.namespace, plan).unwrap())
        });
        Self { traffics: traffics.into() }
    }

    /// Ends the traffic: every connection was answered, and every session by one pod all the time.
    #[track_caller]
    pub fn assert_unharmed(self) {
        for (frontend, traffic) in self.traffics {
            let report = traffic.stop().unwrap();
            let connections = &report.connections;
            assert!(connections.total() >= 10, "hardly any connection to {frontend}: {connections:?}");
            assert_eq!(connections.answered(), connections.total(), "{frontend}: {connections:?}");
            assert!(report.sessions_unharmed() && report.sessions.len() == 2, "{frontend}: {:?}", report.sessions);
        }
    }
}
