//! `portolan explain --live` beside the agent, with its arguments, its credentials and no more rights than its container has.

use std::net::IpAddr;

use portolan::{
    kernel::nft,
    lab::{Namespace, in_namespace},
    model::{Family, Protocol},
};
use serde_json::{Value, json};

use crate::{
    chart::{self, NODE},
    cluster::command_in,
    support::{Cluster, SHOP, TARGET_PORT, becomes, cluster_ip, comes_to, frontend, is_served},
};

const PODS: [(&str, u8); 3] = [("web-1", 1), ("web-2", 2), ("guest", 1)];

/// What it says, and its exit code.
struct Told {
    code: Option<i32>,
    answer: Value,
    error: String,
}

impl Told {
    fn sentence(&self) -> &str {
        self.answer["sentence"].as_str().unwrap_or(&self.error)
    }

    /// The texts of the steps with this mark.
    fn marked(&self, mark: &str) -> Vec<&str> {
        let steps = self.answer["steps"].as_array().into_iter().flatten();
        steps.filter(|step| step["mark"] == mark).filter_map(|step| step["text"].as_str()).collect()
    }
}

/// Asks on node-1 as `kubectl exec` would: with the environment of the agent's container, and with its rights.
fn explain(cluster: &Cluster, arguments: &[&str]) -> Told {
    let node = cluster.lab.node("node-1").unwrap();
    let mut command = command_in(&node, "setpriv");
    command.args(["--bounding-set", "-all,+net_admin", "--inh-caps", "-all", env!("CARGO_BIN_EXE_portolan")]);
    command.args(["explain", "--live", "-o", "json"]).args(arguments);
    command.arg("--kubeconfig").arg(cluster.api.portolan_kubeconfig());
    command.envs(chart::PLAIN.environment("DaemonSet", NODE, &cluster.api.folder().join("node-1"), "node-1"));
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    Told { code: output.status.code(), answer: serde_json::from_slice(&output.stdout).unwrap_or_default(), error }
}

/// Has the kernel of a node remember a client of a Service for another endpoint than it does, whatever that is.
fn remember(node: &Namespace, client: IpAddr, endpoint: IpAddr) {
    let of_port = |end: &str, value: String| {
        let map = format!("element ip portolan affinity-{SHOP}/sticky/tcp/tcp-{end}");
        format!("delete {map} {{ {client} }}\nadd {map} {{ {client} timeout 600s : {value} }}\n")
    };
    let text = of_port("address", endpoint.to_string()) + &of_port("port", TARGET_PORT.to_string());
    in_namespace(node, || nft::run(&text, false, "remember a client")).unwrap().unwrap();
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn what_the_agents_container_can_say_of_a_service() {
    let Some(mut cluster) = Cluster::start("what_the_agents_container_can_say_of_a_service", &PODS) else { return };
    let mut portolan = cluster.portolan(1);
    let (guest, node) = (cluster.pod("guest"), cluster.lab.node("node-1").unwrap());
    let at = |service: &Value| frontend(cluster_ip(service, Family::V4), Protocol::Tcp, 80);
    let web = cluster.expose("web", json!({"selector": {"app": "web"}}), &["web-1", "web-2"]);
    cluster.expose("nothing", json!({"selector": {"app": "nobody"}}), &[]);
    let sticky = cluster.expose("sticky", json!({"sessionAffinity": "ClientIP"}), &["web-2"]);
    is_served(&guest, at(&web), &["web-1", "web-2"]);
    is_served(&guest, at(&sticky), &["web-2"]);
    cluster.rules_become_right(1);

    let told = explain(&cluster, &["shop/web:80"]);
    assert_eq!((told.code, &told.answer["verdict"]), (Some(0), &json!("works")), "{:#}{}", told.answer, told.error);
    assert!(["Pod shop/web-1 on node-1", "Pod shop/web-2 on node-2"].iter().all(|pod| told.sentence().contains(pod)));
    assert!(!told.marked("unknown").iter().any(|text| text.contains("Pods")), "{:#}", told.answer);
    assert!(told.marked("good").iter().any(|text| text.starts_with("the agent runs")), "{:#}", told.answer);
    // Who asks cannot be looked up, and is believed.
    let told = explain(&cluster, &["--from", "shop/guest", "shop/web:80"]);
    assert_eq!(told.code, Some(0), "{:#}{}", told.answer, told.error);
    assert!(told.answer["steps"][0]["text"].as_str().unwrap().contains("Pods may not be listed"), "{:#}", told.answer);
    let told = explain(&cluster, &["--from", "shop/web-2", "shop/web:80"]);
    assert!(told.error.contains("node-2 decides"), "{}", told.error);

    let told = explain(&cluster, &["shop/nothing:80"]);
    assert_eq!((told.code, &told.answer["cause"]), (Some(1), &json!("selector-matches-nothing")), "{:#}", told.answer);
    let unknown = told.marked("unknown");
    assert!(unknown.iter().any(|text| text.starts_with("Pods may not be listed (forbidden)")), "{:#}", told.answer);

    // A client that somebody pins to what is no endpoint does go there, and that is said.
    let pinned = |to: IpAddr| {
        remember(&node, cluster.pod_address("guest", Family::V4), to);
        let told =
            explain(&cluster, &["--from", &cluster.pod_address("guest", Family::V4).to_string(), "shop/sticky:80"]);
        assert_eq!(told.answer["cause"], "stale-affinity", "{:#}{}", told.answer, told.error);
        assert!(told.sentence().contains(&format!("{to}:{TARGET_PORT}")), "{}", told.sentence());
        told
    };
    let told = pinned(cluster.pod_address("web-1", Family::V4));
    is_served(&guest, at(&sticky), &["web-1"]);
    assert_eq!((told.code, &told.answer["verdict"]), (Some(0), &json!("works-but")), "{:#}", told.answer);
    let told = pinned([10, 244, 1, 200].into());
    comes_to(&guest, at(&sticky), &["silence", "unreachable"]);
    assert_eq!((told.code, &told.answer["verdict"]), (Some(1), &json!("fails")), "{:#}", told.answer);

    let told = explain(&cluster, &["--node", "node-9", "shop/web:80"]);
    assert_eq!(told.code, Some(2), "{:#}", told.answer);
    assert!(told.error.contains("there are node-1, node-2"), "{}", told.error);

    cluster.api.crash();
    becomes("the agent knows that the API server is away, and is quoted", || {
        let told = explain(&cluster, &["shop/web:80"]);
        assert_eq!(told.code, Some(2), "{:#}", told.answer);
        assert!(told.error.contains("cannot list services at the API server https://"), "{}", told.error);
        let quoted = told.error.contains("has not heard of its source since");
        if quoted { Ok(()) } else { Err(told.error) }
    });
    assert!(portolan.process.is_alive(), "{}", portolan.process.last_words());
}
