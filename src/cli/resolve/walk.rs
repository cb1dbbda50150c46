//! From candidate to candidate, as a resolver goes.

use std::net::IpAddr;

use domain::base::iana::Rtype;
use serde::Serialize;

use super::{Question, live::Live, offline::Offline};
use crate::answers::why::Explanation;

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Records of the type asked for
    Answer,
    /// The name exists and has none
    NoData,
    /// No such name
    NxDomain,
    /// Others would have to be asked
    Forwarded,
    /// Silence
    Dropped,
    /// SERVFAIL, REFUSED and others
    Failure,
}

/// A record in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Record {
    /// `answer`, `authority` or `additional`
    pub section: String,
    pub name: String,
    pub ttl: u32,
    #[serde(rename = "type")]
    pub rtype: String,
    pub data: String,
}

/// What one name has of one type.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    #[serde(rename = "type")]
    pub qtype: String,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcode: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forwarded_to: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    pub records: Vec<Record>,
    /// As they are printed
    #[serde(skip)]
    pub lines: Vec<String>,
}

impl Answer {
    /// One of ours.
    pub fn explained(qtype: Rtype, why: Explanation) -> Self {
        let Explanation { steps, hints, upstreams, rcode, records } = why;
        Self { steps, hints, ..Self::new(qtype, rcode, upstreams, records) }
    }

    /// One of a running server.
    pub fn of_others(qtype: Rtype, rcode: String, lines: Vec<String>) -> Self {
        Self::new(qtype, Some(rcode), None, lines)
    }

    fn new(qtype: Rtype, rcode: Option<String>, upstreams: Option<Vec<String>>, lines: Vec<String>) -> Self {
        let records = records(&lines);
        let qtype = qtype.to_string();
        let found = |record: &Record| record.section == "answer" && (qtype == "ANY" || record.rtype == qtype);
        let outcome = match rcode.as_deref() {
            None if upstreams.is_none() => Outcome::Dropped,
            None => Outcome::Forwarded,
            Some("NOERROR") if records.iter().any(found) => Outcome::Answer,
            Some("NOERROR") => Outcome::NoData,
            Some("NXDOMAIN") => Outcome::NxDomain,
            Some(_) => Outcome::Failure,
        };
        let forwarded_to = upstreams.unwrap_or_default();
        Self { qtype, outcome, rcode, forwarded_to, steps: Vec::new(), hints: Vec::new(), records, lines }
    }

    /// In a word.
    pub fn word(&self) -> &str {
        match self.outcome {
            Outcome::Forwarded => "forwarded",
            Outcome::Dropped => "silence",
            Outcome::NoData => "NODATA",
            _ => self.rcode.as_deref().unwrap_or_default(),
        }
    }

    /// Whether a running server's answer contradicts this one. Lifetimes and the order of records may differ.
    fn differs(&self, live: &Answer) -> bool {
        let said = |answer: &Answer| {
            let of_section = answer.records.iter().filter(|record| record.section == "answer");
            let mut said: Vec<(String, String, String)> = of_section
                .map(|record| (record.name.to_lowercase(), record.rtype.clone(), record.data.to_lowercase()))
                .collect();
            said.sort();
            said
        };
        let unknown = matches!(self.outcome, Outcome::Forwarded | Outcome::Dropped);
        !unknown && (self.word() != live.word() || said(self) != said(live))
    }
}

/// The lines that [`Explanation`] has, taken apart.
fn records(lines: &[String]) -> Vec<Record> {
    let mut section = "";
    let mut records = Vec::new();
    for line in lines {
        if let Some(title) = line.strip_prefix(";; ") {
            section = title.split(' ').next().unwrap_or_default();
        } else if let [name, ttl, _, rtype, data] = line.splitn(5, '\t').collect::<Vec<_>>()[..] {
            let section = section.to_lowercase();
            let ttl = ttl.parse().unwrap_or_default();
            records.push(Record {
                section,
                name: name.to_owned(),
                ttl,
                rtype: rtype.to_owned(),
                data: data.to_owned(),
            });
        }
    }
    records
}

/// One candidate.
#[derive(Serialize)]
pub struct Tried {
    pub name: String,
    /// By type, of manifests
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
    /// By type, of the running server
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<Answer>,
    /// By type; empty unless both were asked
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<bool>,
}

impl Tried {
    fn has(&self, outcome: Outcome) -> bool {
        self.asked().iter().any(|answer| answer.outcome == outcome)
    }

    /// Those that decide how it goes on.
    pub fn asked(&self) -> &[Answer] {
        if self.answers.is_empty() { &self.live } else { &self.answers }
    }
}

/// All that was tried.
pub struct Walk {
    pub tried: Vec<Tried>,
    /// Which of them is the result: the first with an answer, else one that others know, else one that exists, else the
    /// last
    pub result: usize,
}

impl Walk {
    /// Goes along the candidates until one has an answer for one of the types, as glibc does. Manifests decide if there
    /// are any; the running server is asked for the same names.
    ///
    /// # Errors
    /// The running server does not answer.
    pub fn new(
        question: &Question,
        client: IpAddr,
        offline: Option<&Offline>,
        live: Option<&Live>,
    ) -> anyhow::Result<Self> {
        let mut tried: Vec<Tried> = Vec::new();
        for name in &question.candidates {
            let types = || question.types.iter();
            let answers: Vec<Answer> =
                offline.map(|o| types().map(|t| o.ask(name, *t, client)).collect()).unwrap_or_default();
            let live: Vec<Answer> = match live {
                Some(live) => types().map(|t| live.ask(name, *t)).collect::<Result<_, _>>()?,
                None => Vec::new(),
            };
            let differs = answers.iter().zip(&live).map(|(answer, live)| answer.differs(live)).collect();
            let one = Tried { name: name.fmt_with_dot().to_string(), answers, live, differs };
            let end = [Outcome::Answer, Outcome::Forwarded, Outcome::Dropped].iter().any(|end| one.has(*end));
            tried.push(one);
            if end {
                break;
            }
        }
        let order = [Outcome::Answer, Outcome::Forwarded, Outcome::Dropped, Outcome::NoData];
        let result = order.iter().find_map(|outcome| tried.iter().position(|one| one.has(*outcome)));
        let result = result.unwrap_or(tried.len().saturating_sub(1));
        Ok(Self { tried, result })
    }

    /// Whether there is an answer, or one may be had from others. A running server's word counts more.
    pub fn answered(&self) -> bool {
        let good = |answer: &Answer| matches!(answer.outcome, Outcome::Answer | Outcome::Forwarded);
        self.tried.iter().any(|one| if one.live.is_empty() { &one.answers } else { &one.live }.iter().any(good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rcode: &str, lines: &[&str]) -> Answer {
        Answer::of_others(Rtype::A, rcode.to_owned(), lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn an_alias_alone_is_no_answer() {
        let alias = "a.\t5\tIN\tCNAME\tb.";
        let address = "b.\t5\tIN\tA\t10.0.0.1";
        assert_eq!(answer("NOERROR", &[";; ANSWER SECTION:", alias]).outcome, Outcome::NoData);
        assert_eq!(answer("NOERROR", &[";; ANSWER SECTION:", alias, address]).outcome, Outcome::Answer);
        assert_eq!(answer("NOERROR", &[";; ADDITIONAL SECTION:", address]).outcome, Outcome::NoData);
        assert_eq!(answer("NXDOMAIN", &[";; ANSWER SECTION:", alias]).outcome, Outcome::NxDomain);
        assert_eq!(answer("SERVFAIL", &[]).outcome, Outcome::Failure);
    }

    #[test]
    fn answers_differ_by_what_they_say() {
        let of = |records: &[&str]| answer("NOERROR", &[&[";; ANSWER SECTION:"], records].concat());
        let both = of(&["a.\t5\tIN\tA\t10.0.0.1", "a.\t5\tIN\tA\t10.0.0.2"]);
        assert!(!both.differs(&of(&["A.\t3\tIN\tA\t10.0.0.2", "A.\t3\tIN\tA\t10.0.0.1"])));
        assert!(both.differs(&of(&["a.\t5\tIN\tA\t10.0.0.1"])));
        assert!(both.differs(&answer("NXDOMAIN", &[])));
        let unknown = Answer { outcome: Outcome::Forwarded, ..both };
        assert!(!unknown.differs(&answer("NXDOMAIN", &[])));
    }
}
