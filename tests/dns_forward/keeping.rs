//! The forwarder with its cache.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use domain::base::iana::ExtendedErrorCode;
use portolan::{
    answers::foreign::Kind,
    config::dns::{CacheOptions, Prefetch},
};

use crate::{
    bench::{Bench, block, cache, forward, question, servfail, until},
    upstream::{Act, Seen, Upstream},
};

/// Answers the first `good` queries with an address, and the rest as told.
async fn turning(good: usize, ttl: u32, then: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Upstream {
    let count = Arc::new(AtomicUsize::new(0));
    Upstream::new(move |query: &Seen| match count.fetch_add(1, SeqCst) {
        nth if nth < good => vec![Act::Reply(query.address(ttl, nth as u8))],
        _ => then(query),
    })
    .await
}

fn bench(upstream: &Upstream, cache: CacheOptions) -> Bench {
    Bench::new(&block(vec![forward(&[upstream.address])], Some(cache)))
}

fn silent(_: &Seen) -> Vec<Act> {
    Vec::new()
}

#[tokio::test]
async fn an_answer_is_found_without_asking_again() {
    let upstream = turning(1, 60, silent).await;
    let bench = bench(&upstream, cache());
    let asked = question("a.example.");
    assert!(bench.forwarder.lookup(&asked, Instant::now()).is_none());
    let first = bench.ask("a.example.").await.unwrap();
    let hit = bench.forwarder.lookup(&asked, Instant::now() + Duration::from_secs(10)).unwrap();
    assert_eq!((hit.foreign.wire(), hit.stale), (first.foreign.wire(), None));
    assert!(hit.age >= 10, "{}", hit.age);
    assert_eq!(bench.address("a.example.").await, 0);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_lame_answer_is_passed_on_and_not_kept() {
    let upstream = turning(0, 0, |query| vec![Act::Reply(query.empty(0))]).await;
    let bench = bench(&upstream, cache());
    let lame = bench.ask("a.example.").await.unwrap();
    assert_eq!((lame.foreign.kind(), lame.foreign.keep()), (Kind::NoData, None));
    assert!(bench.forwarder.lookup(&question("a.example."), Instant::now()).is_none());
}

#[tokio::test]
async fn a_stale_answer_is_better_than_silence() {
    // Its time is over at once.
    let upstream = turning(1, 0, silent).await;
    let bench = bench(&upstream, cache());
    assert_eq!(bench.ask("a.example.").await.unwrap().stale, None);
    let stale = bench.ask("a.example.").await.unwrap();
    assert_eq!(stale.stale.unwrap().code, ExtendedErrorCode::STALE_ANSWER);
    assert_eq!((stale.foreign.keep(), stale.age), (Some(30), 0));
    // What was begun goes on and ends in a failure; after that nobody waits.
    let asked = question("a.example.");
    until("the failure is known", || bench.forwarder.lookup(&asked, Instant::now()).is_some()).await;
    let before = upstream.seen().len();
    assert!(bench.ask("a.example.").await.unwrap().stale.is_some());
    assert_eq!(upstream.seen().len(), before, "not asked again for a while");
}

#[tokio::test]
async fn a_stale_answer_is_better_than_servfail_and_no_better_than_a_denial() {
    let upstream = turning(1, 0, |query| vec![Act::Reply(query.empty(2))]).await;
    let failing = bench(&upstream, cache());
    failing.ask("a.example.").await.unwrap();
    assert!(failing.ask("a.example.").await.unwrap().stale.is_some());
    let upstream = turning(1, 0, |query| vec![Act::Reply(query.empty(3))]).await;
    let denying = bench(&upstream, cache());
    denying.ask("a.example.").await.unwrap();
    let denial = denying.ask("a.example.").await.unwrap();
    assert_eq!((denial.foreign.kind(), denial.stale), (Kind::Missing, None));
    assert_eq!(denying.ask("a.example.").await.unwrap().stale, None, "the old answer is gone");
}

#[tokio::test]
async fn a_failure_is_not_asked_for_again_at_once() {
    let upstream = Upstream::new(silent).await;
    let bench = bench(&upstream, cache());
    assert_eq!(servfail(bench.ask("a.example.").await), ExtendedErrorCode::NO_REACHABLE_AUTHORITY);
    let before = upstream.seen().len();
    servfail(bench.ask("a.example.").await);
    assert_eq!(upstream.seen().len(), before);
}

#[tokio::test]
async fn what_is_asked_often_is_refreshed_before_it_ends() {
    let upstream = turning(usize::MAX, 60, silent).await;
    let prefetch = Prefetch { hits: 2, pause: Duration::from_secs(60), percent: 10 };
    let bench = bench(&upstream, CacheOptions { prefetch: Some(prefetch), ..cache() });
    let asked = question("a.example.");
    bench.ask("a.example.").await.unwrap();
    let later = Instant::now() + Duration::from_secs(55);
    for _ in 0..5 {
        assert!(bench.forwarder.lookup(&asked, later).is_some(), "nobody waits");
    }
    until("refreshed", || upstream.seen().len() == 2).await;
    until("kept", || {
        bench.forwarder.lookup(&asked, Instant::now()).is_some_and(|hit| hit.foreign.wire().last() == Some(&1))
    })
    .await;
    assert_eq!(upstream.seen().len(), 2, "once");
}
