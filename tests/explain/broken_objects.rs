//! What is wrong with the Service itself, or with the question.

use crate::{
    caller::{Caller, OUTSIDE},
    manifests::{Manifests, base, load_balancer, node_port, pending},
    situation::Situation,
};

const V6: Caller = Caller::Outside(2);

pub fn situations() -> Vec<Situation> {
    [selectors(), ports(), addresses(), invalid(), contested()].into_iter().flatten().collect()
}

fn selectors() -> Vec<Situation> {
    let cause = "selector-matches-nothing";
    let spec = |from: &str, to: &str| base().web(from, to);
    vec![
        Situation::new("selector: the value is misspelt", spec("selector: {app: web}", "selector: {app: wbe}"))
            .fails(cause, &["app=wbe"]),
        Situation::new("selector: the value in capitals", spec("selector: {app: web}", "selector: {app: Web}"))
            .fails(cause, &["app=Web"]),
        Situation::new("selector: another key", spec("selector: {app: web}", "selector: {application: web}"))
            .fails(cause, &["application=web"]),
        Situation::new(
            "selector: one label too many",
            spec("selector: {app: web}", "selector: {app: web, tier: front}"),
        )
        .fails(cause, &["tier=front"]),
        Situation::new(
            "selector: the pods are in another namespace",
            base().pods("namespace: shop", "namespace: other"),
        )
        .fails(cause, &["app=web"]),
        Situation::new(
            "selector: nobody has made the pods",
            base().without("pod shop/web-1").without("pod shop/web-2"),
        )
        .fails(cause, &["app=web"]),
        Situation::new("selector: the same by node port", node_port().web("{app: web}", "{app: wbe}"))
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .fails(cause, &["app=wbe"]),
        Situation::new("selector: the same by load balancer", load_balancer().web("{app: web}", "{app: wbe}"))
            .from(OUTSIDE)
            .asks("192.0.2.127:80", "192.0.2.127:80/TCP")
            .fails(cause, &["app=wbe"]),
        Situation::new("selector: the same over IPv6", base().web("{app: web}", "{app: wbe}"))
            .asks("[fd00:96::1]:80", "[fd00:96::1]:80/TCP")
            .fails(cause, &["app=wbe"]),
    ]
}

fn ports() -> Vec<Situation> {
    let two = || {
        base().web(
            "  - {name: http, protocol: TCP, port: 80, targetPort: http}",
            "  - {name: http, protocol: TCP, port: 80, targetPort: 8080}\n  - {name: https, protocol: TCP, port: 443, \
             targetPort: 8443}",
        )
    };
    vec![
        Situation::new("port: the target port is asked for", base())
            .asks("shop/web:8080", "10.96.0.1:8080/TCP")
            .fails("no-such-port", &["8080", "80"]),
        Situation::new("port: one that nobody has", two())
            .asks("shop/web:444", "10.96.0.1:444/TCP")
            .fails("no-such-port", &["444", "443"]),
        Situation::new("port: by address", base())
            .asks("10.96.0.1:8080", "10.96.0.1:8080/TCP")
            .fails("no-such-port", &["8080"]),
        Situation::new("port: UDP of a TCP port", base())
            .asks("shop/web:80/UDP", "10.96.0.1:80/UDP")
            .fails("other-protocol", &["TCP"]),
        Situation::new("port: TCP of a UDP port", base().web("protocol: TCP", "protocol: UDP").web("http}", "8080}"))
            .asks("shop/web:80/TCP", "10.96.0.1:80/TCP")
            .fails("other-protocol", &["UDP"]),
        Situation::new("port: a node port that no Service has", node_port())
            .from(OUTSIDE)
            .asks("node-1:30081", "192.168.49.11:30081/TCP")
            .fails("no-such-service", &["30081", "30080 of shop/web"]),
        Situation::new("port: a node port of a ClusterIP Service", base())
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .fails("no-such-service", &["30080"]),
        Situation::new("port: another port of a load balancer's address", load_balancer())
            .from(OUTSIDE)
            .asks("192.0.2.127:8080", "192.0.2.127:8080/TCP")
            .fails("no-such-port", &["8080"]),
    ]
}

fn addresses() -> Vec<Situation> {
    let headless = || {
        let ips = "  clusterIP: 10.96.0.1\n  clusterIPs: [10.96.0.1, \"fd00:96::1\"]\n";
        base().web(ips, "  clusterIP: None\n  clusterIPs: [None]\n")
    };
    let single = || {
        base()
            .web("clusterIPs: [10.96.0.1, \"fd00:96::1\"]", "clusterIPs: [10.96.0.1]")
            .web("[IPv4, IPv6]", "[IPv4]")
            .web("RequireDualStack", "SingleStack")
    };
    let foreign = "  labels: {service.kubernetes.io/service-proxy-name: cilium}\n  creationTimestamp";
    vec![
        Situation::new("headless: the service port is asked for", headless())
            .asks("shop/web:80", "10.244.1.11:80/TCP")
            .fails("headless", &["8080"]),
        Situation::new("another proxy's Service", base().web("  creationTimestamp", foreign))
            .fails("other-proxy", &["cilium"]),
        Situation::new("family: IPv6 of a Service that has IPv4 only", single())
            .from(V6)
            .asks_in_vain("shop/web:80", "the Service has no address that the client could use")
            .fails("other-family", &["IPv6"]),
        Situation::new("family: an IPv6 node port of a Service that has IPv4 only", node_port_v4())
            .from(V6)
            .asks("[fd00:49::11]:30080", "[fd00:49::11]:30080/TCP")
            .fails("other-family", &["IPv6"]),
        Situation::new("address: one of the service network that no Service has", base())
            .asks("10.96.7.7:80", "10.96.7.7:80/TCP")
            .fails("no-such-service", &["10.96.7.7"]),
        Situation::new("address: one of the IPv6 service network", base())
            .asks("[fd00:96::77]:80", "[fd00:96::77]:80/TCP")
            .fails("no-such-service", &["fd00:96::77"]),
        Situation::new("address: no Service of this name", base())
            .asks_in_vain("shop/wbe:80", "what is not there has no address")
            .fails("no-such-service", &["shop/wbe", "web"]),
        // A route led this client here; hardly any other has one.
        Situation::new("address: a cluster IP, from outside", base())
            .from(OUTSIDE)
            .works_but("cluster-only", &["10.96.0.1"]),
        Situation::new("address: the load balancer's is pending", pending())
            .from(OUTSIDE)
            .asks_in_vain("shop/web:80", "the address outside is not there yet")
            .fails("address-pending", &["shop/web", "192.168.49.11:30080"]),
        Situation::new("address: the load balancer's is pending, and the node port is asked for", pending())
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .works_but("address-pending", &["shop/web"]),
        Situation::new("node port: on a loopback address", node_port())
            .from(Caller::Host(1))
            .asks("localhost:30080", "127.0.0.1:30080/TCP")
            .fails("loopback", &["30080"]),
        Situation::new("node port: on the IPv6 loopback address", node_port())
            .from(Caller::Host(1))
            .asks("[::1]:30080", "[::1]:30080/TCP")
            .fails("loopback", &["30080"]),
        Situation::new("node port: on an address of the node that is not its first", node_port())
            .from(OUTSIDE)
            .asks("192.168.49.51:30080", "192.168.49.51:30080/TCP")
            .live()
            .fails("node-port-address", &["192.168.49.51", "--nodeport-addresses"]),
        Situation::new("node port: on an address outside --nodeport-addresses", node_port())
            .from(OUTSIDE)
            .flags(&["--nodeport-addresses", "192.168.49.51/32"])
            .asks("192.168.49.11:30080", "192.168.49.11:30080/TCP")
            .fails("node-port-address", &["192.168.49.11", "--nodeport-addresses"]),
    ]
}

fn node_port_v4() -> Manifests {
    node_port()
        .web("clusterIPs: [10.96.0.1, \"fd00:96::1\"]", "clusterIPs: [10.96.0.1]")
        .web("[IPv4, IPv6]", "[IPv4]")
        .web("RequireDualStack", "SingleStack")
}

fn invalid() -> Vec<Situation> {
    let why = "a Service that was refused has no address";
    let one = |name, manifests: Manifests, word: &'static str| {
        Situation::new(name, manifests).asks_in_vain("shop/web:80", why).fails("invalid", &[word])
    };
    let port = |to: &str| base().web("{name: http, protocol: TCP, port: 80, targetPort: http}", to);
    vec![
        one("invalid: affinity", base().web("  type:", "  sessionAffinity: Client\n  type:"), "sessionAffinity"),
        one("invalid: port name in capitals", port("{name: HTTP, port: 80, targetPort: 8080}"), "HTTP"),
        one("invalid: port number", port("{name: http, port: 80000, targetPort: 8080}"), "80000"),
        one("invalid: protocol", port("{name: http, protocol: HTTP, port: 80}"), "protocol"),
        one("invalid: two ports, one without a name", port("{port: 80}\n  - {name: b, port: 81}"), "name"),
        one("invalid: node port out of range", node_port().web("30080", "80"), "nodePort"),
        one("invalid: type", base().web("type: ClusterIP", "type: ClusterIp"), "type"),
        Situation::new("invalid: node port taken by another Service", {
            node_port().copy_of_web("young", ["10.96.0.2", "fd00:96::2"]).change("service shop/young", "2024", "2025")
        })
        .asks_in_vain("shop/young:80", why)
        .fails("invalid", &["30080"]),
        Situation::new("invalid: cluster IP taken by another Service", {
            base().copy_of_web("young", ["10.96.0.1", "fd00:96::2"]).change("service shop/young", "2024", "2025")
        })
        .asks_in_vain("shop/young:80", why)
        .fails("invalid", &["10.96.0.1"]),
    ]
}

/// Two Services want one address. The loser's question is answered by the winner's pods: so the loser asks for pods that
/// are none, and whatever answers is not its own.
fn contested() -> Vec<Situation> {
    let external = |address: &str| {
        base()
            .web("  type:", &format!("  externalIPs: [{address}]\n  type:"))
            .copy_of_web("young", ["10.96.0.2", "fd00:96::2"])
            .change("service shop/young", "2024", "2025")
    };
    let thief = base()
        .copy_of_web("thief", ["10.96.0.2", "fd00:96::2"])
        .change("service shop/thief", "2024", "2020")
        .change("service shop/thief", "  type:", "  externalIPs: [10.96.0.1]\n  type:");
    vec![
        Situation::new("contested: an external IP that an older Service has", external("198.51.100.7"))
            .from(OUTSIDE)
            .asks("shop/young:80", "198.51.100.7:80/TCP")
            .fails("frontend-taken", &["198.51.100.7", "shop/web"]),
        Situation::new("contested: the cluster IP of another as external IP", thief)
            .from(OUTSIDE)
            .asks("shop/thief:80", "10.96.0.1:80/TCP")
            .fails("frontend-taken", &["10.96.0.1", "shop/web"]),
    ]
}
