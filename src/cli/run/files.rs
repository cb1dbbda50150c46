//! Manifests as the loop's input.

use std::net::IpAddr;

use super::super::{InputArgs, NodeArgs, input};
use crate::{
    reconcile::{Changed, Inputs, Keeper},
    source::watch::ManifestWatch,
};

/// Manifests that are read anew whenever one of them changes.
pub struct ManifestFeed {
    input: InputArgs,
    node: NodeArgs,
    allocating: input::Allocating,
    watch: ManifestWatch,
    /// They were never read
    first: bool,
    ready: bool,
}

impl ManifestFeed {
    /// The manifests that the flags name.
    pub fn new(input: InputArgs, node: NodeArgs, allocating: input::Allocating) -> Self {
        let watch = ManifestWatch::new(&input.manifests);
        Self { input, node, allocating, watch, first: true, ready: false }
    }
}

impl Inputs for ManifestFeed {
    async fn changed(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.watch.changed().await;
        }
    }

    fn apply(&mut self, keeper: &mut impl Keeper, addresses: &[IpAddr]) -> anyhow::Result<Changed> {
        let loaded = input::load_with(&self.input, &self.node, self.allocating, || Ok(addresses.to_vec()))?;
        let refused = loaded.refused.len();
        keeper.set(loaded.world, loaded.settings, loaded.refused, loaded.incomplete);
        self.ready = true;
        Ok(Changed { notices: loaded.notices, refused, others: true, ..Changed::default() })
    }

    fn ready(&self) -> bool {
        self.ready
    }
}
