//! The objects are right, and the kernel holds something else.

use std::{fmt::Write, fs, time::Duration};

use portolan::lab::{Outcome, Probe};

use crate::{
    caller::{CLIENT, OUTSIDE},
    manifests::{Manifests, base, load_balancer, node_port},
    packets::frontend,
    situation::{Programming, Situation},
    stage::Stage,
};

pub fn situations() -> Vec<Situation> {
    [programs(), elements(), connections(), agents()].into_iter().flatten().collect()
}

fn programs() -> Vec<Situation> {
    vec![
        Situation::new("program: nobody has written any", base())
            .programmed(Programming::None)
            .live()
            .fails("not-programmed", &["portolan"]),
        Situation::new("program: the table was deleted", base())
            .after_nft("delete table ip portolan")
            .fails("not-programmed", &["ip portolan"]),
        Situation::new("program: the IPv6 table was deleted", base())
            .asks("[fd00:96::1]:80", "[fd00:96::1]:80/TCP")
            .after_nft("delete table ip6 portolan")
            .fails("not-programmed", &["ip6 portolan"]),
        Situation::new("program: the IPv6 table was deleted, and IPv4 is asked for", base())
            .after_nft("delete table ip6 portolan")
            .works_but("agent-dead", &[]),
        Situation::new("program: flushed", base())
            .after_nft("flush table ip portolan")
            .fails("program-edited", &["ip portolan"]),
        Situation::new("program: a chain was emptied", base())
            .after_nft("flush chain ip portolan prerouting")
            .fails("program-edited", &["prerouting"]),
        Situation::new("program: a rule was put in front", base())
            .after_nft("insert rule ip portolan internal drop")
            .fails("program-edited", &["internal"]),
        Situation::new("program: a rule was put in front of where refusals are made", base())
            .after_nft("insert rule ip portolan filter-forward drop")
            .fails("program-edited", &["filter-forward"]),
        Situation::new("program: a chain that Services go through was emptied", base())
            .after_nft("flush chain ip portolan internal")
            .fails("program-edited", &["internal"]),
        Situation::new("program: a rule was added that does nothing", base())
            .after_nft("add rule ip portolan postrouting counter")
            .works_but("program-edited", &["postrouting"]),
        Situation::new("program: a rule was added for others", base())
            .after_nft("insert rule ip portolan filter-forward udp dport 9999 drop")
            .works_but("program-edited", &["filter-forward"]),
        Situation::new("program: a rule was added that no packet comes to", base())
            .after_nft("add rule ip portolan internal drop")
            .works_but("program-edited", &["internal"]),
        Situation::new("program: a chain was added", base())
            .after_nft("add chain ip portolan theirs { type filter hook forward priority 5; policy drop; }")
            .fails("program-edited", &["ip portolan theirs"]),
        Situation::new("program: one endpoint of two is dropped", base())
            .after_nft("insert rule ip portolan filter-forward ip daddr 10.244.2.11 drop")
            .partly()
            .works_but("program-edited", &["10.244.2.11"]),
        Situation::new(
            "program: nobody has written any, and there are no endpoints",
            base().pods("app: web", "app: wbe"),
        )
        .programmed(Programming::None)
        .live()
        .fails("not-programmed", &["portolan", "app=web"]),
        Situation::new("program: asleep", base())
            .after_nft("add table ip portolan { flags dormant; }")
            .fails("program-edited", &["ip portolan"]),
    ]
}

fn elements() -> Vec<Situation> {
    let cause = "kernel-differs";
    let only_here = || base().without("pod shop/web-2");
    let with = |name, manifests: Manifests, text: &'static str| Situation::new(name, manifests).after_nft(text);
    vec![
        with(
            "element: the frontend was deleted",
            base(),
            "delete element ip portolan frontends { 10.96.0.1 . tcp . 80 }",
        )
        .fails(cause, &["10.96.0.1"]),
        with("element: the picks were deleted", base(), "delete element ip portolan picks { 10.96.0.1 . tcp . 80 }")
            .fails(cause, &["10.96.0.1"]),
        with(
            "element: the look-up of session affinity was deleted",
            base().web("  type:", "  sessionAffinity: ClientIP\n  type:"),
            "delete element ip portolan picks { 10.96.0.1 . tcp . 80 }",
        )
        .fails(cause, &["10.96.0.1", "affinity"]),
        with(
            "element: a refusal was put beside the frontend",
            base(),
            "add element ip portolan dead-ends { 10.96.0.1 . tcp . 80 : goto refuse }",
        )
        .works_but(cause, &["10.96.0.1"]),
        with(
            "element: the endpoint was deleted",
            only_here(),
            "delete element ip portolan endpoints { 10.96.0.1 . tcp . 80 . 0 }",
        )
        .fails(cause, &["10.244.1.11"]),
        with(
            "element: the endpoint leads to nobody",
            only_here(),
            "delete element ip portolan endpoints { 10.96.0.1 . tcp . 80 . 0 }; add element ip portolan endpoints { \
             10.96.0.1 . tcp . 80 . 0 : 10.244.1.11 . 8099 }",
        )
        .fails(cause, &["10.244.1.11"]),
        with(
            "element: the IPv6 frontend was deleted",
            base(),
            "delete element ip6 portolan frontends { fd00:96::1 . tcp . 80 }",
        )
        .asks("[fd00:96::1]:80", "[fd00:96::1]:80/TCP")
        .fails(cause, &["fd00:96::1"]),
        with(
            "element: the node port was deleted",
            node_port(),
            "delete element ip portolan frontends { 192.168.49.11 . tcp . 30080 }",
        )
        .from(OUTSIDE)
        .asks("node-1:30080", "192.168.49.11:30080/TCP")
        .fails(cause, &["192.168.49.11"]),
        with(
            "element: who may come was deleted",
            load_balancer().web("  type:", "  loadBalancerSourceRanges: [192.168.49.0/24]\n  type:"),
            "flush set ip portolan allowed-sources",
        )
        .from(OUTSIDE)
        .asks("192.0.2.127:80", "192.0.2.127:80/TCP")
        .fails(cause, &["192.0.2.127"]),
        with(
            "element: a dead end was made of it",
            base().pods("app: web", "app: wbe"),
            "delete element ip portolan dead-ends { 10.96.0.1 . tcp . 80 }",
        )
        .fails("selector-matches-nothing", &["app=web"]),
    ]
}

/// Somebody's flow that another table once sent to a pod that is gone. The entry outlives that table.
fn stale(stage: &mut Stage) {
    stage.nft(
        1,
        "table ip once {\n chain prerouting { type nat hook prerouting priority -110;\n udp sport 5000 dnat to \
         10.244.1.99:8080\n }\n}\n",
    );
    let probe = Probe::new(frontend("10.96.0.1:80/UDP")).from_port(5000).patience(Duration::from_millis(200));
    let ask = || probe.run(&CLIENT.namespace(stage)).unwrap();
    ask();
    stage.nft(1, "delete table ip once");
    let outcome = ask();
    assert!(matches!(outcome, Outcome::Silence | Outcome::Unreachable), "the entry does not count: {outcome:?}");
}

/// As many connections as connection tracking takes, of others.
fn fill(stage: &mut Stage) {
    let max: usize = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap().trim().parse().unwrap();
    let mut text = String::new();
    for number in 0..max + 64 {
        let (host, port) = (number / 65_000, 1 + number % 65_000);
        let _ = writeln!(
            text,
            "-I -p udp -s 198.18.{host}.1 -d 198.18.{host}.2 --sport {port} --dport 9 -r 198.18.{host}.2 -q \
             198.18.{host}.1 --reply-port-src 9 --reply-port-dst {port} -t 300 -u SEEN_REPLY,ASSURED"
        );
    }
    fs::write(stage.path("entries"), text).unwrap();
    let node = stage.lab.node("node-1").unwrap();
    let load = || std::process::Command::new("conntrack").arg("-R").arg(stage.path("entries")).output();
    // It ends with an error: the table is full.
    portolan::lab::in_namespace(&node, load).unwrap().unwrap();
}

fn connections() -> Vec<Situation> {
    let udp = || base().web("protocol: TCP", "protocol: UDP").web("targetPort: http", "targetPort: 8080");
    vec![
        Situation::new("connections: a client's flow is kept on a pod that is gone", udp())
            .asks("shop/web:80/UDP", "10.96.0.1:80/UDP")
            .after(stale)
            .works_but("stale-connection", &["10.244.1.99"]),
        Situation::new("connections: the table is full", base())
            .after(fill)
            .fails("connection-table-full", &["nf_conntrack_max"]),
    ]
}

/// An agent one of whose files becomes something that cannot be read.
fn unreadable(stage: &mut Stage) {
    let file = stage.path("more.yaml");
    fs::write(&file, "# nothing yet\n").unwrap();
    stage.run_agent(1, &["-f", file.to_str().unwrap()]);
    fs::write(&file, "kind: [\n").unwrap();
    let says = || stage.agent_says(1, 10249, "/status").unwrap_or_default();
    stage.eventually("the agent says that it cannot read", || says().contains("sourceStale"));
}

fn agents() -> Vec<Situation> {
    let gone = |stage: &mut Stage| stage.kill(0);
    vec![
        Situation::new("agent: it was killed", base())
            .programmed(Programming::Agent)
            .after(gone)
            .works_but("agent-dead", &["portolan run"]),
        Situation::new("agent: one of its files cannot be read", base())
            .after(unreadable)
            .works_but("source-stale", &["more.yaml"]),
        Situation::new("agent: it never ran", base()).live().works_but("agent-dead", &["portolan run"]),
        Situation::new("agent: killed, and then a pod was replaced", base().without("pod shop/web-2"))
            .programmed(Programming::Agent)
            .after(gone)
            .after(|stage| {
                let next = base().without("pod shop/web-1");
                stage.write(&next);
            })
            .works_but("agent-dead", &["10.244.1.11"]),
        Situation::new("agent: killed, and then the Service got another port", base())
            .programmed(Programming::Agent)
            .after(gone)
            .after(|stage| stage.write(&base().web("port: 80,", "port: 81,")))
            .asks("shop/web:81", "10.96.0.1:81/TCP")
            .fails("agent-dead", &["81"]),
        Situation::new("agent: killed, and then the Service got its first pods", base().web("app: web", "app: wbe"))
            .programmed(Programming::Agent)
            .after(gone)
            .after(|stage| stage.write(&base()))
            .fails("agent-dead", &["10.96.0.1"]),
    ]
}
