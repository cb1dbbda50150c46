//! Any history of objects ends in what a fresh start makes of the objects that are left, and leaves nothing behind.

use std::{collections::BTreeMap, sync::Arc};

use portolan::{
    config::dns::{PodNames, Requirement, Selector},
    objects::Object,
    zone::{Builder, State, file},
};
use proptest::prelude::*;
use serde_json::json;

use crate::make::*;

/// A small world, so that objects meet each other.
fn object() -> impl Strategy<Value = Object> {
    let place = || (prop_oneof![Just("shop"), Just("data")], prop_oneof![Just("a"), Just("b"), Just("kube-dns")]);
    let spec = prop_oneof![
        Just(json!({"clusterIP": "None", "ports": http(80)})),
        Just(json!({"clusterIP": "10.96.0.1", "ports": http(80)})),
        Just(json!({"clusterIPs": ["10.0.0.2", "fd00:96::1"], "ports": [{"port": 80, "protocol": "UDP"}]})),
        Just(json!({"type": "ExternalName", "externalName": "Api.Example"})),
        Just(json!({})),
    ];
    let endpoint = (0..6u8, proptest::option::of(0..3u8), proptest::option::of(0..3u8), any::<bool>(), any::<bool>());
    let endpoint = endpoint.prop_map(|(n, hostname, pod, ready, v6)| {
        let address = if v6 { format!("fd00::{n}") } else { format!("10.0.0.{n}") };
        let mut endpoint = json!({"addresses": [address], "conditions": {"ready": ready || n < 4}});
        // Some Pods are called like an address, or like another's host name.
        pod.inspect(|n| endpoint["targetRef"] = json!({"name": (["x-0", "pod", "10-0-0-1"][usize::from(*n)])}));
        hostname.inspect(|n| endpoint["hostname"] = json!(format!("x-{n}")));
        endpoint
    });
    let ports = prop_oneof![Just(http(80)), Just(json!([])), Just(json!([{"name": "m", "port": 9}, {"port": 80}]))];
    let endpoints = proptest::collection::vec(endpoint, 0..4);
    prop_oneof![
        1 => (prop_oneof![Just("shop"), Just("data")], any::<bool>())
            .prop_map(|(name, label)| namespace(name, if label { json!({"team": "a"}) } else { json!({}) })),
        3 => (place(), spec).prop_map(|((ns, name), spec)| service(&format!("{ns}/{name}"), spec)),
        4 => (place(), 0..3u8, ports, endpoints)
            .prop_map(|((ns, name), n, ports, endpoints)| slice_named(&format!("{ns}/{name}/s{n}"), ports, json!(endpoints))),
        1 => (place(), 0..3u8, any::<bool>()).prop_map(|((ns, name), n, live)| {
            let phase = if live { "Running" } else { "Failed" };
            pod(&format!("{ns}/{name}"), json!({"phase": phase, "podIP": format!("10.0.0.{n}")}))
        }),
    ]
}

fn start(choice: u8) -> Builder {
    let mut options = options();
    options.pods = PodNames::Verified;
    options.dns_service = ("shop".into(), "kube-dns".into());
    options.endpoint_pod_names = choice & 1 != 0;
    options.endpoint_aliases = choice & 2 != 0;
    options.ignore_empty_service = choice & 4 != 0;
    let team = Selector { requirements: vec![Requirement::Exists("team".into())] };
    options.namespace_labels = (choice & 8 != 0).then_some(team);
    Builder::new(Arc::new(options))
}

proptest! {
    #[test]
    fn it_ends_where_a_fresh_start_does(
        changes in proptest::collection::vec((object(), 0..4u8, any::<bool>()), 0..60),
        choice in 0..16u8,
    ) {
        let mut builder = start(choice);
        let mut left: BTreeMap<(&str, String, String), Object> = BTreeMap::new();
        let mut published = builder.publish(State::Synced, 1);
        let mut kept = Vec::new();
        for (object, removed, publish) in changes {
            let key = (object.kind(), object.namespace().to_owned(), object.metadata().name.clone());
            if removed == 0 {
                builder.remove(key.0, &key.1, &key.2);
                left.remove(&key);
            } else {
                builder.put(&object);
                left.insert(key, object);
            }
            if publish {
                let changed = builder.settle();
                let next = builder.publish(State::Synced, 1);
                let (before, after) = (published.listing(), next.listing());
                prop_assert!(changed || before == after, "{:?} {:?}", before, after);
                kept.push((next.clone(), after));
                published = next;
            }
        }
        let mut fresh = start(choice);
        for object in left.values().rev() {
            fresh.put(object);
        }
        let (incremental, fresh) = (builder.publish(State::Synced, 1), fresh.publish(State::Synced, 1));
        prop_assert_eq!(incremental.listing(), fresh.listing());
        prop_assert_eq!(file::encode(&incremental, 7), file::encode(&fresh, 7));
        for (snapshot, listing) in kept {
            prop_assert_eq!(snapshot.listing(), listing, "a snapshot changed after it was published");
        }

        let bytes = file::encode(&incremental, 7);
        let saved = file::decode(&bytes, Arc::new(incremental.options().clone())).unwrap();
        prop_assert_eq!(saved.snapshot.listing(), incremental.listing());
        prop_assert_eq!(file::encode(&saved.snapshot, 7), bytes);

        for (kind, namespace, name) in left.into_keys() {
            builder.remove(kind, &namespace, &name);
        }
        prop_assert_eq!(builder.publish(State::Synced, 1).listing(), start(choice).publish(State::Synced, 1).listing());
        prop_assert_eq!(builder.held(), 0, "something of what is gone was kept");
    }
}
