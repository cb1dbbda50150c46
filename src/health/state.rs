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
    /// The oldest update that the loop has not taken up
    waiting: Option<Instant>,
    /// The oldest update that the loop has taken up and not finished
    taken: Option<Instant>,
    /// When the kernel was last known to hold everything; at first, when the process started
    updated: Instant,
    /// When the kernel was last compared
    verified: Option<Instant>,
    /// What is known of the node
    pub(super) node: NodeState,
    /// Lists that are not complete, with the last error of each
    pub(super) missing: BTreeMap<String, Option<String>>,
    /// The first complete lists are in the kernel
    programmed: bool,
}

impl State {
    /// A process that started at `now`; see [`super::Health::new`]. The start counts as an update, so that it is not
    /// restarted while it waits for the API server.
    pub fn new(now: Instant, timeout: Duration, node: NodeState) -> Self {
        Self {
            timeout,
            waiting: None,
            taken: None,
            updated: now,
            verified: None,
            node,
            missing: BTreeMap::new(),
            programmed: false,
        }
    }

    /// See [`super::Health::queued`].
    pub fn queue(&mut self, now: Instant) {
        self.waiting.get_or_insert(now);
    }

    /// See [`super::Health::begin`].
    pub fn begin(&mut self) {
        self.taken = self.outstanding();
        self.waiting = None;
    }

    /// See [`super::Health::updated`].
    pub fn update(&mut self, now: Instant) {
        self.taken = None;
        self.updated = now;
        self.verified = Some(now);
        self.programmed |= self.missing.is_empty();
    }

    /// See [`super::Health::verified`].
    pub fn verify(&mut self, now: Instant) {
        self.verified = Some(now);
    }

    /// Whether nothing is outstanding for as long as the timeout.
    pub fn is_current(&self, now: Instant) -> bool {
        self.outstanding().is_none_or(|since| now.saturating_duration_since(since) < self.timeout)
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

    fn outstanding(&self) -> Option<Instant> {
        [self.taken, self.waiting].into_iter().flatten().min()
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
        Begin,
        Update,
    }
    use Step::{Begin, Queue, Update};

    /// Whether the process is current at a second, after these steps at theirs.
    fn current(steps: &[(u64, Step)], at: u64) -> bool {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut state = State::new(start, TIMEOUT, NodeState::Eligible);
        for (when, step) in steps {
            match step {
                Queue => state.queue(second(*when)),
                Begin => state.begin(),
                Update => state.update(second(*when)),
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
        assert!(!current(&[(10, Queue), (20, Begin)], 70), "a loop that hangs in the kernel");
        assert!(!current(&[(10, Queue), (20, Begin), (30, Queue)], 70), "the same, and news arrive");
        assert!(!current(&[(10, Queue), (20, Begin), (50, Queue), (51, Begin)], 70), "failed, and tried again");
        assert!(current(&[(10, Queue), (20, Begin), (65, Update)], 1_000), "done");
        assert!(current(&[(10, Queue), (80, Begin), (90, Update)], 91), "late, but done");
    }

    #[test]
    fn what_arrives_during_a_sync_is_not_taken_for_done() {
        let steps = || [(10, Queue), (20, Begin), (30, Queue), (40, Update)];
        assert!(current(&steps(), 89));
        assert!(!current(&steps(), 90), "the update of second 30 is outstanding still");
    }

    #[test]
    fn a_process_is_ready_once_complete_lists_were_programmed() {
        let start = Instant::now();
        let wall: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let mut state = State::new(start, TIMEOUT, NodeState::Unknown);
        state.missing.insert("the list of Services".into(), None);
        state.missing.insert("the list of EndpointSlices".into(), Some("connection refused".into()));
        state.update(start);
        let report = state.readyz(wall);
        assert!(!report.ready, "an update without complete lists wrote nothing");
        assert_eq!(report.waiting_for, ["the list of EndpointSlices: connection refused", "the list of Services"]);
        state.missing.clear();
        assert_eq!(state.readyz(wall).waiting_for, ["the first rules in the kernel"]);
        state.update(start);
        assert!(state.readyz(wall).ready);
        state.missing.insert("the list of Services".into(), Some("gone".into()));
        assert!(state.readyz(wall).ready, "rules stay in force without an API server");
    }
}
