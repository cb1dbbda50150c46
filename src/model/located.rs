use super::{Notice, Origin, Severity};
use crate::objects::Object;

/// An object and where it was read: what a manifest source gives, and what the standalone control plane adds to.
///
/// An object that was made from another one (a Pod from a Deployment, an EndpointSlice from a Service) has the origin of
/// the one it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The object
    pub object: Object,
    /// Where it, or what it was made from, was read
    pub origin: Origin,
}

impl Located {
    /// A notice about this object.
    pub fn notice(&self, severity: Severity, field: impl Into<String>, reason: impl Into<String>) -> Notice {
        Notice {
            severity,
            origin: Some(self.origin.clone()),
            object: Some(self.object.reference()),
            field: field.into(),
            reason: reason.into(),
        }
    }
}
