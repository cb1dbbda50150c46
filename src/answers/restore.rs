//! Replies to questions that were asked in other words: the answer of the other question, under the names of the
//! client's own (2.6).

use domain::base::{
    Message, Name as WireName,
    iana::{Class, OptRcode, Rtype},
    wire::ParseError,
};

use super::{
    chain::Plain,
    extras::rewrite::Rewritten,
    message::{Envelope, Owner, QUESTION, Section, Writer},
    name::LowerName,
    pending::Ageing,
    query::{HEADER, Query},
};
use crate::config::dns::Name;

/// The same query with another question. Of EDNS only the wish for signatures is left, as all else is between the client
/// and us.
pub fn other_query(query: &Query<'_>, rewritten: &Rewritten) -> Vec<u8> {
    let mut bytes = query.head()[..HEADER].to_vec();
    let edns = query.edns.map(|edns| [0, 0, 41, 0xff, 0xff, 0, 0, if edns.dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    bytes[4..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    bytes.extend(rewritten.name.as_octets());
    bytes.extend(rewritten.rtype.to_int().to_be_bytes());
    bytes.extend(Class::IN.to_int().to_be_bytes());
    bytes.extend(edns.into_iter().flatten());
    bytes
}

/// Writes the reply to the client from the reply to the other question. Returns its length in octets.
pub fn write(envelope: &Envelope<'_>, inner: &[u8], rcode: OptRcode, rewritten: &Rewritten, out: &mut [u8]) -> usize {
    let mut writer = Writer::new(envelope, None, out);
    match records(&mut writer, envelope, inner, rewritten) {
        Ok(()) => writer.finish(envelope, rcode, inner.get(2).is_some_and(|flags| flags & 0x04 != 0)),
        Err(_) => Writer::new(envelope, None, out).finish(envelope, OptRcode::SERVFAIL, false),
    }
}

fn records(
    writer: &mut Writer<'_>,
    envelope: &Envelope<'_>,
    inner: &[u8],
    rewritten: &Rewritten,
) -> Result<(), ParseError> {
    let message = Message::from_octets(inner).map_err(|_| ParseError::ShortInput)?;
    let asked = envelope.head.get(HEADER..envelope.head.len().saturating_sub(4)).and_then(LowerName::new);
    let sections = [
        (Section::Answer, message.answer()?),
        (Section::Authority, message.authority()?),
        (Section::Additional, message.additional()?),
    ];
    for (section, records) in sections {
        writer.section(section);
        for record in records {
            let record = record?;
            if record.rtype() == Rtype::OPT {
                continue;
            }
            let record = Plain::new(record, Ageing::NONE)?;
            let owner = restored(rewritten, &record.owner, false);
            let owner = match &asked {
                Some(asked) if **asked == *owner => Owner::At(QUESTION),
                _ => writer.owner(&owner),
            };
            let (numbers, name) = record.data.split_at(before_name(record.rtype).unwrap_or(record.data.len()));
            let name = if name.is_empty() { Vec::new() } else { restored(rewritten, name, true) };
            writer.record(owner, record.rtype, rewritten.bounded(record.ttl), |writer| {
                writer.put(numbers)?;
                writer.put(&name)
            });
        }
    }
    if message.header().tc() {
        writer.truncate();
    }
    Ok(())
}

/// Octets of a type's data before the name that it ends in; none for types that lead to no name.
fn before_name(rtype: Rtype) -> Option<usize> {
    match rtype {
        Rtype::CNAME | Rtype::NS | Rtype::PTR | Rtype::DNAME => Some(0),
        Rtype::MX => Some(2),
        Rtype::SRV => Some(6),
        _ => None,
    }
}

fn restored(rewritten: &Rewritten, wire: &[u8], value: bool) -> Vec<u8> {
    let name: Option<Name> = WireName::from_octets(wire.to_vec()).ok();
    match name.and_then(|name| rewritten.restored(&name, value)) {
        Some(name) => name.as_octets().clone(),
        None => wire.to_vec(),
    }
}
