//! `portolan resolve`: what a name is answered with, and why.

pub(super) mod asker;
pub(super) mod live;
pub(super) mod offline;
mod show;
pub(super) mod walk;

use std::{net::IpAddr, process::ExitCode, str::FromStr};

use anyhow::{Context, bail};
use clap::{Arg, Args, ValueEnum};
use domain::base::iana::Rtype;

use super::{RunArgs, dns::files, dns::settings::Settings, input, table};
use crate::config::dns::{Name, corefile};
use asker::{Asker, Who};
use live::{Live, Server};
use offline::Offline;
use walk::Walk;

const EXAMPLES: &str = "\
Examples:
  portolan resolve kubia -f manifests/                                   as a pod of namespace default would
  portolan resolve kubia.shop -f manifests/ --from shop/kubia-c          as that pod would
  portolan resolve _http._tcp.kubia.shop.svc.cluster.local. SRV -f manifests/
  portolan resolve 10.96.0.10 -f manifests/                              the names of an address
  portolan resolve www.example.com -f manifests/ --corefile Corefile     who would be asked
  portolan resolve kubia -f manifests/ --live --server 10.96.0.10        and what the server says";

/// Options of `portolan run` that say what is answered, and from what; the others are taken, and not shown.
const SHOWN: [&str; 12] = [
    "config",
    "manifests",
    "service_cidr",
    "state_dir",
    "cluster_cidr",
    "corefile",
    "dns_cluster_domain",
    "dns_pods",
    "dns_pod_cidr",
    "dns_upstreams",
    "dns_stub_domains",
    "dns_service",
];

/// Say what a name is answered with, and why: which server block, zone, Service, EndpointSlice and rule.
///
/// Nobody is asked: the answer is made of manifests, by the code that answers queries. NAME is completed by a pod's
/// search list, as in a pod's resolv.conf with ndots:5, unless it ends in a dot. An IP address is looked up by its reverse
/// name. Names outside the cluster are not looked up; it is said to whom they would be forwarded.
///
/// With --live a running server is asked, and with manifests besides, the two answers are compared.
///
/// Exit code: 0 there is an answer, or others would have to be asked for it; 1 there is none; 2 the question is wrong, or
/// something could not be read.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, mut_args = shown)]
pub struct ResolveArgs {
    /// Name, or IP address
    name: String,
    /// Record type such as SRV or TXT [default: A and AAAA, PTR for an address]
    #[arg(value_name = "TYPE", value_parser = rtype)]
    qtype: Option<Rtype>,
    /// Who asks: POD, NAMESPACE/POD, or the IP of a pod [default: some pod of namespace default]
    #[arg(long, value_name = "POD")]
    from: Option<Who>,
    /// Ask a running server
    #[arg(long)]
    live: bool,
    /// With --live: the server, as IP[:PORT] [default: the first of /etc/resolv.conf]
    #[arg(long, value_name = "ADDRESS", requires = "live")]
    server: Option<Server>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    options: RunArgs,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The way to the answer, step by step, and the answer
    Text,
    /// JSON
    Json,
}

/// A flag of `portolan run` as it is shown here: one path at a time, so that NAME may follow.
fn shown(arg: Arg) -> Arg {
    one_path(arg, &SHOWN, &["name", "qtype", "from", "live", "server", "output"])
}

/// A flag of `portolan run` in a command with flags of its `own`, which shows some.
pub(super) fn one_path(arg: Arg, shown: &[&str], own: &[&str]) -> Arg {
    let arg = if arg.get_id() == "manifests" { arg.num_args(1) } else { arg };
    let id = arg.get_id().as_str();
    let hide = !shown.contains(&id) && !own.contains(&id);
    arg.hide(hide)
}

fn rtype(text: &str) -> Result<Rtype, String> {
    Rtype::from_str(text).map_err(|_| format!("{text:?} is no record type such as A, AAAA, SRV, PTR or TXT"))
}

pub(super) fn run(args: &ResolveArgs) -> anyhow::Result<ExitCode> {
    let config = args.options.of_answers()?;
    let names = Settings::new(&config).peek()?;
    let manifests = (!config.input.manifests.is_empty()).then(|| files::read(&config.input)).transpose()?;
    if manifests.is_none() && !args.live {
        bail!("nothing to answer from: give manifests with -f, or ask a server with --live");
    }
    if let Some(manifests) = &manifests {
        input::print_notices(&manifests.notices);
    }
    let objects = manifests.as_ref().map(|manifests| &manifests.objects);
    let asker = Asker::new(args.from.as_ref(), objects, offline::domain(&names))?;
    let question = Question::new(&args.name, args.qtype, &asker)?;
    let offline = objects.map(|objects| Offline::new(&names, objects));
    let live = args.live.then(|| Live::new(args.server)).transpose()?;
    let walk = Walk::new(&question, asker.address(), offline.as_ref(), live.as_ref())?;
    let text = match args.output {
        Format::Text => show::text(&question, &asker, &walk, live.as_ref()),
        Format::Json => show::json(&args.name, &question, &asker, &walk, live.as_ref())?,
    };
    table::print(&text)?;
    Ok(ExitCode::from(u8::from(!walk.answered())))
}

/// What is asked for.
pub(super) struct Question {
    /// In the order in which they are tried
    candidates: Vec<Name>,
    types: Vec<Rtype>,
    /// Nothing was added to the name
    absolute: bool,
}

impl Question {
    pub fn new(text: &str, qtype: Option<Rtype>, asker: &Asker) -> anyhow::Result<Self> {
        let address = text.parse::<IpAddr>().ok();
        let (candidates, absolute) = match address.and_then(corefile::reverse_of) {
            Some(reverse) => (vec![reverse], true),
            None => {
                let name = corefile::name(text).map_err(anyhow::Error::msg).context("NAME")?;
                let absolute = text.ends_with('.');
                (if absolute { vec![name] } else { asker.candidates(text, name) }, absolute)
            }
        };
        let types = match (qtype, address) {
            (Some(qtype), _) => vec![qtype],
            (None, Some(_)) => vec![Rtype::PTR],
            (None, None) => vec![Rtype::A, Rtype::AAAA],
        };
        Ok(Self { candidates, types, absolute })
    }
}
