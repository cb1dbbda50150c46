//! Upstreams' answers: read, kept, found again, aged, and made a reply that somebody else can read.
//!
//! Input: an octet of choices, one of the seconds that pass in the cache, and the message. The question is what the
//! message says it answers, so that most inputs get past that.
#![no_main]

mod common;

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use common::{Cluster, check, client, decode, name_end};
use libfuzzer_sys::fuzz_target;
use portolan::{
    answers::{Failure, Finish, Outcome, Pending, foreign::Foreign},
    config::dns::{CacheOptions, ServeStale},
    dns::cache::{Cache, Found},
};

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::new);

/// Over TCP.
const TCP: u8 = 1;
/// The client asks for the alias that leads to `api.partner.example`.
const ALIAS: u8 = 2;
/// With an OPT record.
const EDNS: u8 = 4;
/// Long after.
const LATE: u8 = 8;

fuzz_target!(|input: &[u8]| {
    let [choices, age, message @ ..] = input else { return };
    let Some(query) = query(*choices, message) else { return };
    let tcp = choices & TCP != 0;
    let age = Duration::from_secs(u64::from(*age) * if choices & LATE != 0 { 60 } else { 1 });
    let mut out = vec![0; if tcp { 65535 } else { 1232 }];
    let length = match CLUSTER.site.answer(&query, client(tcp), &*CLUSTER, 5, &mut out) {
        Outcome::Drop => return,
        Outcome::Reply(reply) => reply.length,
        Outcome::Forward(pending) => finish(*pending, message, age, &mut out),
    };
    check(&query, &out[..length], tcp);
});

/// Follows aliases as long as the message answers the next question, too.
fn finish(mut pending: Pending, message: &[u8], age: Duration, out: &mut [u8]) -> usize {
    let seconds = Duration::from_secs;
    let stale = ServeStale { window: seconds(3600), wait: seconds(0), ttl: 30, recheck: seconds(5) };
    let cache =
        Cache::new(CacheOptions { octets: 65536, stale: Some(stale), ..CacheOptions::default() }, Arc::default());
    let now = Instant::now();
    for _ in 0..20 {
        let question = pending.question.clone();
        let foreign = Foreign::parse(message, &question).map(Arc::new);
        if let Ok(foreign) = &foreign {
            decode(foreign.wire());
            let aged = foreign.with_ttls(|ttl| ttl / 2);
            decode(aged.wire());
            assert_eq!((aged.counts(), aged.kind()), (foreign.counts(), foreign.kind()));
            cache.answered(&question, foreign, now);
        }
        let finished = match (cache.find(&question, now + age), &foreign) {
            (Found::Fresh { hit, .. } | Found::Stale { hit, .. }, _) => {
                pending.finish(Ok(&hit.foreign), hit.age, hit.stale, 5, out)
            }
            (_, Ok(foreign)) => pending.finish(Ok(foreign), 0, None, 5, out),
            (_, Err(_)) => pending.finish(Err(Failure::NO_UPSTREAM), 0, None, 5, out),
        };
        match finished {
            Finish::Reply(reply) => return reply.length,
            Finish::Again(again) => pending = *again,
        }
    }
    panic!("aliases are followed for ever");
}

/// What a client asks so that the message answers it.
fn query(choices: u8, message: &[u8]) -> Option<Vec<u8>> {
    let end = name_end(message, 12)?;
    let name = match choices & ALIAS != 0 {
        true => &b"\x07partner\x04shop\x03svc\x07cluster\x05local\0"[..],
        false => message.get(12..end)?,
    };
    let mut query = vec![0x5a, 0xa5, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(choices & EDNS != 0)];
    query.extend(name);
    query.extend(message.get(end..end + 4)?);
    if choices & EDNS != 0 {
        query.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    }
    Some(query)
}
