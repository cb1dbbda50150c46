//! Short ways to write down objects, for the tests of the control plane.

use std::path::Path;

use super::{Allocations, Completed, Options, complete};
use crate::{
    objects::{EndpointSlice, Object, Service},
    source::manifests::read_text,
};

/// Options with the service networks given.
pub fn networks(cidrs: &[&str]) -> Options {
    Options { service_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(), ..Options::default() }
}

/// Completes manifests, which must at least be readable.
pub fn complete_text(text: &str, options: &Options, allocations: &mut Allocations) -> Completed {
    let manifests = read_text(Path::new("m.yaml"), text);
    assert_eq!(manifests.notices, []);
    complete(manifests.objects, options, allocations)
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
