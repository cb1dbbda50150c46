//! The metrics of names, under CoreDNS's names where the meaning is the same (4.2).

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::sync::watch;

use super::tally::{
    CELLS, DNSSEC_OK, DURATION, DURATIONS, FAMILIES, PLUGINS, PROTOCOLS, RCODES, REQUEST_SIZE, REQUESTS, RESPONSE_SIZE,
    RESPONSES, SIZE_CELLS, SIZES, STALE, TRUNCATED, TYPES, Tallies,
};
use crate::{
    dns::{
        cache::{CacheStats, Held},
        forward::{ForwardStats, Forwarder},
        names::{LATENCIES, NameStats, PROGRAMMING, Served},
        redirect::{State, States},
        serve::{BATCH_LIMITS, Counts},
    },
    metrics,
};

/// Labels, in order.
type Labels = Vec<(&'static str, String)>;

/// A group of sockets, as metrics see it.
pub struct Observed {
    /// `dns://:53`
    pub server: String,
    /// The zone of each row of the tallies
    pub zones: Vec<String>,
    pub tallies: Arc<Tallies>,
    pub counts: Box<dyn Fn() -> Counts + Send + Sync>,
}

/// A cache, as metrics see it.
pub struct ObservedCache {
    pub server: String,
    pub zones: String,
    pub stats: Arc<CacheStats>,
    pub forwarder: Arc<Forwarder>,
}

/// Everything that is observed at present.
#[derive(Default)]
pub struct Scene {
    pub groups: Vec<Observed>,
    pub caches: Vec<ObservedCache>,
    /// Server, zone, and the name of what is in it
    pub plugins: Vec<(String, String, &'static str)>,
    pub names: Option<(Arc<Served>, Arc<NameStats>)>,
    pub redirect: Option<watch::Receiver<States>>,
    pub version: String,
}

/// All metrics of the process.
pub struct DnsMetrics {
    registry: Registry,
    scene: Arc<Mutex<Scene>>,
    /// `coredns_reload_failed_total`
    pub reload_failed: Arc<AtomicU64>,
    /// What forwarders count
    pub forward: Arc<ForwardStats>,
}

impl DnsMetrics {
    /// Nothing observed yet. `of_process` adds the usual metrics of a process, unless others show them.
    pub fn new(of_process: bool) -> Self {
        let mut registry = Registry::default();
        let (scene, reload_failed) = (Arc::<Mutex<Scene>>::default(), Arc::<AtomicU64>::default());
        let forward = Arc::<ForwardStats>::default();
        forward.register(&mut registry);
        registry.register_collector(Box::new(Collected { scene: scene.clone(), reload_failed: reload_failed.clone() }));
        if of_process {
            metrics::register_process(&mut registry);
        }
        Self { registry, scene, reload_failed, forward }
    }

    /// Shows these from now on.
    pub fn observe(&self, scene: Scene) {
        *self.scene.lock().unwrap_or_else(PoisonError::into_inner) = scene;
    }

    /// Everything, in the text format.
    pub fn render(&self) -> String {
        metrics::render(&self.registry)
    }
}

struct Collected {
    scene: Arc<Mutex<Scene>>,
    reload_failed: Arc<AtomicU64>,
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let scene = self.scene.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Out(encoder);
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        out.gauges("coredns_build_info", "Always 1; the version is a label.", [(version, 1.0)])?;
        queries(&mut out, &scene)?;
        sockets(&mut out, &scene)?;
        caches(&mut out, &scene)?;
        names(&mut out, &scene)?;
        redirect(&mut out, &scene)?;
        let plugin = |(server, zone, name): &(String, String, &'static str)| {
            let labels = [("server", server), ("zone", zone), ("view", &String::new()), ("name", &(*name).to_owned())];
            (labels.map(|(label, value)| (label, value.clone())).to_vec(), 1.0)
        };
        out.gauges(
            "coredns_plugin_enabled",
            "What is in each server block; always 1.",
            scene.plugins.iter().map(plugin),
        )?;
        let failed = self.reload_failed.load(Relaxed);
        out.counters("coredns_reload_failed", "Changed configurations that could not be used.", [(vec![], failed)])?;
        let version = vec![("hash", "siphash".to_owned()), ("value", scene.version.clone())];
        out.gauges("coredns_reload_version_info", "Identifies the configuration; always 1.", [(version, 1.0)])
    }
}

fn queries(out: &mut Out<'_>, scene: &Scene) -> fmt::Result {
    let mut requests = Vec::new();
    let mut responses = Vec::new();
    let mut durations = Vec::new();
    let (mut request_sizes, mut response_sizes) = (Vec::new(), Vec::new());
    let (mut dnssec_ok, mut truncated, mut stale) = (Vec::new(), Vec::new(), Vec::new());
    for group in &scene.groups {
        let sums = group.tallies.sum();
        for (zone, cells) in group.zones.iter().zip(sums.chunks(CELLS)) {
            if cells.iter().all(|cell| *cell == 0) {
                continue;
            }
            let base: Labels = vec![("server", group.server.clone()), ("zone", zone.clone()), ("view", String::new())];
            let with = |more: &[(&'static str, &str)]| -> Labels {
                base.iter().cloned().chain(more.iter().map(|(label, value)| (*label, (*value).to_owned()))).collect()
            };
            let types = || TYPES.iter().map(|(name, _)| *name).chain(["other"]);
            for (index, count) in cells[REQUESTS..RESPONSES].iter().enumerate().filter(|(_, count)| **count > 0) {
                let per_type = types().count();
                let (pair, kind) = (index / per_type, types().nth(index % per_type).unwrap_or_default());
                let labels = [("proto", PROTOCOLS[pair / 2]), ("family", FAMILIES[pair % 2]), ("type", kind)];
                requests.push((with(&labels), *count));
            }
            for (index, count) in cells[RESPONSES..DURATION].iter().enumerate().filter(|(_, count)| **count > 0) {
                let rcode = RCODES.get(index / PLUGINS.len()).map_or("other", |(name, _)| name);
                responses.push((with(&[("rcode", rcode), ("plugin", PLUGINS[index % PLUGINS.len()])]), *count));
            }
            let limits = (0..DURATIONS).map(|power| 0.00025 * f64::from(1u32 << power));
            durations.push((with(&[]), Buckets::of(limits, &cells[DURATION..REQUEST_SIZE], 1e-9)));
            for (index, proto) in PROTOCOLS.iter().enumerate() {
                for (first, sizes) in [(REQUEST_SIZE, &mut request_sizes), (RESPONSE_SIZE, &mut response_sizes)] {
                    let first = first + index * SIZE_CELLS;
                    let limits = SIZES.iter().map(|limit| *limit as f64);
                    sizes
                        .push((with(&[("proto", proto)]), Buckets::of(limits, &cells[first..first + SIZE_CELLS], 1.0)));
                }
            }
            dnssec_ok.push((base.clone(), cells[DNSSEC_OK]));
            truncated.push((base.clone(), cells[TRUNCATED]));
            stale.push((base.clone(), cells[STALE]));
        }
    }
    out.counters("coredns_dns_requests", "Queries that were answered.", requests)?;
    out.counters("coredns_dns_responses", "Answers, by code and by what they were made from.", responses)?;
    out.counters("coredns_dns_do_requests", "Queries that want signatures.", dnssec_ok)?;
    out.histograms("coredns_dns_request_duration_seconds", "From a query's arrival to its answer.", durations)?;
    out.histograms("coredns_dns_request_size_bytes", "Sizes of queries.", request_sizes)?;
    out.histograms("coredns_dns_response_size_bytes", "Sizes of answers.", response_sizes)?;
    out.counters("portolan_dns_truncated_answers", "Answers that did not fit.", truncated)?;
    let help =
        "Answers that may not hold any more: forwarded ones that had ended, and names that an earlier process knew.";
    out.counters("portolan_dns_stale_answers", help, stale)
}

fn sockets(out: &mut Out<'_>, scene: &Scene) -> fmt::Result {
    let counts: Vec<(Labels, Counts)> =
        scene.groups.iter().map(|group| (vec![("server", group.server.clone())], (group.counts)())).collect();
    type Picked = fn(&Counts) -> u64;
    let counters: [(&str, &str, Picked); 7] = [
        ("portolan_dns_dropped", "Datagrams that the kernel dropped because no worker was in time.", |c| c.overflowed),
        ("portolan_dns_unanswerable", "Datagrams from port 0 or from ourselves.", |c| c.unanswerable),
        ("portolan_dns_unsent", "Answers that could not be sent.", |c| c.unsent),
        ("portolan_dns_busy", "Queries that had to wait and for which there was no room.", |c| c.busy),
        ("portolan_dns_tcp_connections", "TCP connections that were taken.", |c| c.connections),
        ("portolan_dns_tcp_refused_connections", "TCP connections closed because of a limit.", |c| {
            c.refused_connections
        }),
        ("portolan_dns_tcp_dropped_connections", "TCP connections given up: slow or malformed.", |c| {
            c.dropped_connections
        }),
    ];
    for (name, help, value) in counters {
        out.counters(name, help, counts.iter().map(|(labels, counts)| (labels.clone(), value(counts))))?;
    }
    let outstanding = counts.iter().map(|(labels, counts)| (labels.clone(), counts.outstanding as f64));
    out.gauges("portolan_dns_outstanding_queries", "Queries that wait for an upstream.", outstanding)?;
    let batches = counts.iter().map(|(labels, counts)| {
        let cells: Vec<u64> = counts.batches.iter().copied().chain([0, counts.datagrams]).collect();
        (labels.clone(), Buckets::of(BATCH_LIMITS.iter().map(|limit| *limit as f64), &cells, 1.0))
    });
    out.histograms("portolan_dns_batch_size", "Datagrams that were received at a time.", batches)
}

fn caches(out: &mut Out<'_>, scene: &Scene) -> fmt::Result {
    let labels = |cache: &ObservedCache| -> Labels {
        let zones = cache.zones.clone();
        vec![("server", cache.server.clone()), ("zones", zones), ("view", String::new())]
    };
    let typed = |cache: &ObservedCache, kind: &'static str| -> Labels {
        let server = cache.server.clone();
        vec![("server", server), ("type", kind.into()), ("zones", cache.zones.clone()), ("view", String::new())]
    };
    let both = |value: fn(&CacheStats) -> [&AtomicU64; 2]| -> Vec<(Labels, u64)> {
        let of = |cache: &ObservedCache| {
            let [success, denial] = value(&cache.stats).map(|counter| counter.load(Relaxed));
            [(typed(cache, "success"), success), (typed(cache, "denial"), denial)]
        };
        scene.caches.iter().flat_map(of).collect()
    };
    let one = |value: fn(&CacheStats) -> &AtomicU64| -> Vec<(Labels, u64)> {
        scene.caches.iter().map(|cache| (labels(cache), value(&cache.stats).load(Relaxed))).collect()
    };
    out.counters("coredns_cache_requests", "Look-ups.", one(|stats| &stats.requests))?;
    out.counters("coredns_cache_hits", "Look-ups with an answer.", both(|s| [&s.hits.success, &s.hits.denial]))?;
    out.counters("coredns_cache_misses", "Look-ups without one.", one(|stats| &stats.misses))?;
    out.counters("coredns_cache_prefetch", "Answers that were asked for again early.", one(|stats| &stats.prefetches))?;
    out.counters("coredns_cache_served_stale", "Answers that had ended.", one(|stats| &stats.served_stale))?;
    let evictions = both(|stats| [&stats.evictions.success, &stats.evictions.denial]);
    out.counters("coredns_cache_evictions", "Answers that made room for others.", evictions)?;
    let held: Vec<(&ObservedCache, Held)> =
        scene.caches.iter().filter_map(|cache| Some((cache, cache.forwarder.held()?))).collect();
    let entries = held.iter().flat_map(|(cache, held)| {
        [(typed(cache, "success"), held.success as f64), (typed(cache, "denial"), held.denial as f64)]
    });
    out.gauges("coredns_cache_entries", "Answers that are kept.", entries)?;
    let octets = held.iter().map(|(cache, held)| (labels(cache), held.octets as f64));
    out.gauges("portolan_dns_cache_bytes", "What they take, as reckoned for the bound.", octets)
}

fn names(out: &mut Out<'_>, scene: &Scene) -> fmt::Result {
    let Some((served, stats)) = &scene.names else { return Ok(()) };
    let snapshots = served.load();
    let nothing = Labels::new;
    let generation = snapshots.generation as f64;
    out.gauges("portolan_dns_snapshot_generation", "How often names were published.", [(nothing(), generation)])?;
    let age = snapshots.published.elapsed().as_secs_f64();
    out.gauges("portolan_dns_snapshot_age_seconds", "Since names were last published.", [(nothing(), age)])?;
    let zone = |options: &crate::config::dns::KubernetesOptions| {
        options.zones.first().map_or_else(String::new, |zone| zone.fmt_with_dot().to_string())
    };
    let services = snapshots.iter().map(|(_, snapshot)| {
        (vec![("zone", zone(snapshot.options())), ("kind", "services".to_owned())], snapshot.services() as f64)
    });
    out.gauges("portolan_dns_records", "What there are names of, by kind.", services)?;
    let events = [(nothing(), stats.events.load(Relaxed))];
    out.counters("portolan_dns_events", "Objects that came, changed or went.", events)?;
    let mut cells: Vec<u64> = stats.latencies.iter().map(|cell| cell.load(Relaxed)).collect();
    cells.push(stats.latency_sum.load(Relaxed));
    let latency = Buckets::of(LATENCIES.iter().copied(), &cells, 1e-6);
    let help = "From a change of an object to answers that know it.";
    out.histograms("portolan_dns_publish_latency_seconds", help, [(nothing(), latency)])?;
    let mut cells: Vec<u64> = stats.programming.iter().map(|cell| cell.load(Relaxed)).collect();
    cells.push(stats.programming_sum.load(Relaxed));
    let limits = (0..PROGRAMMING).map(|power| f64::from(1_u32 << power) / 1000.0);
    let kind = vec![("service_kind", "headless_with_selector".to_owned())];
    let help = "From a change of a headless Service's endpoints, as its slice tells it, to answers that know it.";
    let programming = [(kind, Buckets::of(limits, &cells, 1e-6))];
    out.histograms("coredns_kubernetes_dns_programming_duration_seconds", help, programming)
}

fn redirect(out: &mut Out<'_>, scene: &Scene) -> fmt::Result {
    let Some(states) = &scene.redirect else { return Ok(()) };
    let state = |(address, state): (&IpAddr, &State)| {
        let (on, why) = match state {
            State::On => (1.0, ""),
            State::Off(why) => (0.0, why.word()),
        };
        (vec![("address", address.to_string()), ("reason", why.to_owned())], on)
    };
    let help = "Whether queries of this node to the DNS Service's address are answered on it; the reason is why not.";
    out.gauges("portolan_dns_redirect", help, states.borrow().iter().map(state))
}

/// A histogram as it is encoded.
struct Buckets {
    sum: f64,
    count: u64,
    /// Not cumulative
    buckets: Vec<(f64, u64)>,
}

impl Buckets {
    /// Of cells: one for each limit, one above, and the sum in units of `unit`.
    fn of(limits: impl Iterator<Item = f64>, cells: &[u64], unit: f64) -> Self {
        let (sum, classes) = cells.split_last().map_or((0, &[][..]), |(sum, classes)| (*sum, classes));
        let buckets = limits.chain([f64::MAX]).zip(classes.iter().copied()).collect();
        Self { sum: sum as f64 * unit, count: classes.iter().sum(), buckets }
    }
}

/// Writes families.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) -> fmt::Result {
        let each = |encoder: MetricEncoder<'_>, value: u64| ConstCounter::new(value).encode(encoder);
        self.family(name, help, MetricType::Counter, values, each)
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) -> fmt::Result {
        let each = |encoder: MetricEncoder<'_>, value: f64| ConstGauge::new(value).encode(encoder);
        self.family(name, help, MetricType::Gauge, values, each)
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, Buckets)>,
    ) -> fmt::Result {
        let each = |mut encoder: MetricEncoder<'_>, value: Buckets| {
            encoder.encode_histogram::<NoLabelSet>(value.sum, value.count, &value.buckets, None)
        };
        self.family(name, help, MetricType::Histogram, values, each)
    }

    fn family<V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels, V)>,
        each: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            if labels.is_empty() {
                // There is no other then.
                return each(encoder, value);
            }
            each(encoder.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}
