//! Whether all servers give the same answers.

use std::{collections::BTreeSet, net::UdpSocket, time::Duration};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use portolan::lab::{Namespace, in_namespace};

use crate::questions::Question;

/// How long an answer may take before the question is asked again.
const PATIENCE: Duration = Duration::from_secs(1);
/// The size of UDP answers that is asked for, as dnsperf does.
const SIZE: u16 = 4096;

/// Asks the server of a namespace.
pub struct Asker(UdpSocket);

/// What of an answer must be the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    code: ResponseCode,
    truncated: bool,
    records: BTreeSet<String>,
    /// Of a negative answer: which zone denies, and for how long
    denied: Option<String>,
}

impl Answer {
    fn of(message: &Message) -> Self {
        let denied = message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if message.answers.is_empty() => Some(format!("{} {}", record.name, soa.minimum)),
            _ => None,
        });
        Self {
            code: message.metadata.response_code,
            truncated: message.metadata.truncation,
            records: message.answers.iter().map(canonical).collect(),
            denied,
        }
    }

    /// Whether there is any record in it.
    pub fn has_records(&self) -> bool {
        !self.records.is_empty()
    }
}

/// The record as text. The TTL of a reverse name is left out: CoreDNS has these in its cache, where it runs down.
fn canonical(record: &Record) -> String {
    let ttl = if record.record_type() == RecordType::PTR { 0 } else { record.ttl };
    format!("{} {ttl} {} {}", record.name, record.record_type(), record.data).to_ascii_lowercase()
}

impl Asker {
    /// For the server on 127.0.0.1 port 53 there.
    pub fn new(namespace: &Namespace) -> Self {
        let socket = in_namespace(namespace, || UdpSocket::bind("127.0.0.1:0")).unwrap().unwrap();
        socket.connect("127.0.0.1:53").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The answer; `None` if there is none in time, or nobody listens.
    pub fn try_ask(&self, question: &Question) -> Option<Answer> {
        let wire = wire(question);
        let mut buffer = [0; SIZE as usize];
        let length = self.exchange(&wire, &mut buffer)?;
        let message = Message::from_vec(&buffer[..length]);
        Some(Answer::of(&message.unwrap_or_else(|error| panic!("{question:?}: an answer that is none: {error}"))))
    }

    /// Sends a query; the length of the answer with the same id.
    pub fn exchange(&self, wire: &[u8], buffer: &mut [u8]) -> Option<usize> {
        self.0.send(wire).ok()?;
        loop {
            let length = self.0.recv(buffer).ok()?;
            if length > 12 && buffer[..2] == wire[..2] {
                return Some(length);
            }
        }
    }
}

/// The question as a message, with EDNS as dnsperf sends it.
pub fn wire(question: &Question) -> Vec<u8> {
    let name = Name::from_ascii(format!("{}.", question.name)).unwrap();
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, question.kind.parse().unwrap()));
    let mut edns = Edns::new();
    edns.set_max_payload(SIZE).set_version(0);
    message.set_edns(edns);
    message.to_vec().unwrap()
}

/// Asks two servers the same. Panics with the first few questions that they answer differently.
pub fn compare(names: [&str; 2], askers: [&Asker; 2], questions: &[Question]) {
    let mut differing = Vec::new();
    for question in questions {
        let [first, second] = askers.map(|asker| asker.try_ask(question));
        if first.is_none() || first != second {
            differing.push(format!("{question:?}\n  {}: {first:?}\n  {}: {second:?}", names[0], names[1]));
        }
    }
    assert!(
        differing.is_empty(),
        "{} of {} answers differ, such as\n{}",
        differing.len(),
        questions.len(),
        differing[..differing.len().min(5)].join("\n")
    );
}
