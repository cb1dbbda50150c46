//! Doing something again and again until a signal ends it.

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

/// How often, and how many times.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one time to the next
    pub interval: Duration,
    /// Before the first time
    pub delay: Duration,
    /// At most so many times; `None` without end
    pub times: Option<u64>,
}

/// Calls `work` at that pace, until it returns false, or until SIGINT or SIGTERM, which is no error. A signal that comes
/// while it works is heeded afterwards: what it prints is whole.
///
/// # Errors
/// Those of `work`, and no room for a runtime.
pub fn repeat(pace: Pace, mut work: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut next = Instant::now() + pace.delay;
        let mut done = 0;
        while pace.times.is_none_or(|times| done < times) {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                () = sleep_until(next) => {}
            }
            if !work()? {
                break;
            }
            done += 1;
            // From now on, not from when it should have been: work that takes longer than the interval must not pile up.
            next = Instant::now() + pace.interval;
        }
        Ok(())
    })
}
