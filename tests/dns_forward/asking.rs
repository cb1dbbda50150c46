//! Who is asked, in which order, and what counts as an answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use domain::base::{
    Rtype,
    iana::{Class, ExtendedErrorCode, OptRcode, Rcode},
};
use futures_util::future::join_all;
use portolan::{
    answers::{Transport, foreign::Kind, query::Question},
    config::dns::{Policy, Upstream as Configured},
};

use crate::{
    bench::{Bench, block, forward, name, question, servfail, until},
    upstream::{Act, Seen, Upstream},
};

const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const REFUSED: u16 = 5;
const TC: u16 = 0x0200;

fn says(last: u8) -> impl Fn(&Seen) -> Vec<Act> + Send + Sync {
    move |query| vec![Act::Reply(query.address(60, last))]
}

fn code(flags: u16) -> impl Fn(&Seen) -> Vec<Act> + Send + Sync {
    move |query| vec![Act::Reply(query.empty(flags))]
}

fn silent(_: &Seen) -> Vec<Act> {
    Vec::new()
}

#[tokio::test]
async fn a_query_is_sent_as_it_should_be() {
    let upstream = Upstream::new(says(7)).await;
    let bench = Bench::plain(vec![forward(&[upstream.address])]);
    assert_eq!(bench.address("www.example.").await, 7);
    let asked = Question { dnssec_ok: true, checking_disabled: true, ..question("www.example.") };
    bench.resolve(&asked, Transport::Udp).await.unwrap();
    let seen = upstream.seen();
    assert_eq!(seen[0].octets[2..12], [1, 0, 0, 1, 0, 0, 0, 0, 0, 1], "RD, one question, one OPT");
    assert_eq!(seen[0].question(), b"\x03www\x07example\0\0\x01\0\x01");
    assert_eq!(seen[0].opt()[..11], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12], "1232 octets, no DO");
    assert_eq!(seen[0].opt()[11..15], [0xff, 0x97, 0, 8], "the name of this process");
    assert_eq!((seen[1].octets[3], seen[1].opt()[7]), (0x10, 0x80), "CD and DO as asked");
}

#[tokio::test]
async fn after_silence_the_next_is_asked() {
    let (first, second) = (Upstream::new(silent).await, Upstream::new(says(2)).await);
    let bench = Bench::plain(vec![forward(&[first.address, second.address])]);
    assert_eq!(bench.address("a.example.").await, 2);
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
}

#[tokio::test]
async fn silence_everywhere_is_said_in_time() {
    let silence = [Upstream::new(silent).await, Upstream::new(silent).await];
    let bench = Bench::plain(vec![forward(&[silence[0].address, silence[1].address])]);
    assert_eq!(servfail(bench.ask("a.example.").await), ExtendedErrorCode::NO_REACHABLE_AUTHORITY);
    assert_eq!(silence.map(|upstream| upstream.seen().len()), [2, 1], "each once, and one more");
}

#[tokio::test]
async fn nobody_there_is_a_network_error() {
    // An address that no other test takes ports of.
    let closed = std::net::UdpSocket::bind("127.0.0.9:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let bench = Bench::plain(vec![forward(&[address])]);
    assert_eq!(servfail(bench.ask("a.example.").await), ExtendedErrorCode::NETWORK_ERROR);
}

#[tokio::test]
async fn what_is_not_the_answer_is_ignored() {
    let upstream = Upstream::new(|query: &Seen| {
        let right = query.address(60, 1);
        let wrong = query.address(60, 66);
        let mut other_id = wrong.clone();
        other_id[1] ^= 1;
        let mut other_name = wrong.clone();
        other_name[13] = b'x';
        let mut other_type = wrong.clone();
        other_type[12 + query.question().len() - 3] = 28;
        let mut a_query = wrong.clone();
        a_query[2] = 0;
        vec![
            Act::FromElsewhere(wrong),
            Act::Wait(Duration::from_millis(5)),
            Act::Reply(other_id),
            Act::Reply(other_name),
            Act::Reply(other_type),
            Act::Reply(a_query),
            Act::Reply(vec![0xff; 40]),
            Act::Reply(right),
        ]
    })
    .await;
    let bench = Bench::plain(vec![forward(&[upstream.address])]);
    assert_eq!(bench.address("a.example.").await, 1);
    assert_eq!((upstream.seen().len(), bench.stats.ignored.get()), (1, 5), "the one from elsewhere never arrives");
}

#[tokio::test]
async fn a_malformed_answer_sends_to_the_next() {
    let garbage = Upstream::new(|query: &Seen| {
        let mut cut = query.address(60, 66);
        cut.pop();
        vec![Act::Reply(cut)]
    })
    .await;
    let good = Upstream::new(says(2)).await;
    let bench = Bench::plain(vec![forward(&[garbage.address, good.address])]);
    assert_eq!(bench.address("a.example.").await, 2);
    assert_eq!(garbage.probes(), 0, "it is there");
}

#[tokio::test]
async fn servfail_and_refused_send_to_the_next_and_nxdomain_does_not() {
    for flags in [SERVFAIL, REFUSED] {
        let (first, second) = (Upstream::new(code(flags)).await, Upstream::new(says(2)).await);
        let bench = Bench::plain(vec![forward(&[first.address, second.address])]);
        assert_eq!(bench.address("a.example.").await, 2);
    }
    let (first, second) = (Upstream::new(code(NXDOMAIN)).await, Upstream::new(says(2)).await);
    let mut options = forward(&[first.address, second.address]);
    options.failover = vec![Rcode::NXDOMAIN];
    let bench = Bench::plain(vec![options]);
    assert_eq!(bench.ask("a.example.").await.unwrap().foreign.rcode(), OptRcode::NXDOMAIN);
    assert_eq!(second.seen().len(), 0);
    let all = [Upstream::new(code(SERVFAIL)).await, Upstream::new(code(REFUSED)).await];
    let bench = Bench::plain(vec![forward(&[all[0].address, all[1].address])]);
    assert_eq!(bench.ask("a.example.").await.unwrap().foreign.rcode(), OptRcode::SERVFAIL, "what the first said");
    assert_eq!(all.map(|upstream| upstream.seen().len()), [1, 1], "nobody twice");
}

#[tokio::test]
async fn other_codes_send_to_the_next_if_asked_to() {
    let (first, second) = (Upstream::new(code(9)).await, Upstream::new(says(2)).await);
    let mut options = forward(&[first.address, second.address]);
    let bench = Bench::plain(vec![options.clone()]);
    assert_eq!(bench.ask("a.example.").await.unwrap().foreign.rcode().to_int(), 9);
    options.failover = vec![Rcode::NOTAUTH];
    assert_eq!(Bench::plain(vec![options]).address("a.example.").await, 2);
}

#[tokio::test]
async fn an_upstream_without_edns_is_asked_without() {
    let old = Upstream::new(|query: &Seen| match query.opt() {
        [] => vec![Act::Reply(query.address(60, 1))],
        _ => vec![Act::Reply(vec![query.octets[0], query.octets[1], 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0])],
    })
    .await;
    assert_eq!(Bench::plain(vec![forward(&[old.address])]).address("a.example.").await, 1);
}

#[tokio::test]
async fn a_truncated_answer_is_passed_on_or_fetched_over_tcp() {
    let script = |query: &Seen| match query.tcp {
        true => vec![Act::Reply(query.text(16))],
        false => vec![Act::Reply(query.empty(TC))],
    };
    let upstream = Upstream::new(script).await;
    let text = Question { qtype: Rtype::TXT, ..question("a.example.") };
    let mut options = forward(&[upstream.address]);
    let bench = Bench::plain(vec![options.clone()]);
    let udp = bench.resolve(&text, Transport::Udp).await.unwrap();
    assert_eq!((udp.foreign.kind(), upstream.connections.load(SeqCst)), (Kind::Truncated, 0));
    let tcp = bench.resolve(&text, Transport::Tcp).await.unwrap();
    assert_eq!((tcp.foreign.kind(), tcp.foreign.wire().len() > 4000), (Kind::Answer, true));
    assert_eq!(upstream.seen().iter().filter(|seen| !seen.tcp).count(), 1, "over TCP at once");
    options.prefer_udp = true;
    let bench = Bench::plain(vec![options]);
    let udp = bench.resolve(&text, Transport::Udp).await.unwrap();
    assert_eq!(udp.foreign.kind(), Kind::Answer);
}

#[tokio::test]
async fn an_oversized_datagram_is_a_truncated_answer() {
    let upstream = Upstream::new(|query: &Seen| vec![Act::Reply(query.text(30))]).await;
    let bench = Bench::plain(vec![forward(&[upstream.address])]);
    let text = Question { qtype: Rtype::TXT, ..question("a.example.") };
    let foreign = bench.resolve(&text, Transport::Udp).await.unwrap().foreign;
    assert_eq!((foreign.kind(), foreign.counts()), (Kind::Truncated, [0, 0, 0]));
}

#[tokio::test]
async fn one_connection_carries_many_queries_and_is_replaced_when_it_ends() {
    let hang_up = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&hang_up);
    let upstream = Upstream::new(move |query: &Seen| {
        // The later a query comes, the sooner it is answered.
        let turn = query.question()[1] - b'a';
        match now.swap(false, SeqCst) {
            true => vec![Act::HangUp],
            false => {
                vec![Act::Wait(Duration::from_millis(10 * u64::from(20 - turn))), Act::Reply(query.address(60, turn))]
            }
        }
    })
    .await;
    let mut options = forward(&[upstream.address]);
    options.force_tcp = true;
    let bench = Bench::plain(vec![options]);
    let names: Vec<_> = (b'a'..b'k').map(|letter| format!("{}.example.", char::from(letter))).collect();
    let answers = join_all(names.iter().map(|name| bench.address(name))).await;
    assert_eq!(answers, (0..10).collect::<Vec<_>>());
    assert_eq!(upstream.connections.load(SeqCst), 1);
    hang_up.store(true, SeqCst);
    assert_eq!(bench.address("c.example.").await, 2);
    assert_eq!(upstream.connections.load(SeqCst), 2);
}

#[tokio::test]
async fn equal_questions_are_one() {
    let upstream =
        Upstream::new(|query: &Seen| vec![Act::Wait(Duration::from_millis(100)), Act::Reply(query.address(60, 1))])
            .await;
    let bench = Bench::plain(vec![forward(&[upstream.address])]);
    let answers = join_all((0..20).map(|_| bench.address("a.example."))).await;
    assert_eq!(answers, [1; 20]);
    assert_eq!((upstream.seen().len(), bench.stats.merged.get()), (1, 19));
}

#[tokio::test]
async fn ports_and_ids_cannot_be_guessed() {
    let upstream = Upstream::new(says(1)).await;
    let bench = Bench::plain(vec![forward(&[upstream.address])]);
    for round in 0..10 {
        let names: Vec<_> = (0..50).map(|nth| format!("n{nth}.r{round}.example.")).collect();
        join_all(names.iter().map(|name| bench.ask(name))).await.into_iter().for_each(|answer| _ = answer.unwrap());
    }
    let seen = upstream.seen();
    let mut ports = BTreeMap::<u16, usize>::new();
    seen.iter().for_each(|seen| *ports.entry(seen.from.port()).or_default() += 1);
    assert!(ports.values().all(|uses| *uses <= 16), "{ports:?}");
    // 500 queries at 16 for each port would be 32 ports.
    assert!(ports.len() >= 32, "{}", ports.len());
    let ids: BTreeSet<_> = seen.iter().map(Seen::id).collect();
    // 500 of 65,536 at random: about two are the same.
    assert!(seen.len() == 500 && ids.len() > 480, "{}", ids.len());
    let steps: BTreeSet<_> = seen.windows(2).map(|two| two[1].id().wrapping_sub(two[0].id())).collect();
    assert!(steps.len() > 480, "no pattern: {}", steps.len());
}

#[tokio::test]
async fn too_many_are_answered_at_once() {
    let upstream = Upstream::new(silent).await;
    let mut options = forward(&[upstream.address]);
    options.max_concurrent = 4;
    options.read_timeout = Duration::from_secs(4);
    let bench = Arc::new(Bench::plain(vec![options]));
    let mut waiting = Vec::new();
    for nth in 0..2 {
        let bench = Arc::clone(&bench);
        waiting.push(tokio::spawn(async move { bench.ask(&format!("n{nth}.example.")).await }));
    }
    until("both are under way", || upstream.seen().len() >= 2).await;
    let outcome = bench.ask("more.example.").await;
    assert_eq!(servfail(outcome), ExtendedErrorCode::NETWORK_ERROR);
    assert_eq!(bench.stats.rejected.get(), 1, "half of all places are taken, by this client");
    for task in waiting {
        assert!(task.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn who_is_down_is_not_asked_until_it_answers_probes() {
    let up = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&up);
    let flapping = Upstream::new(move |query: &Seen| match now.load(SeqCst) {
        true => vec![Act::Reply(query.address(60, 1))],
        false => Vec::new(),
    })
    .await;
    let steady = Upstream::new(says(2)).await;
    let mut options = forward(&[flapping.address, steady.address]);
    options.max_fails = 1;
    let bench = Bench::plain(vec![options]);
    for nth in 0..2 {
        assert_eq!(bench.address(&format!("n{nth}.example.")).await, 2);
    }
    let before = flapping.seen().len();
    for nth in 0..10 {
        assert_eq!(bench.address(&format!("m{nth}.example.")).await, 2);
    }
    assert_eq!(flapping.seen().len(), before, "down");
    until("it is probed", || flapping.probes() > 0).await;
    assert_eq!(steady.probes(), 0, "who did not fail is not probed");
    up.store(true, SeqCst);
    let deadline = tokio::time::Instant::now() + crate::bench::LONG;
    for nth in 0.. {
        if bench.address(&format!("o{nth}.example.")).await == 1 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "up again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn with_all_down_one_is_tried_all_the_same() {
    let upstream = Upstream::new(silent).await;
    let mut options = forward(&[upstream.address]);
    options.max_fails = 1;
    options.read_timeout = Duration::from_millis(100);
    let bench = Bench::plain(vec![options.clone()]);
    assert!(bench.ask("a.example.").await.is_err(), "two attempts, two failures");
    let before = upstream.seen().len();
    assert!(bench.ask("b.example.").await.is_err());
    assert!(upstream.seen().len() > before && bench.stats.all_down.get() > 0);
    options.failfast = true;
    let bench = Bench::plain(vec![options]);
    assert!(bench.ask("a.example.").await.is_err());
    let before = upstream.seen().len();
    assert_eq!(servfail(bench.ask("b.example.").await), ExtendedErrorCode::NO_REACHABLE_AUTHORITY);
    assert_eq!(upstream.seen().len(), before);
}

#[tokio::test]
async fn queries_leave_from_the_address_they_are_told_to() {
    let upstream = Upstream::new(says(1)).await;
    let mut options = forward(&[upstream.address]);
    options.source = Some("127.0.0.7".parse().unwrap());
    assert_eq!(Bench::plain(vec![options.clone()]).address("a.example.").await, 1);
    options.force_tcp = true;
    assert_eq!(Bench::plain(vec![options]).address("a.example.").await, 1);
    assert_eq!(
        upstream.seen().iter().map(|seen| (seen.from.ip().to_string(), seen.tcp)).collect::<Vec<_>>(),
        [("127.0.0.7".to_owned(), false), ("127.0.0.7".to_owned(), true)]
    );
}

#[tokio::test]
async fn idle_connections_end() {
    let upstream = Upstream::new(says(1)).await;
    let mut options = forward(&[upstream.address]);
    options.force_tcp = true;
    options.expire = Duration::from_millis(20);
    let bench = Bench::plain(vec![options.clone()]);
    bench.ask("a.example.").await.unwrap();
    until("closed", || upstream.open.load(SeqCst) == 0).await;
    bench.ask("b.example.").await.unwrap();
    assert_eq!(upstream.connections.load(SeqCst), 2);
    options.expire = crate::bench::LONG;
    options.max_age = Duration::from_nanos(1);
    let bench = Bench::plain(vec![options]);
    for text in ["a.example.", "b.example."] {
        bench.ask(text).await.unwrap();
    }
    assert_eq!(upstream.connections.load(SeqCst), 4, "too old for a second query");
}

#[tokio::test]
async fn policies_choose_the_first() {
    let upstreams = [Upstream::new(says(1)).await, Upstream::new(says(2)).await, Upstream::new(says(3)).await];
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let mut options = forward(&addresses);
    options.policy = Policy::RoundRobin;
    let bench = Bench::plain(vec![options.clone()]);
    let mut answers = Vec::new();
    for nth in 0..6 {
        answers.push(bench.address(&format!("n{nth}.example.")).await);
    }
    assert_eq!(answers, [1, 2, 3, 1, 2, 3]);
    options.policy = Policy::Random;
    let bench = Bench::plain(vec![options]);
    let mut counts = [0; 3];
    for nth in 0..150 {
        counts[usize::from(bench.address(&format!("n{nth}.example.")).await) - 1] += 1;
    }
    // Each 50 of 150; below 20 once in a hundred million runs.
    assert!(counts.iter().all(|count| *count >= 20), "{counts:?}");
}

#[tokio::test]
async fn the_longest_zone_wins_and_exceptions_are_not_ours() {
    let (all, corp) = (Upstream::new(says(1)).await, Upstream::new(says(2)).await);
    let mut stub = forward(&[corp.address]);
    stub.from = name("Corp.example.");
    let mut rest = forward(&[all.address]);
    rest.except = vec![name("private.example.")];
    let bench = Bench::plain(vec![rest, stub]);
    assert_eq!(bench.address("a.corp.example.").await, 2);
    assert_eq!(bench.address("corp.example.").await, 2);
    assert_eq!(bench.address("xcorp.example.").await, 1, "zones end on label boundaries");
    assert!(!bench.forwarder.takes(b"\x01a\x07private\x07example\0"));
    assert_eq!(bench.ask("a.private.example.").await.unwrap_err().rcode, Rcode::REFUSED);
}

#[tokio::test]
async fn the_next_zone_is_asked_if_configured() {
    let (first, second) = (Upstream::new(code(NXDOMAIN)).await, Upstream::new(says(2)).await);
    let empty = Upstream::new(code(0)).await;
    let mut stub = forward(&[first.address]);
    stub.from = name("example.");
    stub.next = vec![Rcode::NXDOMAIN];
    let mut other = forward(&[empty.address]);
    other.from = name("a.example.");
    other.next_on_nodata = true;
    let bench = Bench::plain(vec![forward(&[second.address]), stub, other]);
    assert_eq!(bench.address("b.example.").await, 2);
    assert_eq!(bench.address("a.example.").await, 2, "from one to the next to the next");
    assert_eq!(empty.seen().len(), 1);
}

#[tokio::test]
async fn upstreams_follow_their_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    std::fs::write(&file, "search example\nnameserver 198.51.100.1\nnameserver 127.0.0.53\n").unwrap();
    let mut options = forward(&[]);
    options.to = vec![Configured::ResolvConf(file.clone())];
    let bench = Bench::plain(vec![options]);
    let upstreams = || bench.forwarder.zones()[0].1.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(upstreams(), ["198.51.100.1:53"], "not the stub resolver of the node");
    let replacement = directory.path().join("new");
    std::fs::write(&replacement, "nameserver 198.51.100.2\nnameserver 2001:db8::1\n").unwrap();
    std::fs::rename(&replacement, &file).unwrap();
    until("the file was read again", || upstreams() == ["198.51.100.2:53", "[2001:db8::1]:53"]).await;
    std::fs::remove_file(&file).unwrap();
    until("the file is gone", || upstreams().is_empty()).await;
    assert_eq!(servfail(bench.ask("a.example.").await), ExtendedErrorCode::NO_REACHABLE_AUTHORITY);
}

#[tokio::test]
async fn a_zone_whose_queries_come_back_is_not_forwarded() {
    let probes = Arc::<Mutex<Vec<Seen>>>::default();
    let kept = Arc::clone(&probes);
    const HINFO: u8 = 13;
    let upstream = Upstream::new(move |query: &Seen| match query.qtype() {
        HINFO => {
            kept.lock().unwrap().push(query.clone());
            Vec::new()
        }
        _ => vec![Act::Reply(query.address(60, 1))],
    })
    .await;
    let good = Upstream::new(says(2)).await;
    let mut stub = forward(&[good.address]);
    stub.from = name("corp.example.");
    let mut block = block(vec![forward(&[upstream.address]), stub], None);
    block.detect_loops = true;
    let bench = Bench::new(&block);
    assert_eq!(bench.address("a.example.").await, 1, "before the probe is back");
    until("a probe", || !probes.lock().unwrap().is_empty()).await;
    let probe = probes.lock().unwrap()[0].clone();
    assert_eq!(probe.opt().len(), 11, "a probe that is dropped on sight finds nothing");
    let came = Question {
        name: probe.question()[..probe.question().len() - 4].into(),
        qtype: Rtype::HINFO,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
    };
    assert!(!bench.forwarder.is_probe(&Question { qtype: Rtype::A, ..came.clone() }));
    assert!(!bench.forwarder.is_probe(&Question { qtype: Rtype::HINFO, ..question("1.2.example.") }));
    assert!(bench.forwarder.is_probe(&came));
    assert_eq!(servfail(bench.ask("b.example.").await), ExtendedErrorCode::NO_REACHABLE_AUTHORITY);
    assert_eq!((bench.forwarder.zones()[1].2, bench.stats.looping.get()), (true, 1));
    assert_eq!(bench.address("a.corp.example.").await, 2, "other zones go on");
    drop(bench.forwarder);
    until("what is no longer there does not count", || bench.stats.looping.get() == 0).await;
}
