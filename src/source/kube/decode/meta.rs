use jiff::Timestamp;

use super::super::wire::{Field, WireError, each};
use crate::objects::{Metadata, OwnerReference};

/// What tells an object and its state from all others of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The namespace; empty for kinds that have none.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Changes with every change of the object; says nothing else.
    pub version: String,
}

/// Reads the identity out of an object of any kind: the metadata is always field 1.
pub fn identity(object: &[u8]) -> Result<Identity, WireError> {
    let mut identity = Identity::default();
    each(object, |field| {
        if field.number != 1 {
            return Ok(());
        }
        field.message(|metadata| {
            each(metadata, |field| {
                match field.number {
                    1 => identity.name = field.text()?,
                    3 => identity.namespace = field.text()?,
                    6 => identity.version = field.text()?,
                    _ => {}
                }
                Ok(())
            })
        })
    })?;
    Ok(identity)
}

/// meta/v1 ObjectMeta.
pub fn metadata(message: &[u8]) -> Result<Metadata, WireError> {
    let mut metadata = Metadata::default();
    each(message, |field| {
        match field.number {
            1 => metadata.name = field.text()?,
            3 => metadata.namespace = field.text()?,
            8 => metadata.creation_timestamp = time(field)?,
            9 => metadata.deletion_timestamp = time(field)?,
            11 => metadata.labels.extend([field.entry()?]),
            12 => metadata.annotations.extend([field.entry()?]),
            13 => metadata.owner_references.push(field.message(owner_reference)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(metadata)
}

fn owner_reference(message: &[u8]) -> Result<OwnerReference, WireError> {
    let mut owner = OwnerReference::default();
    each(message, |field| {
        match field.number {
            1 => owner.kind = field.text()?,
            3 => owner.name = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(owner)
}

/// meta/v1 Time; an empty one is a time that was never set.
fn time(field: &Field<'_>) -> Result<Option<Timestamp>, WireError> {
    let (mut seconds, mut nanoseconds) = (0, 0);
    field.message(|message| {
        each(message, |part| {
            match part.number {
                1 => seconds = part.long()?,
                2 => nanoseconds = part.int()?,
                _ => {}
            }
            Ok(())
        })
    })?;
    if (seconds, nanoseconds) == (0, 0) {
        return Ok(None);
    }
    let time = Timestamp::new(seconds, nanoseconds);
    time.map(Some).map_err(|_| field.error("a time beyond the year 9999"))
}
