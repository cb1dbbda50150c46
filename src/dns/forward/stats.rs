//! What forwarding counts: the families of `coredns_proxy_*` and `coredns_forward_*` (4.2), to be registered by who
//! answers scrapes.

use std::sync::Arc;

use domain::base::iana::OptRcode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Counters of all forwarders of a process.
#[derive(Clone, Debug)]
pub struct ForwardStats {
    /// `coredns_proxy_request_duration_seconds`
    pub duration: Family<Asked, Histogram, fn() -> Histogram>,
    /// `coredns_proxy_healthcheck_failures_total`
    pub probe_failures: Family<Proxy, Counter>,
    /// `coredns_proxy_conn_cache_hits_total`
    pub reused: Family<Carried, Counter>,
    /// `coredns_proxy_conn_cache_misses_total`
    pub opened: Family<Carried, Counter>,
    /// `coredns_forward_healthcheck_broken_total`: all upstreams were down
    pub all_down: Counter,
    /// `coredns_forward_max_concurrent_rejects_total`
    pub rejected: Counter,
    /// Messages that were no answer to what was asked: wrong id, wrong question, malformed
    pub ignored: Counter,
    /// Queries that were merged with an equal one under way
    pub merged: Counter,
    /// Zones that are not forwarded because their queries come back
    pub looping: Gauge,
}

/// Labels of a query to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Asked {
    /// Always `forward`
    pub proxy_name: &'static str,
    /// Address and port
    pub to: Arc<str>,
    /// Code of the answer
    pub rcode: String,
}

/// Labels of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Proxy {
    /// Always `forward`
    pub proxy_name: &'static str,
    /// Address and port
    pub to: Arc<str>,
}

/// Labels of a connection to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Carried {
    /// Always `forward`
    pub proxy_name: &'static str,
    /// Address and port
    pub to: Arc<str>,
    /// `udp` or `tcp`
    pub proto: &'static str,
}

const PROXY: &str = "forward";

impl Default for ForwardStats {
    fn default() -> Self {
        // As CoreDNS has them.
        fn buckets() -> Histogram {
            Histogram::new((0..16).map(|power| 0.00025 * f64::from(1 << power)))
        }
        Self {
            duration: Family::new_with_constructor(buckets as fn() -> Histogram),
            probe_failures: Family::default(),
            reused: Family::default(),
            opened: Family::default(),
            all_down: Counter::default(),
            rejected: Counter::default(),
            ignored: Counter::default(),
            merged: Counter::default(),
            looping: Gauge::default(),
        }
    }
}

impl ForwardStats {
    /// Puts everything into a registry, under CoreDNS's names where it has one.
    pub fn register(&self, registry: &mut Registry) {
        let seconds = prometheus_client::registry::Unit::Seconds;
        registry.register_with_unit(
            "coredns_proxy_request_duration",
            "Time until an upstream answered",
            seconds,
            self.duration.clone(),
        );
        let mut add = |name: &str, help: &str, metric: &Family<Carried, Counter>| {
            registry.register(name, help, metric.clone());
        };
        add("coredns_proxy_conn_cache_hits", "Queries over a connection or socket that was there", &self.reused);
        add("coredns_proxy_conn_cache_misses", "Queries that opened a connection or socket", &self.opened);
        registry.register(
            "coredns_proxy_healthcheck_failures",
            "Probes that an upstream did not answer",
            self.probe_failures.clone(),
        );
        let mut add = |name: &str, help: &str, metric: &Counter| registry.register(name, help, metric.clone());
        add("coredns_forward_healthcheck_broken", "Queries while all upstreams were down", &self.all_down);
        add("coredns_forward_max_concurrent_rejects", "Queries refused because too many are under way", &self.rejected);
        add("portolan_dns_forward_ignored", "Messages that answered no question of ours", &self.ignored);
        add("portolan_dns_forward_merged", "Queries merged with an equal one under way", &self.merged);
        let help = "Zones that are not forwarded because their queries come back";
        registry.register("portolan_dns_forward_looping_zones", help, self.looping.clone());
    }

    pub(super) fn answered(&self, to: &Arc<str>, rcode: OptRcode, seconds: f64) {
        let labels = Asked { proxy_name: PROXY, to: Arc::clone(to), rcode: rcode.to_string() };
        self.duration.get_or_create(&labels).observe(seconds);
    }

    pub(super) fn probe_failed(&self, to: &Arc<str>) {
        self.probe_failures.get_or_create(&Proxy { proxy_name: PROXY, to: Arc::clone(to) }).inc();
    }

    pub(super) fn carried(&self, to: &Arc<str>, proto: &'static str, reused: bool) {
        let labels = Carried { proxy_name: PROXY, to: Arc::clone(to), proto };
        let family = if reused { &self.reused } else { &self.opened };
        family.get_or_create(&labels).inc();
    }
}
