//! What the loop does, told to everybody who wants to know: log, health, metrics, status, Events, load balancers.

use std::{collections::BTreeMap, time::Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::{
    super::{apply, takeover::KubeProxy},
    news,
    picture::{self, Rates},
};
use crate::{
    agent::Synced,
    compile::health_check_addresses,
    events::{Events, Reason},
    health::Health,
    http::{Ask, HealthChecks, Picture},
    kernel::observe,
    metrics::{Metrics, RefreshRequests, Stage, SyncTimes},
    model::{Notice, Severity},
    reconcile::{Changed, Keeper, Observer, Pass},
    status::{By, Status},
    tables::Owner,
};

/// Tells.
pub struct Reporter {
    pub health: Health,
    pub metrics: Metrics,
    pub status: Status,
    pub events: Events,
    /// None in a dry run: load balancers must not send anything here on its account
    pub checks: Option<HealthChecks>,
    pub kube_proxy: KubeProxy,
    /// Who waits for the metrics to be brought up to date
    pub requests: RefreshRequests,
    pub asking: Option<oneshot::Sender<()>>,
    /// The same for the page
    pub asks: mpsc::Receiver<Ask>,
    pub asked: Option<Ask>,
    /// What the page was told of counters, while somebody looks at it
    pub rates: Rates,
    /// What the kernel refused at the last pass
    pub refused: BTreeMap<Owner, String>,
    /// The kernel's counters were read once: what metrics tell counts from there
    pub counting: bool,
}

impl Observer for Reporter {
    fn changed(&mut self, changed: &Changed, ready: bool) {
        log_notices(&changed.notices);
        self.events.notices(Reason::InvalidService, &changed.notices);
        self.metrics.refused_services(changed.refused);
        if changed.any() {
            self.metrics.queued(changed.services, changed.slices);
            // While the first lists are awaited nothing can be outstanding: a restart would not make them come.
            if ready {
                self.health.queued();
            }
        }
    }

    fn failed(&mut self, reason: &str) {
        self.health.queued();
        self.status.failed(reason);
    }

    fn passed(&mut self, pass: &Pass, keeper: &mut impl Keeper) {
        let Ok(synced) = &pass.result else {
            self.metrics.sync_failed();
            return;
        };
        log_notices(&synced.notices);
        self.events.notices(Reason::FrontendConflict, &synced.notices);
        if synced.installed || !synced.changed.is_empty() {
            info!("{}", apply::report(keeper.desired().world().services.len(), synced));
        }
        if pass.verified() {
            self.kube_proxy.synced();
        }
        self.tell_health(pass);
        self.tell_metrics(pass, synced);
        self.tell_repairs(pass, synced);
        self.tell_refused(synced);
        self.tell_status(pass, synced, keeper);
        self.tell_load_balancers(keeper);
        if !std::mem::replace(&mut self.counting, true) {
            self.read_counters(keeper);
        }
    }

    async fn asked(&mut self) {
        tokio::select! {
            Some(asking) = self.requests.recv() => self.asking = Some(asking),
            Some(ask) = self.asks.recv() => self.asked = Some(ask),
            else => std::future::pending().await,
        }
    }

    /// Draws a picture, or brings the metrics up to date that are read from the kernel and the tables.
    fn answer(&mut self, keeper: &mut impl Keeper) {
        // A viewer who gave up waiting asks again.
        if let Some(ask) = self.asked.take().filter(|ask| !ask.answer.is_closed()) {
            let begun = Instant::now();
            if self.rates.are_due(begun) {
                match keeper.counters() {
                    Ok(counts) => self.rates.read(&counts, Instant::now()),
                    Err(failure) => warn!("{failure}; the page shows the connections as they were"),
                }
            }
            let picture = picture::draw(keeper, &self.rates, &ask.find);
            let _ = ask.answer.send(Picture { took: begun.elapsed(), ..picture });
        }
        if self.asking.is_none() {
            return;
        }
        self.read_counters(keeper);
        self.metrics.contents(keeper.contents());
        self.metrics.reports(keeper.desired().reports());
        // Where the kernel tracks nothing there is nothing to tell.
        if let Ok((entries, limit)) = observe::tracked() {
            self.metrics.tracked(entries, limit);
        }
        if let Some(asking) = self.asking.take() {
            // A scrape that gave up waiting gets the new values the next time.
            let _ = asking.send(());
        }
    }
}

impl Reporter {
    fn tell_health(&self, pass: &Pass) {
        self.health.updated(pass.begun);
        if pass.verified() {
            self.health.verified();
            self.metrics.verified();
        }
    }

    fn tell_metrics(&self, pass: &Pass, synced: &Synced) {
        let spent = &synced.spent;
        let stages = BTreeMap::from([
            (Stage::Read, spent.read),
            (Stage::Compile, spent.compile),
            (Stage::Commit, spent.commit),
            (Stage::Conntrack, spent.conntrack),
        ]);
        let times = SyncTimes { total: pass.took, full: pass.verified(), stages, operations: synced.operations };
        self.metrics.synced(&times);
        pass.changed.triggers.iter().for_each(|(family, triggered)| self.metrics.programmed(*family, *triggered));
        for (family, cleaned) in &synced.cleaned {
            self.metrics.conntrack_cleaned(*family, cleaned.took, cleaned.deleted);
        }
    }

    fn tell_repairs(&self, pass: &Pass, synced: &Synced) {
        let drift = &synced.repaired;
        if drift.is_empty() {
            return;
        }
        pass.foreign.iter().for_each(|change| warn!("{change}"));
        let (owners, program) = (drift.owners.len(), drift.program.len());
        warn!(owners, program, "repaired what others had changed in our tables");
        let culprit = pass.foreign.iter().find_map(|change| change.culprit.as_ref());
        self.metrics.drift_repaired(culprit.map(|culprit| culprit.name.as_str()));
    }

    /// Logs what is new; what goes on being refused is only counted, and its Event repeated now and then.
    fn tell_refused(&mut self, synced: &Synced) {
        let of_services = synced.refused.keys().filter(|owner| matches!(owner, Owner::Service(_)));
        self.metrics.quarantined(of_services.count());
        for (owner, reason) in &synced.refused {
            if self.refused.get(owner) != Some(reason) {
                error!(%owner, "the kernel refused its rules, its last good state stays: {reason}");
            }
            if let Owner::Service(id) = owner {
                let note = format!("the kernel refused the rules of this Service; what it had stays: {reason}");
                self.events.warn(id, Reason::KernelRefused, note);
            }
        }
        self.refused.clone_from(&synced.refused);
    }

    fn tell_status(&self, pass: &Pass, synced: &Synced, keeper: &mut impl Keeper) {
        for change in &pass.foreign {
            let by = change.culprit.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
            let mut what: Vec<String> = change.what.iter().map(ToString::to_string).collect();
            if what.is_empty() {
                what.push(change.to_string());
            }
            self.status.happened(By::Other(by), "our tables", what);
        }
        if synced.installed {
            let mut what = vec!["written".to_owned()];
            what.extend(synced.repaired.program.iter().map(|what| format!("somebody had changed {what}")));
            self.status.happened(By::Portolan, "the program", what);
        }
        let desired = keeper.desired();
        self.status.programmed(news::of_services(synced, desired));
        let services = synced.refused.iter().filter_map(|(owner, reason)| match owner {
            Owner::Service(id) => Some((id.clone(), reason.clone())),
            Owner::Node | Owner::Stray => None,
        });
        let exists = |id: &_| desired.world().services.contains_key(id);
        self.status.passed(services.collect(), exists, pass.verified());
        if !pass.unapplied {
            self.status.recovered();
        }
    }

    fn tell_load_balancers(&mut self, keeper: &mut impl Keeper) {
        let Some(checks) = &mut self.checks else { return };
        let desired = keeper.desired();
        let addresses = health_check_addresses(&desired.world().node, desired.settings());
        let wanted = desired.reports().iter().filter_map(|(id, report)| Some((id, report.health_check.as_ref()?)));
        checks.set(wanted, &addresses);
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
