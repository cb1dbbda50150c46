//! The end comes at once, whatever hangs.

use portolan::source::kube::Kind;

use super::{
    Followed, PATIENCE,
    encode::{event, page, service},
    server::{Answer, FakeApi, Step},
    timing,
};

async fn stops(followed: Followed) {
    tokio::time::timeout(PATIENCE, followed.watches.stop()).await.expect("an end in time");
}

#[tokio::test]
async fn while_nobody_answers() {
    let api = FakeApi::start(Kind::Service, vec![Answer::Silence]);
    for kind in Kind::ALL {
        api.then(kind, vec![Answer::Silence]);
    }
    let followed = Followed::start(&api, Kind::Service, &timing()).await;
    for kind in Kind::ALL {
        api.seen(kind, 1).await;
    }
    stops(followed).await;
}

#[tokio::test]
async fn while_nobody_listens() {
    let burst = (0..5000).flat_map(|n| event("ADDED", &service(&format!("s{n}"), 11 + n, 80))).collect();
    let api =
        FakeApi::start(Kind::Service, vec![Answer::Page(page(10, "", &[])), Answer::Watch(vec![Step::Send(burst)])]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["listed", "put s0:80"]).await;
    stops(followed).await;
}

#[tokio::test]
async fn while_a_pause_lasts() {
    let api = FakeApi::start(Kind::Service, vec![Answer::Error(500, "InternalError", "no")]);
    let slow = portolan::source::kube::Timing { first_retry: PATIENCE * 10, longest_retry: PATIENCE * 10, ..timing() };
    let mut followed = Followed::start(&api, Kind::Service, &slow).await;
    followed.trouble().await;
    stops(followed).await;
}

/// Dropping the source is enough.
#[tokio::test]
async fn with_the_last_owner() {
    let api = FakeApi::start(Kind::Service, vec![]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["listed"]).await;
    let before = api.seen(Kind::Service, 2).await.len();
    drop(followed);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(api.seen(Kind::Service, before).await.len(), before, "requests after the end");
}
