use std::process::ExitCode;

use clap::Args;

/// To be built.
#[derive(Args, Debug)]
pub struct TraceArgs {}

pub(super) fn run(_args: &TraceArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be built")
}
