//! `portolan top`: Services by the rate of their new connections.

mod rates;

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    ConfigFile, InputArgs, NodeArgs, get,
    look::{Needs, Pace, Selected, View, repeat},
    table,
};
use rates::{Rates, ServiceRate};

const EXAMPLES: &str = "\
Examples:
  portolan top                                       follow this node's Services, from the kernel alone
  portolan top -d 10 -n 1 -o json                    the rates over the next ten seconds, for a program
  portolan top shop/web -f manifests/ --node node-1  one Service, with what the objects know";

/// Follow Services by the rate of their new connections, as this node's kernel counts them.
///
/// NEW/S, REFUSED/S (there is no endpoint at all) and DROPPED/S (none on this node and the policy is Local) are rates over
/// the last interval. ENDPOINTS: with -f ready/all, else those in use. CONNECTIONS are in connection tracking now and not
/// over; of these, LEAVING are on endpoints that get no new ones: terminating, not ready any more, or gone.
///
/// On a terminal each table takes the place of the one before; elsewhere they follow one another, an empty line between, and
/// JSON comes in a line each. Ends on SIGINT and SIGTERM.
///
/// Exit code: 0; 1 there are no tables in this network namespace; 2 nothing could be read.
#[derive(Args, Debug)]
#[command(
    after_help = EXAMPLES,
    mut_arg("manifests", |manifests| manifests.required(false)),
    mut_arg("namespace", |namespace| namespace.short(None))
)]
pub struct TopArgs {
    /// Seconds from one table to the next
    #[arg(
        short,
        long,
        value_name = "SECONDS",
        default_value_t = 2,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    delay: u64,
    /// So many tables, then end [default: go on]
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    selected: Selected,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns
    Table,
    /// JSON
    Json,
}

/// One table.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    /// Of the interval that the rates are of
    seconds: f64,
    /// Connections that the node tracks, and the most that it takes
    #[serde(skip_serializing_if = "Option::is_none")]
    tracked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracked_at_most: Option<u64>,
    services: Vec<ServiceRate>,
}

pub(super) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let (input, node) = args.config.below(&args.input, &args.node)?;
    let mut looker = get::Looker::new(&input, &node, Needs { connections: true, ..Needs::default() })?;
    let interval = Duration::from_secs(args.delay);
    let mut rates = Rates::default();
    let sight = looker.look()?;
    if let Some(reason) = sight.unread() {
        bail!("{reason}");
    }
    let view = sight.view();
    if !view.programmed() {
        eprintln!("{}", get::NO_TABLES);
        return Ok(ExitCode::from(1));
    }
    rates.step(&view, &args.selected, 1.0);
    let (mut then, mut first) = (Instant::now(), true);
    repeat(Pace { interval, delay: interval, times: args.count }, || {
        let sight = looker.look()?;
        let view = sight.view();
        let now = Instant::now();
        let seconds = now.duration_since(then).as_secs_f64();
        then = now;
        let services = rates.step(&view, &args.selected, seconds);
        let tracked = view.connections();
        let table = Table {
            seconds: (seconds * 10.0).round() / 10.0,
            tracked: tracked.map(|tracked| tracked.count),
            tracked_at_most: tracked.map(|tracked| tracked.max),
            services,
        };
        let (text, is_table) = match args.output {
            Format::Json => (serde_json::to_string(&table)? + "\n", false),
            Format::Table => (text(&table, &view), true),
        };
        Ok(table::print_again(&text, std::mem::take(&mut first), is_table)?)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(table: &Table, view: &View<'_>) -> String {
    let tracking = match (table.tracked, table.tracked_at_most) {
        (Some(count), Some(most)) => format!("; {count} connections tracked, of at most {most}"),
        _ => format!("; connection tracking: {}", view.untracked().unwrap_or("not read")),
    };
    let mut lines = vec![ServiceRate::headings()];
    lines.extend(table.services.iter().map(|service| service.cells()));
    format!("rates over {} s{tracking}\n\n{}", table.seconds, table::columns(&lines))
}
