//! `resolve`, and `dns --check`.

use std::{
    net::UdpSocket,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::sandbox::{PORTOLAN, Ran, feed};

/// Two Services `web` of one name, one in another namespace, headless ones with and without ready endpoints, and pods.
const OBJECTS: &str = "\
kind: Namespace
apiVersion: v1
metadata: {name: shop}
---
kind: Namespace
apiVersion: v1
metadata: {name: data}
---
kind: Service
apiVersion: v1
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
---
kind: Service
apiVersion: v1
metadata: {name: db, namespace: data}
spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: db-1, namespace: data, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 5432, protocol: TCP}]
endpoints: [{addresses: [10.244.1.5], hostname: db-0}, {addresses: [10.244.1.6], conditions: {ready: false}}]
---
kind: Service
apiVersion: v1
metadata: {name: slow, namespace: data}
spec: {clusterIP: None, ports: [{port: 80}]}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: slow-1, namespace: data, labels: {kubernetes.io/service-name: slow}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.244.1.7], conditions: {ready: false}}]
---
kind: Service
apiVersion: v1
metadata: {name: outside, namespace: shop}
spec: {type: ExternalName, externalName: www.example.com}
---
kind: Pod
apiVersion: v1
metadata: {name: client, namespace: shop}
spec: {containers: [{name: c}]}
status: {phase: Running, podIP: 10.244.1.20, podIPs: [{ip: 10.244.1.20}]}
";

/// Manifests and what else is written for one test.
struct Cluster(TempDir);

impl Cluster {
    fn new() -> Self {
        let cluster = Self(tempfile::tempdir().unwrap());
        cluster.write("objects.yaml", OBJECTS);
        cluster
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// `portolan resolve WORDS` with the manifests.
    fn resolve(&self, words: &[&str]) -> Ran {
        self.bare(&[words, &["-f", &self.path("objects.yaml")]].concat())
    }

    fn bare(&self, words: &[&str]) -> Ran {
        let state = self.path("state");
        portolan(&[&["resolve"], words, &["--state-dir", &state]].concat())
    }

    fn json(&self, words: &[&str], code: i32) -> Value {
        serde_json::from_str(&self.resolve(&[words, &["-o", "json"]].concat()).expect(code).stdout).unwrap()
    }
}

fn portolan(words: &[&str]) -> Ran {
    Ran::of(Command::new(PORTOLAN).args(words).output().unwrap())
}

/// Names that were tried, in order.
fn tried(json: &Value) -> Vec<&str> {
    json["tried"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn a_short_name_goes_along_the_search_list_of_the_pod_that_asks() {
    let cluster = Cluster::new();
    let json = cluster.json(&["web", "--from", "shop/client"], 0);
    assert_eq!(tried(&json), ["web.shop.svc.cluster.local."]);
    assert_eq!(json["from"]["pod"], "shop/client");
    assert_eq!(json["from"]["address"], "10.244.1.20");
    assert_eq!(json["tried"][0]["answers"][0]["records"][0]["data"], "10.96.0.10");
    assert_eq!(json["tried"][0]["answers"][1]["outcome"], "nodata");
    // The same pod by its address.
    assert_eq!(cluster.json(&["web", "--from", "10.244.1.20"], 0)["from"]["pod"], "shop/client");

    // Nobody named: namespace default, where there is no such Service; the other one is hinted at.
    let ran = cluster.resolve(&["web"]).expect(0);
    assert!(ran.stdout.starts_with("Asked by a pod of namespace default (--from says another): search "), "{ran:#?}");
    assert!(ran.stdout.contains("Note: There is a Service web in Namespace shop."), "{ran:#?}");
    let json = cluster.json(&["web"], 0);
    let completed = ["web.default.svc.cluster.local.", "web.svc.cluster.local.", "web.cluster.local.", "web."];
    assert_eq!(tried(&json), completed);
    assert_eq!(json["tried"][3]["answers"][0]["forwardedTo"], serde_json::json!(["/etc/resolv.conf"]));

    // Four dots are not enough, five are, and a dot at the end ends it.
    let json = cluster.json(&["web.shop.svc.cluster.local"], 0);
    assert_eq!((tried(&json).len(), tried(&json)[3]), (4, "web.shop.svc.cluster.local."));
    let json = cluster.json(&["_http._tcp.web.shop.svc.cluster.local", "srv"], 0);
    assert_eq!(tried(&json), ["_http._tcp.web.shop.svc.cluster.local."]);
    assert_eq!(tried(&cluster.json(&["web.", "A"], 0)), ["web."]);
}

#[test]
fn the_exit_code_says_whether_there_is_an_answer() {
    let cluster = Cluster::new();
    for (name, qtype, code, word) in [
        ("web.shop.svc.cluster.local.", "A", 0, ";; NOERROR"),
        ("web.shop.svc.cluster.local.", "AAAA", 1, ";; NODATA"),
        ("nope.shop.svc.cluster.local.", "A", 1, ";; NXDOMAIN"),
        ("www.example.com.", "A", 0, ";; forwarded to /etc/resolv.conf"),
        ("outside.shop.svc.cluster.local.", "A", 0, "CNAME\twww.example.com."),
        ("_sql._tcp.db.data.svc.cluster.local.", "SRV", 0, " 5432 db-0.db.data.svc.cluster.local.\n"),
        ("10.96.0.10", "PTR", 0, "PTR\tweb.shop.svc.cluster.local."),
    ] {
        let ran = cluster.resolve(&[name, qtype]).expect(code);
        assert!(ran.stdout.contains(word), "{name} {qtype}: {ran:#?}");
    }
    // Of two types one is enough.
    cluster.resolve(&["web.shop.svc.cluster.local."]).expect(0);
    let refused = cluster.write("Refused", "cluster.local {\n kubernetes\n}\n");
    let ran = cluster.resolve(&["www.example.com.", "A", "--corefile", &refused]).expect(1);
    assert!(ran.stdout.contains(";; REFUSED"), "{ran:#?}");
    let silent = cluster.write("Silent", ". {\n acl {\n drop net 10.244.0.0/16\n }\n forward . 192.0.2.1\n}\n");
    let ran = cluster.resolve(&["a.example.", "A", "--corefile", &silent, "--from", "shop/client"]).expect(1);
    assert!(ran.stdout.contains(";; silence"), "{ran:#?}");
    // Somebody else may ask.
    let ran = cluster.resolve(&["a.example.", "A", "--corefile", &silent]).expect(0);
    assert!(ran.stdout.contains(";; forwarded to 192.0.2.1:53"), "{ran:#?}");
}

#[test]
fn near_misses_are_hinted_at() {
    let cluster = Cluster::new();
    for (name, qtype, hint) in [
        ("web.data.svc.cluster.local.", "A", "There is a Service web in Namespace shop."),
        ("web.nowhere.svc.cluster.local.", "A", "There is no Namespace nowhere"),
        ("slow.data.svc.cluster.local.", "A", "none of its 1 endpoints is ready"),
        ("_https._tcp.web.shop.svc.cluster.local.", "SRV", "The named ports of Service shop/web are _http._tcp."),
        ("db-1.db.data.svc.cluster.local.", "A", "Ready endpoints of Service data/db answer to"),
    ] {
        let ran = cluster.resolve(&[name, qtype]).expect(1);
        assert!(ran.stdout.contains(hint), "{name} {qtype}: {ran:#?}");
    }
    let ran = cluster.resolve(&["db.data.svc.cluster.local.", "A"]).expect(0);
    assert!(ran.stdout.contains("10.244.1.5 (EndpointSlice db-1)") && !ran.stdout.contains("10.244.1.6"), "{ran:#?}");
}

#[test]
fn the_configuration_decides() {
    let cluster = Cluster::new();
    let hosts = cluster.write("hosts", "192.0.2.9 printer.office\n");
    let text = format!(
        "corp.example:53 {{\n forward . 192.0.2.53\n}}\n.:53 {{\n hosts {hosts} {{\n fallthrough\n }}\n \
         kubernetes kube.test in-addr.arpa\n forward . 192.0.2.1 192.0.2.2:54\n}}\n"
    );
    let corefile = cluster.write("Corefile", &text);
    for (name, word) in [
        ("printer.office.", "192.0.2.9"),
        ("a.corp.example.", ";; forwarded to 192.0.2.53:53"),
        ("a.example.", ";; forwarded to 192.0.2.1:53 or 192.0.2.2:54"),
        ("web.shop.svc.kube.test.", "10.96.0.10"),
    ] {
        let ran = cluster.resolve(&[name, "A", "--corefile", &corefile]).expect(0);
        assert!(ran.stdout.contains(word), "{name}: {ran:#?}");
    }
    let json = cluster.json(&["web", "A", "--from", "shop/client", "--corefile", &corefile], 0);
    assert_eq!(tried(&json), ["web.shop.svc.kube.test."]);
    let json = cluster.json(&["web", "A", "--from", "shop/client", "--dns-cluster-domain", "my.cluster"], 0);
    assert_eq!(tried(&json), ["web.shop.svc.my.cluster."]);
}

#[test]
fn a_wrong_question_is_refused_with_a_reason() {
    let cluster = Cluster::new();
    let broken = cluster.write("Broken", ".:53 {\n autopath @kubernetes\n forward .\n}\n");
    for (words, reason) in [
        (&["a..b"][..], "no domain name"),
        (&["web", "NONSENSE"], "no record type"),
        (&["web", "--from", "client"], "no Pod default/client, but shop/client"),
        (&["web", "--from", "10.9.9.9"], "no Pod of the manifests has the address 10.9.9.9"),
        (&["web", "--server", "192.0.2.1"], "--live"),
        (&["web", "--live", "--server", "here"], "no IP[:PORT]"),
        (&["web", "--corefile", &broken], "Broken:2:2: autopath"),
        (&["web", "--corefile", &broken], "Broken:3:2: forward"),
        (&["web", "--corefile", "/nowhere/Corefile"], "/nowhere/Corefile: cannot be read"),
    ] {
        let ran = cluster.resolve(words).expect(2);
        assert!(ran.stderr.contains(reason), "{words:?}: {ran:#?}");
        assert_eq!(ran.stdout, "");
    }
    let ran = cluster.bare(&["web"]).expect(2);
    assert!(ran.stderr.contains("give manifests with -f, or ask a server with --live"), "{ran:#?}");
    cluster.bare(&["web", "-f", "/nowhere"]).expect(2);
    cluster.bare(&[]).expect(2);
}

#[test]
fn manifests_from_standard_input_have_the_namespaces_of_every_cluster() {
    let example = std::fs::read_to_string("examples/20-names.yaml").unwrap();
    let cluster = Cluster::new();
    for (name, code) in [
        ("10-244-1-11.default.pod.cluster.local.", 0),
        ("20-109-5-11.shop.pod.cluster.local.", 0),
        ("10-244-1-11.nowhere.pod.cluster.local.", 1),
    ] {
        let words = ["resolve", name, "A", "-f", "-", "--state-dir", &cluster.path("state")];
        feed(Command::new(PORTOLAN).args(words), &example).expect(code);
    }
}

/// A server that answers every A query with one address and everything else with NXDOMAIN.
struct Scripted {
    address: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    fn new(ip: [u8; 4]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut query = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                let mut reply = query[..length].to_vec();
                let is_a = query[length - 4..length] == [0, 1, 0, 1];
                (reply[2], reply[3]) = (0x85, if is_a { 0x80 } else { 0x83 });
                if is_a {
                    reply[7] = 1;
                    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
                    reply.extend(ip);
                }
                socket.send_to(&reply, client).unwrap();
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_running_server_is_asked_and_compared() {
    let cluster = Cluster::new();
    let (same, other) = (Scripted::new([10, 96, 0, 10]), Scripted::new([10, 96, 0, 99]));
    let name = "web.shop.svc.cluster.local.";
    let ran = cluster.bare(&[name, "A", "--live", "--server", &other.address]).expect(0);
    assert!(ran.stdout.contains("\tA\t10.96.0.99"), "{ran:#?}");
    cluster.bare(&[name, "TXT", "--live", "--server", &other.address]).expect(1);

    let ran = cluster.resolve(&[name, "A", "--live", "--server", &same.address]).expect(0);
    assert!(ran.stdout.contains(&format!("{} answers the same.", same.address)), "{ran:#?}");
    let ran = cluster.resolve(&[name, "A", "--live", "--server", &other.address]).expect(0);
    assert!(ran.stdout.contains(&format!("!! {} answers otherwise:", other.address)), "{ran:#?}");
    let json = cluster.json(&[name, "A", "--live", "--server", &other.address], 0);
    assert_eq!(json["tried"][0]["differs"], serde_json::json!([true]));
    assert_eq!(json["tried"][0]["live"][0]["records"][0]["data"], "10.96.0.99");
    // What the manifests have, and the server has not, is no answer.
    cluster.resolve(&["_http._tcp.web.shop.svc.cluster.local.", "SRV", "--live", "--server", &same.address]).expect(1);
    // Nobody is there.
    let gone = same.address.clone();
    drop(same);
    let ran = cluster.bare(&[name, "A", "--live", "--server", &gone]).expect(2);
    assert!(ran.stderr.contains(&format!("the server {gone} does not answer for {name} A")), "{ran:#?}");
}

#[test]
fn dns_check_says_all_that_is_wrong_and_what_there_is() {
    let folder = Cluster::new();
    let ran = portolan(&["dns", "--check", "--corefile", "tests/config/corefile/kubeadm"]).expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:#?}");
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["BLOCK", "PORT", "BIND", "ZONES", "PLUGINS"]);
    assert!(lines[1].starts_with("1       53     all    .       cache errors forward "), "{ran:#?}");

    let broken = folder.write("Broken", ".:53 {\n autopath @kubernetes\n forward .\n log {\n class nothing\n }\n}\n");
    let ran = portolan(&["dns", "--check", "--corefile", &broken]).expect(2);
    let errors: Vec<&str> = ran.stderr.lines().collect();
    assert!(errors.len() >= 3 && errors.iter().all(|line| line.starts_with("error: ")), "{ran:#?}");
    assert!(errors[0].contains("Broken:2:2: autopath") && errors[1].contains("Broken:3:2: forward"), "{ran:#?}");
    assert_eq!(ran.stdout, "");

    let ran = portolan(&["dns", "--check", "--dns-port", "1053"]).expect(0);
    assert!(ran.stdout.contains("\n1       1053   all    .       "), "{ran:#?}");
    portolan(&["dns", "--check", "--corefile", "/nowhere"]).expect(2);
    portolan(&["dns", "--check", "--corefile", &broken, "--dns-ttl", "7"]).expect(2);
}
