use std::sync::Arc;

use super::{Snapshot, State};
use crate::{config::dns::KubernetesOptions, objects::Object};

/// Takes objects, gives snapshots.
pub struct Builder;

impl Builder {
    /// A builder that knows no object.
    pub fn new(_options: Arc<KubernetesOptions>) -> Self {
        todo!()
    }

    /// Takes up a Namespace, Service, EndpointSlice or Pod. Other kinds are ignored, and so is what cannot be used: a
    /// part of an object that is wrong costs that part. Returns whether anything changed that names are made of; whether
    /// a name changed is what [`Builder::settle`] tells.
    pub fn put(&mut self, _object: &Object) -> bool {
        todo!()
    }

    /// Forgets an object; `kind` as [`Object::kind`] spells it. Returns the same as [`Builder::put`].
    pub fn remove(&mut self, _kind: &str, _namespace: &str, _name: &str) -> bool {
        todo!()
    }

    /// Makes the records of everything put and removed since the last time. Returns whether any record changed since
    /// the last [`Builder::publish`]: then, and only then, the serial goes up.
    pub fn settle(&mut self) -> bool {
        todo!()
    }

    /// What is known now, settled. `serial` goes into the SOA.
    pub fn publish(&mut self, _state: State, _serial: u32) -> Arc<Snapshot> {
        todo!()
    }
}
