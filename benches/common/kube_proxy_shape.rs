//! Rulesets of the shape that kube-proxy's nftables mode writes, reduced to cluster IPs.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use super::Cluster;

/// How the ruleset grows with the cluster.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Shape {
    /// A chain for each service port, with all its endpoints in one anonymous map: since Kubernetes 1.36
    ChainPerService,
    /// A chain for each endpoint as well: before, and since then with session affinity
    ChainPerEndpoint,
}

impl Shape {
    pub const ALL: [Shape; 2] = [Shape::ChainPerService, Shape::ChainPerEndpoint];

    /// The ruleset as nft text.
    pub fn ruleset(self, cluster: Cluster) -> String {
        let mut chains = String::new();
        let mut services = String::new();
        let mut ips = String::new();
        for number in 0..cluster.services {
            let ip = Cluster::cluster_ip(number);
            let name = format!("service-{number:08}-shop/web-{number}/tcp/http");
            self.service_chains(cluster, number, &name, &mut chains);
            let _ = writeln!(services, "\t\t{ip} . tcp . 80 comment \"shop/web-{number}:http\" : goto {name},");
            let _ = writeln!(ips, "\t\t{ip},");
        }
        format!(
            "table ip kube-proxy {{\n\tset cluster-ips {{\n\t\ttype ipv4_addr\n\t\telements = {{\n{ips}\t\t}}\n\t}}\n\
             {chains}\n\tmap service-ips {{\n\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n\t\telements = \
             {{\n{services}\t\t}}\n\t}}\n\tchain services {{\n\t\tip daddr . meta l4proto . th dport vmap \
             @service-ips\n\t}}\n\tchain nat-prerouting {{\n\t\ttype nat hook prerouting priority dstnat\n\t\tjump \
             services\n\t}}\n}}\n"
        )
    }

    fn service_chains(self, cluster: Cluster, number: usize, name: &str, chains: &mut String) {
        let count = cluster.endpoints;
        let endpoints = (0..count).map(|endpoint| cluster.endpoint(number, endpoint));
        match self {
            Shape::ChainPerService => {
                let map: Vec<String> =
                    endpoints.enumerate().map(|(slot, ip)| format!("{slot} : {ip} . 8080")).collect();
                let map = map.join(", ");
                let _ = writeln!(
                    chains,
                    "\tchain {name} {{\n\t\tmeta l4proto tcp dnat ip to numgen random mod {count} map {{ {map} }}\n\t}}"
                );
            }
            Shape::ChainPerEndpoint => {
                let mut map = Vec::new();
                for (slot, ip) in endpoints.enumerate() {
                    let chain = format!("endpoint-{number:08}-{slot:08}__{ip}/8080");
                    let _ = writeln!(
                        chains,
                        "\tchain {chain} {{\n\t\tip saddr {ip} meta mark set meta mark | 0x4000\n\t\tmeta l4proto tcp \
                         dnat to {ip}:8080\n\t}}"
                    );
                    map.push(format!("{slot} : goto {chain}"));
                }
                let _ = writeln!(
                    chains,
                    "\tchain {name} {{\n\t\tnumgen random mod {count} vmap {{ {} }}\n\t}}",
                    map.join(", ")
                );
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shape::ChainPerService => "a chain for each Service",
            Shape::ChainPerEndpoint => "a chain for each Service and endpoint",
        })
    }
}
