//! A query, read in place: nothing is allocated, no pointer is followed (1.11).
//!
//! Faults come in three kinds. Some messages are not answered at all, some get a header alone because there is no
//! question to give back, and the rest is a [`Query`] with a [`fault`](Query::fault).

use domain::base::iana::{Class, Opcode, OptRcode, OptionCode, Rcode, Rtype};

use super::name::{LowerName, name_end};

/// Octets of the header.
pub const HEADER: usize = 12;

/// Why there is no [`Query`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// Not a query: silence. An answer to an answer could go back and forth for ever.
    Drop,
    /// A header with this code and nothing else
    Header(Rcode),
}

/// A query whose question could be read.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    message: &'a [u8],
    question_end: usize,
    /// The name asked for, lower case
    pub name: LowerName,
    /// The type asked for
    pub qtype: Rtype,
    /// The class asked for
    pub qclass: Class,
    /// What the client's OPT record says; none without one
    pub edns: Option<Edns<'a>>,
    /// The query must be answered with this code: FORMERR, BADVERS, or REFUSED for transfers
    pub fault: Option<OptRcode>,
}

/// A client's OPT record (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// Largest UDP answer it takes, in octets; at least 512
    pub size: u16,
    /// Version of EDNS
    pub version: u8,
    /// It wants signatures (RFC 3225)
    pub dnssec_ok: bool,
    options: &'a [u8],
}

/// What is asked, apart from who asks: equal questions have equal answers. What the cache and the merging of equal
/// queries go by (2.2, 2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// In wire form, lower case
    pub name: Box<[u8]>,
    /// Type
    pub qtype: Rtype,
    /// Class
    pub qclass: Class,
    /// Signatures are wanted
    pub dnssec_ok: bool,
    /// Upstream is not to check signatures
    pub checking_disabled: bool,
}

impl<'a> Query<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// With what to do instead of looking for an answer.
    pub fn parse(message: &'a [u8]) -> Result<Self, Early> {
        let Some(header) = message.first_chunk::<HEADER>() else { return Err(Early::Drop) };
        if header[2] & 0x80 != 0 {
            return Err(Early::Drop);
        }
        if header[2] & 0x78 != Opcode::QUERY.to_int() << 3 {
            return Err(Early::Header(Rcode::NOTIMP));
        }
        let formerr = Early::Header(Rcode::FORMERR);
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if count(4) != 1 {
            return Err(formerr);
        }
        let end = name_end(message, HEADER).ok_or(formerr)?;
        let name = LowerName::new(&message[HEADER..end]).ok_or(formerr)?;
        let Some(&[a, b, c, d]) = message.get(end..).and_then(|rest| rest.first_chunk()) else { return Err(formerr) };
        let mut query = Self {
            message,
            question_end: end + 4,
            name,
            qtype: Rtype::from_int(u16::from_be_bytes([a, b])),
            qclass: Class::from_int(u16::from_be_bytes([c, d])),
            edns: None,
            fault: None,
        };
        query.read_rest(count(6), count(8), count(10)).ok_or(formerr)?;
        Ok(query)
    }

    /// The records after the question. Nothing if the message is cut.
    fn read_rest(&mut self, answers: u16, authority: u16, additional: u16) -> Option<()> {
        let transfer = matches!(self.qtype, Rtype::IXFR | Rtype::AXFR);
        if answers > 0 || (authority > 0 && self.qtype != Rtype::IXFR) {
            self.fault = Some(OptRcode::FORMERR);
        }
        let mut at = self.question_end;
        for record in 0..u32::from(answers) + u32::from(authority) + u32::from(additional) {
            let owner = at;
            at = skip_name(self.message, at)?;
            let fixed: &[u8; 10] = self.message.get(at..)?.first_chunk()?;
            let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            let data = self.message.get(at + 10..at + 10 + length)?;
            if Rtype::from_int(u16::from_be_bytes([fixed[0], fixed[1]])) == Rtype::OPT {
                let misplaced = record < u32::from(answers) + u32::from(authority);
                let odd_owner = at != owner + 1;
                if self.edns.is_some() || misplaced || odd_owner {
                    self.fault = Some(OptRcode::FORMERR);
                }
                let edns = Edns::new(fixed, data);
                if edns.version == 0 && !edns.options_are_sound() {
                    self.fault = Some(OptRcode::FORMERR);
                }
                self.edns.get_or_insert(edns);
            }
            at += 10 + length;
        }
        if self.fault.is_none() && self.edns.is_some_and(|edns| edns.version > 0) {
            self.fault = Some(OptRcode::BADVERS);
        }
        if self.fault.is_none() && transfer {
            self.fault = Some(OptRcode::REFUSED);
        }
        Some(())
    }

    /// Header and question, as they were sent.
    pub fn head(&self) -> &'a [u8] {
        &self.message[..self.question_end]
    }

    /// The question's name as it was sent, in wire form.
    pub fn sent_name(&self) -> &'a [u8] {
        &self.message[HEADER..self.question_end - 4]
    }

    /// RD: the client wants us to ask others.
    pub fn recursion_desired(&self) -> bool {
        self.message[2] & 0x01 != 0
    }

    /// CD: upstream is not to check signatures.
    pub fn checking_disabled(&self) -> bool {
        self.message[3] & 0x10 != 0
    }

    /// The question on its own.
    pub fn question(&self) -> Question {
        Question {
            name: self.name.as_ref().into(),
            qtype: self.qtype,
            qclass: self.qclass,
            dnssec_ok: self.edns.is_some_and(|edns| edns.dnssec_ok),
            checking_disabled: self.checking_disabled(),
        }
    }
}

impl<'a> Edns<'a> {
    /// From what follows the owner of the record up to the length of its data, and the data.
    fn new(fixed: &[u8; 10], options: &'a [u8]) -> Self {
        Self {
            size: u16::from_be_bytes([fixed[2], fixed[3]]).max(512),
            version: fixed[5],
            dnssec_ok: fixed[6] & 0x80 != 0,
            options,
        }
    }

    /// The options: code and data, up to the first that is cut.
    pub fn options(&self) -> impl Iterator<Item = (OptionCode, &'a [u8])> + use<'a> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            let (&[a, b, c, d], after) = rest.split_first_chunk()?;
            let (data, after) = after.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
            rest = after;
            Some((OptionCode::from_int(u16::from_be_bytes([a, b])), data))
        })
    }

    /// The data of an option; none if it was not sent.
    pub fn option(&self, code: OptionCode) -> Option<&'a [u8]> {
        self.options().find(|(found, _)| *found == code).map(|(_, data)| data)
    }

    /// Every option is whole, and a cookie has 8 octets, or 16 to 40 with the server's (RFC 7873, 4).
    fn options_are_sound(&self) -> bool {
        let mut read = 0;
        for (code, data) in self.options() {
            read += 4 + data.len();
            if code == OptionCode::COOKIE && !matches!(data.len(), 8 | 16..=40) {
                return false;
            }
        }
        read == self.options.len()
    }
}

/// Where a record's owner ends; a pointer ends it and is not followed. Nothing if it is cut or has a reserved label.
fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=63 => at += length + 1,
            0xc0.. => return (at + 2 <= message.len()).then_some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tail` behind the question `Web. A IN`, with the counts of the other sections.
    fn message(flags: [u8; 2], counts: [u8; 4], tail: &[u8]) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, flags[0], flags[1]];
        message.extend(counts.iter().flat_map(|&count| [0, count]));
        message.extend(b"\x03Web\0\0\x01\0\x01");
        message.extend(tail);
        message
    }

    fn opt(size: u16, version: u8, options: &[u8]) -> Vec<u8> {
        let mut opt = vec![0, 0, 41];
        opt.extend(size.to_be_bytes());
        opt.extend([0, version, 0x80, 0]);
        opt.extend((options.len() as u16).to_be_bytes());
        opt.extend(options);
        opt
    }

    fn fault(counts: [u8; 4], tail: &[u8]) -> Option<OptRcode> {
        Query::parse(&message([1, 0], counts, tail)).expect("a query").fault
    }

    #[test]
    fn a_query_is_read() {
        let bytes = message([1, 0x10], [1, 0, 0, 1], &opt(4096, 0, b"\0\x0a\0\x0812345678"));
        let query = Query::parse(&bytes).expect("a query");
        assert_eq!(&*query.name, b"\x03web\0");
        assert_eq!(query.sent_name(), b"\x03Web\0");
        assert_eq!(query.head().len(), 12 + 9);
        assert_eq!((query.qtype, query.qclass, query.fault), (Rtype::A, Class::IN, None));
        assert!(query.recursion_desired() && query.checking_disabled());
        let edns = query.edns.expect("an OPT record");
        assert_eq!((edns.size, edns.version, edns.dnssec_ok), (4096, 0, true));
        assert_eq!(edns.option(OptionCode::COOKIE), Some(&b"12345678"[..]));
        assert_eq!(query.question().name.as_ref(), b"\x03web\0");
    }

    #[test]
    fn what_is_no_query_is_dropped() {
        let response = message([0x81, 0], [1, 0, 0, 0], b"");
        assert_eq!(Query::parse(&response).err(), Some(Early::Drop));
        assert_eq!(Query::parse(&response[..11]).err(), Some(Early::Drop));
        assert_eq!(Query::parse(b"").err(), Some(Early::Drop));
    }

    #[test]
    fn without_a_question_there_is_only_a_header() {
        let early = |flags, counts, tail: &[u8]| Query::parse(&message(flags, counts, tail)).err();
        // NOTIFY and UPDATE
        assert_eq!(early([0x21, 0], [1, 0, 0, 0], b""), Some(Early::Header(Rcode::NOTIMP)));
        assert_eq!(early([0x29, 0], [0, 0, 0, 0], b""), Some(Early::Header(Rcode::NOTIMP)));
        let formerr = Some(Early::Header(Rcode::FORMERR));
        assert_eq!(early([1, 0], [0, 0, 0, 0], b""), formerr);
        assert_eq!(early([1, 0], [2, 0, 0, 0], b"\x03Web\0\0\x01\0\x01"), formerr);
        // An additional record that is not there, one that is cut, and one with a reserved label
        assert_eq!(early([1, 0], [1, 0, 0, 1], b""), formerr);
        assert_eq!(early([1, 0], [1, 0, 0, 1], &opt(512, 0, b"1234")[..13]), formerr);
        assert_eq!(early([1, 0], [1, 0, 0, 1], b"\x80a\0\0\x01\0\x01\0\0\0\0\0\0"), formerr);
        let mut cut = message([1, 0], [1, 0, 0, 0], b"");
        cut.pop();
        assert_eq!(Query::parse(&cut).err(), formerr);
        let mut pointer = message([1, 0], [1, 0, 0, 0], b"");
        pointer.splice(12..17, [0xc0, 0x0c]);
        assert_eq!(Query::parse(&pointer).err(), formerr);
    }

    #[test]
    fn records_where_none_belong_are_an_error() {
        let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04";
        assert_eq!(fault([1, 1, 0, 0], record), Some(OptRcode::FORMERR));
        assert_eq!(fault([1, 0, 1, 0], record), Some(OptRcode::FORMERR));
        assert_eq!(fault([1, 0, 0, 1], record), None);
    }

    #[test]
    fn transfers_are_refused() {
        let mut bytes = message([0, 0], [1, 0, 0, 0], b"");
        for (qtype, wanted) in [(252, OptRcode::REFUSED), (251, OptRcode::REFUSED)] {
            bytes[18] = qtype;
            assert_eq!(Query::parse(&bytes).expect("a query").fault, Some(wanted));
        }
        // IXFR says with a SOA which version it has.
        let mut ixfr = message([0, 0], [1, 0, 1, 0], b"\xc0\x0c\0\x06\0\x01\0\0\0\x05\0\x00");
        ixfr[18] = 251;
        assert_eq!(Query::parse(&ixfr).expect("a query").fault, Some(OptRcode::REFUSED));
    }

    #[test]
    fn opt_records_are_checked() {
        let one = |tail: &[u8]| fault([1, 0, 0, 1], tail);
        assert_eq!(one(&opt(1232, 0, b"")), None);
        assert_eq!(one(&opt(1232, 1, b"")), Some(OptRcode::BADVERS));
        assert_eq!(fault([1, 0, 0, 2], &opt(1232, 0, b"").repeat(2)), Some(OptRcode::FORMERR));
        let mut owner = opt(1232, 0, b"");
        owner.splice(0..1, *b"\x01x\0");
        assert_eq!(one(&owner), Some(OptRcode::FORMERR));
        owner.splice(0..3, [0xc0, 0x10]);
        assert_eq!(one(&owner), Some(OptRcode::FORMERR));
        for (length, wanted) in
            [(0, true), (7, true), (8, false), (9, true), (15, true), (16, false), (40, false), (41, true)]
        {
            let mut cookie = vec![0, 10, 0, length];
            cookie.extend(std::iter::repeat_n(1, usize::from(length)));
            assert_eq!(one(&opt(1232, 0, &cookie)).is_some(), wanted, "a cookie of {length} octets");
        }
        // An option that says it is longer than the record, and half of an option's head
        assert_eq!(one(&opt(1232, 0, b"\0\x03\0\x09")), Some(OptRcode::FORMERR));
        assert_eq!(one(&opt(1232, 0, b"\0\x03\0")), Some(OptRcode::FORMERR));
        assert_eq!(one(&opt(1232, 0, b"\xfd\xe9\0\x01x")), None);
        let bytes = message([1, 0], [1, 0, 0, 1], &opt(100, 0, b""));
        assert_eq!(Query::parse(&bytes).expect("a query").edns.expect("an OPT record").size, 512);
    }
}
