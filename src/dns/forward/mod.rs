//! Names that are not ours: who is asked, and what is kept of the answers (section 2).
//!
//! A [`Forwarder`] belongs to a server block. [`lookup`](Forwarder::lookup) looks into the cache and nowhere else, for
//! who may not wait; [`resolve`](Forwarder::resolve) asks.

mod flight;
mod loops;
mod query;
mod resolv;
mod socket;
mod stats;
mod tcp;
mod udp;
mod upstream;
mod zone;

use std::{
    cmp::Reverse,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use arc_swap::ArcSwap;
use domain::base::iana::{ExtendedErrorCode, Rcode};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    flight::{Flights, Outcome, Waiter},
    loops::Probes,
    zone::{Trouble, Zone},
};
pub use self::{
    query::{HOP, Hop},
    resolv::Own,
    stats::ForwardStats,
};
use super::{
    cache::{Cache, CacheStats, Failed, Found, Held, Hit},
    limit::Permit,
};
use crate::{
    answers::{
        Client, Ede, Failure, Transport,
        foreign::{Foreign, Kind},
        query::Question,
    },
    config::dns::{ServerBlock, Upstream},
    source::watch::ManifestWatch,
};

/// Over all attempts: the answer is to leave before the client asks again, after 5 s (2.2).
const DEADLINE: Duration = Duration::from_millis(4500);
/// For asking on behalf of all who wait: what comes of it reaches the first of them before its deadline.
const ASKING: Duration = Duration::from_millis(4450);
/// Pause between probes of a zone whose queries came back.
const LOOP_RECHECK: Duration = Duration::from_secs(30);

/// There are too many queries under way (2.2).
pub const TOO_MANY: Failure =
    failure(Rcode::SERVFAIL, ExtendedErrorCode::NETWORK_ERROR, "too many queries are under way");
/// Nothing is forwarded for this name (2.1).
const NOT_FORWARDED: Failure = Failure { rcode: Rcode::REFUSED, ede: None };
/// The process is about to end.
const ENDING: Failure = failure(Rcode::SERVFAIL, ExtendedErrorCode::NOT_READY, "");

const fn failure(rcode: Rcode, code: ExtendedErrorCode, text: &'static str) -> Failure {
    Failure { rcode, ede: Some(Ede { code, text }) }
}

/// What a forwarder needs besides its configuration.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Addresses that cannot be upstreams
    pub own: Own,
    /// Names this process in its queries; the same for all its forwarders
    pub hop: Hop,
    /// Mark of packets to upstreams (SO_MARK), for policy routing
    pub mark: Option<u32>,
    /// Counters, for all forwarders of the process
    pub stats: Arc<ForwardStats>,
    /// Counters of this forwarder's cache
    pub cache_stats: Arc<CacheStats>,
    /// Where queries are sent from: sockets and timers must be enabled
    pub runtime: Handle,
}

/// Forwards the queries of a server block. When it is dropped, what it follows is followed no more.
#[derive(Debug)]
pub struct Forwarder {
    shared: Arc<Shared>,
    _following: AbortOnDropHandle<()>,
}

struct Shared {
    /// The longest name first
    zones: Vec<Arc<Zone>>,
    cache: Option<Cache>,
    flights: Arc<Flights>,
    probes: Probes,
    own: ArcSwap<Own>,
    own_changed: Notify,
    detect_loops: bool,
    hop: Hop,
    stats: Arc<ForwardStats>,
    runtime: Handle,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.zones.iter().map(|zone| &zone.options.from)).finish()
    }
}

impl Forwarder {
    /// Reads the files that name upstreams, follows them, and looks for loops.
    pub fn new(block: &ServerBlock, surroundings: Surroundings) -> Self {
        let Surroundings { own, hop, mark, stats, cache_stats, runtime } = surroundings;
        let mut zones: Vec<_> =
            block.forwards.iter().map(|options| Arc::new(Zone::new(options.clone(), mark, &stats))).collect();
        zones.sort_by_key(|zone| Reverse(zone.options.from.iter().count()));
        let shared = Arc::new(Shared {
            zones,
            cache: block.cache.clone().map(|options| Cache::new(options, cache_stats)),
            flights: Arc::default(),
            probes: Probes::new(&stats),
            own: ArcSwap::from_pointee(own),
            own_changed: Notify::new(),
            detect_loops: block.detect_loops,
            hop,
            stats,
            runtime: runtime.clone(),
        });
        let entered = runtime.enter();
        // Watch first, then read: no change is missed.
        let watch = ManifestWatch::new(&shared.files());
        shared.set_upstreams();
        drop(entered);
        let following = runtime.spawn(Arc::clone(&shared).follow(watch));
        Self { shared, _following: AbortOnDropHandle::new(following) }
    }

    /// Whether there is somebody to ask for a name (in wire form, lower case).
    pub fn takes(&self, name: &[u8]) -> bool {
        self.shared.zones.iter().any(|zone| zone.takes(name))
    }

    /// Whether a question is a probe for loops that has come back: answer it with silence (2.4). To be asked before
    /// anything else is done with an HINFO query.
    pub fn is_probe(&self, question: &Question) -> bool {
        self.shared.probes.recognise(question)
    }

    /// Puts others in place of the addresses that cannot be upstreams.
    pub fn set_own(&self, own: Own) {
        self.shared.own.store(Arc::new(own));
        self.shared.own_changed.notify_one();
    }

    /// An answer from the cache. Does not wait.
    pub fn lookup(&self, question: &Question, now: std::time::Instant) -> Option<Hit> {
        let cache = self.shared.cache.as_ref()?;
        match cache.find_first(question, now) {
            Found::Fresh { hit, prefetch } => {
                if prefetch {
                    self.shared.start(question, false, None);
                }
                Some(hit)
            }
            Found::Stale { hit, settled: true } => {
                cache.served_stale();
                Some(hit)
            }
            Found::Stale { .. } | Found::Failed(_) | Found::Nothing => None,
        }
    }

    /// Asks, unless the answer has come into the cache meanwhile. `arrived` is when the client's query did: it is
    /// answered within 4.5 s of that, also if this is not the first question that it leads to.
    ///
    /// # Errors
    ///
    /// With what the client is told instead of an answer.
    pub async fn resolve(
        &self,
        question: &Question,
        client: Client,
        arrived: std::time::Instant,
    ) -> Result<Hit, Failure> {
        let shared = &self.shared;
        let Some(zone) = shared.zones.iter().find(|zone| zone.takes(&question.name)) else {
            return Err(NOT_FORWARDED);
        };
        let now = Instant::now().into_std();
        let stale = match shared.cache.as_ref().map_or(Found::Nothing, |cache| cache.find(question, now)) {
            Found::Fresh { hit, prefetch } => {
                if prefetch {
                    shared.start(question, false, None);
                }
                return Ok(hit);
            }
            Found::Stale { hit, settled: true } => return Ok(shared.used_stale(hit)),
            Found::Failed(Failed::Told(foreign)) => return Ok(fresh(foreign)),
            Found::Failed(Failed::Unanswered(failure)) => return Err(failure),
            Found::Stale { hit, settled: false } => Some(hit),
            Found::Nothing => None,
        };
        let Some(permit) = zone.limit.enter(client.address).map(Arc::new) else {
            shared.stats.rejected.inc();
            return stale.map(|hit| shared.used_stale(hit)).ok_or(TOO_MANY);
        };
        let outcome = shared.start(question, client.transport == Transport::Tcp, Some(Arc::clone(&permit))).outcome();
        let deadline = Instant::from_std(arrived) + DEADLINE;
        let patience = shared.cache.as_ref().and_then(Cache::patience);
        match (stale, patience) {
            (Some(hit), Some(patience)) => match timeout_at(deadline.min(Instant::now() + patience), outcome).await {
                Ok(Some(Ok(foreign))) if foreign.kind() != Kind::Failure => Ok(fresh(foreign)),
                _ => Ok(shared.used_stale(hit)),
            },
            _ => match timeout_at(deadline, outcome).await {
                Ok(outcome) => outcome.unwrap_or(Err(ENDING)).map(fresh),
                Err(_) => Err(Trouble::Silence.failure()),
            },
        }
    }

    /// The zones that are forwarded, the upstreams of each, and whether its queries come back.
    pub fn zones(&self) -> Vec<(crate::config::dns::Name, Vec<SocketAddr>, bool)> {
        let zone = |zone: &Arc<Zone>| {
            let upstreams = zone.upstreams().iter().map(|upstream| upstream.address).collect();
            (zone.options.from.clone(), upstreams, zone.looping.load(Relaxed))
        };
        self.shared.zones.iter().map(zone).collect()
    }

    /// What the cache holds; nothing without one. For a scrape: it walks the whole cache.
    pub fn held(&self) -> Option<Held> {
        self.shared.cache.as_ref().map(Cache::held)
    }
}

fn fresh(foreign: Arc<Foreign>) -> Hit {
    Hit { foreign, age: 0, stale: None }
}

impl Shared {
    fn used_stale(&self, hit: Hit) -> Hit {
        if let Some(cache) = &self.cache {
            cache.served_stale();
        }
        hit
    }

    /// Starts asking, or joins who asks the same. What is started keeps the permit until it ends: it goes on when the
    /// client does not wait for it any more.
    fn start(self: &Arc<Self>, question: &Question, any_size: bool, permit: Option<Arc<Permit>>) -> Waiter {
        let asked = || {
            let outcome = Arc::clone(self).ask(question.clone(), any_size);
            async move {
                let _permit = permit;
                outcome.await
            }
        };
        let (waiter, joined) = self.flights.join((question.clone(), any_size), &self.runtime, asked);
        if joined {
            self.stats.merged.inc();
        }
        waiter
    }

    async fn ask(self: Arc<Self>, question: Question, any_size: bool) -> Outcome {
        let answer = self.ask_zones(&question, any_size).await;
        let now = Instant::now().into_std();
        let Some(cache) = &self.cache else { return answer.map_err(Trouble::failure) };
        match &answer {
            Ok(foreign) => cache.answered(&question, foreign, now),
            Err(trouble) if trouble.is_of_question() => {
                cache.failed(&question, Failed::Unanswered(trouble.failure()), now);
            }
            Err(_) => {}
        }
        answer.map_err(Trouble::failure)
    }

    async fn ask_zones(&self, question: &Question, any_size: bool) -> Result<Arc<Foreign>, Trouble> {
        let deadline = Instant::now() + ASKING;
        let mut answer = Err(Trouble::NoUpstream);
        for zone in &self.zones {
            if !zone.takes(&question.name) {
                continue;
            }
            if zone.looping.load(Relaxed) {
                return answer.or(Err(Trouble::Loop));
            }
            let foreign = zone.ask(question, any_size, self.hop, deadline).await?;
            let goes_on = zone.passes_on(&foreign);
            answer = Ok(Arc::new(foreign));
            if !goes_on {
                break;
            }
        }
        answer
    }

    /// The files that name upstreams.
    fn files(&self) -> Vec<PathBuf> {
        let upstreams = self.zones.iter().flat_map(|zone| &zone.options.to);
        let files = upstreams.filter_map(|upstream| match upstream {
            Upstream::ResolvConf(path) => Some(path.clone()),
            Upstream::Address(_) => None,
        });
        files.collect()
    }

    /// Reads the upstreams of every zone. Returns the zones that have others now.
    fn set_upstreams(&self) -> Vec<Arc<Zone>> {
        let own = self.own.load();
        let changed = |zone: &&Arc<Zone>| {
            let upstreams = resolv::upstreams(&zone.options, &own);
            let changed = zone.set_upstreams(&upstreams);
            if changed {
                tracing::info!(zone = %zone.options.from, ?upstreams, "forwarding");
                self.probes.clear(zone);
            }
            changed
        };
        self.zones.iter().filter(changed).cloned().collect()
    }

    /// Keeps the upstreams as their files say, and looks for loops. Does not end.
    async fn follow(self: Arc<Self>, mut watch: ManifestWatch) {
        let mut due = self.zones.clone();
        loop {
            let probes = async {
                if self.detect_loops {
                    futures_util::future::join_all(due.iter().map(|zone| self.probes.probe(zone))).await;
                }
                tokio::time::sleep(LOOP_RECHECK).await;
            };
            let changed = tokio::select! {
                () = watch.changed() => Some(self.set_upstreams()),
                () = self.own_changed.notified() => Some(self.set_upstreams()),
                () = probes => None,
            };
            match changed {
                // Probes that this cut short are sent again.
                Some(changed) => {
                    due.retain(|zone| !changed.iter().any(|other| Arc::ptr_eq(zone, other)));
                    due.extend(changed);
                }
                None => due = self.looping(),
            }
        }
    }

    fn looping(&self) -> Vec<Arc<Zone>> {
        let looping = |zone: &&Arc<Zone>| zone.looping.load(Relaxed);
        self.zones.iter().filter(looping).cloned().collect()
    }
}
