//! Portolan's own metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

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

use super::{Labels, Stage, SyncTimes, seconds};
use crate::{
    model::Family,
    tables::{Container, Contents, List},
};

/// Names of programs that get a series of their own; programs name themselves, so there could be any number.
const MOST_CULPRITS: usize = 16;

#[derive(Debug)]
pub(super) struct OwnMetrics {
    stages: Series<Labels<1>, Histogram, fn() -> Histogram>,
    operations: Counter,
    elements: Series<Labels<2>, Gauge>,
    drift: Series<Labels<1>, Counter>,
    culprits: Mutex<BTreeSet<String>>,
    quarantined: Gauge,
    refused: Gauge,
    watch_events: Series<Labels<1>, Gauge<f64, AtomicU64>>,
    watch_lists: Series<Labels<1>, Counter>,
    watch_errors: Series<Labels<1>, Counter>,
    verified: Gauge<f64, AtomicU64>,
    conntrack_entries: Gauge,
    conntrack_limit: Gauge,
    build: Series<Labels<1>, Gauge>,
}

impl OwnMetrics {
    /// All of them, registered.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self {
            stages: Series::new_with_constructor(stage_histogram),
            operations: Counter::default(),
            elements: Series::default(),
            drift: Series::default(),
            culprits: Mutex::default(),
            quarantined: Gauge::default(),
            refused: Gauge::default(),
            watch_events: Series::default(),
            watch_lists: Series::default(),
            watch_errors: Series::default(),
            verified: Gauge::default(),
            conntrack_entries: Gauge::default(),
            conntrack_limit: Gauge::default(),
            build: Series::default(),
        };
        metrics.register(registry.sub_registry_with_prefix("portolan"));
        metrics.build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        metrics
    }

    /// A counter's name gets its `_total` when it is written.
    fn register(&self, registry: &mut Registry) {
        registry.register("build_info", "Always 1; the version is a label", self.build.clone());
        registry.register(
            "programming_stage_duration_seconds",
            "How long the parts of syncs took: read the kernel, compile, commit, conntrack",
            self.stages.clone(),
        );
        registry.register(
            "element_operations",
            "Elements that were added to or deleted from the kernel's maps and sets",
            self.operations.clone(),
        );
        registry.register(
            "elements",
            "Elements of each map and set; those of all affinity groups count as members",
            self.elements.clone(),
        );
        registry.register(
            "drift_repairs",
            "Foreign changes of our tables that were repaired, by the name of the program that made them",
            self.drift.clone(),
        );
        registry.register(
            "quarantined_services",
            "Services that keep their last good state because the kernel refuses the new one",
            self.quarantined.clone(),
        );
        registry.register(
            "refused_services",
            "Services whose object cannot be used; they keep what they have",
            self.refused.clone(),
        );
        registry.register(
            "watch_last_event_timestamp_seconds",
            "When the watch of a kind last brought a change, in seconds since 1970; quiet kinds have none for days",
            self.watch_events.clone(),
        );
        registry.register("watch_lists", "How often all objects of a kind were listed", self.watch_lists.clone());
        registry.register(
            "watch_errors",
            "Troubles with following a kind; one that lasts counts once",
            self.watch_errors.clone(),
        );
        registry.register(
            "kernel_verified_timestamp_seconds",
            "When everything in the kernel was last read and compared, in seconds since 1970",
            self.verified.clone(),
        );
        registry.register(
            "conntrack_entries",
            "Connections that the kernel of the node tracks, all of them; 0 until it says so",
            self.conntrack_entries.clone(),
        );
        registry.register(
            "conntrack_limit",
            "How many it may track; when it does, new connections are dropped",
            self.conntrack_limit.clone(),
        );
    }

    pub(super) fn synced(&self, times: &SyncTimes) {
        for (stage, took) in &times.stages {
            self.stages.get_or_create(&[("stage", stage_name(*stage).to_owned())]).observe(took.as_secs_f64());
        }
        self.operations.inc_by(times.operations as u64);
    }

    pub(super) fn contents(&self, contents: &Contents) {
        let mut counts: BTreeMap<(Family, Container), i64> = BTreeMap::new();
        for family in Family::ALL {
            counts.extend(Container::FIXED.iter().chain([&MEMBERS]).map(|container| ((family, *container), 0)));
        }
        for element in contents.elements() {
            let container = match element.container() {
                Container::Members { .. } => MEMBERS,
                fixed => fixed,
            };
            *counts.entry((element.family(), container)).or_default() += 1;
        }
        for ((family, container), count) in counts {
            let map = if container == MEMBERS { "members".to_owned() } else { container.name() };
            self.elements.get_or_create(&[("ip_family", family.to_string()), ("map", map)]).set(count);
        }
    }

    pub(super) fn drift_repaired(&self, culprit: Option<&str>) {
        let name = culprit.unwrap_or("unknown");
        let mut known = self.culprits.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match known.contains(name) || known.len() < MOST_CULPRITS {
            true => name,
            false => "other",
        };
        known.insert(name.to_owned());
        self.drift.get_or_create(&[("culprit", name.to_owned())]).inc();
    }

    pub(super) fn quarantined(&self, services: usize) {
        self.quarantined.set(services as i64);
    }

    pub(super) fn refused_services(&self, objects: usize) {
        self.refused.set(objects as i64);
    }

    pub(super) fn watch_event(&self, kind: &str, now: Timestamp) {
        self.watch_events.get_or_create(&of_kind(kind)).set(seconds(now));
    }

    pub(super) fn watch_listed(&self, kind: &str) {
        self.watch_lists.get_or_create(&of_kind(kind)).inc();
    }

    pub(super) fn watch_failed(&self, kind: &str) {
        self.watch_errors.get_or_create(&of_kind(kind)).inc();
    }

    pub(super) fn tracked(&self, entries: u64, limit: u64) {
        let value = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.conntrack_entries.set(value(entries));
        self.conntrack_limit.set(value(limit));
    }

    pub(super) fn verified(&self, now: Timestamp) {
        self.verified.set(seconds(now));
    }
}

/// Stands for the member sets of all affinity groups together, which come and go.
const MEMBERS: Container<'static> = Container::Members { group: "", list: List::All };

fn of_kind(kind: &str) -> Labels<1> {
    [("kind", kind.to_owned())]
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Read => "read",
        Stage::Compile => "compile",
        Stage::Commit => "commit",
        Stage::Conntrack => "conntrack",
    }
}

/// 0.1 ms to 13 s.
fn stage_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 18))
}
