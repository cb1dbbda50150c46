//! Messages that others wrote: an upstream's answer, checked and made anew.
//!
//! Nothing of an upstream's message is passed on as it came. Every record is read by type and written again, so that
//! what clients get is well-formed whoever sent it: no pointer leads into the header, into a time to live or behind the
//! message, and nothing is left of its OPT record, which spoke to us alone (7.4).

use std::fmt;

use domain::{
    base::{
        Message, MessageBuilder, Name, ParsedName, Record, RecordHeader, Rtype, ToName, Ttl,
        iana::{Opcode, OptRcode, Rcode},
        message_builder::{PushError, RecordSectionBuilder, TreeCompressor},
        wire::ParseError,
    },
    dep::octseq::Parser,
    rdata::AllRecordData,
};

use super::query::{HEADER, Question};

/// Octets between a record's owner and its time to live: type and class.
const BEFORE_TTL: usize = 4;

/// What an upstream said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records of the type asked for
    Answer,
    /// The name exists and has no such record; or, without an SOA, somebody who does not know
    NoData,
    /// No such name
    Missing,
    /// Something is left out: the whole is to be had over TCP
    Truncated,
    /// Neither an answer nor a denial: SERVFAIL, REFUSED and all others
    Failure,
}

/// An upstream's message: well-formed, with header (its id is zero), the question as it was asked, and no OPT record.
/// A name that points to the question may be put behind another spelling of it: the length stays.
#[derive(Clone, PartialEq, Eq)]
pub struct Foreign {
    wire: Box<[u8]>,
    ttls: Box<[u16]>,
    rcode: OptRcode,
    kind: Kind,
    keep: Option<u32>,
}

/// Why a message is no answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not an answer, or the answer to something else: wait for the right one (2.2)
    #[error("not an answer to this question")]
    NotTheAnswer,
    /// The answer, and it cannot be read
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
}

impl Unusable {
    fn pushed(_: PushError) -> Self {
        Self::Malformed("it is too long")
    }
}

impl From<ParseError> for Unusable {
    fn from(error: ParseError) -> Self {
        Self::Malformed(match error {
            ParseError::ShortInput => "it is cut short",
            ParseError::Form(_) => "a record is not what its type says",
        })
    }
}

type ForeignName<'a> = ParsedName<&'a [u8]>;
type ForeignRecord<'a> = Record<ForeignName<'a>, AllRecordData<&'a [u8], ForeignName<'a>>>;

impl Foreign {
    /// Reads an upstream's message. The id is for the caller to compare.
    ///
    /// # Errors
    ///
    /// If it is not the answer to this question, or if it is and cannot be used.
    pub fn parse(octets: &[u8], question: &Question) -> Result<Self, Unusable> {
        let message = Message::from_octets(octets).map_err(|_| Unusable::NotTheAnswer)?;
        let header = message.header();
        if !header.qr() || header.opcode() != Opcode::QUERY || !asks(octets, message, question) {
            return Err(Unusable::NotTheAnswer);
        }
        match Reading::sections(message, question) {
            Ok(reading) => reading.finish(message, question),
            // What fits into a datagram may end in the middle of a record.
            Err(_) if header.tc() => Reading::default().finish(message, question),
            Err(error) => Err(error),
        }
    }

    /// The message. Its header has the upstream's flags.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Where in [`wire`](Self::wire) the four octets of each record's time to live are, in the order of the records.
    pub fn ttls(&self) -> &[u16] {
        &self.ttls
    }

    /// The code, with the upper bits that an OPT record brings.
    pub fn rcode(&self) -> OptRcode {
        self.rcode
    }

    /// What the upstream said.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Seconds that it may be kept: the least time to live for an answer, what the SOA allows for a denial (RFC 2308,
    /// section 5). Nothing for failures, truncated messages and denials without an SOA.
    pub fn keep(&self) -> Option<u32> {
        self.keep
    }

    /// Records in answer, authority and additional section.
    pub fn counts(&self) -> [u16; 3] {
        [6, 8, 10].map(|at| u16::from_be_bytes([self.wire[at], self.wire[at + 1]]))
    }

    /// The same with other times to live, and `keep` changed alike.
    pub fn with_ttls(&self, change: impl Fn(u32) -> u32) -> Self {
        let mut changed = self.clone();
        for &at in &*self.ttls {
            if let Some(field) = changed.wire.get_mut(usize::from(at)..).and_then(<[u8]>::first_chunk_mut) {
                *field = change(u32::from_be_bytes(*field)).to_be_bytes();
            }
        }
        changed.keep = self.keep.map(change);
        changed
    }

    /// Octets that it takes in memory.
    pub fn octets(&self) -> usize {
        size_of::<Self>() + self.wire.len() + size_of_val(&*self.ttls)
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [answer, authority, additional] = self.counts();
        write!(f, "{:?} {} {answer}/{authority}/{additional} keep {:?}", self.kind, self.rcode, self.keep)
    }
}

/// Whether a message repeats the question. Some servers leave it out when they refuse.
fn asks(octets: &[u8], message: Message<&[u8]>, question: &Question) -> bool {
    match message.header_counts().qdcount() {
        0 => {
            octets.len() == HEADER
                && message.header_counts().ancount() == 0
                && !matches!(message.header().rcode(), Rcode::NOERROR | Rcode::NXDOMAIN)
        }
        1 => {
            let end = HEADER + question.name.len();
            octets.get(HEADER..end).is_some_and(|name| name.eq_ignore_ascii_case(&question.name))
                && octets.get(end..end + 2) == Some(&question.qtype.to_int().to_be_bytes())
                && octets.get(end + 2..end + 4) == Some(&question.qclass.to_int().to_be_bytes())
        }
        _ => false,
    }
}

/// The records of a message, read.
#[derive(Default)]
struct Reading<'a> {
    sections: [Vec<ForeignRecord<'a>>; 3],
    /// Upper bits of the code, from the OPT record
    upper: u8,
    /// The answer section has the type asked for
    answered: bool,
    /// Least time to live of all records
    least: Option<u32>,
    /// What the SOA in the authority section allows (RFC 2308)
    negative: Option<u32>,
}

impl<'a> Reading<'a> {
    fn sections(message: Message<&'a [u8]>, question: &Question) -> Result<Self, Unusable> {
        let counts = message.header_counts();
        let mut reading = Self::default();
        if counts.qdcount() == 0 {
            return Ok(reading);
        }
        let mut parser = Parser::from_ref(*message.as_octets());
        parser.advance(HEADER + question.name.len() + 4).map_err(ParseError::from)?;
        let mut opt = false;
        for (section, count) in [counts.ancount(), counts.nscount(), counts.arcount()].into_iter().enumerate() {
            for _ in 0..count {
                let header = RecordHeader::parse_ref(&mut parser)?;
                let is_additional = section == 2;
                match header.rtype() {
                    Rtype::OPT if is_additional && !opt => {
                        opt = true;
                        // RFC 6891, 6.1.3: the first octet of the field is the upper part of the code.
                        reading.upper = (header.ttl().as_secs() >> 24) as u8;
                        parser.advance(usize::from(header.rdlen())).map_err(ParseError::from)?;
                    }
                    // Signs the message that we take apart here.
                    Rtype::TSIG | Rtype::SIG if is_additional => {
                        parser.advance(usize::from(header.rdlen())).map_err(ParseError::from)?;
                    }
                    rtype if !is_data(rtype) => return Err(Unusable::Malformed("a record has a type of queries")),
                    _ if header.class() != question.qclass => {
                        return Err(Unusable::Malformed("a record has another class"));
                    }
                    // Such a record has nothing to say, and is an error for readers that expect its type's fields.
                    _ if header.rdlen() == 0 => return Err(Unusable::Malformed("a record has no data")),
                    _ => reading.take(section, header.parse_into_any_record(&mut parser)?, question.qtype),
                }
            }
        }
        Ok(reading)
    }

    fn take(&mut self, section: usize, mut record: ForeignRecord<'a>, asked: Rtype) {
        // RFC 2181, section 8: the first bit is not to be set; if it is, the value is zero.
        if record.ttl().as_secs() > i32::MAX as u32 {
            record.set_ttl(Ttl::ZERO);
        }
        let ttl = record.ttl().as_secs();
        self.least = Some(self.least.map_or(ttl, |least| least.min(ttl)));
        match (section, record.data()) {
            (0, _) => self.answered |= record.rtype() == asked || asked == Rtype::ANY,
            (1, AllRecordData::Soa(soa)) => {
                let allowed = ttl.min(soa.minimum().as_secs());
                self.negative = Some(self.negative.map_or(allowed, |least| least.min(allowed)));
            }
            _ => {}
        }
        self.sections[section].push(record);
    }

    fn finish(self, message: Message<&[u8]>, question: &Question) -> Result<Foreign, Unusable> {
        let header = message.header();
        let rcode = OptRcode::from_parts(header.rcode(), self.upper);
        let kind = match rcode {
            _ if header.tc() => Kind::Truncated,
            OptRcode::NOERROR if self.answered => Kind::Answer,
            OptRcode::NOERROR => Kind::NoData,
            OptRcode::NXDOMAIN => Kind::Missing,
            _ => Kind::Failure,
        };
        let least = self.least;
        let keep = match kind {
            Kind::Answer => least,
            // An alias in front of the denial ends with the shortest of both.
            Kind::NoData | Kind::Missing => {
                self.negative.map(|allowed| least.map_or(allowed, |least| least.min(allowed)))
            }
            Kind::Truncated | Kind::Failure => None,
        };
        let wire = self.write(message, question)?;
        let ttls = ttl_places(&wire, HEADER + question.name.len() + 4)?;
        Ok(Foreign { wire, ttls, rcode, kind, keep })
    }

    fn write(self, message: Message<&[u8]>, question: &Question) -> Result<Box<[u8]>, Unusable> {
        let mut builder =
            MessageBuilder::from_target(TreeCompressor::new(Vec::with_capacity(message.as_slice().len())))
                .map_err(|_| Unusable::Malformed("there is no room for it"))?;
        builder.set_push_limit(usize::from(u16::MAX));
        *builder.header_mut() = message.header();
        builder.header_mut().set_id(0);
        let mut builder = builder.question();
        let name = Name::from_slice(&question.name).map_err(|_| Unusable::NotTheAnswer)?;
        builder.push((name, question.qtype, question.qclass)).map_err(Unusable::pushed)?;
        let [answer, authority, additional] = self.sections;
        let mut builder = builder.answer();
        push_all(&mut builder, answer, name)?;
        let mut builder = builder.authority();
        push_all(&mut builder, authority, name)?;
        let mut builder = builder.additional();
        push_all(&mut builder, additional, name)?;
        Ok(builder.finish().into_target().into_boxed_slice())
    }
}

type Target = TreeCompressor<Vec<u8>>;

/// Writes the records of a section. Owners that are the name asked for point to the question, however they were spelt.
fn push_all(
    builder: &mut impl RecordSectionBuilder<Target>,
    records: Vec<ForeignRecord<'_>>,
    asked: &Name<[u8]>,
) -> Result<(), Unusable> {
    for record in records {
        let pushed = if record.owner().name_eq(asked) {
            builder.push((asked, record.class(), record.ttl(), record.data()))
        } else {
            builder.push(record)
        };
        pushed.map_err(Unusable::pushed)?;
    }
    Ok(())
}

/// Whether records of a type hold data, and are not a word of queries and transports (RFC 6895, 3.1).
fn is_data(rtype: Rtype) -> bool {
    !matches!(rtype.to_int(), 0 | 24 | 41 | 128..=255)
}

/// Where the times to live are in a message of ours whose question ends at `at`.
fn ttl_places(wire: &[u8], mut at: usize) -> Result<Box<[u16]>, Unusable> {
    let mut places = Vec::new();
    while at < wire.len() {
        at = owner_end(wire, at).ok_or(Unusable::Malformed("a name has no end"))? + BEFORE_TTL;
        let length = wire.get(at + 4..at + 6).ok_or(ParseError::ShortInput)?;
        places.push(u16::try_from(at).map_err(|_| Unusable::Malformed("it is too long"))?);
        at += 6 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
    Ok(places.into_boxed_slice())
}

/// Where the name at `at` ends, which may end in a pointer.
fn owner_end(wire: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *wire.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests;
