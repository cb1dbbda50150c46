//! `portolan dns`: puts a server of names together with where its configuration and its objects come from.

mod check;
mod cluster;
pub(super) mod files;
pub(super) mod settings;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::RunArgs;
use crate::{
    config::{
        Config,
        dns::{DnsConfig, DnsOptions},
    },
    dns::process::{self, DnsMetrics, Options, Source},
    source::kube,
};
use cluster::ClusterNames;
pub(super) use cluster::kinds;
pub(super) use files::ManifestNames;
pub(super) use settings::Settings;

const EXAMPLES: &str = "\
Examples:
  portolan dns --corefile /etc/coredns/Corefile                 in a cluster, in place of CoreDNS
  portolan dns --kubeconfig ~/.kube/config --dns-port 1053      from outside of it
  portolan dns --corefile Corefile --manifests objects/         without a cluster
  portolan dns --corefile Corefile --check                      what a Corefile comes to, and what is wrong with it";

/// How long what is left of the process may take at the end.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(2);

/// Answer for the cluster's names, as CoreDNS does.
///
/// Follows the API server, or with --manifests files, and writes nothing anywhere but its snapshot file. Takes the options
/// of `portolan run`, of which those about names, the API server and manifests matter. Ends on SIGTERM or SIGINT, when it
/// has answered what has arrived.
///
/// Exit code: 0 ended by a signal; 2 it could not start. With --check: 0 the configuration can be used; 2 it cannot.
#[derive(Clone, Debug)]
pub struct DnsArgs {
    options: RunArgs,
    check: bool,
}

impl Args for DnsArgs {
    fn augment_args(command: Command) -> Command {
        let about = "Answer for the cluster's names, as CoreDNS does";
        let long = "Answer for the cluster's names, as CoreDNS does\n\nFollows the API server, or with --manifests files, \
                    and writes nothing but its snapshot file. Takes the options of `portolan run`, of which those about \
                    names, the API server and manifests matter. Ends on SIGTERM or SIGINT, when it has answered what has \
                    arrived.\n\nExit code: 0 ended by a signal; 2 it could not start. With --check: 0 the \
                    configuration can be used; 2 it cannot.";
        let check = Arg::new("check")
            .long("check")
            .action(ArgAction::SetTrue)
            .help("Say what is wrong with the configuration, and what it comes to; serve nothing");
        RunArgs::augment_args(command).arg(check).about(about).long_about(long).after_help(EXAMPLES)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for DnsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let options = RunArgs::from_arg_matches(matches)?.with("dns", "central");
        Ok(Self { options, check: matches.get_flag("check") })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(super) fn run(args: &DnsArgs) -> anyhow::Result<ExitCode> {
    if args.options.write_config()? {
        return Ok(ExitCode::SUCCESS);
    }
    let (config, warnings) = args.options.config()?;
    if args.check {
        return check::run(&config, warnings);
    }
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(begin(config));
    runtime.shutdown_timeout(FAREWELL);
    result?;
    Ok(ExitCode::SUCCESS)
}

async fn begin(config: Config) -> anyhow::Result<()> {
    let stop = ended_by_signals()?;
    raise_open_files();
    let mut settings = Settings::new(&config);
    let dns = &config.dns;
    let standalone = !config.input.manifests.is_empty();
    // Manifests are read again in no time: a file would only bring back what they do not say any more.
    let snapshot_file = dns.dns_snapshot_file.0.clone().filter(|_| !standalone);
    let workers = workers(dns);
    let metrics = DnsMetrics::new(true).into();
    let options = Options { workers, snapshot_file, redirect: None, metrics };
    if standalone {
        let mut feed = ManifestNames::new(config.input.clone());
        return Ok(process::run(&options, &mut settings, &mut feed, stop).await?);
    }
    let first = settings.peek()?;
    let server = kube::connect(&api_address(&config, &first)).await.context("cannot reach the API server")?;
    info!("following the API server {server:?}");
    let mut feed = ClusterNames::new(server, &first);
    Ok(process::run(&options, &mut settings, &mut feed, stop).await?)
}

/// Lets this process have as many open files as it may: every connection and every query under way is one, and what a
/// process begins with is often 1024.
pub(super) fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        warn!("cannot raise the limit of open files (RLIMIT_NOFILE): {error}; many clients at a time may wait in vain");
    }
}

/// How many threads answer UDP.
pub(super) fn workers(options: &DnsOptions) -> usize {
    match options.dns_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => usize::from(threads),
    }
}

/// Where the API server is: as the flags say, else as the first block says that says anything.
fn api_address(config: &Config, names: &DnsConfig) -> kube::ApiAddress {
    let of_blocks = names.servers.iter().filter_map(|server| Some(&server.kubernetes.as_ref()?.api));
    let said = of_blocks.clone().find(|api| api.endpoint.is_some() || api.kubeconfig.is_some());
    kube::ApiAddress {
        server: config.api.apiserver.clone().or_else(|| said?.endpoint.clone()),
        kubeconfig: config.api.kubeconfig.clone().or_else(|| said?.kubeconfig.clone()),
    }
}

fn ended_by_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}

impl Settings {
    /// The configuration, without counting as read.
    pub fn peek(&self) -> anyhow::Result<DnsConfig> {
        Settings::clone(self).read().map_err(anyhow::Error::msg).map(Option::unwrap_or_default)
    }
}
