//! Objects that cannot be read keep nobody else from being read.

use portolan::source::kube::Kind;

use super::{
    Followed,
    encode::{event, field, odd_service, page, service},
    server::{Answer, FakeApi, Step},
    timing,
};

#[tokio::test]
async fn an_odd_object_is_named_and_the_rest_goes_on() {
    let list = page(10, "", &[service("a", 1, 80), odd_service("b", 2), service("c", 3, 80)]);
    let watch = vec![
        Step::Send(event("MODIFIED", &odd_service("c", 11))),
        Step::Send(event("MODIFIED", &service("a", 12, 81))),
        Step::Send(event("MODIFIED", &service("b", 13, 80))),
    ];
    let api = FakeApi::start(Kind::Service, vec![Answer::Page(list), Answer::Watch(watch)]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    let wrong = |name| format!("undecodable Service default/{name}: field 2.1.3: not a number");
    followed.expect(&["put a:80", &wrong("b"), "put c:80", "listed", &wrong("c"), "put a:81", "put b:80"]).await;
}

/// A list that shows an object in a form that cannot be read does not say that it is gone; and it is not told twice.
#[tokio::test]
async fn an_odd_object_keeps_what_it_has() {
    let list = page(10, "", &[service("a", 1, 80), service("b", 2, 80)]);
    let expired = || Answer::Error(410, "Expired", "too old");
    let odd = page(20, "", &[odd_service("a", 15), service("b", 2, 80)]);
    let nameless = page(30, "", &[field(1, field(1, [0xff])), odd_service("a", 15)]);
    let api = FakeApi::start(
        Kind::Service,
        vec![Answer::Page(list), expired(), Answer::Page(odd), expired(), Answer::Page(nameless)],
    );
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "put b:80", "listed"]).await;
    followed.expect(&["undecodable Service default/a: field 2.1.3: not a number", "listed"]).await;
    assert!(followed.trouble().await.0.contains("(410)"));
    // b may be the one whose name cannot be read.
    followed.expect(&["undecodable Service : field 1.1: not UTF-8", "listed"]).await;
}

/// What is no event at all cannot be stepped over: a new list says what it may have been.
#[tokio::test]
async fn a_garbled_watch_is_answered_by_a_new_list() {
    let list = || Answer::Page(page(10, "", &[service("a", 1, 80)]));
    let garbled = Answer::Watch(vec![Step::Send(vec![0, 0, 0, 3, 0x0a, 0x7f, 0])]);
    let api = FakeApi::start(Kind::Service, vec![list(), garbled, list()]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "listed"]).await;
    let (error, _) = followed.trouble().await;
    assert!(error.contains("its answer cannot be read: field 1: the message ends within it"), "{error}");
    followed.expect(&["listed"]).await;
}
