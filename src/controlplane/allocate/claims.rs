//! What a Service needs, and how it gets it.

use std::net::IpAddr;

use super::{
    address, is_type,
    memory::Held,
    networks::Networks,
    pending::{LOAD_BALANCER_FIELD, requested_addresses},
    pool::{Pool, Value},
};
use crate::{
    controlplane::validate::{is_headless, needs_health_check},
    model::Family,
    objects::{LoadBalancerIngress, Service, ServicePort},
};

/// What one Service needs.
pub(super) struct Claims {
    /// Index of the Service among the objects
    pub object: usize,
    /// `namespace/name`
    pub service: String,
    /// Families of the Service, in order
    families: Vec<Family>,
    pub claims: Vec<Claim>,
}

/// One thing that a Service needs.
pub(super) struct Claim {
    /// What it is for
    pub place: Place,
    /// The field to name if it cannot be had
    pub field: String,
    /// What the manifest asks for
    pub explicit: Option<Value>,
    /// What the Service held before
    pub remembered: Option<Value>,
    /// What tells this claim from others of the same Service
    pub seed: String,
    /// What it got
    pub granted: Option<Value>,
}

/// Where a value belongs in a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    ClusterIp(Family),
    /// By the port's index. Another port of the same number without a node port of its own gets the same.
    NodePort(usize),
    HealthCheck,
    LoadBalancer(Family),
}

impl Place {
    pub fn is_load_balancer(self) -> bool {
        matches!(self, Place::LoadBalancer(_))
    }

    pub fn name(self) -> &'static str {
        match self {
            Place::ClusterIp(Family::V4) => "IPv4 cluster IP",
            Place::ClusterIp(Family::V6) => "IPv6 cluster IP",
            Place::NodePort(_) | Place::HealthCheck => "node port",
            Place::LoadBalancer(_) => "load balancer address",
        }
    }
}

impl Claim {
    fn new(place: Place, field: impl Into<String>, seed: impl Into<String>) -> Self {
        Self { place, field: field.into(), explicit: None, remembered: None, seed: seed.into(), granted: None }
    }

    /// Where the value comes from if the manifest leaves it open.
    pub fn pool<'n>(&self, networks: &'n Networks) -> &'n Pool {
        match self.place {
            Place::ClusterIp(family) => networks.cluster_ips(family),
            Place::NodePort(_) | Place::HealthCheck => &networks.ports,
            Place::LoadBalancer(family) => networks.load_balancer_ips(family),
        }
    }
}

/// A field and what is wrong with it.
type Fault = (String, String);

/// What a Service needs, and warnings; or why it cannot be had by anybody.
pub(super) fn of_service(
    object: usize,
    key: String,
    service: &Service,
    held: &Held,
    networks: &Networks,
) -> Result<(Claims, Vec<Fault>), Fault> {
    let mut claims = Claims { object, service: key, families: Vec::new(), claims: Vec::new() };
    let mut warnings = Vec::new();
    if !is_type(service, "ExternalName") {
        claims.families = networks.families(&service.spec)?;
        claim_cluster_ips(service, held, &mut claims);
        claim_ports(service, held, &mut claims)?;
        warnings = claim_load_balancer(service, held, networks, &mut claims);
    }
    Ok((claims, warnings))
}

fn claim_cluster_ips(service: &Service, held: &Held, claims: &mut Claims) {
    if is_headless(&service.spec) {
        return;
    }
    for (i, family) in claims.families.iter().enumerate() {
        let mut claim = Claim::new(Place::ClusterIp(*family), "spec.clusterIP", format!("clusterIP/{family}"));
        claim.explicit = service.spec.cluster_ips.get(i).and_then(|ip| address(ip)).map(Value::ClusterIp);
        claim.remembered = of_family(&held.cluster_ips, *family).map(Value::ClusterIp);
        claims.claims.push(claim);
    }
}

fn of_family(addresses: &[IpAddr], family: Family) -> Option<IpAddr> {
    addresses.iter().copied().find(|ip| Family::of(*ip) == family)
}

/// `80/TCP`
fn port_key(port: &ServicePort) -> String {
    format!("{}/{}", port.port, port.protocol.as_deref().filter(|p| !p.is_empty()).unwrap_or("TCP"))
}

fn node_port(port: &ServicePort) -> Option<i32> {
    port.node_port.filter(|port| *port != 0)
}

/// Node ports, as the API server allocates them: ports of one number (DNS on TCP and UDP) share theirs.
fn claim_ports(service: &Service, held: &Held, claims: &mut Claims) -> Result<(), Fault> {
    let spec = &service.spec;
    let is_external = is_type(service, "NodePort") || is_type(service, "LoadBalancer");
    let allocates = is_external && spec.allocate_load_balancer_node_ports != Some(false);
    for (i, port) in spec.ports.iter().enumerate() {
        let field = format!("spec.ports[{i}].nodePort");
        let explicit = explicit_port(node_port(port), &field)?;
        let shares = |other: &ServicePort| other.port == port.port;
        let is_covered = spec.ports.iter().any(|other| shares(other) && node_port(other).is_some())
            || spec.ports[..i].iter().any(shares);
        if explicit.is_some() || (allocates && !is_covered) {
            let mut claim = Claim::new(Place::NodePort(i), field, format!("nodePort/{}", port_key(port)));
            claim.explicit = explicit;
            let known = spec.ports[i..].iter().filter(|other| shares(other)).map(port_key);
            claim.remembered = known.filter_map(|key| held.node_ports.get(&key)).next().map(|port| Value::Port(*port));
            claims.claims.push(claim);
        }
    }
    if needs_health_check(spec) {
        let field = "spec.healthCheckNodePort";
        let mut claim = Claim::new(Place::HealthCheck, field, "healthCheckNodePort");
        claim.explicit = explicit_port(spec.health_check_node_port.filter(|port| *port != 0), field)?;
        claim.remembered = held.health_check_node_port.map(Value::Port);
        claims.claims.push(claim);
    }
    Ok(())
}

fn explicit_port(port: Option<i32>, field: &str) -> Result<Option<Value>, Fault> {
    let value = |port: i32| {
        let number = u16::try_from(port).map_err(|_| (field.to_owned(), format!("{port} is not a port number")))?;
        Ok(Value::Port(number))
    };
    port.map(value).transpose()
}

/// Addresses from the pool, one for each family of the Service, unless a provider has set some or is to.
fn claim_load_balancer(service: &Service, held: &Held, networks: &Networks, claims: &mut Claims) -> Vec<Fault> {
    let mut warnings = Vec::new();
    let spec = &service.spec;
    let is_ours = is_type(service, "LoadBalancer") && spec.load_balancer_class.is_none();
    if !is_ours || !service.status.load_balancer.ingress.is_empty() {
        return warnings;
    }
    let mut requested = Vec::new();
    for text in requested_addresses(service) {
        match address(text) {
            Some(ip) if of_family(&requested, Family::of(ip)).is_none() => requested.push(ip),
            Some(ip) => warnings.push((LOAD_BALANCER_FIELD.into(), format!("{ip} is a second address of its family"))),
            None => warnings.push((LOAD_BALANCER_FIELD.into(), format!("{text:?} is not an IP address"))),
        }
    }
    for family in &claims.families {
        let explicit = of_family(&requested, *family);
        let is_wanted = requested.is_empty() || explicit.is_some();
        if is_wanted && !networks.load_balancer_ips(*family).is_empty() {
            let mut claim =
                Claim::new(Place::LoadBalancer(*family), LOAD_BALANCER_FIELD, format!("loadBalancer/{family}"));
            claim.explicit = explicit.map(Value::LoadBalancerIp);
            claim.remembered = of_family(&held.load_balancer_ips, *family).map(Value::LoadBalancerIp);
            claims.claims.push(claim);
        }
    }
    warnings
}

/// Writes what was granted into the Service, and returns all that it holds now.
pub(super) fn apply(claims: &Claims, service: &mut Service) -> Held {
    let mut held = Held::default();
    for claim in &claims.claims {
        match (claim.place, claim.granted) {
            (Place::ClusterIp(_), Some(Value::ClusterIp(ip))) => held.cluster_ips.push(ip),
            (Place::NodePort(i), Some(Value::Port(port))) => service.spec.ports[i].node_port = Some(port.into()),
            (Place::HealthCheck, Some(Value::Port(port))) => held.health_check_node_port = Some(port),
            (Place::LoadBalancer(_), Some(Value::LoadBalancerIp(ip))) => held.load_balancer_ips.push(ip),
            _ => {}
        }
    }
    let spec = &mut service.spec;
    if !held.cluster_ips.is_empty() {
        spec.cluster_ips = held.cluster_ips.iter().map(ToString::to_string).collect();
        spec.cluster_ip = spec.cluster_ips.first().cloned();
    }
    spec.ip_families = claims.families.iter().map(ToString::to_string).collect();
    if let Some(port) = held.health_check_node_port {
        spec.health_check_node_port = Some(port.into());
    }
    share_node_ports(service);
    let with_node_port = service.spec.ports.iter().filter_map(|port| Some((port_key(port), node_port(port)?)));
    held.node_ports = with_node_port.filter_map(|(key, port)| Some((key, u16::try_from(port).ok()?))).collect();
    for ip in &held.load_balancer_ips {
        let ingress = LoadBalancerIngress { ip: Some(ip.to_string()), hostname: None, ip_mode: Some("VIP".into()) };
        service.status.load_balancer.ingress.push(ingress);
    }
    held
}

/// Ports without a node port take that of another port with the same number.
fn share_node_ports(service: &mut Service) {
    let allocates = service.spec.allocate_load_balancer_node_ports != Some(false);
    let ports = &mut service.spec.ports;
    for i in (0..ports.len()).filter(|_| allocates) {
        if node_port(&ports[i]).is_none() {
            let number = ports[i].port;
            ports[i].node_port = ports.iter().filter(|other| other.port == number).find_map(node_port);
        }
    }
}
