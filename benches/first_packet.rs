//! What the first packet of a connection costs: Portolan with many Services beside a single DNAT rule.
//!
//! `cargo bench --bench first_packet`. Each variant has a client, a node and a pod of its own in network namespaces.
//! The client sends a datagram from a new port to the Service and waits for the echo; the variants take turns, so that
//! whatever else the machine does meets all of them.

mod common;

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{Cluster, Table};
use nix::sched::{CloneFlags, setns};
use portolan::{
    agent::Agent,
    kernel::NetlinkDataPlane,
    model::{EndpointFacts, Protocol, ServicePort, Slice, SlicePort, World},
};

const ROUNDS: usize = 300;
const PACKETS: usize = 100;
const POD: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const PORT: u16 = 8080;

#[derive(Clone, Copy)]
enum Variant {
    /// One DNAT rule in prerouting, and nothing else on the node
    SingleRule,
    /// The same rule with what any proxy needs beside it: masquerading on demand, and a refusal of untranslated packets
    SingleRuleProxy,
    Portolan(usize),
}

impl Variant {
    const ALL: [Variant; 5] = [
        Variant::SingleRule,
        Variant::SingleRuleProxy,
        Variant::Portolan(1_000),
        Variant::Portolan(10_000),
        Variant::Portolan(30_000),
    ];

    fn name(self) -> String {
        match self {
            Variant::SingleRule => "one DNAT rule, nothing else".into(),
            Variant::SingleRuleProxy => "one DNAT rule, with masquerade and refusal".into(),
            Variant::Portolan(services) => format!("Portolan, {services} services"),
        }
    }
}

/// Client, node and pod of one variant; removed on drop.
struct Line {
    names: [String; 3],
}

impl Line {
    fn up(index: usize, variant: Variant) -> Self {
        let names = ["client", "node", "pod"].map(|role| format!("bench-{index}-{role}"));
        let line = Self { names };
        let [client, node, pod] = &line.names;
        let mut script = String::new();
        for name in &line.names {
            script.push_str(&format!("netns add {name}\n"));
        }
        ip(&script);
        in_namespace(node, || ip(""));
        ip(&format!(
            "link add c{index} netns {client} type veth peer name c{index} netns {node}\n\
             link add p{index} netns {pod} type veth peer name p{index} netns {node}\n"
        ));
        for (name, commands) in [
            (
                client,
                format!(
                    "addr add 10.0.1.2/24 dev c{index}\nlink set c{index} up\nlink set lo up\nroute add default via 10.0.1.1\n"
                ),
            ),
            (
                pod,
                format!(
                    "addr add {POD}/24 dev p{index}\nlink set p{index} up\nlink set lo up\nroute add default via 10.0.2.1\n"
                ),
            ),
            (
                node,
                format!(
                    "addr add 10.0.1.1/24 dev c{index}\naddr add 10.0.2.1/24 dev p{index}\nlink set c{index} up\nlink set p{index} up\nlink set lo up\n"
                ),
            ),
        ] {
            in_namespace(name, move || ip(&commands));
        }
        in_namespace(node, move || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            match variant {
                Variant::SingleRule => drop(common::load_with_nft(&single_rule(""))),
                Variant::SingleRuleProxy => drop(common::load_with_nft(&single_rule(BESIDE_THE_RULE))),
                Variant::Portolan(services) => program(services),
            }
        });
        in_namespace(pod, || {
            let socket = UdpSocket::bind((POD, PORT)).unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            });
        });
        line
    }

    /// Round trips of first packets, in seconds.
    fn measure(&self, packets: usize) -> Vec<f64> {
        let to = SocketAddr::from((Cluster::cluster_ip(0), 80));
        in_namespace(&self.names[0], move || {
            (0..packets)
                .map(|_| {
                    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
                    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                    socket.connect(to).unwrap();
                    let started = Instant::now();
                    socket.send(b"?").unwrap();
                    socket.recv(&mut [0; 64]).unwrap();
                    started.elapsed().as_secs_f64()
                })
                .collect()
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        ip(&self.names.iter().map(|name| format!("netns del {name}\n")).collect::<String>());
    }
}

/// A ruleset that sends the first Service to the pod.
fn single_rule(beside: &str) -> String {
    let vip = Cluster::cluster_ip(0);
    format!(
        "table ip bench {{\nchain prerouting {{\ntype nat hook prerouting priority dstnat\n\
         ip daddr {vip} udp dport 80 dnat to {POD}:{PORT}\n}}\n{beside}}}\n"
    )
}

const BESIDE_THE_RULE: &str = "
chain output {
type nat hook output priority -100
ip daddr 172.30.0.2 udp dport 80 dnat to 10.0.2.2:8080
}
chain forward {
type filter hook forward priority filter
ct state new ip daddr 172.30.0.0/16 reject
}
chain postrouting {
type nat hook postrouting priority srcnat
meta mark & 0x4000 == 0x4000 masquerade
}
";

/// A node with that many Services, of which the first, over UDP, leads to the pod.
fn program(services: usize) {
    let cluster = Cluster::new(services, 10);
    let mut world: World = cluster.world();
    let mut service = world.services.values().find(|s| s.cluster_ips == [Cluster::cluster_ip(0)]).unwrap().clone();
    let name: std::sync::Arc<str> = "udp".into();
    service.ports.push(ServicePort { name: name.clone(), protocol: Protocol::Udp, port: 80, node_port: None });
    let tcp: Slice = world.slices_of(&service.id).next().unwrap().clone();
    let endpoint = EndpointFacts { address: POD.into(), ..tcp.endpoints[0].clone() };
    let mut slice = tcp;
    slice.id.name = "udp-slice".into();
    slice.ports = vec![SlicePort { name, protocol: Protocol::Udp, port: PORT }];
    slice.endpoints = vec![endpoint];
    world.put_slice(slice);
    world.services.insert(service.id.clone(), service);
    // The client counts as a pod, so that neither variant masquerades.
    let mut agent = Agent::new(NetlinkDataPlane::open().unwrap());
    agent.set(world, Cluster::settings(), false);
    agent.sync().unwrap();
}

fn in_namespace<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
    thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
    .join()
    .unwrap()
}

fn ip(commands: &str) {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success(), "ip refused: {commands}");
}

fn main() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: the benchmark makes network namespaces and needs root");
        return;
    }
    let lines: Vec<Line> = Variant::ALL.iter().enumerate().map(|(index, variant)| Line::up(index, *variant)).collect();
    let (rounds, all) = take_turns(&lines);
    let mut table =
        Table::new(&["ruleset", "first packets", "p50 µs", "p99 µs", "times one rule", "times with masquerade"]);
    for (index, variant) in Variant::ALL.iter().enumerate() {
        let samples = sorted(all[index].clone());
        // Compared round by round, because the machine is faster at one time than at another.
        let times = |base: usize| at(&sorted(rounds.iter().map(|round| round[index] / round[base]).collect()), 50);
        table.row(&[
            variant.name(),
            samples.len().to_string(),
            format!("{:.2}", at(&samples, 50) * 1e6),
            format!("{:.2}", at(&samples, 99) * 1e6),
            format!("{:.3}", times(0)),
            format!("{:.3}", times(1)),
        ]);
    }
    println!("### The first packet of a connection, there and back\n\n{table}");
}

/// For each round the median of each variant; and all samples of each variant.
fn take_turns(lines: &[Line]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut rounds = Vec::new();
    let mut all = vec![Vec::new(); lines.len()];
    for round in 0..=ROUNDS {
        let measured: Vec<Vec<f64>> = lines.iter().map(|line| sorted(line.measure(PACKETS))).collect();
        // The first round warms up neighbours, caches and routes.
        if round > 0 {
            rounds.push(measured.iter().map(|samples| at(samples, 50)).collect());
            all.iter_mut().zip(measured).for_each(|(all, samples)| all.extend(samples));
        }
    }
    (rounds, all)
}

fn sorted(mut samples: Vec<f64>) -> Vec<f64> {
    samples.sort_by(f64::total_cmp);
    samples
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
