//! `portolan run`: puts the loop together with its inputs, and with everybody who wants to know how it goes.

mod dry_run;
mod files;
mod names;
mod news;
mod picture;
mod reporter;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use ::kube::Client;
use anyhow::Context;
use ipnet::IpNet;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    RunArgs,
    dns::{ManifestNames, raise_open_files},
    input,
    takeover::{self, KubeProxy},
};
use crate::{
    agent::Agent,
    config::{Config, dns::DnsMode},
    dns::{
        process::{DnsMetrics, Feed},
        redirect,
    },
    events::{Events, Reason},
    health::{Health, NodeState},
    http::{
        BindError, HealthChecks, ListenFailure, PageFeed, Server, health_routes, metrics_routes, page_routes,
        status_routes,
    },
    kernel::NetlinkDataPlane,
    metrics::{Metrics, Refresh},
    model::{Node, Settings},
    reconcile::{ClusterFeed, ClusterInputs, CommittedChanges, Inputs, Keeper, PATIENCE, Reconciler, Timing},
    source::kube::{self, Kind},
    status::Status,
};
use dry_run::DryRun;
use files::ManifestFeed;
use picture::Rates;
use reporter::Reporter;

/// How long the watches and servers may take to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// The same of names: clients are sent away first.
const NAMES_FAREWELL: Duration = Duration::from_secs(8);

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    if args.write_config()? {
        return Ok(ExitCode::SUCCESS);
    }
    let (config, warnings) = args.config()?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    if config.process.init_only {
        takeover::set_sysctls(&config);
        return Ok(ExitCode::SUCCESS);
    }
    names::check_marks(&config)?;
    let kube_proxy = KubeProxy::at_start(&config)?;
    if !config.sync.dry_run {
        takeover::set_sysctls(&config);
    }
    // The loop has this thread for itself; health answers from the other one, even while the kernel takes its time.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(Run::new(config, kube_proxy)?.begin());
    runtime.shutdown_timeout(FAREWELL);
    result?;
    Ok(ExitCode::SUCCESS)
}

/// What the parts of one run share.
struct Run {
    config: Config,
    health: Health,
    metrics: Metrics,
    status: Status,
    kube_proxy: KubeProxy,
    stop: CancellationToken,
}

impl Run {
    fn new(config: Config, kube_proxy: KubeProxy) -> anyhow::Result<Self> {
        // Without an API server nobody takes nodes away.
        let node = if config.input.manifests.is_empty() { NodeState::Unknown } else { NodeState::Eligible };
        let metrics = Metrics::new(usize::try_from(config.serving.service_metrics_limit)?);
        let health = Health::new(config.sync.sync_period * 2, node);
        let status = Status::new(config.node.node.as_deref().unwrap_or_default());
        Ok(Self { config, health, metrics, status, kube_proxy, stop: CancellationToken::new() })
    }

    async fn begin(self) -> anyhow::Result<()> {
        self.end_on_signals()?;
        if self.config.input.manifests.is_empty() { self.follow_cluster().await } else { self.follow_files().await }
    }

    async fn follow_files(self) -> anyhow::Result<()> {
        let allocating =
            if self.config.sync.dry_run { input::Allocating::ReadOnly } else { input::Allocating::Remember };
        let feed =
            ManifestFeed::new(self.config.input.clone(), self.config.node.clone(), allocating, self.status.clone());
        let names = match self.answers_names() {
            true => {
                let manifests = ManifestNames::new(self.config.input.clone());
                self.answer(names::ManifestFeed::new(manifests, feed.committed()))
            }
            false => self.no_names().await,
        };
        let result = self.with_keeper(feed, None).await;
        names.ended().await;
        result
    }

    async fn follow_cluster(self) -> anyhow::Result<()> {
        let api = &self.config.api;
        let address = kube::ApiAddress { server: api.apiserver.clone(), kubeconfig: api.kubeconfig.clone() };
        let server = kube::connect(&address).await.context("cannot reach the API server")?;
        info!("following the API server {server:?}");
        let node = self.config.node.node.clone().unwrap_or_default();
        let inputs = ClusterInputs::new(&node, self.config.input.service_cidr.clone());
        let mut kinds: BTreeSet<Kind> = Kind::ALL.into();
        let (names, committed) = match self.answers_names() {
            true => {
                let wanted = names::kinds(&self.config);
                kinds.extend(&wanted);
                let (changes, committed) = CommittedChanges::new(wanted.iter().copied().collect());
                (self.answer(names::ClusterFeed::new(committed, wanted)), Some(changes))
            }
            false => (self.no_names().await, None),
        };
        let (changes, watches) = kube::watch_kinds(&server, &node, kinds, &kube::Timing::default());
        let describe = describer(&self.config);
        let feed = ClusterFeed::new(inputs, changes, describe, PATIENCE, self.health.clone(), self.metrics.clone())
            .with_names(committed)
            .with_status(self.status.clone());
        let result = self.with_keeper(feed, Some(server.client)).await;
        names.ended().await;
        watches.stop().await;
        result
    }

    /// Whether this node answers for names. A dry run speaks to nobody.
    fn answers_names(&self) -> bool {
        self.config.dns.dns == DnsMode::Local && !self.config.sync.dry_run
    }

    /// Begins to answer for names, of what this feed tells.
    fn answer(&self, feed: impl Feed + Send + 'static) -> Answering {
        let metrics = Arc::new(DnsMetrics::new(false));
        raise_open_files();
        let shown = metrics.clone();
        self.metrics.show_besides(move || shown.render());
        Answering(Some(tokio::spawn(names::answer(self.config.clone(), metrics, feed, self.stop.clone()))))
    }

    /// Takes away what an agent that answered for names left on this node.
    async fn no_names(&self) -> Answering {
        if !self.config.sync.dry_run
            && let Err(error) = redirect::remove().await
        {
            warn!("the redirect of DNS to this node, if there is one, stays: {error}; it has no effect");
        }
        Answering(None)
    }

    async fn with_keeper(self, inputs: impl Inputs, client: Option<Client>) -> anyhow::Result<()> {
        if self.config.sync.dry_run {
            return self.with_all(inputs, DryRun::new(), None).await;
        }
        let open = if self.config.sync.own_table { NetlinkDataPlane::open_owning } else { NetlinkDataPlane::open };
        self.with_all(inputs, Agent::new(open()?), client).await
    }

    async fn with_all(self, inputs: impl Inputs, keeper: impl Keeper, client: Option<Client>) -> anyhow::Result<()> {
        let (refresh, requests) = Refresh::channel();
        // A dry run speaks to nobody: probes and load balancers would take it for the real thing.
        let dry_run = self.config.sync.dry_run;
        let (page, asks) = PageFeed::new(self.health.clone(), self.status.clone());
        let mut servers = if dry_run { JoinSet::new() } else { self.serve(refresh, page)? };
        let node = self.config.node.node.as_deref().unwrap_or_default();
        let events = match client.filter(|_| self.config.api.events) {
            Some(client) => Events::start(client, node, self.stop.clone()),
            None => Events::off(),
        };
        let told = events.clone();
        let failed = move |failure: ListenFailure| {
            told.warn(&failure.service, Reason::FailedToStartServiceHealthcheck, failure.to_string());
        };
        let checks = (!dry_run).then(|| HealthChecks::start(self.health.clone(), failed, self.stop.clone()));
        let reporter = Reporter {
            health: self.health,
            metrics: self.metrics,
            status: self.status,
            events,
            checks,
            kube_proxy: self.kube_proxy,
            requests,
            asking: None,
            asks,
            asked: None,
            rates: Rates::default(),
            refused: BTreeMap::new(),
            counting: false,
        };
        let sync = &self.config.sync;
        let timing = Timing { least: sync.min_sync_period, longest_retry: sync.sync_period };
        let reconciler = Reconciler::new(inputs, keeper, reporter, timing).await.context("cannot follow the kernel")?;
        let result = tokio::select! {
            () = reconciler.run(self.stop.clone()) => Ok(()),
            failed = first_failure(&mut servers) => Err(failed.into()),
        };
        self.stop.cancel();
        // Requests under way are answered.
        let _ = tokio::time::timeout(FAREWELL, async { while servers.join_next().await.is_some() {} }).await;
        result
    }

    /// Starts the servers.
    fn serve(&self, refresh: Refresh, page: PageFeed) -> anyhow::Result<JoinSet<Result<(), BindError>>> {
        let serving = &self.config.serving;
        let hard_fail = serving.bind_address_hard_fail;
        let health = serving.healthz().map(|address| Server {
            name: "health",
            flag: "--healthz-bind-address",
            address,
            hard_fail,
            routes: health_routes(self.health.clone(), self.metrics.clone()),
        });
        let shown = serde_json::to_value(&self.config)?;
        let metrics = serving.metrics().map(|address| Server {
            name: "metrics",
            flag: "--metrics-bind-address",
            address,
            hard_fail,
            routes: metrics_routes(self.metrics.clone(), refresh, &shown).merge(status_routes(self.status.clone())),
        });
        let page = serving.page().map(|address| Server {
            name: "page",
            flag: "--page-address",
            address,
            hard_fail,
            routes: page_routes(page),
        });
        let mut tasks = JoinSet::new();
        for server in [health, metrics, page].into_iter().flatten() {
            tasks.spawn(server.run(self.stop.clone()));
        }
        Ok(tasks)
    }

    fn end_on_signals(&self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.cancel();
        });
        Ok(())
    }
}

/// What answers for names.
struct Answering(Option<JoinHandle<()>>);

impl Answering {
    /// Waits until those who asked are answered. The loop has ended, and everything was told to.
    async fn ended(self) {
        if let Some(task) = self.0
            && tokio::time::timeout(NAMES_FAREWELL, task).await.is_err()
        {
            warn!("names do not end; the DNS Service answers from now on");
        }
    }
}

/// Waits until a server cannot do its work and may not wait.
async fn first_failure(servers: &mut JoinSet<Result<(), BindError>>) -> BindError {
    while let Some(ended) = servers.join_next().await {
        if let Ok(Err(failure)) = ended {
            return failure;
        }
    }
    std::future::pending().await
}

/// What the operator chose makes of a Node object.
fn describer(config: &Config) -> impl FnMut(Node, &[IpNet]) -> (Node, Settings, Vec<String>) + use<> {
    let options = config.node.clone();
    move |mut node, networks| {
        node.addresses.splice(0..0, options.node_ip.iter().copied());
        let (settings, mut warnings) = options.settings(&node);
        warnings.extend(options.strange_cluster_cidrs(&node.addresses, networks));
        (node, settings, warnings)
    }
}
