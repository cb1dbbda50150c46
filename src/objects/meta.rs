use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::nullable;

/// ObjectMeta, reduced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The object's name; unique within kind and namespace.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// The namespace; empty means `default` for namespaced kinds (see [`Metadata::namespace`]).
    #[serde(deserialize_with = "nullable")]
    pub namespace: String,
    /// Labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "nullable")]
    pub annotations: BTreeMap<String, String>,
    /// When the API server made the object.
    pub creation_timestamp: Option<Timestamp>,
    /// Set while the object is being deleted: a terminating Pod.
    pub deletion_timestamp: Option<Timestamp>,
    /// What made the object: the ReplicaSet behind a Pod, the Deployment behind a ReplicaSet.
    #[serde(deserialize_with = "nullable")]
    pub owner_references: Vec<OwnerReference>,
}

/// One entry of ownerReferences; the owner is in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// The owner's kind
    pub kind: String,
    /// The owner's name
    pub name: String,
}

impl Metadata {
    /// The namespace, with the API's default filled in.
    pub fn namespace(&self) -> &str {
        if self.namespace.is_empty() { "default" } else { &self.namespace }
    }
}
