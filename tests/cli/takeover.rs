//! Taking a node over from kube-proxy.

use std::fs;

use super::{
    manifests::web,
    sandbox::{PORTOLAN, Ran, Sandbox, eventually},
};

/// What a kube-proxy of either kind leaves, much shortened.
const LEFT: &str = "\
table ip kube-proxy { chain services { }\n }
table ip nat {
  chain KUBE-SERVICES { }
  chain PREROUTING { type nat hook prerouting priority -100; counter jump KUBE-SERVICES; ip daddr 192.0.2.1 drop; }
}
";
const STAYS: &str = "ip daddr 192.0.2.1 drop";

#[test]
fn nothing_starts_beside_a_living_kube_proxy() {
    let Some(sandbox) = Sandbox::new("nothing_starts_beside_a_living_kube_proxy") else { return };
    let program = sandbox.path("kube-proxy");
    // Not by this process, whose open file others would inherit: then it could not be run ("text file busy").
    sandbox.ok("cp", &["/bin/sleep", program.to_str().unwrap()]);
    let mut alive = sandbox.command(program.to_str().unwrap()).arg("600").spawn().unwrap();
    let comm = format!("/proc/{}/comm", alive.id());
    eventually("the process has its name", || fs::read_to_string(&comm).is_ok_and(|name| name == "kube-proxy\n"));
    let file = sandbox.write("web.yaml", &web());
    sandbox.nft(LEFT);
    let before = sandbox.ruleset();
    for words in [&["run", "-f", &file][..], &["run", "-f", &file, "--cleanup-kube-proxy"]] {
        let ran = sandbox.portolan(words).expect(2);
        let named = format!("a kube-proxy is alive in this network namespace (process {} (kube-proxy))", alive.id());
        assert!(ran.stderr.contains(&named) && ran.stderr.contains("--cleanup-kube-proxy"), "{ran:#?}");
    }
    let ran = sandbox.bare(&["cleanup", "--kube-proxy"]).expect(2);
    assert!(ran.stderr.contains("a kube-proxy is alive"), "{ran:#?}");
    alive.kill().unwrap();
    alive.wait().unwrap();
    assert_eq!(sandbox.ruleset(), before);

    let ran = sandbox.bare(&["cleanup", "--kube-proxy"]).expect(0);
    assert_eq!(ran.stdout, "removed of kube-proxy: table ip kube-proxy, 1 chain of kube-proxy in ip nat\n");
    let ruleset = sandbox.ruleset();
    assert!(ruleset.contains(STAYS) && !ruleset.contains("KUBE-SERVICES"), "{ruleset}");
}

#[test]
fn what_kube_proxy_left_is_named_and_on_demand_removed_once_ours_is_there() {
    let Some(sandbox) = Sandbox::new("what_kube_proxy_left_is_named_and_on_demand_removed_once_ours_is_there") else {
        return;
    };
    let file = sandbox.write("web.yaml", &web());
    sandbox.nft(LEFT);
    let running = sandbox.start("one", &["run", "-f", &file]);
    eventually("our rules are there", || sandbox.ruleset().contains("10.1.2.3 . 8080"));
    assert_eq!(running.terminate(), Some(0));
    let log = fs::read_to_string(sandbox.path("one.err")).unwrap();
    let warning =
        "kube-proxy left table ip kube-proxy, 1 chain of kube-proxy in ip nat, which translate packets as well";
    assert!(log.contains(warning), "{log}");
    assert!(sandbox.ruleset().contains("KUBE-SERVICES"));

    let running = sandbox.start("two", &["run", "-f", &file, "--cleanup-kube-proxy"]);
    eventually("kube-proxy's rules are gone", || {
        let ruleset = sandbox.ruleset();
        !ruleset.contains("KUBE-SERVICES") && !ruleset.contains("table ip kube-proxy")
    });
    assert!(sandbox.ruleset().contains(STAYS) && sandbox.ruleset().contains("10.1.2.3 . 8080"));
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn tables_that_cannot_be_read_are_named_with_what_to_do() {
    let Some(sandbox) = Sandbox::new("tables_that_cannot_be_read_are_named_with_what_to_do") else { return };
    // Listing a table of the old iptables brings it into use, where the kernel still has it.
    let has_old_iptables =
        sandbox.command("iptables-legacy").args(["-t", "nat", "-S"]).output().unwrap().status.success();
    let words = ["PATH=/nowhere", PORTOLAN, "cleanup", "--kube-proxy"];
    let ran = Ran::of(sandbox.command("env").args(words).output().unwrap()).expect(0);
    assert_eq!(ran.stdout, "removed of kube-proxy: nothing\n");
    let warning =
        "warning: the old iptables' table ip nat is in use, and `iptables-legacy-save`, which could read it, is not";
    assert_eq!(ran.stderr.starts_with(warning), has_old_iptables, "{ran:#?}");
}

#[test]
fn init_only_sets_sysctls_reports_what_it_cannot_and_ends() {
    let Some(sandbox) = Sandbox::new("init_only_sets_sysctls_reports_what_it_cannot_and_ends") else { return };
    let words = ["run", "--init-only", "--conntrack-tcp-timeout-close-wait", "37m", "--oom-score-adj", "7"];
    let more = ["--conntrack-max-per-core", "1", "--conntrack-min", "77777"];
    let ran = sandbox.bare(&[&words[..], &more].concat()).expect(0);
    let close_wait = sandbox.ok("cat", &["/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait"]);
    assert_eq!(close_wait, "2220\n");
    assert!(ran.stderr.contains("set /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait = 2220"), "{ran:#?}");
    assert!(ran.stderr.contains("set /proc/self/oom_score_adj = 7"), "{ran:#?}");
    // In a network namespace that is not the first one this file is read-only for everybody.
    let reported = "cannot set /proc/sys/net/netfilter/nf_conntrack_max to 77777: ";
    assert!(
        ran.stderr.contains(reported) && ran.stderr.contains("`sysctl -w net.netfilter.nf_conntrack_max=77777`"),
        "{ran:#?}"
    );
    assert_eq!(sandbox.ruleset(), "");
}
