//! Endpoints that are not there, not used, or not what they seem.

use super::{
    Cause, Verdict, ask, assert_told, manifests,
    objects::{LOCAL, NODE_PORT, NOT_READY, READY},
};
use crate::explain::{Explanation, Outcome};

const PORTS: &str = "{name: web, ports: [{name: http, containerPort: 8080}]}";

fn told(changes: &[(&str, &str)], from: Option<&str>, target: &str) -> Explanation {
    ask(&manifests(changes), from, target).unwrap()
}

fn steps(told: &Explanation) -> String {
    told.steps.iter().map(|step| step.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// The Service without a selector, and one more object.
fn by_hand(more: &str) -> Explanation {
    let text = manifests(&[("  selector: {app: web}\n", ""), ("targetPort: http", "targetPort: 8080")]);
    ask(&format!("{text}\n---\n{more}"), None, "shop/web:80").unwrap()
}

fn slice(meta: &str, rest: &str) -> String {
    let ports = "ports: [{name: http, port: 8080}]";
    format!("kind: EndpointSlice\nmetadata: {{{meta}}}\naddressType: IPv4\n{ports}\n{rest}\n")
}

#[test]
fn declarations_are_only_words() {
    let number = ("targetPort: http", "targetPort: 8081");
    let works: [(&str, &str); 2] = [
        ("one that declares nothing", "{name: web}\n  - {name: proxy, ports: [{containerPort: 15090}]}"),
        ("nobody declares anything", "{name: web}"),
    ];
    for (about, containers) in works {
        assert_told(about, &told(&[number, (PORTS, containers)], None, "shop/web:80"), Verdict::Works, None, &[]);
    }
    let known = Some(Cause::TargetPortNotDeclared);
    let udp = "{name: web, ports: [{containerPort: 8081, protocol: UDP}]}";
    let told_udp = told(&[number, (PORTS, udp)], None, "shop/web:80");
    assert_told("for another protocol", &told_udp, Verdict::Works, None, &[]);
    assert!(steps(&told_udp).contains("declares for TCP (it declares 8081/UDP)"), "{}", steps(&told_udp));
    let metrics = "{name: web, ports: [{name: metrics, containerPort: 9102}]}";
    let aside = told(&[number, (PORTS, metrics)], None, "shop/web:80");
    assert_told("only what stands aside", &aside, Verdict::WorksBut, known, &["8081", "perhaps"]);
    assert_told(
        "others",
        &told(&[number], None, "shop/web:80"),
        Verdict::Fails,
        known,
        &["8081", "probably", "http 8080"],
    );
}

#[test]
fn one_that_has_the_port_and_is_not_ready() {
    let text = manifests(&[]).replacen(READY, NOT_READY, 1);
    let (head, tail) = text.rsplit_once("{name: http, containerPort").unwrap();
    let told = ask(&format!("{head}{{name: htpt, containerPort{tail}"), None, "shop/web:80").unwrap();
    assert_told("web-1", &told, Verdict::Fails, Some(Cause::NotReady), &["web-1", "besides, not every Pod", "htpt"]);
}

#[test]
fn what_the_endpoint_sees_is_said_as_it_is_predicted() {
    let alone = |text: String| -> String {
        text.split_inclusive("---\n").filter(|document| !document.contains("name: web-2")).collect()
    };
    let hairpin = ask(&alone(manifests(&[])), Some("shop/web-1"), "shop/web:80").unwrap();
    assert!(hairpin.prediction.hidden && hairpin.sentence.contains("hidden"), "{}", hairpin.sentence);
    let of_node = ("  nodeName: node-1\n  containers", "  nodeName: node-1\n  hostNetwork: true\n  containers");
    let of_node = manifests(&[NODE_PORT[0], NODE_PORT[1], of_node, ("10.244.1.11", "192.168.49.11")]);
    let of_node = ask(&alone(of_node), None, "node-1:30080").unwrap();
    assert!(!of_node.prediction.hidden && of_node.sentence.contains("client's own address"), "{}", of_node.sentence);
}

#[test]
fn the_last_resort_of_this_node() {
    let leaving = "labels: {app: web}\n  deletionTimestamp: \"2026-01-01T00:00:00Z\"";
    let text = manifests(&[NODE_PORT[0], NODE_PORT[1], LOCAL]).replacen("labels: {app: web}", leaving, 1);
    let told = ask(&text, None, "node-1:30080").unwrap();
    assert_told("web-2 is ready", &told, Verdict::WorksBut, Some(Cause::LastResort), &["on this node", "web-1"]);
}

#[test]
fn endpoints_made_for_something_else() {
    let label = "labels: {kubernetes.io/service-name: web}";
    let one = "endpoints: [{addresses: [10.244.1.11]}]";
    let subset = "subsets: [{addresses: [{ip: 10.244.1.11}], ports: [{name: http, port: 8080}]}]";
    let cases = [
        (slice("name: web-x, namespace: shop", one), "lacks the label kubernetes.io/service-name"),
        (slice(&format!("name: a, namespace: shop, {}", label.replace(": web", ": wbe")), one), "service-name=wbe"),
        (
            slice(&format!("name: a, namespace: shop, {}", label.replace("service-name", "service-nane")), one),
            "service-nane",
        ),
        (slice(&format!("name: a, namespace: other, {label}"), one), "in namespace other"),
        (slice(&format!("name: a, namespace: shop, {label}"), "endpoints: []"), "has no endpoints"),
        (
            slice(&format!("name: a, namespace: shop, {label}"), one)
                .replace("IPv4", "FQDN")
                .replace("10.244.1.11", "a.example"),
            "FQDN",
        ),
        (format!("kind: Endpoints\nmetadata: {{name: web, namespace: other}}\n{subset}\n"), "in namespace other"),
        (format!("kind: Endpoints\nmetadata: {{name: wbe, namespace: shop}}\n{subset}\n"), "shop/wbe"),
    ];
    for (more, word) in cases {
        assert_told(word, &by_hand(&more), Verdict::Fails, Some(Cause::NoEndpointsObject), &[word]);
    }
}

#[test]
fn hints_that_nobody_follows() {
    let label = "name: a, namespace: shop, labels: {kubernetes.io/service-name: web}";
    let to = |address: &str, hint: &str| match hint {
        "" => format!("{{addresses: [{address}]}}"),
        zone => format!("{{addresses: [{address}], hints: {{forZones: [{{name: {zone}}}]}}}}"),
    };
    for (hints, word) in
        [(["b", "b"], Some("no hint names zone a")), (["a", ""], Some("not every")), (["a", "b"], None)]
    {
        let endpoints = format!("endpoints: [{}, {}]", to("10.244.1.11", hints[0]), to("10.244.2.11", hints[1]));
        let told = by_hand(&slice(label, &endpoints));
        let steps = steps(&told);
        assert_told("hints", &told, Verdict::Works, None, &[]);
        assert_eq!(steps.contains("are ignored"), word.is_some(), "{steps}");
        assert!(word.is_none_or(|word| steps.contains(word)), "{steps}");
    }
}

#[test]
fn pending_addresses_and_what_works_meanwhile() {
    let balancer = ("type: ClusterIP", "type: LoadBalancer");
    let node_port = NODE_PORT[1];
    let outside = Some("203.0.113.9");
    let plain = told(&[balancer, node_port], outside, "shop/web:80");
    assert_told("node port", &plain, Verdict::Fails, Some(Cause::AddressPending), &["meanwhile 192.168.49.11:30080"]);
    let none = ("type: ClusterIP", "type: LoadBalancer\n  allocateLoadBalancerNodePorts: false");
    let local = ("type: ClusterIP", "type: LoadBalancer\n  externalTrafficPolicy: Local");
    let elsewhere = ("nodeName: node-1\n  containers", "nodeName: node-2\n  containers");
    for (about, changes) in
        [("no node port", vec![none]), ("a node port that drops", vec![local, node_port, elsewhere])]
    {
        for from in [outside, None] {
            let told = told(&changes, from, "shop/web:80");
            assert!(told.sentence.contains("pending"), "{about}: {}", told.sentence);
            assert!(!told.sentence.contains("meanwhile"), "{about}: {}", told.sentence);
        }
    }
}

#[test]
fn sentences() {
    let pending = [("  podIP: 10.244.1.11\n", ""), ("  podIP: 10.244.2.11\n", ""), ("Running", "Pending")];
    let waiting = told(&pending, None, "shop/web:80");
    let words =
        ["because none of the 2 Pods that Service shop/web selects has an address yet: Pod shop/web-1, Pending"];
    assert_told("waiting", &waiting, Verdict::Fails, Some(Cause::PodsNotRunning), &words);
    let one = ask(&manifests(&[]).replacen(READY, NOT_READY, 1), None, "shop/web:80").unwrap();
    assert_told("one", &one, Verdict::WorksBut, Some(Cause::SomeNotReady), &["kubectl -n shop describe pod web-1"]);
    let both = told(&[(READY, NOT_READY)], None, "shop/web:80");
    assert_told(
        "both",
        &both,
        Verdict::Fails,
        Some(Cause::NotReady),
        &["their readiness probes", "describe pod web-1"],
    );
    let published =
        told(&[(READY, NOT_READY), ("  type:", "  publishNotReadyAddresses: true\n  type:")], None, "shop/web:80");
    assert_eq!((published.verdict, published.prediction.outcome), (Verdict::Works, Outcome::Answered));
    assert!(steps(&published).contains("used: not ready, but publishNotReadyAddresses"), "{}", steps(&published));
}

#[test]
fn the_stronger_claim() {
    let service = manifests(&[]).split_inclusive("---\n").nth(2).unwrap().to_owned();
    let thief = service
        .replace("name: web", "name: thief")
        .replace("clusterIP: 10.96.0.1", "clusterIP: 10.96.0.2\n  externalIPs: [10.96.0.1]")
        .replace("2024", "2020");
    let told = ask(&format!("{}\n---\n{thief}", manifests(&[])), Some("203.0.113.9"), "shop/thief:80").unwrap();
    let words = ["belongs to Service shop/web, whose cluster IP it is"];
    assert_told("kind", &told, Verdict::Fails, Some(Cause::FrontendTaken), &words);
}
