//! Questions with their answers, and the comparison of both. Knows nothing of how an answer is had: a case gives the
//! bytes of a query and judges the bytes of a reply.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr};

use domain::base::iana::{Class, Rtype};
use hickory_proto::op::{Message, ResponseCode};
use serde::Deserialize;

use super::decode::{Decoded, decode};

/// The cases of the behaviour's authors.
const GIVEN: &str = include_str!("cases.json");
/// Ours: what else the behaviour says, line by line.
const OURS: &str = include_str!("more.txt");

/// One question.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    pub id: String,
    /// Which configuration, see [`super::modes`]
    pub mode: String,
    pub qname: String,
    pub qtype: String,
    pub qclass: String,
    /// `udp` or `tcp`
    pub proto: String,
    pub rd: bool,
    pub edns: Option<Edns>,
    pub expect: Expect,
    /// What CoreDNS answers, if it differs
    pub coredns: Option<Expect>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Edns {
    pub size: u16,
    pub version: u8,
    #[serde(rename = "do")]
    pub dnssec_ok: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Expect {
    pub rcode: String,
    pub aa: bool,
    pub tc: bool,
    pub answer: Vec<String>,
    pub authority: Vec<String>,
    pub additional: Vec<String>,
    pub answer_count: Option<Count>,
    #[serde(default)]
    pub answer_subset_of_full: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Count {
    Exactly(usize),
    Between([usize; 2]),
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = serde_json::from_str(GIVEN).expect("cases.json is as described in 5.2");
    assert_eq!(cases.len(), 88);
    cases.extend(ours());
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids.len(), cases.len(), "two cases have one id");
    cases
}

/// `more.txt`: a line `ID MODE NAME TYPE [tcp] [rd=0] [class=CH] [edns=SIZE] [version=1] [do] => RCODE [aa] [tc]`, and
/// indented below it the records with their section, `SOA` standing for that of the zone in the authority section.
/// `Z`, `S` and `P` at the end of a name stand for the zone, `svc` and `pod` in it.
fn ours() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in OURS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let line = line.split(' ').map(long).collect::<Vec<_>>().join(" ");
        if let Some(record) = line.strip_prefix("  ") {
            let expect = &mut cases.last_mut().expect("a case before its records").expect;
            match record.split_once(' ') {
                None if record == "SOA" => expect.authority.push("cluster.local. 5 IN SOA *".to_owned()),
                Some(("answer", record)) => expect.answer.push(record.to_owned()),
                Some(("authority", record)) => expect.authority.push(record.to_owned()),
                Some(("additional", record)) => expect.additional.push(record.to_owned()),
                Some(("count", number)) => expect.answer_count = Some(Count::Exactly(number.parse().expect("a count"))),
                _ => panic!("more.txt: {line}"),
            }
            continue;
        }
        cases.push(one_of_ours(&line).unwrap_or_else(|| panic!("more.txt: {line}")));
    }
    cases
}

fn one_of_ours(line: &str) -> Option<Case> {
    let (question, expect) = line.split_once(" => ")?;
    let mut words = question.split_whitespace();
    let mut next = || words.next().map(str::to_owned);
    let mut case = Case {
        id: next()?,
        mode: next()?,
        qname: next()?.trim_end_matches('.').to_owned(),
        qtype: next()?,
        qclass: "IN".to_owned(),
        proto: "udp".to_owned(),
        rd: true,
        edns: None,
        expect: Expect::default(),
        coredns: None,
    };
    for word in words {
        match word.split_once('=') {
            None if word == "tcp" => case.proto = word.to_owned(),
            None if word == "do" => case.edns.get_or_insert_default().dnssec_ok = true,
            Some(("rd", "0")) => case.rd = false,
            Some(("class", class)) => case.qclass = class.to_owned(),
            Some(("edns", size)) => case.edns.get_or_insert_default().size = size.parse().ok()?,
            Some(("version", version)) => case.edns.get_or_insert_default().version = version.parse().ok()?,
            _ => return None,
        }
    }
    let mut words = expect.split_whitespace();
    case.expect.rcode = words.next()?.to_owned();
    for word in words {
        match word {
            "aa" => case.expect.aa = true,
            "tc" => case.expect.tc = true,
            _ => return None,
        }
    }
    Some(case)
}

/// Puts the zone in the place of its letter.
fn long(word: &str) -> String {
    let with = |end: &str, long: &str| {
        word.strip_suffix(end).filter(|left| left.is_empty() || left.ends_with('.')).map(|left| format!("{left}{long}"))
    };
    with("S", "svc.cluster.local.")
        .or_else(|| with("P", "pod.cluster.local."))
        .or_else(|| with("Z", "cluster.local."))
        .unwrap_or_else(|| word.to_owned())
}

impl Case {
    /// The query's bytes.
    pub fn query(&self, id: u16) -> Vec<u8> {
        let mut query = id.to_be_bytes().to_vec();
        query.extend([u8::from(self.rd), 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        for label in self.qname.split('.').filter(|label| !label.is_empty()) {
            query.push(u8::try_from(label.len()).expect("a label"));
            query.extend(label.bytes());
        }
        query.push(0);
        let qtype = Rtype::from_str(&self.qtype).expect("a type").to_int();
        let qclass = match self.qclass.as_str() {
            "ANY" => 255,
            class => Class::from_str(class).expect("a class").to_int(),
        };
        query.extend(qtype.to_be_bytes());
        query.extend(qclass.to_be_bytes());
        if let Some(edns) = &self.edns {
            query.extend([0, 0, 41]);
            query.extend(edns.size.to_be_bytes());
            query.extend([0, edns.version, if edns.dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
        }
        query
    }

    /// Whether a reply is what the case wants; if not, what is wrong. `full` are the answers of the same question
    /// without a limit, as far as the case asks for them.
    pub fn judge(&self, query: &[u8], reply: &[u8], full: &[String]) -> Result<(), String> {
        let decoded = decode(reply)?;
        self.judge_header(query, reply, &decoded.message)?;
        self.judge_records(&decoded, full)
    }

    fn judge_header(&self, query: &[u8], reply: &[u8], message: &Message) -> Result<(), String> {
        let end = query.len() - if self.edns.is_some() { 11 } else { 0 };
        if reply.get(12..end) != Some(&query[12..end]) || reply[..2] != query[..2] {
            return Err("id and question are not those of the query".to_owned());
        }
        let metadata = &message.metadata;
        let wanted = match self.expect.rcode.as_str() {
            "NOERROR" => ResponseCode::NoError,
            "NXDOMAIN" => ResponseCode::NXDomain,
            "SERVFAIL" => ResponseCode::ServFail,
            "REFUSED" => ResponseCode::Refused,
            // 16 is the code of both; hickory reads it as that of TSIG.
            "BADVERS" => ResponseCode::BADSIG,
            other => panic!("{}: what is {other}?", self.id),
        };
        if metadata.response_code != wanted {
            return Err(format!("{:?} instead of {wanted:?}", metadata.response_code));
        }
        for (what, is, wanted) in [
            ("AA", metadata.authoritative, self.expect.aa),
            ("TC", metadata.truncation, self.expect.tc),
            ("RA", metadata.recursion_available, true),
            ("RD", metadata.recursion_desired, self.rd),
            ("AD", metadata.authentic_data, false),
            ("an OPT record", message.edns.is_some(), self.edns.is_some()),
        ] {
            if is != wanted {
                return Err(format!("{what} is {is}"));
            }
        }
        let limit = match (self.proto.as_str(), &self.edns) {
            ("tcp", _) => 65535,
            (_, None) => 512,
            (_, Some(edns)) => usize::from(edns.size.clamp(512, 1232)),
        };
        if reply.len() > limit {
            return Err(format!("{} octets where {limit} are allowed", reply.len()));
        }
        let Some((ours, asked)) = message.edns.as_ref().zip(self.edns.as_ref()) else { return Ok(()) };
        let same = ours.max_payload() == 1232 && ours.version() == 0 && ours.flags().dnssec_ok == asked.dnssec_ok;
        if same { Ok(()) } else { Err(format!("OPT record {ours:?}")) }
    }

    fn judge_records(&self, decoded: &Decoded, full: &[String]) -> Result<(), String> {
        let expect = &self.expect;
        same_set("authority", &decoded.authority, &expect.authority)?;
        if let Some(count) = &expect.answer_count {
            let fits = match *count {
                Count::Exactly(count) => decoded.answer.len() == count,
                Count::Between([least, most]) => (least..=most).contains(&decoded.answer.len()),
            };
            let distinct: BTreeSet<&String> = decoded.answer.iter().collect();
            if !fits || distinct.len() != decoded.answer.len() {
                return Err(format!("{} answers, {} of them distinct", decoded.answer.len(), distinct.len()));
            }
            if expect.answer_subset_of_full && !distinct.iter().all(|record| full.contains(record)) {
                return Err("an answer that is none over TCP".to_owned());
            }
            return Ok(());
        }
        same_set("answer", &decoded.answer, &expect.answer)?;
        same_set("additional", &decoded.additional, &expect.additional)?;
        // A chain comes first, and in order.
        let chain = |records: &[String]| -> Vec<String> {
            records.iter().take_while(|record| record.contains(" IN CNAME ")).cloned().collect()
        };
        let (is, wanted) = (chain(&decoded.answer), chain(&expect.answer));
        if is != wanted { Err(format!("the chain is {is:?}")) } else { Ok(()) }
    }
}

/// Each record as often as it is wanted; a `*` stands for anything.
fn same_set(section: &str, are: &[String], wanted: &[String]) -> Result<(), String> {
    let mut left: Vec<&String> = are.iter().collect();
    for record in wanted {
        match left.iter().position(|is| matches(is, record)) {
            Some(at) => left.remove(at),
            None => return Err(format!("{section}: {record} is not in {are:#?}")),
        };
    }
    if left.is_empty() { Ok(()) } else { Err(format!("{section}: {left:?} is too much")) }
}

fn matches(is: &str, wanted: &str) -> bool {
    let mut is_fields = is.splitn(5, ' ');
    let mut wanted_fields = wanted.splitn(5, ' ');
    loop {
        match (is_fields.next(), wanted_fields.next()) {
            (None, None) => return true,
            (Some(is), Some(wanted)) if is == wanted || wanted == "*" => {}
            _ => return false,
        }
    }
}

/// Where a client asks from that no rule is about.
pub const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 1, 99));
