//! Manifests as the loop's input.

use std::net::IpAddr;

use tokio::sync::watch;

use super::super::{InputArgs, NodeArgs, input};
use crate::{
    model::Severity,
    reconcile::{Changed, Inputs, Keeper},
    source::watch::ManifestWatch,
    status::Status,
};

/// What the status calls them.
const MANIFESTS: &str = "manifests";

/// Manifests that are read anew whenever one of them changes.
pub struct ManifestFeed {
    input: InputArgs,
    node: NodeArgs,
    allocating: input::Allocating,
    watch: ManifestWatch,
    /// They were never read
    first: bool,
    ready: bool,
    /// Who is told since when they cannot be read
    status: Status,
    /// Counts what the kernel took
    committed: watch::Sender<u64>,
}

impl ManifestFeed {
    /// The manifests that the flags name.
    pub fn new(input: InputArgs, node: NodeArgs, allocating: input::Allocating, status: Status) -> Self {
        let watch = ManifestWatch::new(&input.manifests);
        Self { input, node, allocating, watch, first: true, ready: false, status, committed: watch::Sender::new(0) }
    }

    /// Changes whenever the kernel holds what was read.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}

impl Inputs for ManifestFeed {
    async fn changed(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.watch.changed().await;
        }
    }

    fn apply(&mut self, keeper: &mut impl Keeper, addresses: &[IpAddr]) -> anyhow::Result<Changed> {
        let loaded = input::load_with(&self.input, &self.node, self.allocating, |_| Ok(addresses.to_vec()))
            .inspect_err(|failure| self.status.source_failed(MANIFESTS, &format!("{failure:#}")))?;
        if loaded.incomplete {
            // What was read comes first, and what names no object is a file or a piece of one.
            let mut refused = loaded.notices.iter().filter(|notice| notice.severity == Severity::Refused);
            let first = refused.clone().find(|notice| notice.object.is_none()).or_else(|| refused.next());
            let words = first.map_or_else(|| "not all can be read".to_owned(), ToString::to_string);
            self.status.source_failed(MANIFESTS, &words);
        } else {
            self.status.source_heard(MANIFESTS);
        }
        let refused = loaded.refused.len();
        keeper.set(loaded.world, loaded.settings, loaded.refused, loaded.incomplete);
        self.ready = true;
        Ok(Changed { notices: loaded.notices, refused, others: true, ..Changed::default() })
    }

    fn ready(&self) -> bool {
        self.ready
    }

    fn committed(&mut self) {
        self.committed.send_modify(|times| *times += 1);
    }
}
