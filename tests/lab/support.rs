//! What the tests of the lab share.

use std::{
    env,
    net::{IpAddr, SocketAddr},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use portolan::{
    lab::{Cluster, Defaults, Guard, Lab, LabSpec, Namespace, in_namespace, obstacle},
    model::{Frontend, Protocol},
    objects::{Container, ContainerPort, Pod},
};

/// How long silence is waited for.
pub const BRIEF: Duration = Duration::from_millis(300);

/// False, with a word why, where a lab cannot be built; a failure where it must be.
pub fn can_run(test: &str) -> bool {
    let nft = || Command::new("nft").arg("-v").output().err().map(|e| format!("the command `nft` does not run: {e}"));
    let Some(reason) = obstacle().or_else(nft) else { return true };
    assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
    false
}

/// A prefix that no other test, and no other run, has.
pub fn prefix() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("ptl-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A pod that listens on 8080 for TCP and UDP.
pub fn pod(name: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = name.to_owned();
    let port = |protocol: &str| ContainerPort { container_port: 8080, protocol: Some(protocol.into()), name: None };
    pod.spec.containers = vec![Container { ports: vec![port("TCP"), port("UDP")], ..Default::default() }];
    pod
}

/// Two nodes; web-1 and web-3 on node-1, web-2 on node-2, host on the network of node-2.
pub fn spec() -> LabSpec {
    let mut pods: Vec<Pod> = ["web-1", "web-2", "web-3"].map(pod).into();
    let mut host = pod("host");
    host.spec.host_network = Some(true);
    pods.push(host);
    Cluster::complete(&[], &pods, Defaults::default()).unwrap().spec(&prefix()).unwrap()
}

/// The lab, up until the returned value is dropped.
pub fn up(spec: LabSpec) -> Guard {
    Lab::up(spec).unwrap().guarded()
}

/// The frontends of a pod: each of its addresses by TCP and UDP, port 8080.
pub fn frontends(lab: &Lab, name: &str) -> Vec<Frontend> {
    let pod = lab.spec().pods.iter().find(|p| p.name == name).unwrap();
    let both = |address: &IpAddr| [Protocol::Tcp, Protocol::Udp].map(|protocol| frontend(*address, protocol, 8080));
    pod.addresses.iter().flat_map(both).collect()
}

/// A frontend of its three parts.
pub fn frontend(address: IpAddr, protocol: Protocol, port: u16) -> Frontend {
    Frontend { address, protocol, port }
}

/// An address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Loads nft rules in a namespace.
pub fn nft(namespace: &Namespace, rules: &str) {
    let output = in_namespace(namespace, || Command::new("nft").arg(rules).output()).unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// In a node, sends new connections to an address and port on to a target, the node's own too; hairpins are masqueraded.
pub fn translate(node: &Namespace, to: Frontend, target: Frontend) {
    let (family, protocol) = (to.family().nft(), to.protocol.nft());
    let destination = SocketAddr::new(target.address, target.port);
    let (address, endpoint) = (to.address, target.address);
    nft(
        node,
        &format!(
            "table {family} translate {{
                chain prerouting {{ type nat hook prerouting priority -100;
                    {family} daddr {address} {protocol} dport {} dnat to {destination}
                }}
                chain output {{ type nat hook output priority -100;
                    {family} daddr {address} {protocol} dport {} dnat to {destination}
                }}
                chain postrouting {{ type nat hook postrouting priority 100;
                    {family} saddr {endpoint} {family} daddr {endpoint} masquerade
                }}
            }}",
            to.port, to.port
        ),
    );
}
