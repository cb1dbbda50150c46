//! The lab itself: what it builds, what its probes can tell apart, what it leaves behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic: that is how they fail")]

use std::{
    env,
    net::{IpAddr, SocketAddr},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use portolan::{
    lab::{CLIENTS, Cluster, Defaults, Guard, Lab, LabSpec, Namespace, Outcome, Probe, in_namespace},
    model::{Frontend, Protocol},
    objects::{Container, ContainerPort, Pod},
};

const BRIEF: Duration = Duration::from_millis(300);

/// False, with a word why, where namespaces cannot be made; a failure where they must be.
fn can_run(test: &str) -> bool {
    let reason = if !geteuid().is_root() {
        "network namespaces need root"
    } else if Command::new("ip").arg("-V").output().is_err() || Command::new("nft").arg("-v").output().is_err() {
        "the commands ip and nft are needed"
    } else {
        return true;
    };
    assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
    false
}

/// A prefix that no other test, and no other run, has.
fn prefix() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("ptl-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A pod that listens on 8080 for TCP and UDP.
fn pod(name: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = name.to_owned();
    let port = |protocol: &str| ContainerPort { container_port: 8080, protocol: Some(protocol.into()), name: None };
    pod.spec.containers = vec![Container { ports: vec![port("TCP"), port("UDP")], ..Default::default() }];
    pod
}

/// Two nodes; web-1 and web-3 on node-1, web-2 on node-2, host on the network of node-2.
fn spec() -> LabSpec {
    let mut pods: Vec<Pod> = ["web-1", "web-2", "web-3"].map(pod).into();
    let mut host = pod("host");
    host.spec.host_network = Some(true);
    pods.push(host);
    Cluster::complete(&[], &pods, Defaults::default()).unwrap().spec(&prefix()).unwrap()
}

fn up(spec: LabSpec) -> Guard {
    Lab::up(spec).unwrap().guarded()
}

/// The frontends of a pod: each of its addresses by TCP and UDP, port 8080.
fn frontends(lab: &Lab, name: &str) -> Vec<Frontend> {
    let pod = lab.spec().pods.iter().find(|p| p.name == name).unwrap();
    let both = |address: &IpAddr| [Protocol::Tcp, Protocol::Udp].map(|protocol| frontend(*address, protocol, 8080));
    pod.addresses.iter().flat_map(both).collect()
}

fn frontend(address: IpAddr, protocol: Protocol, port: u16) -> Frontend {
    Frontend { address, protocol, port }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Loads nft rules in a namespace.
fn nft(namespace: &Namespace, rules: &str) {
    let output = in_namespace(namespace, || Command::new("nft").arg(rules).output()).unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn everybody_reaches_every_pod_and_is_seen_as_himself() {
    if !can_run("everybody_reaches_every_pod_and_is_seen_as_himself") {
        return;
    }
    let begin = Instant::now();
    let lab = up(spec());
    println!("up in {:?}", begin.elapsed());
    let from_pod = |name: &str| {
        let pod = lab.spec().pods.iter().find(|p| p.name == name).unwrap();
        (lab.pod("default", name).unwrap(), pod.addresses.clone())
    };
    let from_node = |index: usize| {
        let node = &lab.spec().nodes[index];
        (lab.node(&node.name).unwrap(), node.addresses.clone())
    };
    let clients = [from_pod("web-1"), from_pod("web-2"), from_node(0), from_node(1), (lab.client(), CLIENTS.to_vec())];
    for (namespace, addresses) in &clients {
        for name in ["web-1", "web-2", "web-3", "host"] {
            for to in frontends(&lab, name) {
                let own = addresses.iter().find(|a| a.is_ipv4() == to.address.is_ipv4()).unwrap();
                let outcome = Probe::new(to).run(namespace).unwrap();
                let Outcome::Answered { pod, source, destination } = &outcome else { panic!("{to}: {outcome:?}") };
                assert_eq!((pod.as_str(), *destination), (name, SocketAddr::new(to.address, to.port)));
                // A host that talks to itself does so from the very address it asked.
                assert!(source.ip() == *own || source.ip() == to.address, "{namespace} to {to} seen as {source}");
            }
        }
    }
    let second = Probe::new(frontends(&lab, "web-1")[0]).from(CLIENTS[1]).from_port(40_321).run(&lab.client()).unwrap();
    let Outcome::Answered { source, .. } = second else { panic!("{second:?}") };
    assert_eq!(source, SocketAddr::new(CLIENTS[1], 40_321));
}

#[test]
fn a_probe_tells_how_it_was_turned_away() {
    if !can_run("a_probe_tells_how_it_was_turned_away") {
        return;
    }
    let lab = up(spec());
    let (node, client) = (lab.node("node-1").unwrap(), lab.client());
    for address in [ip("203.0.113.1"), ip("fd00:203::1")] {
        let vip = |protocol, port| Probe::new(frontend(address, protocol, port)).patience(BRIEF);
        lab.route(&[address], "node-1").unwrap();
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let outcome = vip(protocol, 80).run(&client).unwrap();
            assert_eq!(outcome, Outcome::Unreachable, "no rule for {address} {protocol}");
            assert_eq!(vip(protocol, 80).run(&node).unwrap(), Outcome::Unreachable, "{address} {protocol}, host");
        }
        nft(
            &node,
            &format!(
                "table {family} t {{
                    chain forward {{ type filter hook forward priority 0;
                        th dport 1 reject; th dport 2 drop;
                    }}
                    chain output {{ type filter hook output priority 0;
                        {family} daddr {address} th dport 1 reject; {family} daddr {address} th dport 2 drop;
                    }}
                }}"
            ),
        );
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let outcome = |port, from| vip(protocol, port).run(from).unwrap();
            assert_eq!(outcome(1, &client), Outcome::Refused, "REJECT {address} {protocol}");
            assert_eq!(outcome(2, &client), Outcome::Silence, "DROP {address} {protocol}");
            assert_eq!(outcome(1, &node), Outcome::Refused, "REJECT {address} {protocol}, host");
            let dropped = if protocol == Protocol::Udp { Outcome::NotPermitted } else { Outcome::Silence };
            assert_eq!(outcome(2, &node), dropped, "DROP {address} {protocol}, host");
        }
    }
    for to in frontends(&lab, "web-1") {
        let nobody = Frontend { port: 9999, ..to };
        let wanted = if to.protocol == Protocol::Tcp { Outcome::Reset } else { Outcome::Refused };
        assert_eq!(Probe::new(nobody).run(&client).unwrap(), wanted, "{nobody}");
    }
    // Hundreds of refusals in a row: the kernel holds none of them back.
    let refused =
        Probe::new(frontend(ip("203.0.113.1"), Protocol::Udp, 1)).patience(BRIEF).spread(&client, 300).unwrap();
    assert_eq!(refused.outcomes.get("refused"), Some(&300), "{refused:?}");
}
