//! What is built, and what is left of it.

use std::{
    env,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use nix::ifaddrs::getifaddrs;
use portolan::{
    lab::{
        Attachment, CLIENTS, Cluster, Defaults, Lab, LabError, LabHost, LabSpec, Namespace, Outcome, Ports, Probe,
        Responders, down, in_namespace, list, responder::serve,
    },
    model::Protocol,
    objects::{Node, NodeAddress},
};

use crate::support::{BRIEF, can_run, frontend, frontends, ip, pod, prefix, spec, translate, up};

/// Set in the process that [`a_process_answers_beyond_its_creator_and_ends_with_the_lab`] starts.
const CHILD: &str = "PORTOLAN_TEST_RESPONDER";

/// The names of namespaces and state directories that begin so.
fn traces(prefix: &str) -> Vec<String> {
    let names = |directory| fs::read_dir(directory).into_iter().flatten().flatten();
    let all = names("/run/netns").chain(names("/run/portolan-lab"));
    all.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name.starts_with(prefix)).collect()
}

fn interfaces(namespace: &Namespace) -> Vec<String> {
    in_namespace(namespace, || getifaddrs().unwrap().map(|i| i.interface_name).collect()).unwrap()
}

#[test]
fn everybody_reaches_every_pod_and_is_seen_as_himself() {
    if !can_run("everybody_reaches_every_pod_and_is_seen_as_himself") {
        return;
    }
    let lab = up(spec());
    let from_pod = |name: &str| {
        let pod = lab.spec().pods.iter().find(|p| p.name == name).unwrap();
        (lab.pod("default", name).unwrap(), pod.addresses.clone())
    };
    let from_node = |index: usize| {
        let node = &lab.spec().nodes[index];
        (lab.node(&node.name).unwrap(), node.addresses.clone())
    };
    let clients = [from_pod("web-1"), from_pod("web-2"), from_node(0), from_node(1), (lab.client(), CLIENTS.to_vec())];
    for (namespace, addresses) in &clients {
        for name in ["web-1", "web-2", "web-3", "host"] {
            for to in frontends(&lab, name) {
                let own = addresses.iter().find(|a| a.is_ipv4() == to.address.is_ipv4()).unwrap();
                let outcome = Probe::new(to).run(namespace).unwrap();
                let Outcome::Answered { pod, source, destination } = &outcome else { panic!("{to}: {outcome:?}") };
                assert_eq!((pod.as_str(), *destination), (name, SocketAddr::new(to.address, to.port)));
                // A host that talks to itself does so from the very address it asked.
                assert!(source.ip() == *own || source.ip() == to.address, "{namespace} to {to} seen as {source}");
            }
        }
    }
    let second = Probe::new(frontends(&lab, "web-1")[0]).from(CLIENTS[1]).from_port(40_321).run(&lab.client()).unwrap();
    let Outcome::Answered { source, .. } = second else { panic!("{second:?}") };
    assert_eq!(source, SocketAddr::new(CLIENTS[1], 40_321));
}

#[test]
fn a_lab_is_up_and_gone_in_no_time_and_leaves_nothing() {
    if !can_run("a_lab_is_up_and_gone_in_no_time_and_leaves_nothing") {
        return;
    }
    let begin = Instant::now();
    let lab = Lab::up(spec()).unwrap();
    let took = begin.elapsed();
    let prefix = lab.spec().prefix.clone();
    assert_eq!(traces(&prefix).len(), 1 + 1 + 2 + 3 + 1, "LAN, client, nodes, pods, state: {:?}", traces(&prefix));
    assert!(list().unwrap().contains(lab.spec()));
    let cables: Vec<String> = interfaces(&lab.node("node-1").unwrap());
    let cables: Vec<&String> = cables.iter().filter(|name| name.starts_with("veth")).collect();
    assert!(!cables.is_empty());
    lab.down().unwrap();
    assert_eq!(traces(&prefix), Vec::<String>::new());
    let here: Vec<String> = getifaddrs().unwrap().map(|i| i.interface_name).collect();
    assert!(cables.iter().all(|cable| !here.contains(cable)), "{cables:?} came back to {here:?}");
    assert!(took < Duration::from_secs(1), "up took {took:?}");
}

#[test]
fn what_a_crash_left_is_removed_and_no_other_lab_harmed() {
    if !can_run("what_a_crash_left_is_removed_and_no_other_lab_harmed") {
        return;
    }
    let prefix = prefix();
    let nested = up(LabSpec { prefix: format!("{prefix}b-"), ..spec() });
    // A creator that was killed half-way: namespaces, no state, no cables.
    for part in ["lan", "node.node-1", "pod.default.web-1"] {
        assert!(Command::new("ip").args(["netns", "add", &format!("{prefix}{part}")]).status().unwrap().success());
    }
    let taken = Lab::up(LabSpec { prefix: prefix.clone(), ..spec() }).unwrap_err();
    assert!(matches!(taken, LabError::Exists { .. }), "{taken}");
    down(&prefix).unwrap();
    down(&prefix).unwrap();
    assert!(traces(&prefix).iter().all(|name| name.starts_with(&nested.spec().prefix)));
    let outcome = Probe::new(frontends(&nested, "web-2")[0]).run(&nested.client()).unwrap();
    assert_eq!(outcome.pod(), Some("web-2"));
}

#[test]
fn a_lab_that_cannot_be_finished_is_taken_down() {
    if !can_run("a_lab_that_cannot_be_finished_is_taken_down") {
        return;
    }
    let mut spec = spec();
    let mut second = spec.pods[3].clone();
    second.name = "second".into();
    spec.pods.push(second);
    let prefix = spec.prefix.clone();
    let error = Lab::up(spec).unwrap_err().to_string();
    assert!(error.contains("listen on TCP 192.168.49.12:8080 as second") && error.contains("in use"), "{error}");
    assert_eq!(traces(&prefix), Vec::<String>::new());
}

#[test]
fn two_labs_with_the_same_addresses_do_not_meet() {
    if !can_run("two_labs_with_the_same_addresses_do_not_meet") {
        return;
    }
    let labs = ["one", "two"].map(|name| {
        let mut spec = spec();
        spec.pods[0].name = name.into();
        up(spec)
    });
    assert_eq!(labs[0].spec().pods[0].addresses, labs[1].spec().pods[0].addresses);
    for (lab, name) in labs.iter().zip(["one", "two"]) {
        let tally = Probe::new(frontends(lab, name)[0]).spread(&lab.client(), 20).unwrap();
        assert_eq!(tally.pods.get(name), Some(&20), "{tally:?}");
    }
}

#[test]
fn one_family_is_enough() {
    if !can_run("one_family_is_enough") {
        return;
    }
    let mut node = Node::default();
    node.metadata.name = "six".into();
    node.status.addresses = vec![NodeAddress { type_: "InternalIP".into(), address: "fd00:49::99".into() }];
    let defaults = Defaults { dual_stack: false, ..Defaults::default() };
    for (nodes, v6) in [(vec![], false), (vec![node], true)] {
        let cluster = Cluster::complete(&nodes, &[pod("web")], defaults).unwrap();
        let lab = up(cluster.spec(&prefix()).unwrap());
        assert!(lab.spec().pods[0].addresses.iter().all(|a| a.is_ipv6() == v6), "{:?}", lab.spec().pods);
        for to in frontends(&lab, "web") {
            assert_eq!(Probe::new(to).run(&lab.client()).unwrap().pod(), Some("web"), "{to}");
        }
    }
}

#[test]
fn pods_and_nodes_reach_a_translated_address() {
    if !can_run("pods_and_nodes_reach_a_translated_address") {
        return;
    }
    for attachment in [Attachment::Routed, Attachment::Bridge] {
        let lab = up(LabSpec { attachment, ..spec() });
        let (pod, node) = (lab.pod("default", "web-1").unwrap(), lab.node("node-1").unwrap());
        assert_eq!(interfaces(&node).contains(&"cni0".to_owned()), attachment == Attachment::Bridge);
        for to in frontends(&lab, "web-1") {
            let vip =
                frontend(if to.address.is_ipv4() { ip("10.96.0.10") } else { ip("fd00:96::10") }, to.protocol, 80);
            translate(&node, vip, to);
            let hairpin = Probe::new(vip).run(&pod).unwrap();
            let own = lab.spec().nodes[0].addresses.iter().find(|a| a.is_ipv4() == to.address.is_ipv4());
            assert_eq!((hairpin.pod(), hairpin.source().as_ref()), (Some("web-1"), own), "{attachment:?} {vip}");
            let neighbour = lab.pod("default", "web-3").unwrap();
            let direct = Probe::new(vip).run(&neighbour).unwrap();
            let host = Probe::new(vip).run(&node).unwrap();
            assert_eq!((host.pod(), host.source().as_ref()), (Some("web-1"), own), "{attachment:?} {vip}, host");
            let address = lab.spec().pods[2].addresses.iter().find(|a| a.is_ipv4() == to.address.is_ipv4());
            assert_eq!((direct.pod(), direct.source().as_ref()), (Some("web-1"), address), "{attachment:?} {vip}");
        }
    }
}

#[test]
fn a_bridge_needs_its_ports_in_hairpin_mode() {
    if !can_run("a_bridge_needs_its_ports_in_hairpin_mode") {
        return;
    }
    if !Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
        println!("SKIPPED a_bridge_needs_its_ports_in_hairpin_mode: the kernel has no br_netfilter");
        return;
    }
    let lab = up(LabSpec { attachment: Attachment::Bridge, ..spec() });
    let node = lab.node("node-1").unwrap();
    let vip = frontend(ip("10.96.0.10"), Protocol::Tcp, 80);
    translate(&node, vip, frontends(&lab, "web-1")[0]);
    for port in interfaces(&node).iter().filter(|name| name.starts_with("veth")) {
        let off = || Command::new("ip").args(["link", "set", port, "type", "bridge_slave", "hairpin", "off"]).status();
        assert!(in_namespace(&node, off).unwrap().unwrap().success());
    }
    let pod = lab.pod("default", "web-1").unwrap();
    assert_eq!(Probe::new(vip).patience(BRIEF).run(&pod).unwrap(), Outcome::Silence);
}

#[test]
fn hosts_outside_the_cluster_answer_by_their_address() {
    if !can_run("hosts_outside_the_cluster_answer_by_their_address") {
        return;
    }
    let mut spec = spec();
    for address in ["192.0.2.42", "192.0.2.43", "2001:db8::42"] {
        let mut ports = Ports::default();
        ports.insert(Protocol::Tcp, 9376);
        ports.insert(Protocol::Udp, 9376);
        spec.externals.push(LabHost { address: ip(address), ports });
    }
    let lab = up(spec);
    for from in [lab.client(), lab.node("node-1").unwrap(), lab.pod("default", "web-2").unwrap()] {
        for host in &lab.spec().externals {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let outcome = Probe::new(frontend(host.address, protocol, 9376)).run(&from).unwrap();
                assert_eq!(outcome.pod(), Some(host.address.to_string().as_str()), "{from} {protocol}");
            }
        }
    }
}

#[test]
fn a_process_answers_beyond_its_creator_and_ends_with_the_lab() {
    if env::var_os(CHILD).is_some() {
        let plan = serde_json::from_reader(std::io::stdin()).unwrap();
        let Err(error) = serve(plan);
        panic!("the responder ended: {error}");
    }
    const NAME: &str = "a_process_answers_beyond_its_creator_and_ends_with_the_lab";
    if !can_run(NAME) {
        return;
    }
    // This test, once more, as the responder.
    let this = env::current_exe().unwrap().into_os_string();
    let path: OsString = format!("building::{NAME}").into();
    let mut command: Vec<OsString> = vec!["env".into(), format!("{CHILD}=1").into(), this, path];
    command.extend(["--exact", "--nocapture", "-q"].map(OsString::from));
    let spec = LabSpec { responders: Responders::Process(command), ..spec() };
    let prefix = spec.prefix.clone();
    let creator = Lab::up(spec).unwrap();
    drop(creator);

    let mut lab = Lab::open(&prefix).unwrap().guarded();
    assert_eq!(Probe::new(frontends(&lab, "web-2")[1]).run(&lab.client()).unwrap().pod(), Some("web-2"));
    let mut pod = lab.remove_pod("default", "web-2").unwrap();
    pod.addresses = vec![ip("10.244.2.250")];
    lab.add_pod(pod).unwrap();
    assert_eq!(Probe::new(frontends(&lab, "web-2")[1]).run(&lab.client()).unwrap().pod(), Some("web-2"));
    let pids = fs::read_to_string(format!("/run/portolan-lab/{prefix}/pids")).unwrap();
    let processes: Vec<String> = pids.lines().map(|l| format!("/proc/{}", l.split(' ').next().unwrap())).collect();
    assert!(processes.len() == 2 && processes.iter().all(|p| Path::new(p).exists()), "{processes:?}");
    drop(lab);
    assert!(!processes.iter().any(|p| Path::new(p).exists()), "{processes:?}");
    assert_eq!(traces(&prefix), Vec::<String>::new());
}
