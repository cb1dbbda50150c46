//! The configurations that cases name as their mode (5.1).

use std::{path::Path, str::FromStr, sync::Arc};

use portolan::{
    config::dns::{Fallthrough, ForwardOptions, KubernetesOptions, Name, PodNames, ServerBlock},
    objects::Object,
    source::manifests,
    zone::{Builder, Snapshot, State},
};

/// Kubernetes objects, as a List.
pub const FIXTURES: &str = include_str!("fixtures.json");

/// Serial of the zones.
pub const SERIAL: u32 = 1_790_000_000;

pub fn name(text: &str) -> Name {
    Name::from_str(text).expect("a name")
}

/// The fixtures' objects.
pub fn objects() -> Vec<Object> {
    let manifests = manifests::read_text(Path::new("fixtures.json"), FIXTURES);
    assert!(!manifests.unreadable, "{:?}", manifests.notices);
    manifests.objects.into_iter().map(|located| located.object).collect()
}

/// What `kubernetes` says in a mode.
pub fn kubernetes(mode: &str) -> KubernetesOptions {
    let reverse = || vec![name("in-addr.arpa"), name("ip6.arpa")];
    let mut options = KubernetesOptions::new([vec![name("cluster.local")], reverse()].concat());
    options.fallthrough = Fallthrough::Zones(reverse());
    match mode {
        "base" | "unsynced" | "stale" | "node" | "noforward" | "minimal" | "any" => {}
        "insecure" => options.pods = PodNames::Insecure,
        "verified" => options.pods = PodNames::Verified,
        "cidr" => options.pods = PodNames::Ranges(vec!["10.244.0.0/16".parse().expect("a range")]),
        "epnames" => options.endpoint_pod_names = true,
        "canonical" => options.endpoint_aliases = false,
        "nofall" => options.fallthrough = Fallthrough::Never,
        "fallall" => options.fallthrough = Fallthrough::Always,
        "ns-shop" => {
            options.namespaces = vec!["shop".to_owned()];
            // The case G05 wants the reverse zone's own denial.
            options.fallthrough = Fallthrough::Never;
        }
        "ignempty" => options.ignore_empty_service = true,
        "noep" => options.no_endpoints = true,
        "ttl30" => options.ttl = 30,
        "ttl600" => options.ttl = 600,
        "compat" => {
            options.compat = true;
            options.endpoint_aliases = false;
        }
        other => panic!("no mode {other}"),
    }
    options
}

/// The names in a mode, from the fixtures' objects.
pub fn snapshot(mode: &str, objects: &[Object]) -> Arc<Snapshot> {
    let mut builder = Builder::new(Arc::new(kubernetes(mode)));
    for object in objects {
        builder.put(object);
    }
    let state = match mode {
        "unsynced" => State::Unsynced,
        "stale" => State::Stale,
        _ => State::Synced,
    };
    builder.settle();
    builder.publish(state, SERIAL)
}

/// The server block of a mode: everything, names of the cluster first.
pub fn block(mode: &str) -> ServerBlock {
    let forward =
        ForwardOptions { except: vec![name("except.example")], ..ForwardOptions::new(Name::root_vec(), Vec::new()) };
    ServerBlock {
        minimal: mode == "minimal",
        any: mode == "any",
        nsid: Some(b"node-1".to_vec()),
        shuffle: true,
        kubernetes: Some(kubernetes(mode)),
        forwards: if mode == "noforward" { Vec::new() } else { vec![forward] },
        ..ServerBlock::new(vec![Name::root_vec()], 53)
    }
}
