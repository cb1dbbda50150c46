//! The commands. Each file is one of them; what they print goes to standard output, everything else to standard error.

mod apply;
mod args;
mod check;
mod cleanup;
mod diff;
mod dns;
mod explain;
mod get;
mod input;
mod lab;
mod look;
mod plan;
mod render;
mod resolve;
mod run;
mod run_args;
mod summary;
mod table;
mod takeover;
mod top;
mod trace;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};

pub use args::{ConfigFile, InputArgs, NodeArgs, node_name, read_config};
pub use run_args::RunArgs;

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

// What --help says of a command is the doc comment of its arguments; one here would stand in its place.
#[derive(Debug, Subcommand)]
enum Command {
    Render(render::RenderArgs),
    Apply(apply::ApplyArgs),
    Run(RunArgs),
    Dns(dns::DnsArgs),
    Resolve(resolve::ResolveArgs),
    Explain(explain::ExplainArgs),
    Trace(trace::TraceArgs),
    /// Show Services as a table
    #[command(subcommand)]
    Get(get::GetCommand),
    Top(top::TopArgs),
    Diff(diff::DiffArgs),
    Plan(plan::PlanArgs),
    Lab(lab::LabArgs),
    Cleanup(cleanup::CleanupArgs),
    Check(check::CheckArgs),
    /// Answer in a lab's pods; reads its plan from standard input
    #[command(hide = true)]
    LabResponder,
}

/// Runs one command. The exit code is the command's own; an error means that it could not do its work.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_new(&cli.log)?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    log.with_ansi(colours).init();
    match cli.command {
        Command::Render(args) => render::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Dns(args) => dns::run(&args),
        Command::Resolve(args) => resolve::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Get(command) => get::run(&command),
        Command::Diff(args) => diff::run(&args),
        Command::Cleanup(args) => cleanup::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::LabResponder => {
            let plan = serde_json::from_reader(std::io::stdin())?;
            match crate::lab::responder::serve(plan)? {}
        }
    }
}
