use portolan::config::dns::{PodNames, Requirement, Selector};
use serde_json::json;

use crate::make::*;

fn selector(key: &str) -> Option<Selector> {
    Some(Selector { requirements: vec![Requirement::Exists(key.into())] })
}

#[test]
fn parts_may_come_in_any_order_and_go_again() {
    let mut builder = builder();
    let parts = [
        slice("late/web/w", http(8080), json!([ready("10.0.0.1")])),
        service("late/web", json!({"clusterIP": "None"})),
        namespace("late", json!({})),
    ];
    for part in &parts {
        assert_eq!(look(&builder.publish(Default::default(), 1), "web.late.svc"), "missing");
        assert!(builder.put(part));
        assert!(!builder.put(part), "it is known");
    }
    assert!(builder.settle());
    let whole = builder.publish(Default::default(), 2);
    assert!(!builder.settle(), "nothing changed since");
    assert_eq!(look(&whole, "web.late.svc"), "service 10.0.0.1");
    for part in parts {
        assert!(builder.remove(part.kind(), part.namespace(), &part.metadata().name));
        assert!(!builder.remove(part.kind(), part.namespace(), &part.metadata().name), "it is gone");
        let rest = builder.publish(Default::default(), 3);
        assert_eq!(look(&rest, "web.late.svc"), "missing");
        assert_eq!(names(&rest, "10.0.0.1"), [""; 0]);
        builder.put(&part);
        assert_eq!(builder.publish(Default::default(), 4).listing(), whole.listing());
    }
}

#[test]
fn a_slice_may_change_its_service() {
    let hl = |name: &str| service(name, json!({"clusterIP": "None"}));
    let mut builder = builder();
    for object in [hl("shop/a"), hl("shop/b"), slice_named("shop/a/s", http(80), json!([ready("10.0.0.1")]))] {
        builder.put(&object);
    }
    builder.publish(Default::default(), 1);
    builder.put(&slice_named("shop/b/s", http(80), json!([ready("10.0.0.1")])));
    let snapshot = builder.publish(Default::default(), 2);
    assert_eq!(names(&snapshot, "10.0.0.1"), ["10-0-0-1.b.shop.svc"]);
    assert_eq!(look(&snapshot, "a.shop.svc"), "missing");
}

#[test]
fn what_names_do_not_show_is_no_change() {
    let mut builder = builder();
    let endpoint = |serving| json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": serving}}]);
    builder.put(&service("shop/a", json!({"clusterIP": "None"})));
    builder.put(&slice_named("shop/a/s", http(80), endpoint(true)));
    builder.publish(Default::default(), 1);
    assert!(!builder.put(&slice_named("shop/a/s", http(80), endpoint(false))));
    // Moved into another slice: something changed, and no answer with it.
    builder.remove("EndpointSlice", "shop", "s");
    assert!(builder.put(&slice_named("shop/a/t", http(80), endpoint(true))));
    assert!(!builder.settle());
    // Slices of names, of no Service and of unknown kinds are none.
    let mut fqdn = slice_named("shop/a/f", http(80), json!([ready("10.0.0.2")]));
    if let portolan::objects::Object::EndpointSlice(slice) = &mut fqdn {
        slice.address_type = "FQDN".into();
    }
    assert!(!builder.put(&fqdn));
    assert!(!builder.put(&service("shop/not.a.label", json!({"clusterIP": "10.96.0.1"}))));
    assert!(!builder.remove("Node", "", "n"));
}

/// A Service in a namespace that is not exposed does not exist, forward or reverse (1.1).
#[test]
fn what_is_not_exposed_does_not_exist() {
    let objects = || {
        let labelled = |object| match object {
            portolan::objects::Object::Service(mut service) => {
                service.metadata.labels.insert("public".into(), "yes".into());
                portolan::objects::Object::Service(service)
            }
            other => other,
        };
        [
            service("shop/web", json!({"clusterIP": "10.96.0.1"})),
            labelled(service("shop/api", json!({"clusterIP": "10.96.0.2"}))),
            service("data/db", json!({"clusterIP": "None"})),
            slice("data/db/s", http(80), json!([ready("10.0.0.1")])),
            service("nowhere/x", json!({"clusterIP": "10.96.0.3"})),
            namespace("shop", json!({"team": "a"})),
        ]
    };
    let check = |builder, expected: [bool; 4]| {
        let snapshot = publish(builder, objects());
        let names = ["web.shop.svc", "api.shop.svc", "db.data.svc", "data.svc"];
        for (name, expected) in names.into_iter().zip(expected) {
            assert_eq!(look(&snapshot, name) != "missing", expected, "{name}");
        }
        assert_eq!(!names_of(&snapshot, "10.96.0.1"), expected[0]);
        assert_eq!(!names_of(&snapshot, "10.0.0.1"), expected[2]);
        assert_eq!(look(&snapshot, "x.nowhere.svc"), "missing");
    };
    fn names_of(snapshot: &portolan::zone::Snapshot, address: &str) -> bool {
        names(snapshot, address).is_empty()
    }
    check(builder(), [true, true, true, true]);
    check(with(|o| o.namespaces = vec!["shop".into()]), [true, true, false, false]);
    check(with(|o| o.namespace_labels = selector("team")), [true, true, false, false]);
    check(with(|o| o.labels = selector("public")), [false, true, false, true]);
}

#[test]
fn a_namespace_may_lose_its_label() {
    let mut builder = with(|options| options.namespace_labels = selector("team"));
    builder.put(&service("shop/web", json!({"clusterIP": "10.96.0.1"})));
    builder.put(&namespace("shop", json!({"team": "a"})));
    let before = builder.publish(Default::default(), 1);
    builder.put(&namespace("shop", json!({})));
    let after = builder.publish(Default::default(), 2);
    assert_eq!(
        (look(&before, "web.shop.svc"), look(&after, "web.shop.svc")),
        ("service 10.96.0.1".into(), "missing".into())
    );
    assert_eq!(names(&before, "10.96.0.1"), ["web.shop.svc"], "a snapshot never changes");
    assert_eq!(names(&after, "10.96.0.1"), [""; 0]);
}

/// Section 1.6.
#[test]
fn names_of_pods() {
    let status = |phase: &str, ips: &[&str]| {
        let ips: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        json!({"phase": phase, "podIPs": ips, "podIP": ips[0]["ip"]})
    };
    let mut leaving = pod("shop/term", status("Running", &["10.244.1.11"]));
    if let portolan::objects::Object::Pod(pod) = &mut leaving {
        pod.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".parse().unwrap());
    }
    let objects = || {
        [
            pod("data/db-0", status("Running", &["10.244.1.30", "fd00:244:1::30"])),
            pod("shop/done", status("Succeeded", &["10.244.9.9"])),
            pod("shop/host", status("Running", &["192.168.10.5"])),
            pod("shop/old", json!({"podIP": "10.244.1.12"})),
            leaving.clone(),
        ]
    };
    let ranges = PodNames::Ranges(vec!["10.244.0.0/16".parse().unwrap()]);
    for (mode, expected) in [
        (PodNames::Disabled, [false, false, false, false, false, false, false, false]),
        (PodNames::Insecure, [true, true, true, true, true, true, true, true]),
        (PodNames::Verified, [true, true, true, false, false, false, true, true]),
        (ranges, [true, true, false, true, true, true, false, true]),
    ] {
        let disabled = mode == PodNames::Disabled;
        let snapshot = publish(with(|options| options.pods = mode.clone()), objects());
        let asked = [
            ("shop", "empty"),
            ("10-244-1-30.data", "pod 10.244.1.30"),
            ("fd00-244-1--30.data", "pod fd00:244:1::30"),
            ("10-244-1-30.shop", "pod 10.244.1.30"),
            ("10-244-9-9.shop", "pod 10.244.9.9"),
            ("10-244-1-11.shop", "pod 10.244.1.11"),
            ("192-168-10-5.shop", "pod 192.168.10.5"),
            ("10-244-1-12.shop", "pod 10.244.1.12"),
        ];
        for ((name, found), expected) in asked.into_iter().zip(expected) {
            let expected = if expected { found } else { "missing" };
            assert_eq!(look(&snapshot, &format!("{name}.pod")), expected, "{mode:?} {name}");
        }
        for name in ["nope", "10-244-1-30.nope", "x.10-244-1-30.data", "01-2-3-4.shop", "db-0.data"] {
            assert_eq!(look(&snapshot, &format!("{name}.pod")), "missing", "{mode:?} {name}");
        }
        assert_eq!(look(&snapshot, "pod"), "empty", "{disabled}");
    }
}

#[test]
fn an_address_that_pods_share_stays_until_the_last_of_them_ends() {
    let mut builder = with(|options| options.pods = PodNames::Verified);
    let host = |name: &str, phase: &str| pod(name, json!({"phase": phase, "podIP": "192.168.10.5"}));
    builder.put(&host("shop/a", "Running"));
    builder.put(&host("shop/b", "Running"));
    builder.put(&host("shop/a", "Succeeded"));
    assert_eq!(look(&builder.publish(Default::default(), 1), "192-168-10-5.shop.pod"), "pod 192.168.10.5");
    builder.remove("Pod", "shop", "b");
    assert_eq!(look(&builder.publish(Default::default(), 2), "192-168-10-5.shop.pod"), "missing");
}
