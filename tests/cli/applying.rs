//! `apply` and `cleanup`, and that `render` prints what `apply` does.

use super::{
    manifests::{NODE, service, web},
    sandbox::{Sandbox, feed},
};

/// Manifests of every kind of element; an example each of what their names say.
const CASES: [&str; 6] = [
    "examples/01-clusterip.yaml",
    "examples/10-external-policy-local.yaml",
    "tests/golden/cases/affinity.yaml",
    "tests/golden/cases/dual-stack.yaml",
    "tests/golden/cases/protocols.yaml",
    "tests/golden/cases/source-ranges.yaml",
];

/// The blocks of a listing in an order of their own: nft lists chains in the order in which they were made.
fn in_order(ruleset: &str) -> Vec<String> {
    let parts = ruleset.split("\n\n").flat_map(|block| block.split("\n\t}\n"));
    let bare = parts.map(|part| part.trim_matches(|c: char| c.is_whitespace() || c == '}'));
    let mut blocks: Vec<String> = bare.filter(|part| !part.is_empty()).map(sorted_elements).collect();
    blocks.sort();
    blocks
}

/// Elements of hashed sets are listed in the order of their hashes, which differs between any two tables.
fn sorted_elements(block: &str) -> String {
    let Some((head, elements)) = block.split_once("elements = {") else { return block.to_owned() };
    let mut elements: Vec<&str> = elements.split([',', '\n', '}']).map(str::trim).filter(|e| !e.is_empty()).collect();
    elements.sort();
    format!("{head}{}", elements.join("\n"))
}

#[test]
fn what_render_prints_is_what_apply_makes() {
    for case in CASES {
        let Some(applied) = Sandbox::new("what_render_prints_is_what_apply_makes") else { return };
        let Some(loaded) = Sandbox::new("what_render_prints_is_what_apply_makes") else { return };
        applied.apply(&[case]);
        let rendered = loaded.portolan(&["render", "-f", case]).expect(0);
        loaded.nft(&rendered.stdout);
        assert_eq!(in_order(&applied.ruleset()), in_order(&loaded.ruleset()), "{case}");
        assert!(applied.ruleset().contains("elements = {"), "{case}");
        let json = loaded.portolan(&["render", "-f", case, "-o", "json"]).expect(0).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["nftables"].as_array().is_some_and(|items| items.len() > 20), "{case}");
    }
}

#[test]
fn a_second_apply_changes_nothing() {
    let Some(sandbox) = Sandbox::new("a_second_apply_changes_nothing") else { return };
    let case = "tests/golden/cases/affinity.yaml";
    let first = sandbox.apply(&[case]);
    assert!(first.contains("program installed"), "{first}");
    // Handles of rules and chains grow with each that is made, so they tell whether anything was made anew.
    let handles = sandbox.ok("nft", &["--stateless", "-a", "list", "ruleset"]);
    assert_eq!(sandbox.apply(&[case]), "2 services; nothing to change\n");
    assert_eq!(sandbox.ok("nft", &["--stateless", "-a", "list", "ruleset"]), handles);
}

#[test]
fn the_way_to_a_state_leaves_no_trace_in_it() {
    let Some(sandbox) = Sandbox::new("the_way_to_a_state_leaves_no_trace_in_it") else { return };
    let Some(fresh) = Sandbox::new("the_way_to_a_state_leaves_no_trace_in_it") else { return };
    let (a, b) = ("tests/golden/cases/affinity.yaml", "tests/golden/cases/source-ranges.yaml");
    for case in [a, b, a] {
        sandbox.apply(&[case]);
    }
    fresh.apply(&[a]);
    assert_eq!(in_order(&sandbox.ruleset()), in_order(&fresh.ruleset()));
}

#[test]
fn a_refused_object_costs_the_others_nothing() {
    let Some(sandbox) = Sandbox::new("a_refused_object_costs_the_others_nothing") else { return };
    let file = sandbox.write("bad.yaml", &web().replace("targetPort: 8080", "targetPort: 8080, nodePort: 80"));
    let good = sandbox.write("good.yaml", &service("good", "10.96.0.11", &["10.1.2.5"]));
    let ran = sandbox.portolan(&["apply", "-f", &file, "-f", &good]).expect(1);
    let line = format!("error: {file}:2: Service shop/web: spec.ports[0].nodePort: ");
    assert!(ran.stderr.starts_with(&line), "{ran:#?}");
    let ruleset = sandbox.ruleset();
    assert!(ruleset.contains("shop/good") && !ruleset.contains("shop/web"), "{ruleset}");
}

#[test]
fn a_path_that_is_not_there_stops_everything() {
    let Some(sandbox) = Sandbox::new("a_path_that_is_not_there_stops_everything") else { return };
    sandbox.apply(&[&sandbox.write("web.yaml", &web())]);
    let before = sandbox.ruleset();
    let ran = sandbox.portolan(&["apply", "-f", "/nonexistent/x.yaml"]).expect(2);
    assert!(ran.stderr.contains("cannot read manifests from /nonexistent/x.yaml"), "{ran:#?}");
    assert_eq!(sandbox.ruleset(), before);
}

#[test]
fn what_a_truncated_file_held_stays_until_it_is_mended() {
    let Some(sandbox) = Sandbox::new("what_a_truncated_file_held_stays_until_it_is_mended") else { return };
    sandbox.write("d/a.yaml", &web());
    let file = sandbox.write("d/b.yaml", &service("other", "10.96.0.11", &["10.1.2.5"]));
    let folder = sandbox.path("d").to_str().unwrap().to_owned();
    sandbox.apply(&[&folder]);
    sandbox.write("d/b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: oth");
    sandbox.write("d/c.yaml", &service("third", "10.96.0.12", &["10.1.2.6"]));
    let ran = sandbox.portolan(&["apply", "-f", &folder]).expect(1);
    assert!(ran.stderr.contains(&format!("error: {file}:")), "{ran:#?}");
    let ruleset = sandbox.ruleset();
    for service in ["shop/web", "shop/other", "shop/third"] {
        assert!(ruleset.contains(service), "{service}: {ruleset}");
    }
    sandbox.write("d/b.yaml", NODE);
    sandbox.write("d/a.yaml", &service("web", "10.96.0.10", &[]));
    sandbox.apply(&[&folder]);
    let ruleset = sandbox.ruleset();
    assert!(!ruleset.contains("shop/other") && ruleset.contains("shop/third"), "{ruleset}");
    sandbox.portolan(&["diff", "-f", &folder]).expect(0);
}

#[test]
fn cleanup_removes_what_is_ours_and_only_that() {
    let Some(sandbox) = Sandbox::new("cleanup_removes_what_is_ours_and_only_that") else { return };
    // A cluster IP is allocated, so there is something to remember.
    sandbox.apply(&["examples/01-clusterip.yaml"]);
    assert!(sandbox.path("state").exists());
    sandbox
        .nft("table ip portolan-standby { }\ntable ip6 portolan-standby { }\ntable inet theirs {\nchain c {\n}\n}\n");
    // What a redirect of cluster DNS left behind, under numbers that are not today's.
    sandbox.nft("table ip portolan-dns { }\ntable ip6 portolan-dns { }\n");
    for rules in [
        "rule add pref 77 fwmark 0x40000/0x40000 lookup 4711 proto 53",
        "-6 rule add pref 77 fwmark 0x40000/0x40000 lookup 4711 proto 53",
        "rule add pref 78 fwmark 0x40000/0x40000 lookup 4711",
        "route add local 10.96.0.10 dev lo table 4711 proto 53",
        "route add local 10.96.0.11 dev lo table 4711",
        "-6 route add local fd00:96::a dev lo table 4711 proto 53",
    ] {
        sandbox.ok("ip", &rules.split(' ').collect::<Vec<_>>());
    }
    let state = sandbox.state();
    for _ in 0..2 {
        sandbox.bare(&["cleanup", "--state-dir", &state]).expect(0);
        assert_eq!(sandbox.ruleset(), "table inet theirs {\n\tchain c {\n\t}\n}\n");
        assert!(!sandbox.path("state").exists());
        let ip = |words: &str| sandbox.ok("ip", &words.split(' ').collect::<Vec<_>>());
        let rules = ip("rule show") + &ip("-6 rule show");
        assert!(!rules.contains("77:") && rules.contains("78:"), "{rules}");
        assert_eq!(ip("route show table 4711").trim(), "local 10.96.0.11 dev lo scope host");
        assert_eq!(ip("-6 route show table 4711").trim(), "");
    }
}

#[test]
fn without_root_apply_says_what_is_missing_and_render_works() {
    let Some(sandbox) = Sandbox::new("without_root_apply_says_what_is_missing_and_render_works") else { return };
    // The program, copied to where everybody may read it.
    let folder = sandbox.path("public");
    std::fs::create_dir(&folder).unwrap();
    let program = folder.join("portolan");
    // By another process: a descriptor of ours would be inherited by whatever another test starts just now, and the copy
    // could not be run ("text file busy").
    sandbox.ok("cp", &[super::sandbox::PORTOLAN, program.to_str().unwrap()]);
    sandbox.ok("chmod", &["-R", "a+rX", sandbox.path("").to_str().unwrap()]);
    let as_nobody = |words: &[&str]| {
        let state = folder.join("state");
        let mut command = sandbox.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program).args(words);
        command.args(["-f", "-", "--node", "node-1", "--log", "error", "--state-dir"]).arg(state);
        feed(&mut command, &web())
    };
    let rendered = as_nobody(&["render"]).expect(0);
    assert!(rendered.stdout.contains("10.1.2.3 . 8080"), "{rendered:#?}");
    let refused = as_nobody(&["apply"]).expect(2);
    assert!(refused.stderr.contains("cannot make the directory"), "{refused:#?}");
    sandbox.ok("chmod", &["a+rwx", folder.to_str().unwrap()]);
    let refused = as_nobody(&["apply"]).expect(2);
    assert!(refused.stderr.contains("CAP_NET_ADMIN") || refused.stderr.contains("root"), "{refused:#?}");
}
