use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{
    config::dns::{DnsConfig, PodNames},
    dns::{names::Names, process::Feed},
    source::kube::{self, ApiServer, Change, Kind, Timing, Watches},
};

/// So many changes are taken up at a time.
const BATCH: usize = 4096;

/// Objects from an API server.
pub struct ClusterNames {
    server: ApiServer,
    changes: mpsc::Receiver<Change>,
    batch: Vec<Change>,
    missing: BTreeSet<Kind>,
    /// Ends with this
    _watches: Watches,
}

impl ClusterNames {
    pub fn new(server: ApiServer, config: &DnsConfig) -> Self {
        let kinds = kinds(config);
        let (changes, watches) = kube::watch_kinds(&server, "", kinds.clone(), &Timing::default());
        Self { server, changes, batch: Vec::new(), missing: kinds, _watches: watches }
    }
}

/// What names are made of. Pods are many, and only looked at if their names are to be checked.
pub fn kinds(config: &DnsConfig) -> BTreeSet<Kind> {
    let mut kubernetes = config.servers.iter().filter_map(|server| server.kubernetes.as_ref()).peekable();
    let mut kinds = BTreeSet::new();
    if kubernetes.peek().is_some() {
        kinds.extend([Kind::Namespace, Kind::Service, Kind::EndpointSlice]);
    }
    if kubernetes.any(|options| options.pods == PodNames::Verified) {
        kinds.insert(Kind::Pod);
    }
    kinds
}

impl Feed for ClusterNames {
    async fn changed(&mut self) {
        if self.batch.is_empty() && self.changes.recv_many(&mut self.batch, BATCH).await == 0 {
            // Nothing is followed: there are no names of the cluster.
            std::future::pending().await
        }
    }

    fn apply(&mut self, names: &mut Names) {
        for change in std::mem::take(&mut self.batch) {
            match change {
                Change::Put(object) => names.put(&object),
                Change::Gone { kind, namespace, name } => names.remove(kind.name(), &namespace, &name),
                Change::Listed(kind) => {
                    self.missing.remove(&kind);
                    if self.missing.is_empty() {
                        names.synced();
                    }
                }
                Change::Undecodable { object, reason } => warn!("{object} cannot be read, its names stay: {reason}"),
                Change::Trouble { error, retry_in, .. } => {
                    warn!(retry_seconds = retry_in.as_secs(), "{error}; names stay as they are");
                }
                Change::Recovered(kind) => info!("{}s are followed again", kind.name()),
                Change::NodeMissing { .. } => {}
            }
        }
    }

    fn again(&self, config: &DnsConfig) -> Result<Self, String> {
        Ok(Self::new(self.server.clone(), config))
    }

    fn missing(&self) -> Vec<String> {
        self.missing.iter().map(|kind| format!("the list of {}s", kind.name())).collect()
    }
}
