use super::{
    super::wire::{WireError, each},
    meta::metadata,
};
use crate::objects::{Container, ContainerPort, Pod, PodCondition, PodIp, PodSpec, PodStatus};

/// core/v1 Pod: what its names are made of, and nothing of its spec, which is most of it.
pub fn pod(message: &[u8]) -> Result<Pod, WireError> {
    let mut pod = Pod::default();
    each(message, |field| {
        match field.number {
            1 => pod.metadata = field.message(metadata)?,
            3 => pod.status = field.message(status)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(pod)
}

/// core/v1 Pod, with what decides whether it is an endpoint: its node, its containers' ports, and whether it is ready.
pub fn whole_pod(message: &[u8]) -> Result<Pod, WireError> {
    let mut pod = pod(message)?;
    each(message, |field| {
        match field.number {
            2 => pod.spec = field.message(spec)?,
            3 => pod.status.conditions = field.message(conditions)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(pod)
}

fn spec(message: &[u8]) -> Result<PodSpec, WireError> {
    let mut spec = PodSpec::default();
    each(message, |field| {
        match field.number {
            2 => spec.containers.push(field.message(container)?),
            10 => spec.node_name = field.optional_text()?,
            11 => spec.host_network = Some(field.flag()?).filter(|set| *set),
            16 => spec.hostname = field.optional_text()?,
            17 => spec.subdomain = field.optional_text()?,
            20 => spec.init_containers.push(field.message(container)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(spec)
}

fn container(message: &[u8]) -> Result<Container, WireError> {
    let mut container = Container::default();
    each(message, |field| {
        match field.number {
            1 => container.name = field.text()?,
            6 => container.ports.push(field.message(port)?),
            24 => container.restart_policy = field.optional_text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(container)
}

fn port(message: &[u8]) -> Result<ContainerPort, WireError> {
    let mut port = ContainerPort::default();
    each(message, |field| {
        match field.number {
            1 => port.name = field.optional_text()?,
            3 => port.container_port = field.int()?,
            4 => port.protocol = field.optional_text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(port)
}

fn conditions(message: &[u8]) -> Result<Vec<PodCondition>, WireError> {
    let mut conditions = Vec::new();
    each(message, |field| {
        if field.number == 2 {
            conditions.push(field.message(condition)?);
        }
        Ok(())
    })?;
    Ok(conditions)
}

fn condition(message: &[u8]) -> Result<PodCondition, WireError> {
    let mut condition = PodCondition::default();
    each(message, |field| {
        match field.number {
            1 => condition.type_ = field.text()?,
            2 => condition.status = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(condition)
}

fn status(message: &[u8]) -> Result<PodStatus, WireError> {
    let mut status = PodStatus::default();
    each(message, |field| {
        match field.number {
            1 => status.phase = field.optional_text()?,
            6 => status.pod_ip = field.optional_text()?,
            12 => status.pod_ips.push(field.message(pod_ip)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(status)
}

fn pod_ip(message: &[u8]) -> Result<PodIp, WireError> {
    let mut ip = PodIp::default();
    each(message, |field| {
        if field.number == 1 {
            ip.ip = field.text()?;
        }
        Ok(())
    })?;
    Ok(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds text or a message of less than 128 bytes.
    fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
        let content = content.as_ref();
        let key = u16::from(number) << 3 | 2;
        let key = if key < 128 { vec![key as u8] } else { vec![key as u8 | 128, (key >> 7) as u8] };
        [&key[..], &[content.len() as u8], content].concat()
    }

    #[test]
    fn addresses_and_phase_are_read_and_the_spec_is_not() {
        let addresses = [field(12, field(1, "10.244.1.30")), field(12, field(1, "fd00:244:1::30"))].concat();
        let status = [field(1, "Running"), field(5, "192.168.10.5"), field(6, "10.244.1.30"), addresses].concat();
        let metadata = [field(1, "db-0"), field(3, "data"), field(9, [8, 1])].concat();
        let pod = pod(&[field(1, metadata), field(2, field(10, "node-1")), field(3, status)].concat()).unwrap();
        assert_eq!((&*pod.metadata.name, &*pod.metadata.namespace), ("db-0", "data"));
        assert!(pod.metadata.deletion_timestamp.is_some());
        assert_eq!(pod.status.phase.as_deref(), Some("Running"));
        assert_eq!(pod.status.pod_ip.as_deref(), Some("10.244.1.30"));
        let addresses: Vec<&str> = pod.status.pod_ips.iter().map(|ip| &*ip.ip).collect();
        assert_eq!(addresses, ["10.244.1.30", "fd00:244:1::30"]);
        assert!(super::pod(&field(3, field(6, [0xff]))).is_err(), "not UTF-8");
    }

    #[test]
    fn the_whole_of_a_pod_has_its_node_ports_and_conditions() {
        // Number 80 or 53 in a field of type 0.
        let number = |key: u8, value: u8| vec![key << 3, value];
        let http = [field(1, "http"), number(3, 80), field(4, "TCP")].concat();
        let side = [field(1, "dns"), field(6, number(3, 53)), [&[0xc2, 1][..], &[6], b"Always"].concat()].concat();
        let spec =
            [field(2, [field(1, "web"), field(6, http)].concat()), field(10, "node-1"), field(20, side)].concat();
        let ready = [field(1, "Ready"), field(2, "True")].concat();
        let status = [field(1, "Running"), field(2, ready), field(6, "10.244.1.30")].concat();
        let bytes = [field(1, field(1, "web-1")), field(2, spec), field(3, status)].concat();
        let read = whole_pod(&bytes).unwrap();
        assert_eq!(read.spec.node_name.as_deref(), Some("node-1"));
        let port = &read.spec.containers[0].ports[0];
        assert_eq!((port.name.as_deref(), port.container_port), (Some("http"), 80));
        let side = &read.spec.init_containers[0];
        assert_eq!((side.restart_policy.as_deref(), side.ports[0].container_port), (Some("Always"), 53));
        assert_eq!((&*read.status.conditions[0].type_, &*read.status.conditions[0].status), ("Ready", "True"));
        assert_eq!(read.status.pod_ip.as_deref(), Some("10.244.1.30"));
        assert_eq!(pod(&bytes).unwrap().spec, PodSpec::default());
    }
}
