//! `portolan dns`: configuration, names, sockets and what others see of them, put together.

mod endpoints;
mod errorlog;
mod files;
mod forwarding;
mod listening;
mod main_loop;
mod metrics;
mod node;
mod querylog;
mod responder;
mod scene;
mod snapshot_file;
mod tally;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use files::Files;
pub use main_loop::{Failure, run};
pub use metrics::DnsMetrics;
pub use scene::plugins;

use super::{names::Names, redirect::Numbers};
use crate::config::dns::DnsConfig;

/// What a process is told besides its configuration.
#[derive(Clone)]
pub struct Options {
    /// UDP workers for each group of sockets
    pub workers: usize,
    /// Where the newest snapshot is kept; none to keep none
    pub snapshot_file: Option<PathBuf>,
    /// Answer this node's own clients at the DNS Service's addresses; none for who is an endpoint of that Service
    pub redirect: Option<Numbers>,
    /// Where metrics are kept
    pub metrics: Arc<DnsMetrics>,
}

/// Where objects come from.
pub trait Feed {
    /// Returns when there is something for [`Feed::apply`]. May be cancelled at any time; nothing is lost.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// Brings what is new into the names, and says when they are complete.
    fn apply(&mut self, names: &mut Names);

    /// Another one that begins at the beginning, for the names of this configuration. This one goes on.
    ///
    /// # Errors
    /// Why that cannot be done, for the log.
    fn again(&self, config: &DnsConfig) -> Result<Self, String>
    where
        Self: Sized;

    /// Whether everything is followed that a configuration's names are made of.
    ///
    /// # Errors
    /// What is not, for the log.
    fn suffices(&self, _config: &DnsConfig) -> Result<(), String> {
        Ok(())
    }

    /// What is not complete yet, in words.
    fn missing(&self) -> Vec<String>;
}

/// Where the configuration comes from.
pub trait Source {
    /// Reads it. None if it is what it was the last time.
    ///
    /// # Errors
    /// What is wrong with it, for the log. It counts as read.
    fn read(&mut self) -> Result<Option<DnsConfig>, String>;

    /// Identifies what was read last.
    fn version(&self) -> String;
}

/// How long a stale snapshot may be served (2.7).
const STALE_LIMIT: Duration = Duration::from_secs(3600);
