//! Names, as DNS answers for them.

use super::{Cause, Verdict, assert_told, manifests, question, scene};
use crate::explain::{Explanation, NameAnswer, Outcome, Resolution, explain};

/// Service shop/web without a cluster IP; Pods web-1 and web-2 have names of their own below it.
fn headless() -> String {
    let named = |name: &str| format!("spec:\n  hostname: {name}\n  subdomain: web\n  nodeName:");
    let text = manifests(&[("clusterIP: 10.96.0.1", "clusterIP: None")]);
    let name = |document: &str| match document {
        one if one.contains("name: web-1") => one.replace("spec:\n  nodeName:", &named("web-1")),
        two if two.contains("name: web-2") => two.replace("spec:\n  nodeName:", &named("web-2")),
        other => other.to_owned(),
    };
    text.split_inclusive("---\n").map(name).collect()
}

fn ask(text: &str, from: Option<&str>, target: &str, name: &str, answer: NameAnswer, tried: &[&str]) -> Explanation {
    let tried = tried.iter().map(|name| format!("{name}. A NXDOMAIN")).collect();
    let resolution =
        Resolution { name: name.to_owned(), domain: "cluster.local".to_owned(), answer, tried, steps: Vec::new() };
    let question = crate::explain::Question { resolution: Some(resolution), ..question(from, target) };
    explain(&question, &scene(text, "node-1"), None).unwrap()
}

fn forwarded() -> NameAnswer {
    NameAnswer::Forwarded(vec!["/etc/resolv.conf".to_owned()], None)
}

#[test]
fn names_of_pods_that_do_not_exist() {
    let not_ready = headless().replacen("status: \"True\"", "status: \"False\"", 1);
    let no_subdomain = headless().replacen("subdomain: web", "subdomain: wbe", 1);
    let whole = |pod: &str| format!("{pod}.web.shop.svc.cluster.local");
    let cases: [(&str, String, &str, Cause, &[&str]); 4] = [
        ("not ready", not_ready.clone(), "web-1", Cause::NotReady, &["Pod shop/web-1 is not ready"]),
        ("misspelt", headless(), "wbe-1", Cause::NoSuchService, &["is web-1 meant?"]),
        ("no such", headless(), "db", Cause::NoSuchService, &["web-1, web-2"]),
        ("another subdomain", no_subdomain, "web-1", Cause::NoSuchService, &["has spec.subdomain wbe, not web"]),
    ];
    for (about, text, pod, cause, words) in cases {
        let told = ask(&text, None, &format!("{}:8080", whole(pod)), &whole(pod), NameAnswer::Nothing, &[]);
        assert_told(about, &told, Verdict::Fails, Some(cause), words);
        assert_eq!(told.prediction.outcome, Outcome::NoAddress);
        // The same by a search list, after which the name is left to others.
        let short = format!("{pod}.web");
        let tried = [&*format!("{short}.shop.svc.cluster.local"), &format!("{short}.svc.cluster.local")];
        let told = ask(&text, Some("shop/client"), &format!("{short}:8080"), &short, forwarded(), &tried);
        assert_told(about, &told, Verdict::Fails, Some(cause), words);
    }
    let tried = ["web-1.wbe.shop.svc.cluster.local"];
    let told = ask(&headless(), None, "web-1.wbe.shop:8080", "web-1.wbe.shop", forwarded(), &tried);
    assert_told("the Service misspelt", &told, Verdict::Fails, Some(Cause::NoSuchService), &["is shop/web meant?"]);
    let told =
        ask(&manifests(&[]), None, "web-1.web.shop.svc.cluster.local:80", &whole("web-1"), NameAnswer::Nothing, &[]);
    assert_told("a cluster IP", &told, Verdict::Fails, Some(Cause::NoSuchService), &["has a cluster IP"]);
    let tried = ["www.example.com.shop.svc.cluster.local", "www.example.com.svc.cluster.local"];
    let told = ask(&headless(), None, "www.example.com:80", "www.example.com", forwarded(), &tried);
    assert_told("the world", &told, Verdict::Works, None, &["a server of /etc/resolv.conf"]);
}

#[test]
fn the_name_of_one_pod_leads_to_that_one() {
    let address = NameAnswer::Addresses(vec!["10.244.1.11".parse().unwrap()]);
    let name = "web-1.web.shop.svc.cluster.local";
    let told = ask(&headless(), None, &format!("{name}:8080"), name, address, &[]);
    assert_told("one", &told, Verdict::Works, None, &["1 ready endpoint: 10.244.1.11:8080"]);
    assert!(!told.sentence.contains("10.244.2.11"), "{}", told.sentence);
}

#[test]
fn the_host_does_not_ask_the_clusters_dns() {
    let text = manifests(&[]);
    for (target, name) in [("web:80", "web"), ("web.shop:80", "web.shop")] {
        let told = ask(&text, Some("host"), target, name, forwarded(), &[]);
        let words = ["no search list", "10.96.0.1"];
        assert_told(target, &told, Verdict::Fails, Some(Cause::NoSuchService), &words);
        assert!(!told.sentence.contains("use the name"), "{}", told.sentence);
    }
    let name = "web.shop.svc.cluster.local";
    let address = || NameAnswer::Addresses(vec!["10.96.0.1".parse().unwrap()]);
    let told = ask(&text, Some("host"), &format!("{name}:80"), name, address(), &[]);
    assert_told(
        "in full",
        &told,
        Verdict::WorksBut,
        Some(Cause::ClusterOnly),
        &["only the cluster's DNS", "10.96.0.1"],
    );
    let told = ask(&text, Some("shop/client"), &format!("{name}:80"), name, address(), &[]);
    assert_told("a pod", &told, Verdict::Works, None, &[]);
}

#[test]
fn names_that_the_cluster_has_not() {
    let text = manifests(&[]);
    let name = "web.shop.cluster.local";
    let told = ask(&text, None, &format!("{name}:80"), name, NameAnswer::Nothing, &[]);
    let words = ["svc is missing", "web.shop.svc.cluster.local"];
    assert_told("no svc", &told, Verdict::Fails, Some(Cause::NoSuchService), &words);
    for node in ["node-3", "NODE-1", "node1"] {
        let told = ask(&text, None, &format!("{node}:30080"), node, forwarded(), &[]);
        assert_told(node, &told, Verdict::Fails, Some(Cause::NoSuchService), &["no node", "is node-"]);
    }
    let told = ask(&text, None, "node-1.:22", "node-1", forwarded(), &[]);
    assert_eq!(told.prediction.frontend.unwrap().to_string(), "192.168.49.11:22/TCP", "a complete name of a node");
}

#[test]
fn aliases_are_followed_inside_the_cluster() {
    let alias = |of: &str| {
        let service = "kind: Service\nmetadata: {name: db, namespace: shop}\nspec: {type: ExternalName, externalName: ";
        format!("{}---\n{service}{of}}}\n", manifests(&[]))
    };
    let told = |of: &str, target: &str| super::ask(&alias(of), Some("shop/client"), target).unwrap();
    let inside = told("web.shop.svc.cluster.local", "shop/db:80");
    assert_told("inside", &inside, Verdict::Works, None, &["10.96.0.1:80/TCP"]);
    let port = told("web.shop.svc.cluster.local", "shop/db:81");
    assert_told("port", &port, Verdict::Fails, Some(Cause::NoSuchPort), &["shop/web has no port 81"]);
    let missing = told("wbe.shop.svc.cluster.local", "shop/db:80");
    let words = ["shop/db is an alias", "no Service shop/wbe", "is shop/web meant?"];
    assert_told("missing", &missing, Verdict::Fails, Some(Cause::NoSuchService), &words);
    let itself = told("db.shop.svc.cluster.local", "shop/db:80");
    assert_told("itself", &itself, Verdict::Fails, Some(Cause::ExternalName), &["leads back"]);
    let address = told("192.0.2.7", "shop/db:80");
    assert_told("an address", &address, Verdict::Fails, Some(Cause::ExternalName), &["192.0.2.7"]);
}
