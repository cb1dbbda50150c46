//! The commands. Each file is one of them; what they print goes to standard output, everything else to standard error.

mod apply;
mod args;
mod cleanup;
mod diff;
mod get;
mod input;
mod lab;
mod render;
mod run;
mod summary;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use args::{DetectLocalMode, InputArgs, NodeArgs, NodePortAddress};

/// Kubernetes Services as a fixed nftables program driven by maps.
///
/// Portolan turns Services and their endpoints into the contents of a few nftables maps on every node. All commands
/// here work from manifests, without a cluster: what the API server and its controllers would do - allocate cluster
/// IPs and node ports, make EndpointSlices from Pods - is done in their place.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, max_term_width = 100)]
pub struct Cli {
    /// What to log on standard error: error, warn, info, debug, or a filter such as portolan::agent=debug
    #[arg(long, global = true, default_value = "info", env = "PORTOLAN_LOG", value_name = "FILTER")]
    log: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the complete ruleset for one node, and touch nothing
    Render(render::RenderArgs),
    /// Make the kernel hold what the manifests say, once
    Apply(apply::ApplyArgs),
    /// Keep the kernel true to the manifests, following their changes
    Run(run::RunArgs),
    /// Show Services as a table
    #[command(subcommand)]
    Get(get::GetCommand),
    /// Compare what the manifests say with what the kernel holds
    Diff(diff::DiffArgs),
    /// Build a cluster out of network namespaces and show who answers whom
    Lab(lab::LabArgs),
    /// Remove everything that Portolan made
    Cleanup(cleanup::CleanupArgs),
    /// Answer in a lab's pods; reads its plan from standard input
    #[command(hide = true)]
    LabResponder,
}

/// Runs one command. The exit code is the command's own; an error means that it could not do its work.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_new(&cli.log)?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    match cli.command {
        Command::Render(args) => render::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Get(command) => get::run(&command),
        Command::Diff(args) => diff::run(&args),
        Command::Cleanup(args) => cleanup::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::LabResponder => {
            let plan = serde_json::from_reader(std::io::stdin())?;
            match crate::lab::responder::serve(plan)? {}
        }
    }
}
