//! An address that is nobody's here.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{
    Cause, Outcome, Scene, Stage,
    client::{Client, Role},
    report::{Fault, Report},
};
use crate::{
    controlplane::default_service_cidr,
    model::{Frontend, ServiceId},
    objects,
};

/// Says what becomes of packets to it.
pub(super) fn say(frontend: Frontend, client: &Client, scene: &Scene, report: &mut Report) {
    let Frontend { address, port, .. } = frontend;
    let fault = |cause, because: String, remedy: &str| Fault::new(Stage::Frontend, cause, because, remedy);
    if address.is_unspecified() || address.is_multicast() || address == IpAddr::from(Ipv4Addr::BROADCAST) {
        let because = format!("{address} is not the address of one machine: no Service can have it");
        report.breaks(fault(Cause::NoSuchService, because, "dial another address"), Outcome::Passed);
        return;
    }
    if let Some((network, known)) = service_network(address, scene) {
        let (what, outcome) = match known {
            true => ("where cluster IPs are taken from, so packets to it are dropped", Outcome::Dropped),
            false => ("where cluster IPs are taken from unless --service-cidr says otherwise", Outcome::Passed),
        };
        let because = format!("no Service has the cluster IP {address}; it is inside {network}, {what}");
        let remedy = "ask for the name of the Service, or see kubectl get services -A for its address";
        report.breaks(fault(Cause::NoSuchService, because, remedy), outcome);
        return;
    }
    if scene.options.load_balancer_pool.iter().any(|range| range.contains(address)) {
        let because = format!("no Service has the load-balancer address {address}; it is in --load-balancer-pool");
        let remedy = "see kubectl get services -A for the addresses that there are";
        report.breaks(fault(Cause::NoSuchService, because, remedy), Outcome::Passed);
        return;
    }
    let of_port = |service: &objects::Service| service.spec.ports.iter().any(|own| own.port == i32::from(port));
    let pending = scene
        .services()
        .filter(|service| of_port(service))
        .find_map(|service| Some((service, scene.pending(service)?)));
    if let Some((service, (reason, remedy))) = pending {
        let id = ServiceId::new(service.metadata.namespace(), &service.metadata.name);
        let because = format!(
            "no Service has the address {address}; Service {id}, which has port {port}, waits for a load-balancer address: {reason}"
        );
        report.breaks(fault(Cause::AddressPending, because, remedy), Outcome::Passed);
        return;
    }
    let whose = if client.role == Role::Outside { "" } else { " by its routes" };
    let because = format!(
        "no Service of this cluster has the address {address}: this node passes packets to it on{whose} as they are"
    );
    report.prediction.outcome = Outcome::Passed;
    report.remark(fault(Cause::NoSuchService, because, ""));
}

/// The range of cluster IPs that an address is of, and whether the node knows that: where nobody says which range that is,
/// cluster IPs come from the default one.
pub(super) fn service_network(address: IpAddr, scene: &Scene) -> Option<(IpNet, bool)> {
    let known = &scene.world.service_networks;
    if let Some(network) = known.iter().find(|network| network.contains(&address)) {
        return Some((*network, true));
    }
    // An API server has its own, and tells of it if it may.
    let unsaid = known.is_empty() && scene.api.is_none();
    default_service_cidr().filter(|network| unsaid && network.contains(&address)).map(|network| (network, false))
}
