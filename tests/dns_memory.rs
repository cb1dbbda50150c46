//! What many changes leave behind in memory: nothing. A process of its own, so that what is resident is of this alone.

#[path = "zone/make.rs"]
#[allow(dead_code, reason = "every test file uses a part of it")]
mod make;

use std::{fs, net::Ipv4Addr};

use arc_swap::Cache;
use portolan::{config::dns::corefile::parse, dns::names::Names};
use serde_json::json;

/// Services that are always there.
const SERVICES: u32 = 1000;
/// What comes goes again after so many changes.
const STAYS: u32 = 40;
/// So many changes are published together.
const TOGETHER: u32 = 10;
/// When memory is looked at first: everything that is kept for reuse has grown to its size.
const SETTLED: u32 = 20_000;
const CHANGES: u32 = 100_000;
/// Octets that may be more at the end: a leak of a short name with each change comes to more.
const LEEWAY: u64 = 2 << 20;

#[test]
fn memory_is_flat_over_100_000_changes() {
    let text = ".:53 {\n kubernetes cluster.local in-addr.arpa {\n pods verified\n endpoint_pod_names\n }\n}\n";
    let (config, _) = parse(text, "Corefile", &|_| None, &|_| Err("nothing".to_owned())).unwrap();
    let mut names = Names::new(&config);
    // One who answers holds on to what he has until he looks again.
    let mut reader = Cache::new(names.served());
    names.put(&make::namespace("shop", json!({})));
    for service in 0..SERVICES {
        let spec = json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]});
        names.put(&make::service(&format!("shop/service-{service}"), spec));
        names.put(&slice(service, service));
    }
    names.synced();
    let mut settled = 0;
    for change in 1..=CHANGES {
        apply(change, &mut names);
        if change % TOGETHER == 0 {
            names.publish();
        }
        if change % (3 * TOGETHER) == 0 {
            let (_, snapshot) = reader.load().iter().next().expect("a snapshot");
            assert!(snapshot.services() >= SERVICES as usize);
        }
        if change == SETTLED {
            settled = resident();
        }
    }
    let end = resident();
    println!("resident after {SETTLED} changes: {settled} octets, after {CHANGES}: {end}");
    assert!(end < settled + LEEWAY, "{settled} octets after {SETTLED} changes, {end} after {CHANGES}");
}

/// One change of each kind in turn, with names and addresses that were never there before.
fn apply(change: u32, names: &mut Names) {
    let path = |number: u32| (format!("team-{number}"), format!("new-{number}"));
    let (namespace, name) = path(change);
    let (old_namespace, old_name) = path(change.saturating_sub(STAYS));
    let ip = address(change);
    match change % 4 {
        0 => names.put(&slice(change % SERVICES, SERVICES + change)),
        1 => {
            let port = json!({"name": format!("port-{change}"), "port": 80});
            names.put(&make::service(&format!("shop/{name}"), json!({"clusterIP": ip, "ports": [port]})));
            names.remove("Service", "shop", &old_name);
        }
        2 => {
            names.put(&make::namespace(&namespace, json!({"number": namespace})));
            names.remove("Namespace", "", &old_namespace);
        }
        _ => {
            names.put(&make::pod(
                &format!("shop/{name}"),
                json!({"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running"}),
            ));
            names.remove("Pod", "shop", &old_name);
        }
    }
}

/// Endpoints of a Service: others with each generation.
fn slice(service: u32, generation: u32) -> portolan::objects::Object {
    let endpoint = |number: u32| {
        let target = json!({"kind": "Pod", "name": format!("pod-{generation}-{number}"), "namespace": "shop"});
        json!({"addresses": [address(generation * 5 + number + CHANGES)], "targetRef": target})
    };
    let endpoints: Vec<_> = (0..5).map(endpoint).collect();
    make::slice(&format!("shop/service-{service}/x"), json!([{"name": "http", "port": 8080}]), json!(endpoints))
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

/// Octets of memory that this process has.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap() as u64
}
