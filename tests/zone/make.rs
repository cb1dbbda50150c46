//! Objects to make names of, and ways to look at these.

use std::sync::Arc;

use portolan::{
    config::dns::KubernetesOptions,
    objects::Object,
    zone::{Builder, Found, ServiceRecords, Snapshot, Srv, SrvOwner, SrvSet, State},
};
use serde_json::{Value, json};

pub fn options() -> KubernetesOptions {
    KubernetesOptions::new(vec!["cluster.local".parse().unwrap()])
}

pub fn with(change: impl FnOnce(&mut KubernetesOptions)) -> Builder {
    let mut options = options();
    change(&mut options);
    let mut builder = Builder::new(Arc::new(options));
    for name in ["shop", "data", "kube-system"] {
        builder.put(&namespace(name, json!({})));
    }
    builder
}

pub fn builder() -> Builder {
    with(|_| ())
}

pub fn namespace(name: &str, labels: Value) -> Object {
    Object::Namespace(serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap())
}

/// `path` is namespace/name.
fn metadata(path: &str) -> Value {
    let (namespace, name) = path.split_once('/').unwrap();
    json!({"namespace": namespace, "name": name})
}

pub fn service(path: &str, spec: Value) -> Object {
    Object::Service(serde_json::from_value(json!({"metadata": metadata(path), "spec": spec})).unwrap())
}

/// `path` is namespace/service/suffix; the slice is named service-suffix, as controllers do.
pub fn slice(path: &str, ports: Value, endpoints: Value) -> Object {
    let (service, suffix) = path.rsplit_once('/').unwrap();
    let (_, name) = service.split_once('/').unwrap();
    slice_named(&format!("{service}/{name}-{suffix}"), ports, endpoints)
}

/// `path` is namespace/service/slice.
pub fn slice_named(path: &str, ports: Value, endpoints: Value) -> Object {
    let (service, name) = path.rsplit_once('/').unwrap();
    let (namespace, service) = service.split_once('/').unwrap();
    let mut metadata = metadata(&format!("{namespace}/{name}"));
    metadata["labels"] = json!({"kubernetes.io/service-name": service});
    let v6 = endpoints[0]["addresses"][0].as_str().is_some_and(|address| address.contains(':'));
    let family = if v6 { "IPv6" } else { "IPv4" };
    let slice = json!({"metadata": metadata, "addressType": family, "ports": ports, "endpoints": endpoints});
    Object::EndpointSlice(serde_json::from_value(slice).unwrap())
}

pub fn pod(path: &str, status: Value) -> Object {
    Object::Pod(serde_json::from_value(json!({"metadata": metadata(path), "status": status})).unwrap())
}

pub fn http(number: u16) -> Value {
    json!([{"name": "http", "protocol": "TCP", "port": number}])
}

pub fn ready(address: &str) -> Value {
    json!({"addresses": [address]})
}

pub fn hosted(address: &str, hostname: &str) -> Value {
    json!({"addresses": [address], "hostname": hostname})
}

pub fn of_pod(address: &str, pod: &str) -> Value {
    json!({"addresses": [address], "targetRef": {"kind": "Pod", "name": pod}})
}

pub fn publish(mut builder: Builder, objects: impl IntoIterator<Item = Object>) -> Arc<Snapshot> {
    for object in objects {
        builder.put(&object);
    }
    builder.publish(State::Synced, 1)
}

/// A name left of the zone, in wire form.
pub fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect()
}

/// What stands at a name, in words.
pub fn look(snapshot: &Snapshot, name: &str) -> String {
    match snapshot.find(&wire(name)) {
        Found::Missing => "missing".into(),
        Found::Empty => "empty".into(),
        Found::Apex => "apex".into(),
        Found::Version => "version".into(),
        Found::NameServer => "name server".into(),
        Found::Service(service) => format!("service {}", join(service.v4(), service.v6())),
        Found::Endpoint(service, id) => {
            format!("endpoint {}", join(service.endpoint_v4(id), service.endpoint_v6(id)))
        }
        Found::Port(_, id) => format!("port {} {:?}", id.name, id.protocol),
        Found::Pod(address) => format!("pod {address}"),
    }
}

pub fn join(v4: &[impl ToString], v6: &[impl ToString]) -> String {
    let v4 = v4.iter().map(ToString::to_string);
    v4.chain(v6.iter().map(ToString::to_string)).collect::<Vec<_>>().join(" ")
}

/// The SRV records at a name: weight, then target and port; `@` is the Service itself.
pub fn srv(snapshot: &Snapshot, name: &str) -> String {
    let (service, records): (&ServiceRecords, SrvSet<'_>) = match snapshot.find(&wire(name)) {
        Found::Service(service) => (service, service.srv(SrvOwner::Service)),
        Found::Endpoint(service, id) => (service, service.srv(SrvOwner::Endpoint(id))),
        Found::Port(service, id) => (service, service.srv(SrvOwner::Port(id))),
        other => return format!("{other:?}"),
    };
    let weight = records.weight;
    let target = |srv: Srv| match srv.target {
        Some(endpoint) => format!(" {}:{}", String::from_utf8_lossy(service.label(endpoint)), srv.port),
        None => format!(" @:{}", srv.port),
    };
    let records: String = records.map(target).collect();
    if records.is_empty() { "none".into() } else { format!("{weight}{records}") }
}

/// The names of an address, in order.
pub fn names(snapshot: &Snapshot, address: &str) -> Vec<String> {
    let names = snapshot.names_of(address.parse().unwrap());
    names.iter().map(|name| text(&name.wire())).collect()
}

pub fn text(mut wire: &[u8]) -> String {
    let mut labels = Vec::new();
    while let [length, rest @ ..] = wire {
        let (label, rest) = rest.split_at(usize::from(*length));
        labels.push(std::str::from_utf8(label).unwrap());
        wire = rest;
    }
    labels.join(".")
}
