//! What a zone of 10,000 Services with 10 endpoints each costs: memory, time to build, to change, to find, to save.
//!
//! `cargo bench --bench dns_zone`. Needs no privileges.

use std::{
    hint::black_box,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan::{
    config::dns::{KubernetesOptions, PodNames},
    objects::Object,
    zone::{Builder, Found, Snapshot, State, file},
};
use serde_json::{Value, json};

const NAMESPACES: usize = 100;
const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;
const CHANGES: usize = 100_000;
const LOOKUPS: usize = 1_000_000;

fn main() {
    let options = Arc::new(options());
    let empty = memory("VmRSS");
    let mut builder = Builder::new(options.clone());
    let mut reading = Duration::ZERO;
    let start = Instant::now();
    for object in 0..NAMESPACES + 2 * SERVICES {
        // Making the object out of JSON is not what is measured.
        let begun = Instant::now();
        let object = match object {
            n if n < NAMESPACES => namespace(n),
            n if n < NAMESPACES + SERVICES => service(n - NAMESPACES),
            n => slice(n - NAMESPACES - SERVICES, 0),
        };
        reading += begun.elapsed();
        builder.put(&object);
    }
    let mut snapshot = builder.publish(State::Synced, 1);
    let built = start.elapsed() - reading;
    let resident = memory("VmRSS");
    println!("{SERVICES} Services x 2 ports, {ENDPOINTS} endpoints each; MiB resident, before anything: {empty:.1}");
    println!("build: {:.0} ms; resident {:.1}, peak {:.1}", milliseconds(built), resident, memory("VmHWM"));

    find(&snapshot);
    reverse(&snapshot);

    // Not with zeros: memory that was never written to is not resident, and would look like a leak later.
    let mut times = vec![Duration::MAX; CHANGES];
    for (change, time) in times.iter_mut().enumerate() {
        let object = slice(change * 7919 % SERVICES, 1 + change / SERVICES);
        let begun = Instant::now();
        builder.put(&object);
        let next = builder.publish(State::Synced, 1);
        *time = begun.elapsed();
        snapshot = next;
        if (change + 1) % (CHANGES / 5) == 0 {
            println!("after {} changes: resident {:.1}", change + 1, memory("VmRSS"));
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[(CHANGES as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("change and publish: p50 {:.1} us, p99 {:.1} us", at(0.5), at(0.99));

    let begun = Instant::now();
    let bytes = file::encode(&snapshot, 0);
    println!("file: {:.1} MB, written in {:.0} ms", bytes.len() as f64 / 1e6, milliseconds(begun.elapsed()));
    drop((builder, snapshot));
    let begun = Instant::now();
    let saved = file::decode(&bytes, options).unwrap();
    println!("read in {:.0} ms; {} Services", milliseconds(begun.elapsed()), saved.snapshot.services());
    println!("peak of all this: {:.1}", memory("VmHWM"));
}

fn find(snapshot: &Snapshot) {
    let names: Vec<Vec<u8>> = (0..SERVICES).map(|n| wire(&[&name(n), &namespace_name(n), "svc"])).collect();
    time("find a Service", &names, |name| matches!(snapshot.find(name), Found::Service(_)));
    let missing: Vec<Vec<u8>> = (0..SERVICES).map(|n| wire(&["no", &name(n), &namespace_name(n), "svc"])).collect();
    time("find nothing", &missing, |name| matches!(snapshot.find(name), Found::Missing));
    let endpoint = |n| wire(&[&pod(n, n % ENDPOINTS, 0), &name(n), &namespace_name(n), "svc"]);
    let endpoints: Vec<Vec<u8>> = (0..SERVICES).map(endpoint).collect();
    time("find an endpoint", &endpoints, |name| matches!(snapshot.find(name), Found::Endpoint(..)));
    let ports: Vec<Vec<u8>> =
        (0..SERVICES).map(|n| wire(&["_http", "_tcp", &name(n), &namespace_name(n), "svc"])).collect();
    time("find a port", &ports, |name| matches!(snapshot.find(name), Found::Port(..)));
}

fn reverse(snapshot: &Snapshot) {
    let cluster: Vec<_> = (0..SERVICES).map(cluster_ip).collect();
    time("name of a cluster IP", &cluster, |ip| snapshot.names_of((*ip).into()).len() == 1);
    let endpoints: Vec<_> = (0..SERVICES).map(|n| address(n, n % ENDPOINTS, 0)).collect();
    time("name of an endpoint", &endpoints, |ip| snapshot.names_of((*ip).into()).len() == 1);
}

fn time<T>(what: &str, inputs: &[T], check: impl Fn(&T) -> bool) {
    assert!(inputs.iter().all(&check), "{what}: wrong answer");
    // All of them in turn, so that each is cold, and a few again and again.
    let [cold, warm] = [inputs.len(), 64].map(|among| {
        let begun = processor_time();
        for number in 0..LOOKUPS {
            black_box(check(black_box(&inputs[number * 7919 % among])));
        }
        (processor_time() - begun) as f64 / LOOKUPS as f64
    });
    println!("{what}: {cold:.0} ns among {}, {warm:.0} ns among 64", inputs.len());
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Nanoseconds that this process has run for; others on the machine do not count.
fn processor_time() -> u64 {
    let times = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    times.split(' ').next().unwrap().parse().unwrap()
}

/// A line of /proc/self/status, in MiB.
fn memory(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn options() -> KubernetesOptions {
    KubernetesOptions { pods: PodNames::Insecure, ..KubernetesOptions::new(vec!["cluster.local".parse().unwrap()]) }
}

fn namespace_name(service: usize) -> String {
    format!("team-{}", service % NAMESPACES)
}

fn name(service: usize) -> String {
    format!("service-{service}")
}

fn pod(service: usize, endpoint: usize, generation: usize) -> String {
    format!("service-{service}-{:08x}-{:05x}", service * 2_654_435, endpoint * 131_071 % 1_048_573 + generation)
}

fn cluster_ip(service: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a60_0000 + service as u32)
}

/// One endpoint of a Service gets another address with each generation.
fn address(service: usize, endpoint: usize, generation: usize) -> Ipv4Addr {
    let moved = if endpoint == 0 { generation * SERVICES * ENDPOINTS } else { 0 };
    Ipv4Addr::from(0x0af4_0000 + (service * ENDPOINTS + endpoint + moved) as u32)
}

/// A name in wire form, left of the zone.
fn wire(labels: &[&str]) -> Vec<u8> {
    labels.iter().flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect()
}

fn namespace(number: usize) -> Object {
    let metadata = json!({"metadata": {"name": format!("team-{number}")}});
    Object::Namespace(serde_json::from_value(metadata).unwrap())
}

fn service(number: usize) -> Object {
    let ports = json!([{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}]);
    let metadata = json!({"name": name(number), "namespace": namespace_name(number)});
    let service = json!({"metadata": metadata, "spec": {"clusterIP": cluster_ip(number), "ports": ports}});
    Object::Service(serde_json::from_value(service).unwrap())
}

fn slice(number: usize, generation: usize) -> Object {
    let endpoints: Vec<Value> = (0..ENDPOINTS)
        .map(|endpoint| {
            json!({
                "addresses": [address(number, endpoint, generation)],
                "conditions": {"ready": true, "serving": true},
                "targetRef": {"kind": "Pod", "name": pod(number, endpoint, if endpoint == 0 { generation } else { 0 })},
                "nodeName": "node-1",
            })
        })
        .collect();
    let labels = json!({"kubernetes.io/service-name": name(number)});
    let metadata =
        json!({"name": format!("{}-abcde", name(number)), "namespace": namespace_name(number), "labels": labels});
    let ports = json!([{"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}]);
    let slice = json!({"metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
    Object::EndpointSlice(serde_json::from_value(slice).unwrap())
}
