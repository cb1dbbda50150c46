//! The kernel holds the right thing, and the node around it does not let the packets through.

use portolan::model::Family;

use crate::{
    caller::{Caller, OUTSIDE},
    manifests::{Manifests, base, load_balancer, node_port},
    situation::{Programming, Situation},
};

const FORWARD: &str = "add table inet fw; add chain inet fw forward { type filter hook forward priority 0; }";

pub fn situations() -> Vec<Situation> {
    [drops(), refusals(), translations(), routes(), proxies()].into_iter().flatten().collect()
}

/// A rule in a forward chain of others.
fn forward(rule: &str) -> String {
    format!("{FORWARD}; add rule inet fw forward {rule}")
}

fn foreign(name: &'static str, manifests: Manifests, text: String) -> Situation {
    Situation::new(name, manifests).after(move |stage| stage.nft(1, &text))
}

fn drops() -> Vec<Situation> {
    let cause = "foreign-rule";
    let chain = |hook: &str, priority: i32, rule: &str| {
        format!(
            "add table ip fw; add chain ip fw {hook} {{ type filter hook {hook} priority {priority}; }}; add rule ip fw {hook} {rule}"
        )
    };
    let remote = || base().without("pod shop/web-1");
    vec![
        foreign("firewall: the forward chain drops by port", base(), forward("tcp dport 8080 drop"))
            .fails(cause, &["inet fw forward", "tcp dport 8080 drop"]),
        foreign("firewall: the forward chain drops by address", remote(), forward("ip daddr 10.244.2.0/24 drop"))
            .fails(cause, &["inet fw forward", "10.244.2.0/24"]),
        foreign("firewall: the forward chain drops one endpoint of two", base(), forward("ip daddr 10.244.2.11 drop"))
            .partly()
            .works_but(cause, &["10.244.2.11", "inet fw forward"]),
        foreign("firewall: the forward chain drops by source", base(), forward("ip saddr 10.244.1.20 counter drop"))
            .fails(cause, &["10.244.1.20"]),
        foreign("firewall: the forward chain drops IPv6", base(), forward("meta nfproto ipv6 drop"))
            .asks("[fd00:96::1]:80", "[fd00:96::1]:80/TCP")
            .fails(cause, &["inet fw forward"]),
        foreign("firewall: the forward chain's policy is to drop", base(), {
            "add table inet fw; add chain inet fw forward { type filter hook forward priority 0; policy drop; }".into()
        })
        .fails(cause, &["inet fw forward", "policy drop"]),
        foreign("firewall: by a set of addresses", remote(), {
            "table inet fw {\n set bad { type ipv4_addr; elements = { 10.244.2.11, 192.0.2.1 } }\n chain forward { type \
             filter hook forward priority 0;\n ip daddr @bad drop\n }\n}\n"
                .into()
        })
        .fails(cause, &["inet fw forward", "@bad"]),
        foreign("firewall: by a chain that another one jumps to", base(), {
            "table inet fw {\n chain web { tcp dport { 80, 8080 } drop\n }\n chain forward { type filter hook forward \
             priority 10;\n ct state established accept\n jump web\n }\n}\n"
                .into()
        })
        .fails(cause, &["inet fw web"]),
        foreign("firewall: by a verdict map", base(), {
            "table inet fw {\n chain forward { type filter hook forward priority 0;\n tcp dport vmap { 22 : accept, \
             8080 : drop }\n }\n}\n"
                .into()
        })
        .fails(cause, &["inet fw forward"]),
        foreign("firewall: the node port, before its translation", node_port(), {
            chain("prerouting", -300, "tcp dport 30080 drop")
        })
        .from(OUTSIDE)
        .asks("node-1:30080", "192.168.49.11:30080/TCP")
        .fails(cause, &["ip fw prerouting", "30080"]),
        foreign("firewall: all node ports, before their translation", node_port(), {
            chain("prerouting", -150, "tcp dport 30000-32767 drop")
        })
        .from(OUTSIDE)
        .asks("node-1:30080", "192.168.49.11:30080/TCP")
        .fails(cause, &["ip fw prerouting", "30000-32767"]),
        foreign("firewall: the cluster IP, before its translation", base(), {
            chain("prerouting", -150, "ip daddr 10.96.0.0/16 drop")
        })
        .fails(cause, &["ip fw prerouting"]),
        foreign("firewall: the load balancer's address, by its interface", load_balancer(), {
            chain("prerouting", -150, "iifname \"eth0\" ip daddr 192.0.2.127 drop")
        })
        .from(OUTSIDE)
        .asks("192.0.2.127:80", "192.0.2.127:80/TCP")
        .fails(cause, &["ip fw prerouting"]),
        foreign("firewall: what the host sends", base(), chain("output", 0, "tcp dport 8080 drop"))
            .from(Caller::Host(1))
            .fails(cause, &["ip fw output"]),
        foreign("firewall: what leaves", base(), chain("postrouting", 0, "tcp dport 8080 drop"))
            .fails(cause, &["ip fw postrouting"]),
        Situation::new("firewall: iptables", base())
            .after(|stage| {
                let node = stage.lab.node("node-1").unwrap();
                stage.shell(&node, "iptables-nft -A FORWARD -p tcp --dport 8080 -j DROP");
            })
            .fails(cause, &["ip filter FORWARD"]),
        Situation::new("firewall: iptables, as a container runtime leaves it", base())
            .after(|stage| {
                let node = stage.lab.node("node-1").unwrap();
                stage.shell(&node, "iptables-nft -P FORWARD DROP");
            })
            .fails(cause, &["ip filter FORWARD", "drop"]),
    ]
}

fn refusals() -> Vec<Situation> {
    let cause = "foreign-rule";
    vec![
        foreign("firewall: refuses", base(), forward("tcp dport 8080 reject")).fails(cause, &["reject"]),
        foreign("firewall: resets", base(), forward("tcp dport 8080 reject with tcp reset")).fails(cause, &["reset"]),
        foreign(
            "firewall: lets some ports through and refuses all else, as firewalld does",
            node_port(),
            "table inet firewalld {\n chain filter_FORWARD { type filter hook forward priority 10;\n ct state { \
             established, related } accept\n tcp dport { 22, 443 } accept\n reject with icmpx admin-prohibited\n }\n}\n"
                .into(),
        )
        .from(OUTSIDE)
        .asks("node-1:30080", "192.168.49.11:30080/TCP")
        .fails(cause, &["inet firewalld filter_FORWARD"]),
    ]
}

fn translations() -> Vec<Situation> {
    let cause = "foreign-translation";
    let nat = |hook: &str, rule: &str| {
        format!(
            "add table ip theirs; add chain ip theirs {hook} {{ type nat hook {hook} priority -110; }}; add rule ip theirs {hook} {rule}"
        )
    };
    vec![
        foreign(
            "translation: another table sends the cluster IP elsewhere",
            base(),
            nat("prerouting", "ip daddr 10.96.0.1 dnat to 203.0.113.9"),
        )
        .fails(cause, &["ip theirs prerouting", "203.0.113.9"]),
        foreign(
            "translation: another table sends the node port elsewhere",
            node_port(),
            nat("prerouting", "tcp dport 30080 dnat to 203.0.113.9:8080"),
        )
        .asks("node-1:30080", "192.168.49.11:30080/TCP")
        .fails(cause, &["ip theirs prerouting", "203.0.113.9"]),
    ]
}

fn routes() -> Vec<Situation> {
    let remote = || base().without("pod shop/web-1");
    let back = "route replace 10.244.2.11/32 via 192.168.49.12 dev eth0";
    let back_v6 = "-6 route replace fd00:10:244:2::11/128 via fd00:49::12 dev eth0";
    vec![
        Situation::new("forwarding: off", base())
            .after(|stage| stage.forwarding(1, Family::V4, false))
            .fails("forwarding-off", &["net.ipv4.ip_forward"]),
        Situation::new("forwarding: off, by node port", node_port().without("pod shop/web-1"))
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .after(|stage| stage.forwarding(1, Family::V4, false))
            .fails("forwarding-off", &["net.ipv4.ip_forward"]),
        Situation::new("forwarding: off for IPv6", base())
            .asks("[fd00:96::1]:80", "[fd00:96::1]:80/TCP")
            .after(|stage| stage.forwarding(1, Family::V6, false))
            .fails("forwarding-off", &["net.ipv6.conf.all.forwarding"]),
        Situation::new("forwarding: off at the client's interface", base())
            .after(|stage| {
                let node = stage.lab.node("node-1").unwrap();
                let way = stage.shell(&node, "ip -o route get 10.244.1.20");
                let interface = way.split(' ').skip_while(|word| *word != "dev").nth(1).unwrap().to_owned();
                let switch = |on| format!("sysctl -q -w net/ipv4/conf/{interface}/forwarding={on}");
                stage.until_reset(1, &switch(0), switch(1));
            })
            .fails("forwarding-off", &["net.ipv4.conf.", ".forwarding"]),
        Situation::new("route: none for this client alone", remote())
            .after(move |stage| {
                let rule = "from 10.244.1.20 to 10.244.2.11 prohibit";
                stage.ip(1, &format!("rule add {rule}"), &format!("rule del {rule}"));
            })
            .fails("no-route", &["10.244.2.11", "prohibited"]),
        Situation::new("route: to the endpoint, thrown away, for the host", remote())
            .from(Caller::Host(1))
            .after(move |stage| stage.ip(1, "route replace blackhole 10.244.2.11/32", back))
            .fails("no-route", &["10.244.2.11", "blackhole"]),
        Situation::new("route: to the endpoint, unreachable, for the host", remote())
            .from(Caller::Host(1))
            .after(move |stage| stage.ip(1, "route replace unreachable 10.244.2.11/32", back))
            .fails("no-route", &["10.244.2.11", "unreachable"]),
        Situation::new("route: to the endpoint, thrown away", remote())
            .after(move |stage| stage.ip(1, "route replace blackhole 10.244.2.11/32", back))
            .fails("no-route", &["10.244.2.11", "blackhole"]),
        Situation::new("route: to one endpoint of two, thrown away", base())
            .after(move |stage| stage.ip(1, "route replace blackhole 10.244.2.11/32", back))
            .partly()
            .works_but("no-route", &["10.244.2.11", "blackhole"]),
        Situation::new("route: to the endpoint, unreachable", remote())
            .after(move |stage| stage.ip(1, "route replace unreachable 10.244.2.11/32", back))
            .fails("no-route", &["10.244.2.11", "unreachable"]),
        Situation::new("route: to the IPv6 endpoint, thrown away", remote())
            .asks("[fd00:96::1]:80", "[fd00:96::1]:80/TCP")
            .after(move |stage| stage.ip(1, "-6 route replace blackhole fd00:10:244:2::11/128", back_v6))
            .fails("no-route", &["fd00:10:244:2::11"]),
    ]
}

fn proxies() -> Vec<Situation> {
    vec![
        foreign(
            "a kube-proxy beside, whose tables are there",
            base(),
            "add table ip kube-proxy; add chain ip kube-proxy services".into(),
        )
        .works_but("kube-proxy", &["kube-proxy"]),
        Situation::new("a kube-proxy beside, whose iptables chains are there", base())
            .programmed(Programming::Once)
            .after(|stage| {
                let node = stage.lab.node("node-1").unwrap();
                stage.shell(&node, "iptables-nft -t nat -N KUBE-SERVICES");
            })
            .works_but("kube-proxy", &["1 chain of kube-proxy in ip nat"]),
    ]
}
