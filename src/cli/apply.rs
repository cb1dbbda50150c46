//! `portolan apply`: once, then exit.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{ConfigFile, InputArgs, NodeArgs, input};
use crate::{
    agent::{Agent, Synced},
    kernel::NetlinkDataPlane,
};

const EXAMPLES: &str = "\
Examples:
  portolan apply -f manifests/ --node node-1                                     as root, on node-1
  portolan apply -f manifests/ --node node-1 --service-cidr 10.96.0.0/16         allocate from this range
  ip netns exec trial portolan apply -f manifests/ --node node-1                 in a namespace, to try it";

/// Make the kernel hold what the manifests say, once.
///
/// Run again with other manifests it changes what differs and nothing else; established connections go on. An object
/// that cannot be used is named, and costs the others nothing. If a file cannot be read, nothing that is in the kernel
/// is removed on its account; a Service that is refused keeps what it has there.
///
/// Exit code: 0 all of it is in the kernel; 1 some object was refused, the rest is in the kernel; 2 nothing was done.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ApplyArgs {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) fn run(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let (input, node) = args.config.below(&args.input, &args.node)?;
    let loaded = input::load(&input, &node, input::Allocating::Remember)?;
    let services = loaded.world.services.len();
    let mut agent = Agent::new(NetlinkDataPlane::open()?);
    agent.keep(loaded.refused);
    agent.set(loaded.world, loaded.settings, loaded.incomplete);
    let synced = agent.sync().context("cannot bring the kernel in line with the manifests")?;
    input::print_notices(loaded.notices.iter().chain(&synced.notices));
    for (owner, reason) in &synced.refused {
        eprintln!("error: {owner}: the kernel refused its rules, its last good state stays: {reason}");
    }
    println!("{}", report(services, &synced));
    Ok(if synced.refused.is_empty() { loaded.exit_code } else { ExitCode::from(1) })
}

/// One line: what was done.
pub(super) fn report(services: usize, synced: &Synced) -> String {
    let mut line = format!("{services} service{}; ", if services == 1 { "" } else { "s" });
    if synced.installed {
        line.push_str("program installed; ");
    }
    if synced.changed.is_empty() {
        line.push_str("nothing to change");
    } else {
        line.push_str(&format!("{} changed, {} element operations", synced.changed.len(), synced.operations));
    }
    if synced.flows_deleted() > 0 {
        line.push_str(&format!("; {} stale UDP flows deleted", synced.flows_deleted()));
    }
    line
}
