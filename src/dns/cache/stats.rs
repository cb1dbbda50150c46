//! What the cache counts (4.2).

use std::sync::atomic::AtomicU64;

use crate::answers::foreign::Kind;

/// Counters of one or several caches, named after the metrics they become.
#[derive(Debug, Default)]
pub struct CacheStats {
    /// `coredns_cache_requests_total`
    pub requests: AtomicU64,
    /// `coredns_cache_hits_total`
    pub hits: Counts,
    /// `coredns_cache_misses_total`
    pub misses: AtomicU64,
    /// `coredns_cache_prefetch_total`
    pub prefetches: AtomicU64,
    /// `coredns_cache_served_stale_total`
    pub served_stale: AtomicU64,
    /// `coredns_cache_evictions_total`
    pub evictions: Counts,
}

/// A counter with the label `type`.
#[derive(Debug, Default)]
pub struct Counts {
    /// `success`
    pub success: AtomicU64,
    /// `denial`: NXDOMAIN, NODATA and failures
    pub denial: AtomicU64,
}

impl Counts {
    pub(super) fn of(&self, kind: Kind) -> &AtomicU64 {
        if kind == Kind::Answer { &self.success } else { &self.denial }
    }
}

/// What a cache holds: `coredns_cache_entries`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Answers
    pub success: u64,
    /// Denials and failures
    pub denial: u64,
    /// Octets, as reckoned for the bound
    pub octets: u64,
}
