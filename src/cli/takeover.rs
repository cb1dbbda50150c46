//! Taking a node over: its sysctls, and what of kube-proxy is still there.

use std::path::Path;

use anyhow::bail;
use tracing::{error, info, warn};

use crate::{
    config::Config,
    kernel::{
        kube_proxy::{find_alive, find_leftovers, remove_leftovers},
        sysctl::{self, Wanted},
    },
};

/// Sets the node's sysctls as configured. What cannot be set is logged.
pub fn set_sysctls(config: &Config) {
    let conntrack = &config.conntrack;
    let wanted = Wanted {
        max_per_core: conntrack.max_per_core,
        min: conntrack.min,
        tcp_timeout_established: conntrack.tcp_timeout_established,
        tcp_timeout_close_wait: conntrack.tcp_timeout_close_wait,
        tcp_be_liberal: conntrack.tcp_be_liberal,
        udp_timeout: conntrack.udp_timeout,
        udp_timeout_stream: conntrack.udp_timeout_stream,
        oom_score_adj: config.process.oom_score_adj,
    };
    let outcome = sysctl::apply(Path::new("/"), &wanted);
    outcome.changed.iter().for_each(|setting| info!("set {setting}"));
    outcome.failed.iter().for_each(|failure| warn!("{failure}"));
}

/// Fails if a kube-proxy is alive in this network namespace, and says what to do.
pub fn refuse_beside_kube_proxy() -> anyhow::Result<()> {
    if let Some(alive) = find_alive(Path::new("/proc")) {
        bail!(
            "a kube-proxy is alive in this network namespace ({alive}); two programs that translate the same packets get in \
             each other's way. End it first - docs/migrate-from-kube-proxy.md says how without deleting it; with \
             k3s, start the server with --disable-kube-proxy - and start Portolan again with --cleanup-kube-proxy"
        );
    }
    Ok(())
}

/// What is to be done about the rules of a kube-proxy that has ended.
#[derive(Debug)]
pub struct KubeProxy {
    /// They are to be removed as soon as ours are in the kernel: packets always find one of the two
    remove: bool,
}

impl KubeProxy {
    /// Looks around before anything is changed; what was left is named. A dry run only looks.
    ///
    /// # Errors
    /// A kube-proxy is alive.
    pub fn at_start(config: &Config) -> anyhow::Result<Self> {
        if config.sync.dry_run {
            if let Some(alive) = find_alive(Path::new("/proc")) {
                warn!("a kube-proxy is alive ({alive}): Portolan would not start beside it");
            }
            return Ok(Self { remove: false });
        }
        refuse_beside_kube_proxy()?;
        let remove = config.sync.cleanup_kube_proxy;
        if !remove {
            match find_leftovers() {
                Ok(found) => {
                    found.remarks.iter().for_each(|remark| warn!("{remark}"));
                    if !found.is_empty() {
                        warn!(
                            "kube-proxy left {found}, which translate packets as well: give --cleanup-kube-proxy, or run \
                             `portolan cleanup --kube-proxy`"
                        );
                    }
                }
                Err(failure) => warn!("cannot see whether kube-proxy left rules: {failure}"),
            }
        }
        Ok(Self { remove })
    }

    /// To be called after every success of the loop; the first one makes kube-proxy's rules go. A failure is logged and
    /// tried again the next time.
    pub fn synced(&mut self) {
        if !self.remove {
            return;
        }
        match remove_leftovers() {
            Ok(removed) => {
                self.remove = false;
                removed.remarks.iter().for_each(|remark| warn!("{remark}"));
                info!("removed of kube-proxy: {removed}");
            }
            Err(failure) => error!("cannot remove what kube-proxy left: {failure}; trying again after the next change"),
        }
    }
}
