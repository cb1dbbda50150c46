//! What lasts too long: connections that are dead, clients that are gone, answers that come too late.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use domain::base::iana::ExtendedErrorCode;
use portolan::answers::{Client, Transport};

use crate::{
    bench::{Bench, LONG, block, cache, forward, question, servfail, until},
    upstream::{Act, Seen, Upstream},
};

fn client() -> Client {
    Client { address: "192.0.2.1".parse().unwrap(), transport: Transport::Udp }
}

#[tokio::test]
async fn a_dead_connection_is_replaced_while_it_is_asked() {
    let first = Arc::<Mutex<Option<SocketAddr>>>::default();
    let dead = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&dead);
    let upstream = Upstream::new(move |query: &Seen| {
        let first = *first.lock().unwrap().get_or_insert(query.from);
        match now.load(SeqCst) && query.from == first {
            true => Vec::new(),
            false => vec![Act::Reply(query.address(60, 1))],
        }
    })
    .await;
    let mut options = forward(&[upstream.address]);
    options.force_tcp = true;
    options.expire = LONG;
    let bench = Bench::plain(vec![options]);
    assert_eq!(bench.address("a.example.").await, 1);
    dead.store(true, SeqCst);
    assert_eq!(bench.address("b.example.").await, 1, "the second attempt takes another connection");
    assert_eq!(bench.address("c.example.").await, 1);
    assert_eq!(upstream.connections.load(SeqCst), 2);
    until("the dead one is closed", || upstream.open.load(SeqCst) == 1).await;
}

#[tokio::test]
async fn probes_go_the_way_of_queries() {
    let up = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&up);
    let upstream = Upstream::new(move |query: &Seen| match query.tcp && now.load(SeqCst) {
        true => vec![Act::Reply(query.address(60, 1))],
        false => Vec::new(),
    })
    .await;
    let mut options = forward(&[upstream.address]);
    options.force_tcp = true;
    options.max_fails = 1;
    options.failfast = true;
    options.read_timeout = Duration::from_millis(100);
    let bench = Bench::plain(vec![options]);
    servfail(bench.ask("a.example.").await);
    servfail(bench.ask("b.example.").await);
    up.store(true, SeqCst);
    let mut nth = 0;
    let deadline = Instant::now() + LONG;
    while bench.ask(&format!("n{nth}.example.")).await.is_err() {
        assert!(Instant::now() < deadline, "up again");
        nth += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_client_that_is_gone_keeps_its_places_while_upstream_is_asked_for_it() {
    let upstream = Upstream::new(|_: &Seen| Vec::new()).await;
    let mut options = forward(&[upstream.address]);
    options.max_concurrent = 2;
    options.max_attempts = 1;
    options.read_timeout = Duration::from_secs(4);
    let bench = Arc::new(Bench::plain(vec![options]));
    let asking = Arc::clone(&bench);
    let task = tokio::spawn(async move { asking.ask("a.example.").await });
    until("it is under way", || !upstream.seen().is_empty()).await;
    task.abort();
    assert!(task.await.is_err());
    assert_eq!(servfail(bench.ask("b.example.").await), ExtendedErrorCode::NETWORK_ERROR);
    assert_eq!(bench.stats.rejected.get(), 1);
}

#[tokio::test]
async fn the_time_is_that_of_the_query_and_not_of_each_question() {
    let upstream =
        Upstream::new(|query: &Seen| vec![Act::Wait(Duration::from_millis(50)), Act::Reply(query.address(60, 1))])
            .await;
    let bench = Bench::new(&block(vec![forward(&[upstream.address])], Some(cache())));
    let asked = question("a.example.");
    let long_ago = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let outcome = bench.forwarder.resolve(&asked, client(), long_ago).await;
    assert_eq!(servfail(outcome), ExtendedErrorCode::NO_REACHABLE_AUTHORITY);
    until("the answer is kept all the same", || bench.forwarder.lookup(&asked, Instant::now()).is_some()).await;
    assert!(bench.forwarder.resolve(&asked, client(), long_ago).await.is_ok());
}
