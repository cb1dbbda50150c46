//! Flags and standard input.

use std::process::Command;

use super::{
    manifests::{service, web},
    sandbox::{PORTOLAN, Ran, feed},
};

fn portolan(words: &[&str]) -> Ran {
    Ran::of(Command::new(PORTOLAN).args(words).output().unwrap())
}

#[test]
fn manifests_come_from_standard_input_and_from_several_files() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").to_str().unwrap().to_owned();
    let file = folder.path().join("other.yaml").to_str().unwrap().to_owned();
    std::fs::write(&file, service("other", "10.96.0.11", &["10.1.2.5"])).unwrap();
    let words = ["render", "-f", "-", "-f", &file, "--node", "node-1", "--state-dir", &state, "-o", "summary"];
    let ran = feed(Command::new(PORTOLAN).args(words), &web()).expect(0);
    assert!(ran.stdout.contains("shop/web (ClusterIP)") && ran.stdout.contains("shop/other (ClusterIP)"), "{ran:#?}");
}

#[test]
fn help_names_the_flags() {
    let inputs = ["--manifests", "--service-cidr", "--load-balancer-pool", "--state-dir", "--node", "--masquerade-bit"];
    for command in [&["render"][..], &["apply"], &["run"], &["diff"], &["get", "services"]] {
        let help = portolan(&[command, &["--help"]].concat()).expect(0).stdout;
        for flag in inputs {
            assert!(help.contains(flag), "{command:?} {flag}");
        }
    }
    let more = [
        (&["render"][..], "--output"),
        (&["run"], "--dry-run"),
        (&["run"], "--min-sync-period"),
        (&["run"], "--apiserver"),
        (&["run"], "--config"),
        (&["run"], "--cleanup-kube-proxy"),
        (&["cleanup"], "--kube-proxy"),
        (&["diff"], "--output"),
        (&["get", "services"], "--namespace"),
        (&["lab"], "--keep"),
        (&["lab"], "--prefix"),
        (&["cleanup"], "--state-dir"),
        (&["resolve"], "--from"),
        (&["resolve"], "--corefile"),
        (&["dns"], "--check"),
    ];
    for (command, flag) in more {
        assert!(portolan(&[command, &["--help"]].concat()).expect(0).stdout.contains(flag), "{command:?} {flag}");
    }
}

#[test]
fn bad_flags_are_refused_by_name() {
    let bad = [
        ("--no-such-flag", "1"),
        ("--service-cidr", "10.96.0.0/33"),
        ("--cluster-cidr", "pods"),
        ("--masquerade-bit", "32"),
        ("--pod-bridge-interface", "br\"0"),
        ("--pod-interface-name-prefix", "an-interface-too-long"),
        ("--nodeport-addresses", "localhost"),
        ("--node-ip", "node-1"),
        ("--detect-local-mode", "Guess"),
    ];
    for (flag, value) in bad {
        let ran = portolan(&["render", "-f", "examples/01-clusterip.yaml", flag, value]).expect(2);
        assert!(ran.stderr.contains(flag), "{ran:#?}");
        assert_eq!(ran.stdout, "");
    }
}
