//! What was seen on a node at one moment: plain values, read by [`crate::kernel::observe`], judged by
//! [`crate::explain`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    foreign,
    model::{Family, Frontend, Protocol, Target},
    tables::{Difference, List},
};

/// What was seen, or why it could not be: what was attempted and the reason, without a full stop.
pub type Seen<T> = Result<T, String>;

/// Everything that was looked at. Each part may be missing without the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Our own tables
    pub programmed: Seen<Programmed>,
    /// Connection tracking
    pub connections: Seen<Connections>,
    /// The node around our tables
    pub surroundings: Seen<Surroundings>,
    /// What the running agent says of itself
    pub agent: Result<AgentReport, Silence>,
}

/// What the kernel holds in our tables, as against what is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Programmed {
    /// The program of each family. Absent: its chains could not be compared without writing, and nothing else is wrong.
    pub programs: BTreeMap<Family, ProgramState>,
    /// What differs between what is wanted and what is held, for the Service asked for and for the node's own rows
    pub differences: Vec<Difference>,
    /// New connections counted since the frontend was programmed: those served, and those refused or dropped because
    /// there is no endpoint. Frontends without a counter are absent.
    pub counters: BTreeMap<Frontend, Counters>,
    /// Our own table as the kernel has it, of families whose program is damaged, if it could be read: what an edited rule
    /// does is told as if it were somebody else's
    pub edited: BTreeMap<Family, foreign::Ruleset>,
    /// Clients that session affinity remembers, for the Service asked for
    pub remembered: Vec<RememberedClient>,
}

/// The counters of a frontend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// New connections that went to an endpoint
    pub served: u64,
    /// New connections that met a dead end
    pub dead_end: u64,
}

/// How the program in a family's table compares with the one that this version and these settings would write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramState {
    /// The very same
    Intact,
    /// There is no table
    Missing,
    /// Another version, or other settings
    Other,
    /// Somebody gave the table the flag `dormant`: no packet meets it
    Dormant,
    /// Somebody edited it: chains that are not as written, and what does not belong into it, as `ip chain internal`
    Damaged(Vec<String>),
}

/// A client that session affinity sends to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RememberedClient {
    /// The list that the endpoint was picked from
    pub list: ListName,
    /// Protocol of the service port
    pub protocol: Protocol,
    /// Name of the service port; empty if it has none
    pub port_name: String,
    /// The client
    pub client: IpAddr,
    /// Its endpoint
    pub target: Target,
    /// Seconds until it is forgotten
    pub expires: u64,
}

/// [`List`] in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListName {
    /// All endpoints
    All,
    /// This node's own
    Local,
}

impl From<List> for ListName {
    fn from(list: List) -> Self {
        match list {
            List::All => ListName::All,
            List::Local => ListName::Local,
        }
    }
}

/// What connection tracking holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Entries whose first packet went to one of the frontends asked for
    pub entries: Vec<Connection>,
    /// Entries in the whole table
    pub count: u64,
    /// The most that it takes; a full table drops the first packet of every new connection
    pub max: u64,
}

/// An entry of the connection tracking table. Packets that belong to it never meet our tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// What the client dialled
    pub frontend: Frontend,
    /// The client
    pub client: Target,
    /// Who answers it: an endpoint, or the frontend itself if nothing was translated
    pub endpoint: Target,
    /// Where the answers go: the client, or this node if the client's address is hidden
    pub answers_to: Target,
    /// A packet came back
    pub answered: bool,
}

/// The node's own settings, its routes, and the tables of others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// Whether the node passes packets on: `net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`. A family that could not
    /// be read is absent.
    pub forwarding: BTreeMap<Family, bool>,
    /// Of the interfaces that the routes name, whether IPv4 packets that come by it are passed on:
    /// `net.ipv4.conf.IF.forwarding`. `net.ipv4.ip_forward` is only what sets all of them; of IPv6 there is no such switch.
    pub passes_on: BTreeMap<String, bool>,
    /// Addresses that are this node's own
    pub own_addresses: BTreeSet<IpAddr>,
    /// Where packets to the addresses asked for would go; to endpoints, those of the client, if its address and the interface
    /// that it comes by are known
    pub routes: BTreeMap<IpAddr, Route>,
    /// Every table that is not ours
    pub foreign: foreign::Ruleset,
    /// A kube-proxy that lives on this node, and how it was recognised
    pub kube_proxy: Option<String>,
    /// Rules that a kube-proxy left, which does not live any more
    pub kube_proxy_rules: BTreeMap<Family, String>,
    /// Tables of the iptables that is no front end of nftables (iptables-legacy), which nobody here can read
    pub old_tables: BTreeMap<Family, Vec<String>>,
    /// Addresses and routes that could not be read: what was attempted and the reason
    pub unread: Vec<String>,
    /// The same of the tables of others. One that is named here may do anything to the packet.
    pub unread_tables: Vec<String>,
}

/// What the kernel's routing says of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// It is this node's own address
    Here,
    /// Out of this interface, to this neighbour if it is not the address itself
    Out {
        /// The interface's name
        interface: String,
        /// The next hop
        gateway: Option<IpAddr>,
    },
    /// Nowhere: `unreachable`, `prohibited`, `blackhole`, or `no route`
    None(String),
}

/// An agent that was not heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// What was attempted and the reason, without a full stop
    pub why: String,
    /// By its settings it serves no metrics, where it would tell of itself: silence means nothing
    pub mute: bool,
    /// Nobody in the network namespace listens for changes of nftables, as a running agent does
    pub gone: bool,
}

/// What a running agent says of itself, in as far as it concerns one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentReport {
    /// The node's name, as the agent has it
    pub node: String,
    /// When the Service's rows were last changed in the kernel; `None` if that was before this agent started
    pub programmed: Option<Timestamp>,
    /// What it was that changed then, a line each
    pub changed: Vec<String>,
    /// Why the kernel refused the Service's rows, in its words, if it does
    pub refused: Option<String>,
    /// Since when the source of objects (API server or files) has not been heard of, if it is not
    pub source_stale: Option<Timestamp>,
    /// What the source said when it was last asked in vain
    pub source_error: Option<String>,
    /// When the kernel was last compared with what is wanted
    pub verified: Option<Timestamp>,
}
