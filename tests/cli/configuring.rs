//! Where options come from.

use std::{fs, process::Command};

use super::{
    manifests,
    sandbox::{PORTOLAN, Ran, Sandbox},
};

/// `portolan run ARGUMENTS` with these variables, and nothing of the caller's own.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(PORTOLAN);
    command.arg("run").args(arguments).envs(variables.iter().copied());
    Ran::of(command.output().unwrap())
}

/// What applies, as `--write-config-to` writes it.
fn written(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.yaml");
    run(&[arguments, &["--write-config-to", path.to_str().unwrap()]].concat(), variables).expect(0);
    fs::read_to_string(path).unwrap()
}

#[test]
fn flags_come_before_the_environment_that_before_the_file_and_that_before_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portolan.yaml");
    let path = path.to_str().unwrap();
    fs::write(path, "masqueradeBit: 1\nsyncPeriod: 11s\nminSyncPeriod: 1s\nmasqueradeAll: true\n").unwrap();
    let variables = [("PORTOLAN_MASQUERADE_BIT", "2"), ("PORTOLAN_SYNC_PERIOD", "12s")];
    let text = written(&["--config", path, "--masquerade-bit", "3", "--masquerade-all=false"], &variables);
    for line in
        ["masqueradeBit: 3", "syncPeriod: 12s", "minSyncPeriod: 1s", "masqueradeAll: false", "oomScoreAdj: -999"]
    {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    // The file may be named by the environment, and what was written is a file like any other.
    fs::write(path, &text).unwrap();
    assert_eq!(written(&[], &[("PORTOLAN_CONFIG", path)]), text);
}

#[test]
fn the_file_of_a_kube_proxy_is_read_as_it_is() {
    let text = written(&["--config", "tests/config/kubeadm.yaml"], &[]);
    assert!(text.starts_with("apiVersion: config.portolan.net/v1alpha1\nkind: PortolanConfiguration\n"), "{text}");
    assert!(text.contains("kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n"), "{text}");
    assert!(text.contains("10.244.0.0/16"), "{text}");
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portolan.yaml");
    let path = path.to_str().unwrap();
    let ran = run(&["--config", path], &[]).expect(2);
    assert!(ran.stderr.contains(&format!("cannot read the configuration from {path}: ")), "{ran:#?}");
    let cases = [
        ("nodeIp: 10.0.0.1\nclusterCidr: 10.0.0.0/64\n", ":2:14: clusterCidr: \"10.0.0.0/64\" is no range"),
        ("masqeradeBit: 5\n", ":1:1: masqeradeBit: there is no such field; is masqueradeBit meant?"),
        ("a: [\n", ":"),
    ];
    for (text, error) in cases {
        fs::write(path, text).unwrap();
        let ran = run(&["--config", path], &[]).expect(2);
        assert!(ran.stderr.starts_with(&format!("portolan: {path}{error}")), "{ran:#?}");
    }
}

#[test]
fn a_cluster_cidr_of_a_family_that_the_node_has_not_is_named() {
    let state = tempfile::tempdir().unwrap();
    let words = ["render", "-f", "examples/01-clusterip.yaml", "--node-ip", "192.0.2.7", "--cluster-cidr", "fd00::/48"];
    let output = Command::new(PORTOLAN).args(words).arg("--state-dir").arg(state.path()).output().unwrap();
    let ran = Ran::of(output).expect(0);
    assert!(
        ran.stderr.contains("--cluster-cidr fd00::/48 is IPv6, but neither the node's addresses (192.0.2.7"),
        "{ran:#?}"
    );
}

#[test]
fn every_command_that_judges_a_node_reads_the_agents_file() {
    let commands: [&[&str]; 9] = [
        &["render", "-f", "-"],
        &["apply", "-f", "-"],
        &["diff", "-f", "-"],
        &["get", "services", "-f", "-"],
        &["get", "conntrack"],
        &["top"],
        &["plan", "a", "b"],
        &["trace", "10.96.0.10:80"],
        &["explain", "10.96.0.10:80", "-f", "-"],
    ];
    for command in commands {
        let ran =
            Command::new(PORTOLAN).args(command).env("PORTOLAN_CONFIG", "/nowhere/portolan.yaml").output().unwrap();
        let ran = Ran::of(ran).expect(2);
        assert!(
            ran.stderr.contains("cannot read the configuration from /nowhere/portolan.yaml"),
            "{command:?} {ran:#?}"
        );
    }
}

#[test]
fn beside_an_agent_its_settings_are_those_that_count() {
    let Some(sandbox) = Sandbox::new("beside_an_agent_its_settings_are_those_that_count") else { return };
    let (file, state) = (sandbox.write("web.yaml", &manifests::web()), sandbox.path("state"));
    let config = format!("masqueradeBit: 17\nmasqueradeAll: true\nstateDir: {}\n", state.display());
    let config = sandbox.write("portolan.yaml", &config);
    sandbox.portolan(&["apply", "-f", &file, "--masquerade-bit", "17", "--masquerade-all"]).expect(0);
    let beside = |arguments: &[&str]| {
        let mut command = sandbox.command(PORTOLAN);
        command.args(arguments).args(["--log", "error"]).env("PORTOLAN_CONFIG", &config).env("PORTOLAN_NODE", "node-1");
        Ran::of(command.output().unwrap())
    };
    let same = beside(&["diff", "-f", &file]).expect(0);
    assert_eq!((same.stdout.as_str(), same.stderr.as_str()), ("", ""));
    let other = beside(&["diff", "-f", &file, "--masquerade-bit", "18"]).expect(1);
    assert!(other.stdout.contains("and these settings"), "a flag counts more than the file: {other:#?}");
    let told = beside(&["explain", "shop/web:80", "-f", &file, "--live"]);
    assert!(told.stdout.contains("the program in table ip portolan is intact"), "{told:#?}");
    let plan = beside(&["plan", "live", &file]).expect(0);
    assert!(plan.stdout.contains("othing"), "{plan:#?}");
}
