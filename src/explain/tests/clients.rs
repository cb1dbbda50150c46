//! Who asks, and which node decides for them.

use super::{
    Cause, Verdict, ask, assert_told, deciding_node, manifests,
    objects::{LOCAL, NODE_PORT, balancer},
    question, scene,
};
use crate::explain::Outcome;

const OTHER_NODE_ONLY: (&str, &str) = ("nodeName: node-1\n  containers", "nodeName: node-2\n  containers");
const THIS_NODE_ONLY: (&str, &str) = ("nodeName: node-2\n  containers", "nodeName: node-1\n  containers");

#[test]
fn a_process_of_this_node_is_an_outsider_to_another() {
    let text = manifests(&[NODE_PORT[0], NODE_PORT[1], LOCAL, THIS_NODE_ONLY]);
    for target in ["node-2:30080", "192.168.49.12:30080"] {
        let told = ask(&text, Some("host"), target).unwrap();
        assert_told(target, &told, Verdict::Fails, Some(Cause::NoLocalEndpointExternal), &["node-2"]);
        assert_eq!(told.prediction.outcome, Outcome::Dropped);
    }
    let own = ask(&text, Some("host"), "node-1:30080").unwrap();
    assert_told("its own", &own, Verdict::Works, None, &[]);
}

#[test]
fn the_node_of_a_client_is_known_by_its_address() {
    let text = manifests(&[("  type:", "  internalTrafficPolicy: Local\n  type:"), OTHER_NODE_ONLY]);
    for from in ["192.168.49.12", "10.244.2.77"] {
        let told = ask(&text, Some(from), "10.96.0.1:80").unwrap();
        assert_told(from, &told, Verdict::Works, None, &["10.244.2.11:8080"]);
    }
    let here = ask(&text, Some("10.244.1.77"), "10.96.0.1:80").unwrap();
    assert_told("here", &here, Verdict::Fails, Some(Cause::NoLocalEndpoint), &["node-1"]);
}

#[test]
fn an_address_of_the_pods_is_a_pods() {
    let text = manifests(&[("type: ClusterIP", "type: LoadBalancer")]);
    for from in ["10.244.1.77", "10.244.9.9", "192.168.49.12"] {
        let told = ask(&text, Some(from), "shop/web:80").unwrap();
        let text = told.steps.iter().map(|step| step.text.as_str()).collect::<Vec<_>>().join("\n");
        assert!(!text.contains("outside the cluster ("), "{from}: {text}");
        assert_eq!(told.prediction.outcome, Outcome::Answered, "{from}: {}", told.sentence);
        assert_eq!(told.prediction.frontend.map(|f| f.to_string()).as_deref(), Some("10.96.0.1:80/TCP"), "{from}");
    }
}

#[test]
fn rules_of_the_clients_node_come_first() {
    let text = balancer("sessionAffinity: None").replace("192.0.2.127", "192.168.49.12");
    let decides = |from| deciding_node(&question(Some(from), "192.168.49.12:80"), &scene(&text, "node-1"));
    assert_eq!(decides("shop/client"), None);
    assert_eq!(decides("host"), None);
    assert_eq!(decides("203.0.113.9").as_deref(), Some("node-2"));
}

#[test]
fn a_pod_outside_the_pods_range() {
    let stray = ("podIP: 10.244.1.20", "podIP: 10.245.1.20");
    let told = ask(&manifests(&[stray]), Some("shop/client"), "shop/web:80").unwrap();
    assert_told("it is hidden", &told, Verdict::WorksBut, Some(Cause::PodRange), &["10.244.0.0/16", "--cluster-cidr"]);
    let local = manifests(&[NODE_PORT[0], NODE_PORT[1], LOCAL, OTHER_NODE_ONLY, stray]);
    let told = ask(&local, Some("shop/client"), "node-1:30080").unwrap();
    assert_told("it is dropped", &told, Verdict::Fails, Some(Cause::PodRange), &["10.245.1.20", "--cluster-cidr"]);
}

#[test]
fn somebody_outside_and_addresses_for_the_inside() {
    for target in ["shop/web:80", "10.96.0.1:80"] {
        let told = ask(&manifests(&[]), Some("203.0.113.9"), target).unwrap();
        assert_told(target, &told, Verdict::WorksBut, Some(Cause::ClusterOnly), &["seldom"]);
        assert_eq!(told.prediction.outcome, Outcome::Answered);
    }
    let headless = manifests(&[("clusterIP: 10.96.0.1", "clusterIP: None")]);
    let told = ask(&headless, Some("203.0.113.9"), "shop/web:8080").unwrap();
    assert_told("headless", &told, Verdict::WorksBut, Some(Cause::ClusterOnly), &["seldom"]);
}

#[test]
fn nobody_says_who_asks_where_that_matters() {
    let text = balancer("loadBalancerSourceRanges: [198.51.100.0/24]");
    let told = ask(&text, None, "192.0.2.127:80").unwrap();
    assert_told("ranges", &told, Verdict::WorksBut, Some(Cause::SourceRange), &["only for clients", "198.51.100.0/24"]);
}

#[test]
fn pods_that_have_ended() {
    let ended = manifests(&[(
        "labels: {app: web}\nspec:\n  nodeName: node-1",
        "labels: {app: old}\nspec:\n  nodeName: node-1",
    )]);
    let ended = ended.replacen("phase: Running", "phase: Failed", 1);
    let told = ask(&ended, None, "10.244.1.11:8080").unwrap();
    assert_told("its address", &told, Verdict::Fails, Some(Cause::PodsNotRunning), &["web-1", "Failed"]);
    let reused = ended.replace("10.244.1.20", "10.244.1.11");
    let told = ask(&reused, None, "10.244.1.11:8080").unwrap();
    assert_told("another has it", &told, Verdict::Works, None, &["shop/client"]);
    for (from, to, word) in
        [("phase: Running", "phase: Succeeded", "ended"), ("  podIP: 10.244.1.20\n", "", "no address")]
    {
        let (head, client) =
            manifests(&[]).rsplit_once("---\n").map(|(h, c)| (h.to_owned(), format!("{c}\n"))).unwrap();
        assert!(client.contains(from), "{client}");
        let told =
            ask(&format!("{head}---\n{}", client.replace(from, to)), Some("shop/client"), "shop/web:80").unwrap();
        assert_told(word, &told, Verdict::WorksBut, Some(Cause::PodsNotRunning), &[word, "shop/client"]);
    }
}

#[test]
fn what_was_refused_or_left_to_others_is_known_by_its_address() {
    let wrong = balancer("loadBalancerSourceRanges: [198.51.100.0/33]");
    let other = balancer("sessionAffinity: None").replace(
        "namespace: shop, creation",
        "namespace: shop, labels: {service.kubernetes.io/service-proxy-name: cilium}, creation",
    );
    for target in ["10.96.0.1:80", "192.0.2.127:80", "node-1:30080"] {
        let told = ask(&wrong, None, target).unwrap();
        assert_told(target, &told, Verdict::Fails, Some(Cause::Invalid), &["shop/web is refused", "198.51.100.0/33"]);
        let told = ask(&other, None, target).unwrap();
        assert_told(target, &told, Verdict::Fails, Some(Cause::OtherProxy), &["shop/web", "another proxy"]);
    }
}
