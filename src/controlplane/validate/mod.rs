//! The API server's checks, of those fields that Portolan reads.
//!
//! Nothing that the API server accepts may be refused here. The rules are those of Kubernetes' own validation
//! (`pkg/apis/core/validation`, `pkg/apis/discovery/validation`), after its defaulting.

mod addresses;
mod endpoints;
mod names;
mod others;
mod ports;
mod service;

use crate::{
    model::{Located, Notice, Severity},
    objects::{Metadata, Object},
};

pub(super) use addresses::address;
pub(super) use service::{is_headless, needs_health_check};

/// Fills in what the API server fills in before it checks: `clusterIPs` from `clusterIP`.
pub(super) fn normalise(object: &mut Object) {
    if let Object::Service(service) = object {
        service::normalise(&mut service.spec);
    }
}

/// Checks an object. Returns whether it can be used; if not, `notices` say why.
pub(super) fn accept(located: &Located, notices: &mut Vec<Notice>) -> bool {
    let mut faults = Faults { located, notices, refused: false };
    match &located.object {
        Object::Service(service) => service::check(service, &mut faults),
        Object::Endpoints(endpoints) => endpoints::check_endpoints(endpoints, &mut faults),
        Object::EndpointSlice(slice) => endpoints::check_slice(slice, &mut faults),
        Object::Pod(pod) => others::check_pod(pod, &mut faults),
        Object::Node(node) => others::check_node(node, &mut faults),
        Object::Namespace(namespace) => others::check_namespace(namespace, &mut faults),
        Object::ServiceCidr(cidr) => others::check_service_cidr(cidr, &mut faults),
        Object::Workload(workload) => others::check_workload(workload, &mut faults),
    }
    !faults.refused
}

/// Collects what is wrong with one object.
struct Faults<'a> {
    located: &'a Located,
    notices: &'a mut Vec<Notice>,
    refused: bool,
}

impl Faults<'_> {
    /// The object cannot be used.
    fn refuse(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.refused = true;
        self.notices.push(self.located.notice(Severity::Refused, field, reason));
    }

    /// The object is used, but not as its author may think.
    fn warn(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.notices.push(self.located.notice(Severity::Warning, field, reason));
    }

    /// Refuses the object if a check of the field failed.
    fn check<T>(&mut self, field: impl Into<String>, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.refuse(field, reason)).ok()
    }

    /// Refuses the object if the value is none of the known ones. An empty value stands for the API's default.
    fn one_of(&mut self, field: &str, value: Option<&str>, known: &[&str]) {
        if let Some(value) = value.filter(|value| !value.is_empty() && !known.contains(value)) {
            self.refuse(field, format!("{} is none of {}", names::shown(value), known.join(", ")));
        }
    }

    /// Checks name, namespace, labels and annotations; `check_name` is the rule for the kind's names.
    fn metadata(&mut self, metadata: &Metadata, check_name: fn(&str) -> Result<(), String>) {
        if metadata.name.is_empty() {
            self.refuse("metadata.name", "missing; every object needs a name");
        } else {
            self.check("metadata.name", check_name(&metadata.name));
        }
        if !metadata.namespace.is_empty() {
            self.check("metadata.namespace", names::label(&metadata.namespace));
        }
        self.labels("metadata.labels", &metadata.labels);
        for key in metadata.annotations.keys() {
            // The API server does not mind capital letters here.
            self.check("metadata.annotations", names::qualified(&key.to_lowercase()));
        }
    }

    fn labels<'l>(&mut self, field: &str, labels: impl IntoIterator<Item = (&'l String, &'l String)>) {
        for (key, value) in labels {
            self.check(field, names::qualified(key));
            self.check(format!("{field}.{key}"), names::label_value(value));
        }
    }
}
