//! `portolan trace`: what becomes of real packets, and why.

mod known;
mod rules;
mod show;
mod target;

use std::{process::ExitCode, time::Duration};

use clap::{Arg, Args, ValueEnum};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{ConfigFile, InputArgs, NodeArgs, table};
use crate::{
    config::{format_duration, parse_duration},
    explain::{Dialled, Source},
    kernel::trace::{Request, Tracer},
    traced::{By, Event, Gatherer, Names, Passage, Question, TABLE_PREFIX, Told, sentence, tell},
};
use known::Known;
use rules::Texts;
use target::Target;

const EXAMPLES: &str = "\
Examples:
  portolan trace shop/web                                  new connections to any address of the Service
  portolan trace --from 10.244.1.20 10.96.0.10:80/TCP      of this client alone
  portolan trace --from shop/client shop/web -f pods.yaml  with the names of Pods
  portolan trace 192.0.2.127:80 --for 1m --packets 3       wait longer, for fewer
  portolan trace 10.96.0.10:53/UDP -o json                 for programs";

/// How often it is looked whether a packet is gone; two looks without a word of it, and it is.
const LOOK: Duration = Duration::from_millis(250);
/// Options of the shared ones that are shown; the others are taken, and not shown.
const SHOWN: [&str; 3] = ["manifests", "node", "config"];

/// Say what becomes of real packets on this node: which frontend, policy and endpoint, which rule drops them.
///
/// Sends nothing: waits for packets that somebody sends, and has the kernel trace them (nftrace), up to --rate a second,
/// --packets in all. Looked at are packets that open a connection; of UDP, which has no such mark, all. TARGET is an IP
/// address, a Service as NAMESPACE/NAME, or this node's name; without a port every one is meant.
///
/// The table that has packets traced, portolan-trace-N, belongs to this process: the kernel deletes it when the process
/// ends, also when it is killed. Needs CAP_NET_ADMIN and Linux 5.12. Run it where the packets pass: on the node of the client,
/// or for clients outside on the node that they dial.
///
/// Exit code: 0 every packet was delivered; 1 one was not, or that is not known, or none was seen; 2 the question is wrong, or
/// packets cannot be traced.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, mut_args = shown)]
pub struct TraceArgs {
    /// What is dialled: ADDRESS, NAMESPACE/SERVICE or NODE, with [:PORT[/PROTOCOL]]
    #[arg(value_name = "TARGET", value_parser = Dialled::parse)]
    target: Dialled,
    /// Who sends: an IP address, POD or NAMESPACE/POD (with -f), or host for this node's processes [default: anybody]
    #[arg(long, value_name = "SOURCE", value_parser = Source::parse)]
    from: Option<Source>,
    /// How long to wait
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    wait: Duration,
    /// How many packets to trace
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    packets: u32,
    /// The most packets a second, for each IP family
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rate: u32,
    /// Look at the packets of open connections as well
    #[arg(long)]
    all_packets: bool,
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
enum Format {
    /// Each packet as it comes, a line a step; one sentence at the end
    Text,
    /// JSON, at the end
    Json,
}

fn shown(arg: Arg) -> Arg {
    let own = ["target", "from", "wait", "packets", "rate", "all_packets", "output"];
    let arg = if arg.get_id() == "manifests" { arg.num_args(1).required(false) } else { arg };
    let id = arg.get_id().as_str();
    let hide = !SHOWN.contains(&id) && !own.contains(&id);
    arg.hide(hide)
}

pub(super) fn run(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    let (input, node) = args.config.below(&args.input, &args.node)?;
    let known = Known::read(&input, &node)?;
    let Target { flows, owners } = target::find(&args.target, args.from.as_ref(), &known)?;
    let what = show::wanted(&args.target.to_string(), &flows, !args.all_packets);
    let mut question = Question { what, waited: format_duration(args.wait), first_only: !args.all_packets };
    let request = Request { flows, first_only: !args.all_packets, rate: args.rate };
    let names = Names { owners, pods: known.pod_names(), ..Names::default() };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = Watch { args, question: &question, names, texts: Texts::default() };
    let Watched { told, events_lost, waited } = runtime.block_on(watch.run(&request))?;
    question.waited = format_duration(waited);
    let (sentence, delivered) = sentence(&question, &told);
    let text = match args.output {
        Format::Text if events_lost => {
            format!("Note: the kernel had more to tell than could be read: steps are missing\n{sentence}\n")
        }
        Format::Text => format!("{sentence}\n"),
        Format::Json => {
            let json =
                show::Json { waited_for: &question.what, packets: &told, events_lost, delivered, sentence: &sentence };
            serde_json::to_string_pretty(&json)? + "\n"
        }
    };
    table::print(&text)?;
    Ok(ExitCode::from(u8::from(!delivered)))
}

/// Waiting for packets.
struct Watch<'a> {
    args: &'a TraceArgs,
    question: &'a Question,
    names: Names,
    texts: Texts,
}

/// What was seen.
struct Watched {
    /// What became of the packets
    told: Vec<Told>,
    /// The kernel had more to tell than could be read
    events_lost: bool,
    /// How long it was waited: less than was asked for, if somebody ended it
    waited: Duration,
}

impl Watch<'_> {
    async fn run(mut self, request: &Request) -> anyhow::Result<Watched> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut tracer = Tracer::open(request)?;
        self.texts.read(&mut self.names);
        let mut gatherer = Gatherer::new(tracer.table(), self.args.packets as usize);
        self.begin()?;
        let begun = Instant::now();
        let deadline = begun + self.args.wait;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watched = Watched { told: Vec::new(), events_lost: false, waited: self.args.wait };
        while !gatherer.is_done() {
            let over = tokio::select! {
                events = tracer.events() => match events? {
                    Some(events) => events.into_iter().flat_map(|event| gatherer.take(event)).collect(),
                    None => {
                        watched.events_lost = true;
                        gatherer.lost();
                        Vec::new()
                    }
                },
                _ = look.tick() => gatherer.tick(),
                () = sleep_until(deadline), if !gatherer.is_closed() => {
                    gatherer.close();
                    Vec::new()
                }
                // Whoever interrupts gets the sentence all the same.
                Some(()) = interrupt.recv() => { watched.waited = since(begun); break }
                Some(()) = terminate.recv() => { watched.waited = since(begun); break }
            };
            for passage in over {
                watched.told.push(self.packet(&passage)?);
            }
        }
        Ok(watched)
    }

    fn begin(&self) -> anyhow::Result<()> {
        let TraceArgs { packets, rate, .. } = self.args;
        let Question { what, waited, .. } = self.question;
        if self.args.output == Format::Text {
            let plural = if *packets == 1 { "" } else { "s" };
            let most = format!("at most {packets} packet{plural}, {rate} a second");
            table::print(&format!("Waiting {waited} for {what}; nothing is sent; {most}\n"))?;
        }
        Ok(())
    }

    fn packet(&mut self, passage: &Passage) -> anyhow::Result<Told> {
        // Rules that came since the last look.
        if passage.events.iter().any(|event| self.is_unknown(event)) {
            self.texts.read(&mut self.names);
        }
        let told = tell(passage, &self.names);
        if self.args.output == Format::Text {
            table::print(&show::packet(&told))?;
        }
        Ok(told)
    }

    fn is_unknown(&self, event: &Event) -> bool {
        match event.by {
            By::Rule(handle) => !event.table.starts_with(TABLE_PREFIX) && self.names.rule(event, handle).is_none(),
            By::End | By::Return | By::Policy => false,
        }
    }
}

/// In a precision for people.
fn since(begun: Instant) -> Duration {
    let elapsed = begun.elapsed();
    match elapsed.as_secs() {
        0 => Duration::from_millis(elapsed.subsec_millis().into()),
        seconds => Duration::from_secs(seconds),
    }
}
