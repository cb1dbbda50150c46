//! The upstream of 5.1, row 22: what it says to a query.

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};

/// The reply to a query, both as bytes.
pub fn reply(query: &[u8]) -> Vec<u8> {
    let query = Message::from_vec(query).expect("a query");
    let question = query.queries[0].clone();
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.message_type = MessageType::Response;
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    // Some claim it. It is not ours to repeat.
    reply.metadata.authoritative = true;
    let asked = question.name().to_string().to_ascii_lowercase();
    if asked == "dead.upstream.example." {
        reply.metadata.response_code = ResponseCode::ServFail;
        reply.add_query(question);
        return reply.to_vec().expect("a message");
    }
    let mut name = asked;
    let mut known = false;
    loop {
        let here: Vec<_> = records().into_iter().filter(|record| record.name.to_string() == name).collect();
        known |= !here.is_empty();
        reply.add_answers(here.iter().filter(|record| record.record_type() == question.query_type()).cloned());
        let alias = here.into_iter().find(|record| record.record_type() == RecordType::CNAME);
        let Some(alias) = alias.filter(|_| question.query_type() != RecordType::CNAME) else { break };
        name = alias.data.to_string();
        reply.add_answer(alias);
        // Says where it goes on, and no more.
        if name == "late.upstream.example." {
            reply.add_query(question);
            return reply.to_vec().expect("a message");
        }
    }
    // Not asked for, and not to be believed.
    if name == "liar.upstream.example." {
        reply.add_answer(record("web.shop.svc.cluster.local.", 300, a("198.51.100.66")));
    }
    if reply.answers.iter().all(|record| record.record_type() != question.query_type()) {
        let names =
            ["upstream.example.", "hostmaster.upstream.example."].map(|name| Name::from_ascii(name).expect("a name"));
        let [own, mail] = names;
        let soa = rdata::SOA::new(own.clone(), mail, 1, 7200, 1800, 86400, 900);
        reply.add_authority(Record::from_rdata(own, 900, RData::SOA(soa)));
        if !known {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
    }
    reply.add_query(question);
    reply.to_vec().expect("a message")
}

fn records() -> Vec<Record> {
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    let mut records = vec![
        record("api.partner.example.", 300, a("203.0.113.10")),
        record("api.partner.example.", 300, RData::AAAA("2001:db8:ff::10".parse().expect("an address"))),
        record("api.partner.example.", 300, RData::TXT(rdata::TXT::new(vec!["partner".to_owned()]))),
        record("www.upstream.example.", 60, RData::CNAME(rdata::CNAME(name("cdn.upstream.example.")))),
        record("cdn.upstream.example.", 60, a("198.51.100.7")),
        record("v4only.upstream.example.", 60, a("198.51.100.8")),
        record("step.upstream.example.", 60, RData::CNAME(rdata::CNAME(name("late.upstream.example.")))),
        record("late.upstream.example.", 60, a("198.51.100.9")),
        record("liar.upstream.example.", 60, a("198.51.100.10")),
        record("9.113.0.203.in-addr.arpa.", 3600, RData::PTR(rdata::PTR(name("host.partner.example.")))),
    ];
    records.extend((0..100).map(|n| record("many.upstream.example.", 60, a(&format!("198.51.100.{n}")))));
    records
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(owner).expect("a name"), ttl, data)
}

fn a(address: &str) -> RData {
    RData::A(address.parse().expect("an address"))
}
