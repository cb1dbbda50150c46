//! `run`: follows files, interfaces and other people's changes, and leaves the rules when it ends.

use std::fs;

use super::{
    manifests::{NODE, service, web},
    sandbox::{Sandbox, eventually},
};

#[test]
fn files_are_followed_and_the_rules_stay() {
    let Some(sandbox) = Sandbox::new("files_are_followed_and_the_rules_stay") else { return };
    sandbox.write("d/a.yaml", &web());
    let folder = sandbox.path("d").to_str().unwrap().to_owned();
    let running = sandbox.start("run", &["run", "-f", &folder]);
    let holds = |text: &str| sandbox.ruleset().contains(text);
    eventually("the first file is in the kernel", || holds("10.1.2.3 . 8080"));

    sandbox.write("d/b.yaml", &service("other", "10.96.0.11", &["10.1.2.5"]));
    eventually("a new file", || holds("10.1.2.5 . 8080"));
    sandbox.write("d/b.yaml", &service("other", "10.96.0.11", &["10.1.2.6"]));
    eventually("a rewritten file", || holds("10.1.2.6 . 8080") && !holds("10.1.2.5 . 8080"));
    let new = sandbox.write("new", &service("other", "10.96.0.11", &["10.1.2.7"]));
    fs::rename(new, sandbox.path("d/b.yaml")).unwrap();
    eventually("a file put in place of another", || holds("10.1.2.7 . 8080") && !holds("10.1.2.6 . 8080"));

    // What cannot be read keeps its Services; what can be read is followed.
    sandbox.write("d/b.yaml", "kind: Service\nmetadata: {name: oth");
    sandbox.write("d/c.yaml", &service("third", "10.96.0.12", &["10.1.2.8"]));
    eventually("a third file", || holds("10.1.2.8 . 8080"));
    assert!(holds("10.1.2.7 . 8080"));
    sandbox.write("d/b.yaml", NODE);
    eventually("the mended file no longer has the Service", || !holds("shop/other"));

    sandbox.ok("nft", &["delete", "table", "ip", "portolan"]);
    eventually("a table that was deleted is back", || holds("10.1.2.3 . 8080"));
    sandbox.nft("delete element ip portolan endpoints { 10.96.0.10 . tcp . 80 . 0 }");
    eventually("an element that was deleted is back", || holds("10.1.2.3 . 8080"));

    let before = sandbox.ok("nft", &["--stateless", "-a", "list", "ruleset"]);
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(sandbox.ok("nft", &["--stateless", "-a", "list", "ruleset"]), before);

    // A second start finds nothing to do; a change after it shows that it has looked.
    let running = sandbox.start("again", &["run", "-f", &folder]);
    sandbox.write("d/c.yaml", &service("third", "10.96.0.12", &["10.1.2.9"]));
    eventually("the second start follows files", || holds("10.1.2.9 . 8080"));
    assert_eq!(running.terminate(), Some(0));
    assert!(!fs::read_to_string(sandbox.path("again.err")).unwrap().contains("program installed"));
}

#[test]
fn a_new_address_answers_on_node_ports() {
    let Some(sandbox) = Sandbox::new("a_new_address_answers_on_node_ports") else { return };
    let words = ["run", "-f", "examples/08-nodeport.yaml", "--nodeport-addresses", "all"];
    let running = sandbox.start("run", &words);
    eventually("the cluster IP is in the kernel", || sandbox.ruleset().contains("default/kubia-nodeport"));
    sandbox.ok("ip", &["address", "add", "192.0.2.77/32", "dev", "lo"]);
    eventually("the new address is a frontend", || sandbox.ruleset().contains("192.0.2.77 . tcp . 30008"));
    sandbox.ok("ip", &["address", "delete", "192.0.2.77/32", "dev", "lo"]);
    eventually("the address is gone", || !sandbox.ruleset().contains("192.0.2.77"));
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn a_dry_run_prints_and_writes_nothing() {
    let Some(sandbox) = Sandbox::new("a_dry_run_prints_and_writes_nothing") else { return };
    let file = sandbox.write("web.yaml", &web());
    let running = sandbox.start("dry", &["run", "--dry-run", "-f", &file]);
    let printed = || fs::read_to_string(sandbox.path("dry.out")).unwrap();
    eventually("it says what it would add", || printed().contains("would send "));
    assert!(printed().contains("would add shop/web: endpoint 10.1.2.3:8080 (10.96.0.10:80/TCP)\n"), "{}", printed());
    sandbox.write("web.yaml", &(service("web", "10.96.0.10", &["10.1.2.3"]) + NODE));
    eventually("it says what it would remove", || {
        printed().contains("would remove shop/web: endpoint 10.1.2.4:8080 (10.96.0.10:80/TCP)\n")
    });
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(sandbox.ruleset(), "");
    assert!(!sandbox.path("state").exists());
}

#[test]
fn owned_tables_survive_a_kill_and_the_next_start_takes_them_over() {
    let Some(sandbox) = Sandbox::new("owned_tables_survive_a_kill_and_the_next_start_takes_them_over") else { return };
    let file = sandbox.write("web.yaml", &web());
    let words = ["run", "--own-table", "-f", &file];
    let first = sandbox.start("first", &words);
    let holds = |text: &str| sandbox.ruleset().contains(text);
    eventually("the Service is in the kernel", || holds("10.1.2.3 . 8080"));
    let refused = |what: &[&str]| !sandbox.command("nft").args(what).output().unwrap().status.success();
    assert!(refused(&["delete", "table", "ip", "portolan"]));
    sandbox.ok("nft", &["flush", "ruleset"]);
    assert!(holds("10.1.2.3 . 8080"), "a flush passes by what is owned");

    let second = sandbox.portolan(&words).expect(2);
    assert!(second.stderr.contains("table ip portolan belongs to another process"), "{second:#?}");
    let cleanup = sandbox.bare(&["cleanup", "--state-dir", &sandbox.state()]).expect(2);
    assert!(cleanup.stderr.contains("end that process first"), "{cleanup:#?}");

    let handles = || {
        let listing = sandbox.ok("nft", &["--stateless", "-a", "list", "ruleset"]);
        listing.lines().filter(|line| !line.contains("flags ") && !line.starts_with("table ")).collect::<String>()
    };
    let before = handles();
    drop(first); // SIGKILL
    assert_eq!(handles(), before, "the rules outlive the process");
    let next = sandbox.start("next", &words);
    eventually("they belong to the next one", || refused(&["add", "chain", "ip", "portolan", "foo"]));
    let new = sandbox.write("new", &(service("web", "10.96.0.10", &["10.1.2.9"]) + NODE));
    fs::rename(new, &file).unwrap();
    eventually("it follows", || holds("10.1.2.9 . 8080"));
    let log = fs::read_to_string(sandbox.path("next.err")).unwrap();
    assert!(!log.contains("program installed"), "{log}");
    assert_eq!(next.terminate(), Some(0));
    sandbox.bare(&["cleanup", "--state-dir", &sandbox.state()]).expect(0);
    assert_eq!(sandbox.ruleset(), "");
}
