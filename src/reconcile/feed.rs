//! The API server as the loop's input.

use std::{
    collections::BTreeMap,
    future::pending,
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tracing::warn;

use super::{Changed, ClusterInputs, Inputs, Keeper};
use crate::{
    model::{Node, NodePortAddresses, Settings},
    source::kube::{Change, Kind},
};

/// So many changes are taken up at a time.
const BATCH: usize = 4096;
/// So long the loop should wait for what it can do without: the node's own object and the ServiceCIDRs. Services and
/// EndpointSlices it waits for as long as it takes (sections 1.1 and 1.2).
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Changes from the watches, and what they add up to.
pub struct ClusterFeed<S> {
    changes: mpsc::Receiver<Change>,
    batch: Vec<Change>,
    inputs: ClusterInputs,
    /// The settings for a node, and what is to be said about them
    settings: S,
    /// What stands in a kind's way
    troubles: BTreeMap<Kind, String>,
    /// The node and its addresses, as they were last told to the keeper
    told: Option<(Node, Vec<IpAddr>)>,
    warnings: Vec<String>,
    patience: Option<Instant>,
}

impl<S: Fn(&Node) -> (Settings, Vec<String>)> ClusterFeed<S> {
    /// A feed for the node of this name. `patience` is usually [`PATIENCE`].
    pub fn new(node_name: &str, changes: mpsc::Receiver<Change>, settings: S, patience: Duration) -> Self {
        Self {
            changes,
            batch: Vec::with_capacity(BATCH),
            inputs: ClusterInputs::new(node_name),
            settings,
            troubles: BTreeMap::new(),
            told: None,
            warnings: Vec::new(),
            patience: Some(Instant::now() + patience),
        }
    }

    /// Tells the keeper about the node, if it is another one or has other addresses than it was last told.
    fn tell_node(&mut self, keeper: &mut impl Keeper, addresses: &[IpAddr]) -> bool {
        let described = self.inputs.node();
        let same = |(node, known): &(Node, Vec<IpAddr>)| node == described && known == addresses;
        if self.told.as_ref().is_some_and(same) {
            return false;
        }
        let mut node = described.clone();
        let (settings, warnings) = (self.settings)(&node);
        if self.warnings != warnings {
            warnings.iter().for_each(|warning| warn!("{warning}"));
            self.warnings = warnings;
        }
        if node.addresses.is_empty() || settings.node_port_addresses != NodePortAddresses::Primary {
            node.interface_addresses = addresses.to_vec();
        }
        keeper.set_node(node, settings);
        self.told = Some((described.clone(), addresses.to_vec()));
        true
    }
}

impl<S: Fn(&Node) -> (Settings, Vec<String>)> Inputs for ClusterFeed<S> {
    async fn changed(&mut self) {
        // Patience may end without any change.
        let patience = async {
            match self.patience {
                Some(moment) => tokio::time::sleep_until(moment.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            received = self.changes.recv_many(&mut self.batch, BATCH) => {
                if received == 0 {
                    pending().await
                }
            }
            () = patience => self.patience = None,
        }
    }

    fn apply(&mut self, keeper: &mut impl Keeper, addresses: &[IpAddr]) -> anyhow::Result<Changed> {
        let mut changed = Changed::default();
        let was_ready = self.ready();
        for change in self.batch.drain(..) {
            match &change {
                Change::Trouble { kind, error, .. } => {
                    self.troubles.insert(*kind, error.clone());
                }
                Change::Recovered(kind) | Change::Listed(kind) => {
                    self.troubles.remove(kind);
                }
                _ => {}
            }
            changed.notices.extend(self.inputs.apply(change, keeper.desired()));
        }
        changed.add(self.inputs.take_changed());
        changed.node |= self.ready() && self.tell_node(keeper, addresses);
        changed.others |= self.ready() && !was_ready;
        changed.waiting_for = self.inputs.missing().map(|kind| (kind, self.troubles.get(&kind).cloned())).collect();
        Ok(changed)
    }

    fn ready(&self) -> bool {
        let indispensable = |kind: Kind| matches!(kind, Kind::Service | Kind::EndpointSlice);
        let patient = self.patience.is_some();
        !self.inputs.missing().any(|kind| match kind {
            Kind::Namespace => false,
            kind => patient || indispensable(kind),
        })
    }
}
