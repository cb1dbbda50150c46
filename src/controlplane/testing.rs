//! Short ways to write down objects, for the tests of the control plane.

use std::{path::PathBuf, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Allocations, Completed, Options, complete};
use crate::{
    model::{Located, Origin},
    objects::{EndpointSlice, Object, Service, Workload, WorkloadKind},
};

/// The objects of a YAML text, whose documents each begin with a line `---`.
pub fn objects(text: &str) -> Vec<Located> {
    let file = Arc::new(PathBuf::from("m.yaml"));
    let mut line = 1;
    let mut objects = Vec::new();
    for document in text.split_inclusive("---\n").filter(|document| *document != "---\n") {
        line += 1;
        let document = document.trim_end_matches("---\n");
        objects.push(Located { object: object(document), origin: Origin { file: file.clone(), line } });
        line += document.lines().count();
    }
    objects
}

fn object(text: &str) -> Object {
    let options = serde_saphyr::options! { strict_booleans: true };
    let value: Value = serde_saphyr::from_str_with_options(text, options).unwrap_or_else(|e| panic!("{e}: {text}"));
    fn read<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }
    let workload = |kind| Object::Workload(Workload { kind, ..read(value.clone()) });
    match value["kind"].as_str().unwrap() {
        "Service" => Object::Service(read(value)),
        "Endpoints" => Object::Endpoints(read(value)),
        "EndpointSlice" => Object::EndpointSlice(read(value)),
        "Pod" => Object::Pod(read(value)),
        "Node" => Object::Node(read(value)),
        "Namespace" => Object::Namespace(read(value)),
        "ServiceCIDR" => Object::ServiceCidr(read(value)),
        "Deployment" => workload(WorkloadKind::Deployment),
        "ReplicaSet" => workload(WorkloadKind::ReplicaSet),
        "ReplicationController" => workload(WorkloadKind::ReplicationController),
        "StatefulSet" => workload(WorkloadKind::StatefulSet),
        "DaemonSet" => workload(WorkloadKind::DaemonSet),
        kind => panic!("no test needs {kind} yet"),
    }
}

/// Options with the service networks given.
pub fn networks(cidrs: &[&str]) -> Options {
    Options { service_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(), ..Options::default() }
}

/// Completes the objects of a YAML text.
pub fn complete_text(text: &str, options: &Options, allocations: &mut Allocations) -> Completed {
    complete(objects(text), options, allocations)
}

/// A Service with one port, in one line of YAML after the `---`; `spec` is a flow mapping's inside.
pub fn service(name: &str, spec: &str) -> String {
    let ports = if spec.contains("ports:") { "" } else { "ports: [{port: 80}], " };
    format!("---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{{ports}{spec}}}}}\n")
}

impl Completed {
    /// The Service of the name.
    pub fn service(&self, name: &str) -> &Service {
        let found = self.objects.iter().find_map(|l| match &l.object {
            Object::Service(service) if service.metadata.name == name => Some(service),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no Service {name}; {:?}", self.texts()))
    }

    /// All EndpointSlices.
    pub fn slices(&self) -> Vec<&EndpointSlice> {
        let mut slices = Vec::new();
        for located in &self.objects {
            if let Object::EndpointSlice(slice) = &located.object {
                slices.push(slice);
            }
        }
        slices
    }

    /// The notices as a user sees them, without file and line.
    pub fn texts(&self) -> Vec<String> {
        let text = |text: String| text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned());
        self.notices.iter().map(|notice| text(notice.to_string())).collect()
    }
}
