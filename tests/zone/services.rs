use portolan::zone::{Found, Kind};
use serde_json::json;

use crate::make::*;

/// Section 1.2, row by row.
#[test]
fn the_tree_of_names() {
    let ports = json!([{"name": "http", "port": 80}, {"protocol": "UDP", "port": 53}]);
    let snapshot = publish(
        builder(),
        [
            service("shop/web", json!({"clusterIP": "10.96.20.1", "ports": ports})),
            slice("shop/web/web-1", http(8080), json!([ready("10.244.1.10")])),
            service("data/db", json!({"clusterIP": "None", "ports": [{"name": "pg", "port": 5432}]})),
            slice("data/db/db-1", json!([{"name": "repl", "port": 5433}]), json!([hosted("10.244.1.30", "db-0")])),
        ],
    );
    for (name, expected) in [
        ("", "apex"),
        ("dns-version", "version"),
        ("dns", "empty"),
        ("ns.dns", "name server"),
        ("svc", "empty"),
        ("pod", "empty"),
        ("nope", "missing"),
        ("shop.svc", "empty"),
        ("nope.svc", "missing"),
        ("shop.pod", "missing"),
        ("shop.foo", "missing"),
        ("web.shop.svc", "service 10.96.20.1"),
        ("shop.web.svc", "missing"),
        ("web.shop.svc.svc", "missing"),
        ("*.shop.svc", "missing"),
        ("any.shop.svc", "missing"),
        ("10-244-1-10.web.shop.svc", "endpoint 10.244.1.10"),
        ("_tcp.web.shop.svc", "empty"),
        // Its only port has no name.
        ("_udp.web.shop.svc", "missing"),
        ("_sctp.web.shop.svc", "missing"),
        ("_http._tcp.web.shop.svc", "port http Tcp"),
        ("_http._udp.web.shop.svc", "missing"),
        ("http.tcp.web.shop.svc", "missing"),
        ("_80._tcp.web.shop.svc", "missing"),
        ("x._http._tcp.web.shop.svc", "missing"),
        ("_http._tcp.10-244-1-10.web.shop.svc", "missing"),
        ("a.b.c.d.e.f.svc", "missing"),
        ("db.data.svc", "service 10.244.1.30"),
        ("db-0.db.data.svc", "endpoint 10.244.1.30"),
        // The ports of a headless Service are those of its slices.
        ("_pg._tcp.db.data.svc", "missing"),
        ("_repl._tcp.db.data.svc", "port repl Tcp"),
    ] {
        assert_eq!(look(&snapshot, name), expected, "{name}");
    }
    for broken in [&b"\x05web"[..], b"\x00", b"\xff", b"\x03web\x04shop\x03svc\x00"] {
        assert!(matches!(snapshot.find(broken), Found::Missing), "{broken:?}");
    }
}

#[test]
fn as_coredns_has_the_tree() {
    let web = json!({"clusterIP": "10.96.20.1", "ports": http(80)});
    let objects =
        [service("shop/web", web), slice("shop/web/web-1", http(8080), json!([of_pod("10.244.1.10", "web-a")]))];
    let snapshot = publish(with(|options| options.compat = true), objects);
    for (name, expected) in [
        ("dns", "missing"),
        ("_tcp.web.shop.svc", "missing"),
        ("http.tcp.web.shop.svc", "port http Tcp"),
        ("_http._tcp.web.shop.svc", "port http Tcp"),
        ("10-244-1-10.web.shop.svc", "endpoint 10.244.1.10"),
        ("web-a.web.shop.svc", "missing"),
    ] {
        assert_eq!(look(&snapshot, name), expected, "{name}");
    }
}

#[test]
fn a_service_has_its_cluster_ips_and_nothing_else() {
    let ips = json!({"type": "LoadBalancer", "clusterIP": "10.96.20.2", "clusterIPs": ["fd00:96::22", "10.96.20.2"],
        "externalIPs": ["198.51.100.50"], "loadBalancerIP": "198.51.100.51"});
    let pending = json!({"type": "LoadBalancer", "ports": http(80)});
    let snapshot = publish(
        builder(),
        [
            service("shop/api", ips),
            service("shop/old", json!({"clusterIP": "10.96.20.3"})),
            service("shop/six", json!({"clusterIP": "fd00:96::33"})),
            service("shop/pending", pending.clone()),
            service("shop/empty-ip", json!({"clusterIP": ""})),
            slice("shop/pending/p", http(8080), json!([ready("10.244.9.9")])),
        ],
    );
    assert_eq!(look(&snapshot, "api.shop.svc"), "service 10.96.20.2 fd00:96::22");
    assert_eq!(look(&snapshot, "old.shop.svc"), "service 10.96.20.3");
    assert_eq!(look(&snapshot, "six.shop.svc"), "service fd00:96::33");
    assert_eq!(look(&snapshot, "pending.shop.svc"), "missing");
    assert_eq!(look(&snapshot, "10-244-9-9.pending.shop.svc"), "missing");
    assert_eq!(look(&snapshot, "empty-ip.shop.svc"), "missing");
    assert_eq!(names(&snapshot, "10.244.9.9"), [""; 0]);
    assert_eq!(names(&snapshot, "198.51.100.50"), [""; 0]);
}

/// Weights and ports of 1.3.
#[test]
fn srv_records_of_a_service() {
    let dual = json!({"clusterIPs": ["10.96.20.2", "fd00:96::22"], "ports": [{"name": "grpc", "port": 9000}]});
    let dns = json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53},
        {"name": "metrics", "port": 9153}]);
    let snapshot = publish(
        builder(),
        [
            service(
                "shop/web",
                json!({"clusterIP": "10.96.20.1", "ports": [{"port": 80}, {"name": "s", "port": 443}]}),
            ),
            service("shop/api", dual),
            service("shop/dns", json!({"clusterIP": "10.96.20.9", "ports": dns})),
            slice("shop/web/web-1", http(8080), json!([ready("10.244.1.10")])),
        ],
    );
    assert_eq!(srv(&snapshot, "web.shop.svc"), "50 @:80 @:443");
    assert_eq!(srv(&snapshot, "_s._tcp.web.shop.svc"), "100 @:443");
    assert_eq!(srv(&snapshot, "_grpc._tcp.api.shop.svc"), "50 @:9000");
    // Two ports of one number are one record, and count as two.
    assert_eq!(srv(&snapshot, "dns.shop.svc"), "33 @:53 @:9153");
    assert_eq!(srv(&snapshot, "10-244-1-10.web.shop.svc"), "100 10-244-1-10:8080");
}

#[test]
fn an_alias_wins_over_everything_and_nothing_stands_below() {
    let alias = |name: &str| {
        json!({"type": "ExternalName", "externalName": name, "clusterIP": "10.96.1.1",
        "ports": http(80)})
    };
    let targets = [("mixed", "API.Partner.Example"), ("dot", "alias.edge.svc.cluster.local."), ("ip", "192.0.2.7")];
    let more = [("six", "fd00::1"), ("none", ""), ("root", "."), ("bad", "a..b")];
    let objects = targets.iter().chain(&more).map(|(name, to)| service(&format!("shop/{name}"), alias(to)));
    let endpoints = slice("shop/mixed/m", http(8080), json!([ready("10.244.1.10")]));
    let snapshot = publish(builder(), objects.chain([endpoints]));
    for (name, target) in [("mixed", "API.Partner.Example"), ("dot", "alias.edge.svc.cluster.local")] {
        let Found::Service(service) = snapshot.find(&wire(&format!("{name}.shop.svc"))) else { panic!("{name}") };
        let Kind::Alias(found) = service.kind() else { panic!("{name}") };
        assert_eq!(found.to_string(), target);
        assert_eq!((service.v4(), service.v6()), (&[][..], &[][..]));
    }
    assert_eq!(srv(&snapshot, "mixed.shop.svc"), "none");
    for missing in ["ip", "six", "none", "root", "bad", "10-244-1-10.mixed", "_tcp.mixed", "_http._tcp.mixed"] {
        assert_eq!(look(&snapshot, &format!("{missing}.shop.svc")), "missing", "{missing}");
    }
    assert_eq!(names(&snapshot, "10.96.1.1"), [""; 0]);
    assert_eq!(names(&snapshot, "10.244.1.10"), [""; 0]);
}

#[test]
fn who_the_name_server_is() {
    let dns = json!({"clusterIPs": ["fd00:96::a", "10.96.0.10"]});
    let nobody = publish(builder(), []);
    assert_eq!((text(&nobody.name_server().wire()), nobody.dns_addresses()), ("ns.dns".into(), &[][..]));

    let there = publish(builder(), [service("kube-system/kube-dns", dns.clone())]);
    assert_eq!(text(&there.name_server().wire()), "kube-dns.kube-system.svc");
    assert_eq!(join(there.dns_addresses(), &[""; 0]), "10.96.0.10 fd00:96::a");

    // Its name is not exposed; its addresses are those of the zone's name server all the same.
    let hidden = with(|options| options.namespaces = vec!["shop".into()]);
    let hidden = publish(hidden, [service("kube-system/kube-dns", dns)]);
    assert_eq!(text(&hidden.name_server().wire()), "ns.dns");
    assert_eq!(join(hidden.dns_addresses(), &[""; 0]), "10.96.0.10 fd00:96::a");
    assert_eq!(look(&hidden, "kube-dns.kube-system.svc"), "missing");
}
