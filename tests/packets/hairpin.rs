//! A pod that reaches itself through its own Service: the answer must come back through the node, so the pod sees the
//! node as client.

use portolan::{
    lab::{Attachment, LabSpec},
    model::{PodDetector, Service, Settings, TrafficPolicy},
};

use crate::{
    services::{Kind, READY, families_and_protocols, service, settings, world},
    support::{Net, can_run, node_address, spec},
};

#[test]
fn a_pod_reaches_itself_through_every_frontend() {
    if !can_run("a_pod_reaches_itself_through_every_frontend") {
        return;
    }
    for attachment in [Attachment::Routed, Attachment::Bridge] {
        let mut net = Net::up(LabSpec { attachment, ..spec(2, &[("self", 1), ("neighbour", 1), ("there", 2)]) });
        let local = |number| Service {
            internal_policy: TrafficPolicy::Local,
            external_policy: TrafficPolicy::Local,
            ..service(number)
        };
        let services = [
            (service(1), vec![("self", READY)]),
            (local(2), vec![("self", READY), ("there", READY)]),
            (service(3), vec![("self", READY), ("neighbour", READY), ("there", READY)]),
        ];
        let world = world(net.lab.spec(), &services);
        let undetected = Settings { detector: PodDetector::default(), ..settings() };
        for settings in [settings(), undetected] {
            net.program(&world, &settings);
            reaches_itself(&net, &settings);
        }
    }
}

fn reaches_itself(net: &Net, settings: &Settings) {
    let pod = net.pod("self");
    for (family, protocol) in families_and_protocols() {
        let of = |kind: Kind, number| kind.frontend(number, family, protocol);
        for kind in Kind::ALL {
            pod.is_served(of(kind, 1), &["self"], node_address(1, family));
        }
        pod.is_served(of(Kind::ClusterIp, 2), &["self"], node_address(1, family));
        // Among others: only what comes back to itself is hidden.
        let (mut itself, mut others) = (0, 0);
        for _ in 0..40 {
            let outcome = pod.ask(of(Kind::ClusterIp, 3));
            let to_itself = outcome.pod() == Some("self");
            let seen_as = if to_itself { node_address(1, family) } else { pod.address(family) };
            assert_eq!(outcome.source(), Some(seen_as), "{outcome:?}, {settings:?}");
            if to_itself { itself += 1 } else { others += 1 }
        }
        assert!(itself > 0 && others > 0, "{itself} to itself, {others} to others");
        let neighbour = net.pod("neighbour");
        neighbour.is_served_as_itself(of(Kind::ClusterIp, 2), &["self"]);
    }
}
