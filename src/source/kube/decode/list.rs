use super::{
    super::wire::{WireError, each},
    meta::{Identity, identity},
    status::{Status, status},
};

/// What every encoded object begins with: "k8s" and a zero (k8s.io/apimachinery, runtime/serializer/protobuf).
const MAGIC: &[u8] = b"k8s\0";

/// One page of a list.
#[derive(Debug, Default)]
pub struct List<'a> {
    /// The state of the collection that the list shows; a watch goes on from there.
    pub version: String,
    /// What to ask the next page with; empty on the last one.
    pub next_page: String,
    /// The objects, still encoded, so that each is read on its own.
    pub items: Vec<&'a [u8]>,
}

/// Reads a page of a list, whatever is in it.
pub fn list(body: &[u8]) -> Result<List<'_>, WireError> {
    let mut list = List::default();
    each(unwrap(body)?.1, |field| {
        match field.number {
            1 => field.message(|metadata| {
                each(metadata, |field| {
                    match field.number {
                        2 => list.version = field.text()?,
                        3 => list.next_page = field.text()?,
                        _ => {}
                    }
                    Ok(())
                })
            })?,
            2 => list.items.push(field.bytes()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(list)
}

/// What a watch tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An object was added or changed; it is still encoded
    Put(&'a [u8]),
    /// An object was deleted
    Gone(Identity),
    /// Nothing happened up to this version
    Bookmark(Identity),
    /// The watch cannot go on
    Error(Status),
    /// A type of event that is not known here
    Unknown,
}

/// Reads one event of a watch.
pub fn event(frame: &[u8]) -> Result<Event<'_>, WireError> {
    let (mut kind, mut object) = (String::new(), &[][..]);
    each(frame, |field| {
        match field.number {
            1 => kind = field.text()?,
            2 => {
                field.message(|extension| {
                    each(extension, |field| {
                        if field.number == 1 {
                            object = field.bytes()?;
                        }
                        Ok(())
                    })
                })?;
            }
            _ => {}
        }
        Ok(())
    })?;
    let (_, object) = unwrap(object)?;
    Ok(match kind.as_str() {
        "ADDED" | "MODIFIED" => Event::Put(object),
        "DELETED" => Event::Gone(identity(object)?),
        "BOOKMARK" => Event::Bookmark(identity(object)?),
        "ERROR" => Event::Error(status(object)?),
        _ => Event::Unknown,
    })
}

/// Takes an object out of its envelope (runtime.Unknown); the first part says what kind it is.
pub fn unwrap(encoded: &[u8]) -> Result<(String, &[u8]), WireError> {
    let envelope =
        encoded.strip_prefix(MAGIC).ok_or_else(|| WireError::new("no Kubernetes object in Protocol Buffers"))?;
    let (mut kind, mut object) = (String::new(), &[][..]);
    each(envelope, |field| {
        match field.number {
            1 => field.message(|type_meta| {
                each(type_meta, |field| {
                    if field.number == 2 {
                        kind = field.text()?;
                    }
                    Ok(())
                })
            })?,
            2 => object = field.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((kind, object))
}
