//! Kubernetes objects as they stand in manifests and API answers, reduced to the fields Portolan reads.
//!
//! Every source decodes into these types, so nothing behind them knows where an object came from. Field names and
//! meanings are those of the Kubernetes API (core/v1, discovery.k8s.io/v1, networking.k8s.io/v1); a field that is not
//! listed is ignored, a field of the wrong type is a decoding error. An explicit `null` means absent, as the API has it.

mod endpoints;
mod meta;
mod node;
mod number;
mod pod;
mod reference;
mod service;
mod workload;

pub use endpoints::{
    Conditions, EndpointAddress, EndpointPort, EndpointSlice, EndpointSubset, Endpoints, ForNode, ForZone, Hints,
    ObjectReference, SliceEndpoint, SlicePort,
};
pub use meta::{Metadata, OwnerReference};
pub use node::{Namespace, Node, NodeAddress, NodeSpec, NodeStatus, ServiceCidr, ServiceCidrSpec, Taint};
pub use pod::{Container, ContainerPort, Pod, PodCondition, PodIp, PodSpec, PodStatus};
pub use reference::ObjectRef;
pub use service::{
    ClientIpConfig, IntOrString, LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec,
    ServiceStatus, SessionAffinityConfig,
};
pub use workload::{Ordinals, PodTemplate, Workload, WorkloadKind, WorkloadSpec};

pub(crate) use number::{number, number_or_zero};

use serde::{Deserialize, Deserializer};

/// Label on an EndpointSlice that names the Service it belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Label that hands a Service to another proxy; only its presence counts.
pub const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Label on an EndpointSlice that says which controller keeps it.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// Annotation on an EndpointSlice with the time of the change that it was written for.
pub const CHANGE_TRIGGER_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Label on a Node with the zone it stands in.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// One object of a kind that Portolan reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// core/v1 Service
    Service(Service),
    /// core/v1 Endpoints
    Endpoints(Endpoints),
    /// discovery.k8s.io/v1 EndpointSlice
    EndpointSlice(EndpointSlice),
    /// core/v1 Pod
    Pod(Pod),
    /// core/v1 Node
    Node(Node),
    /// core/v1 Namespace
    Namespace(Namespace),
    /// networking.k8s.io/v1 ServiceCIDR
    ServiceCidr(ServiceCidr),
    /// Something that makes Pods: a Deployment, a ReplicaSet, ...
    Workload(Workload),
}

impl Object {
    /// The object's metadata.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Object::Service(o) => &o.metadata,
            Object::Endpoints(o) => &o.metadata,
            Object::EndpointSlice(o) => &o.metadata,
            Object::Pod(o) => &o.metadata,
            Object::Node(o) => &o.metadata,
            Object::Namespace(o) => &o.metadata,
            Object::ServiceCidr(o) => &o.metadata,
            Object::Workload(o) => &o.metadata,
        }
    }

    /// How notices name the object.
    pub fn reference(&self) -> ObjectRef {
        let metadata = self.metadata();
        ObjectRef { kind: self.kind().into(), namespace: self.namespace().into(), name: metadata.name.as_str().into() }
    }

    /// The object's kind, as its manifest spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Service(_) => "Service",
            Object::Endpoints(_) => "Endpoints",
            Object::EndpointSlice(_) => "EndpointSlice",
            Object::Pod(_) => "Pod",
            Object::Node(_) => "Node",
            Object::Namespace(_) => "Namespace",
            Object::ServiceCidr(_) => "ServiceCIDR",
            Object::Workload(o) => o.kind.name(),
        }
    }

    /// The namespace, with the API's default filled in; empty for kinds that have none.
    pub fn namespace(&self) -> &str {
        match self {
            Object::Node(_) | Object::Namespace(_) | Object::ServiceCidr(_) => "",
            _ => self.metadata().namespace(),
        }
    }
}

/// Reads `null` as the type's default, as the Kubernetes API does for lists, maps and structs.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
