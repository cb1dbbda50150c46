//! Why a load balancer has no address.

use super::{address, is_type, networks::load_balancer_pools, pool::Value};
use crate::{controlplane::Options, model::Family, objects::Service};

/// The field that notices about a load balancer's address name.
pub(super) const LOAD_BALANCER_FIELD: &str = "spec.loadBalancerIP";

/// Annotations that ask for addresses, separated by commas: Portolan's own, and MetalLB's, which many manifests have.
const ANNOTATIONS: [&str; 3] =
    ["portolan.net/load-balancer-ips", "metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"];

/// The addresses that a Service asks for.
pub(super) fn requested_addresses(service: &Service) -> Vec<&str> {
    let annotation = ANNOTATIONS.iter().find_map(|name| service.metadata.annotations.get(*name));
    let asked = annotation.or(service.spec.load_balancer_ip.as_ref()).map_or("", String::as_str);
    asked.split(',').map(str::trim).filter(|text| !text.is_empty()).collect()
}

/// Why the external address of a completed Service is pending; `None` if it has one, or needs none.
pub fn pending_reason(service: &Service, options: &Options) -> Option<String> {
    if !is_type(service, "LoadBalancer") || !service.status.load_balancer.ingress.is_empty() {
        return None;
    }
    if let Some(class) = &service.spec.load_balancer_class {
        return Some(format!("loadBalancerClass {class} is for another provider to serve"));
    }
    if options.load_balancer_pool.is_empty() {
        return Some("no load balancer provider and no --load-balancer-pool".to_owned());
    }
    let pools = load_balancer_pools(options);
    let is_outside =
        |text: &&str| address(text).is_none_or(|ip| !pools.of(Family::of(ip)).contains(Value::LoadBalancerIp(ip)));
    if let Some(asked) = requested_addresses(service).into_iter().find(is_outside) {
        return Some(format!("{asked}, which it asks for, is not in --load-balancer-pool"));
    }
    let families = service.spec.ip_families.iter();
    let is_served = |name: &String| {
        Family::ALL.into_iter().any(|family| family.to_string() == *name && !pools.of(family).is_empty())
    };
    match families.clone().any(is_served) {
        true => Some("no address of --load-balancer-pool is free for it".to_owned()),
        false => {
            let families: Vec<_> = families.map(String::as_str).collect();
            Some(format!("--load-balancer-pool has no {} address", families.join(" or ")))
        }
    }
}
