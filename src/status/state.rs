use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use crate::{model::ServiceId, observed::AgentReport};

/// So many changes are kept in all.
const MOST_ENTRIES: usize = 200;
/// So many lines are kept of one change.
const MOST_LINES: usize = 12;
/// A change of more Services than this, a start for example, is told as one.
const MANY: usize = 40;

/// What is known. It reads no clock: the time is told.
#[derive(Debug)]
pub struct State {
    node: String,
    started: Timestamp,
    passed: Option<Timestamp>,
    verified: Option<Timestamp>,
    /// Since when the loop fails as a whole, and why
    failing: Option<Trouble>,
    /// Parts of the source of objects that cannot be read
    troubles: BTreeMap<String, Trouble>,
    /// Services whose rows were changed by this process
    services: BTreeMap<ServiceId, Programmed>,
    refused: BTreeMap<ServiceId, String>,
    entries: VecDeque<Entry>,
    /// The number of the last entry
    number: u64,
}

/// Something that does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// Since when
    pub since: Timestamp,
    /// Why, as of the last try
    pub reason: String,
}

/// The last change of a Service.
#[derive(Debug)]
struct Programmed {
    at: Timestamp,
    what: Vec<String>,
}

/// Who changed our tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// This process
    Portolan,
    /// Somebody else: `nft (PID 4711)`, or `somebody`
    Other(String),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Counts all changes since the start of the process, from 1
    pub number: u64,
    /// When
    pub at: Timestamp,
    /// Who made it
    pub by: By,
    /// What was changed: `shop/web`, `the program`, `120 Services`
    pub subject: String,
    /// How, a line each
    pub what: Vec<String>,
}

/// The process as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The node's name
    pub node: String,
    /// The program's version
    pub version: &'static str,
    /// When the process started
    pub started: Timestamp,
    /// When the kernel was last brought in line; absent before the first time
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<Timestamp>,
    /// When the kernel was last read and compared with what is wanted
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Timestamp>,
    /// Since when the source of objects is silent, if it is
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_stale: Option<Timestamp>,
    /// What it said when it was last asked in vain
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_error: Option<String>,
    /// Since when nothing can be brought in line, and why
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<Trouble>,
    /// Services whose rows the kernel refuses, with its words
    pub refused: BTreeMap<String, String>,
    /// Changes since the start
    pub changes: u64,
}

impl State {
    /// A process that started at `now`.
    pub fn new(node: &str, now: Timestamp) -> Self {
        Self {
            node: node.to_owned(),
            started: now,
            passed: None,
            verified: None,
            failing: None,
            troubles: BTreeMap::new(),
            services: BTreeMap::new(),
            refused: BTreeMap::new(),
            entries: VecDeque::new(),
            number: 0,
        }
    }

    /// See [`super::Status::source_failed`].
    pub fn source_failed(&mut self, part: &str, reason: &str, now: Timestamp) {
        let since = self.troubles.get(part).map_or(now, |trouble| trouble.since);
        self.troubles.insert(part.to_owned(), Trouble { since, reason: reason.to_owned() });
    }

    /// See [`super::Status::source_heard`].
    pub fn source_heard(&mut self, part: &str) {
        self.troubles.remove(part);
    }

    /// See [`super::Status::programmed`].
    pub fn programmed(&mut self, changed: impl IntoIterator<Item = (ServiceId, Vec<String>)>, now: Timestamp) {
        let changed: Vec<_> = changed.into_iter().map(|(id, what)| (id, shortened(what))).collect();
        if changed.len() > MANY {
            self.happened(By::Portolan, &format!("{} Services", changed.len()), Vec::new(), now);
        }
        let one_by_one = changed.len() <= MANY;
        for (id, what) in changed {
            if one_by_one {
                self.add(By::Portolan, id.to_string(), what.clone(), now);
            }
            self.services.insert(id, Programmed { at: now, what });
        }
    }

    /// See [`super::Status::happened`].
    pub fn happened(&mut self, by: By, subject: &str, what: Vec<String>, now: Timestamp) {
        self.add(by, subject.to_owned(), shortened(what), now);
    }

    fn add(&mut self, by: By, subject: String, what: Vec<String>, at: Timestamp) {
        if self.entries.len() == MOST_ENTRIES {
            self.entries.pop_front();
        }
        self.number += 1;
        self.entries.push_back(Entry { number: self.number, at, by, subject, what });
    }

    /// See [`super::Status::passed`].
    pub fn passed(
        &mut self,
        refused: BTreeMap<ServiceId, String>,
        exists: impl Fn(&ServiceId) -> bool,
        verified: bool,
        now: Timestamp,
    ) {
        self.passed = Some(now);
        self.refused = refused;
        if verified {
            self.verified = Some(now);
            // Not at every pass: it is only for the memory of Services that are gone.
            self.services.retain(|id, _| exists(id));
        }
    }

    /// See [`super::Status::recovered`].
    pub fn recovered(&mut self) {
        self.failing = None;
    }

    /// See [`super::Status::failed`].
    pub fn failed(&mut self, reason: &str, now: Timestamp) {
        let since = self.failing.as_ref().map_or(now, |trouble| trouble.since);
        self.failing = Some(Trouble { since, reason: reason.to_owned() });
    }

    /// The part of the source that has been silent for longest.
    fn source(&self) -> Option<Trouble> {
        let (part, trouble) = self.troubles.iter().min_by_key(|(_, trouble)| trouble.since)?;
        Some(Trouble { since: trouble.since, reason: format!("{part}: {}", trouble.reason) })
    }

    /// See [`super::Status::summary`].
    pub fn summary(&self) -> Summary {
        let source = self.source();
        Summary {
            node: self.node.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            last_pass: self.passed,
            verified: self.verified,
            source_stale: source.as_ref().map(|source| source.since),
            source_error: source.map(|source| source.reason),
            failing: self.failing.clone(),
            refused: self.refused.iter().map(|(id, reason)| (id.to_string(), reason.clone())).collect(),
            changes: self.number,
        }
    }

    /// See [`super::Status::report`].
    pub fn report(&self, service: &ServiceId) -> AgentReport {
        let programmed = self.services.get(service);
        let source = self.source();
        AgentReport {
            node: self.node.clone(),
            programmed: programmed.map(|programmed| programmed.at),
            changed: programmed.map(|programmed| programmed.what.clone()).unwrap_or_default(),
            refused: self.refused.get(service).cloned(),
            source_stale: source.as_ref().map(|source| source.since),
            source_error: source.map(|source| source.reason),
            verified: self.verified,
        }
    }

    /// See [`super::Status::changes_since`].
    pub fn changes_since(&self, number: u64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.number > number).cloned().collect()
    }
}

fn shortened(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MOST_LINES {
        let more = lines.len() - (MOST_LINES - 1);
        lines.truncate(MOST_LINES - 1);
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + n).unwrap()
    }

    fn id(name: &str) -> ServiceId {
        ServiceId::new("shop", name)
    }

    #[test]
    fn a_report_says_when_a_service_changed_and_how() {
        let mut state = State::new("node-1", second(0));
        let nothing = state.report(&id("web"));
        assert_eq!((nothing.programmed, nothing.changed), (None, vec![]), "before this process started");

        state.programmed([(id("web"), vec!["added endpoint 10.1.0.2:80".to_owned()])], second(5));
        state.passed([(id("db"), "No such file".to_owned())].into(), |_| true, true, second(6));
        let report = state.report(&id("web"));
        assert_eq!(report.node, "node-1");
        assert_eq!((report.programmed, report.verified), (Some(second(5)), Some(second(6))));
        assert_eq!(report.changed, ["added endpoint 10.1.0.2:80"]);
        assert_eq!(report.refused, None);
        assert_eq!(state.report(&id("db")).refused.as_deref(), Some("No such file"));
        assert_eq!(state.changes_since(0)[0].subject, "shop/web");
        assert!(state.changes_since(1).is_empty());
    }

    #[test]
    fn the_source_is_stale_since_its_first_failure_and_until_all_is_heard() {
        let mut state = State::new("node-1", second(0));
        state.source_failed("Service", "timeout", second(10));
        state.source_failed("EndpointSlice", "forbidden", second(5));
        state.source_failed("EndpointSlice", "connection refused", second(20));
        let summary = state.summary();
        assert_eq!(summary.source_stale, Some(second(5)));
        assert_eq!(summary.source_error.as_deref(), Some("EndpointSlice: connection refused"));
        state.source_heard("EndpointSlice");
        assert_eq!(state.report(&id("web")).source_stale, Some(second(10)));
        state.source_heard("Service");
        assert_eq!(state.summary().source_stale, None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut state = State::new("node-1", second(0));
        for n in 0..1000 {
            let lines = (0..100).map(|line| format!("line {line}")).collect();
            state.programmed([(id(&format!("s{n}")), lines)], second(n));
        }
        let entries = state.changes_since(0);
        assert_eq!((entries.len(), entries[0].number), (MOST_ENTRIES, 801));
        assert_eq!(entries[0].what.len(), MOST_LINES);
        assert_eq!(entries[0].what.last().unwrap(), "and 89 more");
        state.passed(BTreeMap::new(), |id| &*id.name == "s7", true, second(2000));
        assert_eq!(state.services.len(), 1, "who is gone is forgotten");

        let start = (0..500).map(|n| (id(&format!("s{n}")), vec!["added".to_owned()]));
        state.programmed(start, second(3000));
        assert_eq!(state.changes_since(1000).len(), 1, "a start is one change");
        assert_eq!(state.report(&id("s499")).programmed, Some(second(3000)));
    }

    #[test]
    fn a_failure_lasts_until_the_loop_has_recovered() {
        let mut state = State::new("node-1", second(0));
        state.failed("netlink: no buffer", second(3));
        state.failed("netlink: not permitted", second(9));
        assert_eq!(
            state.summary().failing,
            Some(Trouble { since: second(3), reason: "netlink: not permitted".into() })
        );
        state.passed(BTreeMap::new(), |_| true, false, second(10));
        let since = state.summary().failing.map(|trouble| trouble.since);
        assert_eq!(since, Some(second(3)), "a pass may be for what was known before");
        state.recovered();
        let summary = state.summary();
        assert_eq!((summary.failing, summary.last_pass, summary.verified), (None, Some(second(10)), None));
    }
}
