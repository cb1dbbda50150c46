//! Lists: complete before they count, and never a moment of emptiness.

use std::sync::Arc;

use portolan::source::kube::Kind;
use tokio::sync::Notify;

use super::{
    Followed,
    encode::{page, service},
    server::{Answer, FakeApi, Step},
    timing,
};

/// Pages of [`a`, `b`] and [`c`].
fn two_pages() -> [Vec<u8>; 2] {
    [page(10, "more", &[service("a", 1, 80), service("b", 2, 80)]), page(10, "", &[service("c", 3, 80)])]
}

#[tokio::test]
async fn a_list_counts_when_its_last_page_has_been_told() {
    let [first, second] = two_pages();
    let allowed = Arc::new(Notify::new());
    let api = FakeApi::start(
        Kind::Service,
        vec![Answer::Page(first), Answer::After(allowed.clone(), Box::new(Answer::Page(second)))],
    );
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "put b:80"]).await;
    let seen = api.seen(Kind::Service, 2).await;
    assert_eq!((seen[0].get("limit"), seen[0].get("resourceVersion"), seen[1].get("continue")), ("500", "", "more"));
    assert_eq!(followed.changes.try_recv().ok().filter(|change| super::kind_of(change) == "Service"), None);
    allowed.notify_one();
    followed.expect(&["put c:80", "listed"]).await;
    let seen = api.seen(Kind::Service, 3).await;
    assert_eq!((seen[2].get("watch"), seen[2].get("resourceVersion")), ("true", "10"));
    assert_eq!(seen[2].get("allowWatchBookmarks"), "true");
    assert!((1..=60).contains(&seen[2].get("timeoutSeconds").parse::<u32>().unwrap()));
}

#[tokio::test]
async fn pages_may_trickle_in() {
    let [first, second] = two_pages();
    let api = FakeApi::start(Kind::Service, vec![Answer::Trickle(first, 7), Answer::Trickle(second, 1)]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "put b:80", "put c:80", "listed"]).await;
}

/// What stands in the new list in the same version is not told again; what is not in it is gone, after all else.
#[tokio::test]
async fn a_new_list_tells_only_what_changed() {
    let [first, second] = two_pages();
    let expired = Answer::Error(410, "Expired", "too old resource version: 10 (12)");
    let again = page(20, "", &[service("a", 1, 80), service("c", 19, 81), service("d", 20, 80)]);
    let api = FakeApi::start(
        Kind::Service,
        vec![Answer::Page(first), Answer::Page(second), expired, Answer::Page(again), Answer::Watch(vec![])],
    );
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "put b:80", "put c:80", "listed"]).await;
    followed.expect(&["put c:81", "put d:80", "gone default/b", "listed"]).await;
    assert_eq!(api.seen(Kind::Service, 5).await[4].get("resourceVersion"), "20");
}

#[tokio::test]
async fn a_list_whose_next_page_expires_is_begun_anew() {
    let [first, second] = two_pages();
    let expired = Answer::Error(410, "Expired", "The provided continue parameter is too old");
    let changed = page(11, "more", &[service("a", 11, 81), service("b", 2, 80)]);
    let api =
        FakeApi::start(Kind::Service, vec![Answer::Page(first), expired, Answer::Page(changed), Answer::Page(second)]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "put b:80", "put a:81", "put c:80", "listed"]).await;
    let seen = api.seen(Kind::Service, 4).await;
    assert_eq!((seen[1].get("continue"), seen[2].get("continue"), seen[3].get("continue")), ("more", "", "more"));
}

/// A second list that breaks off half-way says nothing about what would have come after.
#[tokio::test]
async fn half_a_list_removes_nothing() {
    let [first, second] = two_pages();
    let [first_again, second_again] = two_pages();
    let api = FakeApi::start(
        Kind::Service,
        vec![
            Answer::Page(first),
            Answer::Page(second),
            Answer::Error(410, "Gone", "too old"),
            Answer::Page(first_again),
            Answer::Error(500, "InternalError", "etcdserver: leader changed"),
            Answer::Page(page(10, "more", &[service("a", 1, 80)])),
            Answer::Page(second_again),
        ],
    );
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "put b:80", "put c:80", "listed"]).await;
    let (error, _) = followed.trouble().await;
    assert_eq!(
        error,
        format!(
            "cannot list services at the API server http://{}/: it answers 500: etcdserver: leader changed",
            api.address
        )
    );
    followed.expect(&["gone default/b", "listed"]).await;
}

/// The server goes away; meanwhile one Service changes, one is deleted, one is made.
#[tokio::test]
async fn a_server_that_was_away_loses_and_invents_nothing() {
    let [first, second] = two_pages();
    let mut api = FakeApi::start(Kind::Service, vec![Answer::Page(first), Answer::Page(second), Answer::Watch(vec![])]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "put b:80", "put c:80", "listed"]).await;
    api.seen(Kind::Service, 3).await;
    api.down();
    let away = format!("cannot watch services at the API server http://{}/: ", api.address);
    let (error, _) = followed.trouble().await;
    assert!(error.starts_with(&away), "{error}");
    let again = page(90, "", &[service("b", 2, 80), service("c", 80, 81), service("d", 85, 80)]);
    let expired = Step::Send(super::encode::error(410, "Expired", "too old resource version: 10 (70)"));
    api.then(Kind::Service, vec![Answer::Watch(vec![expired]), Answer::Page(again)]);
    api.up();
    let mut change = followed.change().await;
    while let portolan::source::kube::Change::Trouble { .. } = change {
        change = followed.change().await;
    }
    assert_eq!(super::line(&change), "put c:81");
    followed.expect(&["put d:80", "gone default/a", "listed"]).await;
}
