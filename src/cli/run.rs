//! `portolan run`: the reconcile loop.

mod dry_run;
mod files;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{RunArgs, apply, input};
use crate::{
    agent::Agent,
    kernel::{NetlinkDataPlane, monitor::Monitor},
    reconcile::{Changed, Inputs, Keeper, Observer, Pass, Reconciler, Timing},
};

/// The longest pause between two tries after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let allocating = if args.dry_run { input::Allocating::ReadOnly } else { input::Allocating::Remember };
        let files = files::ManifestFeed::new(args.input.clone(), args.node.clone(), allocating);
        if args.dry_run {
            follow(args, files, dry_run::DryRun::new(), None).await
        } else {
            // Before the first look at the tables, so that nothing happens unseen between the two.
            let monitor = Monitor::open()?;
            follow(args, files, Agent::new(NetlinkDataPlane::open()?), Some(monitor)).await
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn follow(
    args: &RunArgs,
    inputs: impl Inputs,
    keeper: impl Keeper,
    monitor: Option<Monitor>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let end = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        end.cancel();
    });
    let timing = Timing { least: Duration::from_millis(args.min_sync_period), longest_retry: LONGEST_RETRY };
    let reconciler = Reconciler::new(inputs, keeper, Log, timing, monitor).await;
    reconciler.context("cannot follow the kernel")?.run(shutdown).await?;
    Ok(())
}

/// Says what happens.
struct Log;

impl Observer for Log {
    fn changed(&mut self, changed: &Changed) {
        input::print_notices(&changed.notices);
    }

    fn passed(&mut self, pass: &Pass, keeper: &mut impl Keeper) {
        let Ok(synced) = &pass.result else { return };
        input::print_notices(&synced.notices);
        if synced.installed || !synced.changed.is_empty() {
            info!("{}", apply::report(keeper.desired().world().services.len(), synced));
        }
    }

    async fn asked(&mut self) {
        std::future::pending().await
    }

    fn answer(&mut self, _keeper: &mut impl Keeper) {}
}
