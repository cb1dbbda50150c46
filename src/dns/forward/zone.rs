//! One `forward`: which names, which upstreams, and in which order they are asked.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use domain::base::iana::{ExtendedErrorCode, OptRcode, Rcode};
use tokio::time::Instant;

use super::{
    query::{Hop, Opt},
    stats::ForwardStats,
    upstream::{Attempt, Upstream},
};
use crate::{
    answers::{
        Ede, Failure,
        foreign::{Foreign, Kind},
        name::relative_to,
        query::Question,
    },
    config::dns::{ForwardOptions, Policy},
    dns::limit::Limit,
};

/// One `forward`.
#[derive(Debug)]
pub struct Zone {
    /// Names at or below this, in wire form, lower case
    pub from: Box<[u8]>,
    except: Vec<Box<[u8]>>,
    /// As configured
    pub options: ForwardOptions,
    upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    turn: AtomicUsize,
    /// Its queries come back to us: nothing is asked (2.4)
    pub looping: AtomicBool,
    /// Queries under way
    pub limit: Arc<Limit>,
    mark: Option<u32>,
    stats: Arc<ForwardStats>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No upstream answered in time
    Silence,
    /// The network did not take the queries
    Network,
    /// The answers could not be used
    Unusable,
    /// There is nobody to ask
    NoUpstream,
    /// All are down, and that is to be said at once
    AllDown,
    /// Queries come back
    Loop,
}

impl Trouble {
    /// Whether it says something about the question, and may be kept for a moment (RFC 9520).
    pub fn is_of_question(self) -> bool {
        matches!(self, Self::Silence | Self::Network | Self::Unusable)
    }

    /// What the client is told.
    pub fn failure(self) -> Failure {
        let (code, text) = match self {
            Self::Silence => (ExtendedErrorCode::NO_REACHABLE_AUTHORITY, "no upstream answered in time"),
            Self::Network => (ExtendedErrorCode::NETWORK_ERROR, "upstreams cannot be reached"),
            Self::Unusable => (ExtendedErrorCode::NO_REACHABLE_AUTHORITY, "upstreams sent malformed answers"),
            Self::NoUpstream => (ExtendedErrorCode::NO_REACHABLE_AUTHORITY, "no upstream is known"),
            Self::AllDown => (ExtendedErrorCode::NO_REACHABLE_AUTHORITY, "all upstreams are down"),
            Self::Loop => (ExtendedErrorCode::NO_REACHABLE_AUTHORITY, "upstreams send these queries back here"),
        };
        Failure { rcode: Rcode::SERVFAIL, ede: Some(Ede { code, text }) }
    }
}

impl Zone {
    /// A zone without upstreams.
    pub fn new(options: ForwardOptions, mark: Option<u32>, stats: &Arc<ForwardStats>) -> Self {
        let wire = |name: &crate::config::dns::Name| name.as_slice().to_ascii_lowercase().into_boxed_slice();
        Self {
            from: wire(&options.from),
            except: options.except.iter().map(wire).collect(),
            limit: Limit::new(options.max_concurrent),
            options,
            upstreams: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            looping: AtomicBool::new(false),
            mark,
            stats: Arc::clone(stats),
        }
    }

    /// Whether a name (in wire form, lower case) is for its upstreams.
    pub fn takes(&self, name: &[u8]) -> bool {
        relative_to(name, &self.from).is_some() && !self.except.iter().any(|zone| relative_to(name, zone).is_some())
    }

    /// Puts others in place of its upstreams. What is known about those that stay is kept. Returns whether any changed.
    pub fn set_upstreams(&self, addresses: &[SocketAddr]) -> bool {
        let before = self.upstreams.load();
        if before.iter().map(|upstream| upstream.address).eq(addresses.iter().copied()) {
            return false;
        }
        let after = addresses.iter().map(|address| {
            let known = before.iter().find(|upstream| upstream.address == *address).cloned();
            known.unwrap_or_else(|| Arc::new(Upstream::new(*address, &self.options, self.mark, &self.stats)))
        });
        self.upstreams.store(Arc::new(after.collect()));
        true
    }

    /// Its upstreams now.
    pub fn upstreams(&self) -> Arc<Vec<Arc<Upstream>>> {
        self.upstreams.load_full()
    }

    /// Whether an answer sends the query to the next zone.
    pub fn passes_on(&self, foreign: &Foreign) -> bool {
        has(&self.options.next, foreign.rcode()) || self.options.next_on_nodata && foreign.kind() == Kind::NoData
    }

    /// Asks one upstream after the other until one gives an answer (2.2). `over_tcp`: the client came over TCP and takes
    /// an answer of any size.
    pub async fn ask(
        &self,
        question: &Question,
        over_tcp: bool,
        hop: Hop,
        deadline: Instant,
    ) -> Result<Foreign, Trouble> {
        let order = self.order()?;
        let attempts = match self.options.max_attempts {
            0 => order.len() + 1,
            attempts => attempts as usize,
        };
        let mut told = None;
        let mut trouble = Trouble::Silence;
        for (nth, upstream) in order.iter().cycle().take(attempts).enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            // Everybody was asked, and somebody said that it is no use.
            if left.is_zero() || nth >= order.len() && told.is_some() {
                break;
            }
            let patience = if nth + 1 < attempts { upstream.patience(nth) } else { self.options.read_timeout };
            let until = Instant::now() + patience.min(self.options.read_timeout).min(left);
            match self.attempt(upstream, question, over_tcp, hop, until, deadline).await {
                Ok(foreign) if self.fails_over(foreign.rcode()) => _ = told.get_or_insert(foreign),
                Ok(foreign) => return Ok(foreign),
                Err(Attempt::Silence) => trouble = Trouble::Silence,
                Err(Attempt::Unusable(error)) => {
                    tracing::debug!(upstream = %upstream.address, %error, "cannot use upstream's message");
                    trouble = Trouble::Unusable;
                }
                Err(Attempt::Network(error)) => {
                    tracing::debug!(upstream = %upstream.address, %error, "cannot ask upstream");
                    trouble = Trouble::Network;
                }
            }
        }
        told.ok_or(trouble)
    }

    /// Asks one upstream, in the ways that it needs.
    async fn attempt(
        &self,
        upstream: &Arc<Upstream>,
        question: &Question,
        over_tcp: bool,
        hop: Hop,
        until: Instant,
        deadline: Instant,
    ) -> Result<Foreign, Attempt> {
        let options = &self.options;
        let tcp = options.force_tcp || over_tcp && !options.prefer_udp;
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let mut foreign = upstream.ask(question, Opt::Named(hop), tcp, left(until)).await?;
        if matches!(foreign.rcode(), OptRcode::FORMERR | OptRcode::NOTIMP) {
            // It may be too old for EDNS (RFC 6891, 7).
            foreign = upstream.ask(question, Opt::None, tcp, left(until)).await.unwrap_or(foreign);
        }
        if foreign.kind() == Kind::Truncated && !tcp && (options.prefer_udp || over_tcp) {
            let limit = left(deadline).min(options.read_timeout);
            foreign = upstream.ask(question, Opt::Named(hop), true, limit).await.unwrap_or(foreign);
        }
        Ok(foreign)
    }

    /// Upstreams in the order in which they are asked: those that are up, or any one if none is.
    fn order(&self) -> Result<Vec<Arc<Upstream>>, Trouble> {
        let all = self.upstreams.load();
        let mut up: Vec<_> = all.iter().filter(|upstream| !upstream.is_down()).cloned().collect();
        if up.is_empty() {
            let any = (!all.is_empty()).then(|| rand::random_range(0..all.len())).and_then(|any| all.get(any));
            let any = any.ok_or(Trouble::NoUpstream)?;
            self.stats.all_down.inc();
            return if self.options.failfast { Err(Trouble::AllDown) } else { Ok(vec![Arc::clone(any)]) };
        }
        match self.options.policy {
            Policy::Sequential => {}
            Policy::RoundRobin => {
                let first = self.turn.fetch_add(1, Relaxed) % up.len();
                up.rotate_left(first);
            }
            Policy::Random => {
                for at in 1..up.len() {
                    up.swap(at, rand::random_range(0..=at));
                }
            }
        }
        Ok(up)
    }

    fn fails_over(&self, rcode: OptRcode) -> bool {
        match rcode {
            OptRcode::NXDOMAIN => false,
            OptRcode::SERVFAIL | OptRcode::REFUSED => true,
            other => has(&self.options.failover, other),
        }
    }
}

impl Drop for Zone {
    /// A zone that is no more is none of those that loop.
    fn drop(&mut self) {
        if *self.looping.get_mut() {
            self.stats.looping.dec();
        }
    }
}

fn has(codes: &[Rcode], code: OptRcode) -> bool {
    codes.iter().any(|listed| OptRcode::from_rcode(*listed) == code)
}
