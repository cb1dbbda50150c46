//! Packets to addresses of ours that no Service has a use for (section 3.3).

use std::{net::IpAddr, process::Command};

use portolan::{
    lab::{LabSpec, Namespace, Outcome, in_namespace},
    model::{Family, Frontend, Protocol},
};

use crate::{
    asking::owners,
    services::{Kind, READY, addresses, families_and_protocols, service, settings, world},
    support::{Net, can_run, node_address, spec},
};

/// What ping says of one echo request.
fn ping(from: &Namespace, to: IpAddr) -> String {
    let to = to.to_string();
    let output = in_namespace(from, || Command::new("ping").args(["-n", "-c", "1", "-W", "1", &to]).output());
    let output = output.unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).to_lowercase()
}

#[test]
fn stray_packets_are_refused_dropped_or_left_alone() {
    if !can_run("stray_packets_are_refused_dropped_or_left_alone") {
        return;
    }
    let addresses = addresses([1, 2, 99].into_iter());
    let externals = owners(&addresses, &[80, 4711]);
    let mut net = Net::up(LabSpec { externals, ..spec(1, &[("here", 1), ("guest", 1)]) });
    net.lab.route(&addresses, "node-1").unwrap();
    // Service 1 has an endpoint, Service 2 has none, 99 is nobody's.
    let mut world = world(net.lab.spec(), &[(service(1), vec![("here", READY)]), (service(2), vec![])]);
    net.program(&world, &settings());
    let callers = [net.client(), net.pod("guest"), net.host(1)];

    for (family, protocol) in families_and_protocols() {
        let other_port = |kind: Kind, number| Frontend { port: 4711, ..kind.frontend(number, family, protocol) };
        for caller in &callers {
            for number in [1, 2] {
                caller.is_refused(other_port(Kind::ClusterIp, number));
                caller.reaches_owner(other_port(Kind::ExternalIp, number));
                caller.reaches_owner(other_port(Kind::LoadBalancer, number));
            }
            caller.is_dropped(other_port(Kind::ClusterIp, 99));
            caller.is_dropped(Kind::ClusterIp.frontend(99, family, protocol));
            // The node's own kernel answers for a port where nobody listens.
            let nobody = if protocol == Protocol::Tcp { Outcome::Reset } else { Outcome::Refused };
            assert_eq!(caller.ask(other_port(Kind::NodePort, 1)), nobody, "{} {family} {protocol}", caller.namespace);
        }
    }
    for family in Family::ALL {
        // Cluster IPs are no hosts: whatever else is sent to one is refused, too.
        for caller in callers.iter().take(2) {
            let said = ping(&caller.namespace, Kind::ClusterIp.address(1, family));
            assert!(said.contains("port unreachable"), "{said}");
        }
        let said = ping(&callers[0].namespace, node_address(1, family));
        assert!(said.contains("1 received"), "{said}");
    }

    // Where nobody knows which addresses are cluster IPs, only those in use are ours.
    world.service_networks.clear();
    net.program(&world, &settings());
    for (family, protocol) in families_and_protocols() {
        callers[0].reaches_owner(Kind::ClusterIp.frontend(99, family, protocol));
        callers[0].is_refused(Frontend { port: 4711, ..Kind::ClusterIp.frontend(1, family, protocol) });
    }
}
