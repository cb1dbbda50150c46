//! Clusters to measure with, and tables to print.

#![allow(dead_code, reason = "every benchmark uses a part of it")]
pub mod kube_proxy_shape;

use std::{
    fmt,
    io::Write,
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::Arc,
};

use portolan::model::{
    EndpointFacts, Node, PodDetector, Protocol, Service, ServiceId, ServicePort, ServiceType, Settings, Slice, SliceId,
    SlicePort, TrafficPolicy, World,
};
use serde::{Deserialize, Serialize};

/// Services of one TCP port with as many endpoints each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub services: usize,
    pub endpoints: usize,
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.services, self.endpoints)
    }
}

impl Cluster {
    pub fn new(services: usize, endpoints: usize) -> Self {
        Self { services, endpoints }
    }

    pub fn settings() -> Settings {
        let pods = "10.0.0.0/8".parse().unwrap();
        Settings { detector: PodDetector::SourceRanges(vec![pods]), masquerade_bit: 14, ..Settings::default() }
    }

    pub fn world(self) -> World {
        let node =
            Node { name: "node-1".into(), addresses: vec![Ipv4Addr::new(192, 168, 49, 11).into()], ..Node::default() };
        let nodes = Self::nodes();
        let mut world = World::default();
        world.node = node;
        for number in 0..self.services {
            let service = self.service(number);
            world.services.insert(service.id.clone(), service);
            world.put_slice(self.slice(number, &nodes));
        }
        world
    }

    pub fn cluster_ip(number: usize) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 30, 0, 2)) + number as u32)
    }

    /// Endpoint addresses, all different.
    pub fn endpoint(self, service: usize, number: usize) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 64, 0, 0)) + (service * self.endpoints + number) as u32)
    }

    fn id(number: usize) -> ServiceId {
        ServiceId::new(&format!("namespace-{}", number % 100), &format!("service-{number}"))
    }

    fn service(self, number: usize) -> Service {
        Service {
            id: Self::id(number),
            created: None,
            kind: ServiceType::ClusterIp,
            proxied: true,
            cluster_ips: vec![Self::cluster_ip(number).into()],
            external_ips: vec![],
            load_balancer_ips: vec![],
            ports: vec![ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: None }],
            affinity_seconds: None,
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Cluster,
            source_ranges: vec![],
            health_check_node_port: None,
        }
    }

    /// Names of ten nodes.
    pub fn nodes() -> Vec<Arc<str>> {
        (1..=10).map(|number| format!("node-{number}").into()).collect()
    }

    fn slice(self, service: usize, nodes: &[Arc<str>]) -> Slice {
        let id = Self::id(service);
        Slice {
            id: SliceId { namespace: id.namespace.clone(), name: format!("{}-slice", id.name).into() },
            service: id,
            ports: vec![SlicePort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
            endpoints: (0..self.endpoints).map(|number| facts(self.endpoint(service, number), number, nodes)).collect(),
        }
    }

    /// The slice of a Service with one endpoint changed: replaced, removed or added.
    pub fn changed_slice(self, service: usize, change: usize) -> Slice {
        let nodes = Self::nodes();
        let mut slice = self.slice(service, &nodes);
        let fresh = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 32, 0, 0)) + change as u32);
        let fresh = facts(fresh, change, &nodes);
        match change % 3 {
            0 => slice.endpoints[change % self.endpoints] = fresh,
            1 => {
                slice.endpoints.remove(change % self.endpoints);
            }
            _ => slice.endpoints.push(fresh),
        }
        slice
    }
}

/// A ready endpoint; one in ten runs on this node.
fn facts(address: Ipv4Addr, number: usize, nodes: &[Arc<str>]) -> EndpointFacts {
    EndpointFacts {
        address: address.into(),
        ready: true,
        serving: true,
        terminating: false,
        node: Some(nodes[number % nodes.len()].clone()),
        pod: None,
        zone_hints: Box::new([]),
        node_hints: Box::new([]),
    }
}

/// A Markdown table.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(headings: &[&str]) -> Self {
        let line = vec!["---".to_owned(); headings.len()];
        Self(vec![headings.iter().map(ToString::to_string).collect(), line])
    }

    pub fn row(&mut self, cells: &[String]) {
        self.0.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}

pub fn milliseconds(seconds: f64) -> String {
    format!("{:.2}", seconds * 1e3)
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// The most memory this process ever had in RAM, in bytes.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Loads a ruleset with `nft -f -`; returns the most memory that nft had, in bytes.
pub fn load_with_nft(text: &str) -> u64 {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "nft refused the ruleset");
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    usage.max_rss() as u64 * 1024
}
