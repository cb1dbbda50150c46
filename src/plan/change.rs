use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    model::{Frontend, IpRange, ServiceId, Target},
    tables::Policy,
};

/// Which clients a frontend serves in one way: with an external policy Local there are two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clients {
    /// Everybody
    All,
    /// Pods, and processes of the node
    Inside,
    /// Everybody else
    Outside,
}

/// What becomes of a new connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// One of these gets it
    Served(BTreeSet<Target>),
    /// An error comes back: there is no endpoint
    Refused,
    /// Silence: the policy is Local and there is none on the node
    Dropped,
}

impl Fate {
    /// Whether there is somebody to answer.
    pub fn is_served(&self) -> bool {
        matches!(self, Fate::Served(_))
    }
}

/// A frontend as a reader knows it: node ports are one thing, whatever the node's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placed {
    /// An address and port
    At(Frontend),
    /// A node port; the address is left out of the words
    NodePort(Frontend),
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A frontend that nobody had
    Appears(Clients, Fate),
    /// A frontend that nobody has any more; whether somebody answered, and whether its UDP flows are deleted
    Vanishes {
        /// Somebody was served
        served: bool,
        /// UDP
        udp: bool,
    },
    /// The frontend goes to another Service; whether somebody was served
    TakenBy(ServiceId, bool),
    /// The Service asks for the frontend, which another one has
    Contested(ServiceId),
    /// The frontend comes from another Service
    TakenFrom(ServiceId, Fate),
    /// Clients get another fate, and one of the two is no service
    Fate {
        /// Whose
        clients: Clients,
        /// Before
        old: Fate,
        /// After
        new: Fate,
        /// UDP: of its flows, [`Change::FlowsMove`] tells
        udp: bool,
    },
    /// Other endpoints, for clients that are served before and after
    Endpoints {
        /// Whose
        clients: Clients,
        /// New ones
        added: BTreeSet<Target>,
        /// Those that are not used any more
        removed: BTreeSet<Target>,
        /// How many there were
        before: usize,
        /// How many there are
        after: usize,
        /// UDP: of its flows, [`Change::FlowsMove`] tells
        udp: bool,
    },
    /// UDP flows to these endpoints are deleted; whether a new packet finds another endpoint
    FlowsMove(BTreeSet<Target>, bool),
    /// Another policy, for a frontend that is served before and after
    Policy(Policy, Policy),
    /// Only these clients may come, where everybody might
    Guarded(Vec<IpRange>),
    /// Everybody may come, where only these might
    Unguarded(Vec<IpRange>),
    /// Other source ranges
    Sources {
        /// No longer wholly allowed
        closed: Vec<IpRange>,
        /// Not wholly allowed before
        opened: Vec<IpRange>,
        /// All of the new ones
        now: Vec<IpRange>,
    },
    /// Session affinity: seconds before and after
    Affinity(Option<u32>, Option<u32>),
    /// Clients that are remembered for these endpoints lose them
    Forgotten(BTreeSet<Target>),
    /// The service port has another name or protocol: what affinity remembered is lost
    ForgottenAll,
    /// The service port's name, which nobody dials
    Renamed(String, String),
    /// Cluster IPs
    ClusterIps(Vec<IpAddr>, Vec<IpAddr>),
    /// The node port of this service port
    NodePortNumber(String, u16, u16),
    /// Health check node port
    HealthCheck(Option<u16>, Option<u16>),
    /// Ready endpoints on the node, as the health check tells: the port, before, after
    HealthReady(u16, usize, usize),
    /// A Service's name that there was not, and its addresses or alias
    NameAppears(String, BTreeSet<String>),
    /// A Service's name that there is not any more; whether it had an answer
    NameVanishes(String, bool),
    /// A Service's name that answers something else
    NameAnswers {
        /// The name, without the cluster's domain
        name: String,
        /// New answers
        gained: BTreeSet<String>,
        /// Former answers
        lost: BTreeSet<String>,
        /// Nothing is left
        empty: bool,
    },
    /// Names of single endpoints: those that come, go, and have another address
    EndpointNames {
        /// Come
        gained: BTreeSet<String>,
        /// Go
        lost: BTreeSet<String>,
        /// Lead elsewhere
        moved: BTreeSet<String>,
    },
    /// Rows that no client sees, in words
    Bookkeeping(Vec<String>),
}
