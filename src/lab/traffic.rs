use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{LabError, Namespace, Outcome, Probe, Session, Tally, netns::Entrance};
use crate::model::Protocol;

/// Connections that go on while something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficPlan {
    /// The question that every connection asks
    pub probe: Probe,
    /// How many threads open new connections, each one after another
    pub workers: usize,
    /// How long a worker rests after each connection, and a session after each line
    pub pause: Duration,
    /// How many connections are opened at the start and kept
    pub sessions: usize,
    /// When it all ends by itself
    pub limit: Duration,
}

impl TrafficPlan {
    /// Two workers and four sessions, a rest of 2 ms, an end after 30 s.
    pub fn new(probe: Probe) -> Self {
        let (pause, limit) = (Duration::from_millis(2), Duration::from_secs(30));
        Self { probe, workers: 2, pause, sessions: 4, limit }
    }
}

/// Traffic under way. Dropping it without [`Traffic::stop`] ends it too, a moment later.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<Tally, LabError>>>,
    sessions: Vec<JoinHandle<Result<Tally, LabError>>>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficReport {
    /// New connections
    pub connections: Tally,
    /// For each session, its lines
    pub sessions: Vec<Tally>,
}

impl TrafficReport {
    /// Whether every line of every session was answered, and by one pod all the time.
    pub fn sessions_unharmed(&self) -> bool {
        self.sessions.iter().all(|lines| lines.pods.len() == 1 && lines.answered() == lines.total())
    }
}

impl Traffic {
    /// Starts traffic from inside the namespace. When it returns, every session has had its first answer.
    pub fn start(namespace: &Namespace, plan: TrafficPlan) -> Result<Self, LabError> {
        let mut traffic = Self { stop: Arc::default(), workers: Vec::new(), sessions: Vec::new() };
        let end = Instant::now() + plan.limit;
        for _ in 0..plan.sessions {
            let (session, first) = established(namespace, &plan.probe)?;
            let stop = traffic.stop.clone();
            traffic.sessions.push(spawn(move || converse(session, first, &plan, &stop, end))?);
        }
        for _ in 0..plan.workers {
            let (entrance, stop) = (Entrance::to(namespace)?, traffic.stop.clone());
            traffic.workers.push(spawn(move || connect_again_and_again(&entrance, &plan, &stop, end))?);
        }
        Ok(traffic)
    }

    /// Ends the traffic, waits for answers that are still out, and reports. An error is one of the lab's own, such as a
    /// socket that could not be opened.
    pub fn stop(mut self) -> Result<TrafficReport, LabError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut report = TrafficReport::default();
        for worker in self.workers.drain(..) {
            report.connections.merge(&join(worker)?);
        }
        for session in self.sessions.drain(..) {
            report.sessions.push(join(session)?);
        }
        Ok(report)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A session that has had its first answer, counted.
fn established(namespace: &Namespace, probe: &Probe) -> Result<(Session, Tally), LabError> {
    let outcome = match Session::open(probe, namespace)? {
        Err(outcome) => outcome,
        Ok(mut session) => match session.exchange(probe.patience)? {
            outcome @ Outcome::Answered { .. } => {
                let mut tally = Tally::default();
                tally.add(&outcome);
                return Ok((session, tally));
            }
            outcome => outcome,
        },
    };
    Err(LabError::Failed { attempt: format!("open a session with {}", probe.frontend), reason: outcome.to_string() })
}

/// Asks line after line. A broken TCP connection ends it; a UDP flow goes on.
fn converse(
    mut session: Session,
    mut lines: Tally,
    plan: &TrafficPlan,
    stop: &AtomicBool,
    end: Instant,
) -> Result<Tally, LabError> {
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        thread::sleep(plan.pause);
        let outcome = session.exchange(plan.probe.patience)?;
        lines.add(&outcome);
        if outcome.pod().is_none() && plan.probe.frontend.protocol == Protocol::Tcp {
            break;
        }
    }
    Ok(lines)
}

fn connect_again_and_again(
    entrance: &Entrance,
    plan: &TrafficPlan,
    stop: &AtomicBool,
    end: Instant,
) -> Result<Tally, LabError> {
    entrance.enter()?;
    let mut connections = Tally::default();
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        connections.add(&plan.probe.ask()?);
        thread::sleep(plan.pause);
    }
    Ok(connections)
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, LabError> {
    thread::Builder::new().spawn(work).map_err(|e| LabError::io("start a thread for traffic", e))
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
}
