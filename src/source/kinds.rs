use serde::{Deserialize, Deserializer};

use crate::objects::{
    EndpointSlice, Endpoints, Namespace, Node, Object, Pod, Service, ServiceCidr, Workload, WorkloadKind,
};

/// A kind of object that Portolan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Endpoints,
    EndpointSlice,
    Pod,
    Node,
    Namespace,
    ServiceCidr,
    Workload(WorkloadKind),
}

/// Every kind: its name, the apiVersions in which it can be read (the first is the one to recommend), and the kind.
const KINDS: [(&str, &[&str], Kind); 12] = [
    ("Service", &["v1"], Kind::Service),
    ("Endpoints", &["v1"], Kind::Endpoints),
    ("EndpointSlice", &["discovery.k8s.io/v1"], Kind::EndpointSlice),
    ("Pod", &["v1"], Kind::Pod),
    ("Node", &["v1"], Kind::Node),
    ("Namespace", &["v1"], Kind::Namespace),
    ("ServiceCIDR", &["networking.k8s.io/v1", "networking.k8s.io/v1beta1"], Kind::ServiceCidr),
    ("Deployment", &["apps/v1"], Kind::Workload(WorkloadKind::Deployment)),
    ("ReplicaSet", &["apps/v1"], Kind::Workload(WorkloadKind::ReplicaSet)),
    ("ReplicationController", &["v1"], Kind::Workload(WorkloadKind::ReplicationController)),
    ("StatefulSet", &["apps/v1"], Kind::Workload(WorkloadKind::StatefulSet)),
    ("DaemonSet", &["apps/v1"], Kind::Workload(WorkloadKind::DaemonSet)),
];

/// What an apiVersion and a kind stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// An object that Portolan reads
    Read(Kind),
    /// A list of objects of any kind
    List,
    /// A list of objects of one kind, which then need not say it themselves
    ListOf(Kind),
    /// A kind that Portolan reads, in a version that no API server has; the right one
    WrongVersion(&'static str),
    /// Something that Portolan does not read
    Other,
}

/// Looks up an apiVersion and a kind. Equal names in other API groups (Knative's Service, say) are other kinds.
pub(super) fn classify(api_version: &str, kind: &str) -> Class {
    if kind == "List" && api_version == "v1" {
        return Class::List;
    }
    let (name, is_list) = kind.strip_suffix("List").map_or((kind, false), |name| (name, true));
    let Some((_, versions, kind)) = KINDS.iter().find(|(known, ..)| *known == name) else {
        return Class::Other;
    };
    match (versions.contains(&api_version), is_list) {
        (true, false) => Class::Read(*kind),
        (true, true) => Class::ListOf(*kind),
        (false, _) if is_foreign_group(api_version) => Class::Other,
        (false, _) => Class::WrongVersion(versions[0]),
    }
}

/// Whether an apiVersion belongs to a group of another project: one with a domain that is not `k8s.io`.
fn is_foreign_group(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    group.contains('.') && (!group.ends_with(".k8s.io") || group.ends_with(".x-k8s.io"))
}

impl Kind {
    /// Decodes an object of this kind.
    pub fn decode<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        Ok(match self {
            Kind::Service => Object::Service(Service::deserialize(deserializer)?),
            Kind::Endpoints => Object::Endpoints(Endpoints::deserialize(deserializer)?),
            Kind::EndpointSlice => Object::EndpointSlice(EndpointSlice::deserialize(deserializer)?),
            Kind::Pod => Object::Pod(Pod::deserialize(deserializer)?),
            Kind::Node => Object::Node(Node::deserialize(deserializer)?),
            Kind::Namespace => Object::Namespace(Namespace::deserialize(deserializer)?),
            Kind::ServiceCidr => Object::ServiceCidr(ServiceCidr::deserialize(deserializer)?),
            Kind::Workload(kind) => Object::Workload(Workload { kind, ..Workload::deserialize(deserializer)? }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_their_group() {
        for (api_version, kind, class) in [
            ("v1", "Service", Class::Read(Kind::Service)),
            ("v1", "List", Class::List),
            ("v1", "ServiceList", Class::ListOf(Kind::Service)),
            ("apps/v1", "Deployment", Class::Read(Kind::Workload(WorkloadKind::Deployment))),
            ("networking.k8s.io/v1beta1", "ServiceCIDR", Class::Read(Kind::ServiceCidr)),
            ("v2", "Service", Class::WrongVersion("v1")),
            ("v1", "Deployment", Class::WrongVersion("apps/v1")),
            ("extensions/v1beta1", "Deployment", Class::WrongVersion("apps/v1")),
            ("discovery.k8s.io/v1beta1", "EndpointSlice", Class::WrongVersion("discovery.k8s.io/v1")),
            ("serving.knative.dev/v1", "Service", Class::Other),
            ("cluster.x-k8s.io/v1", "Node", Class::Other),
            ("v1", "ConfigMap", Class::Other),
            ("v1", "ConfigMapList", Class::Other),
            ("example.com/v1", "AllowList", Class::Other),
        ] {
            assert_eq!(classify(api_version, kind), class, "{api_version} {kind}");
        }
    }
}
