//! Queries as they are sent upstream, and the mark by which a query that comes back is known.

use std::fmt;

use domain::base::iana::OptionCode;

use crate::answers::query::{Edns, HEADER, Question};

/// The EDNS option that names the process a query came from: one of those for local use (RFC 6891, 9).
pub const HOP: OptionCode = OptionCode::from_int(65_431);
/// Largest datagram that upstreams may send, in octets: passes every network unfragmented.
pub const UDP_SIZE: u16 = 1232;

const RECURSION_DESIRED: u16 = 0x0100;
const CHECKING_DISABLED: u16 = 0x0010;
const DNSSEC_OK: u16 = 0x8000;
const OPT: u16 = 41;

/// Names this process in queries that it sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hop([u8; 8]);

impl Hop {
    /// A name that no other process has.
    pub fn new() -> Self {
        Self(rand::random())
    }

    /// Whether a query was sent by this process: answer it with silence, or it goes round for ever (2.4).
    pub fn is_in(&self, edns: &Edns<'_>) -> bool {
        edns.option(HOP) == Some(&self.0)
    }
}

impl Default for Hop {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hop")
    }
}

/// What goes into the OPT record of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    /// There is none: the upstream does not take it
    None,
    /// Ours, without a name: the query is meant to be seen again
    Nameless,
    /// Ours
    Named(Hop),
}

/// The octets of a query, with the id zero.
pub fn write(question: &Question, recursive: bool, opt: Opt) -> Vec<u8> {
    let mut octets = Vec::with_capacity(HEADER + question.name.len() + 4 + 11 + 12);
    let mut flags = 0;
    if recursive {
        flags |= RECURSION_DESIRED;
    }
    if question.checking_disabled {
        flags |= CHECKING_DISABLED;
    }
    for field in [0, flags, 1, 0, 0, u16::from(opt != Opt::None)] {
        octets.extend(field.to_be_bytes());
    }
    octets.extend(&*question.name);
    octets.extend(question.qtype.to_int().to_be_bytes());
    octets.extend(question.qclass.to_int().to_be_bytes());
    let option = match opt {
        Opt::None => return octets,
        Opt::Nameless => None,
        Opt::Named(hop) => Some(hop.0),
    };
    octets.push(0);
    for field in [OPT, UDP_SIZE, 0, if question.dnssec_ok { DNSSEC_OK } else { 0 }] {
        octets.extend(field.to_be_bytes());
    }
    match option {
        None => octets.extend([0, 0]),
        Some(id) => {
            for field in [4 + id.len() as u16, HOP.to_int(), id.len() as u16] {
                octets.extend(field.to_be_bytes());
            }
            octets.extend(id);
        }
    }
    octets
}

/// Puts an id into a message.
pub fn set_id(octets: &mut [u8], id: u16) {
    if let Some(field) = octets.first_chunk_mut() {
        *field = id.to_be_bytes();
    }
}

/// The id of a message.
pub fn id(octets: &[u8]) -> Option<u16> {
    octets.first_chunk().map(|field| u16::from_be_bytes(*field))
}

#[cfg(test)]
mod tests {
    use domain::base::{Rtype, iana::Class};

    use super::*;
    use crate::answers::query::Query;

    #[test]
    fn a_query_of_ours_is_known_by_its_mark() {
        let question = Question {
            name: b"\x01a\0".as_slice().into(),
            qtype: Rtype::A,
            qclass: Class::IN,
            dnssec_ok: true,
            checking_disabled: true,
        };
        let (ours, other) = (Hop::new(), Hop::new());
        let octets = write(&question, true, Opt::Named(ours));
        let query = Query::parse(&octets).unwrap();
        assert_eq!(query.question(), question);
        let edns = query.edns.unwrap();
        assert_eq!((edns.size, edns.version), (UDP_SIZE, 0));
        assert!(ours.is_in(&edns) && !other.is_in(&edns));
        let octets = write(&question, true, Opt::Nameless);
        assert!(!ours.is_in(&Query::parse(&octets).unwrap().edns.unwrap()));
        let octets = write(&question, true, Opt::None);
        assert!(Query::parse(&octets).unwrap().edns.is_none());
    }
}
