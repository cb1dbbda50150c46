//! What follows from objects alone.

use super::{Cause, Verdict, ask, assert_told, manifests};
use crate::explain::{Explanation, Outcome};

pub(super) const READY: &str = "conditions: [{type: Ready, status: \"True\"}]";
pub(super) const NOT_READY: &str = "conditions: [{type: Ready, status: \"False\"}]";
pub(super) const NODE_PORT: [(&str, &str); 2] =
    [("type: ClusterIP", "type: NodePort"), ("port: 80,", "port: 80, nodePort: 30080,")];
pub(super) const LOCAL: (&str, &str) = ("  type: NodePort", "  externalTrafficPolicy: Local\n  type: NodePort");

/// Changes of the cluster, the cause that they make, and words of the sentence.
type Changed = (&'static str, Vec<(&'static str, &'static str)>, Cause, &'static [&'static str]);

/// The cluster without Pod web-2.
fn without_web_2() -> String {
    let text = manifests(&[]);
    text.split_inclusive("---\n").filter(|document| !document.contains("name: web-2")).collect()
}

pub(super) fn balancer(more: &str) -> String {
    let spec = format!("  {more}\n  type: LoadBalancer");
    let status = "- {name: http, port: 80, nodePort: 30080, targetPort: http}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.127}]}}";
    manifests(&[("  type: ClusterIP", &spec), ("  - {name: http, port: 80, targetPort: http}", &format!("  {status}"))])
}

fn told(changes: &[(&str, &str)], from: Option<&str>, target: &str) -> Explanation {
    ask(&manifests(changes), from, target).unwrap()
}

#[test]
fn what_is_healthy_claims_nothing() {
    let node_port = manifests(&NODE_PORT);
    let outside = Some("203.0.113.9");
    let cases = [
        ("a pod", manifests(&[]), Some("shop/client"), "shop/web:80"),
        ("some pod", manifests(&[]), None, "10.96.0.1:80"),
        ("the host", manifests(&[]), Some("host"), "shop/web:80"),
        ("an endpoint that asks itself", without_web_2(), Some("shop/web-1"), "shop/web:80"),
        ("a node port", node_port.clone(), None, "node-1:30080"),
        ("that of the other node", node_port.clone(), outside, "192.168.49.12:30080"),
        ("a node port from a pod", node_port, Some("shop/client"), "192.168.49.11:30080"),
        ("a load balancer", balancer("sessionAffinity: ClientIP"), outside, "192.0.2.127:80"),
        ("in range", balancer("loadBalancerSourceRanges: [203.0.113.0/24]"), outside, "192.0.2.127:80"),
        (
            "ranges do not concern node ports",
            balancer("loadBalancerSourceRanges: [10.0.0.0/8]"),
            outside,
            "node-1:30080",
        ),
        ("everybody is let in", balancer("loadBalancerSourceRanges: [0.0.0.0/0]"), None, "192.0.2.127:80"),
    ];
    for (about, text, from, target) in cases {
        let told = ask(&text, from, target).unwrap();
        assert_told(about, &told, Verdict::Works, None, &["10.244."]);
        assert_eq!(told.prediction.outcome, Outcome::Answered, "{about}");
    }
}

#[test]
fn who_sees_whose_address() {
    let hidden = |text: &str, from: &str, target: &str| ask(text, Some(from), target).unwrap().prediction.hidden;
    let (plain, node_port) = (manifests(&[]), manifests(&NODE_PORT));
    assert!(!hidden(&plain, "shop/client", "shop/web:80"));
    assert!(hidden(&plain, "host", "shop/web:80"));
    assert!(hidden(&without_web_2(), "shop/web-1", "shop/web:80"), "hairpin");
    assert!(hidden(&node_port, "203.0.113.9", "node-1:30080"));
    let local = manifests(&[NODE_PORT[0], NODE_PORT[1], LOCAL]);
    assert!(!hidden(&local, "203.0.113.9", "node-1:30080"));
    assert!(hidden(&local, "host", "node-1:30080"));
}

#[test]
fn nobody_to_serve() {
    let cases: [Changed; 11] = [
        (
            "value",
            vec![("selector: {app: web}", "selector: {app: wbe}")],
            Cause::SelectorMatchesNothing,
            &["app=wbe", "Pod shop/web-1 has app=web"],
        ),
        (
            "one label more",
            vec![("selector: {app: web}", "selector: {app: web, tier: front}")],
            Cause::SelectorMatchesNothing,
            &["lacks the label tier=front"],
        ),
        (
            "key",
            vec![("selector: {app: web}", "selector: {aap: web}")],
            Cause::SelectorMatchesNothing,
            &["Pod shop/web-1 has app=web"],
        ),
        (
            "namespace",
            vec![
                ("name: web-1\n  namespace: shop", "name: web-1\n  namespace: other"),
                ("name: web-2\n  namespace: shop", "name: web-2\n  namespace: other"),
            ],
            Cause::SelectorMatchesNothing,
            &["Pod other/web-1 matches, but is in namespace other"],
        ),
        ("target port", vec![("targetPort: http", "targetPort: htpt")], Cause::TargetPortName, &["\"htpt\"", "'http'"]),
        ("not ready", vec![(READY, NOT_READY)], Cause::NotReady, &["no ready endpoints", "web-1", "web-2"]),
        (
            "pending",
            vec![("  podIP: 10.244.1.11\n", ""), ("  podIP: 10.244.2.11\n", ""), ("Running", "Pending")],
            Cause::PodsNotRunning,
            &["web-1, Pending"],
        ),
        ("failed", vec![("Running", "Failed")], Cause::PodsNotRunning, &["web-1, Failed"]),
        (
            "leaving",
            vec![
                (READY, NOT_READY),
                ("labels: {app: web}", "labels: {app: web}\n  deletionTimestamp: \"2026-01-01T00:00:00Z\""),
            ],
            Cause::Terminating,
            &["web-1"],
        ),
        (
            "other family",
            vec![("10.244.1.11", "fd00::11"), ("10.244.2.11", "fd00::12")],
            Cause::EndpointFamily,
            &["IPv6", "web-1"],
        ),
        (
            "no selector",
            vec![("  selector: {app: web}\n", ""), ("targetPort: http", "targetPort: 8080")],
            Cause::NoEndpointsObject,
            &["shop/web"],
        ),
    ];
    for (about, changes, cause, words) in cases {
        let told = told(&changes, None, "shop/web:80");
        assert_told(about, &told, Verdict::Fails, Some(cause), words);
        assert_eq!(told.prediction.outcome, Outcome::Refused, "{about}");
        assert!(told.sentence.contains("10.96.0.1:80/TCP are refused"), "{about}: {}", told.sentence);
    }
}

#[test]
fn ports_and_addresses_that_are_none() {
    let cases: [(&str, &str, Cause, Outcome, &[&str]); 8] = [
        ("target port", "shop/web:8080", Cause::NoSuchPort, Outcome::Refused, &["has no port 8080", "http 80/TCP"]),
        ("by address", "10.96.0.1:8080", Cause::NoSuchPort, Outcome::Refused, &["8080"]),
        ("protocol", "10.96.0.1:80/UDP", Cause::OtherProtocol, Outcome::Refused, &["TCP, not for UDP"]),
        ("name", "shop/wbe:80", Cause::NoSuchService, Outcome::NoAddress, &["is shop/web meant"]),
        ("namespace", "other/web:80", Cause::OtherNamespace, Outcome::NoAddress, &["but shop/web", "web.shop"]),
        ("short name", "web:80", Cause::OtherNamespace, Outcome::NoAddress, &["web.shop"]),
        ("service network", "10.96.7.7:80", Cause::NoSuchService, Outcome::Dropped, &["10.96.7.7", "10.96.0.0/16"]),
        ("node port", "node-1:30081", Cause::NoSuchService, Outcome::Passed, &["30081"]),
    ];
    for (about, target, cause, outcome, words) in cases {
        let told = told(&[], None, target);
        assert_told(about, &told, Verdict::Fails, Some(cause), words);
        assert_eq!(told.prediction.outcome, outcome, "{about}");
    }
    let told = told(&NODE_PORT, Some("host"), "localhost:30080");
    assert_told("loopback", &told, Verdict::Fails, Some(Cause::Loopback), &["192.168.49.11:30080"]);
}

#[test]
fn nobody_on_this_node() {
    let internal = manifests(&[
        ("  type:", "  internalTrafficPolicy: Local\n  type:"),
        ("nodeName: node-1\n  containers", "nodeName: node-2\n  containers"),
    ]);
    let told = ask(&internal, Some("shop/client"), "shop/web:80").unwrap();
    let words = ["no endpoint on this node (node-1)", "internalTrafficPolicy: Local", "node-2", "dropped"];
    assert_told("internal", &told, Verdict::Fails, Some(Cause::NoLocalEndpoint), &words);
    assert_eq!(told.prediction.outcome, Outcome::Dropped);

    let external = manifests(&[
        NODE_PORT[0],
        NODE_PORT[1],
        LOCAL,
        ("nodeName: node-1\n  containers", "nodeName: node-2\n  containers"),
    ]);
    let outside = ask(&external, None, "node-1:30080").unwrap();
    let words = ["no endpoint on this node (node-1)", "externalTrafficPolicy: Local", "node-2"];
    assert_told("external", &outside, Verdict::Fails, Some(Cause::NoLocalEndpointExternal), &words);
    let elsewhere = ask(&external, None, "node-2:30080").unwrap();
    assert_told("where it is", &elsewhere, Verdict::Works, None, &["192.168.49.12:30080"]);
    let pod = ask(&external, Some("shop/client"), "node-1:30080").unwrap();
    assert_told("from a pod", &pod, Verdict::WorksBut, Some(Cause::NoLocalEndpointExternal), &["outside the cluster"]);
    let cluster_ip = ask(&external, Some("shop/client"), "shop/web:80").unwrap();
    assert_told("the cluster IP", &cluster_ip, Verdict::Works, None, &[]);
}

#[test]
fn what_is_to_be_known_although_it_works() {
    let one_not_ready = manifests(&[]).replacen(READY, NOT_READY, 1);
    let told_one = ask(&one_not_ready, None, "shop/web:80").unwrap();
    assert_told("one", &told_one, Verdict::WorksBut, Some(Cause::SomeNotReady), &["1 of 2", "web-1"]);
    let leaving = ("labels: {app: web}", "labels: {app: web}\n  deletionTimestamp: \"2026-01-01T00:00:00Z\"");
    let told_leaving = told(&[leaving], None, "shop/web:80");
    assert_told("leaving", &told_leaving, Verdict::WorksBut, Some(Cause::LastResort), &["terminating", "web-1"]);
    let told_pending = told(&[("type: ClusterIP", "type: LoadBalancer")], None, "shop/web:80");
    assert_told(
        "pending",
        &told_pending,
        Verdict::WorksBut,
        Some(Cause::AddressPending),
        &["no load balancer provider"],
    );
    let number = told(&[("targetPort: http", "targetPort: 8081")], None, "shop/web:80");
    assert_told("number", &number, Verdict::Fails, Some(Cause::TargetPortNotDeclared), &["8081", "http 8080"]);
}

#[test]
fn who_may_come() {
    let text = balancer("loadBalancerSourceRanges: [203.0.113.0/24]");
    for from in ["198.51.100.1", "shop/client", "host"] {
        let told = ask(&text, Some(from), "192.0.2.127:80").unwrap();
        assert_told(
            from,
            &told,
            Verdict::Fails,
            Some(Cause::SourceRange),
            &["203.0.113.0/24", "loadBalancerSourceRanges"],
        );
        assert_eq!(told.prediction.outcome, Outcome::Dropped);
    }
}

#[test]
fn kinds_of_service() {
    let other = told(
        &[(
            "namespace: shop, creation",
            "namespace: shop, labels: {service.kubernetes.io/service-proxy-name: cilium}, creation",
        )],
        None,
        "shop/web:80",
    );
    assert_told("other proxy", &other, Verdict::Fails, Some(Cause::OtherProxy), &["cilium"]);
    let alias = told(
        &[("type: ClusterIP\n  clusterIP: 10.96.0.1", "type: ExternalName\n  externalName: db.example.com")],
        None,
        "shop/web:80",
    );
    assert_told("alias", &alias, Verdict::WorksBut, Some(Cause::ExternalName), &["db.example.com", "data plane"]);
    assert_eq!(alias.prediction.outcome, Outcome::Passed);
    let headless = [("clusterIP: 10.96.0.1", "clusterIP: None")];
    let wrong = told(&headless, None, "shop/web:80");
    assert_told("headless", &wrong, Verdict::Fails, Some(Cause::Headless), &["8080"]);
    let right = told(&headless, None, "shop/web:8080");
    assert_told("headless", &right, Verdict::Works, None, &["headless", "10.244.1.11:8080", "10.244.2.11:8080"]);
    let invalid = told(&[("name: http, port: 80", "name: HTTP, port: 80")], None, "shop/web:80");
    assert_told("invalid", &invalid, Verdict::Fails, Some(Cause::Invalid), &["HTTP"]);
}

#[test]
fn two_services_want_one_address() {
    let text = manifests(&[("  type:", "  externalIPs: [198.51.100.7]\n  type:")]);
    let young = text
        .split_inclusive("---\n")
        .nth(2)
        .unwrap()
        .replace("name: web", "name: young")
        .replace("10.96.0.1", "10.96.0.2")
        .replace("2024", "2025");
    let text = format!("{text}---\n{young}");
    let loser = ask(&text, Some("203.0.113.9"), "shop/young:80").unwrap();
    assert_told("loser", &loser, Verdict::Fails, Some(Cause::FrontendTaken), &["198.51.100.7:80", "shop/web"]);
    let winner = ask(&text, Some("203.0.113.9"), "198.51.100.7:80").unwrap();
    assert_told("winner", &winner, Verdict::WorksBut, Some(Cause::FrontendTaken), &["shop/young"]);
    let cluster_ip = ask(&text, None, "shop/web:80").unwrap();
    assert_told("another frontend of the winner", &cluster_ip, Verdict::Works, None, &[]);
}
