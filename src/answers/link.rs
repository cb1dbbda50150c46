//! A chain of aliases: CNAME records, each leading on to the next (1.8).

use domain::base::iana::Rtype;

use super::{
    message::{Owner, Writer},
    name::LowerName,
};

/// Links that are followed, ours and others' together.
pub const MAX_LINKS: usize = 10;

/// One alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whose, in wire form, lower case
    pub owner: Box<[u8]>,
    /// Seconds
    pub ttl: u32,
    /// Where it leads, in wire form, capitals kept
    pub target: Box<[u8]>,
}

/// Whether a chain may go on to `target`: it is not too long, and has not been there.
pub fn goes_on(links: &[Link], target: &[u8]) -> bool {
    links.len() < MAX_LINKS && !links.iter().any(|link| *link.owner == *target)
}

/// Writes a chain. Returns the owner for what stands at its end: `end` in wire form, lower case, which is the question's
/// name if there is no link.
pub fn write<'a>(writer: &mut Writer<'_>, links: &[Link], end: &'a [u8]) -> Owner<'a> {
    let mut target = None;
    for link in links {
        // The first is the question's: by pointer, so that it carries the client's capitals.
        let owner = target.map_or(Owner::At(super::message::QUESTION), |place| behind(writer, place, &link.owner));
        let mut place = 0;
        writer.record(owner, Rtype::CNAME, link.ttl, |writer| {
            place = writer.at();
            writer.put(&link.target)
        });
        target = Some(place);
    }
    target.map_or(Owner::At(super::message::QUESTION), |place| behind(writer, place, end))
}

/// The name at `place` if it is spelled like `name`, else the whole name: other names than the question's are lower
/// case (1.11).
pub fn behind<'a>(writer: &Writer<'_>, place: usize, name: &'a [u8]) -> Owner<'a> {
    match u16::try_from(place) {
        Ok(offset) if offset < 0x4000 && writer.written().get(place..).is_some_and(|rest| rest.starts_with(name)) => {
            Owner::At(offset)
        }
        _ => Owner::Name(name),
    }
}

/// A link's target, lower case.
pub fn target(wire: &[u8]) -> Option<LowerName> {
    LowerName::new(wire)
}
