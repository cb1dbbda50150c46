//! Names of others: the cache and the upstreams.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use domain::base::iana::Rcode;

use super::Name;
use crate::config::Place;

/// `cache`.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
