//! `portolan render`: the dry run.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{ConfigFile, InputArgs, NodeArgs, input, summary};
use crate::{
    desired::Desired,
    model::Family,
    tables::{Contents, Program, nft_text},
};

const EXAMPLES: &str = "\
Examples:
  portolan render -f examples/01-clusterip.yaml --node node-1               what node-1 would hold
  portolan render -f examples/01-clusterip.yaml --node node-1 -o summary    the same in words
  portolan render -f manifests/ --node node-1 | nft -c -f -                 have nft check it";

/// Print the complete ruleset for one node, and touch nothing.
///
/// The nft text is what `portolan apply` puts into the kernel, and `nft -f` loads it as it stands. `-o summary` says in
/// words which endpoints each frontend uses, and why.
///
/// Exit code: 0 all of it is printed; 1 some object was refused, the rest is printed; 2 nothing could be read.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RenderArgs {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Nft)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// nft's language
    Nft,
    /// libnftables JSON
    Json,
    /// Each Service with its frontends and endpoints, and why
    Summary,
}

pub(super) fn run(args: &RenderArgs) -> anyhow::Result<ExitCode> {
    let (input, node) = args.config.below(&args.input, &args.node)?;
    let loaded = input::load(&input, &node, input::Allocating::ReadOnly)?;
    let programs = Family::ALL.map(|family| Program::new(family, &loaded.settings));
    let mut desired = Desired::default();
    desired.replace(loaded.world, loaded.settings);
    let mut contents = Contents::default();
    let work = desired.work(&contents);
    contents.accept(work.changes);
    input::print_notices(loaded.notices.iter().chain(&work.notices));
    let text = match args.output {
        Format::Nft => nft_text(&programs, &contents.state()),
        Format::Json => crate::tables::nft_json(&programs, &contents.state())?,
        Format::Summary => summary::text(&desired),
    };
    super::table::print(&text)?;
    Ok(loaded.exit_code)
}
