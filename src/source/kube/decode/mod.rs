//! API objects in Protocol Buffers -> [`crate::objects`].
//!
//! Only the fields that Portolan reads are named here; their numbers are those of the generated.proto files of
//! k8s.io/api and k8s.io/apimachinery, which never change within a version of an API. All others are stepped over
//! without being looked at: managedFields, which is half of many objects, costs nothing.

mod list;
mod meta;
mod others;
mod pod;
mod service;
mod slice;
mod status;

pub use list::{Event, event, list, unwrap};
pub use meta::Identity;
pub use status::{Status, status};

use super::{Kind, wire::WireError};
use crate::objects::Object;

/// Reads one object of a kind.
pub fn object(kind: Kind, bytes: &[u8]) -> Result<Object, WireError> {
    Ok(match kind {
        Kind::Service => Object::Service(service::service(bytes)?),
        Kind::EndpointSlice => Object::EndpointSlice(slice::slice(bytes)?),
        Kind::Namespace => Object::Namespace(others::namespace(bytes)?),
        Kind::ServiceCidr => Object::ServiceCidr(others::service_cidr(bytes)?),
        Kind::Node => Object::Node(others::node(bytes)?),
        Kind::Pod => Object::Pod(pod::pod(bytes)?),
    })
}

/// Reads one object of a kind with everything that is of interest to somebody: of a Pod its spec and conditions, too.
pub fn whole(kind: Kind, bytes: &[u8]) -> Result<Object, WireError> {
    match kind {
        Kind::Pod => Ok(Object::Pod(pod::whole_pod(bytes)?)),
        _ => object(kind, bytes),
    }
}

/// Reads what identifies an object, even if the rest of it makes no sense.
pub fn identity(bytes: &[u8]) -> Result<Identity, WireError> {
    meta::identity(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real API server sent, damaged in every place: some of it can still be read, none of it is a reason to
    /// panic.
    #[test]
    fn damage_is_an_error_at_most() {
        let services = include_bytes!("../../../../tests/fake_api/recorded/services.pb");
        let slices = include_bytes!("../../../../tests/fake_api/recorded/endpointslices.pb");
        for (kind, recorded) in [(Kind::Service, &services[..]), (Kind::EndpointSlice, &slices[..])] {
            let readable = |bytes: &[u8]| {
                let list = list(bytes)?;
                list.items.iter().try_for_each(|item| identity(item).and_then(|_| object(kind, item)).map(|_| ()))
            };
            assert_eq!(readable(recorded), Ok(()));
            for end in 4..recorded.len() {
                let _ = readable(&recorded[..end]);
                for value in [0, 0x7f, 0x80, 0xff] {
                    let mut damaged = recorded.to_vec();
                    damaged[end] = value;
                    let _ = readable(&damaged);
                }
            }
            assert!(readable(&recorded[..recorded.len() - 10]).is_err(), "a list without its end");
        }
    }
}
