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

/// Starts them, but for those of `before`, a configuration and its forwarders, whose blocks ask the same and keep it the
/// same way: these go on, with what they know. `mark` is that of packets to upstreams. Must be called in a runtime.
pub fn make(
    config: &DnsConfig,
    before: (&DnsConfig, Forwarders),
    own: &Own,
    hop: Hop,
    mark: Option<u32>,
    stats: &Arc<ForwardStats>,
) -> Forwarders {
    let (old, config) = (before.0.without_places(), config.without_places());
    let mut kept: Vec<_> = old.servers.iter().zip(before.1).filter_map(|(old, known)| Some((old, known?))).collect();
    let make = |server: &ServerBlock| {
        if server.forwards.is_empty() {
            return None;
        }
        if let Some(place) = kept.iter().position(|(old, _)| alike(old, server)) {
            let (_, known) = kept.remove(place);
            known.0.set_own(own.clone());
            return Some(known);
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

/// Whether one forwarder will do for both.
fn alike(a: &ServerBlock, b: &ServerBlock) -> bool {
    a.forwards == b.forwards && a.cache == b.cache && a.detect_loops == b.detect_loops
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dns::corefile::parse;

    fn config(text: &str) -> DnsConfig {
        parse(text, "Corefile", &|_| None, &|_| Err("nothing".to_owned())).unwrap().0
    }

    #[tokio::test]
    async fn forwarders_go_on_if_they_are_to_do_the_same() {
        let stats = Arc::default();
        let make = |text: &str, before: (&DnsConfig, Forwarders)| {
            make(&config(text), before, &Own::default(), Hop::new(), None, &stats)
        };
        let first = ".:53 {\n forward . 192.0.2.1\n cache 30\n}\n";
        let old = make(first, (&DnsConfig::default(), Vec::new()));
        let other = "\n\none.test:53 {\n forward . 192.0.2.1\n cache 60\n}\n";
        let new = make(&format!("{other}{first}"), (&config(first), old.clone()));
        let same = |a: &Forwarders, at: usize| Arc::ptr_eq(&a[at].as_ref().unwrap().0, &old[0].as_ref().unwrap().0);
        assert!(!same(&new, 0) && same(&new, 1), "it moved, and that is all");
        let new = make(".:53 {\n forward . 192.0.2.2\n cache 30\n}\n", (&config(first), old.clone()));
        assert!(!same(&new, 0), "another upstream");
    }
}
