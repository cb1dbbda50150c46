//! Names on this node: fed by the loop, after the kernel took what they lead to.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::super::dns::{ManifestNames, Settings, workers};
use crate::{
    config::{Config, dns::DnsConfig},
    dns::{
        names::Names,
        process::{self, DnsMetrics, Feed, Options},
        redirect::{Numbers, RedirectMarks},
    },
    reconcile::Committed,
    source::kube::Change,
};

/// The pause before a configuration that could not be used at the start is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// The marks of the redirect have bits of their own.
///
/// # Errors
/// The mark for masquerading is one of them.
pub fn check_marks(config: &Config) -> anyhow::Result<()> {
    let bit = config.node.masquerade_bit;
    if RedirectMarks::default().collide(1 << u32::from(bit.min(31))) {
        anyhow::bail!(
            "--masquerade-bit: bit {bit} is one that --dns=local marks packets with (6 and 12): choose another one"
        );
    }
    Ok(())
}

/// Answers until `stop`. A configuration that cannot be used costs names on this node, which the DNS Service answers
/// meanwhile, and nothing else.
pub async fn answer(config: Config, metrics: Arc<DnsMetrics>, mut feed: impl Feed, stop: CancellationToken) {
    let snapshot_file = config.dns.dns_snapshot_file.0.clone().filter(|_| config.input.manifests.is_empty());
    let options = Options { workers: workers(&config.dns), snapshot_file, redirect: Some(Numbers::default()), metrics };
    loop {
        let mut settings = Settings::new(&config);
        let Err(failure) = process::run(&options, &mut settings, &mut feed, stop.clone()).await else { return };
        error!(
            retry_seconds = RETRY.as_secs(),
            "names are not answered on this node, the DNS Service's endpoints answer: {failure}"
        );
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Objects from the API server.
pub struct ClusterFeed {
    receiver: mpsc::UnboundedReceiver<Committed>,
    next: Vec<Committed>,
    complete: bool,
}

impl ClusterFeed {
    pub fn new(receiver: mpsc::UnboundedReceiver<Committed>) -> Self {
        Self { receiver, next: Vec::new(), complete: false }
    }
}

impl Feed for ClusterFeed {
    async fn changed(&mut self) {
        if self.next.is_empty() && self.receiver.recv_many(&mut self.next, usize::MAX).await == 0 {
            std::future::pending().await
        }
    }

    fn apply(&mut self, names: &mut Names) {
        for Committed { changes, complete } in std::mem::take(&mut self.next) {
            for change in changes {
                match change {
                    Change::Put(object) => names.put(&object),
                    Change::Gone { kind, namespace, name } => names.remove(kind.name(), &namespace, &name),
                    _ => {}
                }
            }
            if complete {
                self.complete = true;
                names.synced();
            }
        }
    }

    fn restart(&mut self, _: &DnsConfig) -> Result<(), String> {
        Err("it chooses other objects for names (namespaces, labels, the DNS Service, `pods verified`), which takes a \
             restart of the agent"
            .to_owned())
    }

    fn missing(&self) -> Vec<String> {
        if self.complete { Vec::new() } else { vec!["the lists of objects, and their rules in the kernel".to_owned()] }
    }
}

/// Objects from manifests, read again whenever the kernel holds what they led to.
pub struct ManifestFeed {
    manifests: ManifestNames,
    committed: watch::Receiver<u64>,
}

impl ManifestFeed {
    pub fn new(manifests: ManifestNames, committed: watch::Receiver<u64>) -> Self {
        Self { manifests, committed }
    }
}

impl Feed for ManifestFeed {
    async fn changed(&mut self) {
        if self.committed.changed().await.is_err() {
            warn!("the loop has ended; names stay as they are");
            std::future::pending().await
        }
    }

    fn apply(&mut self, names: &mut Names) {
        self.manifests.apply(names);
    }

    fn restart(&mut self, config: &DnsConfig) -> Result<(), String> {
        // Everything is there already.
        self.committed.mark_changed();
        self.manifests.restart(config)
    }

    fn missing(&self) -> Vec<String> {
        self.manifests.missing()
    }
}
