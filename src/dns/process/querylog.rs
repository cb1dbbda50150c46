//! `log`: a line for each query of the classes asked for, and nothing at all for the others.

use domain::base::{Name, iana::OptRcode};
use tracing::info;

use super::tally::Answered;
use crate::{
    answers::{
        Transport,
        query::{Query, Question},
    },
    config::dns::Log,
};

/// CoreDNS's common format, without the client's port.
const COMMON: &str = "{remote} - {>id} \"{type} {class} {name} {proto} {size} {>do}\" {rcode} {rsize} {duration}";

/// Writes the lines of one block.
#[derive(Clone, Debug)]
pub struct QueryLog(Log);

impl QueryLog {
    pub fn new(log: &Log) -> Self {
        Self(log.clone())
    }

    /// A query that was answered at once.
    pub fn query(&self, query: &[u8], answered: &Answered) {
        if !self.wants(answered) {
            return;
        }
        match Query::parse(query) {
            Ok(query) => self.write(query.question().name.as_ref(), query.qclass.to_string(), answered),
            Err(_) => self.write(b"\0", "-".to_owned(), answered),
        }
    }

    /// A query that others were asked for.
    pub fn question(&self, question: &Question, answered: &Answered) {
        if self.wants(answered) {
            self.write(&question.name, question.qclass.to_string(), answered);
        }
    }

    fn wants(&self, answered: &Answered) -> bool {
        match answered.rcode {
            OptRcode::NOERROR if answered.records => self.0.success,
            OptRcode::NOERROR | OptRcode::NXDOMAIN => self.0.denial,
            _ => self.0.error,
        }
    }

    fn write(&self, name: &[u8], class: String, answered: &Answered) {
        let name = Name::from_octets(name).map_or_else(|_| "-".to_owned(), |name| name.fmt_with_dot().to_string());
        let values = [
            ("{remote}", answered.client.address.to_string()),
            ("{type}", answered.qtype.map_or_else(|| "-".to_owned(), |qtype| qtype.to_string())),
            ("{class}", class),
            ("{name}", name),
            ("{proto}", if answered.client.transport == Transport::Tcp { "tcp" } else { "udp" }.to_owned()),
            ("{size}", answered.query.to_string()),
            ("{>do}", answered.dnssec_ok.to_string()),
            ("{>id}", "-".to_owned()),
            ("{rcode}", answered.rcode.to_string()),
            ("{rsize}", answered.reply.to_string()),
            ("{duration}", format!("{:.9}s", answered.took.as_secs_f64())),
        ];
        let format = self.0.format.as_deref().unwrap_or(COMMON);
        let format = format.replace("{common}", COMMON).replace("{combined}", COMMON);
        info!("{}", values.iter().fold(format, |line, (placeholder, value)| line.replace(placeholder, value)));
    }
}
