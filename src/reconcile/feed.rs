//! The API server as the loop's input.

use std::{
    collections::BTreeMap,
    future::pending,
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Changed, ClusterInputs, CommittedChanges, Inputs, Keeper};
use crate::{
    health::{Health, NodeState},
    metrics::Metrics,
    model::{Node, NodePortAddresses, Settings},
    objects::Object,
    source::kube::{Change, Kind},
    status::Status,
};

/// So many changes are taken up at a time.
const BATCH: usize = 4096;
/// So long the loop should wait for what it can do without: the node's own object and the ServiceCIDRs. Services and
/// EndpointSlices it waits for as long as it takes (sections 1.1 and 1.2).
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the operator's choice makes of a node, given the service networks: the node with what was added to it, the
/// settings, and what is to be said about them.
pub trait Describe: FnMut(Node, &[IpNet]) -> (Node, Settings, Vec<String>) {}

impl<F: FnMut(Node, &[IpNet]) -> (Node, Settings, Vec<String>)> Describe for F {}

/// Changes from the watches, and what they add up to.
pub struct ClusterFeed<D> {
    changes: mpsc::Receiver<Change>,
    batch: Vec<Change>,
    inputs: ClusterInputs,
    describe: D,
    health: Health,
    metrics: Metrics,
    /// What stands in a kind's way
    troubles: BTreeMap<Kind, String>,
    /// The node, its addresses and the service networks, as the keeper was last told
    told: Option<(Node, Vec<IpAddr>, Vec<IpNet>)>,
    warnings: Vec<String>,
    /// What the keeper was told of slices that could never be read
    incomplete: bool,
    /// Who is told since when a kind cannot be followed
    status: Option<Status>,
    /// Who hears of changes once the kernel took them
    names: Option<CommittedChanges>,
    patience: Option<Instant>,
}

impl<D: Describe> ClusterFeed<D> {
    /// A feed of `changes`. `patience` is usually [`PATIENCE`]. What concerns probes and metrics goes to `health` and
    /// `metrics`.
    pub fn new(
        inputs: ClusterInputs,
        changes: mpsc::Receiver<Change>,
        describe: D,
        patience: Duration,
        health: Health,
        metrics: Metrics,
    ) -> Self {
        let feed = Self {
            changes,
            batch: Vec::new(),
            inputs,
            describe,
            health,
            metrics,
            troubles: BTreeMap::new(),
            told: None,
            warnings: Vec::new(),
            incomplete: false,
            status: None,
            names: None,
            patience: Some(Instant::now() + patience),
        };
        feed.tell_missing();
        feed
    }

    /// Has it told in the status what cannot be followed, and since when.
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Has changes told to names as well, once the kernel took them.
    pub fn with_names(mut self, names: Option<CommittedChanges>) -> Self {
        self.names = names;
        self
    }

    /// What readiness waits for.
    fn tell_missing(&self) {
        let reason = |kind: Kind| (format!("the list of {}s", kind.name()), self.troubles.get(&kind).cloned());
        self.health.waits_for(self.waited_for().map(reason));
    }

    /// Kinds that nothing is written without: some as long as it takes, others as long as patience lasts.
    fn waited_for(&self) -> impl Iterator<Item = Kind> {
        let patient = self.patience.is_some();
        self.inputs.missing().filter(move |kind| match kind {
            Kind::Service | Kind::EndpointSlice => true,
            Kind::Node | Kind::ServiceCidr => patient,
            Kind::Namespace | Kind::Pod => false,
        })
    }

    /// What a change says beyond the desired state.
    fn note(&mut self, change: &Change) {
        match change {
            Change::Put(object) => {
                self.metrics.watch_event(object.kind());
                if let Object::Node(node) = &**object {
                    self.health.node(NodeState::of(node));
                }
            }
            Change::Gone { kind, .. } => {
                self.metrics.watch_event(kind.name());
                if *kind == Kind::Node {
                    self.health.node(NodeState::Unknown);
                }
            }
            Change::NodeMissing { advice } => warn!("{advice}"),
            Change::Trouble { kind, error, retry_in } => {
                warn!(retry_seconds = retry_in.as_secs(), "{error}; what is programmed stays");
                self.metrics.watch_failed(kind.name());
                self.troubles.insert(*kind, error.clone());
                if let Some(status) = &self.status {
                    status.source_failed(kind.name(), error);
                }
            }
            Change::Recovered(kind) => {
                info!("{}s are followed again", kind.name());
                self.heard_of(*kind);
            }
            Change::Listed(kind) => {
                self.metrics.watch_listed(kind.name());
                self.heard_of(*kind);
            }
            Change::Undecodable { .. } => {}
        }
    }

    fn heard_of(&mut self, kind: Kind) {
        self.troubles.remove(&kind);
        if let Some(status) = &self.status {
            status.source_heard(kind.name());
        }
    }

    /// Tells the keeper about the node, if it is another one or has other addresses than it was last told.
    fn tell_node(&mut self, keeper: &mut impl Keeper, addresses: &[IpAddr]) -> bool {
        let described = self.inputs.node();
        let networks: Vec<IpNet> = self.inputs.networks().copied().collect();
        if self
            .told
            .as_ref()
            .is_some_and(|(node, known, old)| node == described && known == addresses && *old == networks)
        {
            return false;
        }
        let (mut node, settings, warnings) = (self.describe)(described.clone(), &networks);
        if self.warnings != warnings {
            warnings.iter().for_each(|warning| warn!("{warning}"));
            self.warnings = warnings;
        }
        if node.addresses.is_empty() || settings.node_port_addresses != NodePortAddresses::Primary {
            node.interface_addresses = addresses.to_vec();
        }
        keeper.set_node(node, settings);
        self.told = Some((described.clone(), addresses.to_vec(), networks));
        true
    }
}

impl<D: Describe> Inputs for ClusterFeed<D> {
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
        for change in std::mem::take(&mut self.batch) {
            self.note(&change);
            changed.notices.extend(self.inputs.apply(&change, keeper.desired()));
            if let Some(names) = &mut self.names {
                names.applied(change);
            }
        }
        changed.add(self.inputs.take_changed());
        // The first time is when enough is known: then this counts as a change, whatever made it so.
        changed.node |= self.ready() && self.tell_node(keeper, addresses);
        changed.refused = self.inputs.refused().len();
        self.inputs.settle(keeper.desired());
        if std::mem::replace(&mut self.incomplete, self.inputs.incomplete()) != self.incomplete {
            keeper.set_incomplete(self.incomplete);
            changed.others = true;
        }
        self.tell_missing();
        changed.names = self.names.as_mut().is_some_and(|names| names.settle(&self.inputs));
        Ok(changed)
    }

    fn ready(&self) -> bool {
        self.waited_for().next().is_none()
    }

    fn committed(&mut self) {
        if let Some(names) = &mut self.names {
            names.committed(&self.inputs);
        }
    }
}
