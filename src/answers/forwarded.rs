//! An upstream's answer as it is: copied record by record, lifetimes and order apart.
//!
//! Reply and answer are the same up to the end of the question but for capitals, so what is copied stands where it
//! stood, and pointers keep leading to the names they led to.

use domain::base::iana::Rtype;

use super::{
    foreign::{Foreign, Kind},
    message::{Section, Writer},
    order::Order,
    pending::Ageing,
};

/// From a time to live back to its record's type.
const TYPE: usize = 4;
/// From a time to live to its record's data.
const DATA: usize = 6;

/// Copies what there is room for, sections in order. `head` is where the question ends, in both messages.
pub fn copy(
    writer: &mut Writer<'_>,
    foreign: &Foreign,
    head: usize,
    ageing: Ageing,
    random: Option<u64>,
    minimal: bool,
) {
    let ends: Vec<usize> = foreign.ttls().iter().map(|&ttl| end(foreign.wire(), ttl.into())).collect();
    let counts = foreign.counts().map(usize::from);
    let mut record = 0;
    for (section, count) in [Section::Answer, Section::Authority, Section::Additional].into_iter().zip(counts) {
        if minimal && section != Section::Answer && foreign.kind() == Kind::Answer {
            break;
        }
        writer.section(section);
        let last = record + count;
        while record < last {
            let start = if record == 0 { head } else { ends[record - 1] };
            let run = run(foreign, &ends[..last], record, start);
            let octets = ends[record] - start;
            for index in Order::new(run, random) {
                let from = start + index * octets;
                let Some(octets) = foreign.wire().get(from..from + octets) else { return };
                let ttl = usize::from(foreign.ttls()[record + index]) - from;
                if !writer.copy(octets, ttl, |ttl| ageing.left(ttl)) {
                    return;
                }
            }
            record += run;
        }
    }
    if foreign.kind() == Kind::Truncated {
        writer.truncate();
    }
}

/// How many records from `first` on are addresses of one name and family, which may come in any order: at least one.
/// Their owners are pointers, so no other name leads into them.
fn run(foreign: &Foreign, ends: &[usize], first: usize, start: usize) -> usize {
    let wire = foreign.wire();
    let head = |start: usize, record: usize| -> Option<&[u8]> {
        let ttl = usize::from(foreign.ttls()[record]);
        (ttl - TYPE == start + 2).then(|| wire.get(start..ttl)).flatten()
    };
    let Some(own) = head(start, first) else { return 1 };
    let octets = ends[first] - start;
    let address = match own[2..4] {
        [0, 1] => octets == 16,
        [0, 28] => octets == 28,
        _ => false,
    };
    debug_assert_eq!((Rtype::A.to_int(), Rtype::AAAA.to_int()), (1, 28));
    if !address {
        return 1;
    }
    let others = (first + 1..ends.len()).take_while(|&record| {
        let start = ends[record - 1];
        head(start, record) == Some(own) && ends[record] - start == octets
    });
    1 + others.count()
}

/// Where the record with this time to live ends.
fn end(wire: &[u8], ttl: usize) -> usize {
    let length = wire.get(ttl + 4..ttl + DATA).map_or(0, |length| u16::from_be_bytes([length[0], length[1]]).into());
    ttl + DATA + length
}
