use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Metadata, PodSpec, nullable, number};

/// An object that makes Pods from a template. Standalone, `controlplane` makes the Pods that its controller would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    /// Which of the kinds it is; not a field of the manifest's own.
    #[serde(skip)]
    pub kind: WorkloadKind,
    /// Object metadata.
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(deserialize_with = "nullable")]
    pub spec: WorkloadSpec,
}

/// The kinds of [`Workload`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// apps/v1 Deployment
    #[default]
    Deployment,
    /// apps/v1 ReplicaSet
    ReplicaSet,
    /// core/v1 ReplicationController
    ReplicationController,
    /// apps/v1 StatefulSet
    StatefulSet,
    /// apps/v1 DaemonSet
    DaemonSet,
}

impl WorkloadKind {
    /// The kind as manifests spell it.
    pub fn name(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::ReplicaSet => "ReplicaSet",
            WorkloadKind::ReplicationController => "ReplicationController",
            WorkloadKind::StatefulSet => "StatefulSet",
            WorkloadKind::DaemonSet => "DaemonSet",
        }
    }
}

/// What the specs of all the kinds have in common, and what Portolan needs of one of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// How many Pods; absent means 1. A DaemonSet has none.
    #[serde(deserialize_with = "number")]
    pub replicas: Option<i32>,
    /// `matchLabels` and `matchExpressions`; for a ReplicationController the labels themselves.
    #[serde(deserialize_with = "nullable")]
    pub selector: BTreeMap<String, serde_json::Value>,
    /// What the Pods look like.
    #[serde(deserialize_with = "nullable")]
    pub template: PodTemplate,
    /// StatefulSet: the headless Service that names its Pods.
    pub service_name: Option<String>,
    /// StatefulSet: where the Pods' numbers start.
    pub ordinals: Option<Ordinals>,
}

/// PodTemplateSpec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Labels and annotations of the Pods.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// Their spec.
    #[serde(deserialize_with = "nullable")]
    pub spec: PodSpec,
}

/// StatefulSetOrdinals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ordinals {
    /// The number of the first Pod.
    #[serde(deserialize_with = "number")]
    pub start: Option<i32>,
}
