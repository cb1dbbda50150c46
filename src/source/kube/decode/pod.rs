use super::{
    super::wire::{WireError, each},
    meta::metadata,
};
use crate::objects::{Pod, PodIp, PodStatus};

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
        [&[number << 3 | 2, content.len() as u8], content].concat()
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
}
