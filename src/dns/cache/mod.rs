//! The cache of forwarded answers (2.3). The cluster's own names are never in it: they are as quickly found anew.
//!
//! Nothing here waits or reads a clock. Who looks something up says what time it is, and does what [`Found`] asks for:
//! the cache itself asks nobody.

mod entry;
mod stats;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use domain::base::iana::{ExtendedErrorCode, OptRcode};
use quick_cache::{
    DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter,
    sync::{Cache as Store, DefaultLifecycle},
};

use self::entry::{Entry, Failing};
pub use self::stats::{CacheStats, Counts, Held};
use crate::{
    answers::{
        Ede, Failure,
        foreign::{Foreign, Kind},
        name::relative_to,
        query::Question,
    },
    config::dns::{CacheOptions, Name},
};

/// What an entry takes besides names and messages: keys, counters, the cache's own book-keeping.
const OVERHEAD: u64 = 200;
/// About what an entry takes, for the cache's estimates.
const USUAL_ENTRY: u64 = 512;
/// The longest that a failure is kept (RFC 9520, 3.2), in seconds.
const LONGEST_FAILURE: u32 = 300;

const STALE: Ede = Ede { code: ExtendedErrorCode::STALE_ANSWER, text: "" };
const STALE_MISSING: Ede = Ede { code: ExtendedErrorCode::STALE_NXDOMAIN_ANSWER, text: "" };

/// An answer that was kept.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The answer
    pub foreign: Arc<Foreign>,
    /// Seconds since it was kept, to be taken off every time to live
    pub age: u32,
    /// It has ended, and is used because there is none better; its times to live are set already (RFC 8767). What the
    /// client is told of that
    pub stale: Option<Ede>,
}

/// What is known about a question.
#[derive(Debug)]
pub enum Found {
    /// Nothing: ask
    Nothing,
    /// An answer
    Fresh {
        /// The answer
        hit: Hit,
        /// It is asked for often and ends soon: ask again without letting anybody wait. Told to one who asks, not to all
        prefetch: bool,
    },
    /// An answer that has ended
    Stale {
        /// The answer
        hit: Hit,
        /// Asking failed a moment ago; use the answer without asking
        settled: bool,
    },
    /// Asking failed a moment ago: do not ask now (RFC 9520)
    Failed(Failed),
}

/// A failure that was kept.
#[derive(Clone, Debug)]
pub enum Failed {
    /// An upstream said so
    Told(Arc<Foreign>),
    /// Nobody could be asked, or nobody answered
    Unanswered(Failure),
}

/// Answers to questions. Bounded in octets; what is asked for again stays longer than what is not (S3-FIFO).
pub struct Cache {
    store: Store<Question, Arc<Entry>, Octets, DefaultHashBuilder, Evicted>,
    options: CacheOptions,
    zones: Vec<Box<[u8]>>,
    not_success: Vec<Box<[u8]>>,
    not_denial: Vec<Box<[u8]>>,
    stats: Arc<CacheStats>,
}

#[derive(Clone)]
struct Octets;

impl Weighter<Question, Arc<Entry>> for Octets {
    fn weight(&self, key: &Question, entry: &Arc<Entry>) -> u64 {
        OVERHEAD + key.name.len() as u64 + entry.octets()
    }
}

/// Counts what goes to make room.
#[derive(Clone)]
struct Evicted(Arc<CacheStats>);

impl Lifecycle<Question, Arc<Entry>> for Evicted {
    type RequestState = <DefaultLifecycle<Question, Arc<Entry>> as Lifecycle<Question, Arc<Entry>>>::RequestState;

    fn on_evict(&self, _: &mut Self::RequestState, _: Question, entry: Arc<Entry>) {
        self.0.evictions.of(entry.kind()).fetch_add(1, Relaxed);
    }
}

/// Names in wire form, lower case.
fn wire(names: &[Name]) -> Vec<Box<[u8]>> {
    names.iter().map(|name| name.as_slice().to_ascii_lowercase().into_boxed_slice()).collect()
}

fn within(name: &[u8], zones: &[Box<[u8]>]) -> bool {
    zones.iter().any(|zone| relative_to(name, zone).is_some())
}

impl Cache {
    /// An empty cache. Counters go into `stats`, which several caches may share.
    pub fn new(options: CacheOptions, stats: Arc<CacheStats>) -> Self {
        let capacity = options.octets as u64;
        // Few shards: each has its part of the whole, and what does not fit into one is not kept at all.
        let sizes = OptionsBuilder::new()
            .weight_capacity(capacity)
            .estimated_items_capacity((capacity / USUAL_ENTRY).max(1) as usize)
            .shards(if capacity < 1 << 20 { 1 } else { 8 })
            .build();
        let store = match sizes {
            Ok(sizes) => Store::with_options(sizes, Octets, DefaultHashBuilder::default(), Evicted(Arc::clone(&stats))),
            Err(_) => Store::with(1, capacity, Octets, DefaultHashBuilder::default(), Evicted(Arc::clone(&stats))),
        };
        Self {
            store,
            zones: wire(&options.zones),
            not_success: wire(&options.disable_success),
            not_denial: wire(&options.disable_denial),
            options,
            stats,
        }
    }

    /// What is known about a question.
    pub fn find(&self, question: &Question, now: Instant) -> Found {
        self.store.get(question).map_or(Found::Nothing, |entry| self.judge(&entry, now))
    }

    /// The same for a query that has just come, which is counted.
    pub fn find_first(&self, question: &Question, now: Instant) -> Found {
        let found = self.find(question, now);
        self.stats.requests.fetch_add(1, Relaxed);
        match &found {
            Found::Fresh { hit, prefetch } => {
                self.stats.hits.of(hit.foreign.kind()).fetch_add(1, Relaxed);
                self.stats.prefetches.fetch_add(u64::from(*prefetch), Relaxed);
            }
            Found::Failed(_) => _ = self.stats.hits.of(Kind::Failure).fetch_add(1, Relaxed),
            Found::Stale { .. } | Found::Nothing => _ = self.stats.misses.fetch_add(1, Relaxed),
        }
        found
    }

    /// Says that a stale answer was used.
    pub fn served_stale(&self) {
        self.stats.served_stale.fetch_add(1, Relaxed);
    }

    fn judge(&self, entry: &Entry, now: Instant) -> Found {
        if let Some(kept) = &entry.kept {
            let age = now.saturating_duration_since(kept.since).as_secs() as u32;
            if now < kept.ends {
                let prefetch = self.options.prefetch.is_some_and(|prefetch| entry.due(kept, prefetch, now));
                let hit = Hit { foreign: Arc::clone(&kept.foreign), age, stale: None };
                return Found::Fresh { hit, prefetch };
            }
            // How long it ended ago decides, not how often it was asked for since (8.10).
            if let Some(stale) = &self.options.stale
                && now < kept.ends + stale.window
            {
                let foreign = Arc::new(kept.foreign.with_ttls(|_| stale.ttl));
                let settled = entry.failing.as_ref().is_some_and(|failing| now < failing.since + stale.recheck);
                let ede = if foreign.kind() == Kind::Missing { STALE_MISSING } else { STALE };
                return Found::Stale { hit: Hit { foreign, age: 0, stale: Some(ede) }, settled };
            }
        }
        match &entry.failing {
            Some(failing) if now < failing.ends => Found::Failed(failing.failed.clone()),
            _ => Found::Nothing,
        }
    }

    /// Keeps what an upstream said, if it may be kept. What it says takes the place of what was known, also where it may
    /// not be kept itself: a denial ends what was there (2.3).
    pub fn answered(&self, question: &Question, foreign: &Arc<Foreign>, now: Instant) {
        if !self.is_for(question) {
            return;
        }
        let (limits, excluded) = match foreign.kind() {
            Kind::Answer => (self.options.success_ttl, &self.not_success),
            Kind::NoData | Kind::Missing => (self.options.denial_ttl, &self.not_denial),
            Kind::Truncated => return,
            // REFUSED and others say something about us, not about the name.
            Kind::Failure if foreign.rcode() == OptRcode::SERVFAIL => {
                return self.failed(question, Failed::Told(Arc::clone(foreign)), now);
            }
            Kind::Failure => return,
        };
        match foreign.keep() {
            Some(keep) if !within(&question.name, excluded) => {
                let keep = keep.min(limits.1).max(limits.0);
                let entry = Entry::new(foreign, keep, limits.0, now);
                self.store.insert(question.clone(), Arc::new(entry));
            }
            _ => _ = self.store.remove(question),
        }
    }

    /// Keeps a failure: for a second at first, twice as long each time that it comes again, at most for what is
    /// configured. An answer that is there stays, to be used once it is stale.
    pub fn failed(&self, question: &Question, failed: Failed, now: Instant) {
        let longest = self.options.servfail_ttl.min(LONGEST_FAILURE);
        if !self.is_for(question) {
            return;
        }
        let before = self.store.peek(question);
        let failing = Failing::after(before.as_ref().and_then(|entry| entry.failing.as_ref()), failed, longest, now);
        let kept = before.and_then(|entry| entry.kept.clone());
        if longest > 0 || kept.is_some() {
            self.store.insert(question.clone(), Arc::new(Entry::failing(kept, failing)));
        }
    }

    fn is_for(&self, question: &Question) -> bool {
        self.zones.is_empty() || within(&question.name, &self.zones)
    }

    /// How long a client waits for a fresh answer while there is a stale one.
    pub fn patience(&self) -> Option<Duration> {
        self.options.stale.map(|stale| stale.wait)
    }

    /// What it holds now. Walks the whole cache: for a scrape, not for a query.
    pub fn held(&self) -> Held {
        let mut held = Held { octets: self.store.weight(), ..Held::default() };
        for (_, entry) in self.store.iter() {
            match entry.kind() {
                Kind::Answer => held.success += 1,
                _ => held.denial += 1,
            }
        }
        held
    }
}

#[cfg(test)]
mod tests;
