//! The forwarders of a configuration.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{metrics::ObservedCache, scene};
use crate::{
    config::dns::{DnsConfig, ServerBlock},
    dns::{
        cache::CacheStats,
        forward::{ForwardStats, Forwarder, Hop, Own, Surroundings},
    },
};

/// By block; none for blocks that forward nothing.
pub type Forwarders = Vec<Option<(Arc<Forwarder>, Arc<CacheStats>)>>;

/// Starts them. `mark` is that of packets to upstreams. Must be called in a runtime.
pub fn make(config: &DnsConfig, own: &Own, hop: Hop, mark: Option<u32>, stats: &Arc<ForwardStats>) -> Forwarders {
    let make = |server: &ServerBlock| {
        if server.forwards.is_empty() {
            return None;
        }
        let cache_stats = Arc::<CacheStats>::default();
        let surroundings = Surroundings {
            own: own.clone(),
            hop,
            mark,
            stats: stats.clone(),
            cache_stats: cache_stats.clone(),
            runtime: Handle::current(),
        };
        Some((Arc::new(Forwarder::new(server, surroundings)), cache_stats))
    };
    config.servers.iter().map(make).collect()
}

/// Their caches, as metrics see them.
pub fn caches(config: &DnsConfig, forwarders: &Forwarders) -> Vec<ObservedCache> {
    let cache = |(block, server): (usize, &ServerBlock)| {
        let (forwarder, stats) = forwarders.get(block)?.clone()?;
        server.cache.as_ref()?;
        Some(ObservedCache { server: scene::server(server), zones: scene::zone(server), stats, forwarder })
    };
    config.servers.iter().enumerate().filter_map(cache).collect()
}
