//! Lists that are asked for once, by commands.

use portolan::source::kube::{self, ApiAddress, Kind, Listed, Unlisted};

use super::{
    encode::{odd_service, page, service},
    server::{Answer, FakeApi},
};

async fn list(api: &FakeApi, kind: Kind) -> Result<Listed, Unlisted> {
    let address = ApiAddress { server: Some(format!("http://{}", api.address)), kubeconfig: None };
    kube::list(&kube::connect(&address).await.unwrap(), kind).await
}

#[tokio::test]
async fn every_page_counts_and_an_odd_object_is_named() {
    let first = page(10, "more", &[service("a", 1, 80), odd_service("odd", 2)]);
    let second = page(10, "", &[service("b", 3, 80)]);
    let api = FakeApi::start(Kind::Service, vec![Answer::Page(first), Answer::Page(second)]);
    let listed = list(&api, Kind::Service).await.unwrap();
    let names: Vec<&str> = listed.objects.iter().map(|object| object.metadata().name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((&*listed.undecodable[0].0.kind, &*listed.undecodable[0].0.name), ("Service", "odd"));
    // All Nodes, not the own one alone.
    list(&api, Kind::Node).await.unwrap();
    assert_eq!(api.seen(Kind::Node, 1).await[0].get("fieldSelector"), "");
}

#[tokio::test]
async fn pages_that_expire_are_asked_for_anew_once() {
    let expired = || Answer::Error(410, "Expired", "the provided continue parameter is too old");
    let first = || Answer::Page(page(10, "more", &[service("a", 1, 80)]));
    let whole = Answer::Page(page(20, "", &[service("a", 1, 80)]));
    let api = FakeApi::start(Kind::Service, vec![first(), expired(), whole]);
    assert_eq!(list(&api, Kind::Service).await.unwrap().objects.len(), 1);
    api.then(Kind::Service, vec![first(), expired(), first(), expired()]);
    assert!(!list(&api, Kind::Service).await.unwrap_err().forbidden);
}

#[tokio::test]
async fn what_may_not_be_listed_is_told_from_what_fails() {
    let api =
        FakeApi::start(Kind::Pod, vec![Answer::Error(403, "Forbidden", "pods is forbidden: User \"jane\" cannot")]);
    let forbidden = list(&api, Kind::Pod).await.unwrap_err();
    assert!(forbidden.forbidden && forbidden.error.starts_with("cannot list pods at the API server"), "{forbidden:?}");
    api.then(
        Kind::ServiceCidr,
        vec![Answer::Error(404, "NotFound", "the server could not find the requested resource")],
    );
    assert_eq!(list(&api, Kind::ServiceCidr).await, Ok(Listed::default()));
    api.then(Kind::Service, vec![Answer::Error(500, "InternalError", "etcd is gone")]);
    let failed = list(&api, Kind::Service).await.unwrap_err();
    assert!(!failed.forbidden && failed.error.contains("etcd is gone"), "{failed:?}");
}
