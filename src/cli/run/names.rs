//! Names on this node: fed by the loop, after the kernel took what they lead to.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::super::dns::{self, ManifestNames, Settings, workers};
use crate::{
    config::{Config, dns::DnsConfig},
    dns::{
        names::Names,
        process::{self, DnsMetrics, Feed, Options},
        redirect::{Numbers, RedirectMarks},
    },
    reconcile::Committed,
    source::kube::{Change, Kind},
};

/// The pause before a configuration that could not be used at the start is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What an agent does not change while it runs.
const RESTART: &str = "takes a restart of the agent";

/// The kinds that names are made of at least.
const BASE: [Kind; 3] = [Kind::Namespace, Kind::Service, Kind::EndpointSlice];

/// What is followed for names. A configuration that cannot be read now may be mended before the agent is started again,
/// and one without the cluster's names may get them.
pub fn kinds(config: &Config) -> BTreeSet<Kind> {
    // What is wrong with it is told when it is read to be used.
    let wanted = Settings::new(config).peek().map(|config| dns::kinds(&config)).unwrap_or_default();
    wanted.into_iter().chain(BASE).collect()
}

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
    // The redirect waits for names that are complete, and the Service's endpoints answer meanwhile: what was known once
    // would be told to nobody.
    let snapshot_file = None;
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
    /// What is followed
    kinds: BTreeSet<Kind>,
    next: Vec<Committed>,
    complete: bool,
}

impl ClusterFeed {
    /// Changes of objects of these kinds.
    pub fn new(receiver: mpsc::UnboundedReceiver<Committed>, kinds: BTreeSet<Kind>) -> Self {
        Self { receiver, kinds, next: Vec::new(), complete: false }
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

    fn again(&self, _: &DnsConfig) -> Result<Self, String> {
        Err(format!(
            "it chooses other objects for names (namespaces, labels, the DNS Service, `pods verified`, another block with \
             `kubernetes`), which {RESTART}"
        ))
    }

    fn suffices(&self, config: &DnsConfig) -> Result<(), String> {
        let lacking: Vec<&str> = dns::kinds(config).difference(&self.kinds).map(|kind| kind.name()).collect();
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "names are to be made of {}s, which are not followed since the configuration could not be read at the \
                 start or said otherwise; to follow them {RESTART}",
                lacking.join("s, ")
            )),
        }
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

    fn again(&self, config: &DnsConfig) -> Result<Self, String> {
        let mut committed = self.committed.clone();
        // What the kernel holds is there already.
        if *committed.borrow() > 0 {
            committed.mark_changed();
        }
        Ok(Self { manifests: self.manifests.again(config)?, committed })
    }

    fn missing(&self) -> Vec<String> {
        self.manifests.missing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dns::corefile::parse;

    #[test]
    fn names_of_what_is_not_followed_are_refused() {
        let (_, receiver) = mpsc::unbounded_channel();
        let feed = ClusterFeed::new(receiver, BASE.into());
        let config = |pods: &str| {
            let text = format!(".:53 {{\n kubernetes cluster.local {{\n pods {pods}\n}}\n}}\n");
            parse(&text, "Corefile", &|_| None, &|_| Err("nothing".to_owned())).unwrap().0
        };
        assert_eq!(feed.suffices(&config("insecure")), Ok(()));
        let reason = feed.suffices(&config("verified")).unwrap_err();
        assert!(reason.contains("Pods") && reason.contains(RESTART), "{reason}");
    }
}
