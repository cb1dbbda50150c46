//! The modes of tests/dns as an operator writes them down.

use std::net::SocketAddr;

/// A Corefile: `names` as the server block of a mode has it, ready to be probed at `ready`, others asked at `upstream`.
pub fn corefile(mode: &str, names: SocketAddr, ready: SocketAddr, upstream: SocketAddr) -> String {
    let (options, directives) = lines(mode);
    let (address, port) = (names.ip(), names.port());
    format!(
        ".:{port} {{
    bind {address}
    errors
    ready {ready}
    {directives}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        {options}
    }}
    forward . {upstream} {{
        except except.example
    }}
    loadbalance
}}
"
    )
}

/// What a mode has in `kubernetes`, and besides it.
fn lines(mode: &str) -> (&'static str, &'static str) {
    const REVERSE: &str = "fallthrough in-addr.arpa ip6.arpa";
    match mode {
        "base" | "unsynced" | "stale" => (REVERSE, ""),
        "minimal" => (REVERSE, "minimal"),
        "any" => (REVERSE, "any"),
        "insecure" => ("fallthrough in-addr.arpa ip6.arpa\n        pods insecure", ""),
        "verified" => ("fallthrough in-addr.arpa ip6.arpa\n        pods verified", ""),
        "cidr" => ("fallthrough in-addr.arpa ip6.arpa\n        pods cidr 10.244.0.0/16", ""),
        "epnames" => ("fallthrough in-addr.arpa ip6.arpa\n        endpoint_pod_names", ""),
        "nofall" => ("", ""),
        "fallall" => ("fallthrough", ""),
        "ns-shop" => ("namespaces shop", ""),
        "ignempty" => ("fallthrough in-addr.arpa ip6.arpa\n        ignore empty_service", ""),
        "noep" => ("fallthrough in-addr.arpa ip6.arpa\n        noendpoints", ""),
        "ttl30" => ("fallthrough in-addr.arpa ip6.arpa\n        ttl 30", ""),
        "ttl600" => ("fallthrough in-addr.arpa ip6.arpa\n        ttl 600", ""),
        "compat" => ("fallthrough in-addr.arpa ip6.arpa\n        compat coredns", ""),
        other => panic!("no mode {other}"),
    }
}
