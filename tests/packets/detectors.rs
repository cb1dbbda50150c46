//! Who is taken for a pod (section 3.5): that decides whose address is hidden, and who has all endpoints of a Service
//! with an external policy Local.

use portolan::{
    lab::{Attachment, LabSpec},
    model::{Family, PodDetector, Protocol, Service, Settings, TrafficPolicy},
};

use crate::{
    services::{Kind, READY, addresses, families_and_protocols, service, settings, world},
    support::{Net, can_run, node_address, spec},
};

/// Service 1 has one endpoint on node-1 and one on node-2; the same Service 2, with external policy Local.
fn net(attachment: Attachment) -> Net {
    let mut net =
        Net::up(LabSpec { attachment, ..spec(2, &[("here", 1), ("there", 2), ("guest-1", 1), ("guest-2", 2)]) });
    net.lab.route(&addresses(1..=3), "node-1").unwrap();
    program(&mut net, PodDetector::default());
    net
}

fn program(net: &mut Net, detector: PodDetector) {
    let local = Service { external_policy: TrafficPolicy::Local, ..service(2) };
    let both = || vec![("here", READY), ("there", READY)];
    let services = [(service(1), both()), (local, both()), (service(3), vec![("here", READY)])];
    let world = world(net.lab.spec(), &services);
    net.program_node("node-1", &world, &Settings { detector, ..settings() });
}

/// Asserts that node-1 takes guest-1 for a pod, and neither itself nor the client.
fn knows_its_pods(net: &Net) {
    for (family, protocol) in families_and_protocols() {
        let of = |kind: Kind, number| kind.frontend(number, family, protocol);
        net.pod("guest-1").is_served_as_itself(of(Kind::ClusterIp, 1), &["here", "there"]);
        for kind in [Kind::ExternalIp, Kind::LoadBalancer, Kind::NodePort] {
            net.pod("guest-1").is_served_as_itself(of(kind, 2), &["here", "there"]);
            net.client().is_served_as_itself(of(kind, 2), &["here"]);
        }
        net.client().is_served(of(Kind::ClusterIp, 1), &["here", "there"], node_address(1, family));
        net.host(1).is_served(of(Kind::ExternalIp, 2), &["here", "there"], node_address(1, family));
    }
}

#[test]
fn by_ranges_of_the_cluster_or_of_the_node() {
    if !can_run("by_ranges_of_the_cluster_or_of_the_node") {
        return;
    }
    let mut net = net(Attachment::Routed);
    let ranges = |ranges: &[&str]| PodDetector::SourceRanges(ranges.iter().map(|r| r.parse().unwrap()).collect());
    program(&mut net, ranges(&["10.244.0.0/16", "fd00:10:244::/48"]));
    knows_its_pods(&net);
    let foreign = |family| Kind::NodePort.frontend(2, family, Protocol::Tcp);
    // NodeCIDR: a pod of another node is somebody from outside.
    program(&mut net, ranges(&["10.244.1.0/24", "fd00:10:244:1::/64"]));
    knows_its_pods(&net);
    for family in Family::ALL {
        net.pod("guest-2").is_served_as_itself(foreign(family), &["here"]);
    }
    // Only the first range of a family counts, and a family without a range has no detector.
    program(&mut net, ranges(&["10.245.0.0/16", "10.244.0.0/16"]));
    for (family, number) in [(Family::V4, 1), (Family::V6, 3)] {
        let cluster_ip = Kind::ClusterIp.frontend(number, family, Protocol::Tcp);
        if family == Family::V4 {
            net.pod("guest-1").is_served(cluster_ip, &["here", "there"], node_address(1, family));
        } else {
            net.client().is_served_as_itself(cluster_ip, &["here"]);
        }
        let local = Kind::ExternalIp.frontend(2, family, Protocol::Tcp);
        net.pod("guest-1").is_served_as_itself(local, &["here"]);
    }
}

#[test]
fn by_the_name_of_the_bridge() {
    if !can_run("by_the_name_of_the_bridge") {
        return;
    }
    let mut net = net(Attachment::Bridge);
    program(&mut net, PodDetector::BridgeInterface("cni0".into()));
    knows_its_pods(&net);
    // An interface that is not there yet is no error; nobody is a pod then.
    program(&mut net, PodDetector::BridgeInterface("cni".into()));
    for family in Family::ALL {
        let cluster_ip = Kind::ClusterIp.frontend(1, family, Protocol::Tcp);
        net.pod("guest-1").is_served(cluster_ip, &["here", "there"], node_address(1, family));
    }
}

#[test]
fn by_the_beginning_of_interface_names() {
    if !can_run("by_the_beginning_of_interface_names") {
        return;
    }
    let mut net = net(Attachment::Routed);
    program(&mut net, PodDetector::InterfaceNamePrefix("veth".into()));
    knows_its_pods(&net);
    program(&mut net, PodDetector::InterfaceNamePrefix("eth".into()));
    for family in Family::ALL {
        let cluster_ip = Kind::ClusterIp.frontend(3, family, Protocol::Tcp);
        net.client().is_served_as_itself(cluster_ip, &["here"]);
        net.pod("guest-1").is_served(cluster_ip, &["here"], node_address(1, family));
    }
}
