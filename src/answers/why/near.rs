//! What may have been meant by a name that is not there.

use crate::zone::{Found, Kind, ServiceRecords, Snapshot};

use super::super::name::labels;

/// A Service as its objects have it, also if it has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownService {
    /// Namespace
    pub namespace: String,
    /// Name
    pub name: String,
    /// `clusterIP: None`
    pub headless: bool,
    /// Endpoints in its slices that are ready
    pub ready: usize,
    /// Endpoints in its slices that are not
    pub not_ready: usize,
}

/// Hints for a name relative to a zone.
pub fn hints(snapshot: &Snapshot, relative: &[u8], zone: &str, services: &[KnownService]) -> Vec<String> {
    let name: Vec<String> = labels(relative).map(|label| label.escape_ascii().to_string()).collect();
    let name: Vec<&str> = name.iter().map(String::as_str).collect();
    match name.as_slice() {
        [left @ .., service, namespace, "svc"] => below(snapshot, left, service, namespace, services),
        [namespace, "svc" | "pod"] => namespace_missing(snapshot, namespace).into_iter().collect(),
        [.., "pod"] => vec!["Names of pods depend on the option `pods` (1.6).".to_owned()],
        [service, namespace] if known(services, service, namespace).is_some() => vec![format!(
            "Service {namespace}/{service} is {service}.{namespace}.svc.{zone} in full; `{service}.{namespace}` alone \
             needs the search list of a pod's resolv.conf, which has svc.{zone}"
        )],
        [service] => namespaces_of(services, service)
            .map(|namespace| {
                format!(
                    "Service {namespace}/{service} is {service}.{namespace}.svc.{zone} in full; `{service}` alone needs \
                     the search list of a pod in Namespace {namespace}"
                )
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn below(snapshot: &Snapshot, left: &[&str], service: &str, namespace: &str, services: &[KnownService]) -> Vec<String> {
    let own =
        [&[service.len() as u8][..], service.as_bytes(), &[namespace.len() as u8], namespace.as_bytes(), b"\x03svc"]
            .concat();
    match snapshot.find(&own) {
        Found::Service(records) => below_service(left, records),
        _ => {
            let mut hints: Vec<String> = namespace_missing(snapshot, namespace).into_iter().collect();
            hints.extend(known(services, service, namespace).map(without_name));
            let others = namespaces_of(services, service).filter(|other| *other != namespace);
            hints.extend(others.map(|other| format!("There is a Service {service} in Namespace {other}.")));
            hints
        }
    }
}

/// A Service that is there as an object and has no name.
fn without_name(service: &KnownService) -> String {
    let KnownService { namespace, name, .. } = service;
    match service {
        KnownService { headless: true, ready: 0, not_ready: 0, .. } => {
            format!(
                "Service {namespace}/{name} is headless and has no endpoint: it has no name until one is ready (1.4)."
            )
        }
        KnownService { headless: true, ready: 0, not_ready, .. } => format!(
            "Service {namespace}/{name} is headless and none of its {not_ready} endpoints is ready: it has no name until \
             one is (1.4)."
        ),
        _ => format!(
            "Service {namespace}/{name} is there, but not shown: no cluster IP yet, an externalName that is no name, or \
             left out by an option of `kubernetes`."
        ),
    }
}

fn below_service(left: &[&str], records: &ServiceRecords) -> Vec<String> {
    let whole = format!("{}/{}", records.namespace(), records.name());
    if let Kind::Alias(_) = records.kind() {
        return match left {
            [] => Vec::new(),
            _ => vec![format!("Service {whole} is an alias: nothing stands below it (1.8).")],
        };
    }
    match left {
        [] => Vec::new(),
        [port, protocol] => {
            let named = records.ports().iter().filter_map(|port| {
                Some(format!("_{}._{}", port.name.as_deref()?, format!("{:?}", port.protocol).to_lowercase()))
            });
            let named: Vec<String> = named.collect();
            let mut hints = vec![match named.is_empty() {
                true => {
                    format!("No port of Service {whole} has a name; SRV records stand at its own name as well (1.3).")
                }
                false => format!("The named ports of Service {whole} are {}.", named.join(", ")),
            }];
            if !port.starts_with('_') || !protocol.starts_with('_') {
                hints.push("Underscores are part of the names of ports and protocols (delta 4).".to_owned());
            }
            hints
        }
        [_] => {
            let mut names: Vec<String> =
                records.endpoint_names().take(8).map(|id| records.label(id).escape_ascii().to_string()).collect();
            names.sort_unstable();
            vec![match names.is_empty() {
                true => format!("Service {whole} has no ready endpoint."),
                false => format!("Ready endpoints of Service {whole} answer to {}, among others.", names.join(", ")),
            }]
        }
        _ => Vec::new(),
    }
}

fn namespace_missing(snapshot: &Snapshot, namespace: &str) -> Option<String> {
    let name = [&[namespace.len() as u8][..], namespace.as_bytes(), b"\x03svc"].concat();
    matches!(snapshot.find(&name), Found::Missing)
        .then(|| format!("There is no Namespace {namespace}, or it is left out by an option of `kubernetes`."))
}

fn known<'a>(services: &'a [KnownService], name: &str, namespace: &str) -> Option<&'a KnownService> {
    services.iter().find(|service| service.name == name && service.namespace == namespace)
}

fn namespaces_of<'a>(services: &'a [KnownService], name: &str) -> impl Iterator<Item = &'a str> {
    services.iter().filter(move |service| service.name == name).map(|service| service.namespace.as_str())
}
