//! The cluster's own names: what the kubernetes directive says.

use std::path::PathBuf;

use ipnet::IpNet;

use super::{Fallthrough, Name};

/// Pod names (1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodNames {
    /// None
    Disabled,
    /// Any address in an existing namespace
    #[default]
    Insecure,
    /// Only of pods that are there
    Verified,
    /// Any address in these ranges, in an existing namespace
    Ranges(Vec<IpNet>),
}

/// Which names an address has (1.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PtrNames {
    /// All
    #[default]
    All,
    /// Only those with an explicit host name, where there is one
    HostnamePreferred,
}

/// A label selector: all of these must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Requirements
    pub requirements: Vec<Requirement>,
}

/// One requirement of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// `key in (values)`, `key=value`
    In(String, Vec<String>),
    /// `key notin (values)`, `key!=value`; holds without the key as well
    NotIn(String, Vec<String>),
    /// `key`
    Exists(String),
    /// `!key`
    Missing(String),
}

/// `kubernetes`: the cluster's own names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesOptions {
    /// Zones, forward and reverse
    pub zones: Vec<Name>,
    /// Seconds that answers may be kept
    pub ttl: u32,
    /// Pod names
    pub pods: PodNames,
    /// Endpoints without a host name are named after their pod
    pub endpoint_pod_names: bool,
    /// Endpoints answer to their other names, too (1.5)
    pub endpoint_aliases: bool,
    /// Only these namespaces; empty for all
    pub namespaces: Vec<String>,
    /// Only namespaces with these labels
    pub namespace_labels: Option<Selector>,
    /// Only Services with these labels
    pub labels: Option<Selector>,
    /// Know no endpoints: headless Services do not exist
    pub no_endpoints: bool,
    /// A Service without a ready endpoint does not exist
    pub ignore_empty_service: bool,
    /// What is not found goes on
    pub fallthrough: Fallthrough,
    /// Names of addresses
    pub ptr: PtrNames,
    /// Namespace and name of the Service that clients ask; its cluster IPs are `ns.dns`
    pub dns_service: (String, String),
    /// Answer as CoreDNS does where the two differ (deltas 1-4, 7, 9-12)
    pub compat: bool,
    /// How to reach the API server; the process's own way if all are empty
    pub api: ApiAccess,
}

/// `endpoint` and `kubeconfig` of the kubernetes directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiAccess {
    /// URL
    pub endpoint: Option<String>,
    /// File; its current context counts
    pub kubeconfig: Option<PathBuf>,
}
