use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{HealthReport, NodeState, ReadyReport, report::FamilyReport};
use crate::model::Family;

/// What is known, and the decisions that follow. It reads no clock: the time is told.
#[derive(Clone, Debug)]
pub struct State {
    /// How long an update may be outstanding
    timeout: Duration,
    /// The oldest and the newest update that is outstanding
    outstanding: Option<(Instant, Instant)>,
    /// When the kernel was last known to hold everything; at first, when the process started
    updated: Instant,
    /// When the kernel was last read and compared
    verified: Option<Instant>,
    /// What is known of the node
    pub(super) node: NodeState,
    /// Lists that are not complete, with the last error of each
    pub(super) missing: BTreeMap<String, Option<String>>,
    /// The kernel was brought in line once
    programmed: bool,
}

impl State {
    /// A process that started at `now`; see [`super::Health::new`]. The start counts as an update, so that it is not
    /// restarted while it waits for the API server.
    pub fn new(now: Instant, timeout: Duration, node: NodeState) -> Self {
        Self {
            timeout,
            outstanding: None,
            updated: now,
            verified: None,
            node,
            missing: BTreeMap::new(),
            programmed: false,
        }
    }

    /// See [`super::Health::queued`].
    pub fn queue(&mut self, now: Instant) {
        let oldest = self.outstanding.map_or(now, |(oldest, _)| oldest);
        self.outstanding = Some((oldest, now));
    }

    /// See [`super::Health::updated`].
    pub fn update(&mut self, begun: Instant, now: Instant) {
        // Of those that arrived during the pass the newest is known, and stands for them.
        self.outstanding = self.outstanding.filter(|(_, newest)| *newest > begun).map(|(_, newest)| (newest, newest));
        self.updated = now;
        self.programmed = true;
    }

    /// See [`super::Health::verified`].
    pub fn verify(&mut self, now: Instant) {
        self.verified = Some(now);
    }

    /// Whether nothing is outstanding for as long as the timeout.
    pub fn is_current(&self, now: Instant) -> bool {
        self.outstanding.is_none_or(|(oldest, _)| now.saturating_duration_since(oldest) < self.timeout)
    }

    /// What `/livez` says at `now`, which is `wall` on the calendar.
    pub fn livez(&self, now: Instant, wall: Timestamp) -> HealthReport {
        let healthy = self.is_current(now);
        let updated = on_calendar(self.updated, now, wall);
        let family = FamilyReport { last_updated: updated, healthy };
        HealthReport {
            last_updated: if healthy { wall } else { updated },
            current_time: wall,
            node_eligible: None,
            node_reason: None,
            healthy,
            status: Family::ALL.iter().map(|f| (f.to_string(), family.clone())).collect(),
            last_verified: self.verified.map(|verified| on_calendar(verified, now, wall)),
        }
    }

    /// What `/healthz` says at `now`, which is `wall` on the calendar.
    pub fn healthz(&self, now: Instant, wall: Timestamp) -> HealthReport {
        HealthReport {
            node_eligible: Some(self.node.is_eligible()),
            node_reason: self.node.reason().map(str::to_owned),
            ..self.livez(now, wall)
        }
    }

    /// What `/readyz` says at `wall` on the calendar.
    pub fn readyz(&self, wall: Timestamp) -> ReadyReport {
        let missing = self.missing.iter().map(|(list, error)| match error {
            Some(error) => format!("{list}: {error}"),
            None => list.clone(),
        });
        let mut waiting_for: Vec<String> = if self.programmed { Vec::new() } else { missing.collect() };
        if !self.programmed && waiting_for.is_empty() {
            waiting_for.push("the first rules in the kernel".to_owned());
        }
        ReadyReport { ready: self.programmed, current_time: wall, waiting_for }
    }
}

/// An earlier moment on the calendar. Ages are measured by the clock that nobody sets, so they stay right when somebody
/// sets the other one.
fn on_calendar(then: Instant, now: Instant, wall: Timestamp) -> Timestamp {
    let age = SignedDuration::try_from(now.saturating_duration_since(then)).unwrap_or(SignedDuration::ZERO);
    wall.checked_sub(age).unwrap_or(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    enum Step {
        Queue,
        /// A pass that began at this second is over
        Update(u64),
    }
    use Step::{Queue, Update};

    /// Whether the process is current at a second, after these steps at theirs.
    fn current(steps: &[(u64, Step)], at: u64) -> bool {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let mut state = State::new(start, TIMEOUT, NodeState::Eligible);
        for (when, step) in steps {
            match step {
                Queue => state.queue(second(*when)),
                Update(begun) => state.update(second(*begun), second(*when)),
            }
        }
        state.is_current(second(at))
    }

    #[test]
    fn an_update_may_be_outstanding_for_less_than_the_timeout() {
        assert!(current(&[], 1_000_000), "a fresh process waits for the API server");
        assert!(current(&[(10, Queue)], 69));
        assert!(!current(&[(10, Queue)], 70));
        assert!(!current(&[(10, Queue), (60, Queue)], 70), "the oldest counts");
        assert!(current(&[(10, Queue), (65, Update(20))], 1_000), "done");
        assert!(current(&[(10, Queue), (90, Update(80))], 91), "late, but done");
        assert!(current(&[(10, Queue), (20, Update(15)), (30, Queue)], 89), "the next one");
        assert!(!current(&[(10, Queue), (20, Update(15)), (30, Queue)], 90));
    }

    #[test]
    fn what_arrives_during_a_pass_is_not_taken_for_done() {
        let steps = || [(10, Queue), (30, Queue), (40, Update(20))];
        assert!(current(&steps(), 89));
        assert!(!current(&steps(), 90), "the update of second 30 is outstanding still");
    }

    #[test]
    fn a_process_is_ready_once_something_was_programmed() {
        let start = Instant::now();
        let wall: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let mut state = State::new(start, TIMEOUT, NodeState::Unknown);
        state.missing.insert("the list of Services".into(), None);
        state.missing.insert("the list of EndpointSlices".into(), Some("connection refused".into()));
        let report = state.readyz(wall);
        assert!(!report.ready);
        assert_eq!(report.waiting_for, ["the list of EndpointSlices: connection refused", "the list of Services"]);
        state.missing.clear();
        assert_eq!(state.readyz(wall).waiting_for, ["the first rules in the kernel"]);
        state.update(start, start);
        assert!(state.readyz(wall).ready);
        state.missing.insert("the list of Namespaces".into(), Some("forbidden".into()));
        assert!(state.readyz(wall).ready, "rules are in force without it");
    }
}
