//! `log`: a line for each query of the classes and zones asked for, and nothing at all for the others.

use domain::base::{Name, iana::OptRcode};
use tracing::info;

use super::tally::Answered;
use crate::{
    answers::{
        Transport,
        name::relative_to,
        query::{Query, Question},
    },
    config::dns::Log,
};

/// CoreDNS's common format, without the client's port.
const COMMON: &str =
    "{remote} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";

/// Writes the lines of one block.
#[derive(Clone, Debug)]
pub struct QueryLog {
    log: Log,
    /// In wire form, lower case
    zones: Vec<Box<[u8]>>,
    format: String,
}

impl QueryLog {
    pub fn new(log: &Log) -> Self {
        let format = log.format.as_deref().unwrap_or(COMMON);
        Self {
            zones: log.zones.iter().map(|zone| zone.as_slice().to_ascii_lowercase().into()).collect(),
            format: format.replace("{common}", COMMON).replace("{combined}", COMMON),
            log: log.clone(),
        }
    }

    /// A query that was answered at once.
    pub fn query(&self, query: &[u8], answered: &Answered) {
        if !self.wants(answered) {
            return;
        }
        match Query::parse(query) {
            Ok(query) => self.write(Some(query.name.as_ref()), query.qclass.to_string(), answered),
            Err(_) => self.write(None, "-".to_owned(), answered),
        }
    }

    /// A query that others were asked for.
    pub fn question(&self, question: &Question, answered: &Answered) {
        if self.wants(answered) {
            self.write(Some(&question.name), question.qclass.to_string(), answered);
        }
    }

    fn wants(&self, answered: &Answered) -> bool {
        match answered.rcode {
            OptRcode::NOERROR if answered.records => self.log.success,
            OptRcode::NOERROR | OptRcode::NXDOMAIN => self.log.denial,
            _ => self.log.error,
        }
    }

    /// `name` in wire form and lower case; none if it cannot be read.
    fn write(&self, name: Option<&[u8]>, class: String, answered: &Answered) {
        if self.covers(name) {
            info!("{}", self.line(name, &class, answered));
        }
    }

    /// Whether a name lies in one of the zones; one that cannot be read lies in none.
    fn covers(&self, name: Option<&[u8]>) -> bool {
        let within = |name| self.zones.iter().any(|zone| relative_to(name, zone).is_some());
        self.zones.is_empty() || name.is_some_and(within)
    }

    /// The format, with values in the place of placeholders. What a client sends is not looked at for placeholders.
    fn line(&self, name: Option<&[u8]>, class: &str, answered: &Answered) -> String {
        let mut line = String::with_capacity(2 * self.format.len());
        let mut rest = self.format.as_str();
        while let Some((before, behind)) = rest.split_once('{') {
            line += before;
            let placeholder = behind.split_once('}');
            match placeholder.and_then(|(word, after)| Some((value(word, name, class, answered)?, after))) {
                Some((value, after)) => {
                    line += &value;
                    rest = after;
                }
                None => {
                    line.push('{');
                    rest = behind;
                }
            }
        }
        line + rest
    }
}

/// What stands for a placeholder; nothing if there is no such one. `-` is what is not known here.
fn value(word: &str, name: Option<&[u8]>, class: &str, answered: &Answered) -> Option<String> {
    let unknown = || "-".to_owned();
    Some(match word {
        "remote" => answered.client.address.to_string(),
        "type" => answered.qtype.map_or_else(unknown, |qtype| qtype.to_string()),
        "class" => class.to_owned(),
        "name" => {
            let name = name.and_then(|name| Name::from_octets(name).ok());
            name.map_or_else(unknown, |name| name.fmt_with_dot().to_string())
        }
        "proto" => if answered.client.transport == Transport::Tcp { "tcp" } else { "udp" }.to_owned(),
        "size" => answered.query.to_string(),
        "rcode" => answered.rcode.to_string(),
        "rsize" => answered.reply.to_string(),
        "duration" => format!("{:.9}s", answered.took.as_secs_f64()),
        ">id" => answered.id.to_string(),
        ">do" => answered.dnssec_ok.to_string(),
        ">bufsize" => answered.bufsize.to_string(),
        // Whatever else is asked is answered with a code alone, and not logged with a name.
        ">opcode" => "0".to_owned(),
        "port" | "local" | ">rflags" => unknown(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::base::Rtype;

    use super::*;
    use crate::answers::{Client, Source};

    const NAME: &[u8] = b"\x08{remote}\x07example\0";

    fn answered() -> Answered {
        Answered {
            row: 0,
            client: Client { address: "192.0.2.7".parse().unwrap(), transport: Transport::Udp },
            qtype: Some(Rtype::AAAA),
            dnssec_ok: true,
            id: 4711,
            bufsize: 1232,
            query: 50,
            reply: 90,
            rcode: OptRcode::NXDOMAIN,
            source: Source::Forward,
            records: false,
            truncated: false,
            stale: false,
            took: Duration::from_millis(12),
        }
    }

    fn log(format: Option<&str>, zones: &[&str]) -> QueryLog {
        let zones = zones.iter().map(|zone| Name::vec_from_str(zone).unwrap()).collect();
        QueryLog::new(&Log { zones, format: format.map(str::to_owned), ..Log::default() })
    }

    #[test]
    fn placeholders_have_values() {
        let line = |format| log(format, &[]).line(Some(NAME), "IN", &answered());
        assert_eq!(
            line(None),
            "192.0.2.7 - 4711 \"AAAA IN {remote}.example. udp 50 true 1232\" NXDOMAIN - 90 0.012000000s"
        );
        assert_eq!(line(Some("{>opcode} {local}:{port} {nothing} {name")), "0 -:- {nothing} {name");
        assert_eq!(line(Some("x {common}")), format!("x {}", line(None)));
    }

    #[test]
    fn names_of_other_zones_are_not_logged() {
        let some = log(None, &["Example.", "a.test."]);
        assert!(some.covers(Some(NAME)));
        assert!(!some.covers(Some(b"\x01b\x04test\0")) && !some.covers(None));
        assert!(log(None, &[]).covers(None) && log(None, &["."]).covers(Some(NAME)));
    }
}
