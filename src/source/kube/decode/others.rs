use super::{
    super::wire::{WireError, each},
    meta::metadata,
};
use crate::objects::{Namespace, Node, NodeAddress, NodeSpec, NodeStatus, ServiceCidr, ServiceCidrSpec, Taint};

/// core/v1 Namespace.
pub fn namespace(message: &[u8]) -> Result<Namespace, WireError> {
    let mut namespace = Namespace::default();
    each(message, |field| {
        if field.number == 1 {
            namespace.metadata = field.message(metadata)?;
        }
        Ok(())
    })?;
    Ok(namespace)
}

/// networking.k8s.io/v1 ServiceCIDR.
pub fn service_cidr(message: &[u8]) -> Result<ServiceCidr, WireError> {
    let mut service_cidr = ServiceCidr::default();
    each(message, |field| {
        match field.number {
            1 => service_cidr.metadata = field.message(metadata)?,
            2 => service_cidr.spec = field.message(service_cidr_spec)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(service_cidr)
}

fn service_cidr_spec(message: &[u8]) -> Result<ServiceCidrSpec, WireError> {
    let mut spec = ServiceCidrSpec::default();
    each(message, |field| {
        if field.number == 1 {
            spec.cidrs.push(field.text()?);
        }
        Ok(())
    })?;
    Ok(spec)
}

/// core/v1 Node.
pub fn node(message: &[u8]) -> Result<Node, WireError> {
    let mut node = Node::default();
    each(message, |field| {
        match field.number {
            1 => node.metadata = field.message(metadata)?,
            2 => node.spec = field.message(node_spec)?,
            3 => node.status = field.message(node_status)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(node)
}

fn node_spec(message: &[u8]) -> Result<NodeSpec, WireError> {
    let mut spec = NodeSpec::default();
    each(message, |field| {
        match field.number {
            1 => spec.pod_cidr = field.optional_text()?,
            5 => spec.taints.push(field.message(taint)?),
            7 => spec.pod_cidrs.push(field.text()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(spec)
}

fn taint(message: &[u8]) -> Result<Taint, WireError> {
    let mut taint = Taint::default();
    each(message, |field| {
        if field.number == 1 {
            taint.key = field.text()?;
        }
        Ok(())
    })?;
    Ok(taint)
}

fn node_status(message: &[u8]) -> Result<NodeStatus, WireError> {
    let mut status = NodeStatus::default();
    each(message, |field| {
        if field.number == 5 {
            status.addresses.push(field.message(node_address)?);
        }
        Ok(())
    })?;
    Ok(status)
}

fn node_address(message: &[u8]) -> Result<NodeAddress, WireError> {
    let mut address = NodeAddress::default();
    each(message, |field| {
        match field.number {
            1 => address.type_ = field.text()?,
            2 => address.address = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(address)
}
