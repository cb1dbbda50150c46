//! The loop: gathers what changes - inputs, interface addresses, the tables themselves -, has the kernel brought in
//! line, tries again what failed, and tells others how it went.

mod cluster;
mod feed;
mod keeper;
mod pacing;

use std::{
    future::{Future, pending},
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use cluster::{Changed, ClusterInputs};
pub use feed::{ClusterFeed, Describe, PATIENCE};
pub use keeper::Keeper;
pub use pacing::{Outcome, Pacing};

use crate::{
    agent::Synced,
    kernel::{
        KernelError,
        addresses::AddressWatch,
        monitor::{ForeignChange, RulesetMonitor},
    },
};

/// How often everything is read and compared, though nobody is known to have touched it.
const VERIFY_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The first time is soon after the first pass: what was written there is to be seen in the kernel.
const FIRST_VERIFY: Duration = Duration::from_secs(1);

/// So many changes by others are remembered until they are repaired.
const MOST_FOREIGN: usize = 64;

/// Where the desired state comes from.
pub trait Inputs {
    /// Waits until there is something to apply. May be cancelled.
    fn changed(&mut self) -> impl Future<Output = ()>;
    /// Brings what changed into the keeper's desired state. `addresses` are those of the node's interfaces.
    ///
    /// # Errors
    ///
    /// The inputs could not be read at all; the loop tries again later.
    fn apply(&mut self, keeper: &mut impl Keeper, addresses: &[IpAddr]) -> anyhow::Result<Changed>;
    /// Whether enough is known to write anything: nothing is, before the first lists are complete.
    fn ready(&self) -> bool;
}

/// Hears of everything that the loop does.
pub trait Observer {
    /// Inputs were applied. If that changed anything, a pass follows once it may.
    fn changed(&mut self, changed: &Changed);
    /// A pass is over.
    fn passed(&mut self, pass: &Pass, keeper: &mut impl Keeper);
    /// Waits until somebody asks for what only the keeper knows. May be cancelled.
    fn asked(&mut self) -> impl Future<Output = ()>;
    /// Answers.
    fn answer(&mut self, keeper: &mut impl Keeper);
}

/// One pass of the loop.
#[derive(Debug)]
pub struct Pass {
    /// What it did
    pub result: Result<Synced, KernelError>,
    /// What had changed before it
    pub changed: Changed,
    /// When it began
    pub begun: Instant,
    /// How long it took
    pub took: Duration,
    /// Who else had changed our tables before it, where that was the reason
    pub foreign: Vec<ForeignChange>,
    /// Everything in the kernel was read and compared
    pub verified: bool,
}

/// How the loop is to work.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Least time from the end of a pass to the begin of the next
    pub least: Duration,
    /// Longest time between two tries after a failure
    pub longest_retry: Duration,
}

/// The loop and what it holds between passes.
pub struct Reconciler<I, K, O> {
    inputs: I,
    keeper: K,
    observer: O,
    pacing: Pacing,
    /// Tells of changes by others; none in a dry run
    monitor: Option<RulesetMonitor>,
    interfaces: AddressWatch,
    addresses: Vec<IpAddr>,
    changed: Changed,
    foreign: Vec<ForeignChange>,
    verify: Option<Instant>,
    verifying: bool,
    /// Applying failed; it is tried again with the next pass
    unapplied: bool,
}

impl<I: Inputs, K: Keeper, O: Observer> Reconciler<I, K, O> {
    /// A loop that has not begun.
    ///
    /// # Errors
    ///
    /// The kernel's notifications cannot be had.
    pub async fn new(
        inputs: I,
        keeper: K,
        observer: O,
        timing: Timing,
        monitor: Option<RulesetMonitor>,
    ) -> Result<Self, KernelError> {
        let interfaces = AddressWatch::open()?;
        let addresses = interfaces.read().await?.all;
        let now = Instant::now();
        Ok(Self {
            inputs,
            keeper,
            observer,
            pacing: Pacing::new(timing.least, timing.longest_retry, now),
            monitor,
            interfaces,
            addresses,
            changed: Changed::default(),
            foreign: Vec::new(),
            verify: None,
            verifying: true,
            unapplied: false,
        })
    }

    /// Works until `shutdown`. The rules stay.
    ///
    /// # Errors
    ///
    /// The kernel's notifications were lost and cannot be had again.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), KernelError> {
        loop {
            let due = self.pacing.due().filter(|_| self.inputs.ready());
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.inputs.changed() => self.apply(),
                change = foreign_change(&mut self.monitor) => self.doubt(change?)?,
                changed = self.interfaces.changed() => self.read_addresses(changed).await?,
                () = self.observer.asked() => self.observer.answer(&mut self.keeper),
                () = until(due) => self.pass(),
                () = until(self.verify) => self.begin_verification(),
            }
        }
        info!("ending; the rules stay in place");
        Ok(())
    }

    fn apply(&mut self) {
        match self.inputs.apply(&mut self.keeper, &self.addresses) {
            Ok(changed) => {
                self.unapplied = false;
                self.observer.changed(&changed);
                if changed.any() {
                    self.changed.add(changed);
                    self.pacing.want();
                }
            }
            Err(failure) => {
                error!("{failure:#}; the rules stay as they are");
                self.unapplied = true;
                let now = Instant::now();
                self.pacing.finished(Outcome::Failed, false, now, now);
            }
        }
    }

    fn doubt(&mut self, change: ForeignChange) -> Result<(), KernelError> {
        self.keeper.doubt();
        self.verifying = true;
        self.foreign.push(change);
        if let Some(monitor) = &mut self.monitor {
            self.foreign.extend(monitor.more()?);
        }
        // Of a storm the first ones tell enough.
        self.foreign.truncate(MOST_FOREIGN);
        self.pacing.want_repair();
        Ok(())
    }

    fn begin_verification(&mut self) {
        self.keeper.doubt();
        self.verifying = true;
        self.verify = None;
        self.pacing.want();
    }

    async fn read_addresses(&mut self, changed: Result<(), KernelError>) -> Result<(), KernelError> {
        if changed.is_err() {
            warn!("lost track of interface addresses; subscribing again");
            self.interfaces = AddressWatch::open()?;
        }
        self.addresses = self.interfaces.read().await?.all;
        self.apply();
        Ok(())
    }

    fn pass(&mut self) {
        if self.unapplied {
            self.apply();
            if self.unapplied {
                return;
            }
        }
        let begun = Instant::now();
        let result = self.keeper.sync();
        let now = Instant::now();
        let outcome = match &result {
            Ok(synced) if synced.refused.is_empty() => Outcome::Done,
            Ok(_) => Outcome::Refused,
            Err(_) => Outcome::Failed,
        };
        let pass = Pass {
            result,
            changed: std::mem::take(&mut self.changed),
            begun,
            took: now.duration_since(begun),
            foreign: std::mem::take(&mut self.foreign),
            verified: outcome != Outcome::Failed && std::mem::take(&mut self.verifying),
        };
        self.pacing.finished(outcome, !pass.foreign.is_empty(), begun, now);
        if pass.verified {
            let wrote = pass.result.as_ref().is_ok_and(|synced| synced.operations > 0);
            self.verify = Some(now + if wrote { FIRST_VERIFY } else { VERIFY_INTERVAL });
        }
        if let Err(failure) = &pass.result {
            let again = self.pacing.due().map_or(0, |due| due.duration_since(now).as_secs());
            error!(retry_seconds = again, "{failure}; the rules stay as they are");
        }
        self.observer.passed(&pass, &mut self.keeper);
    }
}

async fn foreign_change(monitor: &mut Option<RulesetMonitor>) -> Result<ForeignChange, KernelError> {
    match monitor {
        Some(monitor) => monitor.changed().await,
        None => pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => pending().await,
    }
}
