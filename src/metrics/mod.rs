//! What a Prometheus scrapes. Names, labels and buckets that begin with `kubeproxy_` are kube-proxy's (section 7 of the
//! Service behaviour), so that its dashboards and alerts go on working; those that begin with `portolan_` are our own.
//! docs/metrics.md has the list, made from this code.

mod own;
mod process;
mod proxy;
mod refresh;
mod text;
mod traffic;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::registry::Registry;

use crate::{
    compile::ServiceReport,
    kernel::Count,
    model::{Family, Frontend, PortId, ServiceId},
    tables::Contents,
};
use own::OwnMetrics;
use proxy::ProxyMetrics;
pub use refresh::{Refresh, RefreshRequests};
pub use text::CONTENT_TYPE;
use traffic::Traffic;

/// Everything in a registry, in the text format whose content type is [`CONTENT_TYPE`].
pub fn render(registry: &Registry) -> String {
    let mut text = String::new();
    // A String takes everything: only a collector could fail, and ours do not.
    let _ = prometheus_client::encoding::text::encode_registry(&mut text, registry);
    text::from_open_metrics(&text)
}

/// Adds the usual metrics of a process, which are read when somebody scrapes.
pub fn register_process(registry: &mut Registry) {
    registry.register_collector(Box::new(process::Process));
}

/// A path of the health server whose answers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `/healthz`
    Healthz,
    /// `/livez`
    Livez,
}

/// A part of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Reading what the kernel holds
    Read,
    /// Deciding what it should hold
    Compile,
    /// Writing the difference
    Commit,
    /// Deleting stale conntrack entries
    Conntrack,
}

/// How long a sync took.
#[derive(Clone, Debug, Default)]
pub struct SyncTimes {
    /// From its beginning to its end
    pub total: Duration,
    /// The kernel was read and everything compared with it, not only what changed
    pub full: bool,
    /// Its parts
    pub stages: BTreeMap<Stage, Duration>,
    /// Element operations that were sent to the kernel
    pub operations: usize,
}

/// All metrics of this process. Cheap to clone; every clone holds the same ones, for any thread.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

struct Inner {
    registry: Registry,
    started: Timestamp,
    proxy: ProxyMetrics,
    own: OwnMetrics,
    traffic: Arc<Mutex<Traffic>>,
    /// What others show beside it
    besides: OnceLock<Box<dyn Fn() -> String + Send + Sync>>,
}

impl Metrics {
    /// Metrics that start at zero. At most `service_limit` Services get connection counters of their own; 0 is none.
    pub fn new(service_limit: usize) -> Self {
        let mut registry = Registry::default();
        let proxy = ProxyMetrics::registered(&mut registry);
        let own = OwnMetrics::registered(&mut registry);
        let traffic = Arc::new(Mutex::new(Traffic::new(service_limit)));
        registry.register_collector(Box::new(traffic::Collected(traffic.clone())));
        register_process(&mut registry);
        Self(Arc::new(Inner { registry, started: Timestamp::now(), proxy, own, traffic, besides: OnceLock::new() }))
    }

    /// Shows metrics of another part of the process besides; only the first such part is.
    pub fn show_besides(&self, render: impl Fn() -> String + Send + Sync + 'static) {
        let _ = self.0.besides.set(Box::new(render));
    }

    /// Everything, in the text format whose content type is [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = render(&self.0.registry);
        text.extend(self.0.besides.get().map(|besides| besides()));
        text
    }

    /// A probe was answered with this HTTP code.
    pub fn probed(&self, probe: Probe, code: u16) {
        self.0.proxy.probed(probe, code);
    }

    /// A sync was asked for, on account of this many changed Services and EndpointSlices; others count as none.
    pub fn queued(&self, services: usize, slices: usize) {
        self.0.proxy.queued(services, slices, Timestamp::now());
    }

    /// A sync succeeded: nothing is pending any more but what was queued since it began, which is to be queued after
    /// this.
    pub fn synced(&self, times: &SyncTimes) {
        self.0.proxy.synced(times, Timestamp::now());
        self.0.own.synced(times);
    }

    /// A sync failed as a whole. What the kernel refused of single Services is told by [`Metrics::quarantined`].
    pub fn sync_failed(&self) {
        self.0.proxy.sync_failed();
    }

    /// Endpoints that the control plane changed at `triggered` are programmed since now. Changes that were made before
    /// this process started are left out; deletions are not to be told.
    pub fn programmed(&self, family: Family, triggered: Timestamp) {
        if triggered >= self.0.started {
            let latency = Timestamp::now().duration_since(triggered).as_secs_f64().max(0.0);
            self.0.proxy.programmed(family, latency);
        }
    }

    /// Stale conntrack entries of a family were looked for, for so long, and so many were deleted.
    pub fn conntrack_cleaned(&self, family: Family, took: Duration, deleted: usize) {
        self.0.proxy.conntrack_cleaned(family, took, deleted);
    }

    /// What [`crate::compile::report`] says of each Service.
    pub fn reports(&self, reports: &BTreeMap<ServiceId, ServiceReport>) {
        self.0.proxy.reports(reports);
    }

    /// What the tables hold.
    pub fn contents(&self, contents: &Contents) {
        self.0.own.contents(contents);
    }

    /// Somebody else's change of our tables was repaired; `culprit` is the name of the program that made it, if known.
    pub fn drift_repaired(&self, culprit: Option<&str>) {
        self.0.own.drift_repaired(culprit);
    }

    /// How many Services keep their last good state because the kernel refuses the new one.
    pub fn quarantined(&self, services: usize) {
        self.0.own.quarantined(services);
    }

    /// How many Services cannot be used as their objects are.
    pub fn refused_services(&self, services: usize) {
        self.0.own.refused_services(services);
    }

    /// The watch of a kind, such as `Service`, brought a change.
    pub fn watch_event(&self, kind: &'static str) {
        self.0.own.watch_event(kind, Timestamp::now());
    }

    /// All objects of a kind were listed.
    pub fn watch_listed(&self, kind: &'static str) {
        self.0.own.watch_listed(kind);
    }

    /// A kind cannot be followed for now.
    pub fn watch_failed(&self, kind: &'static str) {
        self.0.own.watch_failed(kind);
    }

    /// Everything in the kernel was read and compared, and is as it should be.
    pub fn verified(&self) {
        self.0.own.verified(Timestamp::now());
    }

    /// How many connections the kernel tracks, and how many it may.
    pub fn tracked(&self, entries: u64, limit: u64) {
        self.0.own.tracked(entries, limit);
    }

    /// Whether connections are counted at all, so that the kernel's counters need reading.
    pub fn counts_traffic(&self) -> bool {
        self.traffic_state().limit() > 0
    }

    /// The kernel's counters of both families. The first call only takes note of them: what is exported counts from
    /// there. So it should follow the first sync. `port_of` says whose a frontend is, `exists` whether a Service is
    /// there still.
    pub fn traffic(
        &self,
        counts: &[Count],
        port_of: impl Fn(&Frontend) -> Option<PortId>,
        exists: impl Fn(&ServiceId) -> bool,
    ) {
        self.traffic_state().observe(counts, port_of, exists);
    }

    fn traffic_state(&self) -> MutexGuard<'_, Traffic> {
        self.0.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Label names and values of one series.
type Labels<const N: usize> = [(&'static str, String); N];

fn ip_family(family: Family) -> Labels<1> {
    [("ip_family", family.to_string())]
}

/// Seconds since 1970.
fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
