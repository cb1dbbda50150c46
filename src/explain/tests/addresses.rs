//! Addresses, node ports and clients that do not fit together.

use super::{Cause, Verdict, ask, assert_told, manifests};
use crate::explain::{Explanation, Outcome};

const NODE_PORT: [(&str, &str); 2] =
    [("type: ClusterIP", "type: NodePort"), ("port: 80,", "port: 80, nodePort: 30080,")];
const HEADLESS: (&str, &str) = ("clusterIP: 10.96.0.1", "clusterIP: None");

fn told(changes: &[(&str, &str)], from: Option<&str>, target: &str) -> Explanation {
    ask(&manifests(changes), from, target).unwrap()
}

#[test]
fn a_node_port_is_none_of_the_services_own_address() {
    for from in [None, Some("shop/client"), Some("host")] {
        let told = told(&NODE_PORT, from, "shop/web:30080");
        let words = ["30080 is the node port of port 80: dial 80", "192.168.49.11:30080"];
        assert_told("by name", &told, Verdict::Fails, Some(Cause::NoSuchPort), &words);
        assert_eq!(told.prediction.outcome, Outcome::Refused);
    }
    let outside = told(&NODE_PORT, Some("203.0.113.9"), "shop/web:30080");
    assert_told("from outside", &outside, Verdict::Works, None, &["192.168.49.11:30080/TCP"]);
}

#[test]
fn ports_of_a_node_that_are_no_node_ports() {
    let service_port = told(&NODE_PORT, None, "node-1:80");
    let words = ["80 is a port of Service shop/web", "dial 192.168.49.11:30080"];
    assert_told("its port", &service_port, Verdict::Fails, Some(Cause::NoSuchPort), &words);
    let number = [NODE_PORT[0], ("port: 80, targetPort: http", "port: 80, nodePort: 30080, targetPort: 8080")];
    let target = told(&number, None, "node-1:8080");
    assert_told("its target", &target, Verdict::Fails, Some(Cause::NoSuchPort), &["192.168.49.11:30080"]);
    let other = told(&NODE_PORT, None, "node-1:22");
    assert_told("any other", &other, Verdict::WorksBut, Some(Cause::NoSuchService), &["a process of the node"]);
    let of_host = manifests(&[
        ("targetPort: http", "targetPort: 8080"),
        (
            "nodeName: node-1\n  containers:\n  - {name: web",
            "nodeName: node-1\n  hostNetwork: true\n  containers:\n  - {name: web",
        ),
        ("10.244.1.11", "192.168.49.11"),
    ]);
    let own = ask(&of_host, None, "192.168.49.11:8080").unwrap();
    assert_told("an endpoint's", &own, Verdict::Works, None, &["an endpoint of Service shop/web itself"]);
}

#[test]
fn addresses_that_nobody_has() {
    let text = manifests(&[("type: ClusterIP", "type: LoadBalancer")]);
    let pending = ask(&text, None, "192.0.2.127:80").unwrap();
    assert_told("pending", &pending, Verdict::Fails, Some(Cause::AddressPending), &["192.0.2.127", "shop/web"]);
    for target in ["0.0.0.0:80", "255.255.255.255:80", "224.0.0.1:80", "[ff02::1]:80"] {
        let told = told(&[], None, target);
        assert_told(target, &told, Verdict::Fails, Some(Cause::NoSuchService), &["not the address of one machine"]);
    }
    let world = told(&[], None, "198.51.100.1:443");
    assert_told("the world", &world, Verdict::WorksBut, Some(Cause::NoSuchService), &["198.51.100.1"]);
}

#[test]
fn cluster_ips_are_of_the_default_range_if_nobody_says_which() {
    let mut scene = super::scene(&manifests(&[]), "node-1");
    scene.world.service_networks.clear();
    let told = crate::explain::explain(&super::question(None, "10.96.0.99:80"), &scene, None).unwrap();
    assert_told("unsaid", &told, Verdict::Fails, Some(Cause::NoSuchService), &["10.96.0.0/12", "--service-cidr"]);
    assert_eq!(told.prediction.outcome, Outcome::Passed);
}

#[test]
fn clients_outside_seldom_reach_what_is_of_the_cluster() {
    let cluster_ip = told(&[], Some("203.0.113.9"), "shop/web:80");
    assert_told("cluster IP", &cluster_ip, Verdict::WorksBut, Some(Cause::ClusterOnly), &["10.96.0.1"]);
    assert_eq!(cluster_ip.prediction.outcome, Outcome::Answered);
    let headless = told(&[HEADLESS], Some("203.0.113.9"), "shop/web:8080");
    assert_told("headless", &headless, Verdict::WorksBut, Some(Cause::ClusterOnly), &["headless"]);
    let node = told(&[], Some("192.168.49.12"), "shop/web:80");
    assert_told("another node is none", &node, Verdict::Works, None, &[]);
}

#[test]
fn a_port_that_a_headless_service_does_not_name() {
    for target in ["shop/web:9999", "10.244.1.11:9999"] {
        let told = told(&[HEADLESS], None, target);
        assert_eq!((told.verdict, told.prediction.outcome), (Verdict::Fails, Outcome::Refused), "{told:#?}");
        assert!(told.sentence.contains("probably nobody listens"), "{}", told.sentence);
    }
    let silent =
        [HEADLESS, (", ports: [{name: http, containerPort: 8080}]", ""), ("targetPort: http", "targetPort: 8080")];
    let undeclared = told(&silent, None, "shop/web:9999");
    assert_told("undeclared", &undeclared, Verdict::WorksBut, Some(Cause::NoSuchPort), &["no port 9999"]);
    assert_eq!(undeclared.prediction.outcome, Outcome::Answered);
    let none = [HEADLESS, ("  ports:\n  - {name: http, port: 80, targetPort: http}\n", "")];
    let portless = told(&none, None, "shop/web:8080");
    assert_told("without ports", &portless, Verdict::Works, None, &["10.244.1.11:8080", "10.244.2.11:8080"]);
    let missing = ask(&manifests(&none), None, "shop/web").unwrap_err();
    assert_eq!(missing, "Service shop/web has no ports: say which, as shop/web:PORT");
}

#[test]
fn an_address_that_services_share() {
    let text = manifests(&[("  type:", "  externalIPs: [198.51.100.7]\n  type:")]);
    let other = text.split_inclusive("---\n").nth(2).unwrap();
    let other =
        other.replace("name: web,", "name: web2,").replace("10.96.0.1", "10.96.0.2").replace("port: 80,", "port: 81,");
    let text = format!("{text}---\n{other}");
    let told = ask(&text, Some("203.0.113.9"), "198.51.100.7:82").unwrap();
    let words = ["shop/web has http 80/TCP", "shop/web2 has http 81/TCP"];
    assert_told("shared", &told, Verdict::Fails, Some(Cause::NoSuchPort), &words);
}

#[test]
fn loopback_addresses_are_everybodys_own() {
    for (from, target) in [(Some("host"), "[::1]:30080"), (Some("::1"), "127.0.0.1:30080"), (None, "[::1]:30080")] {
        let told = told(&NODE_PORT, from, target);
        assert_told(
            target,
            &told,
            Verdict::Fails,
            Some(Cause::Loopback),
            &["dial an address of the node: 192.168.49.11:30080"],
        );
        assert_eq!(told.prediction.outcome, Outcome::Passed, "{target}");
    }
}

#[test]
fn load_balancers_that_are_no_address() {
    let status = |ingress: &str| {
        let ports = "- {name: http, port: 80, nodePort: 30080, targetPort: http}";
        let text = format!("  {ports}\nstatus: {{loadBalancer: {{ingress: [{ingress}]}}}}");
        manifests(&[
            ("  type: ClusterIP", "  type: LoadBalancer"),
            ("  - {name: http, port: 80, targetPort: http}", &text),
        ])
    };
    for (ingress, name) in
        [("{hostname: lb.example.com}", "lb.example.com"), ("{ip: 192.0.2.127, ipMode: Proxy}", "192.0.2.127")]
    {
        let told = ask(&status(ingress), Some("203.0.113.9"), "shop/web:80").unwrap();
        assert_told(name, &told, Verdict::Works, None, &[name, "192.168.49.11:30080/TCP"]);
    }
}

#[test]
fn a_family_that_fails_leaves_the_other() {
    let order = |first: &str, second: &str, ips: &str| {
        let ips = format!(
            "clusterIP: {first}\n  clusterIPs: [{first}, {second}]\n  ipFamilyPolicy: RequireDualStack\n  ipFamilies: [{ips}]"
        );
        super::scene_with(&manifests(&[("clusterIP: 10.96.0.1", &ips)]), "node-1", &["10.96.0.0/16", "fd00:96::/108"])
    };
    let told = |scene| crate::explain::explain(&super::question(None, "shop/web:80"), &scene, None).unwrap();
    let second = told(order("\"fd00:96::1\"", "10.96.0.1", "IPv6, IPv4"));
    let words = ["IPv6", "[fd00:96::1]:80/TCP"];
    assert_told("the second works", &second, Verdict::WorksBut, Some(Cause::EndpointFamily), &words);
    assert_eq!(second.prediction.frontend.unwrap().to_string(), "10.96.0.1:80/TCP");
    let first = told(order("10.96.0.1", "\"fd00:96::1\"", "IPv4, IPv6"));
    assert_told("the first works", &first, Verdict::Works, None, &["10.96.0.1:80/TCP"]);
    assert!(first.steps.iter().any(|step| step.text.contains("fd00:96::1")), "{first:#?}");
}
