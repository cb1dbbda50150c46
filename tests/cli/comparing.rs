//! `diff`: the manifests against the kernel, in the terms of Services.

use super::{manifests::web, sandbox::Sandbox};

#[test]
fn differences_are_told_in_the_terms_of_services() {
    let Some(sandbox) = Sandbox::new("differences_are_told_in_the_terms_of_services") else { return };
    let file = sandbox.write("web.yaml", &web());
    let ran = sandbox.portolan(&["diff", "-f", &file]).expect(1);
    assert!(ran.stdout.contains("program: table ip portolan missing\n"), "{ran:#?}");
    sandbox.apply(&[&file]);
    assert_eq!(sandbox.portolan(&["diff", "-f", &file]).expect(0).stdout, "");

    sandbox.nft("delete element ip portolan endpoints { 10.96.0.10 . tcp . 80 . 0 }");
    let ran = sandbox.portolan(&["diff", "-f", &file]).expect(1);
    assert_eq!(ran.stdout, "shop/web: endpoint 10.1.2.3:8080 missing (10.96.0.10:80/TCP)\n");
    let ran = sandbox.portolan(&["diff", "-f", &file, "-o", "json"]).expect(1);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json[0]["service"], "shop/web");
    assert_eq!((&json[0]["what"], &json[0]["missing"]), (&"endpoint 10.1.2.3:8080".into(), &true.into()));
    assert_eq!(json[0]["frontends"][0], "10.96.0.10:80/TCP");

    // Apply mends it.
    sandbox.apply(&[&file]);
    sandbox.portolan(&["diff", "-f", &file]).expect(0);
    sandbox.nft("add element ip portolan endpoints { 10.96.0.10 . tcp . 80 . 2 : 10.1.2.9 . 8080 }");
    let ran = sandbox.portolan(&["diff", "-f", &file]).expect(1);
    assert_eq!(ran.stdout, "shop/web: endpoint 10.1.2.9:8080 left over (10.96.0.10:80/TCP)\n");
}

#[test]
fn a_chain_that_was_flushed_is_named() {
    let Some(sandbox) = Sandbox::new("a_chain_that_was_flushed_is_named") else { return };
    let file = sandbox.write("web.yaml", &web());
    sandbox.apply(&[&file]);
    sandbox.nft("flush chain ip portolan postrouting");
    let ran = sandbox.portolan(&["diff", "-f", &file]).expect(1);
    assert!(ran.stdout.contains("postrouting"), "{ran:#?}");
    sandbox.apply(&[&file]);
    sandbox.portolan(&["diff", "-f", &file]).expect(0);
}

#[test]
fn what_cannot_be_compared_is_exit_code_2() {
    let Some(sandbox) = Sandbox::new("what_cannot_be_compared_is_exit_code_2") else { return };
    let ran = sandbox.portolan(&["diff", "-f", "/nonexistent"]).expect(2);
    assert!(ran.stderr.contains("/nonexistent"), "{ran:#?}");
}

#[test]
fn without_the_right_to_a_namespace_of_its_own_it_says_what_it_did_not_compare_and_writes_nothing() {
    let test = "without_the_right_to_a_namespace_of_its_own_it_says_what_it_did_not_compare_and_writes_nothing";
    let Some(sandbox) = Sandbox::new(test) else { return };
    let file = sandbox.write("web.yaml", &web());
    sandbox.apply(&[&file]);
    let before = sandbox.generation();
    sandbox.portolan(&["diff", "-f", &file]).expect(0);
    let ran = sandbox.limited(&["diff", "-f", &file]).expect(0);
    assert!(ran.stderr.contains("was not compared; that takes CAP_SYS_ADMIN"), "{ran:#?}");
    assert_eq!(sandbox.generation(), before, "looking changed the ruleset");
}
