//! Scenarios 17 to 21, and every resolver's way to ask.

use std::net::Ipv4Addr;

use crate::town::{DATABASE, Town, WEB, can_run};

#[test]
fn pods_use_names_of_every_kind() {
    if !can_run("pods_use_names_of_every_kind") {
        return;
    }
    let town = Town::build();
    every_resolver_finds_the_names(&town);
    records_that_only_dig_can_show(&town);
    an_alias_follows_its_target(&town);
    a_headless_service_shows_its_ready_pods(&town);
    cluster_names_stay_in_the_cluster(&town);
}

/// Scenarios 17, 19, 20 and 21 as programs see them.
fn every_resolver_finds_the_names(town: &Town) {
    let database = DATABASE.to_string();
    let web = WEB.to_string();
    let cases: &[(&str, &str, &str, &[&str])] = &[
        // Scenario 20: Services, in full and by the search path
        ("default", "client", "kubia.default.svc.cluster.local", &["10.96.1.1"]),
        ("default", "client", "kubia", &["10.96.1.1"]),
        ("shop", "visitor", "kubia", &["10.96.1.2"]),
        ("shop", "visitor", "kubia.default", &["10.96.1.1"]),
        ("default", "client", "kubia.shop.svc", &["10.96.1.2"]),
        ("shop", "visitor", "headless1", &[]),
        // and pods
        ("default", "client", "10-244-1-11.default.pod.cluster.local", &["10.244.1.11"]),
        ("default", "client", "20-109-5-11.shop.pod.cluster.local", &["20.109.5.11"]),
        // Scenario 18
        ("default", "client", "headless1", &["10.244.1.13", "10.244.2.13"]),
        // Scenario 19
        ("default", "client", "pod-a.headless1", &["10.244.1.13"]),
        ("shop", "visitor", "pod-b.headless1.default.svc.cluster.local", &["10.244.2.13"]),
        ("shop", "visitor", "pod-b.headless1", &[]),
        // Scenario 17
        ("default", "client", "external-database", &[&database]),
        // Scenario 21
        ("default", "client", "www.example.com", &[&web]),
        ("shop", "visitor", "www.example.com.", &[&web]),
        ("default", "client", "nobody.example.com", &[]),
        ("default", "client", "nobody", &[]),
    ];
    for (namespace, pod, name, expected) in cases {
        assert_eq!(town.glibc(namespace, pod, name), *expected, "glibc in {namespace}: {name}\n{}", town.logs());
        assert_eq!(town.musl(namespace, pod, name), *expected, "musl in {namespace}: {name}\n{}", town.logs());
    }
}

fn records_that_only_dig_can_show(town: &Town) {
    let cases: &[(&[&str], &[&str])] = &[
        (&["external-database", "CNAME"], &["my.database.example.com."]),
        (&["_http._tcp.kubia", "SRV"], &["0 100 80 kubia.default.svc.cluster.local."]),
        (
            &["_http._tcp.headless1", "SRV"],
            &[
                "0 50 8080 pod-a.headless1.default.svc.cluster.local.",
                "0 50 8080 pod-b.headless1.default.svc.cluster.local.",
            ],
        ),
        (&["-x", "10.96.1.1"], &["kubia.default.svc.cluster.local."]),
        (&["-x", "10.244.1.13"], &["pod-a.headless1.default.svc.cluster.local."]),
        (&["+tcp", "kubia", "A"], &["10.96.1.1"]),
        (&["dns-version.cluster.local", "TXT"], &["\"1.1.0\""]),
        (&["kubia", "AAAA"], &[]),
    ];
    for (words, expected) in cases {
        assert_eq!(town.dig("default", "client", words), *expected, "dig {words:?}\n{}", town.logs());
    }
}

/// Scenario 17: when the target's address changes upstream, the answer follows.
fn an_alias_follows_its_target(town: &Town) {
    let moved = Ipv4Addr::new(203, 0, 113, 11);
    town.upstream.set("my.database.example.com", moved);
    town.eventually("the alias has the new address", || {
        town.glibc("default", "client", "external-database") == [moved.to_string()]
    });
    town.upstream.set("my.database.example.com", DATABASE);
}

/// Scenario 18: a pod that is not ready is not among the answers.
fn a_headless_service_shows_its_ready_pods(town: &Town) {
    let ready = "  podIPs:\n  - ip: 10.244.2.13\n";
    let not_ready = format!("{ready}  conditions:\n  - {{type: Ready, status: \"False\"}}\n");
    town.change(|text| text.replace(ready, &not_ready));
    town.eventually("only the ready pod is there", || town.glibc("default", "client", "headless1") == ["10.244.1.13"]);
    assert_eq!(town.glibc("default", "client", "pod-b.headless1"), [""; 0]);
    town.change(|text| text.replace(&not_ready, ready));
    town.eventually("both pods are there again", || town.glibc("default", "client", "headless1").len() == 2);
}

/// Scenario 21: upstream was asked for names of the world, and for nothing of the cluster.
fn cluster_names_stay_in_the_cluster(town: &Town) {
    let asked = town.upstream.asked();
    for name in ["www.example.com", "my.database.example.com", "nobody.example.com"] {
        assert!(asked.iter().any(|a| a == name), "{name} was asked for: {asked:?}");
    }
    let leaked: Vec<&String> = asked.iter().filter(|name| name.ends_with("cluster.local")).collect();
    assert!(leaked.is_empty(), "went upstream: {leaked:?}");
}
