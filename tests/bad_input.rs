//! Whatever a file holds: nothing panics, what is wrong is said with its place, and everything else is used.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use portolan::{
    controlplane::{Allocations, Completed, Options, complete},
    objects::{Object, Service},
    source::manifests::{Manifests, read, read_text},
};
use proptest::prelude::*;

/// A Service that must survive whatever stands beside it.
const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec: {ports: [{port: 80}]}\n";

/// What came of one text.
struct Outcome {
    notices: Vec<String>,
    services: Vec<Service>,
    unreadable: bool,
}

fn outcome(manifests: Manifests) -> Outcome {
    let unreadable = manifests.unreadable;
    let Completed { objects, notices, .. } =
        complete(manifests.objects, &Options::default(), &mut Allocations::default());
    let notices = manifests.notices.iter().chain(&notices).map(ToString::to_string).collect();
    let service = |object| match object {
        Object::Service(service) => Some(service),
        _ => None,
    };
    Outcome { notices, services: objects.into_iter().filter_map(|l| service(l.object)).collect(), unreadable }
}

/// A text with the good Service behind it, which must be there afterwards.
#[track_caller]
fn beside_good(bad: &str) -> Outcome {
    let outcome = outcome(read_text(Path::new("m.yaml"), &format!("{bad}\n---\n{GOOD}")));
    let names: Vec<&str> = outcome.services.iter().map(|s| s.metadata.name.as_str()).collect();
    assert!(names.contains(&"good"), "the good Service is lost: {names:?} {:?}", outcome.notices);
    outcome
}

/// The bad Service gives exactly this notice and is not used.
#[track_caller]
fn refused(bad: &str, notice: &str) -> Outcome {
    let outcome = beside_good(bad);
    assert_eq!(outcome.services.len(), 1, "{bad} was used");
    assert_eq!(outcome.notices.len(), 1, "{:?}", outcome.notices);
    assert!(outcome.notices[0].starts_with(notice), "{} is not {notice}", outcome.notices[0]);
    outcome
}

fn service(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec: {{{spec}}}\n")
}

#[test]
fn truncated_yaml() {
    let whole = service("bad", "type: NodePort, ports: [{port: 80}]");
    for (cut, notice) in [
        (whole.len() - 1, None),
        (whole.len() - 3, Some("m.yaml:5: Service bad: unclosed bracket")),
        (whole.find("NodePort").unwrap(), Some("m.yaml:")),
        (whole.find("name:").unwrap() + 3, Some("m.yaml:")),
        (whole.find("Service").unwrap() + 4, None),
    ] {
        let outcome = beside_good(&whole[..cut]);
        let first = outcome.notices.first().map_or("", String::as_str);
        assert!(first.starts_with(notice.unwrap_or_default()), "{first}");
        assert_eq!(outcome.unreadable, notice.is_some_and(|_| true), "{first}");
    }
}

#[test]
fn wrong_types_name_the_field() {
    for (spec, notice) in [
        ("ports: 80", "m.yaml:5: Service bad: spec.ports: "),
        ("ports: [80]", "m.yaml:5: Service bad: spec.ports[0]: "),
        ("ports: [{port: eighty}]", "m.yaml:5: Service bad: spec.ports[0].port: "),
        ("ports: [{port: \"80\"}]", "m.yaml:5: Service bad: spec.ports[0].port: "),
        ("ports: [{port: 80.5}]", "m.yaml:5: Service bad: spec.ports[0].port: "),
        ("ports: [{port: 99999999999}]", "m.yaml:5: Service bad: spec.ports[0].port: "),
        ("ports: [{port: [80]}]", "m.yaml:5: Service bad: spec.ports[0].port: "),
        ("type: {a: b}", "m.yaml:5: Service bad: spec.type: "),
        ("type: 5", "m.yaml:5: Service bad: spec.type: 5 is a number or a boolean where text is wanted"),
        ("selector: [app]", "m.yaml:5: Service bad: spec.selector: "),
        ("selector: {version: 1.0}", "m.yaml:5: Service bad: spec.selector.version: 1.0 is a number"),
        ("publishNotReadyAddresses: maybe", "m.yaml:5: Service bad: spec.publishNotReadyAddresses: "),
        ("sessionAffinityConfig: 5", "m.yaml:5: Service bad: spec.sessionAffinityConfig: "),
    ] {
        let outcome = refused(&service("bad", spec), notice);
        assert!(outcome.unreadable, "{spec}");
    }
    refused("apiVersion: v1\nkind: Service\nmetadata: bad\n", "m.yaml:3: Service without a name: metadata: ");
}

#[test]
fn syntax_errors_name_the_line() {
    for (bad, notice) in [
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: bad\nspec:\n\ttype: NodePort\n",
            "m.yaml:6: Service bad: tabs",
        ),
        ("apiVersion: v1\nkind: Service\nmetadata:\n  name: bad\n   labels: {}\n", "m.yaml:5: Service bad: "),
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: \"bad\n",
            "m.yaml:6: Service bad: invalid indentation in multiline quoted scalar",
        ),
        ("apiVersion: v1\nkind: Service\nkind: Pod\nmetadata: {name: bad}\n", "m.yaml:3: Pod bad: duplicate"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: *bad}\n", "m.yaml:3: "),
        ("{\"apiVersion\": \"v1\", \"kind\": \"Service\",\n \"metadata\": {\"name\": \"bad\"}", "m.yaml:"),
        ("[1, 2, 3]\n", "m.yaml:1: fields (name: value) are wanted here"),
        ("just text\n", "m.yaml:1: fields (name: value) are wanted here"),
    ] {
        let outcome = refused(bad, notice);
        assert!(outcome.unreadable, "{bad}");
    }
}

#[test]
fn nothing_at_all() {
    for empty in
        ["", "\n", "---\n", "# nothing\n", "---\n---\n...\n---\n", "null\n", "--- ~\n", "\u{feff}", "%YAML 1.2\n"]
    {
        let outcome = beside_good(empty);
        assert_eq!((outcome.notices.len(), outcome.unreadable), (0, false), "{empty:?} {:?}", outcome.notices);
    }
    for empty in [
        "apiVersion: v1\nkind: List\n",
        "apiVersion: v1\nkind: List\nitems: null\n",
        "apiVersion: v1\nkind: List\nitems: []\n",
    ] {
        assert_eq!(beside_good(empty).notices.len(), 0, "{empty:?}");
    }
    refused("apiVersion: v1\nkind: Pod\n", "m.yaml:1: Pod default/: metadata.name: missing");
}

#[test]
fn unknown_kinds() {
    for ignored in [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: 5, b: [1, {c: d}]}\n",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x}\n",
        "kind: Service\napiVersion: serving.knative.dev/v1\nmetadata: {name: good}\nspec: {template: {}}\n",
        "apiVersion: v1\nkind: SecretList\nitems: [{data: x}]\n",
    ] {
        let outcome = beside_good(ignored);
        assert_eq!((outcome.services.len(), outcome.notices.len()), (1, 0), "{ignored} {:?}", outcome.notices);
    }
    refused(
        "apiVersion: v2\nkind: Service\nmetadata: {name: bad}\n",
        "m.yaml:1: Service bad: apiVersion: v2 has no Service; write v1",
    );
    refused(
        "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: bad}\n",
        "m.yaml:1: Deployment bad: apiVersion: apps/v1beta1 has no Deployment; write apps/v1",
    );
    refused(
        "metadata: {name: bad}\nspec: {}\n",
        "m.yaml:1: kind: a manifest needs apiVersion and kind; this has neither",
    );
}

#[test]
fn names_without_end() {
    let long = "n".repeat(300);
    let outcome = refused(&service(&long, "ports: [{port: 80}]"), "m.yaml:1: Service default/nnn");
    assert!(outcome.notices[0].contains("(300 characters) is not a name: lower-case letters"));
    refused(
        &service("bad", &format!("ports: [{{port: 80, name: {long}}}]")),
        "m.yaml:1: Service default/bad: spec.ports[0].name: ",
    );
    refused(
        &service("bad", &format!("ports: [{{port: 80, targetPort: {long}}}]")),
        "m.yaml:1: Service default/bad: spec.ports[0].targetPort: ",
    );
    refused(
        &service("bad", &format!("selector: {{app: {long}}}, ports: [{{port: 80}}]")),
        "m.yaml:1: Service default/bad: spec.selector.app: ",
    );
    refused(
        &service("bad", &format!("type: ExternalName, externalName: {long}")),
        "m.yaml:1: Service default/bad: spec.externalName: ",
    );
}

#[test]
fn two_services_that_want_the_same() {
    for (spec, field) in [
        ("clusterIP: 10.96.0.9, ports: [{port: 80}]", "spec.clusterIP: 10.96.0.9"),
        ("type: NodePort, ports: [{port: 80, nodePort: 30008}]", "spec.ports[0].nodePort: 30008"),
    ] {
        let outcome = beside_good(&(service("b", spec) + "---\n" + &service("a", spec)));
        let notice = format!("m.yaml:1: Service default/b: {field} is already allocated to default/a; choose another");
        assert_eq!(outcome.notices, [notice]);
        assert_eq!(outcome.services.len(), 2);
    }
}

#[test]
fn a_thousand_ports() {
    let ports: Vec<String> = (1..=1000).map(|i| format!("{{name: p{i}, port: {i}}}")).collect();
    let outcome = beside_good(&service("many", &format!("type: NodePort, ports: [{}]", ports.join(", "))));
    assert_eq!(outcome.notices, [""; 0]);
    let many = outcome.services.iter().find(|s| s.metadata.name == "many").unwrap();
    let node_ports: BTreeSet<_> = many.spec.ports.iter().filter_map(|port| port.node_port).collect();
    assert_eq!(node_ports.len(), 1000, "each port has a node port of its own");
    // All node ports there are, and then some.
    let ports: Vec<String> = (1..=2800).map(|i| format!("{{name: p{i}, port: {i}}}")).collect();
    let many = service("many", &format!("type: NodePort, ports: [{}]", ports.join(", ")));
    refused(&many, "m.yaml:1: Service default/many: spec.ports[2768].nodePort: no node port is free");
}

#[test]
fn leading_zeros_are_decimal() {
    let text = service("old", "clusterIP: 172.030.000.041, externalIPs: [192.0.2.010], ports: [{port: 80}]");
    let outcome = beside_good(&text);
    assert_eq!(outcome.notices, [""; 0]);
    let old = outcome.services.iter().find(|s| s.metadata.name == "old").unwrap();
    assert_eq!(old.spec.cluster_ips, ["172.30.0.41"]);
    // The same address in two spellings is the same address.
    let outcome = beside_good(&(text + "---\n" + &service("other", "clusterIP: 172.30.0.41, ports: [{port: 80}]")));
    assert!(outcome.notices[0].contains("172.30.0.41 is already allocated to default/old"));
}

#[test]
fn a_directory_with_one_broken_file() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    write("a.yaml", GOOD.replace("good", "first").as_bytes());
    write("b.yaml", b"apiVersion: v1\nkind: Service\nmetadata: {name: broken\n");
    write("c.yaml", &(0..=255).collect::<Vec<u8>>());
    write("d.json", b"\x89PNG\r\n\x1a\n");
    write("e.yaml", &GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    write("f.yaml", b"\0\0\0\0\0");
    write("z.yaml", GOOD.as_bytes());
    let outcome = outcome(read(&[directory.path().to_owned()]).unwrap());
    assert!(outcome.unreadable);
    let names: Vec<_> = outcome.services.iter().map(|s| s.metadata.name.as_str()).collect();
    assert_eq!(names, ["first", "good"]);
    for (notice, file) in outcome.notices.iter().zip([
        "b.yaml:",
        "c.yaml:1: not a manifest: byte 129",
        "d.json:1:",
        "e.yaml:1:",
        "f.yaml:1:",
    ]) {
        assert!(notice.contains(file), "{notice}");
    }
    assert_eq!(outcome.notices.len(), 5);
}

#[test]
fn bombs_do_no_harm() {
    let start = Instant::now();
    let mut laughs =
        String::from("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let line = vec![format!("*a{}", i - 1); 10].join(", ");
        writeln!(laughs, "a{i}: &a{i} [{line}]").unwrap();
    }
    refused(&laughs, "m.yaml:");
    let labels = "x: &x {a: b}\n".to_owned() + &(0..200_000).map(|i| format!("y{i}: *x\n")).collect::<String>();
    refused(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: bad}}\n{labels}"), "m.yaml:");
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")] {
        let deep =
            format!("kind: Service\napiVersion: v1\nspec:\n  {}1{}\n", open.repeat(50_000), close.repeat(50_000));
        refused(&deep, "m.yaml:");
    }
    let recursive = "kind: Service\napiVersion: v1\nmetadata: {name: bad}\nspec: &s\n  sessionAffinityConfig: *s\n";
    assert_eq!(beside_good(recursive).services.len(), 1);
    refused(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bad}\nspec:\n  replicas: 2000000000\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}}\n",
        "m.yaml:1: Deployment default/bad: spec.replicas: 2000000000 is more than",
    );
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_list_with_many_shared_labels_is_no_bomb() {
    let mut list = String::from("apiVersion: v1\nkind: List\nitems:\n");
    for i in 0..2000 {
        let labels = if i == 0 { "&labels {app: kubia, tier: web}" } else { "*labels" };
        writeln!(list, "- {{apiVersion: v1, kind: Service, metadata: {{name: s{i}, labels: {labels}}}, spec: {{ports: [{{port: 80}}]}}}}").unwrap();
    }
    let outcome = beside_good(&list);
    assert_eq!((outcome.services.len(), outcome.notices.len()), (2001, 0), "{:?}", outcome.notices.first());
}

#[test]
fn more_documents_than_a_parser_expects() {
    let text: String = (0..3000).map(|i| GOOD.replace("good", &format!("s{i}")) + "---\n").collect();
    let outcome = beside_good(&text);
    assert_eq!((outcome.services.len(), outcome.notices.len()), (3001, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage anywhere in a document costs that document at most.
    #[test]
    fn damage_stays_where_it_is(at in 0usize..200, bytes in "[ -~\t\n\u{e9}]{0,6}", cut in 0usize..40) {
        let whole = service("bad", "type: NodePort, selector: {app: kubia}, ports: [{port: 80, targetPort: http}]");
        let at = at.min(whole.len());
        let end = (at + cut).min(whole.len());
        let damaged = format!("{}{bytes}{}", &whole[..at], &whole[end..]);
        // A new document or a block that swallows what follows would be no damage but another file.
        prop_assume!(!damaged.contains("---") && !damaged.contains("..."));
        beside_good(&damaged);
    }

    /// Nothing that is no YAML, or hardly, makes the reader panic.
    #[test]
    fn any_text_can_be_read(text in "[-a-z0-9 \n\t:{}\\[\\],&*!|>'\"%@`#?~.]{0,200}") {
        let text = format!("apiVersion: v1\nkind: Service\n{text}");
        outcome(read_text(Path::new("m.yaml"), &text));
    }
}
