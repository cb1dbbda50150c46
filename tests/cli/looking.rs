//! `get` and `top`: what the kernel holds and counts, with and without the objects, after real connections.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use super::{
    manifests::{NODE, service},
    sandbox::{PORTOLAN, Ran, Running, Sandbox, eventually},
};

/// `shop/web` with session affinity and two endpoints of this node, `shop/empty` with none, `shop/local` with one on
/// another node and internal policy Local, and `shop/guarded`, whose load-balancer address is for others than this node.
fn town(second: &str) -> String {
    let web = service("web", "10.96.0.10", &["10.1.2.3", "10.1.2.4"])
        .replace("spec:\n  clusterIP: 10.96.0.10\n", "spec:\n  clusterIP: 10.96.0.10\n  sessionAffinity: ClientIP\n");
    let web = web.replace(
        "{addresses: [10.1.2.4], nodeName: node-1}",
        &format!(
            "{{addresses: [10.1.2.4], nodeName: node-1, targetRef: {{kind: Pod, name: web-b}}, conditions: {second}}}"
        ),
    );
    let local = service("local", "10.96.0.12", &["10.1.9.9"]).replace("nodeName: node-1", "nodeName: node-2");
    let local = local.replace("spec:\n", "spec:\n  internalTrafficPolicy: Local\n");
    let guarded = service("guarded", "10.96.0.13", &["10.1.2.3"]).replace(
        "spec:\n",
        "status: {loadBalancer: {ingress: [{ip: 203.0.113.13}]}}\nspec:\n  type: LoadBalancer\n  allocateLoadBalancerNodePorts: \
         false\n  loadBalancerSourceRanges: [198.51.100.0/24]\n",
    );
    [web, service("empty", "10.96.0.11", &[]), local, guarded, NODE.to_owned()].concat()
}

const READY: &str = "{ready: true}";
const TERMINATING: &str = "{ready: false, serving: true, terminating: true}";

/// A sandbox that holds the town, where its endpoints can answer. The path of its manifests.
fn programmed(test: &str) -> Option<(Sandbox, String)> {
    let sandbox = Sandbox::new(test)?;
    for address in ["10.1.2.3/32", "10.1.2.4/32", "192.168.49.11/32"] {
        sandbox.ok("ip", &["address", "add", address, "dev", "lo"]);
    }
    for network in ["10.96.0.0/16", "203.0.113.0/24"] {
        sandbox.ok("ip", &["route", "add", network, "dev", "lo"]);
    }
    let file = sandbox.write("town.yaml", &town(READY));
    sandbox.apply(&[&file]);
    Some((sandbox, file))
}

/// The listeners of both endpoints of `shop/web`.
fn listeners(sandbox: &Sandbox) -> [TcpListener; 2] {
    sandbox.inside(|| ["10.1.2.3:8080", "10.1.2.4:8080"].map(|address| TcpListener::bind(address).unwrap()))
}

/// What becomes of a connection.
fn connect(sandbox: &Sandbox, to: &str, patience: Duration) -> std::io::Result<TcpStream> {
    let to: SocketAddr = to.parse().unwrap();
    sandbox.inside(|| TcpStream::connect_timeout(&to, patience))
}

/// The JSON that a command prints, found by a field's value.
fn json(ran: Ran) -> Vec<Value> {
    serde_json::from_str(&ran.expect(0).stdout).unwrap()
}

#[track_caller]
fn of<'a>(lines: &'a [Value], field: &str, value: &str) -> &'a Value {
    lines.iter().find(|line| line[field] == value).unwrap_or_else(|| panic!("no {field} {value} in {lines:#?}"))
}

#[test]
fn the_kernel_alone_tells_services_frontends_and_why_connections_fail() {
    let Some((sandbox, file)) = programmed("the_kernel_alone_tells_services_frontends_and_why_connections_fail") else {
        return;
    };
    let _listeners = listeners(&sandbox);
    let patience = Duration::from_secs(10);
    let _open: Vec<TcpStream> = (0..3).map(|_| connect(&sandbox, "10.96.0.10:80", patience).unwrap()).collect();
    // None of these ever succeeds, however long the client waits; each try of its kernel is counted.
    let brief = Duration::from_millis(100);
    assert!(connect(&sandbox, "10.96.0.11:80", brief).is_err(), "nobody serves it");
    assert!(connect(&sandbox, "10.96.0.12:80", brief).is_err());
    assert!(connect(&sandbox, "203.0.113.13:80", brief).is_err());

    let services = json(sandbox.bare(&["get", "services", "-o", "json"]));
    assert_eq!(services.len(), 4);
    let web = of(&services, "name", "web");
    assert_eq!((&web["newConnections"], &web["endpointsUsed"], &web["connections"]), (&3.into(), &2.into(), &3.into()));
    assert_eq!((&web["clusterIp"], &web["ports"]), (&"10.96.0.10".into(), &"80/TCP".into()));
    assert!(web.get("type").is_none(), "only the object knows it");
    assert!(of(&services, "name", "empty")["refused"].as_u64().unwrap() >= 1);
    assert!(of(&services, "name", "local")["dropped"].as_u64().unwrap() >= 1);
    let table = sandbox.bare(&["get", "svc", "web", "-n", "shop"]).expect(0).stdout;
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells, ["shop", "web", "10.96.0.10", "<none>", "80/TCP", "2", "3", "0", "0"], "{table}");

    let frontends = json(sandbox.bare(&["get", "frontends", "-o", "json"]));
    let reason = |frontend: &str| of(&frontends, "frontend", frontend)["reason"].clone();
    assert_eq!(reason("10.96.0.11:80/TCP"), "refused: no endpoint");
    assert_eq!(reason("10.96.0.12:80/TCP"), "dropped: no endpoint on this node");
    assert_eq!(reason("10.96.0.10:80/TCP"), Value::Null);
    let guarded = of(&frontends, "frontend", "203.0.113.13:80/TCP");
    assert_eq!((&guarded["kind"], &guarded["sourceRanges"]), (&"load balancer".into(), &true.into()));
    assert!(guarded["sourceNotAllowedTogether"].as_u64().unwrap() >= 1, "{guarded}");
    let table = sandbox.bare(&["get", "frontends"]).expect(0).stdout;
    assert!(table.contains("source ranges turned away "), "{table}");
    let empty = of(&services, "name", "empty");
    assert_eq!((&empty["clusterIp"], &empty["externalIp"]), (&"10.96.0.11".into(), &"<none>".into()));

    // With the objects: the same, and what only they know.
    let services = json(sandbox.portolan(&["get", "services", "-f", &file, "-o", "json"]));
    let web = of(&services, "name", "web");
    assert_eq!(
        (&web["type"], &web["endpointsReady"], &web["newConnections"]),
        (&"ClusterIP".into(), &2.into(), &3.into())
    );
    assert!(services.iter().all(|service| service["state"] == "programmed"), "{services:#?}");
    let yaml = sandbox.portolan(&["get", "services", "web", "-f", &file, "-o", "yaml"]).expect(0).stdout;
    assert!(yaml.starts_with("- namespace: shop\n  name: web\n"), "{yaml}");
}

#[test]
fn connections_on_terminating_endpoints_are_seen_and_clients_that_are_remembered() {
    let test = "connections_on_terminating_endpoints_are_seen_and_clients_that_are_remembered";
    let Some((sandbox, file)) = programmed(test) else { return };
    let listeners = listeners(&sandbox);
    // Affinity keeps one client on one endpoint: the other is brought in by making it the only one.
    let open = connect(&sandbox, "10.96.0.10:80", Duration::from_secs(10)).unwrap();
    let client = open.local_addr().unwrap();
    let affinity = json(sandbox.bare(&["get", "affinity", "shop/web", "-o", "json"]));
    let [remembered] = affinity.as_slice() else { panic!("{affinity:#?}") };
    assert_eq!((&remembered["client"], &remembered["state"]), (&client.ip().to_string().into(), &"used".into()));
    assert!(remembered["expiresInSeconds"].as_u64().unwrap() > 10_000);
    let endpoint = remembered["endpoint"].as_str().unwrap().to_owned();

    let connections = json(sandbox.bare(&["get", "conntrack", "-o", "json"]));
    let [tracked] = connections.as_slice() else { panic!("{connections:#?}") };
    assert_eq!((&tracked["client"], &tracked["endpoint"]), (&client.to_string().into(), &endpoint.clone().into()));
    assert_eq!((&tracked["answered"], &tracked["leaving"]), (&true.into(), &Value::Null));

    // Its endpoint begins to terminate; the connection stays.
    let leaving = if endpoint.starts_with("10.1.2.4") { town(TERMINATING) } else { swapped() };
    sandbox.write("town.yaml", &leaving);
    sandbox.apply(&[&file]);
    let with_objects = |words: &[&str]| json(sandbox.portolan(&[words, &["-f", &file, "-o", "json"]].concat()));
    let endpoints = with_objects(&["get", "endpoints", "shop/web"]);
    let line = of(&endpoints, "endpoint", &endpoint);
    assert_eq!(
        (&line["state"], &line["connections"], &line["frontends"]),
        (&"terminating".into(), &1.into(), &0.into())
    );
    assert_eq!(with_objects(&["get", "conntrack"])[0]["leaving"], "endpoint terminating");
    assert_eq!(of(&with_objects(&["get", "services"]), "name", "web")["connectionsLeaving"], 1);
    let alone = json(sandbox.bare(&["get", "endpoints", "shop/web", "-o", "json"]));
    assert_eq!(of(&alone, "endpoint", &endpoint)["state"], "no longer used");
    assert_eq!(json(sandbox.bare(&["get", "conntrack", "-o", "json"]))[0]["leaving"], "endpoint no longer used");
    let top = sandbox.bare(&["top", "-d", "1", "-n", "1", "-o", "json"]).expect(0).stdout;
    let top: Value = serde_json::from_str(&top).unwrap();
    let web = of(top["services"].as_array().unwrap(), "name", "web");
    assert_eq!(
        (&web["connections"], &web["connectionsLeaving"], &web["endpointsUsed"]),
        (&1.into(), &1.into(), &1.into())
    );

    // A connection that is over is none, though its entry is still there.
    drop((open, listeners));
    eventually("the closed connection is not shown", || {
        json(sandbox.bare(&["get", "conntrack", "-o", "json"])).is_empty()
    });
}

/// The town with the first endpoint of `shop/web` terminating.
fn swapped() -> String {
    let conditions = format!("{{addresses: [10.1.2.3], nodeName: node-1, conditions: {TERMINATING}}}");
    town(READY).replacen("{addresses: [10.1.2.3], nodeName: node-1}", &conditions, 1)
}

#[test]
fn rates_are_those_of_the_interval() {
    let Some((sandbox, _)) = programmed("rates_are_those_of_the_interval") else { return };
    let _listeners = listeners(&sandbox);
    let before = connect(&sandbox, "10.96.0.10:80", Duration::from_secs(10)).unwrap();
    let mut command = sandbox.command(PORTOLAN);
    command.args(["top", "-d", "1", "-o", "json"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let running = Running::of(child);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output)).map(|line| {
        let table: Value = serde_json::from_str(&line.unwrap()).unwrap();
        of(table["services"].as_array().unwrap(), "name", "web")["newPerSecond"].as_f64().unwrap()
    });
    // What was counted before it began is no part of a rate.
    assert_eq!(lines.next(), Some(0.0));
    let more: Vec<TcpStream> =
        (0..5).map(|_| connect(&sandbox, "10.96.0.10:80", Duration::from_secs(10)).unwrap()).collect();
    assert!(lines.by_ref().take(30).any(|rate| rate > 0.0));
    assert_eq!(running.terminate(), Some(0));
    drop((before, more));
}

#[test]
fn watching_prints_what_changed_and_ends_on_sigint() {
    let Some((sandbox, file)) = programmed("watching_prints_what_changed_and_ends_on_sigint") else { return };
    let mut command = sandbox.command(PORTOLAN);
    command.args(["get", "endpoints", "web", "-o", "json", "--watch"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut document = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        serde_json::from_str::<Vec<Value>>(&line).unwrap()
    };
    assert_eq!(document().len(), 2);
    sandbox.write("town.yaml", &town(TERMINATING));
    sandbox.apply(&[&file]);
    let changed = document();
    assert_eq!((changed.len(), &changed[0]["endpoint"]), (1, &"10.1.2.3:8080".into()));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing else changed, and it has ended");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_the_kernel_does_not_have_is_said() {
    let Some(sandbox) = Sandbox::new("what_the_kernel_does_not_have_is_said") else { return };
    for kind in ["services", "endpoints", "frontends", "affinity", "conntrack"] {
        let ran = sandbox.bare(&["get", kind, "-o", "json"]).expect(1);
        assert_eq!(ran.stdout, "[]\n", "{kind}");
        assert!(ran.stderr.contains("no tables of Portolan in this network namespace"), "{kind}: {}", ran.stderr);
    }
    assert!(sandbox.bare(&["top"]).expect(1).stderr.contains("no tables of Portolan"));
    let file = sandbox.write("town.yaml", &town(READY));
    let get = |words: &[&str]| sandbox.portolan(&[words, &["-f", &file]].concat());
    let frontends = json(get(&["get", "frontends", "-o", "json"]));
    assert!(frontends.iter().all(|frontend| frontend["state"] == "not programmed"), "{frontends:#?}");
    sandbox.apply(&[&file]);
    sandbox.nft("delete element ip portolan endpoints { 10.96.0.10 . tcp . 80 . 1 }");
    let frontends = json(get(&["get", "frontends", "-o", "json"]));
    assert_eq!(of(&frontends, "frontend", "10.96.0.10:80/TCP")["state"], "programmed otherwise");
    let lost = json(get(&["get", "endpoints", "web", "-o", "json"]));
    assert!(lost.iter().any(|endpoint| endpoint["state"] == "used, not programmed yet"), "{lost:#?}");
    let ran = get(&["get", "services", "wep", "web"]).expect(1);
    assert!(ran.stderr.contains("know a Service wep here") && !ran.stderr.contains("Service web "), "{}", ran.stderr);
    sandbox.write("town.yaml", NODE);
    assert_eq!(of(&json(get(&["get", "services", "-o", "json"])), "name", "web")["state"], "left over");
}

#[test]
fn what_may_not_be_looked_at_is_not_told() {
    let Some(sandbox) = Sandbox::new("what_may_not_be_looked_at_is_not_told") else { return };
    let file = sandbox.write("town.yaml", &town(READY));
    sandbox.apply(&[&file]);
    let get = |words: &[&str]| sandbox.without("net_admin", &[words, &["-f", &file]].concat());
    for (kind, code) in [("services", 0), ("endpoints", 0), ("frontends", 0), ("affinity", 1), ("conntrack", 1)] {
        let ran = get(&["get", kind]).expect(code);
        assert!(
            ran.stderr.contains("this node's kernel could not be read") && ran.stderr.contains("CAP_NET_ADMIN"),
            "{ran:#?}"
        );
    }
    for kind in ["services", "frontends"] {
        let lines = json(get(&["get", kind, "-o", "json"]));
        assert!(!lines.is_empty() && lines.iter().all(|line| line["state"].is_null()), "{lines:#?}");
    }
    let table = get(&["get", "services", "-o", "wide"]).expect(0).stdout;
    assert!(!table.contains("programmed"), "{table}");
    let ran = get(&["top", "--count", "1"]).expect(2);
    assert!(ran.stderr.contains("CAP_NET_ADMIN") && !ran.stderr.contains("no tables"), "{ran:#?}");
}
