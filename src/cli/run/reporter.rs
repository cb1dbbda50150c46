//! What the loop does, told to everybody who wants to know: log, health, metrics, Events, load balancers.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::super::{apply, takeover::KubeProxy};
use crate::{
    agent::Synced,
    compile::health_check_addresses,
    events::{Events, Reason},
    health::Health,
    http::HealthChecks,
    kernel::monitor::ForeignChange,
    metrics::{Metrics, RefreshRequests, Stage, SyncTimes},
    model::{Family, Notice, Severity},
    reconcile::{Changed, Keeper, Observer, Pass},
    tables::Owner,
};

/// Tells.
pub struct Reporter {
    pub health: Health,
    pub metrics: Metrics,
    pub events: Events,
    pub checks: HealthChecks,
    pub kube_proxy: KubeProxy,
    /// Who waits for the metrics to be brought up to date
    pub requests: RefreshRequests,
    pub asking: Option<oneshot::Sender<()>>,
    /// The kernel's counters were read once: what metrics tell counts from there
    pub counting: bool,
}

impl Observer for Reporter {
    fn changed(&mut self, changed: &Changed) {
        log_notices(&changed.notices);
        self.events.notices(Reason::InvalidService, &changed.notices);
        self.metrics.refused_objects(changed.refused);
        if changed.any() {
            self.health.queued();
            self.metrics.queued(changed.services, changed.slices);
        }
    }

    fn passed(&mut self, pass: &Pass, keeper: &mut impl Keeper) {
        log_foreign(&pass.foreign);
        let Ok(synced) = &pass.result else {
            self.metrics.sync_failed();
            return;
        };
        log_notices(&synced.notices);
        self.events.notices(Reason::FrontendConflict, &synced.notices);
        if synced.installed || !synced.changed.is_empty() {
            info!("{}", apply::report(keeper.desired().world().services.len(), synced));
        }
        self.kube_proxy.synced();
        self.tell_health(pass);
        self.tell_metrics(pass, synced);
        self.tell_refused(synced);
        self.tell_load_balancers(keeper);
        if !std::mem::replace(&mut self.counting, true) {
            self.read_counters(keeper);
        }
    }

    async fn asked(&mut self) {
        match self.requests.recv().await {
            Some(asking) => self.asking = Some(asking),
            None => std::future::pending().await,
        }
    }

    /// Brings the metrics up to date that are read from the kernel and the tables.
    fn answer(&mut self, keeper: &mut impl Keeper) {
        self.read_counters(keeper);
        self.metrics.contents(keeper.contents());
        self.metrics.reports(keeper.desired().reports());
        if let Some(asking) = self.asking.take() {
            // A scrape that gave up waiting gets the new values the next time.
            let _ = asking.send(());
        }
    }
}

impl Reporter {
    fn tell_health(&self, pass: &Pass) {
        self.health.updated(pass.begun);
        if pass.verified {
            self.health.verified();
        }
    }

    fn tell_metrics(&mut self, pass: &Pass, synced: &Synced) {
        let spent = &synced.spent;
        let stages = BTreeMap::from([
            (Stage::Read, spent.read),
            (Stage::Compile, spent.compile),
            (Stage::Commit, spent.commit),
            (Stage::Conntrack, spent.conntrack),
        ]);
        let times = SyncTimes { total: pass.took, full: pass.verified, stages, operations: synced.operations };
        self.metrics.synced(&times);
        for family in Family::ALL {
            pass.changed.triggers.iter().for_each(|triggered| self.metrics.programmed(family, *triggered));
        }
        for (family, cleaned) in &synced.cleaned {
            self.metrics.conntrack_cleaned(*family, cleaned.took, cleaned.deleted);
        }
        self.metrics.quarantined(synced.refused.len());
        if !synced.repaired.is_empty() {
            let culprit = pass.foreign.iter().find_map(|change| change.culprit.as_ref());
            self.metrics.drift_repaired(culprit.map(|culprit| culprit.name.as_str()));
        }
    }

    fn tell_refused(&self, synced: &Synced) {
        for (owner, reason) in &synced.refused {
            error!(%owner, "the kernel refused its rules, its last good state stays: {reason}");
            if let Owner::Service(id) = owner {
                let note = format!("the kernel refused the rules of this Service; what it had stays: {reason}");
                self.events.warn(id, Reason::KernelRefused, note);
            }
        }
    }

    fn tell_load_balancers(&mut self, keeper: &mut impl Keeper) {
        let desired = keeper.desired();
        let addresses = health_check_addresses(&desired.world().node, desired.settings());
        let wanted = desired.reports().iter().filter_map(|(id, report)| Some((id, report.health_check.as_ref()?)));
        self.checks.set(wanted, &addresses);
    }

    fn read_counters(&self, keeper: &mut impl Keeper) {
        if !self.metrics.counts_traffic() {
            return;
        }
        match keeper.counters() {
            Ok(counts) => {
                let desired = keeper.desired();
                let exists = |id: &_| desired.world().services.contains_key(id);
                self.metrics.traffic(&counts, |frontend| desired.port_of(frontend), exists);
            }
            Err(failure) => warn!("{failure}; the metrics of connections stay as they were"),
        }
    }
}

fn log_notices(notices: &[Notice]) {
    for notice in notices {
        match notice.severity {
            Severity::Refused => error!("{notice}"),
            Severity::Warning => warn!("{notice}"),
        }
    }
}

fn log_foreign(changes: &[ForeignChange]) {
    for change in changes {
        warn!("{change}; repairing");
    }
}
