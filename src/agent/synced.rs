use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    model::{Family, Notice},
    tables::{Difference, Owner},
};

/// What one [`Agent::sync`] did.
#[derive(Debug, Default)]
pub struct Synced {
    /// Services and others whose rows changed
    pub changed: BTreeSet<Owner>,
    /// What became of the rows of some of these, for people; a start changes too many to tell of all
    pub news: BTreeMap<Owner, Vec<Difference>>,
    /// Element operations sent to the kernel
    pub operations: usize,
    /// Owners whose change the kernel refuses, now or since an earlier sync, with its words; they keep their last good
    /// state
    pub refused: BTreeMap<Owner, String>,
    /// What users should know
    pub notices: Vec<Notice>,
    /// Looks for stale UDP entries, in the families where there was a reason to look
    pub cleaned: BTreeMap<Family, Cleaned>,
    /// The program itself was written
    pub installed: bool,
    /// Everything that the kernel holds was read and compared, not only what had changed
    pub compared: bool,
    /// What others had changed in our tables since the last sync that succeeded, and what this one mended
    pub repaired: Drift,
    /// Where the time went
    pub spent: Spent,
}

impl Synced {
    /// Stale UDP entries that were deleted.
    pub fn flows_deleted(&self) -> usize {
        self.cleaned.values().map(|cleaned| cleaned.deleted).sum()
    }
}

/// One look for stale UDP entries of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Entries that were deleted
    pub deleted: usize,
    /// How long it took
    pub took: Duration,
}

/// How long the parts of one [`Agent::sync`] took; zero for those that were not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Reading what the kernel holds, and writing the program where it was missing
    pub read: Duration,
    /// Deciding what the tables should hold
    pub compile: Duration,
    /// Changing the tables
    pub commit: Duration,
    /// Looking for stale UDP flows
    pub conntrack: Duration,
}

/// Where the kernel no longer held what it had been made to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Owners whose rows differed; [`Owner::Stray`] for rows that name no owner
    pub owners: BTreeSet<Owner>,
    /// Tables, chains, sets and unreadable elements that were missing, changed or not ours, as `family kind name`
    pub program: BTreeSet<String>,
}

impl Drift {
    /// Whether all was as it should be.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.program.is_empty()
    }
}

/// Tells how long one part after the other took.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start or the last lap.
    pub(super) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}
