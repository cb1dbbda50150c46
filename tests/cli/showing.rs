//! `get services` and `lab`.

use std::{io::Write, net::TcpStream, path::Path, time::Duration};

use super::{manifests::NODE, sandbox::Sandbox};

#[test]
fn services_are_shown_with_endpoints_and_connections() {
    let Some(sandbox) = Sandbox::new("services_are_shown_with_endpoints_and_connections") else { return };
    // The endpoint is a process of the node itself, at an address of its loopback.
    for address in ["10.1.2.3/32", "192.168.49.11/32"] {
        sandbox.ok("ip", &["address", "add", address, "dev", "lo"]);
    }
    sandbox.ok("ip", &["route", "add", "10.96.0.0/16", "dev", "lo"]);
    let file = sandbox.write("web.yaml", &(super::manifests::service("web", "10.96.0.10", &["10.1.2.3"]) + NODE));
    sandbox.apply(&[&file]);
    let get = |words: &[&str]| sandbox.portolan(&[&["get", "services", "-f", &file], words].concat()).expect(0).stdout;
    let table = get(&[]);
    let cells = |line: usize| table.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(cells(0)[..5], ["NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP"]);
    assert_eq!(cells(1)[..6], ["shop", "web", "ClusterIP", "10.96.0.10", "<none>", "80/TCP"]);
    assert_eq!(cells(1)[7..], ["1/1", "0", "0", "0"]);
    assert!(get(&["-o", "wide"]).lines().next().unwrap().contains("SELECTOR"));
    assert_eq!(get(&["-n", "elsewhere"]).lines().count(), 1);

    let path = Path::new("/run/netns").join(sandbox.namespace());
    std::thread::spawn(move || connect(&path, 3)).join().unwrap();
    let json: serde_json::Value = serde_json::from_str(&get(&["-o", "json"])).unwrap();
    assert_eq!(json[0]["newConnections"], 3, "{json}");
}

/// Makes connections to 10.96.0.10:80 in a namespace, answered at 10.1.2.3:8080 by this thread itself.
fn connect(namespace: &Path, count: usize) {
    nix::sched::setns(std::fs::File::open(namespace).unwrap(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    let listener = std::net::TcpListener::bind("10.1.2.3:8080").unwrap();
    for _ in 0..count {
        let to = "10.96.0.10:80".parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
        stream.write_all(b"x").unwrap();
        listener.accept().unwrap();
    }
}

#[test]
fn a_lab_shows_who_answered_and_leaves_nothing() {
    let Some(sandbox) = Sandbox::new("a_lab_shows_who_answered_and_leaves_nothing") else { return };
    let prefix = format!("ptg-{}-", std::process::id() % 10000);
    let _down = Down { prefix: prefix.clone() };
    let lab = |words: &[&str]| {
        let words = [words, &["--prefix", &prefix]].concat();
        super::sandbox::Ran::of(std::process::Command::new(super::sandbox::PORTOLAN).args(words).output().unwrap())
    };
    let example = super::sandbox::project("examples/01-clusterip.yaml");
    let ran = lab(&["lab", "-f", example.to_str().unwrap()]).expect(0);
    for text in ["NEW-CONNECTIONS", "kubia", "ANSWERED BY", "kubia-a (", "kubia-c (", "client outside"] {
        assert!(ran.stdout.contains(text), "{text}: {ran:#?}");
    }
    let left =
        || sandbox.ok("ip", &["netns", "list"]).lines().filter(|l| l.starts_with(&format!("{prefix}node"))).count();
    assert_eq!(left(), 0);
    let ran = lab(&["lab", "-f", example.to_str().unwrap(), "--keep"]).expect(0);
    assert!(ran.stdout.contains(&format!("portolan lab down --prefix {prefix}")), "{ran:#?}");
    assert_eq!(left(), 2);
    lab(&["lab", "down"]).expect(0);
    assert_eq!(left(), 0);
}

/// Takes the lab down whatever becomes of the test.
struct Down {
    prefix: String,
}

impl Drop for Down {
    fn drop(&mut self) {
        let words = ["lab", "down", "--prefix", &self.prefix];
        let _ = std::process::Command::new(super::sandbox::PORTOLAN).args(words).output();
    }
}
