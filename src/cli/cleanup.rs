//! `portolan cleanup`: nothing stays behind.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::takeover;
use crate::{
    kernel::{DataPlane, NetlinkDataPlane, kube_proxy, redirect},
    source::allocations::AllocationStore,
    tables::{DNS_TABLE, TABLE},
};

const EXAMPLES: &str = "\
Examples:
  portolan cleanup                                as root, on the node
  portolan cleanup --kube-proxy                   the rules of a kube-proxy that no longer runs
  ip netns exec trial portolan cleanup            in a namespace";

/// Remove everything that Portolan made: its tables, the routing rules and routes of the redirect of cluster DNS, and what
/// it remembers of allocated addresses.
///
/// With --kube-proxy it removes what a kube-proxy left behind instead: the tables kube-proxy of nftables, and its chains
/// in the tables of iptables. It does not work beside a living kube-proxy.
///
/// Established connections that were translated go on, because the kernel's connection tracking holds them.
/// New ones are no longer translated. Other tables are not touched.
///
/// Exit code: 0 nothing of it is there any more; 2 it could not be removed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CleanupArgs {
    /// Where allocated addresses and ports are remembered
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portolan")]
    state_dir: PathBuf,
    /// Remove what kube-proxy left behind, and nothing of Portolan's
    #[arg(long)]
    kube_proxy: bool,
}

pub(super) fn run(args: &CleanupArgs) -> anyhow::Result<ExitCode> {
    if args.kube_proxy {
        takeover::refuse_beside_kube_proxy()?;
        let removed = kube_proxy::remove_leftovers()?;
        removed.remarks.iter().for_each(|remark| eprintln!("warning: {remark}"));
        println!("removed of kube-proxy: {removed}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut kernel = NetlinkDataPlane::open()?;
    kernel.remove()?;
    kernel.remove_standby()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(redirect::remove())?;
    AllocationStore::new(&args.state_dir).remove()?;
    println!(
        "removed the tables {TABLE} and {DNS_TABLE} of ip and ip6, routing rules and routes, and {}",
        args.state_dir.display()
    );
    Ok(ExitCode::SUCCESS)
}
