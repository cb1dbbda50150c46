use std::process::ExitCode;

use clap::Args;

/// To be built.
#[derive(Args, Debug)]
pub struct PlanArgs {}

pub(super) fn run(_args: &PlanArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be built")
}
