//! Each thing that can become of a packet, in both families.

use std::{fs, time::Duration};

use portolan::{
    kernel::nft,
    lab::{Outcome, Session, in_namespace},
    model::{Family, Frontend, Protocol, Service, TrafficPolicy},
};

use crate::{
    asking::{BRIEF, Caller},
    services::{Kind, READY, addresses, families_and_protocols, service, settings, world},
    support::{Net, can_run, node_address, pod_address, run, spec},
    tracing::{Ended, Trace},
};

const SERVED: u8 = 1;
const EMPTY: u8 = 2;
const ELSEWHERE: u8 = 3;
const GUARDED: u8 = 4;
const SELF: u8 = 5;
const AFFINITY: u8 = 6;

fn net() -> Net {
    let mut net = Net::up(spec(2, &[("here", 1), ("there", 2), ("guest", 1)]));
    net.lab.route(&addresses(SERVED..=AFFINITY), "node-1").unwrap();
    let local = Service { external_policy: TrafficPolicy::Local, ..service(ELSEWHERE) };
    let ranges = ["203.0.113.0/24", "fd00:203::/64"].map(|range| range.parse().unwrap()).to_vec();
    let services = [
        (service(SERVED), vec![("here", READY), ("there", READY)]),
        (service(EMPTY), vec![]),
        (local, vec![("there", READY)]),
        (Service { source_ranges: ranges, ..service(GUARDED) }, vec![("here", READY)]),
        (service(SELF), vec![("here", READY)]),
        (Service { affinity_seconds: Some(600), ..service(AFFINITY) }, vec![("there", READY)]),
    ];
    let world = world(net.lab.spec(), &services);
    net.program(&world, &settings());
    net
}

impl Net {
    /// Traces, on node-1, one packet that this caller sends to a frontend.
    fn trace(&self, caller: &Caller, frontend: Frontend, words: &[&str]) -> (Ended, Outcome) {
        let node = self.lab.node("node-1").unwrap();
        let target = frontend.to_string();
        let common = [target.as_str(), "--packets", "1", "--for", "60s"];
        let trace = Trace::start(&node, &[&common, words].concat());
        let outcome = caller.probe(frontend).patience(BRIEF).run(&caller.namespace).unwrap();
        (trace.end(), outcome)
    }
}

#[test]
fn what_becomes_of_packets_is_said() {
    if !can_run("what_becomes_of_packets_is_said") {
        return;
    }
    let net = net();
    let (guest, here, host, client) = (net.pod("guest"), net.pod("here"), net.host(1), net.client());
    for (family, protocol) in families_and_protocols() {
        let of = |kind: Kind, number| kind.frontend(number, family, protocol);
        let at = |number| of(Kind::ClusterIp, number);
        let name = |number: u8| format!("Service shop/web-{number}:{}", protocol.nft());

        let (ended, _) = net.trace(&guest, at(SERVED), &["--from", &guest.address(family).to_string()]);
        let frontend = format!("frontend {} of {}, policy internal, Cluster", at(SERVED), name(SERVED));
        ended.assert("delivered", "", &[&frontend, "picks among 2 endpoints (pick-2)", "to endpoint", "leaves by "]);
        assert!(ended.packet()["seenAs"].is_null(), "{ended:?}");
        assert_eq!(ended.packet()["service"], format!("shop/web-{SERVED}"));
        assert!(ended.sentence().starts_with("1 packet: went to "), "{}", ended.sentence());

        let (ended, _) = net.trace(&client, of(Kind::NodePort, SERVED), &[]);
        let seen = node_address(1, family).to_string();
        let hidden = format!("source hidden: marked, then masqueraded, the receiver sees {seen}");
        ended.assert("delivered", "", &["policy external, Cluster", "marked for masq", "to endpoint", &hidden]);

        let (ended, _) = net.trace(&host, at(SERVED), &["--from", "host"]);
        ended.assert("delivered", "", &["frontend", "marked for masquerading", "to endpoint", "leaves by "]);
        assert!(ended.packet()["incoming"].is_null(), "{ended:?}");

        for caller in [&guest, &host] {
            let (ended, _) = net.trace(caller, at(EMPTY), &[]);
            ended.assert("refused", &format!("no endpoint for {} of {}", at(EMPTY), name(EMPTY)), &["not translated"]);
        }
        let (ended, _) = net.trace(&client, of(Kind::NodePort, EMPTY), &[]);
        ended.assert("refused", "no endpoint for ", &[]);

        let (ended, outcome) = net.trace(&client, of(Kind::LoadBalancer, ELSEWHERE), &[]);
        ended.assert("dropped", "no endpoint on this node, policy Local", &["policy external, Local"]);
        assert_eq!(outcome, Outcome::Silence);

        let (ended, _) = net.trace(&client, of(Kind::LoadBalancer, GUARDED), &[]);
        let source = format!("source not allowed: {} is outside loadBalancerSourceRanges", client.address(family));
        ended.assert("dropped", &source, &["with source ranges"]);

        let (ended, _) = net.trace(&here, at(SELF), &[]);
        ended.assert("delivered", "", &["one endpoint to go to (pick-1)", "to endpoint", "hairpin"]);

        for steps in [["asks whether the client is remembered", "to endpoint"], ["client is remembered", "as before"]] {
            let (ended, _) = net.trace(&guest, at(AFFINITY), &[]);
            ended.assert("delivered", "", &steps);
        }

        // Out by the loopback interface and in again: one packet, seen once.
        let own = Frontend { address: node_address(1, family), port: 4711, protocol };
        let (ended, _) = net.trace(&host, own, &[]);
        ended.assert("delivered", "", &["no frontend of a Service", "handed to this node's process"]);

        let no_port = Frontend { port: 4711, ..at(SERVED) };
        let (ended, _) = net.trace(&guest, no_port, &[]);
        ended.assert("refused", "is a cluster IP, and its Service has no port 4711", &["no frontend of a Service"]);
    }
}

#[test]
fn what_others_do_is_named() {
    if !can_run("what_others_do_is_named") {
        return;
    }
    let net = net();
    let (node, guest) = (net.lab.node("node-1").unwrap(), net.pod("guest"));
    for (family, forwarding) in [(Family::V4, "ipv4/ip_forward"), (Family::V6, "ipv6/conf/all/forwarding")] {
        let frontend = Kind::ClusterIp.frontend(SERVED, family, Protocol::Tcp);
        for line in [
            "add table inet firewall",
            "add chain inet firewall forward { type filter hook forward priority 10 ; policy accept ; }",
            "add rule inet firewall forward tcp dport 8080 counter drop",
        ] {
            run(&node, &format!("nft {line}"));
        }
        let (ended, _) = net.trace(&guest, frontend, &[]);
        let dropped = "dropped by inet firewall forward: tcp dport 8080 drop";
        ended.assert("dropped", "by inet firewall forward: tcp dport 8080 drop", &["to endpoint", dropped]);
        assert_eq!(ended.sentence(), format!("1 packet: {dropped}."));
        run(&node, "nft flush chain inet firewall forward");
        run(&node, "nft add chain inet firewall forward { policy drop ; }");
        let (ended, _) = net.trace(&guest, frontend, &[]);
        ended.assert("dropped", "by inet firewall forward: policy drop", &[]);
        run(&node, "nft delete table inet firewall");

        // More rules than are told, the names of table and chain being no statements.
        let rules = "counter\n".repeat(600);
        let chain = format!("type filter hook forward priority 10; {rules} tcp dport 8080 drop\n");
        let text = format!("table inet reject-log {{ chain dnat-log {{ {chain} }}\n}}");
        net.lab.on_node("node-1", || nft::run(&text, false, "writing very many rules")).unwrap().unwrap();
        let (ended, _) = net.trace(&guest, frontend, &[]);
        let by = "by inet reject-log dnat-log: tcp dport 8080 drop";
        ended.assert("dropped", by, &["to endpoint", "meets more than 500 rules", &format!("dropped {by}")]);
        run(&node, "nft delete table inet reject-log");

        let path = format!("/proc/sys/net/{forwarding}");
        let forward = |value: &str| in_namespace(&node, || fs::write(&path, value)).unwrap().unwrap();
        forward("0");
        let (ended, _) = net.trace(&guest, frontend, &[]);
        ended.assert("lost", "The node does not forward", &["picks among"]);
        forward("1");
    }
}

#[test]
fn a_flow_that_is_tracked_goes_where_it_went() {
    if !can_run("a_flow_that_is_tracked_goes_where_it_went") {
        return;
    }
    let net = net();
    let (node, guest) = (net.lab.node("node-1").unwrap(), net.pod("guest"));
    for (family, protocol) in families_and_protocols() {
        let frontend = Kind::ClusterIp.frontend(SERVED, family, protocol);
        let probe = guest.probe(frontend);
        let mut session = Session::open(&probe, &guest.namespace).unwrap().unwrap();
        let pod = session.exchange(Duration::from_secs(5)).unwrap().pod().unwrap().to_owned();
        let endpoint = pod_address(net.lab.spec(), &pod, family);
        // The table of Pods comes from manifests; everything else from the kernel. Standard input can be read once only.
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: shop}}\nspec: {{nodeName: node-1, containers: []}}\n\
             status: {{podIP: \"{endpoint}\", podIPs: [{{ip: \"{endpoint}\"}}]}}\n"
        );
        let (target, from) = (format!("shop/web-1:80/{protocol}"), guest.address(family).to_string());
        let words = [&target, "--packets", "1", "--for", "60s", "--node", "node-1", "-f", "-", "--from", &from];
        // Of TCP only the packets that open connections are looked at unless asked.
        let all: &[&str] = if protocol == Protocol::Tcp { &["--all-packets"] } else { &[] };
        let trace = Trace::start_with(&node, &[&words, all].concat(), &manifest, |_| {});
        assert_eq!(session.exchange(Duration::from_secs(5)).unwrap().pod(), Some(pod.as_str()));
        let ended = trace.end();
        ended.assert("delivered", "", &["belongs to a tracked connection; goes to", &format!("(Pod shop/{pod})")]);
        assert!(!ended.steps().contains("frontend"), "{}", ended.steps());
        assert!(ended.sentence().ends_with(&format!("(Pod shop/{pod}).")), "{}", ended.sentence());
    }
}
