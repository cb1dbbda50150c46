//! `portolan diff`: the manifests against the live kernel.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{InputArgs, NodeArgs, input};
use crate::{
    desired::Desired,
    kernel::{DataPlane, NetlinkDataPlane},
    model::Family,
    tables::{Contents, Difference, Program, differences},
};

const EXAMPLES: &str = "\
Examples:
  portolan diff -f manifests/ --node node-1             what is missing, what is left over
  portolan diff -f manifests/ --node node-1 -o json     the same for a program";

/// Compare what the manifests say with what the kernel holds, in the words of Services.
///
/// Exit code, as with diff: 0 no difference; 1 differences; 2 they could not be compared.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DiffArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// Print JSON
    #[arg(short, long, value_parser = ["json"])]
    output: Option<String>,
}

/// One line of the answer.
#[derive(Serialize)]
struct Line {
    service: String,
    what: String,
    missing: bool,
    frontends: Vec<String>,
    #[serde(skip)]
    text: String,
}

pub(super) fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let loaded = input::load(&args.input, &args.node, input::Allocating::ReadOnly)?;
    input::print_notices(&loaded.notices);
    let programs = Family::ALL.map(|family| Program::new(family, &loaded.settings));
    let mut kernel = NetlinkDataPlane::open()?;
    let state = kernel.dump()?;
    let mut lines = program_lines(&mut kernel, &programs, &state)?;
    let mut held = Contents::from_kernel(state);
    let mut desired = Desired::default();
    desired.keep(loaded.refused);
    desired.replace(loaded.world, loaded.settings);
    for (owner, wanted) in desired.take_over(&mut held, loaded.incomplete).changes {
        let held = held.rows(&owner).cloned().unwrap_or_default();
        lines.extend(differences(&held, &wanted).into_iter().map(|d| Line::new(&owner.to_string(), d)));
    }
    let text = match args.output {
        Some(_) => serde_json::to_string_pretty(&lines)? + "\n",
        None => lines.iter().map(|line| format!("{}: {}\n", line.service, line.text)).collect(),
    };
    super::table::print(&text)?;
    Ok(ExitCode::from(u8::from(!lines.is_empty())))
}

/// Differences that concern no Service: the program itself.
fn program_lines(
    kernel: &mut NetlinkDataPlane,
    programs: &[Program],
    state: &crate::tables::TableState,
) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut say = |what: String, missing: bool| {
        let difference = Difference { what, missing, frontends: Default::default() };
        lines.push(Line::new("program", difference));
    };
    for program in programs {
        let table = format!("table {} {}", program.family.nft(), crate::tables::TABLE);
        match state.programs.get(&program.family) {
            None => say(table, true),
            Some(found) if *found != program.fingerprint => {
                say(format!("{table} of this version and these settings ({})", program.fingerprint), true);
            }
            Some(_) => {}
        }
    }
    for stranger in &state.strangers {
        say(stranger.clone(), false);
    }
    if lines.is_empty() {
        let damaged = kernel.damaged_chains(programs)?;
        let line = |chain| {
            Line::new(
                "program",
                Difference { what: format!("original rules of {chain}"), missing: true, frontends: Default::default() },
            )
        };
        lines.extend(damaged.into_iter().map(line));
    }
    Ok(lines)
}

impl Line {
    fn new(service: &str, difference: Difference) -> Self {
        Self {
            service: service.to_owned(),
            text: difference.to_string(),
            frontends: difference.frontends.iter().map(ToString::to_string).collect(),
            what: difference.what,
            missing: difference.missing,
        }
    }
}
