//! Writing what the block's own sources say besides the cluster's names: `chaos`, `hosts`, `file` (2.6).

use domain::base::iana::{Class, OptRcode, Rtype};

use super::{
    extras::{chaos::Told, file, hosts},
    message::{Owner, QUESTION, Section, Writer},
    order::{Order, mixed},
};

/// What the server says about itself: lifetime zero, as it belongs to the process that answers.
pub fn chaos(writer: &mut Writer<'_>, told: Told<'_>) {
    writer.class(Class::CH);
    let mut text = |text: &[u8]| {
        writer.record(Owner::At(QUESTION), Rtype::TXT, 0, |writer| {
            if text.is_empty() {
                return writer.put(&[0]);
            }
            text.chunks(255).try_for_each(|part| {
                writer.put(&[part.len() as u8])?;
                writer.put(part)
            })
        });
    };
    match told {
        Told::Text(one) => text(one),
        Told::Texts(all) => all.iter().for_each(|one| text(one.as_bytes())),
    }
}

/// What a hosts file says. It has no zone, so denials have no SOA.
pub fn hosts(
    writer: &mut Writer<'_>,
    owner: Owner<'_>,
    found: &hosts::Found<'_>,
    ttl: u32,
    random: Option<u64>,
) -> OptRcode {
    match found {
        hosts::Found::Missing => return OptRcode::NXDOMAIN,
        hosts::Found::NoData => {}
        hosts::Found::V4(addresses) => writer.ipv4(owner, ttl, mixed(addresses, random)),
        hosts::Found::V6(addresses) => writer.ipv6(owner, ttl, mixed(addresses, random)),
        hosts::Found::Names(names) => {
            for name in names.iter() {
                writer.record(owner, Rtype::PTR, ttl, |writer| writer.put(name.as_octets()));
            }
        }
    }
    OptRcode::NOERROR
}

/// What a zone file says. Returns the code, and whether we are the authority for it: not for what is delegated.
pub fn file(
    writer: &mut Writer<'_>,
    owner: Owner<'_>,
    zone: &file::Zone,
    found: &file::Found<'_>,
    random: Option<u64>,
) -> (OptRcode, bool) {
    match found {
        file::Found::Records(records) => {
            let mixes = matches!(records.rtype, Rtype::A | Rtype::AAAA | Rtype::MX);
            set(writer, owner, records, random.filter(|_| mixes));
        }
        file::Found::Delegated(cut, servers) => {
            writer.section(Section::Authority);
            let owner = writer.owner(cut);
            set(writer, owner, servers, None);
            return (OptRcode::NOERROR, false);
        }
        file::Found::NoData | file::Found::Missing | file::Found::Elsewhere => {
            writer.section(Section::Authority);
            let soa = zone.soa();
            // Its last field bounds what a denial may be kept (RFC 2308, section 3).
            let minimum =
                soa.data.first().and_then(|data| data.last_chunk()).map_or(0, |last| u32::from_be_bytes(*last));
            let owner = writer.owner(zone.origin().as_octets());
            set(writer, owner, &file::Set { ttl: soa.ttl.min(minimum), ..soa.clone() }, None);
            if !matches!(found, file::Found::NoData) {
                return (OptRcode::NXDOMAIN, true);
            }
        }
        // The links are the answer.
        file::Found::Alias(_) => {}
    }
    (OptRcode::NOERROR, true)
}

fn set(writer: &mut Writer<'_>, owner: Owner<'_>, set: &file::Set, random: Option<u64>) {
    for index in Order::new(set.data.len(), random) {
        writer.record(owner, set.rtype, set.ttl, |writer| writer.put(&set.data[index]));
    }
}
