use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{LabError, Namespace, in_namespace, session::Session};
use crate::model::Frontend;

/// How long a probe waits for an answer if nobody asks for another time. The lab answers within a millisecond or so; the
/// rest is for a busy machine. Who expects silence should not wait so long.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What came of asking a frontend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A pod answered
    Answered {
        /// Its name
        pod: String,
        /// The client as the pod saw it
        source: SocketAddr,
        /// The address and port at which the pod was reached
        destination: SocketAddr,
    },
    /// ICMP port unreachable: a REJECT; over UDP also a host where nobody listens
    Refused,
    /// TCP only: a reset, or an end without an answer: the packet reached a host where nobody listens
    Reset,
    /// The client's own node dropped the packet in its output hook and the kernel said so (EPERM); TCP hides this and
    /// tries again, so that it looks like [`Outcome::Silence`]
    NotPermitted,
    /// Nothing came back in time: a DROP
    Silence,
    /// Any other ICMP error, or no route: the packet went nowhere
    Unreachable,
}

impl Outcome {
    /// The name of the pod that answered.
    pub fn pod(&self) -> Option<&str> {
        if let Outcome::Answered { pod, .. } = self { Some(pod) } else { None }
    }

    /// The client's address as the pod saw it.
    pub fn source(&self) -> Option<IpAddr> {
        if let Outcome::Answered { source, .. } = self { Some(source.ip()) } else { None }
    }

    /// Reads a responder's two lines.
    pub(super) fn parse(answer: &str) -> Option<Self> {
        let (greeting, route) = answer.split_once('\n')?;
        let (source, destination) = route.trim_end().strip_prefix("from ")?.split_once(" to ")?;
        Some(Outcome::Answered {
            pod: greeting.strip_prefix("You've hit ")?.to_owned(),
            source: source.parse().ok()?,
            destination: destination.parse().ok()?,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Answered { pod, .. } => f.write_str(pod),
            Outcome::Refused => f.write_str("refused"),
            Outcome::Reset => f.write_str("reset"),
            Outcome::NotPermitted => f.write_str("not permitted"),
            Outcome::Silence => f.write_str("silence"),
            Outcome::Unreachable => f.write_str("unreachable"),
        }
    }
}

/// A question to a frontend: one new connection, one line, one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whom to ask
    pub frontend: Frontend,
    /// The client's address; `None` leaves it to the kernel
    pub source: Option<IpAddr>,
    /// The client's port; 0 leaves it to the kernel
    pub source_port: u16,
    /// How long to wait for each answer
    pub patience: Duration,
}

impl Probe {
    /// A probe from any address and port, with the usual [`PATIENCE`].
    pub fn new(frontend: Frontend) -> Self {
        Self { frontend, source: None, source_port: 0, patience: PATIENCE }
    }

    /// The same probe from this address, which must be one of the namespace's own.
    pub fn from(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same probe from this port.
    pub fn from_port(self, source_port: u16) -> Self {
        Self { source_port, ..self }
    }

    /// The same probe, waiting this long.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Asks once, from inside the namespace. SCTP is an error: see [`super::sctp`].
    pub fn run(&self, namespace: &Namespace) -> Result<Outcome, LabError> {
        in_namespace(namespace, || self.ask())?
    }

    /// Asks `count` times, one after another, from inside the namespace.
    pub fn spread(&self, namespace: &Namespace, count: usize) -> Result<Tally, LabError> {
        in_namespace(namespace, || {
            let mut tally = Tally::default();
            for _ in 0..count {
                tally.add(&self.ask()?);
            }
            Ok(tally)
        })?
    }

    /// Asks once, from the namespace of the calling thread.
    pub(super) fn ask(&self) -> Result<Outcome, LabError> {
        let deadline = Instant::now() + self.patience;
        match Session::connect(self)? {
            Ok(mut session) => session.exchange(deadline.saturating_duration_since(Instant::now())),
            Err(outcome) => Ok(outcome),
        }
    }
}

/// Outcomes, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers by the pod's name; other outcomes by their names, such as `refused`
    pub outcomes: BTreeMap<String, usize>,
    /// Answers by the pod's name
    pub pods: BTreeMap<String, usize>,
    /// The client's addresses as the pods saw them
    pub sources: BTreeSet<IpAddr>,
}

impl Tally {
    /// Counts one outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        *self.outcomes.entry(outcome.to_string()).or_default() += 1;
        if let Outcome::Answered { pod, source, .. } = outcome {
            *self.pods.entry(pod.clone()).or_default() += 1;
            self.sources.insert(source.ip());
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Tally) {
        for (total, part) in [(&mut self.outcomes, &other.outcomes), (&mut self.pods, &other.pods)] {
            part.iter().for_each(|(name, count)| *total.entry(name.clone()).or_default() += count);
        }
        self.sources.extend(&other.sources);
    }

    /// The number of questions.
    pub fn total(&self) -> usize {
        self.outcomes.values().sum()
    }

    /// The number of answers.
    pub fn answered(&self) -> usize {
        self.pods.values().sum()
    }
}
