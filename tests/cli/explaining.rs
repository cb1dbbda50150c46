//! `explain`: last lines and exit codes.

use std::process::Command;

use serde_json::Value;

use super::sandbox::{PORTOLAN, Ran};

/// Service shop/web with a pod on node-1, one on node-2 and a client.
const MANIFESTS: &str = include_str!("../../src/explain/tests/base.yaml");

struct Cluster(tempfile::TempDir);

impl Cluster {
    /// The cluster, something in it replaced.
    fn new(from: &str, to: &str) -> Self {
        assert!(MANIFESTS.contains(from));
        let folder = tempfile::tempdir().unwrap();
        let text = MANIFESTS.replace(from, to).replace("kind: ", "apiVersion: v1\nkind: ");
        std::fs::write(folder.path().join("all.yaml"), text).unwrap();
        Self(folder)
    }

    fn explain(&self, words: &[&str]) -> Ran {
        let (file, state) = (self.0.path().join("all.yaml"), self.0.path().join("state"));
        let shared = ["-f", file.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
        let node = ["--node", "node-1", "--cluster-cidr", "10.244.0.0/16", "--service-cidr", "10.96.0.0/16"];
        Ran::of(Command::new(PORTOLAN).args([&["explain"], words, &shared, &node].concat()).output().unwrap())
    }

    /// The last line, which the exit code must fit.
    fn sentence(&self, words: &[&str], code: i32) -> String {
        self.explain(words).expect(code).stdout.lines().last().unwrap_or_default().to_owned()
    }
}

#[test]
fn the_last_line_is_the_sentence_and_the_exit_code_fits_it() {
    let healthy = Cluster::new("app: web", "app: web");
    for words in [&["shop/web:80"][..], &["shop/web:80", "--from", "shop/client"], &["10.96.0.1:80", "--from", "host"]]
    {
        let sentence = healthy.sentence(words, 0);
        assert!(
            sentence.starts_with("works: 10.96.0.1:80/TCP of Service shop/web leads to any of 2 endpoints"),
            "{sentence}"
        );
    }
    let misspelt = Cluster::new("selector: {app: web}", "selector: {app: wbe}");
    let sentence = misspelt.sentence(&["shop/web:80"], 1);
    assert!(
        sentence.starts_with("does not work because the selector app=wbe of Service shop/web matches no Pod"),
        "{sentence}"
    );
    let half = Cluster::new(
        "name: web-2\n  namespace: shop\n  labels: {app: web}",
        "name: web-2\n  namespace: shop\n  labels: {app: web}\n  deletionTimestamp: \"2026-01-01T00:00:00Z\"",
    );
    assert!(half.sentence(&["shop/web:80"], 0).starts_with("works: "), "a rolling update is no news");
}

#[test]
fn names_go_along_the_search_list_of_the_client() {
    let cluster = Cluster::new("app: web", "app: web");
    let sentence = cluster.sentence(&["web:80", "--from", "shop/client"], 0);
    assert!(sentence.starts_with("works: 10.96.0.1:80/TCP"), "{sentence}");
    let sentence = cluster.sentence(&["web:80"], 1);
    assert!(
        sentence.contains("no Service web in namespace default, but shop/web: use the name web.shop"),
        "{sentence}"
    );
    assert!(cluster.sentence(&["web.shop.svc.cluster.local:http"], 0).starts_with("works: "));
}

#[test]
fn the_hosts_resolver_has_no_search_list() {
    let cluster = Cluster::new("app: web", "app: web");
    let sentence = cluster.sentence(&["web:80", "--from", "host"], 1);
    assert!(sentence.contains("dial the address of Service shop/web, 10.96.0.1"), "{sentence}");
    let sentence = cluster.sentence(&["web.shop.svc.cluster.local:80", "--from", "host"], 0);
    assert!(sentence.starts_with("works, but web.shop.svc.cluster.local"), "{sentence}");
}

#[test]
fn a_pod_that_is_not_ready_has_no_name_below_its_service() {
    let cluster = Cluster::new("  clusterIP: 10.96.0.1", "  clusterIP: None");
    assert!(cluster.sentence(&["web-1.web.shop:8080"], 0).contains("to 1 ready endpoint: 10.244.1.11:8080"));
    let sentence = cluster.sentence(&["web-3.web.shop:8080"], 1);
    assert!(sentence.contains("there is no name web-3 below headless Service shop/web"), "{sentence}");
}

#[test]
fn another_node_decides_for_its_own_pods_and_node_ports() {
    let cluster = Cluster::new("  type: ClusterIP", "  internalTrafficPolicy: Local\n  type: ClusterIP");
    assert!(cluster.sentence(&["shop/web:80", "--from", "shop/web-2"], 0).contains("10.244.2.11:8080"));
    assert!(cluster.sentence(&["shop/web:80"], 0).contains("10.244.1.11:8080"));
}

#[test]
fn wrong_questions_end_with_2_and_say_why() {
    let cluster = Cluster::new("app: web", "app: web");
    let wrong = [
        (&["shop/web:80", "--from", "shop/clientt"][..], "there is no Pod shop/clientt; is shop/client meant?"),
        (&["192.0.2.7"], "192.0.2.7: say which port"),
        (&["shop/web:http:80"], "is none of NAME:PORT"),
        (&["10.96.0.300:80"], "10.96.0.300 is no IP address"),
    ];
    for (words, reason) in wrong {
        let ran = cluster.explain(words).expect(2);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
    let nothing = Ran::of(Command::new(PORTOLAN).args(["explain", "shop/web:80"]).output().unwrap()).expect(2);
    assert!(nothing.stderr.contains("give manifests with -f"), "{}", nothing.stderr);
}

#[test]
fn json_has_verdict_cause_and_prediction() {
    let cluster = Cluster::new("status: \"True\"", "status: \"False\"");
    let json: Value = serde_json::from_str(&cluster.explain(&["shop/web:80", "-o", "json"]).expect(1).stdout).unwrap();
    assert_eq!((&json["verdict"], &json["cause"]), (&"fails".into(), &"not-ready".into()), "{json}");
    assert_eq!(json["prediction"]["outcome"], "refused");
    assert_eq!(json["prediction"]["frontend"], "10.96.0.1:80/TCP");
    assert!(
        json["steps"].as_array().unwrap().iter().any(|step| step["stage"] == "endpoint" && step["mark"] == "warning")
    );
}
