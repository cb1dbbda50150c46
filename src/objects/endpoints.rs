use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Metadata, nullable, number, number_or_zero};

/// discovery.k8s.io/v1 EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// Object metadata; the label [`super::SERVICE_NAME_LABEL`] ties it to its Service.
    pub metadata: Metadata,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(deserialize_with = "nullable")]
    pub address_type: String,
    /// The endpoints.
    #[serde(deserialize_with = "nullable")]
    pub endpoints: Vec<SliceEndpoint>,
    /// The ports every endpoint of the slice listens on.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<SlicePort>,
}

impl EndpointSlice {
    /// When the Pod or Service changed on whose account this slice did, as its controller dates it: where the latency of
    /// network programming is measured from. `None` without a date that can be read.
    pub fn change_trigger(&self) -> Option<Timestamp> {
        self.metadata.annotations.get(super::CHANGE_TRIGGER_ANNOTATION)?.parse().ok()
    }
}

/// One endpoint of a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's own and are documented there")]
pub struct SliceEndpoint {
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub conditions: Conditions,
    pub hostname: Option<String>,
    pub target_ref: Option<ObjectReference>,
    pub node_name: Option<String>,
    pub zone: Option<String>,
    pub hints: Option<Hints>,
}

/// Endpoint conditions; absent means: ready true, serving true, terminating false.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's own and are documented there")]
pub struct Conditions {
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
}

/// Topology hints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hints {
    /// Zones that should use the endpoint.
    #[serde(deserialize_with = "nullable")]
    pub for_zones: Vec<ForZone>,
    /// Nodes that should use the endpoint.
    #[serde(deserialize_with = "nullable")]
    pub for_nodes: Vec<ForNode>,
}

/// A zone hint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForZone {
    /// Zone name.
    pub name: String,
}

/// A node hint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForNode {
    /// Node name.
    pub name: String,
}

/// A port of a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's own and are documented there")]
pub struct SlicePort {
    pub name: Option<String>,
    pub protocol: Option<String>,
    #[serde(deserialize_with = "number")]
    pub port: Option<i32>,
    pub app_protocol: Option<String>,
}

/// What an endpoint stands for, usually a Pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's own and are documented there")]
pub struct ObjectReference {
    #[serde(deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub namespace: String,
    #[serde(deserialize_with = "nullable")]
    pub name: String,
}

/// core/v1 Endpoints: the older form, which people still write by hand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoints {
    /// Object metadata; the name is the Service's name.
    pub metadata: Metadata,
    /// Groups of addresses that share their ports.
    #[serde(deserialize_with = "nullable")]
    pub subsets: Vec<EndpointSubset>,
}

/// One subset of an Endpoints object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's own and are documented there")]
pub struct EndpointSubset {
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<EndpointAddress>,
    #[serde(deserialize_with = "nullable")]
    pub not_ready_addresses: Vec<EndpointAddress>,
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<EndpointPort>,
}

/// An address of a subset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's own and are documented there")]
pub struct EndpointAddress {
    #[serde(deserialize_with = "nullable")]
    pub ip: String,
    pub hostname: Option<String>,
    pub node_name: Option<String>,
    pub target_ref: Option<ObjectReference>,
}

/// A port of a subset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's own and are documented there")]
pub struct EndpointPort {
    pub name: Option<String>,
    #[serde(deserialize_with = "number_or_zero")]
    pub port: i32,
    pub protocol: Option<String>,
    pub app_protocol: Option<String>,
}
