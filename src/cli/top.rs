use std::process::ExitCode;

use clap::Args;

/// To be built.
#[derive(Args, Debug)]
pub struct TopArgs {}

pub(super) fn run(_args: &TopArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to be built")
}
