//! What an operator can choose about names: server blocks as a CoreDNS Corefile has them, whatever they were read from.
//!
//! A query goes to the block with the longest zone that it lies in, among those of the socket it arrived on. Inside a
//! block the order is fixed, not that of the file: acl, rewrite, any, chaos, template, hosts, file, kubernetes, cache,
//! forward.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use domain::base::{Name as WireName, Rtype, iana::Rcode};
use ipnet::IpNet;

use super::Place;

mod cluster;
pub mod corefile;
mod defaults;
mod foreign;
mod options;

pub use cluster::{ApiAccess, KubernetesOptions, PodNames, PtrNames, Requirement, Selector};
pub use defaults::{
    BUFSIZE, DNS_PORT, HEALTH_ADDRESS, LEAST_KEPT, LONGEST_DENIAL, LONGEST_SUCCESS, MOST_UPSTREAMS, PROMETHEUS_ADDRESS,
    READY_ADDRESS,
};
pub use foreign::{CacheOptions, ForwardOptions, Policy, Prefetch, ServeStale, Upstream};
pub(super) use options::INSTEAD_OF_A_COREFILE;
pub use options::{DnsMode, DnsOptions, OptionalFile, PodMode, StubDomain};

/// A domain name; compared without regard to capitals.
pub type Name = WireName<Vec<u8>>;

/// Whether a zone is one of addresses.
pub fn is_reverse(zone: &Name) -> bool {
    let under = |labels: [&[u8]; 2]| {
        let own = zone.iter().filter(|label| !label.is_root());
        let own: Vec<Vec<u8>> = own.map(|label| label.as_slice().to_ascii_lowercase()).collect();
        own.len() >= 2 && own[own.len() - 2..].iter().zip(labels).all(|(a, b)| a == b)
    };
    under([b"in-addr", b"arpa"]) || under([b"ip6", b"arpa"])
}

/// Everything about names.
#[derive(Clone, Debug, Default)]
pub struct DnsConfig {
    /// The blocks, in the order of the file
    pub servers: Vec<ServerBlock>,
}

impl DnsConfig {
    /// The same, without where it is written: what moved only has not changed.
    pub fn without_places(&self) -> Self {
        let mut config = self.clone();
        for server in &mut config.servers {
            server.place = None;
            server.forwards.iter_mut().for_each(|forward| forward.place = None);
        }
        config
    }
}

/// One server block.
#[derive(Clone, Debug)]
pub struct ServerBlock {
    /// Where it begins; none if it was made from options
    pub place: Option<Place>,
    /// The zones it answers for; the root for everything
    pub zones: Vec<Name>,
    /// Port of UDP and TCP
    pub port: u16,
    /// Addresses to listen on; empty for all
    pub bind: Vec<IpAddr>,
    /// Which queries are logged; none if not asked for
    pub log: Option<Log>,
    /// Whether errors are logged
    pub errors: bool,
    /// Where liveness is answered
    pub health: Option<HealthOptions>,
    /// Where readiness is answered
    pub ready: Option<SocketAddr>,
    /// Where metrics are answered
    pub prometheus: Option<SocketAddr>,
    /// Largest UDP answer, in octets
    pub bufsize: u16,
    /// Leave out authority and additional sections where the answer is complete without
    pub minimal: bool,
    /// Answer ANY with HINFO (RFC 8482) also where the zone data would not
    pub any: bool,
    /// What is told to who asks for the server's identity (RFC 5001)
    pub nsid: Option<Vec<u8>>,
    /// What is told to CH TXT queries
    pub chaos: Option<Chaos>,
    /// Mix the order of addresses
    pub shuffle: bool,
    /// Who may ask what; the first rule that matches decides
    pub acl: Vec<AclRule>,
    /// Questions that are asked in other words
    pub rewrites: Vec<Rewrite>,
    /// Answers that are made from a pattern
    pub templates: Vec<Template>,
    /// Names from hosts files
    pub hosts: Option<HostsOptions>,
    /// Zones from zone files
    pub files: Vec<FileZone>,
    /// The cluster's own names
    pub kubernetes: Option<KubernetesOptions>,
    /// The cache of forwarded answers; none for no cache
    pub cache: Option<CacheOptions>,
    /// Look for forwarding loops
    pub detect_loops: bool,
    /// How often the file is looked at; none to never read it again
    pub reload: Option<Duration>,
    /// Who is asked for other names; the longest `from` wins
    pub forwards: Vec<ForwardOptions>,
}

/// Which queries are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Zones whose queries are logged; empty for all
    pub zones: Vec<Name>,
    /// NOERROR with an answer
    pub success: bool,
    /// NXDOMAIN and NODATA
    pub denial: bool,
    /// Everything else
    pub error: bool,
    /// The format, with placeholders such as `{name}`; none for CoreDNS's common log format
    pub format: Option<String>,
}

/// `health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthOptions {
    /// Listener
    pub address: SocketAddr,
    /// So long answers go on after the process was asked to end
    pub lameduck: Duration,
}

/// `chaos`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// For `version.bind` and `version.server`
    pub version: String,
    /// For `authors.bind`
    pub authors: Vec<String>,
}

/// What an ACL does with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclAction {
    /// Go on
    Allow,
    /// REFUSED
    Block,
    /// NOERROR without an answer
    Filter,
    /// Silence
    Drop,
}

/// One rule of an ACL. An empty list matches everything.
#[derive(Clone, Debug)]
pub struct AclRule {
    /// Zones it is for; empty for those of the block
    pub zones: Vec<Name>,
    /// What is done
    pub action: AclAction,
    /// Query types
    pub types: Vec<Rtype>,
    /// Source addresses
    pub nets: Vec<IpNet>,
}

/// How a name is recognised by a [`Rewrite`].
#[derive(Clone, Debug)]
pub enum NameMatch {
    /// The whole name
    Exact(Name),
    /// Its first characters, in text form
    Prefix(String),
    /// Its last characters, in text form
    Suffix(String),
    /// Anywhere in the text form
    Substring(String),
    /// A regular expression over the text form; `{1}` in the replacement is its first group
    Regex(regex::Regex),
}

/// Another name in the answer.
#[derive(Clone, Debug)]
pub struct AnswerPattern {
    /// Over the text form of a name
    pub regex: regex::Regex,
    /// What takes the place of the whole name; `{1}` is the first group
    pub replacement: String,
    /// Names in record data instead of those of owners
    pub values: bool,
}

/// A question that is asked in other words.
#[derive(Clone, Debug)]
pub enum Rewrite {
    /// Another name
    Name {
        /// Which
        matches: NameMatch,
        /// What takes the place of what matched
        replacement: String,
        /// Names of the answer are put back
        restore_answer: bool,
        /// or changed as these say, in their order
        answers: Vec<AnswerPattern>,
        /// Go on with the next rule
        go_on: bool,
    },
    /// Another type
    Type {
        /// From
        from: Rtype,
        /// To
        to: Rtype,
        /// Go on with the next rule
        go_on: bool,
    },
    /// Another time to live in the answer
    Ttl {
        /// Which names
        matches: NameMatch,
        /// Seconds, least
        least: u32,
        /// Seconds, most
        most: u32,
        /// Go on with the next rule
        go_on: bool,
    },
}

/// `template`, in the form that answers with a code alone.
#[derive(Clone, Debug)]
pub struct Template {
    /// Zones; empty for those of the block
    pub zones: Vec<Name>,
    /// Query type; none for every type
    pub rtype: Option<Rtype>,
    /// Patterns over the text form of the name, one of which must match; empty for every name
    pub matches: Vec<regex::Regex>,
    /// What is answered
    pub rcode: Rcode,
    /// Names in the zones that no pattern matches go on; else they do not exist
    pub fallthrough: Fallthrough,
}

/// `hosts`.
#[derive(Clone, Debug)]
pub struct HostsOptions {
    /// The file; none with inline entries alone
    pub file: Option<PathBuf>,
    /// Zones; empty for those of the block
    pub zones: Vec<Name>,
    /// Lines in the form of a hosts file
    pub inline: Vec<String>,
    /// Seconds
    pub ttl: u32,
    /// Do not answer for addresses
    pub no_reverse: bool,
    /// How often the file is looked at; zero for never
    pub reload: Duration,
    /// What is not found goes on
    pub fallthrough: Fallthrough,
}

/// `file`.
#[derive(Clone, Debug)]
pub struct FileZone {
    /// The zone file (RFC 1035)
    pub file: PathBuf,
    /// Zones; empty for those of the block
    pub zones: Vec<Name>,
    /// How often the file is looked at; zero for never
    pub reload: Duration,
    /// What is not found goes on
    pub fallthrough: Fallthrough,
}

/// For which zones a missing name goes on to the next source instead of NXDOMAIN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallthrough {
    /// For none
    #[default]
    Never,
    /// For all
    Always,
    /// For these
    Zones(Vec<Name>),
}
