//! `portolan diff`: the manifests against the live kernel.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{ConfigFile, InputArgs, NodeArgs, input};
use crate::{
    desired::Desired,
    kernel::{DataPlane, NetlinkDataPlane, observe},
    model::Family,
    observed::ProgramState,
    tables::{Contents, Difference, Program, TABLE, TableState, differences},
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
    config: ConfigFile,
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
    let (input, node) = args.config.below(&args.input, &args.node)?;
    let loaded = input::load(&input, &node, input::Allocating::ReadOnly)?;
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
fn program_lines(kernel: &mut NetlinkDataPlane, programs: &[Program], state: &TableState) -> anyhow::Result<Vec<Line>> {
    let line =
        |what: String, missing: bool| Line::new("program", Difference { what, missing, frontends: Default::default() });
    let mut lines = Vec::new();
    let found = observe::programs(kernel, programs, state)?;
    for program in programs {
        let table = format!("table {} {TABLE}", program.family.nft());
        match found.get(&program.family) {
            Some(ProgramState::Missing) => lines.push(line(table, true)),
            Some(ProgramState::Other | ProgramState::Dormant) => {
                let wanted = format!("{table} of this version and these settings ({})", program.fingerprint);
                lines.push(line(wanted, true));
            }
            Some(ProgramState::Damaged(things)) => {
                let edited = things.iter().filter(|thing| !state.strangers.contains(*thing));
                lines.extend(edited.map(|chain| line(format!("original rules of {chain}"), true)));
            }
            Some(ProgramState::Intact) => {}
            None => eprintln!(
                "warning: {table}: whether its chains are the original ones was not compared; that takes CAP_SYS_ADMIN"
            ),
        }
    }
    lines.extend(state.strangers.iter().map(|stranger| line(stranger.clone(), false)));
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
