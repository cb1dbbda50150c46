use super::{
    super::wire::{WireError, each},
    meta::metadata,
};
use crate::objects::{Conditions, EndpointSlice, ForNode, ForZone, Hints, ObjectReference, SliceEndpoint, SlicePort};

/// discovery.k8s.io/v1 EndpointSlice.
pub fn slice(message: &[u8]) -> Result<EndpointSlice, WireError> {
    let mut slice = EndpointSlice::default();
    each(message, |field| {
        match field.number {
            1 => slice.metadata = field.message(metadata)?,
            2 => slice.endpoints.push(field.message(endpoint)?),
            3 => slice.ports.push(field.message(port)?),
            4 => slice.address_type = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(slice)
}

fn endpoint(message: &[u8]) -> Result<SliceEndpoint, WireError> {
    let mut endpoint = SliceEndpoint::default();
    each(message, |field| {
        match field.number {
            1 => endpoint.addresses.push(field.text()?),
            2 => endpoint.conditions = field.message(conditions)?,
            3 => endpoint.hostname = field.optional_text()?,
            4 => endpoint.target_ref = Some(field.message(object_reference)?),
            6 => endpoint.node_name = field.optional_text()?,
            7 => endpoint.zone = field.optional_text()?,
            8 => endpoint.hints = Some(field.message(hints)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(endpoint)
}

fn conditions(message: &[u8]) -> Result<Conditions, WireError> {
    let mut conditions = Conditions::default();
    each(message, |field| {
        match field.number {
            1 => conditions.ready = Some(field.flag()?),
            2 => conditions.serving = Some(field.flag()?),
            3 => conditions.terminating = Some(field.flag()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(conditions)
}

fn object_reference(message: &[u8]) -> Result<ObjectReference, WireError> {
    let mut reference = ObjectReference::default();
    each(message, |field| {
        match field.number {
            1 => reference.kind = field.text()?,
            2 => reference.namespace = field.text()?,
            3 => reference.name = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(reference)
}

fn hints(message: &[u8]) -> Result<Hints, WireError> {
    let mut hints = Hints::default();
    each(message, |field| {
        match field.number {
            1 => hints.for_zones.push(ForZone { name: field.message(hinted_name)? }),
            2 => hints.for_nodes.push(ForNode { name: field.message(hinted_name)? }),
            _ => {}
        }
        Ok(())
    })?;
    Ok(hints)
}

/// The name is the only field of both ForZone and ForNode.
fn hinted_name(message: &[u8]) -> Result<String, WireError> {
    let mut name = String::new();
    each(message, |field| {
        if field.number == 1 {
            name = field.text()?;
        }
        Ok(())
    })?;
    Ok(name)
}

fn port(message: &[u8]) -> Result<SlicePort, WireError> {
    let mut port = SlicePort::default();
    each(message, |field| {
        match field.number {
            1 => port.name = field.optional_text()?,
            2 => port.protocol = field.optional_text()?,
            3 => port.port = Some(field.int()?),
            4 => port.app_protocol = field.optional_text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(port)
}
