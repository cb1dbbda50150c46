use std::process::ExitCode;

use clap::Args;

/// To be built.
#[derive(Args, Debug)]
pub struct ExplainArgs {}

pub(super) fn run(_args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be built")
}
