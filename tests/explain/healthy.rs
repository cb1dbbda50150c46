//! Nothing is wrong, and nothing is claimed.

use crate::{
    broken_policy::ranges,
    caller::{CLIENT, Caller, OUTSIDE},
    manifests::{Manifests, base, load_balancer, node_port, without_selector},
    situation::{Programming, Situation},
};

const OUTSIDE_V6: Caller = Caller::Outside(2);
const CLIENT_2: Caller = Caller::Pod("shop/client-2", 2);

pub fn situations() -> Vec<Situation> {
    [cluster_ips(), node_ports(), balancers(), policies(), endpoints(), live()].into_iter().flatten().collect()
}

fn udp() -> Manifests {
    base().web("protocol: TCP", "protocol: UDP").web("targetPort: http", "targetPort: 8080")
}

fn cluster_ips() -> Vec<Situation> {
    let web = |name| Situation::new(name, base());
    vec![
        web("a pod asks for the cluster IP"),
        web("nobody says who asks").unsaid().from(CLIENT),
        web("a pod of the other node").from(CLIENT_2),
        web("a pod of another namespace").from(Caller::Pod("other/visitor", 1)),
        web("the host").from(Caller::Host(1)),
        web("over IPv6").asks("[fd00:96::1]:80", "[fd00:96::1]:80/TCP"),
        web("by address").asks("10.96.0.1:80", "10.96.0.1:80/TCP"),
        web("with every client hidden").flags(&["--masquerade-all"]),
        Situation::new("over UDP", udp()).asks("shop/web:80/UDP", "10.96.0.1:80/UDP"),
        Situation::new("an endpoint that is sent to itself", base().without("pod shop/web-2"))
            .from(Caller::Pod("shop/web-1", 1)),
        Situation::new("with session affinity", base().web("  type:", "  sessionAffinity: ClientIP\n  type:")).sticky(),
    ]
}

fn node_ports() -> Vec<Situation> {
    let port = |name| Situation::new(name, node_port()).from(OUTSIDE).asks("node-1:30080", "192.168.49.11:30080/TCP");
    vec![
        port("node port: from outside"),
        port("node port: nobody says who asks").unsaid(),
        port("node port: from a pod").from(CLIENT),
        port("node port: from the host").from(Caller::Host(1)),
        port("node port: on the other node").decided_by(2).asks("node-2:30080", "192.168.49.12:30080/TCP"),
        port("node port: over IPv6").from(OUTSIDE_V6).asks("[fd00:49::11]:30080", "[fd00:49::11]:30080/TCP"),
        port("node port: on any address")
            .flags(&["--nodeport-addresses", "all"])
            .asks("192.168.49.51:30080", "192.168.49.51:30080/TCP"),
    ]
}

fn balancers() -> Vec<Situation> {
    let at = |name| Situation::new(name, load_balancer()).from(OUTSIDE).asks("192.0.2.127:80", "192.0.2.127:80/TCP");
    let external = base().web("  type:", "  externalIPs: [198.51.100.7]\n  type:");
    vec![
        at("load balancer: from outside"),
        at("load balancer: from a pod").from(CLIENT),
        at("load balancer: over IPv6").from(OUTSIDE_V6).asks("[fd00:2::127]:80", "[fd00:2::127]:80/TCP"),
        Situation::new("external IP: from outside", external)
            .from(OUTSIDE)
            .asks("198.51.100.7:80", "198.51.100.7:80/TCP"),
        Situation::new("source ranges: the client is in", ranges("192.168.49.0/24"))
            .from(OUTSIDE)
            .asks("192.0.2.127:80", "192.0.2.127:80/TCP"),
        Situation::new("source ranges: they do not concern the node port", ranges("203.0.113.0/24"))
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP"),
        Situation::new("source ranges: nor the cluster IP", ranges("203.0.113.0/24")),
        Situation::new("source ranges: a family without any is open", ranges("203.0.113.0/24"))
            .from(OUTSIDE_V6)
            .asks("[fd00:2::127]:80", "[fd00:2::127]:80/TCP"),
    ]
}

fn policies() -> Vec<Situation> {
    let external = || node_port().web("  type:", "  externalTrafficPolicy: Local\n  type:");
    let by_port = |name| Situation::new(name, external()).asks("node-1:30080", "192.168.49.11:30080/TCP");
    vec![
        Situation::new("internal Local", base().web("  type:", "  internalTrafficPolicy: Local\n  type:")),
        by_port("external Local: from outside, whose address is kept").from(OUTSIDE),
        by_port("external Local: from a pod, the short way").from(CLIENT),
        by_port("external Local: from the host").from(Caller::Host(1)),
    ]
}

fn endpoints() -> Vec<Situation> {
    let slice = |endpoints: &str| {
        without_selector(&format!(
            "# slice shop/web-x\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-x, \
             namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nports: [{{name: http, \
             port: 8080}}]\nendpoints: [{endpoints}]\n"
        ))
    };
    let zones = "{addresses: [10.244.1.11], nodeName: node-1, hints: {forZones: [{name: zone-a}]}}, {addresses: \
                 [10.244.2.11], nodeName: node-2, hints: {forZones: [{name: zone-b}]}}";
    let unready = base()
        .pods("status: \"True\"", "status: \"False\"")
        .web("  type:", "  publishNotReadyAddresses: true\n  type:");
    vec![
        Situation::new("endpoints: a slice made by hand", slice("{addresses: [10.244.1.11], nodeName: node-1}")),
        Situation::new("endpoints: a host outside the cluster", slice("{addresses: [203.0.113.9]}")),
        Situation::new("endpoints: each zone its own", slice(zones)),
        Situation::new("endpoints: each zone its own, seen from the other", slice(zones)).from(CLIENT_2),
        Situation::new("endpoints: not ready, and published all the same", unready),
    ]
}

/// The live node, with an agent.
fn live() -> Vec<Situation> {
    let web = |name| Situation::new(name, base()).programmed(Programming::Agent).live();
    let port = |name| {
        Situation::new(name, node_port())
            .programmed(Programming::Agent)
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .live()
    };
    let firewall = "table inet fw {\n chain input { type filter hook input priority 0; policy drop;\n iif lo accept\n \
                    ct state established,related accept\n icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, \
                    nd-router-advert } accept\n }\n}\n";
    let accepts = "table inet fw {\n chain forward { type filter hook forward priority 0; policy drop;\n ct state \
                   invalid drop\n ct state established,related accept\n ip saddr 10.244.0.0/16 accept\n ip daddr \
                   10.244.0.0/16 accept\n }\n}\n";
    vec![
        web("live: a pod"),
        web("live: the host").from(Caller::Host(1)),
        port("live: a node port"),
        port("live: a node port, and a firewall for the node itself").after_nft(firewall),
        web("live: a firewall that lets pods through").after_nft(accepts),
        web("live: a table at an interface, which is not looked at").after_nft("add table netdev fw"),
        web("live: an iptables of old, which is not looked at").after(|stage| {
            let rule = |what| format!("iptables-legacy {what} FORWARD -p udp --dport 9999 -j DROP");
            stage.until_reset(1, &rule("-A"), rule("-D"));
        }),
        web("live: a firewall that drops other ports").after_nft(
            "table inet fw {\n chain forward { type filter hook forward priority 0;\n tcp dport 22 drop\n }\n}\n",
        ),
        web("live: IPv6 forwarding is off, and IPv4 is asked for")
            .after(|stage| stage.forwarding(1, portolan::model::Family::V6, false)),
    ]
}
