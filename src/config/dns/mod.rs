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

/// A domain name; compared without regard to capitals.
pub type Name = WireName<Vec<u8>>;

/// Everything about names.
#[derive(Clone, Debug, Default)]
pub struct DnsConfig {
    /// The blocks, in the order of the file
    pub servers: Vec<ServerBlock>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    },
}

/// `template`, in the form that answers with a code alone.
#[derive(Clone, Debug)]
pub struct Template {
    /// Zones
    pub zones: Vec<Name>,
    /// Query type; none for every type
    pub rtype: Option<Rtype>,
    /// Patterns over the text form of the name, one of which must match; empty for every name
    pub matches: Vec<regex::Regex>,
    /// What is answered
    pub rcode: Rcode,
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

/// Pod names (1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodNames {
    /// None
    Disabled,
    /// Any address in an existing namespace
    #[default]
    Insecure,
    /// Only of pods that are there
    Verified,
    /// Any address in these ranges, in an existing namespace
    Ranges(Vec<IpNet>),
}

/// Which names an address has (1.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PtrNames {
    /// All
    #[default]
    All,
    /// Only those with an explicit host name, where there is one
    HostnamePreferred,
}

/// A label selector: all of these must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Requirements
    pub requirements: Vec<Requirement>,
}

/// One requirement of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// `key in (values)`, `key=value`
    In(String, Vec<String>),
    /// `key notin (values)`, `key!=value`; holds without the key as well
    NotIn(String, Vec<String>),
    /// `key`
    Exists(String),
    /// `!key`
    Missing(String),
}

/// `kubernetes`: the cluster's own names.
#[derive(Clone, Debug)]
pub struct KubernetesOptions {
    /// Zones, forward and reverse
    pub zones: Vec<Name>,
    /// Seconds that answers may be kept
    pub ttl: u32,
    /// Pod names
    pub pods: PodNames,
    /// Endpoints without a host name are named after their pod
    pub endpoint_pod_names: bool,
    /// Endpoints answer to their other names, too (1.5)
    pub endpoint_aliases: bool,
    /// Only these namespaces; empty for all
    pub namespaces: Vec<String>,
    /// Only namespaces with these labels
    pub namespace_labels: Option<Selector>,
    /// Only Services with these labels
    pub labels: Option<Selector>,
    /// Know no endpoints: headless Services do not exist
    pub no_endpoints: bool,
    /// A Service without a ready endpoint does not exist
    pub ignore_empty_service: bool,
    /// What is not found goes on
    pub fallthrough: Fallthrough,
    /// Names of addresses
    pub ptr: PtrNames,
    /// Namespace and name of the Service that clients ask; its cluster IPs are `ns.dns`
    pub dns_service: (String, String),
    /// Answer as CoreDNS does where the two differ (deltas 1-4, 7, 9-12)
    pub compat: bool,
    /// How to reach the API server; the process's own way if all are empty
    pub api: ApiAccess,
}

/// `endpoint`, `kubeconfig`, `tls` of the kubernetes directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiAccess {
    /// URL
    pub endpoint: Option<String>,
    /// File
    pub kubeconfig: Option<PathBuf>,
    /// Context inside the file
    pub context: Option<String>,
}

/// `cache`.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Zones; empty for those of the block
    pub zones: Vec<Name>,
    /// Octets that entries may take together
    pub octets: usize,
    /// Bounds in seconds of what is kept of positive answers: least, most
    pub success_ttl: (u32, u32),
    /// The same of denials
    pub denial_ttl: (u32, u32),
    /// Seconds that a failure is kept; zero for not at all
    pub servfail_ttl: u32,
    /// Zones whose answers are not kept
    pub disable_success: Vec<Name>,
    /// Zones whose denials are not kept
    pub disable_denial: Vec<Name>,
    /// Refresh what is asked often before it ends; none for never
    pub prefetch: Option<Prefetch>,
    /// Answer with what has ended while it cannot be had anew; none for never
    pub stale: Option<ServeStale>,
}

/// `prefetch`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prefetch {
    /// So many hits without a longer pause than `pause`
    pub hits: u32,
    /// Longest pause
    pub pause: Duration,
    /// Share of the time to live that is left, in percent
    pub percent: u8,
}

/// `serve_stale` (RFC 8767).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// So long after its end an answer may be used
    pub window: Duration,
    /// So long a client waits for a fresh answer first
    pub wait: Duration,
    /// Seconds in the stale answer
    pub ttl: u32,
    /// Pause between two tries to refresh
    pub recheck: Duration,
}

/// One upstream of a [`ForwardOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Address and port
    Address(SocketAddr),
    /// The name servers of a file in the form of resolv.conf, followed when it changes
    ResolvConf(PathBuf),
}

/// In which order upstreams are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Any
    #[default]
    Random,
    /// In turn
    RoundRobin,
    /// The first that is up
    Sequential,
}

/// `forward`.
#[derive(Clone, Debug)]
pub struct ForwardOptions {
    /// Where it stands
    pub place: Option<Place>,
    /// Names at or below this
    pub from: Name,
    /// Who is asked, at most 15
    pub to: Vec<Upstream>,
    /// Names at or below these are not forwarded
    pub except: Vec<Name>,
    /// Always over TCP
    pub force_tcp: bool,
    /// Over UDP also for clients that came over TCP; a truncated answer is fetched over TCP
    pub prefer_udp: bool,
    /// Pooled connections end after so long without use
    pub expire: Duration,
    /// and after so long altogether; zero for no limit
    pub max_age: Duration,
    /// Idle TCP connections kept for each upstream; zero for no limit
    pub max_idle: usize,
    /// Longest wait for one attempt
    pub read_timeout: Duration,
    /// An upstream is down after more failures than this in a row; zero for never
    pub max_fails: u32,
    /// Attempts for one query; zero for every upstream once and one more
    pub max_attempts: u32,
    /// Order
    pub policy: Policy,
    /// Pause between two probes of an upstream that is down
    pub health_interval: Duration,
    /// Probe without asking for recursion
    pub health_no_rec: bool,
    /// Name that a probe asks for
    pub health_domain: Name,
    /// Queries under way at a time; zero for no limit
    pub max_concurrent: usize,
    /// Codes that send a query to the next upstream
    pub failover: Vec<Rcode>,
    /// Codes that send a query to the next `forward`
    pub next: Vec<Rcode>,
    /// and so does an answer without data
    pub next_on_nodata: bool,
    /// SERVFAIL at once while all are down
    pub failfast: bool,
    /// Address to send from
    pub source: Option<IpAddr>,
}
