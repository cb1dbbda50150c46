//! The names of what kube-proxy makes (`pkg/proxy/iptables`, `pkg/proxy/ipvs`, `pkg/proxy/nftables`).

/// kube-proxy's own nftables table, in the families ip and ip6.
pub(super) const TABLE: &str = "kube-proxy";
/// The tables of iptables that kube-proxy has chains in.
pub(super) const SHARED_TABLES: [&str; 3] = ["nat", "filter", "mangle"];
/// The chains that iptables itself has.
pub(super) const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// Chains that kube-proxy jumps to from the built-in ones.
const ENTRIES: [&str; 9] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-NODE-PORT",
    "KUBE-POSTROUTING",
    "KUBE-FORWARD",
    "KUBE-PROXY-FIREWALL",
    "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
];
/// Other chains with a fixed name.
const INNER: [&str; 4] = ["KUBE-MARK-MASQ", "KUBE-PROXY-CANARY", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-LOAD-BALANCER"];
/// Beginnings of the chains of a Service port or an endpoint; a hash in base 32 follows.
const HASHED: [&str; 6] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"];

/// Whether kube-proxy jumps to this chain from a built-in one.
pub(super) fn is_entry(chain: &str) -> bool {
    ENTRIES.contains(&chain)
}

/// Whether a chain is kube-proxy's. The kubelet's are not: KUBE-FIREWALL, KUBE-MARK-DROP, KUBE-KUBELET-CANARY,
/// KUBE-IPTABLES-HINT; nor is what only begins like one of kube-proxy's.
pub(super) fn is_kube_proxys(chain: &str) -> bool {
    let is_hash = |rest: &str| rest.len() == 16 && rest.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    is_entry(chain)
        || INNER.contains(&chain)
        || HASHED.iter().any(|beginning| chain.strip_prefix(beginning).is_some_and(is_hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kube_proxys_chains_are_told_from_the_kubelets_and_from_others() {
        for chain in ["KUBE-SERVICES", "KUBE-MARK-MASQ", "KUBE-SVC-ERIFXISQEP7F7OF4", "KUBE-SEP-ABCDEFGHIJKLMNOP"] {
            assert!(is_kube_proxys(chain), "{chain}");
        }
        let others = ["KUBE-FIREWALL", "KUBE-MARK-DROP", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT", "KUBE-SVC-mine"];
        for chain in others.into_iter().chain(["KUBE-SVC-", "KUBE-ROUTER-SERVICES", "PREROUTING", "CNI-KUBE-SERVICES"])
        {
            assert!(!is_kube_proxys(chain), "{chain}");
        }
    }
}
