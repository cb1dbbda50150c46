//! The part of an upstream's answer that continues a chain of aliases which began with us (1.8).
//!
//! Upstream is asked for one name. Only records of that name, and of those that its aliases lead to, are believed.

use domain::{
    base::{
        Message, ParsedRecord, ToName,
        iana::{OptRcode, Rtype},
        rdata::ComposeRecordData,
        wire::ParseError,
    },
    rdata::AllRecordData,
};

use super::{
    foreign::{Foreign, Kind},
    link::{Link, goes_on, target},
    message::{Owner, Section, Writer},
    order::Order,
    pending::Ageing,
    query::Question,
};

/// What was found at the end of a chain.
pub struct End {
    /// The last name, in wire form, lower case
    pub end: Box<[u8]>,
    /// The last name was not asked for yet
    pub goes_on: bool,
    /// Its records of the type asked for
    records: Vec<Plain>,
    /// Signatures of these
    signatures: Vec<Plain>,
    /// Who says that there are none
    soa: Vec<Plain>,
}

/// A record with whole names.
pub struct Plain {
    /// In wire form, lower case
    pub owner: Box<[u8]>,
    pub rtype: Rtype,
    /// Seconds that are left
    pub ttl: u32,
    pub data: Vec<u8>,
}

/// Follows the aliases of an answer, adding them to `links`, and takes what stands at their end.
///
/// # Errors
///
/// If the answer cannot be read.
pub fn follow(
    foreign: &Foreign,
    question: &Question,
    ageing: Ageing,
    links: &mut Vec<Link>,
) -> Result<End, ParseError> {
    let message = Message::from_octets(foreign.wire()).map_err(|_| ParseError::ShortInput)?;
    let answer = message.answer()?.map(|record| Plain::new(record?, ageing)).collect::<Result<Vec<_>, _>>()?;
    let authority = message.authority()?.map(|record| Plain::new(record?, ageing)).collect::<Result<Vec<_>, _>>()?;

    let mut end = question.name.clone();
    let mut moved = false;
    let mut stuck = false;
    while let Some(alias) = answer.iter().find(|record| record.rtype == Rtype::CNAME && record.owner == end) {
        let Some(next) = target(&alias.data) else { break };
        links.push(Link { owner: end, ttl: alias.ttl, target: alias.data.clone().into() });
        stuck = !goes_on(links, &next);
        moved = true;
        end = next.as_ref().into();
        if stuck {
            break;
        }
    }
    let (records, others): (Vec<_>, Vec<_>) =
        answer.into_iter().filter(|record| record.owner == end).partition(|record| record.rtype == question.qtype);
    let covered = question.qtype.to_int().to_be_bytes();
    let signatures = others.into_iter().filter(|other| other.rtype == Rtype::RRSIG && other.data.starts_with(&covered));
    let soa: Vec<_> = authority.into_iter().filter(|record| record.rtype == Rtype::SOA).collect();
    let complete = !records.is_empty() || !soa.is_empty() || foreign.kind() == Kind::Truncated;
    let denied = foreign.rcode() != OptRcode::NOERROR;
    Ok(End {
        goes_on: moved && !stuck && !complete && !denied,
        records: if stuck { Vec::new() } else { records },
        signatures: signatures.filter(|_| question.dnssec_ok && !stuck).collect(),
        soa,
        end,
    })
}

impl Plain {
    /// Reads a record.
    pub fn new(record: ParsedRecord<'_, &[u8]>, ageing: Ageing) -> Result<Self, ParseError> {
        let owner: domain::base::Name<Vec<u8>> = record.owner().to_name();
        let rtype = record.rtype();
        let ttl = ageing.left(record.ttl().as_secs());
        let record = record.into_any_record::<AllRecordData<_, _>>()?;
        let mut data = Vec::new();
        // A Vec takes everything.
        let Ok(()) = record.data().compose_rdata(&mut data);
        Ok(Self { owner: owner.as_slice().to_ascii_lowercase().into(), rtype, ttl, data })
    }

    fn write(&self, writer: &mut Writer<'_>, owner: Owner<'_>) {
        writer.record(owner, self.rtype, self.ttl, |writer| writer.put(&self.data));
    }
}

impl End {
    /// Writes what stands at the end. `owner` is the last name.
    pub fn write(&self, writer: &mut Writer<'_>, owner: Owner<'_>, random: Option<u64>) {
        let mixes = self.records.iter().all(|record| matches!(record.rtype, Rtype::A | Rtype::AAAA | Rtype::MX));
        for index in Order::new(self.records.len(), random.filter(|_| mixes)) {
            self.records[index].write(writer, owner);
        }
        for signature in &self.signatures {
            signature.write(writer, owner);
        }
        if self.records.is_empty() {
            writer.section(Section::Authority);
            for soa in &self.soa {
                let owner = writer.owner(&soa.owner);
                soa.write(writer, owner);
            }
        }
    }
}
