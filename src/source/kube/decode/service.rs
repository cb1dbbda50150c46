use super::{
    super::wire::{WireError, each},
    meta::metadata,
};
use crate::objects::{
    ClientIpConfig, IntOrString, LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec,
    ServiceStatus, SessionAffinityConfig,
};

/// core/v1 Service.
pub fn service(message: &[u8]) -> Result<Service, WireError> {
    let mut service = Service::default();
    each(message, |field| {
        match field.number {
            1 => service.metadata = field.message(metadata)?,
            2 => service.spec = field.message(spec)?,
            3 => service.status = field.message(status)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(service)
}

fn spec(message: &[u8]) -> Result<ServiceSpec, WireError> {
    let mut spec = ServiceSpec::default();
    each(message, |field| {
        match field.number {
            1 => spec.ports.push(field.message(port)?),
            2 => spec.selector.extend([field.entry()?]),
            3 => spec.cluster_ip = field.optional_text()?,
            4 => spec.type_ = field.optional_text()?,
            5 => spec.external_ips.push(field.text()?),
            7 => spec.session_affinity = field.optional_text()?,
            8 => spec.load_balancer_ip = field.optional_text()?,
            9 => spec.load_balancer_source_ranges.push(field.text()?),
            10 => spec.external_name = field.optional_text()?,
            11 => spec.external_traffic_policy = field.optional_text()?,
            12 => spec.health_check_node_port = field.optional_int()?,
            13 => spec.publish_not_ready_addresses = Some(field.flag()?).filter(|set| *set),
            14 => spec.session_affinity_config = Some(field.message(session_affinity_config)?),
            17 => spec.ip_family_policy = field.optional_text()?,
            18 => spec.cluster_ips.push(field.text()?),
            19 => spec.ip_families.push(field.text()?),
            20 => spec.allocate_load_balancer_node_ports = Some(field.flag()?),
            21 => spec.load_balancer_class = field.optional_text()?,
            22 => spec.internal_traffic_policy = field.optional_text()?,
            23 => spec.traffic_distribution = field.optional_text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(spec)
}

fn port(message: &[u8]) -> Result<ServicePort, WireError> {
    let mut port = ServicePort::default();
    each(message, |field| {
        match field.number {
            1 => port.name = field.optional_text()?,
            2 => port.protocol = field.optional_text()?,
            3 => port.port = field.int()?,
            4 => port.target_port = Some(field.message(int_or_string)?),
            5 => port.node_port = field.optional_int()?,
            6 => port.app_protocol = field.optional_text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(port)
}

/// util/intstr IntOrString; type 0 is the number, type 1 the name.
fn int_or_string(message: &[u8]) -> Result<IntOrString, WireError> {
    let (mut kind, mut number, mut name) = (0, 0, String::new());
    each(message, |field| {
        match field.number {
            1 => kind = field.long()?,
            2 => number = field.int()?,
            3 => name = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    match kind {
        0 => Ok(IntOrString::Int(number)),
        1 => Ok(IntOrString::String(name)),
        _ => Err(WireError::new("neither a number (0) nor a name (1)").within(1)),
    }
}

fn session_affinity_config(message: &[u8]) -> Result<SessionAffinityConfig, WireError> {
    let mut config = SessionAffinityConfig::default();
    each(message, |field| {
        if field.number == 1 {
            config.client_ip = Some(field.message(client_ip_config)?);
        }
        Ok(())
    })?;
    Ok(config)
}

fn client_ip_config(message: &[u8]) -> Result<ClientIpConfig, WireError> {
    let mut config = ClientIpConfig::default();
    each(message, |field| {
        if field.number == 1 {
            config.timeout_seconds = Some(field.int()?);
        }
        Ok(())
    })?;
    Ok(config)
}

fn status(message: &[u8]) -> Result<ServiceStatus, WireError> {
    let mut status = ServiceStatus::default();
    each(message, |field| {
        if field.number == 1 {
            status.load_balancer = field.message(load_balancer)?;
        }
        Ok(())
    })?;
    Ok(status)
}

fn load_balancer(message: &[u8]) -> Result<LoadBalancerStatus, WireError> {
    let mut status = LoadBalancerStatus::default();
    each(message, |field| {
        if field.number == 1 {
            status.ingress.push(field.message(ingress)?);
        }
        Ok(())
    })?;
    Ok(status)
}

fn ingress(message: &[u8]) -> Result<LoadBalancerIngress, WireError> {
    let mut ingress = LoadBalancerIngress::default();
    each(message, |field| {
        match field.number {
            1 => ingress.ip = field.optional_text()?,
            2 => ingress.hostname = field.optional_text()?,
            3 => ingress.ip_mode = field.optional_text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(ingress)
}
