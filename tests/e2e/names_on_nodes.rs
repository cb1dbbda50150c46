//! Names from the node's own agent: what a pod with nothing but the usual resolver's configuration sees of it.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use domain::base::{Rtype, iana::Rcode};
use portolan::{
    lab::{Namespace, Probe},
    model::{Family, Protocol},
};
use serde_json::{Value, json};

use crate::{
    chart::WITH_NAMES,
    cluster::command_in,
    dns::{Central, TTL, WORLD, ask, resolves, reverse, world, write_resolv_conf},
    support::{Cluster, PATIENCE, Portolan, SHOP, becomes, cluster_ip, frontend, service, slice},
};

const PODS: [(&str, u8); 4] = [("web-1", 1), ("web-2", 2), ("guest", 1), ("far", 2)];
const DNS: [(&str, u8); 1] = [("dns-1", 2)];
/// The addresses of the DNS Service.
const VIPS: [&str; 2] = ["172.30.0.10", "fd00:30::a"];
/// The TTL by which the central DNS is told from the agent, which has the chart's.
const CENTRAL_TTL: u32 = 29;

/// A node whose agent answers, and a central DNS that tells itself apart.
struct Town {
    central: Central,
    agent: Option<Portolan>,
    guest: Namespace,
}

impl Town {
    fn build(cluster: &Cluster) -> Self {
        let mut central = Central::new(cluster, WITH_NAMES, "dns-1");
        central.write_corefile(&central.corefile().replace("ttl 30\n", &format!("ttl {CENTRAL_TTL}\n")));
        central.start();
        central.becomes_ready();
        make_dns_service(cluster);
        let folder = cluster.api.folder().join("node-1");
        write_resolv_conf(&folder);
        WITH_NAMES.mount(&folder, |text| text);
        let mut town = Self { central, agent: None, guest: cluster.pod("guest") };
        town.start_agent(cluster);
        town
    }

    /// Starts the agent, and waits until it answers the node's pods at both addresses.
    #[track_caller]
    fn start_agent(&mut self, cluster: &Cluster) {
        let (folder, kubeconfig) = (cluster.api.folder().join("node-1"), cluster.api.portolan_kubeconfig());
        let mut agent = cluster.launch_mounted(WITH_NAMES, 1, "node-1", &folder, &kubeconfig);
        agent.wait_until_ready();
        for vip in VIPS {
            becomes(&format!("the agent answers at {vip}"), || {
                assert!(agent.process.is_alive(), "{}", agent.process.last_words());
                self.answered_by(vip, TTL).map_err(|last| format!("{last}; {}", agent.process.last_words()))
            });
        }
        self.agent = Some(agent);
    }

    /// Whether a pod's look-up is answered, and by whoever has this TTL.
    fn answered_by(&self, vip: &str, ttl: u32) -> Result<(), String> {
        let answer = ask(&self.guest, at(vip), "kubernetes.default.svc.cluster.local", Rtype::A)?;
        let right = answer.code == Rcode::NOERROR && answer.data == ["A 172.30.0.1"] && answer.ttl == Some(ttl);
        if right { Ok(()) } else { Err(answer.to_string()) }
    }
}

fn at(vip: &str) -> SocketAddr {
    (vip.parse::<IpAddr>().unwrap(), 53).into()
}

/// The DNS Service as kubeadm makes it, with the central DNS behind it.
fn make_dns_service(cluster: &Cluster) {
    let mut made = service("kube-dns", json!({"clusterIP": VIPS[0], "clusterIPs": VIPS}));
    made["metadata"]["namespace"] = json!("kube-system");
    made["spec"]["ports"] = json!([
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
    ]);
    cluster.client.apply(&made);
    for family in Family::ALL {
        let mut made = slice("kube-dns", family, &cluster.endpoints(family, &[("dns-1", true)]));
        made["metadata"]["namespace"] = json!("kube-system");
        made["ports"] = json!([
            {"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "protocol": "TCP", "port": 53},
        ]);
        cluster.client.apply(&made);
    }
}

/// What the redirect's table says is answered on node-1.
fn live(cluster: &Cluster, family: &str) -> String {
    let node = cluster.lab.node("node-1").unwrap();
    let list = ["list", "set", family, "portolan-dns", "live"];
    let output = command_in(&node, "nft").args(list).output().unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn a_nodes_pods_are_answered_by_its_agent_and_by_others_without_it() {
    let test = "a_nodes_pods_are_answered_by_its_agent_and_by_others_without_it";
    let Some(cluster) = Cluster::start_beside(test, &PODS, &DNS) else { return };
    let _world = world(&cluster);
    let web = cluster.expose("web", json!({}), &["web-1", "web-2"]);
    let mut town = Town::build(&cluster);
    let guest = town.guest.clone();
    for (family, vip) in ["ip", "ip6"].into_iter().zip(VIPS) {
        let listed = live(&cluster, family);
        assert!(listed.contains(&format!("{vip} . udp . 53")), "{listed}");
        assert!(listed.contains(&format!("{vip} . tcp . 53")), "{listed}");
        let node = cluster.lab.node("node-1").unwrap();
        let answer = resolves(
            &node,
            at(vip),
            ("web.shop.svc.cluster.local", Rtype::AAAA),
            Rcode::NOERROR,
            &[&format!("AAAA {}", cluster_ip(&web, Family::V6))],
        );
        assert_eq!(answer.ttl, Some(TTL), "the node itself is answered by its agent");
    }
    let is = |name: &str, rtype, data: &[&str]| {
        let answer = resolves(&guest, at(VIPS[0]), (name, rtype), Rcode::NOERROR, data);
        assert!(!name.contains("cluster.local") || answer.ttl == Some(TTL), "{name}: {answer}");
    };
    let address = cluster_ip(&web, Family::V4);
    is("web.shop.svc.cluster.local", Rtype::A, &[&format!("A {address}")]);
    is(&reverse(address), Rtype::PTR, &["PTR web.shop.svc.cluster.local"]);
    is(&reverse(VIPS[1].parse().unwrap()), Rtype::PTR, &["PTR kube-dns.kube-system.svc.cluster.local"]);
    let (name, [a, b, c, d]) = WORLD;
    is(name, Rtype::A, &[&format!("A {a}.{b}.{c}.{d}")]);

    // The agent alone is enough.
    town.central.kill();
    for _ in 0..20 {
        VIPS.iter().for_each(|vip| becomes("the agent answers alone", || town.answered_by(vip, TTL)));
    }
    town.central.start();
    town.central.becomes_ready();

    // Without it, the next query already goes to the Service, which still works.
    town.agent.take().unwrap().process.kill();
    for _ in 0..20 {
        VIPS.iter().for_each(|vip| town.answered_by(vip, CENTRAL_TTL).unwrap());
        thread::sleep(Duration::from_millis(100));
    }
    // What is new meanwhile has a name, for whoever is asked knows it.
    let late = format!("A {}", cluster_ip(&cluster.expose("late", json!({}), &["web-1"]), Family::V4));
    resolves(&guest, at(VIPS[0]), ("late.shop.svc.cluster.local", Rtype::A), Rcode::NOERROR, &[&late]);
    town.start_agent(&cluster);
    is("late.shop.svc.cluster.local", Rtype::A, &[&late]);
    cluster.client.delete(&web);
    resolves(&guest, at(VIPS[0]), ("web.shop.svc.cluster.local", Rtype::A), Rcode::NXDOMAIN, &[]);
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn a_name_is_not_answered_before_its_address_is_served() {
    const COUNT: usize = 50;
    let test = "a_name_is_not_answered_before_its_address_is_served";
    let Some(cluster) = Cluster::start_beside(test, &PODS, &DNS) else { return };
    let town = Town::build(&cluster);
    for number in 0..COUNT {
        let name = format!("fresh-{number}");
        // Slices first, so that the Service and its endpoints are news of one moment.
        cluster.set_endpoints(&name, &[("web-1", true), ("web-2", true)]);
        thread::scope(|scope| {
            // Asked from before the Service exists, so that its first answer is not missed by much.
            let first = scope.spawn(|| first_answer(&town.guest, &name));
            cluster.client.apply(&service(&name, json!({})));
            let address = first.join().unwrap();
            // One packet, which nobody sends again: it is lost for good if the kernel does not know the address.
            let probe = Probe::new(frontend(address, Protocol::Udp, 53)).patience(Duration::from_secs(10));
            let outcome = probe.run(&town.guest).unwrap();
            assert!(outcome.pod().is_some(), "{name} is answered, but {address} is not served: {outcome}");
        });
        if number % 2 == 0 {
            cluster.client.delete(&named(&name));
        }
    }
}

fn named(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": SHOP, "name": name}})
}

/// Asks the agent until a Service has an address.
fn first_answer(from: &Namespace, service: &str) -> IpAddr {
    let (name, start) = (format!("{service}.shop.svc.cluster.local"), Instant::now());
    while start.elapsed() < PATIENCE {
        let answer = ask(from, at(VIPS[0]), &name, Rtype::A).unwrap();
        if let Some(address) = answer.data.first().and_then(|data| data.strip_prefix("A ")) {
            // On a machine that stands still for seconds the central DNS steps in, which promises nothing.
            if answer.ttl == Some(TTL) {
                return address.parse().unwrap();
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{name} has no address");
}
