//! Two decoders that we did not write, which must agree on what stands in a reply.

use domain::{
    base::{Message as DomainMessage, ParsedName, RecordSection, ToName},
    rdata::AllRecordData,
};
use hickory_proto::{
    op::Message,
    rr::{RData, Record},
};

/// A reply: records as `owner ttl IN TYPE data`. No OPT record.
#[derive(Debug)]
pub struct Decoded {
    pub message: Message,
    pub answer: Vec<String>,
    pub authority: Vec<String>,
    pub additional: Vec<String>,
}

/// Decodes a reply with both.
pub fn decode(reply: &[u8]) -> Result<Decoded, String> {
    let message = Message::from_vec(reply).map_err(|error| format!("hickory cannot read it: {error}: {reply:02x?}"))?;
    let text = |records: &[Record]| records.iter().map(hickory).collect::<Vec<_>>();
    let decoded = Decoded {
        answer: text(&message.answers),
        authority: text(&message.authorities),
        additional: text(&message.additionals),
        message,
    };
    let other = DomainMessage::from_octets(reply).map_err(|error| error.to_string())?;
    let sections = [other.answer(), other.authority(), other.additional()];
    for (section, records) in sections.into_iter().zip([&decoded.answer, &decoded.authority, &decoded.additional]) {
        let theirs = section.map_err(|error| format!("domain: {error}"))?;
        let theirs = domain_records(theirs).map_err(|error| format!("domain: {error}"))?;
        if theirs != *records {
            return Err(format!("hickory reads {records:?}, domain {theirs:?}"));
        }
    }
    Ok(decoded)
}

fn hickory(record: &Record) -> String {
    let data = match &record.data {
        RData::TXT(text) => text.txt_data.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" "),
        RData::HINFO(info) => format!("{} {}", quoted(&info.cpu), quoted(&info.os)),
        other => other.to_string(),
    };
    // It escapes a hyphen at the beginning, which zone files need not.
    let owner = record.name.to_string().replace("\\-", "-");
    format!("{owner} {} {} {} {data}", record.ttl, record.dns_class, record.record_type())
}

fn domain_records(section: RecordSection<'_, &[u8]>) -> Result<Vec<String>, domain::base::wire::ParseError> {
    let mut records = Vec::new();
    for record in section.limit_to::<AllRecordData<&[u8], ParsedName<&[u8]>>>() {
        let record = record?;
        let data = match record.data() {
            AllRecordData::Opt(_) => continue,
            AllRecordData::Txt(text) => text.iter().map(quoted).collect::<Vec<_>>().join(" "),
            AllRecordData::Hinfo(info) => {
                format!("{} {}", quoted(info.cpu().as_slice()), quoted(info.os().as_slice()))
            }
            AllRecordData::Soa(soa) => format!(
                "{} {} {} {} {} {} {}",
                dotted(soa.mname()),
                dotted(soa.rname()),
                soa.serial(),
                soa.refresh().as_secs(),
                soa.retry().as_secs(),
                soa.expire().as_secs(),
                soa.minimum().as_secs()
            ),
            AllRecordData::Srv(srv) => {
                format!("{} {} {} {}", srv.priority(), srv.weight(), srv.port(), dotted(srv.target()))
            }
            AllRecordData::Cname(name) => dotted(name.cname()),
            AllRecordData::Ns(name) => dotted(name.nsdname()),
            AllRecordData::Ptr(name) => dotted(name.ptrdname()),
            other => other.to_string(),
        };
        let ttl = record.ttl().as_secs();
        records.push(format!("{} {ttl} {} {} {data}", dotted(record.owner()), record.class(), record.rtype()));
    }
    Ok(records)
}

fn dotted(name: &ParsedName<&[u8]>) -> String {
    format!("{}", name.fmt_with_dot())
}

fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", text.escape_ascii())
}
