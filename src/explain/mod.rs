//! Why a Service works or does not: the way of one connection's first packet, step by step, told by the decisions that
//! [`crate::compile`] took. Pure: what was seen on a node comes in as [`Observed`].

mod absent;
mod address;
mod alias;
mod cause;
mod client;
mod declared;
mod dial;
mod headless;
mod hostname;
mod name;
mod near;
mod others;
mod question;
mod report;
mod scene;
mod seen;
mod serve;
mod service;
mod slices;
mod stray;
#[cfg(test)]
mod tests;
mod walk;
mod whose;

pub use cause::Cause;
pub use question::{Dialled, Host, NameAnswer, PortRef, Question, Resolution};
pub use scene::{ApiLists, Scene};
pub use walk::{deciding_node, explain};

use std::{collections::BTreeSet, net::IpAddr};

use serde::Serialize;

use crate::model::{Frontend, Target};

/// Who opens the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Pod
    Pod {
        /// Its namespace
        namespace: String,
        /// Its name
        name: String,
    },
    /// A process of this node
    Host,
    /// Somebody with this address; who that is follows from it
    Address(IpAddr),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The question as it was understood
    pub question: String,
    /// The way, in order
    pub steps: Vec<Step>,
    /// What it comes to
    pub verdict: Verdict,
    /// The first true cause, if it does not work or works only in part
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What the client would experience
    pub prediction: Prediction,
    /// One sentence: works; works but ...; does not work because ...; and what to do. The last line of the text.
    pub sentence: String,
}

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Where on the way
    pub stage: Stage,
    /// How it stands
    pub mark: Mark,
    /// What was decided and why, one line, without a full stop
    pub text: String,
}

/// Where on the way a step is, in the order of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Who asks whom
    Client,
    /// What DNS answers
    Name,
    /// The Service object
    Service,
    /// What is dialled, and whose it is
    Frontend,
    /// `loadBalancerSourceRanges`
    SourceRange,
    /// The traffic policy
    Policy,
    /// One endpoint, used or not
    Endpoint,
    /// Session affinity
    Affinity,
    /// Whether the client's address is hidden
    Masquerade,
    /// Whether the kernel holds what is wanted
    Kernel,
    /// Whether the agent keeps it so
    Agent,
    /// Connections that are tracked
    Connection,
    /// Forwarding and routes
    Node,
    /// Rules of others
    Foreign,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// As it should be
    Good,
    /// Said for information
    Note,
    /// It works in spite of this
    Warning,
    /// Here it ends
    Broken,
    /// It could not be found out
    Unknown,
}

/// What it comes to. The exit code is 0, 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Works
    Works,
    /// Works, but there is something to know or to mend
    WorksBut,
    /// Does not work
    Fails,
}

/// What the client experiences with a new connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// What comes of it
    pub outcome: Outcome,
    /// What is dialled, if it came so far
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub frontend: Option<Frontend>,
    /// Any one of these may answer
    #[serde(serialize_with = "each_as_text")]
    pub endpoints: BTreeSet<Target>,
    /// The endpoint sees this node's address in place of the client's
    pub hidden: bool,
}

/// What comes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An endpoint gets it
    Answered,
    /// An error comes back at once
    Refused,
    /// Silence
    Dropped,
    /// There is no address to dial: the name has none
    NoAddress,
    /// Nobody on this node's way knows the address; it is left to the routes
    Passed,
}

fn as_text<S: serde::Serializer>(value: &Option<Frontend>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn each_as_text<S: serde::Serializer>(values: &BTreeSet<Target>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}
