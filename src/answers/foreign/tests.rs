use domain::base::iana::Class;
use hickory_proto::op::Message as Oracle;
use proptest::{collection::vec, prelude::*};

use super::*;

const NAME: &[u8] = b"\x03www\x07example\0";
const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const OPT: u16 = 41;
/// NAPTR, CERT, SMIMEA, CSYNC, SVCB, HTTPS, CAA, ANAME: what their fields mean is for clients to judge, we pass them on as they
/// are (RFC 3597). The oracle judges, so it gets them under a private type.
const PICKY: [u16; 8] = [35, 37, 53, 62, 64, 65, 257, 65305];

fn question() -> Question {
    Question { name: NAME.into(), qtype: Rtype::A, qclass: Class::IN, dnssec_ok: false, checking_disabled: false }
}

/// An upstream's message, written by hand.
#[derive(Clone)]
struct Written(Vec<u8>);

impl Written {
    fn new(flags: u16) -> Self {
        let mut octets = vec![0x12, 0x34];
        octets.extend(flags.to_be_bytes());
        octets.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        octets.extend(b"\x03wWw\x07exAmple\0");
        octets.extend([0, 1, 0, 1]);
        Self(octets)
    }

    /// A record in section 0, 1 or 2, which must come in this order.
    fn record(mut self, section: usize, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Self {
        let count = 6 + 2 * section + 1;
        self.0[count] += 1;
        self.0.extend(owner);
        self.0.extend(rtype.to_be_bytes());
        self.0.extend(if rtype == OPT { [4, 208] } else { [0, 1] });
        self.0.extend(ttl.to_be_bytes());
        self.0.extend((data.len() as u16).to_be_bytes());
        self.0.extend(data);
        self
    }

    fn soa(self, ttl: u32, minimum: u32) -> Self {
        let mut data = b"\x02ns\xc0\x10\x01h\xc0\x10".to_vec();
        for field in [1, 2, 3, 4, minimum] {
            data.extend(field.to_be_bytes());
        }
        self.record(1, b"\xc0\x10", SOA, ttl, &data)
    }

    fn parse(&self) -> Result<Foreign, Unusable> {
        Foreign::parse(&self.0, &question())
    }
}

fn check(foreign: &Foreign) -> Oracle {
    let [answer, authority, additional] = foreign.counts();
    assert_eq!(usize::from(answer + authority + additional), foreign.ttls().len());
    // Whatever times to live are put in, it stays readable.
    let mut wire = foreign.wire().to_vec();
    for at in foreign.ttls().iter().map(|at| usize::from(*at)) {
        wire[at..at + 4].copy_from_slice(&[0x7f; 4]);
        let rtype = &mut wire[at - 4..at - 2];
        if PICKY.contains(&u16::from_be_bytes([rtype[0], rtype[1]])) {
            rtype.copy_from_slice(&[0xff, 0]);
        }
    }
    let oracle = Oracle::from_vec(&wire).unwrap_or_else(|error| panic!("{error}: {wire:02x?}"));
    let sections = [&oracle.answers, &oracle.authorities, &oracle.additionals];
    assert_eq!(sections.map(|section| section.len() as u16), foreign.counts());
    assert!(sections.into_iter().flatten().all(|record| record.ttl == 0x7f7f_7f7f));
    oracle
}

#[test]
fn an_answer_is_kept_for_its_least_time() {
    let foreign = Written::new(0x8180)
        .record(0, b"\xc0\x0c", CNAME, 300, b"\x01c\xc0\x10")
        .record(0, b"\x01c\xc0\x10", A, 20, &[192, 0, 2, 1])
        .record(1, b"\xc0\x10", 2, 90, b"\x02ns\xc0\x10")
        .record(2, b"\0", OPT, 0, &[])
        .parse()
        .unwrap();
    assert_eq!((foreign.kind(), foreign.keep(), foreign.counts()), (Kind::Answer, Some(20), [2, 1, 0]));
    assert_eq!(&foreign.wire()[..2], [0, 0], "no id");
    assert_eq!(&foreign.wire()[12..25], NAME, "the question as we ask it");
    assert_eq!(&foreign.wire()[29..31], [0xc0, 12], "the owner points to it");
    let oracle = check(&foreign);
    assert_eq!(oracle.answers[1].name.to_string(), "c.exAmple.");
}

#[test]
fn a_denial_is_kept_as_its_soa_allows() {
    let missing = Written::new(0x8183);
    let soa = |ttl, minimum| missing.clone().soa(ttl, minimum).parse().unwrap();
    assert_eq!((soa(60, 5).kind(), soa(60, 5).keep()), (Kind::Missing, Some(5)));
    assert_eq!(soa(4, 500).keep(), Some(4));
    assert_eq!(missing.parse().unwrap().keep(), None, "not without an SOA");
    let nodata = Written::new(0x8180);
    assert_eq!(nodata.clone().soa(60, 5).parse().unwrap().keep(), Some(5));
    let lame = nodata.clone().record(1, b"\0", 2, 90, b"\x01a\0").parse().unwrap();
    assert_eq!((lame.kind(), lame.keep()), (Kind::NoData, None));
    let alias = nodata.record(0, b"\xc0\x0c", CNAME, 3, b"\x01c\xc0\x10");
    assert_eq!(alias.parse().unwrap().keep(), None, "an alias alone, without an SOA");
    let alias = alias.soa(60, 5).parse().unwrap();
    assert_eq!((alias.kind(), alias.keep()), (Kind::NoData, Some(3)));
}

#[test]
fn only_the_answer_to_the_question_is_one() {
    let good = Written::new(0x8180);
    assert!(good.parse().is_ok());
    for (at, value, what) in [
        (2, 0x01, "a query"),
        (2, 0xa8, "another opcode"),
        (13, b'x', "another name"),
        (26, 28, "another type"),
        (28, 3, "another class"),
        (5, 0, "no question"),
        (5, 2, "two questions"),
    ] {
        let mut other = good.clone();
        other.0[at] = value;
        assert_eq!(other.parse().unwrap_err(), Unusable::NotTheAnswer, "{what}");
    }
    for length in 0..good.0.len() {
        assert_eq!(Foreign::parse(&good.0[..length], &question()), Err(Unusable::NotTheAnswer), "{length}");
    }
}

#[test]
fn a_refusal_may_leave_out_the_question() {
    let refusal = Foreign::parse(&[0, 0, 0x81, 5, 0, 0, 0, 0, 0, 0, 0, 0], &question()).unwrap();
    assert_eq!((refusal.kind(), refusal.rcode()), (Kind::Failure, OptRcode::REFUSED));
    assert_eq!(check(&refusal).queries.len(), 1);
    let empty = Foreign::parse(&[0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0], &question());
    assert_eq!(empty, Err(Unusable::NotTheAnswer));
}

#[test]
fn what_is_wrong_in_a_record_is_said() {
    let good = Written::new(0x8180);
    let malformed = |written: Written, what| match written.parse() {
        Err(Unusable::Malformed(_)) => {}
        other => panic!("{what}: {other:?}"),
    };
    malformed(good.clone().record(0, b"\xc0\x0c", A, 1, &[1, 2, 3]), "a short address");
    malformed(good.clone().record(0, b"\xc0\x0c", A, 1, &[1, 2, 3, 4, 5]), "a long address");
    malformed(good.clone().record(0, b"\xc0\x0c", A, 1, &[]), "no address");
    malformed(good.clone().record(0, b"\xc0\x1d", A, 1, &[1, 2, 3, 4]), "a pointer to itself");
    malformed(good.clone().record(0, b"\xc0\x0c", 255, 1, &[1]), "a record of type ANY");
    malformed(good.clone().record(0, b"\0", OPT, 0, &[]), "OPT in the answer section");
    malformed(good.clone().record(2, b"\0", OPT, 0, &[]).record(2, b"\0", OPT, 0, &[]), "two OPT records");
    let mut cut = good.record(0, b"\xc0\x0c", A, 1, &[1, 2, 3, 4]);
    cut.0.pop();
    malformed(cut, "cut short");
}

#[test]
fn a_truncated_message_keeps_what_can_be_read() {
    let whole = Written::new(0x8380).record(0, b"\xc0\x0c", A, 1, &[1, 2, 3, 4]);
    let foreign = whole.parse().unwrap();
    assert_eq!((foreign.kind(), foreign.counts(), foreign.keep()), (Kind::Truncated, [1, 0, 0], None));
    let mut cut = whole;
    cut.0.pop();
    let foreign = cut.parse().unwrap();
    assert_eq!((foreign.kind(), foreign.counts()), (Kind::Truncated, [0, 0, 0]));
    check(&foreign);
}

#[test]
fn opt_brings_the_upper_bits_of_the_code_and_goes() {
    let foreign = Written::new(0x8180)
        .record(2, b"\0", OPT, 1 << 24, &[])
        .record(2, b"\xc0\x10", A, 1 << 31, &[1, 2, 3, 4])
        .parse()
        .unwrap();
    assert_eq!((foreign.rcode(), foreign.kind()), (OptRcode::BADVERS, Kind::Failure));
    assert_eq!(foreign.counts(), [0, 0, 1], "what stands behind OPT stays");
    let at = usize::from(foreign.ttls()[0]);
    assert_eq!(foreign.wire()[at..at + 4], [0; 4], "a time to live with the first bit set is none");
}

#[test]
fn a_name_through_a_time_to_live_is_written_out() {
    // The second owner begins inside the first record's time to live: read there as the label "x".
    let foreign = Written::new(0x8180)
        .record(0, b"\xc0\x0c", A, u32::from_be_bytes([0, 1, b'x', 0]), &[192, 0, 2, 1])
        .record(0, b"\xc0\x24", A, 7, &[192, 0, 2, 2])
        .parse()
        .unwrap();
    let oracle = check(&foreign);
    assert_eq!(oracle.answers[1].name.to_string(), "x.");
}

fn rdata() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let known =
        prop::sample::select(vec![1u16, 2, 5, 6, 12, 13, 15, 16, 28, 33, 35, 39, 43, 46, 47, 48, 52, 64, 65, 257]);
    let name =
        prop::sample::select(vec![&b"\xc0\x0c"[..], b"\xc0\x10", b"\x01a\xc0\x10", b"\0", b"\xc0\x00", b"\xc0\x1f"]);
    prop_oneof![
        (Just(A), vec(any::<u8>(), 4)),
        (Just(28), vec(any::<u8>(), 16)),
        (prop::sample::select(vec![2u16, 5, 12, 39]), name.prop_map(<[u8]>::to_vec)),
        (known, vec(any::<u8>(), 0..40)),
        (any::<u16>(), vec(any::<u8>(), 0..20)),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let owner =
        prop::sample::select(vec![&b"\xc0\x0c"[..], b"\xc0\x10", b"\x01b\xc0\x0c", b"\0", b"\xc0\x21", b"\xc0\x2b"]);
    let records = vec((0usize..3, owner, rdata(), any::<u32>()), 0..6);
    (prop::sample::select(vec![0x8180u16, 0x8183, 0x8182, 0x8380]), records).prop_map(|(flags, mut records)| {
        records.sort_by_key(|record| record.0);
        let start = Written::new(flags);
        records
            .into_iter()
            .fold(start, |to, (section, owner, (rtype, data), ttl)| to.record(section, owner, rtype, ttl, &data))
            .0
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn octets_of_any_kind_are_refused_or_readable(octets in vec(any::<u8>(), 0..200)) {
        if let Ok(foreign) = Foreign::parse(&octets, &question()) {
            check(&foreign);
        }
    }

    #[test]
    fn messages_of_any_kind_are_refused_or_readable(
        mut octets in message(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        for (at, value) in flips {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        if cut {
            octets.truncate(length.index(octets.len()));
        }
        if let Ok(foreign) = Foreign::parse(&octets, &question()) {
            check(&foreign);
        }
    }
}
