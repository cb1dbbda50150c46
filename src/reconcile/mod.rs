//! The loop: gathers what changes - inputs, interface addresses, the tables themselves -, has the kernel brought in
//! line, tries again what failed, and tells others how it went.

mod cluster;
mod committed;
mod feed;
mod keeper;
mod pacing;
mod surroundings;

use std::{
    future::{Future, pending},
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use cluster::{Changed, ClusterInputs};
pub use committed::{Committed, CommittedChanges};
pub use feed::{ClusterFeed, Describe, PATIENCE};
pub use keeper::Keeper;
pub use pacing::{Outcome, Pacing};

use crate::{
    agent::Synced,
    kernel::{
        KernelError,
        monitor::{ForeignChange, RulesetMonitor},
    },
};
use surroundings::Addresses;

/// How often everything is read and compared, though nobody is known to have touched it.
const VERIFY_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// So soon after something was written from the ground up or repaired: it is to be seen in the kernel.
const FIRST_VERIFY: Duration = Duration::from_secs(1);
/// How often the ruleset's generation is compared with what the notifications told: a safety net below them.
const GENERATION_INTERVAL: Duration = Duration::from_secs(30);
/// The pause before notifications that broke off are asked for again.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(5);
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
    /// The kernel holds what everything that was applied so far led to.
    fn committed(&mut self) {}
}

/// Hears of everything that the loop does.
pub trait Observer {
    /// Inputs were applied. If that changed anything, a pass follows once it may; not before `ready`, which is that of
    /// [`Inputs::ready`].
    fn changed(&mut self, changed: &Changed, ready: bool);
    /// Inputs could not be read, or the kernel not be changed, for this reason. It will be tried again.
    fn failed(&mut self, reason: &str);
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
    /// What had changed before it, since the last one that succeeded
    pub changed: Changed,
    /// When it began
    pub begun: Instant,
    /// How long it took
    pub took: Duration,
    /// Who else had changed our tables since the last one that succeeded
    pub foreign: Vec<ForeignChange>,
    /// The inputs cannot be applied: it was for what was known before
    pub unapplied: bool,
}

impl Pass {
    /// Whether everything in the kernel was read and compared, and is as it should be.
    pub fn verified(&self) -> bool {
        self.result.as_ref().is_ok_and(|synced| synced.compared)
    }
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
    /// Tells of changes by others; none in a dry run, and while it cannot be had
    monitor: Option<RulesetMonitor>,
    /// When to ask for it again
    subscribe: Option<Instant>,
    /// When to look whether it missed anything
    look: Instant,
    addresses: Addresses,
    changed: Changed,
    foreign: Vec<ForeignChange>,
    verify: Option<Instant>,
    /// A pass has succeeded
    begun: bool,
    /// Applying failed; it is tried again with the next pass
    unapplied: bool,
}

impl<I: Inputs, K: Keeper, O: Observer> Reconciler<I, K, O> {
    /// A loop that has not begun. To be called in the network namespace that it is for.
    ///
    /// # Errors
    ///
    /// The kernel's notifications cannot be had.
    pub async fn new(inputs: I, mut keeper: K, observer: O, timing: Timing) -> Result<Self, KernelError> {
        let now = Instant::now();
        // Before the first look at the tables, so that nothing happens unseen between the two.
        let monitor = keeper.watch()?;
        Ok(Self {
            inputs,
            keeper,
            observer,
            pacing: Pacing::new(timing.least, timing.longest_retry, now),
            monitor,
            subscribe: None,
            look: now + GENERATION_INTERVAL,
            addresses: Addresses::open().await?,
            changed: Changed::default(),
            foreign: Vec::new(),
            verify: None,
            begun: false,
            unapplied: false,
        })
    }

    /// Works until `shutdown`. The rules stay.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let due = self.pacing.due().filter(|_| self.unapplied || self.inputs.ready());
            let look = self.monitor.is_some().then_some(self.look);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.inputs.changed() => self.apply(),
                change = foreign_change(&mut self.monitor) => self.doubt(change),
                changed = self.addresses.changed() => if changed { self.apply() },
                () = self.observer.asked() => self.observer.answer(&mut self.keeper),
                () = until(due) => self.pass(),
                () = until(self.verify) => self.begin_verification(),
                () = until(look) => self.look_at_generation(),
                () = until(self.subscribe) => self.subscribe_again(),
            }
        }
        info!("ending; the rules stay in place");
    }

    fn apply(&mut self) {
        let applied = self.inputs.apply(&mut self.keeper, &self.addresses.all);
        self.unapplied = applied.is_err();
        match applied {
            Ok(changed) => {
                self.observer.changed(&changed, self.inputs.ready());
                if changed.any() {
                    self.changed.add(changed);
                    self.pacing.want();
                }
            }
            Err(failure) => {
                error!("{failure:#}; the rules stay as they are");
                self.observer.failed(&format!("{failure:#}"));
                self.pacing.failed(Instant::now());
            }
        }
    }

    fn doubt(&mut self, change: Result<ForeignChange, KernelError>) {
        let more = change.and_then(|change| {
            self.foreign.push(change);
            self.monitor.as_mut().map_or(Ok(Vec::new()), RulesetMonitor::more)
        });
        match more {
            Ok(more) => self.foreign.extend(more),
            Err(failure) => self.lose_monitor(&failure),
        }
        // Of a storm the first ones tell enough.
        self.foreign.truncate(MOST_FOREIGN);
        self.keeper.doubt();
        self.pacing.want_repair();
    }

    fn lose_monitor(&mut self, failure: &KernelError) {
        warn!("{failure}; changes by others are noticed later until that is mended");
        self.monitor = None;
        self.subscribe = Some(Instant::now() + SUBSCRIBE_AGAIN);
    }

    /// Asks for notifications again, and looks at what happened without them.
    fn subscribe_again(&mut self) {
        self.subscribe = None;
        match self.keeper.watch() {
            Ok(monitor) => self.monitor = monitor,
            Err(failure) => self.lose_monitor(&failure),
        }
        self.begin_verification();
    }

    /// Looks whether the ruleset changed without a word.
    fn look_at_generation(&mut self) {
        self.look = Instant::now() + GENERATION_INTERVAL;
        let Some(monitor) = &mut self.monitor else { return };
        match self.keeper.generation().and_then(|generation| monitor.saw(generation)) {
            Ok(true) => {}
            Ok(false) => self.begin_verification(),
            Err(failure) => self.lose_monitor(&failure),
        }
    }

    fn begin_verification(&mut self) {
        self.keeper.doubt();
        self.verify = None;
        self.pacing.want();
    }

    fn pass(&mut self) {
        if self.unapplied {
            self.apply();
        }
        if !self.inputs.ready() {
            return;
        }
        let begun = Instant::now();
        if self.pacing.retries(begun) {
            self.keeper.retry();
        }
        let result = self.keeper.sync();
        let now = Instant::now();
        let outcome = match &result {
            Ok(_) if self.unapplied => Outcome::Failed,
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
            unapplied: self.unapplied,
        };
        self.pacing.finished(outcome, !pass.foreign.is_empty(), begun, now);
        self.observer.passed(&pass, &mut self.keeper);
        match &pass.result {
            Ok(synced) => {
                self.plan_verification(synced, now);
                self.inputs.committed();
            }
            Err(failure) => {
                let again = self.pacing.due().map_or(0, |due| due.duration_since(now).as_secs());
                error!(retry_seconds = again, "{failure}; the rules stay as they are");
                self.observer.failed(&failure.to_string());
                // What it was for is not done.
                self.changed.add(pass.changed);
                self.foreign = pass.foreign;
            }
        }
    }

    fn plan_verification(&mut self, synced: &Synced, now: Instant) {
        let first = !std::mem::replace(&mut self.begun, true);
        if synced.compared {
            let soon = first || synced.installed || !synced.repaired.is_empty();
            self.verify = Some(now + if soon { FIRST_VERIFY } else { VERIFY_INTERVAL });
        }
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
