//! kube-proxy's metrics, as far as they mean something here. IPv4 and IPv6 are programmed together: what is true of
//! both is told for each, because dashboards ask for one `ip_family`.

use std::{collections::BTreeMap, sync::atomic::AtomicU64, time::Duration};

use jiff::Timestamp;
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family as Series,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{Labels, Probe, SyncTimes, ip_family, seconds};
use crate::{
    compile::{ServiceReport, WithoutLocal},
    model::{Family, ServiceId},
};

type Histograms = Series<Labels<1>, Histogram, fn() -> Histogram>;
type Timestamps = Series<Labels<1>, Gauge<f64, AtomicU64>>;

#[derive(Debug)]
pub(super) struct ProxyMetrics {
    sync: Histograms,
    full_sync: Histograms,
    partial_sync: Histograms,
    last_synced: Timestamps,
    last_queued: Timestamps,
    programming: Histograms,
    services_pending: Gauge,
    services_changed: Counter,
    endpoints_pending: Gauge,
    endpoints_changed: Counter,
    sync_failures: Series<Labels<1>, Counter>,
    without_local: Series<Labels<2>, Gauge>,
    healthz: Series<Labels<1>, Counter>,
    livez: Series<Labels<1>, Counter>,
    conntrack: Histograms,
    conntrack_deleted: Series<Labels<1>, Counter>,
}

impl ProxyMetrics {
    /// All of them, registered.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self {
            sync: histograms(sync_histogram),
            full_sync: histograms(sync_histogram),
            partial_sync: histograms(sync_histogram),
            last_synced: Series::default(),
            last_queued: Series::default(),
            programming: histograms(programming_histogram),
            services_pending: Gauge::default(),
            services_changed: Counter::default(),
            endpoints_pending: Gauge::default(),
            endpoints_changed: Counter::default(),
            sync_failures: Series::default(),
            without_local: Series::default(),
            healthz: Series::default(),
            livez: Series::default(),
            conntrack: histograms(sync_histogram),
            conntrack_deleted: Series::default(),
        };
        metrics.register(registry.sub_registry_with_prefix("kubeproxy"));
        for family in Family::ALL {
            drop(metrics.sync_failures.get_or_create(&ip_family(family)));
        }
        metrics.reports(&BTreeMap::new());
        metrics
    }

    /// A counter's name gets its `_total` when it is written.
    fn register(&self, registry: &mut Registry) {
        registry.register("sync_proxy_rules_duration_seconds", "How long syncs took", self.sync.clone());
        registry.register(
            "sync_full_proxy_rules_duration_seconds",
            "How long those syncs took that read the kernel",
            self.full_sync.clone(),
        );
        registry.register(
            "sync_partial_proxy_rules_duration_seconds",
            "How long those syncs took that looked at changes only",
            self.partial_sync.clone(),
        );
        registry.register(
            "sync_proxy_rules_last_timestamp_seconds",
            "When a sync last succeeded, in seconds since 1970",
            self.last_synced.clone(),
        );
        registry.register(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "When a sync was last asked for, in seconds since 1970",
            self.last_queued.clone(),
        );
        registry.register(
            "network_programming_duration_seconds",
            "From a change of endpoints, as the control plane dates it, to the rules in the kernel",
            self.programming.clone(),
        );
        registry.register(
            "sync_proxy_rules_endpoint_changes_pending",
            "EndpointSlices that changed and are not programmed",
            self.endpoints_pending.clone(),
        );
        registry.register(
            "sync_proxy_rules_endpoint_changes",
            "Changes of EndpointSlices that arrived",
            self.endpoints_changed.clone(),
        );
        registry.register(
            "sync_proxy_rules_service_changes_pending",
            "Services that changed and are not programmed",
            self.services_pending.clone(),
        );
        registry.register(
            "sync_proxy_rules_service_changes",
            "Changes of Services that arrived",
            self.services_changed.clone(),
        );
        registry.register(
            "sync_proxy_rules_nftables_sync_failures",
            "Syncs that failed as a whole",
            self.sync_failures.clone(),
        );
        // A gauge, whatever its name says: kube-proxy has it so.
        registry.register(
            "sync_proxy_rules_no_local_endpoints_total",
            "Service ports whose traffic policy is Local and that have endpoints, but none on this node",
            self.without_local.clone(),
        );
        registry.register("proxy_healthz", "Answers of /healthz by HTTP code", self.healthz.clone());
        registry.register("proxy_livez", "Answers of /livez by HTTP code", self.livez.clone());
        registry.register(
            "conntrack_reconciler_sync_duration_seconds",
            "How long it took to find and delete stale conntrack entries",
            self.conntrack.clone(),
        );
        registry.register(
            "conntrack_reconciler_deleted_entries",
            "Stale conntrack entries that were deleted",
            self.conntrack_deleted.clone(),
        );
    }

    pub(super) fn probed(&self, probe: Probe, code: u16) {
        let series = match probe {
            Probe::Healthz => &self.healthz,
            Probe::Livez => &self.livez,
        };
        series.get_or_create(&[("code", code.to_string())]).inc();
    }

    pub(super) fn queued(&self, services: usize, slices: usize, now: Timestamp) {
        for family in Family::ALL {
            self.last_queued.get_or_create(&ip_family(family)).set(seconds(now));
        }
        self.services_changed.inc_by(services as u64);
        self.services_pending.inc_by(services as i64);
        self.endpoints_changed.inc_by(slices as u64);
        self.endpoints_pending.inc_by(slices as i64);
    }

    pub(super) fn synced(&self, times: &SyncTimes, now: Timestamp) {
        let kind = if times.full { &self.full_sync } else { &self.partial_sync };
        for family in Family::ALL {
            let labels = ip_family(family);
            self.sync.get_or_create(&labels).observe(times.total.as_secs_f64());
            kind.get_or_create(&labels).observe(times.total.as_secs_f64());
            self.last_synced.get_or_create(&labels).set(seconds(now));
        }
        self.services_pending.set(0);
        self.endpoints_pending.set(0);
    }

    pub(super) fn sync_failed(&self) {
        for family in Family::ALL {
            self.sync_failures.get_or_create(&ip_family(family)).inc();
        }
    }

    pub(super) fn programmed(&self, family: Family, seconds: f64) {
        self.programming.get_or_create(&ip_family(family)).observe(seconds);
    }

    pub(super) fn conntrack_cleaned(&self, family: Family, took: Duration, deleted: usize) {
        self.conntrack.get_or_create(&ip_family(family)).observe(took.as_secs_f64());
        self.conntrack_deleted.get_or_create(&ip_family(family)).inc_by(deleted as u64);
    }

    pub(super) fn reports(&self, reports: &BTreeMap<ServiceId, ServiceReport>) {
        let sum = |of: fn(&WithoutLocal) -> &BTreeMap<Family, usize>, family: Family| -> usize {
            reports.values().filter_map(|report| of(&report.without_local).get(&family)).sum()
        };
        for family in Family::ALL {
            for (policy, count) in
                [("internal", sum(|w| &w.internal, family)), ("external", sum(|w| &w.external, family))]
            {
                let labels = [("ip_family", family.to_string()), ("traffic_policy", policy.to_owned())];
                self.without_local.get_or_create(&labels).set(count as i64);
            }
        }
    }
}

fn histograms(constructor: fn() -> Histogram) -> Histograms {
    Series::new_with_constructor(constructor)
}

/// 1 ms to 16 s.
fn sync_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// The buckets of the scalability objective for network programming: .25, .5, 1 to 59 by 1, 60 to 115 by 5, 120 to 300
/// by 30 seconds.
fn programming_histogram() -> Histogram {
    let steps = (1..60).chain((60..120).step_by(5)).chain((120..=300).step_by(30));
    Histogram::new([0.25, 0.5].into_iter().chain(steps.map(f64::from)))
}
