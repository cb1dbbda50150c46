//! The frontends of a Service on this node (sections 2.2, 2.3 and 2.6).

use std::net::IpAddr;

use crate::compile::FrontendKind;
use crate::model::{Family, Frontend, Node, NodePortAddresses, Service, ServicePort, ServiceType, Settings};

/// A frontend that a Service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFrontend {
    /// What a client dials
    pub frontend: Frontend,
    /// What it is to the Service
    pub kind: FrontendKind,
    /// Index into the Service's ports
    pub port: usize,
}

/// Every frontend that the Service asks for, port by port. A Service without a cluster IP of a family has none there.
pub fn frontends(service: &Service, node: &Node, settings: &Settings) -> Vec<OwnFrontend> {
    let mut own = Vec::new();
    if service.kind == ServiceType::ExternalName || !service.proxied {
        return own;
    }
    for cluster_ip in &service.cluster_ips {
        let family = Family::of(*cluster_ip);
        let node_port_addresses = node_port_addresses(family, node, &settings.node_port_addresses);
        for (index, port) in service.ports.iter().enumerate() {
            for (kind, address) in addresses(service, *cluster_ip, port, &node_port_addresses) {
                let number = match kind {
                    FrontendKind::NodePort => port.node_port.unwrap_or_default(),
                    _ => port.port,
                };
                let frontend = Frontend { address, protocol: port.protocol, port: number };
                own.push(OwnFrontend { frontend, kind, port: index });
            }
        }
    }
    own
}

/// The addresses of one port in the cluster IP's family, each with what it is.
fn addresses(
    service: &Service,
    cluster_ip: IpAddr,
    port: &ServicePort,
    node_port_addresses: &[IpAddr],
) -> Vec<(FrontendKind, IpAddr)> {
    let family = Family::of(cluster_ip);
    let of_family = |list: &[IpAddr], kind: FrontendKind| -> Vec<(FrontendKind, IpAddr)> {
        list.iter().filter(|a| Family::of(**a) == family).map(|a| (kind, *a)).collect()
    };
    let mut all = vec![(FrontendKind::ClusterIp, cluster_ip)];
    all.extend(of_family(&service.load_balancer_ips, FrontendKind::LoadBalancer));
    all.extend(of_family(&service.external_ips, FrontendKind::ExternalIp));
    if port.node_port.is_some() {
        all.extend(of_family(node_port_addresses, FrontendKind::NodePort));
    }
    all
}

/// The node's addresses that answer on node ports.
pub(super) fn node_port_addresses(family: Family, node: &Node, chosen: &NodePortAddresses) -> Vec<IpAddr> {
    let of_family = |list: &[IpAddr]| -> Vec<IpAddr> {
        let mut list: Vec<IpAddr> =
            list.iter().copied().filter(|a| Family::of(*a) == family && !crate::model::is_loopback(*a)).collect();
        list.sort();
        list.dedup();
        list
    };
    match chosen {
        NodePortAddresses::Primary => {
            let known = node.addresses.iter().find(|a| Family::of(**a) == family);
            match known {
                Some(primary) => of_family(&[*primary]),
                None if node.addresses.is_empty() => of_family(&node.interface_addresses),
                None => Vec::new(),
            }
        }
        NodePortAddresses::Ranges(ranges) => {
            let ranges: Vec<_> = ranges.iter().filter(|r| Family::of(r.network()) == family).collect();
            let inside = |a: &IpAddr| ranges.is_empty() || ranges.iter().any(|r| r.contains(a));
            of_family(&node.interface_addresses).into_iter().filter(inside).collect()
        }
    }
}
