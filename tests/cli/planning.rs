//! `plan`: what a change means to clients, its exit codes, and its sides of every kind.

use std::{fs, process::Command, thread};

use expect_test::expect_file;
use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use super::{
    manifests::{NODE, service, web},
    sandbox::{PORTOLAN, Ran, Sandbox, feed, project},
};

/// A folder for the files of a test, and the program run in the project's folder. No kernel is asked.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn portolan(&self, words: &[&str]) -> Ran {
        let state = self.0.path().join("state");
        let mut command = Command::new(PORTOLAN);
        command.current_dir(project("")).args(words).args(["--log", "error", "--state-dir", state.to_str().unwrap()]);
        Ran::of(command.output().unwrap())
    }

    fn plan(&self, old: &str, new: &str, more: &[&str]) -> Ran {
        self.portolan(&[&["plan", old, new], more].concat())
    }
}

/// Manifests with one Service more or other.
fn with(services: &[String]) -> String {
    services.concat() + NODE
}

#[test]
fn examples_are_told_as_written_down() {
    let files = Files::new();
    for (old, new, golden) in [
        ("02-pod-replaced/before.yaml", "02-pod-replaced/after.yaml", "pod-replaced"),
        ("16-endpoints-changed/before.yaml", "16-endpoints-changed/after.yaml", "endpoints-changed"),
        ("11-external-policy-cluster.yaml", "10-external-policy-local.yaml", "policy"),
        ("01-clusterip.yaml", "04-session-affinity.yaml", "affinity"),
        ("01-clusterip.yaml", "08-nodeport.yaml", "node-port"),
        ("18-headless.yaml", "19-hostname-subdomain.yaml", "headless"),
        ("13-loadbalancer-pending.yaml", "12-loadbalancer.yaml", "load-balancer"),
    ] {
        let ran = files.plan(&format!("examples/{old}"), &format!("examples/{new}"), &[]).expect(1);
        expect_file![project(&format!("tests/cli/plans/{golden}"))].assert_eq(&ran.stdout);
        // And back, which must be something too.
        files.plan(&format!("examples/{new}"), &format!("examples/{old}"), &[]).expect(1);
        files.plan(&format!("examples/{old}"), &format!("examples/{old}"), &[]).expect(0);
    }
}

#[test]
fn exit_codes_are_for_pipelines() {
    let files = Files::new();
    let old = files.write("old.yaml", &web());
    let fewer = files.write("fewer.yaml", &with(&[service("web", "10.96.0.10", &["10.1.2.3"])]));
    let none = files.write("none.yaml", &with(&[service("web", "10.96.0.10", &[])]));
    assert_eq!(files.plan(&old, &old, &[]).expect(0).stdout, "Nothing changes\n");
    files.plan(&old, &fewer, &[]).expect(1);
    files.plan(&old, &fewer, &["--fail-on", "new-connections"]).expect(1);
    files.plan(&old, &fewer, &["--fail-on", "interrupted"]).expect(0);
    let ran = files.plan(&old, &none, &["--fail-on", "interrupted"]).expect(1);
    assert!(ran.stdout.contains("clients are refused from now on; established connections stay"), "{ran:#?}");
    assert!(ran.stdout.ends_with("1 Service changes, clients of 1 are interrupted\n"), "{ran:#?}");
    files.plan(&none, &old, &["--fail-on", "interrupted"]).expect(0);
    for (old, new) in [(old.as_str(), "/nonexistent"), ("/nonexistent", old.as_str())] {
        let ran = files.plan(old, new, &[]).expect(2);
        assert!(ran.stderr.contains("/nonexistent"), "{ran:#?}");
    }
    files.portolan(&["plan", &old]).expect(2);
    let ran = files.plan("-", "-", &[]).expect(2);
    assert!(ran.stderr.contains("standard input (-) can be one side only"), "{ran:#?}");
}

#[test]
fn a_service_that_is_refused_keeps_what_it_has() {
    let files = Files::new();
    let old = files.write("old.yaml", &web());
    let bad = files.write("bad.yaml", &web().replace("port: 80, targetPort", "port: 80000, targetPort"));
    let ran = files.plan(&old, &bad, &[]).expect(2);
    assert!(ran.stdout.contains("shop/web: kept: refused\n"), "{ran:#?}");
    assert!(ran.stdout.contains("nodes that run keep what they have"), "{ran:#?}");
    assert!(ran.stdout.contains("Refused: ") && ran.stdout.contains("80000"), "{ran:#?}");
    assert!(ran.stdout.ends_with("1 object is refused\n"), "{ran:#?}");
}

#[test]
fn allocations_of_the_old_side_stay() {
    let files = Files::new();
    let open = |name: &str| service(name, "X", &["10.1.2.3"]).replace("  clusterIP: X\n", "  type: NodePort\n");
    let old = files.write("old.yaml", &with(&[open("web")]));
    // The newcomer asks for what the other holds by its hash, and would come first by name.
    let held = files.portolan(&["get", "services", "-f", &old, "--node", "node-1", "-o", "json"]).expect(0).stdout;
    let held: serde_json::Value = serde_json::from_str(&held).unwrap();
    let address = held[0]["clusterIp"].as_str().unwrap();
    let new = files.write("new.yaml", &with(&[service("api", address, &["10.1.2.4"]), open("web")]));
    let ran = files.plan(&old, &new, &[]).expect(2);
    let refused = format!("Service shop/api: spec.clusterIP: {address} is already allocated to shop/web");
    assert!(ran.stdout.starts_with("Refused: ") && ran.stdout.contains(&refused), "{ran:#?}");
    assert!(ran.stdout.ends_with("Nothing changes; 1 object is refused\n"), "{ran:#?}");
    assert!(!files.0.path().join("state").exists(), "a plan writes nothing");
}

#[test]
fn a_ruleset_stands_for_its_manifests() {
    let files = Files::new();
    let (old, new) = ("examples/02-pod-replaced/before.yaml", "examples/02-pod-replaced/after.yaml");
    let render = |path: &str, more: &[&str]| {
        let words = [&["render", "-f", path, "--node", "node-1", "-o", "json"], more].concat();
        files.portolan(&words).expect(0).stdout
    };
    let held = files.write("held.json", &render(old, &[]));
    let wanted = files.write("wanted.json", &render(new, &[]));
    let node = ["--node", "node-1"];
    for (old, same) in [(held.as_str(), old), (old, held.as_str()), (held.as_str(), held.as_str())] {
        assert_eq!(files.plan(old, same, &node).expect(0).stdout, "Nothing changes\n");
    }
    for (old, new) in [(held.as_str(), new), (old, wanted.as_str()), (held.as_str(), wanted.as_str())] {
        let ran = files.plan(old, new, &node).expect(1);
        assert!(ran.stdout.contains("10.244.1.12:8080") && ran.stdout.contains("10.244.2.12:8080"), "{ran:#?}");
        assert!(ran.stdout.contains("new connections go to 3 endpoints, as before"), "{ran:#?}");
    }
    // Another version, or other settings: the program.
    let other = files.write("other.json", &render(old, &["--masquerade-all"]));
    let ran = files.plan(&held, &other, &[]).expect(1);
    assert!(ran.stdout.contains("the program is replaced, behind a second table"), "{ran:#?}");
    assert!(ran.stdout.contains("ip chain internal:\n"), "{ran:#?}");
    assert!(ran.stdout.ends_with("No Service changes, but the node's own rules do\n"), "{ran:#?}");
    // Of which node it is, nobody can tell.
    let ran = files.plan(&held, new, &[]).expect(2);
    assert!(ran.stderr.contains("--node whether of node-1, node-2"), "{ran:#?}");
    let piped = {
        let state = files.0.path().join("state");
        let mut command = Command::new(PORTOLAN);
        command.args(["plan", "-", new, "--node", "node-1", "--state-dir", state.to_str().unwrap()]);
        feed(command.current_dir(project("")), &fs::read_to_string(&held).unwrap()).expect(1)
    };
    assert!(piped.stdout.contains("10.244.2.12:8080 (kubia-d) joins"), "{piped:#?}");
    // As `plan <(old/portolan render ...) m/` in a shell. A pipe can be read once.
    for (text, new) in [(fs::read_to_string(&held).unwrap(), new), (fs::read_to_string(project(old)).unwrap(), new)] {
        let pipe = files.0.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let ran = thread::scope(|scope| {
            scope.spawn(|| fs::write(&pipe, text).unwrap());
            files.plan(pipe.to_str().unwrap(), new, &node).expect(1)
        });
        assert!(ran.stdout.contains("10.244.2.12:8080 (kubia-d) joins"), "{ran:#?}");
        fs::remove_file(&pipe).unwrap();
    }
    let text = files.write("held.nft", &files.portolan(&["render", "-f", new, "--node", "node-1"]).expect(0).stdout);
    let ran = files.plan(&text, new, &node).expect(2);
    assert!(ran.stderr.contains("portolan render -o json"), "{ran:#?}");
}

#[test]
fn several_paths_make_a_side_and_json_says_the_same() {
    let files = Files::new();
    let (web, node) =
        (files.write("web.yaml", &service("web", "10.96.0.10", &["10.1.2.3"])), files.write("n.yaml", NODE));
    let api = files.write("api.yaml", &service("api", "10.96.0.11", &["10.1.2.4"]));
    let words = ["plan", "--old", &web, &node, "--new", &web, &node, &api, "-o", "json"];
    let ran = files.portolan(&words).expect(1);
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(plan["nodes"], serde_json::json!(["node-1"]));
    assert_eq!(plan["services"].as_array().unwrap().len(), 1);
    let service = &plan["services"][0];
    assert_eq!((&service["service"], &service["change"]), (&"shop/api".into(), &"added".into()));
    assert_eq!(service["impact"], "new-connections");
    assert_eq!(service["effects"][0]["frontends"][0], "10.96.0.11:80/TCP");
    assert_eq!(plan["summary"], "1 Service changes, clients of none are interrupted");
    // What `run` reads is none of a plan's business.
    let state = files.0.path().join("state");
    let mut command = Command::new(PORTOLAN);
    command.args(["plan", &web, &api, "--state-dir", state.to_str().unwrap()]).env("PORTOLAN_MANIFESTS", &node);
    Ran::of(command.output().unwrap()).expect(1);
}

/// What changes on a node, by a plan in JSON.
fn told_of<'a>(node: &str, plan: &'a serde_json::Value) -> Vec<&'a serde_json::Value> {
    let of_node = |effect: &&serde_json::Value| effect["nodes"].as_array().unwrap().iter().any(|n| *n == *node);
    let effects = plan["services"].as_array().unwrap().iter().flat_map(|s| s["effects"].as_array().unwrap());
    effects.filter(of_node).map(|effect| &effect["change"]).collect()
}

#[test]
fn each_node_is_told_of_though_most_are_alike() {
    let files = Files::new();
    let names: Vec<String> = (1..=6).map(|n| format!("node-{n}")).collect();
    let node = |name: &String| NODE.replace("node-1", name).replace("49.11", &name.replace("node-", "49.1"));
    let nodes: String = names.iter().map(node).collect();
    let web = |address: &str, node: &str| service("web", "10.96.0.10", &[address]).replace("node-1", node);
    let local = |address: &str| web(address, "node-2").replace("spec:\n", "spec:\n  internalTrafficPolicy: Local\n");
    let plan = |old: &str, new: &str, words: &[&str]| -> serde_json::Value {
        let (old, new) = (files.write("old.yaml", old), files.write("new.yaml", new));
        serde_json::from_str(&files.plan(&old, &new, &[&["-o", "json"], words].concat()).stdout).unwrap()
    };
    // An endpoint that only its node uses; and one that takes its address to another node.
    let changes = [(local("10.1.2.3"), local("10.1.2.4")), (web("10.1.2.3", "node-1"), web("10.1.2.3", "node-3"))];
    for ((old, new), (some, other)) in changes.into_iter().zip([("node-2", "node-1"), ("node-1", "node-2")]) {
        let (old, new) = (old + &nodes, new + &nodes);
        let together = plan(&old, &new, &[]);
        assert_eq!(together["nodes"].as_array().unwrap().len(), 6);
        assert_ne!(told_of(some, &together), told_of(other, &together), "not all nodes are the same");
        for name in &names {
            let alone = plan(&old, &new, &["--node", name]);
            assert_eq!(told_of(name, &alone), told_of(name, &together), "{name}");
        }
    }
}

#[test]
fn nodes_that_come_and_go_are_named() {
    let files = Files::new();
    let second = NODE.replace("node-1", "node-2").replace("49.11", "49.12");
    let (one, two) = (files.write("one.yaml", &web()), files.write("two.yaml", &(web() + &second)));
    let ran = files.plan(&one, &two, &["--fail-on", "new-connections"]).expect(0);
    assert!(ran.stdout.contains("node node-2 joins"), "{ran:#?}");
    let ran = files.plan(&two, &one, &["--fail-on", "interrupted"]).expect(1);
    assert!(ran.stdout.contains("node node-2 leaves"), "{ran:#?}");
}

#[test]
fn the_kernel_can_be_a_side() {
    let Some(sandbox) = Sandbox::new("the_kernel_can_be_a_side") else { return };
    let old = sandbox.write("old.yaml", &web());
    let new = sandbox.write("new.yaml", &with(&[service("web", "10.96.0.10", &["10.1.2.3"])]));
    let ran = sandbox.portolan(&["plan", "live", &old]).expect(1);
    assert!(ran.stdout.contains("the program is written") && ran.stdout.contains("shop/web: added"), "{ran:#?}");
    assert!(!sandbox.ruleset().contains("portolan"), "a plan writes nothing");
    sandbox.apply(&[&old]);
    let (before, generation) = (sandbox.ruleset(), sandbox.generation());
    assert_eq!(sandbox.portolan(&["plan", "live", &old]).expect(0).stdout, "Nothing changes\n");
    let ran = sandbox.portolan(&["plan", "live", &new]).expect(1);
    assert!(ran.stdout.contains("10.1.2.4:8080 leaves"), "{ran:#?}");
    let ran = sandbox.portolan(&["plan", &new, "live"]).expect(1);
    assert!(ran.stdout.contains("10.1.2.4:8080 joins"), "{ran:#?}");
    assert_eq!(sandbox.ruleset(), before, "a plan writes nothing");
    assert_eq!(sandbox.generation(), generation, "a plan writes nothing, not even for a moment");
    // What nft itself lists will do as well.
    let listed = sandbox.write("listed.json", &sandbox.ok("nft", &["-j", "list", "ruleset"]));
    assert_eq!(sandbox.portolan(&["plan", &listed, &old]).expect(0).stdout, "Nothing changes\n");
    sandbox.nft("flush chain ip portolan postrouting");
    let ran = sandbox.portolan(&["plan", "live", &old]).expect(1);
    assert!(ran.stdout.contains("the program is replaced"), "{ran:#?}");
}

#[test]
fn what_a_plan_may_not_compare_is_said() {
    let Some(sandbox) = Sandbox::new("what_a_plan_may_not_compare_is_said") else { return };
    let web = sandbox.write("web.yaml", &web());
    sandbox.apply(&[&web]);
    let generation = sandbox.generation();
    let ran = sandbox.limited(&["plan", "live", &web]).expect(0);
    assert_eq!(ran.stdout, "Nothing changes\n");
    assert!(ran.stderr.contains("was not compared") && ran.stderr.contains("CAP_SYS_ADMIN"), "{ran:#?}");
    // Nothing is to be compared there.
    let ran = sandbox.limited(&["plan", &web, "live"]).expect(0);
    assert!(!ran.stderr.contains("CAP_SYS_ADMIN"), "{ran:#?}");
    assert_eq!(sandbox.generation(), generation, "a plan writes nothing, not even for a moment");
}
