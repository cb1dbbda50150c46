//! The configurations that cases name as their mode (5.1).

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use domain::base::iana::Rcode;
use portolan::{
    config::dns::{
        ApiAccess, Fallthrough, ForwardOptions, KubernetesOptions, Name, PodNames, Policy, PtrNames, ServerBlock,
    },
    objects::Object,
    source::manifests,
    zone::{Builder, Snapshot, State},
};

/// Kubernetes objects, as a List.
const FIXTURES: &str = include_str!("fixtures.json");

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
    let mut options = KubernetesOptions {
        zones: [vec![name("cluster.local")], reverse()].concat(),
        ttl: 5,
        pods: PodNames::Disabled,
        endpoint_pod_names: false,
        endpoint_aliases: true,
        namespaces: Vec::new(),
        namespace_labels: None,
        labels: None,
        no_endpoints: false,
        ignore_empty_service: false,
        fallthrough: Fallthrough::Zones(reverse()),
        ptr: PtrNames::All,
        dns_service: ("kube-system".to_owned(), "kube-dns".to_owned()),
        compat: false,
        api: ApiAccess::default(),
    };
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
    ServerBlock {
        place: None,
        zones: vec![Name::root_vec()],
        port: 53,
        bind: Vec::new(),
        log: None,
        errors: true,
        health: None,
        ready: None,
        prometheus: None,
        bufsize: 1232,
        minimal: mode == "minimal",
        any: mode == "any",
        nsid: Some(b"node-1".to_vec()),
        chaos: None,
        shuffle: true,
        acl: Vec::new(),
        rewrites: Vec::new(),
        templates: Vec::new(),
        hosts: None,
        files: Vec::new(),
        kubernetes: Some(kubernetes(mode)),
        cache: None,
        detect_loops: false,
        reload: None,
        forwards: if mode == "noforward" { Vec::new() } else { vec![forward()] },
    }
}

fn forward() -> ForwardOptions {
    ForwardOptions {
        place: None,
        from: Name::root_vec(),
        to: Vec::new(),
        except: vec![name("except.example")],
        force_tcp: false,
        prefer_udp: false,
        expire: Duration::from_secs(10),
        max_age: Duration::ZERO,
        max_idle: 0,
        read_timeout: Duration::from_secs(2),
        max_fails: 2,
        max_attempts: 0,
        policy: Policy::Random,
        health_interval: Duration::from_millis(500),
        health_no_rec: false,
        health_domain: Name::root_vec(),
        max_concurrent: 0,
        failover: vec![Rcode::SERVFAIL],
        next: Vec::new(),
        next_on_nodata: false,
        failfast: false,
        source: None,
    }
}
