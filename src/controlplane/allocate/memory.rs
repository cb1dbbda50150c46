use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::pool::Value;

/// What Services hold, to be remembered for as long as they exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allocations {
    /// By `namespace/name`
    pub services: BTreeMap<String, Held>,
}

/// What one Service holds, whether it was allocated or asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Held {
    /// Cluster IPs, at most one a family
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_ips: Vec<IpAddr>,
    /// Node ports, by port and protocol: `80/TCP`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_ports: BTreeMap<String, u16>,
    /// The port of the health check
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_node_port: Option<u16>,
    /// Load-balancer addresses from the pool, at most one a family
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_ips: Vec<IpAddr>,
}

impl Held {
    pub(super) fn values(&self) -> impl Iterator<Item = Value> {
        let cluster = self.cluster_ips.iter().map(|ip| Value::ClusterIp(*ip));
        let ports = self.node_ports.values().chain(&self.health_check_node_port).map(|port| Value::Port(*port));
        let load_balancer = self.load_balancer_ips.iter().map(|ip| Value::LoadBalancerIp(*ip));
        cluster.chain(ports).chain(load_balancer)
    }
}
