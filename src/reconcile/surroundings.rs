use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::time::{sleep_until, timeout};
use tracing::warn;

use crate::kernel::{KernelError, addresses::AddressWatch};

/// How long the kernel may take to list them.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before they are asked for again after a failure.
const AGAIN: Duration = Duration::from_secs(5);

/// The addresses of the node's interfaces, kept up to date.
pub(super) struct Addresses {
    /// As they were last read
    pub all: Vec<IpAddr>,
    /// None while it is broken
    watch: Option<AddressWatch>,
    /// They could not be read; when to try again
    again: Option<Instant>,
}

impl Addresses {
    /// Subscribes and reads.
    pub async fn open() -> Result<Self, KernelError> {
        let watch = AddressWatch::open()?;
        Ok(Self { all: watch.read().await?.all, watch: Some(watch), again: None })
    }

    /// Waits until something happened to them; whether they are others now. May be cancelled: what was not read is read
    /// the next time.
    pub async fn changed(&mut self) -> bool {
        let due = self.again;
        let broken = match (&mut self.watch, due) {
            (Some(watch), Some(due)) => tokio::select! {
                changed = watch.changed() => changed.is_err(),
                () = sleep_until(due.into()) => false,
            },
            (Some(watch), None) => watch.changed().await.is_err(),
            (None, due) => {
                sleep_until(due.unwrap_or_else(Instant::now).into()).await;
                true
            }
        };
        // Should this be cancelled from here on.
        self.again = Some(Instant::now());
        if broken {
            self.watch = AddressWatch::open().inspect_err(warn_of).ok();
        }
        let read = match &self.watch {
            Some(watch) => timeout(PATIENCE, watch.read()).await.ok().and_then(|read| read.inspect_err(warn_of).ok()),
            None => None,
        };
        let Some(read) = read else {
            self.again = Some(Instant::now() + AGAIN);
            return false;
        };
        self.again = None;
        let others = self.all != read.all;
        self.all = read.all;
        others
    }
}

fn warn_of(failure: &KernelError) {
    warn!("{failure}; going on with the addresses as they were known");
}
