//! Watches: where they go on, and what they may be cut into.

use std::{sync::Arc, time::Duration};

use portolan::source::kube::{Kind, Timing};
use tokio::sync::Notify;

use super::{
    Followed,
    encode::{bookmark, error, event, page, service},
    server::{Answer, FakeApi, Step},
    timing,
};

/// A list of `a`, then these watches.
fn list_then(watches: Vec<Vec<Step>>) -> FakeApi {
    let list = Answer::Page(page(10, "", &[service("a", 1, 80)]));
    FakeApi::start(Kind::Service, [list].into_iter().chain(watches.into_iter().map(Answer::Watch)).collect())
}

/// Every watch is a good one at once.
fn calm() -> Timing {
    Timing { calm: Duration::ZERO, ..timing() }
}

#[tokio::test]
async fn events_are_told_in_their_order() {
    let api = list_then(vec![vec![
        Step::Send(event("MODIFIED", &service("a", 11, 81))),
        Step::Send(event("ADDED", &service("b", 12, 80))),
        Step::Send(event("DELETED", &service("a", 13, 81))),
        Step::Send(event("NEWS", &service("a", 14, 81))),
        Step::Send(event("ADDED", &service("a", 15, 82))),
    ]]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "listed", "put a:81", "put b:80", "gone default/a", "put a:82"]).await;
}

#[tokio::test]
async fn an_event_may_come_in_any_pieces() {
    let events = [event("ADDED", &service("b", 11, 80)), event("ADDED", &service("c", 12, 80))].concat();
    for size in [1, 3, events.len() - 1] {
        let api = list_then(vec![events.chunks(size).map(|piece| Step::Send(piece.to_vec())).collect()]);
        let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
        followed.expect(&["put a:80", "listed", "put b:80", "put c:80"]).await;
    }
}

#[tokio::test]
async fn thousands_at_once_all_arrive() {
    let burst: Vec<u8> = (0..5000).flat_map(|n| event("ADDED", &service(&format!("s{n}"), 11 + n, 80))).collect();
    let api = list_then(vec![vec![Step::Send(burst)]]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "listed"]).await;
    let wanted: Vec<String> = (0..5000).map(|n| format!("put s{n}:80")).collect();
    followed.expect(&wanted.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// Nothing happens but bookmarks; the next watch goes on from the last one, without a list.
#[tokio::test]
async fn a_watch_goes_on_from_a_bookmark() {
    let ended = vec![Step::Send(bookmark(20)), Step::Send(bookmark(30)), Step::End];
    let api = list_then(vec![ended, vec![Step::Send(event("ADDED", &service("b", 31, 80)))]]);
    let mut followed = Followed::start(&api, Kind::Service, &calm()).await;
    followed.expect(&["put a:80", "listed", "put b:80"]).await;
    let seen = api.seen(Kind::Service, 3).await;
    assert_eq!((seen[1].get("resourceVersion"), seen[2].get("resourceVersion")), ("10", "30"));
    assert_eq!(seen[2].get("watch"), "true");
}

/// What is deleted while no watch runs is told by the next one.
#[tokio::test]
async fn a_broken_watch_goes_on_from_the_last_event() {
    let half = event("ADDED", &service("c", 12, 80))[..20].to_vec();
    let broken = vec![Step::Send(event("ADDED", &service("b", 11, 80))), Step::Send(half), Step::Break];
    let next =
        vec![Step::Send(event("ADDED", &service("c", 12, 80))), Step::Send(event("DELETED", &service("a", 13, 80)))];
    let api = list_then(vec![broken, next]);
    let mut followed = Followed::start(&api, Kind::Service, &calm()).await;
    followed.expect(&["put a:80", "listed", "put b:80", "put c:80", "gone default/a"]).await;
    assert_eq!(api.seen(Kind::Service, 3).await[2].get("resourceVersion"), "11");
}

/// An expired watch is answered by a list at once; if that helps nothing, with pauses.
#[tokio::test]
async fn watches_that_expire_again_and_again_wait() {
    let expired = || Answer::Watch(vec![Step::Send(error(410, "Expired", "too old resource version"))]);
    let list = || Answer::Page(page(10, "", &[service("a", 1, 80)]));
    let slow =
        Timing { first_retry: Duration::from_millis(200), longest_retry: Duration::from_millis(200), ..timing() };
    let api = FakeApi::start(Kind::Service, vec![list(), expired(), list(), expired(), list(), expired(), list()]);
    let mut followed = Followed::start(&api, Kind::Service, &slow).await;
    followed.expect(&["put a:80", "listed", "listed"]).await;
    let (error, _) = followed.trouble().await;
    assert!(error.ends_with("again and again it has forgotten the version to go on from (410)"), "{error}");
    followed.expect(&["listed", "listed"]).await;
    let seen = api.seen(Kind::Service, 7).await;
    for list in [4, 6] {
        assert!(seen[list].at - seen[list - 1].at >= Duration::from_millis(100), "no pause before list {list}");
    }
}

/// Watches that break at once: the pauses double, the cause is told once, and a watch that lives ends the trouble.
#[tokio::test]
async fn watches_that_break_at_once_are_tried_less_and_less() {
    let broken = || Answer::Watch(vec![Step::Break]);
    let list = Answer::Page(page(10, "", &[service("a", 1, 80)]));
    let good = Arc::new(Notify::new());
    let last = Answer::Watch(vec![Step::Until(good.clone()), Step::End]);
    let mut answers = vec![list];
    answers.extend((0..6).map(|_| broken()));
    answers.push(last);
    answers.extend([broken()]);
    let api = FakeApi::start(Kind::Service, answers);
    let timing = Timing { calm: Duration::from_millis(1500), ..timing() };
    let mut followed = Followed::start(&api, Kind::Service, &timing).await;
    followed.expect(&["put a:80", "listed"]).await;
    let (error, _) = followed.trouble().await;
    assert!(error.contains("cannot watch services") && error.contains("the answer broke off"), "{error}");
    followed.expect(&["recovered"]).await;
    let seen = api.seen(Kind::Service, 8).await;
    for (failures, pause) in [10, 20, 40, 80, 160, 160].into_iter().enumerate() {
        let waited = seen[failures + 2].at - seen[failures + 1].at;
        assert!(waited >= Duration::from_millis(pause / 2), "{waited:?} after {} failures", failures + 1);
        assert_eq!(seen[failures + 2].get("resourceVersion"), "10", "a watch goes on, without a list");
    }
    good.notify_one();
    let (_, retry_in) = followed.trouble().await;
    assert!(retry_in <= Duration::from_millis(10), "the pauses start anew after a good watch: {retry_in:?}");
}

/// The server accepts a watch and never ends it, although it was asked to: it is dead.
#[tokio::test]
async fn a_watch_that_outlives_its_time_is_given_up() {
    let api = list_then(vec![vec![], vec![Step::Send(event("ADDED", &service("b", 11, 80)))]]);
    let timing = Timing { watch: Duration::from_secs(1), grace: Duration::from_millis(50), ..timing() };
    let mut followed = Followed::start(&api, Kind::Service, &timing).await;
    followed.expect(&["put a:80", "listed"]).await;
    let (error, _) = followed.trouble().await;
    assert!(error.contains("said nothing for 1.05 s"), "{error}");
    followed.expect(&["put b:80"]).await;
}
