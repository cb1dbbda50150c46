use portolan::{objects::Object, zone::Found};
use serde_json::json;

use crate::make::*;

fn headless(path: &str) -> Object {
    service(path, json!({"clusterIP": "None", "ports": http(80)}))
}

/// Section 1.4.
#[test]
fn only_ready_endpoints_are_there() {
    let condition = |address: &str, conditions| json!({"addresses": [address], "conditions": conditions});
    let endpoints = json!([
        condition("10.0.0.1", json!({"ready": true})),
        condition("10.0.0.2", json!({"ready": null})),
        condition("10.0.0.3", json!({"ready": false, "serving": true})),
        condition("10.0.0.4", json!({"ready": true, "serving": false, "terminating": true})),
        condition("nonsense", json!({"ready": true})),
    ]);
    let unready = json!([condition("10.0.0.9", json!({"ready": false}))]);
    let snapshot = publish(
        builder(),
        [
            headless("data/cache"),
            slice("data/cache/c-1", http(6379), endpoints.clone()),
            headless("data/empty"),
            slice("data/empty/e-1", http(80), unready.clone()),
            headless("data/nosel"),
            service("data/vip", json!({"clusterIP": "10.96.0.1", "ports": http(80)})),
            slice("data/vip/v-1", http(80), unready),
        ],
    );
    assert_eq!(look(&snapshot, "cache.data.svc"), "service 10.0.0.1 10.0.0.2 10.0.0.4");
    assert_eq!(look(&snapshot, "10-0-0-3.cache.data.svc"), "missing");
    assert_eq!(names(&snapshot, "10.0.0.3"), [""; 0]);
    for missing in ["empty", "10-0-0-9.empty", "_tcp.empty", "_http._tcp.empty", "nosel", "10-0-0-9.vip"] {
        assert_eq!(look(&snapshot, &format!("{missing}.data.svc")), "missing", "{missing}");
    }
    assert_eq!(look(&snapshot, "vip.data.svc"), "service 10.96.0.1");
}

#[test]
fn services_without_endpoints_can_be_left_out() {
    let objects = || {
        let alias = json!({"type": "ExternalName", "externalName": "a.example"});
        let web = json!({"clusterIP": "10.96.0.1", "ports": http(80)});
        [
            service("shop/none", json!({"clusterIP": "10.96.0.2"})),
            service("shop/web", web),
            slice("shop/web/w", http(80), json!([ready("10.0.0.1")])),
            service("shop/alias", alias),
            headless("shop/hl"),
            slice("shop/hl/h", http(80), json!([ready("10.0.0.1")])),
        ]
    };
    let snapshot = publish(with(|options| options.ignore_empty_service = true), objects());
    assert_eq!(look(&snapshot, "none.shop.svc"), "missing");
    assert_eq!(names(&snapshot, "10.96.0.2"), [""; 0]);
    assert_eq!(look(&snapshot, "web.shop.svc"), "service 10.96.0.1");
    assert_eq!(look(&snapshot, "alias.shop.svc"), "service ");
    assert_eq!(look(&snapshot, "hl.shop.svc"), "service 10.0.0.1");

    let snapshot = publish(with(|options| options.no_endpoints = true), objects());
    assert_eq!(look(&snapshot, "web.shop.svc"), "service 10.96.0.1");
    assert_eq!(look(&snapshot, "none.shop.svc"), "service 10.96.0.2");
    assert_eq!(look(&snapshot, "hl.shop.svc"), "missing");
    assert_eq!(look(&snapshot, "10-0-0-1.web.shop.svc"), "missing");
    assert_eq!(names(&snapshot, "10.0.0.1"), [""; 0]);
}

/// Weights count pairs of address and port before they are merged (1.3).
#[test]
fn srv_records_of_endpoints() {
    let two = json!([{"name": "pg", "port": 5432}, {"name": "repl", "port": 5433}]);
    let v4 = json!([hosted("10.0.1.30", "db-0"), hosted("10.0.2.30", "db-1")]);
    let v6 = json!([hosted("fd00:1::30", "db-0"), hosted("fd00:2::30", "db-1")]);
    let many: Vec<_> = (0..300).map(|n| ready(&format!("10.1.{}.{}", n / 250, n % 250))).collect();
    let snapshot = publish(
        builder(),
        [
            headless("data/db"),
            slice("data/db/a", two.clone(), v4),
            slice("data/db/b", two, v6),
            headless("data/cache"),
            slice("data/cache/a", http(6379), json!([ready("10.0.0.1"), ready("10.0.0.2")])),
            slice("data/cache/b", http(6379), json!([ready("10.0.0.2"), ready("10.0.0.3")])),
            headless("data/twin"),
            slice("data/twin/a", http(9), json!([hosted("10.0.1.70", "twin"), hosted("10.0.2.70", "twin")])),
            headless("data/portless"),
            slice("data/portless/a", json!([]), json!([ready("10.0.0.60")])),
            headless("data/big"),
            slice("data/big/a", http(80), many.into()),
            headless("data/odd"),
            slice("data/odd/a", http(80), json!([hosted("10.0.0.7", "x")])),
            slice(
                "data/odd/b",
                json!([{"name": "http", "port": 80}, {"name": "m", "port": 81}]),
                json!([hosted("10.0.0.8", "x")]),
            ),
        ],
    );
    assert_eq!(srv(&snapshot, "db.data.svc"), "12 db-0:5432 db-0:5433 db-1:5432 db-1:5433");
    assert_eq!(srv(&snapshot, "_pg._tcp.db.data.svc"), "25 db-0:5432 db-1:5432");
    assert_eq!(srv(&snapshot, "db-0.db.data.svc"), "25 db-0:5432 db-0:5433");
    assert_eq!(srv(&snapshot, "10-0-1-30.db.data.svc"), "50 db-0:5432 db-0:5433");
    assert_eq!(look(&snapshot, "db-0.db.data.svc"), "endpoint 10.0.1.30 fd00:1::30");
    assert_eq!(look(&snapshot, "10-0-1-30.db.data.svc"), "endpoint 10.0.1.30");
    assert_eq!(look(&snapshot, "cache.data.svc"), "service 10.0.0.1 10.0.0.2 10.0.0.3");
    assert_eq!(srv(&snapshot, "_http._tcp.cache.data.svc"), "25 10-0-0-1:6379 10-0-0-2:6379 10-0-0-3:6379");
    assert_eq!(srv(&snapshot, "_http._tcp.twin.data.svc"), "50 twin:9");
    assert_eq!(look(&snapshot, "twin.twin.data.svc"), "endpoint 10.0.1.70 10.0.2.70");
    assert_eq!(look(&snapshot, "portless.data.svc"), "service 10.0.0.60");
    assert_eq!(srv(&snapshot, "portless.data.svc"), "none");
    assert_eq!(srv(&snapshot, "10-0-0-60.portless.data.svc"), "none");
    assert!(srv(&snapshot, "big.data.svc").starts_with("1 10-1-0-0:80 "));
    // Same name and port from two slices: one record. The second slice has one port more.
    assert_eq!(srv(&snapshot, "odd.data.svc"), "33 x:80 x:81");
    assert_eq!(srv(&snapshot, "_http._tcp.odd.data.svc"), "50 x:80");
    assert_eq!(srv(&snapshot, "_m._tcp.odd.data.svc"), "100 x:81");
    let Found::Service(cache) = snapshot.find(&wire("cache.data.svc")) else { panic!() };
    assert_eq!(cache.slices_of("10.0.0.2".parse().unwrap()).collect::<Vec<_>>(), ["cache-a", "cache-b"]);
}

/// Section 1.5.
#[test]
fn names_of_endpoints() {
    let endpoints = || {
        let mut custom = of_pod("10.244.2.80", "pod-b");
        custom["hostname"] = json!("custom-b");
        json!([
            of_pod("10.244.1.80", "pod-a"),
            custom,
            of_pod("10.244.3.80", &"p".repeat(64)),
            of_pod("10.244.4.80", "pod.c")
        ])
    };
    let objects = || {
        let six = json!([ready("fd00:244:6::"), ready("fd00:244:6::1:a")]);
        [
            headless("shop/hl"),
            slice("shop/hl/a", http(80), endpoints()),
            headless("shop/six"),
            slice("shop/six/a", http(80), six),
        ]
    };
    let check = |builder, canonical: &str, expected: [&str; 6]| {
        let snapshot = publish(builder, objects());
        assert_eq!(srv(&snapshot, "hl.shop.svc"), canonical);
        let asked = ["pod-a", "10-244-1-80", "custom-b", "pod-b", "10-244-2-80", &"p".repeat(64)];
        for (name, expected) in asked.into_iter().zip(expected) {
            assert_eq!(look(&snapshot, &format!("{name}.hl.shop.svc")), expected, "{name}");
        }
        assert_eq!(look(&snapshot, "fd00-244-6--0.six.shop.svc"), "endpoint fd00:244:6::");
        assert_eq!(look(&snapshot, "fd00-244-6--1-a.six.shop.svc"), "endpoint fd00:244:6::1:a");
    };
    let (a, b) = ("endpoint 10.244.1.80", "endpoint 10.244.2.80");
    let dashed = "25 10-244-1-80:80 10-244-3-80:80 10-244-4-80:80 custom-b:80";
    let pods = "25 10-244-3-80:80 10-244-4-80:80 custom-b:80 pod-a:80";
    check(builder(), dashed, [a, a, b, b, b, "missing"]);
    check(with(|o| o.endpoint_pod_names = true), pods, [a, a, b, b, b, "missing"]);
    let canonical = |o: &mut portolan::config::dns::KubernetesOptions| o.endpoint_aliases = false;
    check(with(canonical), dashed, ["missing", a, b, "missing", "missing", "missing"]);
    let both = with(|o| (o.endpoint_pod_names, o.endpoint_aliases) = (true, false));
    check(both, pods, [a, "missing", b, "missing", "missing", "missing"]);
}

#[test]
fn a_host_name_is_not_mixed_with_what_others_are_called() {
    let endpoints = || json!([hosted("10.0.0.1", "db-0"), of_pod("10.0.0.2", "db-0"), of_pod("10.0.0.3", "10-0-0-2")]);
    for pod_names in [false, true] {
        let objects = [headless("data/db"), slice("data/db/a", http(80), endpoints())];
        let snapshot = publish(with(|options| options.endpoint_pod_names = pod_names), objects);
        assert_eq!(look(&snapshot, "db-0.db.data.svc"), "endpoint 10.0.0.1");
    }
    let objects = [headless("data/db"), slice("data/db/a", http(80), endpoints())];
    // What leads to an endpoint leads to its address, whatever another Pod is called.
    let snapshot = publish(builder(), objects);
    assert_eq!(srv(&snapshot, "db.data.svc"), "33 10-0-0-2:80 10-0-0-3:80 db-0:80");
    assert_eq!(look(&snapshot, "10-0-0-2.db.data.svc"), "endpoint 10.0.0.2");
}
