//! `portolan get`: what this node's kernel holds of Services, and what the objects say, in tables.

mod affinity;
mod conntrack;
mod endpoints;
mod frontends;
mod services;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::{
    ConfigFile, InputArgs, NodeArgs, input,
    look::{Kernel, KernelSight, Needs, Objects, Pace, Selected, View, repeat},
    table,
};
use crate::{kernel::KernelError, model::ServiceId};
pub(super) use frontends::reason;
pub(super) use services::{table_text, tracked};

/// From one look to the next, with --watch.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is said where there is nothing to look at.
pub(super) const NO_TABLES: &str = "no tables of Portolan in this network namespace: nothing has programmed it. `portolan run` or \
                                    `portolan apply` does; in a cluster, look on the node itself";

const EXIT_CODES: &str = "\
Without -f everything is read from this node's kernel, which takes root; with -f the table says also what the objects know.

Exit code: 0; 1 some object was refused, a SERVICE is not known, or there are no tables in this network namespace and no
objects, or connection tracking, or for affinity the kernel, cannot be read: the rest is shown; 2 nothing could be read.

Examples:
";

/// What to show.
#[derive(Debug, Subcommand)]
pub enum GetCommand {
    /// Services, with their endpoints and the new connections that this node's kernel counted
    ///
    /// ENDPOINTS: with -f ready/all, else those in use. NEW-CONNECTIONS, REFUSED (there is no endpoint at all) and DROPPED
    /// (none on this node and the policy is Local, or a source range kept the client out) count, on this node, since the
    /// frontend was programmed; they are - where the kernel's tables cannot be read or do not hold the Service.
    #[command(visible_aliases = ["service", "svc"], after_help = services::examples())]
    Services(GetArgs),
    /// Endpoints of service ports, whether and why they are used, and their tracked connections
    ///
    /// FRONTENDS is the number of frontends that lead new connections to the endpoint. CONNECTIONS are those in connection
    /// tracking now, by way of the Service, that are not over.
    #[command(visible_aliases = ["endpoint", "ep"], after_help = endpoints::examples())]
    Endpoints(GetArgs),
    /// Frontends: every address, protocol and port that this node serves, and what became of connections to it
    ///
    /// New connections to a frontend with source ranges are counted before these are asked; how many packets were turned
    /// away is counted for all such frontends of a family and policy together, and said below the table.
    #[command(visible_aliases = ["frontend", "fe"], after_help = frontends::examples())]
    Frontends(GetArgs),
    /// Clients that session affinity remembers on this node
    #[command(after_help = affinity::examples())]
    Affinity(GetArgs),
    /// Tracked connections to Services on this node
    ///
    /// Their packets meet no rule any more. Connections that are over are left out. STATE says whether a packet came back;
    /// whether the endpoint gets no new connections, and why; and behind which address the client is hidden.
    #[command(visible_aliases = ["connections", "ct"], after_help = conntrack::examples())]
    Conntrack(GetArgs),
}

/// Flags of all of them.
#[derive(Args, Debug)]
#[command(mut_arg("manifests", |manifests| manifests.required(false)))]
pub struct GetArgs {
    #[command(flatten)]
    selected: Selected,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Go on looking, once a second, and print all of it again when something has changed, until SIGINT or SIGTERM. JSON
    /// comes in one line then
    #[arg(short, long)]
    watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns
    Table,
    /// More columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// A line of one of the tables.
trait Line: Serialize + Sized {
    /// The objects have none of it: without the kernel there is nothing to show.
    const OF_THE_KERNEL_ALONE: bool = false;
    /// What has to be read for it.
    fn needs(wide: bool) -> Needs;
    /// All lines, in order.
    fn lines(view: &View<'_>, selected: &Selected) -> Vec<Self>;
    /// The columns' headings.
    fn headings(shape: Shape) -> Vec<&'static str>;
    /// A line's cells, as many as there are headings.
    fn cells(&self, shape: Shape) -> Vec<String>;
    /// What stands below the table.
    fn notes(_lines: &[Self], _view: &View<'_>, _shape: Shape) -> Vec<String> {
        Vec::new()
    }
    /// What moves by itself, and is no change for --watch, is taken out.
    fn still(&mut self) {}
}

/// Which columns there are.
#[derive(Clone, Copy, Debug)]
struct Shape {
    wide: bool,
    objects: bool,
}

pub(super) fn run(command: &GetCommand) -> anyhow::Result<ExitCode> {
    match command {
        GetCommand::Services(args) => show::<services::ServiceLine>(args),
        GetCommand::Endpoints(args) => show::<endpoints::EndpointLine>(args),
        GetCommand::Frontends(args) => show::<frontends::FrontendLine>(args),
        GetCommand::Affinity(args) => show::<affinity::AffinityLine>(args),
        GetCommand::Conntrack(args) => show::<conntrack::ConnectionLine>(args),
    }
}

fn show<L: Line>(args: &GetArgs) -> anyhow::Result<ExitCode> {
    let mut looker = Looker::open(args, L::needs(args.output != Format::Table))?;
    if !args.watch {
        let sight = looker.look()?;
        let view = sight.view();
        table::print(&text::<L>(&view, args)?)?;
        return Ok(exit_code::<L>(&sight, &args.selected));
    }
    let (mut last, mut code) = (None, ExitCode::SUCCESS);
    repeat(Pace { interval: INTERVAL, delay: Duration::ZERO, times: None }, || {
        let sight = looker.look()?;
        let view = sight.view();
        let mut lines = L::lines(&view, &args.selected);
        lines.iter_mut().for_each(L::still);
        let now = serde_json::to_string(&lines)?;
        if last.as_ref() == Some(&now) {
            return Ok(true);
        }
        if last.is_none() {
            code = exit_code::<L>(&sight, &args.selected);
        }
        let text = text::<L>(&view, args)?;
        Ok(table::print_again(&text, last.replace(now).is_none(), args.output.is_table())?)
    })?;
    Ok(code)
}

impl Format {
    fn is_table(self) -> bool {
        matches!(self, Format::Table | Format::Wide)
    }
}

/// All of it, as text.
fn text<L: Line>(view: &View<'_>, args: &GetArgs) -> anyhow::Result<String> {
    let lines = L::lines(view, &args.selected);
    Ok(match args.output {
        Format::Json if args.watch => serde_json::to_string(&lines)? + "\n",
        Format::Json => serde_json::to_string_pretty(&lines)? + "\n",
        Format::Yaml if args.watch => format!("---\n{}", yaml(&lines)?),
        Format::Yaml => yaml(&lines)?,
        Format::Table | Format::Wide => {
            let shape = Shape { wide: args.output == Format::Wide, objects: view.objects.is_some() };
            columns(&lines, shape, view)
        }
    })
}

fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(value)?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

fn columns<L: Line>(lines: &[L], shape: Shape, view: &View<'_>) -> String {
    let headings = L::headings(shape).into_iter().map(str::to_owned).collect();
    let rows = lines.iter().map(|line| line.cells(shape));
    let mut text = table::columns(&std::iter::once(headings).chain(rows).collect::<Vec<_>>());
    for note in L::notes(lines, view, shape) {
        text.push_str(&note);
        text.push('\n');
    }
    text
}

/// Says what is missing, and what that comes to.
fn exit_code<L: Line>(sight: &Sight<'_>, selected: &Selected) -> ExitCode {
    let view = sight.view();
    let mut complete = view.objects.is_none_or(|objects| !objects.refused);
    if let Some(reason) = sight.unread() {
        complete &= !L::OF_THE_KERNEL_ALONE;
        eprintln!("this node's kernel could not be read, so only what the objects say is shown: {reason}");
    }
    if !view.programmed() && view.objects.is_none() {
        eprintln!("{NO_TABLES}");
        return ExitCode::from(1);
    }
    let mut known: Vec<&ServiceId> = view.by_service().into_keys().collect();
    let of_objects: Vec<ServiceId> = view.objects.into_iter().flat_map(Objects::ids).collect();
    known.extend(&of_objects);
    if let Some(reason) = view.untracked() {
        complete = false;
        eprintln!("connection tracking could not be read: {reason}");
    }
    for word in selected.unknown(&known) {
        complete = false;
        eprintln!("neither the kernel nor the objects given know a Service {word} here");
    }
    ExitCode::from(u8::from(!complete))
}

/// What looks, again and again.
pub(super) struct Looker {
    kernel: Result<Kernel, KernelError>,
    needs: Needs,
    input: Option<(InputArgs, NodeArgs)>,
    objects: Option<Objects>,
    /// Nobody has looked yet: the manifests were just read
    fresh: bool,
}

/// What was seen.
pub(super) struct Sight<'a> {
    /// Or why it could not be read
    kernel: Result<KernelSight, String>,
    objects: Option<&'a Objects>,
}

impl Sight<'_> {
    pub(super) fn view(&self) -> View<'_> {
        View::new(self.kernel.as_ref().ok(), self.objects)
    }

    /// Why the kernel could not be read.
    pub(super) fn unread(&self) -> Option<&str> {
        self.kernel.as_ref().err().map(String::as_str)
    }
}

impl Looker {
    fn open(args: &GetArgs, needs: Needs) -> anyhow::Result<Self> {
        let (input, node) = args.config.below(&args.input, &args.node)?;
        Self::new(&input, &node, needs)
    }

    /// Opens the kernel and reads the manifests, if there are any.
    pub(super) fn new(input: &InputArgs, node: &NodeArgs, needs: Needs) -> anyhow::Result<Self> {
        let given = !input.manifests.is_empty();
        let objects = given.then(|| Objects::load(input, node)).transpose()?;
        input::print_notices(objects.iter().flat_map(|objects| &objects.notices));
        Ok(Self {
            // With objects there is something to show without a kernel.
            kernel: if given { Kernel::open() } else { Ok(Kernel::open()?) },
            needs,
            input: given.then(|| (input.clone(), node.clone())),
            objects,
            fresh: true,
        })
    }

    /// Looks. From the second time on the manifests are read anew, but for standard input; ones that cannot be read leave
    /// what was last read.
    pub(super) fn look(&mut self) -> anyhow::Result<Sight<'_>> {
        let first = std::mem::take(&mut self.fresh);
        if let Some((input, node)) = self.input.as_ref().filter(|(input, _)| !first && rereadable(input))
            && let Ok(objects) = Objects::load(input, node)
        {
            self.objects = Some(objects);
        }
        let wanted = self.objects.iter().flat_map(|objects| objects.frontends.keys().copied()).collect();
        let needs = self.needs;
        let kernel = match &mut self.kernel {
            Ok(kernel) => kernel.look(needs, &wanted).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let (Err(reason), None) = (&kernel, &self.objects) {
            bail!("{reason}");
        }
        Ok(Sight { kernel, objects: self.objects.as_ref() })
    }
}

fn rereadable(input: &InputArgs) -> bool {
    !input.manifests.iter().any(|path| path == Path::new("-"))
}

/// A count, or - where nobody counted.
pub(super) fn count_or_dash(count: Option<u64>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}
