//! `portolan plan`: what a change means to clients, before it is made.

mod show;
mod sides;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Arg, Args, ValueEnum};
use tracing::{info, warn};

use super::{ConfigFile, InputArgs, NodeArgs, node_name, table};
use crate::{
    kernel::{DataPlane, NetlinkDataPlane, observe},
    model::{Family, Severity},
    observed::ProgramState,
    plan::{Gathered, Impact, NewSide, OldSide, Plan, ProgramText, compare_node, name_changes},
    source::{allocations::AllocationStore, manifests::STDIN},
    tables::{Program, TABLE, TableState},
};
use sides::{Cluster, Given, Nodes};

const EXAMPLES: &str = "\
Examples:
  portolan plan before/ after/                             what a change of manifests means, on every node
  portolan plan before/ after/ --fail-on interrupted       fail only if somebody who is served now will not be
  portolan plan live manifests/ --node node-1              what `portolan apply` would mean on this node
  portolan plan --old base/ prod/ --new base2/ prod/       several paths a side
  old/portolan render -f m/ --node node-1 -o json | portolan plan - m/ --node node-1
                                                           what another version of Portolan means";

/// Say what a change means to clients before it is made: which Services change, how, and who notices.
///
/// OLD and NEW are manifests (a file or a folder), a ruleset as `portolan render -o json` or `nft -j list ruleset` prints
/// it, either of them from standard input (-), or the word `live` for what this node's kernel holds. Manifests are planned for all
/// nodes that have a Node object on both sides, or for --node; a ruleset and `live` are those of one node. What manifests
/// leave open is allocated for OLD first, then for NEW, so that a Service that stays keeps its addresses. Nothing is
/// written.
///
/// Who notices: "nobody"; "new connections" go elsewhere or succeed where they did not, and UDP flows whose endpoint is gone
/// move; "interrupted" says that somebody who is served now will not be. Established TCP connections always stay.
///
/// Exit code: 0 nothing changes, or nothing that --fail-on asks for; 1 something does; 2 a side could not be read, or
/// objects of NEW are refused (the plan is printed all the same).
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, mut_args = shown)]
pub struct PlanArgs {
    /// What is there now: manifests, a ruleset, or `live`
    #[arg(required_unless_present = "older", conflicts_with = "older")]
    old: Option<PathBuf>,
    /// What it is to become
    #[arg(required_unless_present = "manifests", conflicts_with = "manifests")]
    new: Option<PathBuf>,
    /// OLD, of several paths
    #[arg(long = "old", id = "older", value_name = "PATH", num_args = 1..)]
    older: Vec<PathBuf>,
    /// Which changes give exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Any, value_name = "IMPACT")]
    fail_on: FailOn,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Every change
    Any,
    /// Changes that somebody notices
    NewConnections,
    /// Changes after which somebody who is served now is not
    Interrupted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table of Services, then each effect, then a line that sums up
    Text,
    /// JSON
    Json,
}

/// The manifests of other commands are NEW here. The environment has no word in it: it names those of the running process.
fn shown(arg: Arg) -> Arg {
    if arg.get_id() != "manifests" {
        return arg;
    }
    let arg = arg.long("new").visible_alias("manifests").required(false).env(None::<&str>).hide_env(true);
    arg.help("NEW, of several paths").long_help(None::<&str>)
}

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let (mut input, node) = args.config.below(&args.input, &args.node)?;
    // The manifests of a file are those of the running process, and no side.
    input.manifests.clone_from(&args.input.manifests);
    let args = &PlanArgs { input, node, ..args.clone() };
    let paths = |one: &Option<PathBuf>, several: &[PathBuf]| one.iter().chain(several).cloned().collect::<Vec<_>>();
    let (old, new) = (paths(&args.old, &args.older), paths(&args.new, &args.input.manifests));
    let from_stdin = |paths: &[PathBuf]| paths.contains(&PathBuf::from(STDIN));
    if from_stdin(&old) && from_stdin(&new) {
        bail!("standard input (-) can be one side only");
    }
    let old = Given::read(&old).context("OLD")?;
    let new = Given::read(&new).context("NEW")?;
    let mut allocations = AllocationStore::new(&args.input.state_dir).load()?;
    let own_name = node_name(&args.node);
    let old = old.complete(&args.input, &own_name, &mut allocations);
    let new = new.complete(&args.input, &own_name, &mut allocations);
    let plan = plan(args, &old, &new)?;
    let text = match args.output {
        Format::Json => serde_json::to_string_pretty(&plan)? + "\n",
        Format::Text => show::text(&plan),
    };
    table::print(&text)?;
    Ok(ExitCode::from(code(args.fail_on, &plan)))
}

fn code(fail_on: FailOn, plan: &Plan) -> u8 {
    let counts = match fail_on {
        FailOn::Any => !plan.is_empty(),
        FailOn::NewConnections => plan.impact() >= Impact::NewConnections,
        FailOn::Interrupted => plan.impact() >= Impact::Interrupted,
    };
    if !plan.refused.is_empty() { 2 } else { u8::from(counts) }
}

/// One side, read and completed.
type Side = Given<Cluster>;

fn plan(args: &PlanArgs, old: &Side, new: &Side) -> anyhow::Result<Plan> {
    let nodes = Nodes::of(old, new, &args.node)?;
    let mut told = sides::Told::default();
    for cluster in [old, new].into_iter().filter_map(Given::cluster) {
        told.notices(&cluster.notices);
    }
    let mut gathered = Gathered::default();
    for alike in nodes.alike(args, old, new, &mut told)? {
        let mut left = alike.as_slice();
        while let Some(node) = left.first() {
            let (new_side, programs) = new_side(args, new, &node.name, &mut told)?;
            let old_side = old_side(args, old, &node.name, programs.as_deref(), &mut told)?;
            let difference = compare_node(old_side, new_side);
            let (same, others) = left.split_at(if difference.tells_of(node) { 1 } else { left.len() });
            gathered.take(same.iter().map(|node| &*node.name), difference);
            left = others;
        }
    }
    let names = match (old.cluster(), new.cluster()) {
        (Some(old), Some(new)) => name_changes(&old.names(), &new.names()),
        _ => Default::default(),
    };
    let mut refused = new.cluster().map(|cluster| cluster.notices.clone()).unwrap_or_default();
    refused.retain(|notice| notice.severity == Severity::Refused);
    let kept = new.cluster().map(Cluster::refused_services).unwrap_or_default();
    Ok(Plan::new(gathered, (&nodes.joining, &nodes.leaving), names, &refused, &kept))
}

/// The new side on a node, and its programs if it has any of this version.
fn new_side(
    args: &PlanArgs,
    new: &Side,
    name: &str,
    told: &mut sides::Told,
) -> anyhow::Result<(NewSide, Option<Vec<Program>>)> {
    Ok(match new {
        Given::Objects(cluster) => {
            let view = cluster.view(name, args, told)?;
            let programs = Family::ALL.map(|family| Program::new(family, &view.settings)).to_vec();
            let side = NewSide::Wanted {
                world: Box::new(view.world),
                settings: view.settings,
                refused: cluster.refused_services(),
                incomplete: cluster.incomplete,
            };
            (side, Some(programs))
        }
        Given::Ruleset(listing) => {
            let program = ProgramText::listed(listing.chains.clone());
            (NewSide::Held(Box::new(listing.state.clone()), program), None)
        }
        Given::Live => {
            let (state, program) = live(None)?;
            (NewSide::Held(Box::new(state), program), None)
        }
    })
}

/// The old side on a node; `programs` are those that it is to get.
fn old_side(
    args: &PlanArgs,
    old: &Side,
    name: &str,
    programs: Option<&[Program]>,
    told: &mut sides::Told,
) -> anyhow::Result<OldSide> {
    Ok(match old {
        Given::Objects(cluster) => {
            let view = cluster.view(name, args, told)?;
            OldSide::Wanted(Box::new(view.world), view.settings)
        }
        Given::Ruleset(listing) => {
            OldSide::Held(Box::new(listing.state.clone()), ProgramText::listed(listing.chains.clone()))
        }
        Given::Live => {
            let (state, program) = live(programs)?;
            OldSide::Held(Box::new(state), program)
        }
    })
}

/// What the kernel holds. With the programs that it is to get, it is also asked whether somebody edited the same.
fn live(programs: Option<&[Program]>) -> anyhow::Result<(TableState, ProgramText)> {
    let mut kernel = NetlinkDataPlane::open()?;
    let state = kernel.dump()?;
    let found = programs.map(|programs| observe::programs(&mut kernel, programs, &state)).transpose()?;
    if found.as_ref().is_some_and(|found| found.len() < Family::ALL.len()) {
        warn!(
            "whether somebody edited the chains of table {TABLE} was not compared, so the plan says nothing of that: it \
             takes CAP_SYS_ADMIN; run it as root"
        );
    }
    let damaged = found.iter().flat_map(BTreeMap::values).any(|state| matches!(state, ProgramState::Damaged(_)));
    let program = ProgramText::found(state.programs.clone(), damaged);
    if state.programs.is_empty() {
        info!("this kernel holds no table {TABLE}: all is new");
    }
    Ok((state, program))
}
