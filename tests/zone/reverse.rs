//! Section 1.7.

use portolan::{config::dns::PtrNames, zone::State};
use serde_json::json;

use crate::make::*;

#[test]
fn a_cluster_ip_has_one_name_and_an_endpoint_one_for_each_service() {
    let objects = || {
        let hl = json!({"clusterIP": "None"});
        [
            service("shop/web", json!({"clusterIPs": ["10.96.20.1", "fd00:96::1"], "externalIPs": ["198.51.100.50"]})),
            slice("shop/web/w", http(80), json!([ready("10.0.0.1"), ready("10.0.0.2")])),
            service("shop/web-hl", hl.clone()),
            slice("shop/web-hl/h", http(80), json!([ready("10.0.0.1")])),
            slice("shop/web-hl/h2", http(80), json!([ready("10.0.0.1"), ready("10.96.20.1")])),
            service("data/zz", hl.clone()),
            slice("data/zz/z", http(80), json!([hosted("10.0.0.1", "zz-0")])),
            service("data/aa", hl),
            slice("data/aa/z", http(80), json!([hosted("10.0.0.1", "zz-0")])),
        ]
    };
    let snapshot = publish(builder(), objects());
    assert_eq!(names(&snapshot, "10.96.20.1"), ["web.shop.svc"]);
    assert_eq!(names(&snapshot, "fd00:96::1"), ["web.shop.svc"]);
    assert_eq!(names(&snapshot, "198.51.100.50"), [""; 0]);
    assert_eq!(names(&snapshot, "10.0.0.2"), ["10-0-0-2.web.shop.svc"]);
    let hostnames = ["zz-0.aa.data.svc", "zz-0.zz.data.svc"];
    let all = [&hostnames[..], &["10-0-0-1.web.shop.svc", "10-0-0-1.web-hl.shop.svc"]].concat();
    assert_eq!(names(&snapshot, "10.0.0.1"), all);
    let snapshot = publish(with(|options| options.ptr = PtrNames::HostnamePreferred), objects());
    assert_eq!(names(&snapshot, "10.0.0.1"), hostnames);
    assert_eq!(names(&snapshot, "10.0.0.2"), ["10-0-0-2.web.shop.svc"]);
}

#[test]
fn a_pods_name_is_used_if_it_is_canonical_and_never_else() {
    let objects = || {
        let hl = service("shop/hl", json!({"clusterIP": "None"}));
        [hl, slice("shop/hl/h", http(80), json!([of_pod("10.0.0.1", "pod-a")]))]
    };
    assert_eq!(names(&publish(builder(), objects()), "10.0.0.1"), ["10-0-0-1.hl.shop.svc"]);
    let named = publish(with(|options| options.endpoint_pod_names = true), objects());
    assert_eq!(names(&named, "10.0.0.1"), ["pod-a.hl.shop.svc"]);
}

/// Knative gives each of its Services the addresses of its activators.
#[test]
fn many_services_at_one_address_keep_their_order_one_change_at_a_time() {
    let hl = |n: u32| service(&format!("shop/s{n}"), json!({"clusterIP": "None"}));
    let at = |n: u32, endpoint| slice(&format!("shop/s{n}/x"), http(80), json!([endpoint, ready("10.0.0.2")]));
    let mut builder = builder();
    let mut objects = std::collections::BTreeMap::new();
    for n in 0..60 {
        builder.put(&hl(n));
        objects.insert(n, at(n, ready("10.0.0.1")));
        builder.put(&objects[&n]);
    }
    builder.publish(State::Synced, 1);
    for change in 0..40_u32 {
        let n = change * 7 % 60;
        match change % 3 {
            0 => drop(objects.remove(&n)),
            1 => drop(objects.insert(n, at(n, hosted("10.0.0.1", &format!("h-{n}"))))),
            _ => drop(objects.insert(n, at(n, hosted("10.0.0.2", "same")))),
        }
        match objects.get(&n) {
            Some(object) => builder.put(object),
            None => builder.remove("EndpointSlice", "shop", &format!("s{n}-x")),
        };
        let snapshot = builder.publish(State::Synced, 1);
        let fresh = publish(crate::make::builder(), (0..60).map(hl).chain(objects.values().cloned()));
        assert_eq!(snapshot.listing(), fresh.listing(), "change {change}");
        for address in ["10.0.0.1", "10.0.0.2"] {
            let names = names(&snapshot, address);
            let hostnames = names.iter().take_while(|name| name.starts_with(['h', 's'])).count();
            assert!(names[..hostnames].is_sorted() && names[hostnames..].is_sorted(), "{address}: {names:?}");
            assert!(names[hostnames..].iter().all(|name| name.starts_with("10-")), "{address}: {names:?}");
        }
    }
}
