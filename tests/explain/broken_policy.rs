//! The client may not come, or is kept where nobody serves.

use crate::{
    caller::{CLIENT, Caller, OUTSIDE},
    manifests::{Manifests, base, load_balancer},
    situation::Situation,
};

const CAUSE: &str = "source-range";

/// A load balancer for these sources.
pub fn ranges(list: &str) -> Manifests {
    load_balancer().web("  type:", &format!("  loadBalancerSourceRanges: [{list}]\n  type:"))
}

pub fn situations() -> Vec<Situation> {
    let at = |name, list: &str| Situation::new(name, ranges(list)).asks("192.0.2.127:80", "192.0.2.127:80/TCP");
    let at_v6 = |name, list: &str| Situation::new(name, ranges(list)).asks("[fd00:2::127]:80", "[fd00:2::127]:80/TCP");
    vec![
        // Told so, because few are: no router of the world has a way to cluster IPs.
        Situation::new("somebody outside, whom a route led here", base())
            .from(OUTSIDE)
            .works_but("cluster-only", &["10.96.0.1"]),
        at("source ranges: nobody says who asks", "192.168.49.0/24")
            .unsaid()
            .from(OUTSIDE)
            .works_but(CAUSE, &["192.168.49.0/24"]),
        at("source ranges: without the client", "203.0.113.0/24")
            .from(OUTSIDE)
            .fails(CAUSE, &["192.168.49.100", "203.0.113.0/24"]),
        at("source ranges: only the client's neighbour", "192.168.49.101/32")
            .from(OUTSIDE)
            .fails(CAUSE, &["192.168.49.100", "192.168.49.101/32"]),
        at("source ranges: without the pods", "192.168.49.0/24").from(CLIENT).fails(CAUSE, &["10.244.1.20"]),
        at("source ranges: without the host", "203.0.113.0/24").from(Caller::Host(1)).fails(CAUSE, &["203.0.113.0/24"]),
        at_v6("source ranges: without the IPv6 client", "\"fd00:3::/64\"")
            .from(Caller::Outside(2))
            .fails(CAUSE, &["fd00:49::100", "fd00:3::/64"]),
        Situation::new("source ranges: outside, and no endpoint", ranges("203.0.113.0/24").web("app: web", "app: wbe"))
            .from(OUTSIDE)
            .asks("192.0.2.127:80", "192.0.2.127:80/TCP")
            .fails(CAUSE, &["192.168.49.100"]),
        Situation::new("source ranges: inside, but no endpoint", ranges("192.168.49.0/24").web("app: web", "app: wbe"))
            .from(OUTSIDE)
            .asks("192.0.2.127:80", "192.0.2.127:80/TCP")
            .fails("selector-matches-nothing", &["app=wbe"]),
        Situation::new("source ranges: not a range", ranges("192.168.49.0/33"))
            .from(OUTSIDE)
            .asks_in_vain("shop/web:80", "a Service that was refused has no address")
            .fails("invalid", &["192.168.49.0/33"]),
    ]
}
