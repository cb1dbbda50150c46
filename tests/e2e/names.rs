//! Names of what is written to the API server, from the Deployment of the chart.

use domain::base::{Rtype, iana::Rcode};
use portolan::{lab::Namespace, model::Family};
use serde_json::{Value, json};

use crate::{
    chart::{VERIFIED, WITH_NAMES},
    control_plane::{Rights, has_exactly},
    dns::{Central, TTL, WORLD, ask, resolves, reverse, world},
    support::{Cluster, SHOP, becomes, cluster_ip, service, slice},
};

const PODS: [(&str, u8); 4] = [("web-1", 1), ("web-2", 1), ("web-3", 2), ("guest", 1)];
/// Where the central DNS runs.
const DNS: [(&str, u8); 1] = [("dns-1", 2)];

/// What the Deployment may do, but for pods.
const RIGHTS: [Rights; 7] = [
    (&["list", "watch"], "", "services"),
    (&["list", "watch"], "", "namespaces"),
    (&["list", "watch"], "discovery.k8s.io", "endpointslices"),
    (&[], "", "nodes"),
    (&[], "", "secrets"),
    (&[], "", "configmaps"),
    (&[], "events.k8s.io", "events"),
];

/// Asks the central DNS until it answers so.
struct Asking<'a> {
    guest: Namespace,
    central: &'a Central,
}

impl Asking<'_> {
    #[track_caller]
    fn is(&self, name: &str, rtype: Rtype, data: &[&str]) {
        let answer = resolves(&self.guest, self.central.at(), (name, rtype), Rcode::NOERROR, data);
        if name.ends_with("cluster.local") && answer.data.len() == 1 {
            assert_eq!(answer.ttl, Some(TTL), "{name}: {answer}");
        }
    }

    #[track_caller]
    fn is_not_there(&self, name: &str, rtype: Rtype) {
        resolves(&self.guest, self.central.at(), (name, rtype), Rcode::NXDOMAIN, &[]);
    }
}

/// Gives a headless Service these pods as endpoints, each with its name as hostname.
fn set_hosts(cluster: &Cluster, name: &str, pods: &[(&str, bool)]) {
    for family in Family::ALL {
        let mut endpoints = cluster.endpoints(family, pods);
        for (endpoint, (pod, _)) in endpoints.iter_mut().zip(pods) {
            endpoint["hostname"] = json!(pod);
        }
        cluster.client.apply(&slice(name, family, &endpoints));
    }
}

fn alias(name: &str, target: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": SHOP, "name": name},
        "spec": {"type": "ExternalName", "externalName": target},
    })
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn names_follow_what_is_written() {
    let Some(cluster) = Cluster::start_beside("names_follow_what_is_written", &PODS, &DNS) else { return };
    let world = world(&cluster);
    let central = Central::started(&cluster, WITH_NAMES, "dns-1");
    let client = central.as_client(&cluster);
    has_exactly(&client, &RIGHTS);
    has_exactly(&client, &[(&[], "", "pods")]);
    let asking = Asking { guest: cluster.pod("guest"), central: &central };
    // What the API server makes by itself.
    asking.is("kubernetes.default.svc.cluster.local", Rtype::A, &["A 172.30.0.1"]);

    let web = cluster.expose("web", json!({}), &["web-1", "web-2"]);
    let [v4, v6] = Family::ALL.map(|family| cluster_ip(&web, family));
    let name = "web.shop.svc.cluster.local";
    asking.is(name, Rtype::A, &[&format!("A {v4}")]);
    asking.is(name, Rtype::AAAA, &[&format!("AAAA {v6}")]);
    // Weight 50: one of two addresses.
    asking.is("_tcp._tcp.web.shop.svc.cluster.local", Rtype::SRV, &[&format!("SRV 0 50 80 {name}")]);
    asking.is("_udp._udp.web.shop.svc.cluster.local", Rtype::SRV, &[&format!("SRV 0 50 53 {name}")]);
    asking.is_not_there("_tcp._udp.web.shop.svc.cluster.local", Rtype::SRV);
    asking.is(&reverse(v4), Rtype::PTR, &[&format!("PTR {name}")]);
    asking.is(&reverse(v6), Rtype::PTR, &[&format!("PTR {name}")]);
    asking.is("10-244-7-7.shop.pod.cluster.local", Rtype::A, &["A 10.244.7.7"]);

    headless(&cluster, &asking);
    aliases(&cluster, &asking, &v4.to_string());
    namespaces(&cluster, &asking);

    cluster.client.delete(&web);
    asking.is_not_there(name, Rtype::A);
    // The address belongs to nobody in the cluster any more, so the world is asked.
    asking.is_not_there(&reverse(v4), Rtype::PTR);
    let leaked: Vec<String> = world.asked().into_iter().filter(|name| name.contains("cluster.local")).collect();
    assert!(leaked.is_empty(), "names of the cluster stay in the cluster: {leaked:?}");
    assert!(!central.log().contains("forbidden"), "{}", central.log());
}

fn headless(cluster: &Cluster, asking: &Asking<'_>) {
    let made = cluster.client.apply(&service("db", json!({"clusterIP": "None"})));
    set_hosts(cluster, "db", &[("web-1", true), ("web-3", true)]);
    let address = |pod, family| cluster.pod_address(pod, family);
    let [first, third] = ["web-1", "web-3"].map(|pod| address(pod, Family::V4));
    let name = "db.shop.svc.cluster.local";
    asking.is(name, Rtype::A, &[&format!("A {first}"), &format!("A {third}")]);
    asking.is(&format!("web-3.{name}"), Rtype::AAAA, &[&format!("AAAA {}", address("web-3", Family::V6))]);
    // The port of the pods, and one of four addresses.
    let targets = ["web-1", "web-3"].map(|pod| format!("SRV 0 25 8080 {pod}.{name}"));
    asking.is(&format!("_tcp._tcp.{name}"), Rtype::SRV, &targets.each_ref().map(String::as_str));
    asking.is(&reverse(third), Rtype::PTR, &[&format!("PTR web-3.{name}")]);

    set_hosts(cluster, "db", &[("web-1", false), ("web-2", true), ("web-3", true)]);
    let second = address("web-2", Family::V4);
    asking.is(name, Rtype::A, &[&format!("A {second}"), &format!("A {third}")]);
    asking.is_not_there(&format!("web-1.{name}"), Rtype::A);
    // Of the Service web it is an endpoint, too, where it has no hostname.
    let dashed = second.to_string().replace('.', "-");
    let both = [format!("PTR web-2.{name}"), format!("PTR {dashed}.web.shop.svc.cluster.local")];
    asking.is(&reverse(second), Rtype::PTR, &both.each_ref().map(String::as_str));
    // Nobody is ready.
    set_hosts(cluster, "db", &[("web-2", false)]);
    asking.is_not_there(name, Rtype::A);
    set_hosts(cluster, "db", &[("web-3", true)]);
    asking.is(name, Rtype::A, &[&format!("A {third}")]);
    cluster.client.delete(&made);
    asking.is_not_there(name, Rtype::A);
}

fn aliases(cluster: &Cluster, asking: &Asking<'_>, web: &str) {
    let (name, [a, b, c, d]) = WORLD;
    cluster.client.apply(&alias("outside", name));
    let chain = [format!("CNAME {name}"), format!("A {a}.{b}.{c}.{d}")];
    asking.is("outside.shop.svc.cluster.local", Rtype::A, &chain.each_ref().map(String::as_str));
    asking.is(name, Rtype::A, &[&chain[1]]);
    let inside = cluster.client.apply(&alias("inside", "web.shop.svc.cluster.local"));
    let chain = ["CNAME web.shop.svc.cluster.local".to_owned(), format!("A {web}")];
    asking.is("inside.shop.svc.cluster.local", Rtype::A, &chain.each_ref().map(String::as_str));
    cluster.client.delete(&inside);
    asking.is_not_there("inside.shop.svc.cluster.local", Rtype::A);
}

/// A namespace that is there has a name; a Service in a new one is found.
fn namespaces(cluster: &Cluster, asking: &Asking<'_>) {
    asking.is_not_there("late.svc.cluster.local", Rtype::A);
    cluster.client.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late"}}));
    asking.is("late.svc.cluster.local", Rtype::A, &[]);
    let made = cluster.client.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "late", "name": "web"},
        "spec": {"ports": [{"port": 80}]},
    }));
    let address = format!("A {}", cluster_ip(&made, Family::V4));
    asking.is("web.late.svc.cluster.local", Rtype::A, &[&address]);
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn checked_names_of_pods_follow_pods() {
    let Some(cluster) = Cluster::start_beside("checked_names_of_pods_follow_pods", &PODS, &DNS) else { return };
    let _world = world(&cluster);
    let central = Central::started(&cluster, VERIFIED, "dns-1");
    let client = central.as_client(&cluster);
    has_exactly(&client, &RIGHTS);
    has_exactly(&client, &[(&["list", "watch"], "", "pods")]);
    let asking = Asking { guest: cluster.pod("guest"), central: &central };
    let dashed = |pod, family| {
        let address = cluster.pod_address(pod, family).to_string();
        format!("{}.shop.pod.cluster.local", address.replace(['.', ':'], "-"))
    };
    let names = Family::ALL.map(|family| dashed("web-1", family));
    asking.is_not_there(&names[0], Rtype::A);

    // The API server takes no Pod before a controller has made its ServiceAccount.
    let account = json!({"namespace": SHOP, "name": "default"});
    cluster.client.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": SHOP, "name": "web-1"}});
    let mut made = pod.clone();
    made["spec"] = json!({
        "nodeName": "node-1", "automountServiceAccountToken": false,
        "containers": [{"name": "web", "image": "web"}],
    });
    cluster.client.apply(&made);
    let addresses = Family::ALL.map(|family| cluster.pod_address("web-1", family));
    let mut running = pod.clone();
    running["status"] =
        json!({"phase": "Running", "podIP": addresses[0], "podIPs": addresses.map(|ip| json!({"ip": ip}))});
    cluster.client.patch_status(&running);
    asking.is(&names[0], Rtype::A, &[&format!("A {}", addresses[0])]);
    asking.is(&names[1], Rtype::AAAA, &[&format!("AAAA {}", addresses[1])]);
    // There is one, but not in that namespace; and there is none of that address.
    asking.is_not_there(&names[0].replace("shop", "default"), Rtype::A);
    asking.is_not_there(&dashed("web-2", Family::V4), Rtype::A);
    cluster.client.delete(&pod);
    asking.is_not_there(&names[0], Rtype::A);
    asking.is_not_there(&names[1], Rtype::AAAA);
    assert!(!central.log().contains("forbidden"), "{}", central.log());
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn a_changed_corefile_is_taken_up_and_a_bad_one_is_not() {
    let test = "a_changed_corefile_is_taken_up_and_a_bad_one_is_not";
    let Some(cluster) = Cluster::start_beside(test, &PODS, &DNS) else { return };
    let _world = world(&cluster);
    let mut central = Central::new(&cluster, WITH_NAMES, "dns-1");
    let corefile = central.corefile();
    let with = |ttl: u32, more: &str| {
        assert!(corefile.contains("ttl 30\n") && corefile.contains("    reload\n"), "{corefile}");
        corefile
            .replace("ttl 30\n", &format!("ttl {ttl}\n"))
            .replace("    reload\n", &format!("    reload 2s 1s\n{more}"))
    };
    central.write_corefile(&with(30, ""));
    central.start();
    central.becomes_ready();
    cluster.expose("web", json!({}), &["web-1"]);
    let guest = cluster.pod("guest");
    let ttl_becomes = |ttl| {
        becomes(&format!("web has the TTL {ttl}"), || {
            let answer = ask(&guest, central.at(), "web.shop.svc.cluster.local", Rtype::A)?;
            if answer.ttl == Some(ttl) { Ok(()) } else { Err(answer.to_string()) }
        });
    };
    ttl_becomes(30);
    // Another answer by the names that are there, and a block more.
    central
        .write_corefile(&(with(7, "") + "new.example {\n    template ANY ANY {\n        rcode NXDOMAIN\n    }\n}\n"));
    ttl_becomes(7);
    resolves(&guest, central.at(), ("www.new.example", Rtype::A), Rcode::NXDOMAIN, &[]);
    assert_eq!(central.metric("coredns_reload_failed_total"), 0.0);

    central.write_corefile(&with(8, "    frobnicate\n"));
    becomes("the bad Corefile is counted", || match central.metric("coredns_reload_failed_total") {
        1.0 => Ok(()),
        other => Err(other.to_string()),
    });
    assert!(central.log().lines().any(|line| line.contains("frobnicate")), "{}", central.log());
    ttl_becomes(7);

    // The names are read anew for it: pods are among them no more.
    central.write_corefile(&with(9, "").replace("pods insecure", "pods disabled"));
    ttl_becomes(9);
    resolves(&guest, central.at(), ("10-1-2-3.shop.pod.cluster.local", Rtype::A), Rcode::NXDOMAIN, &[]);
    assert_eq!(central.metric("coredns_reload_failed_total"), 1.0, "counted once");
}
