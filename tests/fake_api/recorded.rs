//! What a real API server (Kubernetes 1.36) sends, in both of its languages, must mean the same: the Protocol Buffers
//! of `recorded/*.pb` are read as the source reads them, the JSON of the same objects as manifests are read.

use portolan::{
    objects::{EndpointSlice, Namespace, Node, Object, Service, ServiceCidr},
    source::kube::{Change, Kind},
};
use serde::de::DeserializeOwned;

use super::{
    Followed,
    server::{Answer, FakeApi},
    timing,
};

#[tokio::test]
async fn services() {
    let binary = include_bytes!("recorded/services.pb");
    let names = same::<Service>(Kind::Service, binary, include_str!("recorded/services.json"), Object::Service).await;
    assert_eq!(names, ["everything", "headless", "outside", "plain"]);
}

#[tokio::test]
async fn endpoint_slices() {
    let binary = include_bytes!("recorded/endpointslices.pb");
    let json = include_str!("recorded/endpointslices.json");
    let names = same::<EndpointSlice>(Kind::EndpointSlice, binary, json, Object::EndpointSlice).await;
    assert_eq!(names, ["bare", "everything-v6"]);
}

#[tokio::test]
async fn namespaces() {
    let binary = include_bytes!("recorded/namespaces.pb");
    let json = include_str!("recorded/namespaces.json");
    assert_eq!(same::<Namespace>(Kind::Namespace, binary, json, Object::Namespace).await, ["shop"]);
}

#[tokio::test]
async fn nodes() {
    let binary = include_bytes!("recorded/nodes.pb");
    assert_eq!(same::<Node>(Kind::Node, binary, include_str!("recorded/nodes.json"), Object::Node).await, ["node-1"]);
}

#[tokio::test]
async fn service_cidrs() {
    let binary = include_bytes!("recorded/servicecidrs.pb");
    let json = include_str!("recorded/servicecidrs.json");
    let names = same::<ServiceCidr>(Kind::ServiceCidr, binary, json, Object::ServiceCidr).await;
    assert_eq!(names, ["kubernetes", "more"]);
}

/// Compares object by object; returns their names.
async fn same<T: DeserializeOwned>(kind: Kind, binary: &[u8], json: &str, object: fn(T) -> Object) -> Vec<String> {
    let api = FakeApi::start(kind, vec![Answer::Page(binary.to_vec())]);
    let mut followed = Followed::start(&api, kind, &timing()).await;
    let mut list: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut names = Vec::new();
    for item in list["items"].as_array_mut().unwrap() {
        let wanted = object(serde_json::from_value(item.take()).unwrap());
        names.push(wanted.metadata().name.clone());
        assert_eq!(followed.change().await, Change::Put(Box::new(wanted)));
    }
    assert_eq!(followed.change().await, Change::Listed(kind));
    names
}
