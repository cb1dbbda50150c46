//! What holds for every connection: fair shares, errors that find their way back, large datagrams, other people's marks.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use portolan::{
    kernel::nft,
    lab::{Outcome, in_namespace},
    model::{Family, Protocol, Service, TrafficPolicy, World},
};

use crate::{
    asking::Caller,
    services::{Kind, READY, addresses, families_and_protocols, service, settings, slices, world},
    support::{Net, can_run, node_address, run, spec},
};

const PODS: [&str; 3] = ["here-1", "here-2", "there"];

fn net() -> Net {
    let net = Net::up(spec(2, &[("here-1", 1), ("here-2", 1), ("there", 2), ("guest", 1)]));
    net.lab.route(&addresses(1..=2), "node-1").unwrap();
    net
}

#[test]
fn every_endpoint_gets_its_share_after_every_change() {
    if !can_run("every_endpoint_gets_its_share_after_every_change") {
        return;
    }
    let mut net = net();
    let local = Service { external_policy: TrafficPolicy::Local, ..service(2) };
    for pods in [&PODS[..], &PODS[1..], &PODS, &["there", "here-1"]] {
        let endpoints: Vec<_> = pods.iter().map(|pod| (*pod, READY)).collect();
        let world = world(net.lab.spec(), &[(service(1), endpoints.clone()), (local.clone(), endpoints)]);
        net.program(&world, &settings());
        let here: Vec<_> = pods.iter().copied().filter(|pod| pod.starts_with("here")).collect();
        for family in Family::ALL {
            let client = net.client();
            for (kind, number, wanted) in [(Kind::ClusterIp, 1, pods), (Kind::NodePort, 2, &here[..])] {
                const CONNECTIONS: usize = 600;
                let probe = client.probe(kind.frontend(number, family, Protocol::Udp));
                let tally = probe.spread(&client.namespace, CONNECTIONS).unwrap();
                assert_eq!(tally.answered(), CONNECTIONS, "{tally:?}");
                // A share is off by half of itself once in 10^14 times.
                let least = CONNECTIONS / wanted.len() / 2;
                assert!(wanted.iter().all(|pod| tally.pods.get(*pod).is_some_and(|n| *n > least)), "{tally:?}");
                assert_eq!(tally.pods.len(), wanted.len(), "{tally:?}");
            }
        }
    }
}

/// Service 1 with an endpoint on each node, at this port.
fn at_port(net: &Net, port: u16) -> World {
    let mut world = world(net.lab.spec(), &[(service(1), vec![("here-1", READY), ("there", READY)])]);
    for mut slice in slices(net.lab.spec(), &service(1), &[("here-1", READY), ("there", READY)]) {
        slice.ports.iter_mut().for_each(|of_slice| of_slice.port = port);
        world.put_slice(slice);
    }
    world
}

#[test]
fn errors_of_the_endpoint_reach_the_client() {
    if !can_run("errors_of_the_endpoint_reach_the_client") {
        return;
    }
    let mut net = net();
    // Nobody listens there.
    net.program(&at_port(&net, 9), &settings());
    for (family, protocol) in families_and_protocols() {
        for caller in [net.client(), net.pod("guest"), net.host(1)] {
            for kind in Kind::ALL {
                let wanted = if protocol == Protocol::Tcp { Outcome::Reset } else { Outcome::Refused };
                for _ in 0..4 {
                    assert_eq!(caller.ask(kind.frontend(1, family, protocol)), wanted, "{} {kind:?}", caller.namespace);
                }
            }
        }
    }
}

/// Sends a datagram that takes several packets, and returns the name in the answer.
fn ask_at_length(caller: &Caller, kind: Kind, family: Family) -> String {
    let frontend = kind.frontend(1, family, Protocol::Udp);
    let answer = in_namespace(&caller.namespace, || {
        let socket = UdpSocket::bind(SocketAddr::new(caller.address(family), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.connect(SocketAddr::new(frontend.address, frontend.port)).unwrap();
        socket.send(&[b'x'; 6000]).unwrap();
        let mut answer = [0; 200];
        let length = socket.recv(&mut answer).unwrap_or_else(|e| panic!("{} to {frontend}: {e}", caller.namespace));
        String::from_utf8_lossy(&answer[..length]).into_owned()
    });
    let answer = answer.unwrap();
    answer.lines().next().and_then(|line| line.strip_prefix("You've hit ")).unwrap().to_owned()
}

#[test]
fn large_datagrams_are_served_in_one_piece() {
    if !can_run("large_datagrams_are_served_in_one_piece") {
        return;
    }
    let mut net = net();
    net.program(&at_port(&net, crate::support::TARGET_PORT), &settings());
    for family in Family::ALL {
        for caller in [net.client(), net.pod("guest"), net.host(1)] {
            for kind in Kind::ALL {
                let pods: Vec<String> = (0..6).map(|_| ask_at_length(&caller, kind, family)).collect();
                assert!(pods.iter().all(|pod| pod == "here-1" || pod == "there"), "{pods:?}");
            }
        }
    }
}

/// Marks packets with other bits than ours before our chains see them, and counts after them who has kept his mark.
const MARKS: &str = "
table FAMILY marks {
    chain before { type filter hook prerouting priority -150; meta l4proto udp meta mark set 0x00030003; }
    chain after { type filter hook postrouting priority 150; meta l4proto != udp accept; oifname lo accept
        meta mark == 0x00030003 counter accept
        meta mark != 0x00030003 counter
    }
}";

#[test]
fn other_marks_stay_and_ours_goes_no_further() {
    if !can_run("other_marks_stay_and_ours_goes_no_further") {
        return;
    }
    let mut net = net();
    net.program(&at_port(&net, crate::support::TARGET_PORT), &settings());
    let node = net.lab.node("node-1").unwrap();
    for family in Family::ALL {
        let marks = MARKS.replace("FAMILY", family.nft());
        in_namespace(&node, || nft::run(&marks, false, "mark packets")).unwrap().unwrap();
        let (client, guest) = (net.client(), net.pod("guest"));
        client.is_served(
            Kind::NodePort.frontend(1, family, Protocol::Udp),
            &["here-1", "there"],
            node_address(1, family),
        );
        guest.is_served_as_itself(Kind::ClusterIp.frontend(1, family, Protocol::Udp), &["here-1", "there"]);
        let listing = run(&node, &format!("nft list chain {} marks after", family.nft()));
        let packets = |what: &str| {
            let line = listing.lines().find(|line| line.contains(what)).unwrap();
            let words: Vec<&str> = line.split_whitespace().skip_while(|word| *word != "packets").collect();
            words[1].parse::<u32>().unwrap()
        };
        assert!(packets("meta mark 0x00030003") > 10, "{listing}");
        assert_eq!(packets("meta mark != 0x00030003"), 0, "{listing}");
    }
}
