use std::fmt;

/// What is followed on the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// core/v1 Service, all of them
    Service,
    /// discovery.k8s.io/v1 EndpointSlice, all of them
    EndpointSlice,
    /// core/v1 Namespace
    Namespace,
    /// networking.k8s.io/v1 ServiceCIDR
    ServiceCidr,
    /// core/v1 Node, the own one
    Node,
    /// core/v1 Pod, all of them: only for names of Pods that are there (`pods verified`)
    Pod,
}

impl Kind {
    /// The kinds that the data plane is made of.
    pub const ALL: [Kind; 5] = [Kind::Service, Kind::EndpointSlice, Kind::Namespace, Kind::ServiceCidr, Kind::Node];

    /// The kind, as manifests spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Namespace => "Namespace",
            Kind::ServiceCidr => "ServiceCIDR",
            Kind::Node => "Node",
            Kind::Pod => "Pod",
        }
    }

    /// The resource, as RBAC rules spell it.
    pub fn resource(self) -> &'static str {
        match self {
            Kind::Service => "services",
            Kind::EndpointSlice => "endpointslices",
            Kind::Namespace => "namespaces",
            Kind::ServiceCidr => "servicecidrs",
            Kind::Node => "nodes",
            Kind::Pod => "pods",
        }
    }

    /// The API group, as RBAC rules spell it.
    pub fn group(self) -> &'static str {
        match self {
            Kind::Service | Kind::Namespace | Kind::Node | Kind::Pod => "",
            Kind::EndpointSlice => "discovery.k8s.io",
            Kind::ServiceCidr => "networking.k8s.io",
        }
    }

    /// Where the whole collection is found; all groups are at v1.
    pub(super) fn path(self) -> String {
        match self.group() {
            "" => format!("/api/v1/{}", self.resource()),
            group => format!("/apis/{group}/v1/{}", self.resource()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
