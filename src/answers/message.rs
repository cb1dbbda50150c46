//! Writing a reply into a buffer: whole records up to the limit, the OPT record's place kept free (1.11, 1.12).

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::iana::{Class, ExtendedErrorCode, OptRcode, OptionCode, Rcode, Rtype};

use super::{
    Transport,
    name::relative_to,
    query::{HEADER, Query},
};

/// Size that our OPT records tell.
const OWN_SIZE: u16 = 1232;
/// Idle time of a TCP connection in units of 100 ms, told to who asks for it (RFC 7828; 1.12).
const KEEPALIVE: u16 = 100;
/// Owner: the name in the question.
pub const QUESTION: u16 = HEADER as u16;

/// An extended error (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ede {
    /// Code
    pub code: ExtendedErrorCode,
    /// For people; may be empty
    pub text: &'static str,
}

/// The parts of a reply that depend on who asked and how.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Header and question as they were sent
    pub head: &'a [u8],
    /// Largest reply in octets
    pub limit: usize,
    /// RA: this server asks others
    pub recursion_available: bool,
    /// The reply gets an OPT record
    pub edns: Option<ReplyEdns<'a>>,
}

/// What goes into the reply's OPT record.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyEdns<'a> {
    /// DO, as the client set it
    pub dnssec_ok: bool,
    /// Our identity (RFC 5001)
    pub nsid: Option<&'a [u8]>,
    /// The client asked how long it may keep its connection
    pub keepalive: bool,
}

impl<'a> Envelope<'a> {
    /// For the reply to a query. `bufsize` is the largest UDP reply that we send, `nsid` what we are called.
    pub fn new(query: &Query<'a>, transport: Transport, bufsize: u16, ra: bool, nsid: Option<&'a [u8]>) -> Self {
        let limit = match (transport, query.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => 512,
            (Transport::Udp, Some(edns)) => edns.size.min(bufsize.max(512)),
        };
        let edns = query.edns.map(|edns| ReplyEdns {
            dnssec_ok: edns.dnssec_ok,
            nsid: nsid.filter(|_| edns.option(OptionCode::NSID).is_some()),
            keepalive: transport == Transport::Tcp && edns.option(OptionCode::TCP_KEEPALIVE).is_some(),
        });
        Self { head: query.head(), limit: limit.into(), recursion_available: ra, edns }
    }
}

impl ReplyEdns<'_> {
    fn octets(&self, ede: Option<Ede>) -> usize {
        11 + self.nsid.map_or(0, |id| 4 + id.len())
            + if self.keepalive { 6 } else { 0 }
            + ede.map_or(0, |ede| 6 + ede.text.len())
    }
}

/// The sections that records go to, in the order of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// What was asked for
    Answer,
    /// Who says so
    Authority,
    /// What else helps
    Additional,
}

/// Whose record it is.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The name that stands at an offset of the message
    At(u16),
    /// This one, in wire form
    Name(&'a [u8]),
}

/// A reply being written.
pub struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
    limit: usize,
    /// Where the question ends
    head: usize,
    section: Section,
    /// Class of the records
    class: Class,
    counts: [u16; 3],
    truncated: bool,
    /// Additional records that are left out count as well
    additional_counts: bool,
    ede: Option<Ede>,
}

impl<'o> Writer<'o> {
    /// Begins with header and question. `out` must have place for these and the OPT record: 512 octets always do.
    pub fn new(envelope: &Envelope<'_>, ede: Option<Ede>, out: &'o mut [u8]) -> Self {
        let limit = envelope.limit.min(out.len());
        let limit = limit - limit.min(envelope.edns.map_or(0, |edns| edns.octets(ede)));
        let head = envelope.head.len().min(out.len());
        out[..head].copy_from_slice(&envelope.head[..head]);
        Self {
            out,
            at: head,
            limit,
            head,
            section: Section::Answer,
            class: Class::IN,
            counts: [0; 3],
            truncated: false,
            additional_counts: false,
            ede,
        }
    }

    /// Records are of this class from now on.
    pub fn class(&mut self, class: Class) {
        self.class = class;
    }

    /// What comes next belongs to this section. Sections cannot be gone back to.
    pub fn section(&mut self, section: Section) {
        debug_assert!(section >= self.section);
        self.section = section;
    }

    /// Whether TC is set for additional records that were left out, too (delta 12).
    pub fn count_additional(&mut self, counts: bool) {
        self.additional_counts = counts;
    }

    /// TC is set whatever comes: what the reply is made from was truncated.
    pub fn truncate(&mut self) {
        self.truncated = true;
    }

    /// A record was left out that the reply is not complete without (delta 12).
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Records in the present section.
    pub fn count(&self) -> u16 {
        self.counts[self.section as usize]
    }

    /// What was written so far.
    pub fn written(&self) -> &[u8] {
        &self.out[..self.at]
    }

    /// Where the next octet goes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// An owner as short as possible: the question or its end where it is spelled the same, the whole name elsewhere.
    /// Names other than the question's are lower case (1.11).
    pub fn owner<'a>(&self, name: &'a [u8]) -> Owner<'a> {
        match relative_to(&self.out[HEADER..self.head - 4], name) {
            Some(left) if name.len() > 1 => Owner::At(QUESTION + left.len() as u16),
            _ => Owner::Name(name),
        }
    }

    /// One record; `data` writes what stands behind its length, and says whether there was room. A record is written
    /// whole or not at all. After one was left out no other follows, as whoever counts must not take a part for the
    /// whole.
    pub fn record(
        &mut self,
        owner: Owner<'_>,
        rtype: Rtype,
        ttl: u32,
        data: impl FnOnce(&mut Self) -> Option<()>,
    ) -> bool {
        let before = self.at;
        if self.truncated || self.try_record(owner, rtype, ttl, data).is_none() {
            self.at = before;
            self.truncated |= self.additional_counts || self.section != Section::Additional;
            return false;
        }
        self.counts[self.section as usize] += 1;
        true
    }

    fn try_record(
        &mut self,
        owner: Owner<'_>,
        rtype: Rtype,
        ttl: u32,
        data: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.name(owner)?;
        self.put(&rtype.to_int().to_be_bytes())?;
        self.put(&self.class.to_int().to_be_bytes())?;
        self.put(&ttl.to_be_bytes())?;
        let length = self.at;
        self.put(&[0, 0])?;
        data(self)?;
        let octets = u16::try_from(self.at - length - 2).ok()?;
        self.out[length..length + 2].copy_from_slice(&octets.to_be_bytes());
        Some(())
    }

    /// A record as it stands in another message, all before it being the same, with another time to live, which is at
    /// offset `ttl` of the record. Returns whether there was room.
    pub fn copy(&mut self, record: &[u8], ttl: usize, left: impl FnOnce(u32) -> u32) -> bool {
        let start = self.at;
        if self.truncated || self.put(record).is_none() {
            self.truncated |= self.section != Section::Additional;
            return false;
        }
        if let Some(ttl) = self.out[start..].get_mut(ttl..).and_then(|rest| rest.first_chunk_mut::<4>()) {
            *ttl = left(u32::from_be_bytes(*ttl)).to_be_bytes();
        }
        self.counts[self.section as usize] += 1;
        true
    }

    /// Octets as they are. Nothing if there is no room.
    pub fn put(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.at + octets.len();
        if end > self.limit {
            return None;
        }
        self.out.get_mut(self.at..end)?.copy_from_slice(octets);
        self.at = end;
        Some(())
    }

    /// A name, whole or as a pointer. Nothing if there is no room.
    pub fn name(&mut self, owner: Owner<'_>) -> Option<()> {
        match owner {
            Owner::At(offset) => self.put(&(0xc000 | offset).to_be_bytes()),
            Owner::Name(name) => self.put(name),
        }
    }

    /// A records of one owner, as many as there is room for, in the order in which `addresses` come.
    pub fn ipv4(&mut self, owner: Owner<'_>, ttl: u32, addresses: impl Iterator<Item = Ipv4Addr>) {
        self.addresses(owner, Rtype::A, ttl, addresses.map(|address| address.octets()));
    }

    /// AAAA records, likewise.
    pub fn ipv6(&mut self, owner: Owner<'_>, ttl: u32, addresses: impl Iterator<Item = Ipv6Addr>) {
        self.addresses(owner, Rtype::AAAA, ttl, addresses.map(|address| address.octets()));
    }

    /// With an owner that is a pointer the first twelve octets of all records are the same.
    fn addresses<const N: usize>(
        &mut self,
        owner: Owner<'_>,
        rtype: Rtype,
        ttl: u32,
        addresses: impl Iterator<Item = [u8; N]>,
    ) {
        let Owner::At(offset) = owner else {
            for address in addresses {
                if !self.record(owner, rtype, ttl, |writer| writer.put(&address)) {
                    return;
                }
            }
            return;
        };
        let mut template = [0; 12];
        template[..2].copy_from_slice(&(0xc000 | offset).to_be_bytes());
        template[2..4].copy_from_slice(&rtype.to_int().to_be_bytes());
        template[4..6].copy_from_slice(&Class::IN.to_int().to_be_bytes());
        template[6..10].copy_from_slice(&ttl.to_be_bytes());
        template[11] = N as u8;
        for address in addresses {
            let end = self.at + 12 + N;
            if self.truncated || end > self.limit {
                self.truncated |= self.additional_counts || self.section != Section::Additional;
                return;
            }
            let place = &mut self.out[self.at..end];
            place[..12].copy_from_slice(&template);
            place[12..].copy_from_slice(&address);
            self.at = end;
            self.counts[self.section as usize] += 1;
        }
    }

    /// Adds the OPT record, fills in the header and returns the reply's length in octets.
    pub fn finish(mut self, envelope: &Envelope<'_>, rcode: OptRcode, aa: bool) -> usize {
        let mut additional = self.counts[2];
        if let Some(edns) = envelope.edns {
            // Its place was kept free.
            self.limit = self.out.len();
            if self.put_opt(edns, rcode).is_some() {
                additional += 1;
            }
        }
        let sent = envelope.head.get(2..4).map_or([0; 2], |flags| [flags[0], flags[1]]);
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let first = 0x80 | bit(aa, 0x04) | bit(self.truncated, 0x02) | (sent[0] & 0x01);
        let second = bit(envelope.recursion_available, 0x80) | (sent[1] & 0x10) | rcode.rcode().to_int();
        if let Some(header) = self.out.first_chunk_mut::<HEADER>() {
            header[2..6].copy_from_slice(&[first, second, 0, 1]);
            header[6..8].copy_from_slice(&self.counts[0].to_be_bytes());
            header[8..10].copy_from_slice(&self.counts[1].to_be_bytes());
            header[10..12].copy_from_slice(&additional.to_be_bytes());
        }
        self.at
    }

    fn put_opt(&mut self, edns: ReplyEdns<'_>, rcode: OptRcode) -> Option<()> {
        let [size_high, size_low] = OWN_SIZE.to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
        let options = edns.octets(self.ede) - 11;
        self.put(&[0, 0, 41, size_high, size_low, rcode.ext(), 0, dnssec_ok, 0])?;
        self.put(&(options as u16).to_be_bytes())?;
        if let Some(id) = edns.nsid {
            self.put_option(OptionCode::NSID, id)?;
        }
        if edns.keepalive {
            self.put_option(OptionCode::TCP_KEEPALIVE, &KEEPALIVE.to_be_bytes())?;
        }
        if let Some(ede) = self.ede {
            self.put(&OptionCode::EXTENDED_ERROR.to_int().to_be_bytes())?;
            self.put(&(ede.text.len() as u16 + 2).to_be_bytes())?;
            self.put(&ede.code.to_int().to_be_bytes())?;
            self.put(ede.text.as_bytes())?;
        }
        Some(())
    }

    fn put_option(&mut self, code: OptionCode, data: &[u8]) -> Option<()> {
        self.put(&code.to_int().to_be_bytes())?;
        self.put(&(data.len() as u16).to_be_bytes())?;
        self.put(data)
    }
}

/// A reply of a header alone (1.11). Returns its length in octets.
pub fn header_only(message: &[u8], rcode: Rcode, ra: bool, out: &mut [u8]) -> usize {
    let (Some(sent), Some(header)) = (message.first_chunk::<HEADER>(), out.first_chunk_mut::<HEADER>()) else {
        return 0;
    };
    let available = if ra { 0x80 } else { 0 };
    *header = [
        sent[0],
        sent[1],
        0x80 | (sent[2] & 0x79),
        available | (sent[3] & 0x10) | rcode.to_int(),
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    HEADER
}
