use std::{sync::atomic::AtomicU64, time::Duration};

use domain::base::{Rtype, iana::Class};

use super::*;

const NAME: &[u8] = b"\x03www\x07example\0";

fn options() -> CacheOptions {
    CacheOptions { octets: 1 << 20, ..CacheOptions::default() }
}

fn question() -> Question {
    Question { name: NAME.into(), qtype: Rtype::A, qclass: Class::IN, dnssec_ok: false, checking_disabled: false }
}

/// An upstream's answer with this code and these records: section, type, time to live, data.
fn foreign(rcode: u8, records: &[(usize, u16, u32, &[u8])]) -> Arc<Foreign> {
    let mut octets = vec![0, 0, 0x85, 0x80 | rcode, 0, 1, 0, 0, 0, 0, 0, 0];
    octets.extend(NAME);
    octets.extend([0, 1, 0, 1]);
    for (section, rtype, ttl, data) in records {
        octets[7 + 2 * section] += 1;
        octets.extend([0xc0, 12]);
        octets.extend(rtype.to_be_bytes());
        octets.extend([0, 1]);
        octets.extend(ttl.to_be_bytes());
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(*data);
    }
    Arc::new(Foreign::parse(&octets, &question()).unwrap())
}

fn answer(ttl: u32) -> Arc<Foreign> {
    foreign(0, &[(0, 1, ttl, &[192, 0, 2, 1])])
}

fn soa(minimum: u32) -> Vec<u8> {
    let mut data = vec![0, 0];
    data.extend([0; 16]);
    data.extend(minimum.to_be_bytes());
    data
}

fn missing(ttl: u32) -> Arc<Foreign> {
    foreign(3, &[(1, 6, 3600, &soa(ttl))])
}

struct Bench {
    cache: Cache,
    start: Instant,
}

impl Bench {
    fn new(options: CacheOptions) -> Self {
        Self { cache: Cache::new(options, Arc::default()), start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn find(&self, seconds: u64) -> Found {
        self.cache.find_first(&question(), self.at(seconds))
    }

    fn answered(&self, seconds: u64, foreign: &Arc<Foreign>) {
        self.cache.answered(&question(), foreign, self.at(seconds));
    }

    fn unanswered(&self, seconds: u64) {
        let failure = Failure { rcode: domain::base::iana::Rcode::SERVFAIL, ede: None };
        self.cache.failed(&question(), Failed::Unanswered(failure), self.at(seconds));
    }

    /// Age, and time to live as kept, of a fresh answer.
    fn fresh(&self, seconds: u64) -> Option<(u32, Option<u32>)> {
        match self.find(seconds) {
            Found::Fresh { hit, .. } => Some((hit.age, hit.foreign.keep())),
            _ => None,
        }
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[test]
fn an_answer_is_kept_until_its_time_is_over() {
    let bench = Bench::new(options());
    assert!(matches!(bench.find(0), Found::Nothing));
    bench.answered(0, &answer(60));
    assert_eq!(bench.fresh(0), Some((0, Some(60))));
    assert_eq!(bench.fresh(59), Some((59, Some(60))));
    assert_eq!(bench.fresh(60), None);
    let stats = &bench.cache.stats;
    assert_eq!((count(&stats.requests), count(&stats.hits.success), count(&stats.misses)), (4, 2, 2));
}

#[test]
fn what_is_asked_differently_is_kept_apart() {
    let bench = Bench::new(options());
    bench.answered(0, &answer(60));
    for other in [
        Question { dnssec_ok: true, ..question() },
        Question { checking_disabled: true, ..question() },
        Question { qtype: Rtype::AAAA, ..question() },
        Question { qclass: Class::CH, ..question() },
        Question { name: (*b"\x07example\0").into(), ..question() },
    ] {
        assert!(matches!(bench.cache.find(&other, bench.at(1)), Found::Nothing), "{other:?}");
    }
}

#[test]
fn times_are_bounded_in_what_is_kept_alone() {
    let bench = Bench::new(CacheOptions { success_ttl: (5, 30), ..options() });
    let long = answer(300);
    bench.answered(0, &long);
    assert_eq!(long.keep(), Some(300), "the first answer says what upstream said");
    assert_eq!(bench.fresh(29), Some((29, Some(30))));
    assert_eq!(bench.fresh(30), None);
    bench.answered(100, &answer(0));
    assert_eq!(bench.fresh(104), Some((4, Some(5))));
    assert_eq!(bench.fresh(105), None);
}

#[test]
fn denials_are_kept_as_their_soa_allows() {
    let bench = Bench::new(CacheOptions { stale: None, ..options() });
    bench.answered(0, &missing(20));
    let Found::Fresh { hit, .. } = bench.find(19) else { panic!("kept for 20 s") };
    let at = usize::from(hit.foreign.ttls()[0]);
    assert_eq!(&hit.foreign.wire()[at..at + 4], &20u32.to_be_bytes(), "the SOA itself says so, too (RFC 2308, 5)");
    assert!(matches!(bench.find(20), Found::Nothing));
    bench.answered(30, &foreign(0, &[(1, 6, 9, &soa(900))]));
    assert_eq!(bench.fresh(38), Some((8, Some(9))), "no data");
    for unsigned in [foreign(3, &[]), foreign(0, &[]), foreign(0, &[(1, 2, 900, b"\x01a\0")])] {
        bench.answered(40, &unsigned);
        assert!(matches!(bench.find(40), Found::Nothing), "without an SOA nothing is kept: {unsigned:?}");
    }
}

#[test]
fn zones_can_be_left_out() {
    let example = || vec![Name::vec_from_str("eXample.").unwrap()];
    let bench = Bench::new(CacheOptions { disable_success: example(), ..options() });
    bench.answered(0, &answer(60));
    assert_eq!(bench.fresh(0), None);
    bench.answered(0, &missing(60));
    assert!(bench.fresh(0).is_some());
    let bench = Bench::new(CacheOptions { disable_denial: example(), ..options() });
    bench.answered(0, &missing(60));
    assert_eq!(bench.fresh(0), None);
    bench.answered(0, &answer(60));
    assert!(bench.fresh(0).is_some());
    let bench = Bench::new(CacheOptions { zones: vec![Name::vec_from_str("www.other.").unwrap()], ..options() });
    bench.answered(0, &answer(60));
    assert_eq!(bench.fresh(0), None);
}

#[test]
fn failures_are_kept_longer_each_time() {
    let bench = Bench::new(options());
    let servfail = foreign(2, &[]);
    let mut now = 0;
    for period in [1, 2, 4, 5, 5] {
        bench.answered(now, &servfail);
        assert!(matches!(bench.find(now + period - 1), Found::Failed(Failed::Told(_))), "{period}");
        assert!(matches!(bench.find(now + period), Found::Nothing), "{period}");
        now += period;
    }
    bench.answered(now, &answer(60));
    assert!(bench.fresh(now).is_some(), "a success ends it");
    let bench = Bench::new(CacheOptions { servfail_ttl: 0, ..options() });
    bench.unanswered(0);
    assert!(matches!(bench.find(0), Found::Nothing), "switched off");
    let bench = Bench::new(options());
    bench.answered(0, &foreign(5, &[]));
    assert!(matches!(bench.find(0), Found::Nothing), "REFUSED is about us, not about the name");
}

#[test]
fn what_was_asked_often_is_asked_again_in_time_once() {
    let bench = Bench::new(options());
    let prefetches = |seconds| matches!(bench.find(seconds), Found::Fresh { prefetch: true, .. });
    bench.answered(0, &answer(100));
    assert!(!prefetches(10) && !prefetches(20) && !prefetches(50), "there is time");
    assert!(prefetches(91), "less than a tenth is left");
    assert!(!prefetches(92), "somebody does it already");
    bench.answered(200, &answer(1000));
    assert!(!prefetches(210) && !prefetches(220) && !prefetches(1110) && !prefetches(1120));
    assert!(prefetches(1130), "the long pause began the count anew");
    assert_eq!(count(&bench.cache.stats.prefetches), 2);
}

#[test]
fn an_ended_answer_is_there_while_no_better_is_to_be_had() {
    let bench = Bench::new(options());
    bench.answered(0, &answer(60));
    let Found::Stale { hit, settled: false } = bench.find(60) else { panic!("to be asked for, first") };
    assert_eq!((hit.age, hit.foreign.keep(), hit.stale), (0, Some(30), Some(STALE)));
    bench.unanswered(70);
    assert!(matches!(bench.find(99), Found::Stale { settled: true, .. }), "not asked for again so soon");
    assert!(matches!(bench.find(100), Found::Stale { settled: false, .. }));
    bench.answered(100, &foreign(2, &[]));
    assert!(matches!(bench.find(101), Found::Stale { settled: true, .. }), "SERVFAIL is no better");
    assert!(matches!(bench.find(3659), Found::Stale { .. }));
    assert!(matches!(bench.find(3660), Found::Nothing), "an hour after its end, however often it was asked for");
}

#[test]
fn a_denial_ends_what_was_there() {
    let bench = Bench::new(options());
    bench.answered(0, &answer(60));
    bench.answered(61, &missing(10));
    assert!(matches!(bench.find(62), Found::Fresh { hit, .. } if hit.foreign.kind() == Kind::Missing));
    let Found::Stale { hit, .. } = bench.find(71) else { panic!("a denial can be stale, too") };
    assert_eq!(hit.stale, Some(STALE_MISSING));
    bench.answered(72, &answer(60));
    bench.answered(140, &foreign(3, &[]));
    assert!(matches!(bench.find(140), Found::Nothing), "also one that cannot be kept itself");
}

#[test]
fn the_bound_in_octets_holds() {
    let octets = 64 * 1024;
    let bench = Bench::new(CacheOptions { octets, ..options() });
    for i in 0..5000u32 {
        let name = [b"\x08".as_slice(), format!("{i:08}").as_bytes(), b"\0"].concat();
        let question = Question { name: name.into(), ..question() };
        bench.cache.answered(&question, &answer(60), bench.start);
    }
    let held = bench.cache.held();
    assert!(held.octets <= octets as u64, "{held:?}");
    assert!(held.success > 50, "{held:?}");
    assert_eq!(held.success + count(&bench.cache.stats.evictions.success), 5000);
}
