use serde::{Deserialize, Serialize};

use super::{Metadata, nullable};

/// core/v1 Node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Object metadata; the label [`super::ZONE_LABEL`] names the zone.
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(deserialize_with = "nullable")]
    pub spec: NodeSpec,
    /// What the kubelet reported.
    #[serde(deserialize_with = "nullable")]
    pub status: NodeStatus,
}

/// NodeSpec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// The older form of `podCIDRs`, for one family.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Option<String>,
    /// The ranges the node's pods get their addresses from.
    #[serde(rename = "podCIDRs", deserialize_with = "nullable")]
    pub pod_cidrs: Vec<String>,
    /// What keeps Pods away from the node; cluster autoscalers mark nodes with it that they will delete.
    #[serde(deserialize_with = "nullable")]
    pub taints: Vec<Taint>,
}

/// One taint of a Node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// The taint's name, such as `ToBeDeletedByClusterAutoscaler`.
    pub key: String,
}

/// NodeStatus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Addresses by which the node is known.
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<NodeAddress>,
}

/// One address of a Node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname`, ...
    #[serde(rename = "type")]
    pub type_: String,
    /// The address or name.
    pub address: String,
}

/// core/v1 Namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Object metadata.
    pub metadata: Metadata,
}

/// networking.k8s.io/v1 ServiceCIDR.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceCidr {
    /// Object metadata.
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(deserialize_with = "nullable")]
    pub spec: ServiceCidrSpec,
}

/// ServiceCIDRSpec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceCidrSpec {
    /// The ranges, at most one a family.
    #[serde(deserialize_with = "nullable")]
    pub cidrs: Vec<String>,
}
