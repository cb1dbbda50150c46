//! The loop: objects into names, configurations into sockets, and a good end.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, time::sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    Feed, Options, Source,
    endpoints::{Endpoints, Told},
    errorlog::ErrorLog,
    files::Files,
    forwarding::{self, Forwarders},
    listening::{self, BindFailure},
    metrics::{DnsMetrics, Observed, Scene},
    node::Node,
    querylog::QueryLog,
    responder::{Current, Group},
    scene,
    snapshot_file::{self, SnapshotFile},
    tally::Tallies,
};
use crate::{
    config::dns::DnsConfig,
    dns::{
        forward::{Hop, Own},
        names::Names,
        redirect::DNS_PORT,
        serve::{Limits, Serving, socket::wildcard},
    },
    kernel::KernelError,
    zone::State,
};

/// Why the process cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration, at the start
    #[error("{0}")]
    Config(String),
    /// A socket, at the start
    #[error(transparent)]
    Bind(#[from] BindFailure),
    /// Threads or files
    #[error("cannot start the workers: {0}")]
    Workers(std::io::Error),
    /// The kernel, at the start
    #[error("cannot redirect this node's queries: {0}")]
    Redirect(#[from] KernelError),
}

/// Sockets, and who answers on them.
struct Running {
    group: Arc<Group>,
    serving: Serving,
    tallies: Arc<Tallies>,
    labels: (String, Vec<String>),
}

/// The redirect of this node's queries, and who answers them.
struct Here {
    node: Node,
    group: Arc<Group>,
    tallies: Arc<Tallies>,
    labels: (String, Vec<String>),
}

struct Process<'a> {
    options: &'a Options,
    config: DnsConfig,
    names: Names,
    forwarders: Forwarders,
    files: Arc<ArcSwap<Files>>,
    /// When they are next looked at
    files_at: Option<Instant>,
    running: BTreeMap<Vec<SocketAddr>, Running>,
    listening: Vec<SocketAddr>,
    /// Who answers where this node's queries are redirected to
    here: Option<Here>,
    hop: Hop,
    metrics: Arc<DnsMetrics>,
    told: Told,
    version: u64,
    file: Option<SnapshotFile>,
    /// When the file is next looked after
    write_at: Instant,
    /// When what was restored is too old
    stale_until: Option<Instant>,
}

/// A configuration whose names are not complete yet: until they are, the old one serves.
struct Next {
    config: DnsConfig,
    names: Names,
}

/// Answers until `stop`, and then so long as `lameduck` says.
///
/// # Errors
/// Only at the start: a configuration or a socket that cannot be used.
pub async fn run(
    options: &Options,
    source: &mut impl Source,
    feed: &mut impl Feed,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let config = source.read().map_err(Failure::Config)?.unwrap_or_default();
    let metrics = options.metrics.clone();
    let told = Told::default();
    let mut endpoints = Endpoints::new(told.clone(), metrics.clone());
    let mut process = Process {
        options,
        names: Names::new(&config),
        config: config.clone(),
        forwarders: Vec::new(),
        files: Arc::default(),
        files_at: None,
        running: BTreeMap::new(),
        listening: Vec::new(),
        here: None,
        hop: Hop::new(),
        metrics,
        told,
        version: 0,
        file: options.snapshot_file.clone().map(SnapshotFile::new),
        write_at: Instant::now() + snapshot_file::PAUSE,
        stale_until: None,
    };
    process.restore();
    process.tell_missing(feed);
    process.answer_as(&config, source.version()).await?;
    endpoints.set(&config).await;
    let result = process.follow(source, feed, &mut endpoints, &stop).await;
    match process.here.take() {
        // The Service takes over; those who asked here already are answered.
        Some(here) => here.node.stop().await,
        None => process.lameduck().await,
    }
    process.write_file();
    for (_, running) in std::mem::take(&mut process.running) {
        running.serving.stop().await;
    }
    endpoints.stop().await;
    result
}

impl Process<'_> {
    async fn follow(
        &mut self,
        source: &mut impl Source,
        feed: &mut impl Feed,
        endpoints: &mut Endpoints,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut next: Option<Next> = None;
        let mut reload_at = self.next_reload();
        loop {
            let due = next.as_ref().map_or(self.names.due(), |next| next.names.due());
            let wake = [due, reload_at, self.file.as_ref().map(|_| self.write_at), self.stale_until, self.files_at];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = feed.changed() => match &mut next {
                    Some(next) => feed.apply(&mut next.names),
                    None => {
                        feed.apply(&mut self.names);
                        self.tell_missing(feed);
                    }
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
            }
            let now = Instant::now();
            self.publish_due(now);
            self.tell_node();
            if next.as_ref().is_some_and(|next| next.names.state() == State::Synced)
                && let Some(Next { config, names }) = next.take()
            {
                self.names = names;
                self.switch(config, source.version(), endpoints).await;
            }
            if reload_at.is_some_and(|at| at <= now) {
                match source.read() {
                    Ok(None) => {}
                    Ok(Some(config)) if self.names.fit(&config) => {
                        next = None;
                        self.switch(config, source.version(), endpoints).await;
                    }
                    Ok(Some(config)) => match feed.restart(&config) {
                        Ok(()) => {
                            info!("the configuration has changed; reading all objects for its names");
                            next = Some(Next { names: Names::new(&config), config });
                        }
                        Err(reason) => self.reload_failed(&reason),
                    },
                    Err(reason) => self.reload_failed(&reason),
                }
                reload_at = self.next_reload();
            }
        }
    }

    fn publish_due(&mut self, now: Instant) {
        if self.names.due().is_some_and(|due| due <= now) {
            self.names.publish();
        }
        if self.stale_until.is_some_and(|until| until <= now) {
            self.stale_until = None;
            self.names.forget_stale();
        }
        if self.files_at.is_some_and(|at| at <= now) {
            self.files_at = Files::interval(&self.config).map(|interval| now + interval);
            let read = Files::read(&self.config, Some(&self.files.load()));
            self.files.store(Arc::new(read));
        }
        if self.write_at <= now {
            self.write_at = now + snapshot_file::PAUSE;
            self.write_file();
        }
    }

    /// Answers by another configuration, if that is possible.
    async fn switch(&mut self, config: DnsConfig, version: String, endpoints: &mut Endpoints) {
        match self.answer_as(&config, version).await {
            Ok(()) => {
                if self.names.fit(&config) {
                    self.names.take_up(&config);
                }
                endpoints.set(&config).await;
                info!("the new configuration is in effect");
            }
            Err(failure) => self.reload_failed(&failure.to_string()),
        }
    }

    fn reload_failed(&self, reason: &str) {
        self.metrics.reload_failed.fetch_add(1, Relaxed);
        error!("cannot use the changed configuration, the old one stays in effect: {reason}");
    }

    /// Opens what is not open yet, answers by this configuration, and closes what is not wanted any more.
    async fn answer_as(&mut self, config: &DnsConfig, version: String) -> Result<(), Failure> {
        let groups = listening::groups(config, self.options.redirect.is_none());
        let mut opened = BTreeMap::new();
        for addresses in groups.keys().filter(|addresses| !self.running.contains_key(*addresses)) {
            opened.insert(addresses.clone(), listening::open(addresses, self.options.workers)?);
        }
        // From here on nothing can fail but for want of threads.
        self.config = config.clone();
        self.version += 1;
        self.files = Arc::new(ArcSwap::from_pointee(Files::read(config, None)));
        self.files_at = Files::interval(config).map(|interval| Instant::now() + interval);
        self.listening = groups.keys().flatten().copied().collect();
        self.forwarders = self.make_forwarders();
        self.answer_here()?;
        let mut running = BTreeMap::new();
        for (addresses, blocks) in &groups {
            let mut old = self.running.remove(addresses);
            let labels = scene::labels(config, addresses);
            let tallies = match &old {
                Some(old) if old.labels == labels => old.tallies.clone(),
                _ => Arc::new(Tallies::new(config.servers.len())),
            };
            let current = Arc::new(self.current(blocks, tallies.clone()));
            let now = match old.take() {
                Some(old) => {
                    old.group.set(current);
                    Running { tallies, labels, ..old }
                }
                None => {
                    let group = Arc::new(Group::new(current));
                    let sockets = opened.remove(addresses).unwrap_or_default();
                    let serving = Serving::start(&group, sockets, Limits::default(), &Handle::current());
                    Running { group, serving: serving.map_err(Failure::Workers)?, tallies, labels }
                }
            };
            running.insert(addresses.clone(), now);
        }
        for (addresses, closed) in std::mem::replace(&mut self.running, running) {
            info!("no longer listening on {addresses:?}");
            closed.serving.stop().await;
        }
        self.tell_node();
        self.told.set_beats(self.running.values().map(|running| running.serving.heartbeats()).collect());
        self.metrics.observe(self.scene(version));
        Ok(())
    }

    fn current(&self, blocks: &[usize], tallies: Arc<Tallies>) -> Current {
        let server = |block: &usize| (*block, &self.config.servers[*block]);
        Current {
            version: self.version,
            site: crate::answers::Site::new(blocks.iter().map(server)),
            forwarders: self.forwarders.iter().map(|known| known.as_ref().map(|(known, _)| known.clone())).collect(),
            served: self.names.served(),
            files: self.files.clone(),
            logs: self.config.servers.iter().map(|server| server.log.as_ref().map(QueryLog::new)).collect(),
            errors: self.config.servers.iter().map(|server| server.errors.then(ErrorLog::default)).collect(),
            tallies,
            hop: self.hop,
        }
    }

    /// Has this node's redirected queries answered by the present configuration.
    fn answer_here(&mut self) -> Result<(), Failure> {
        let Some(numbers) = self.options.redirect else { return Ok(()) };
        let servers = self.config.servers.iter().enumerate();
        let blocks: Vec<usize> =
            servers.filter(|(_, server)| server.port == DNS_PORT).map(|(block, _)| block).collect();
        if blocks.is_empty() {
            let reason = format!("no server block answers on port {DNS_PORT}, where pods ask");
            return Err(Failure::Config(reason));
        }
        let labels = scene::labels(&self.config, &[wildcard(DNS_PORT)]);
        let tallies = match &self.here {
            Some(here) if here.labels == labels => here.tallies.clone(),
            _ => Arc::new(Tallies::new(self.config.servers.len())),
        };
        let current = Arc::new(self.current(&blocks, tallies.clone()));
        self.here = Some(match self.here.take() {
            Some(here) => {
                here.group.set(current);
                Here { tallies, labels, ..here }
            }
            None => {
                let group = Arc::new(Group::new(current));
                let node = Node::start(group.clone(), self.options.workers, numbers)?;
                Here { node, group, tallies, labels }
            }
        });
        Ok(())
    }

    /// Tells the redirect what is known, and forwarders which addresses are their own.
    fn tell_node(&mut self) {
        let Some(here) = &self.here else { return };
        let before = here.node.addresses();
        here.node.follow(&self.config, &self.names.served().load(), self.names.state());
        if here.node.addresses() != before {
            let own = self.own();
            self.forwarders.iter().flatten().for_each(|(forwarder, _)| forwarder.set_own(own.clone()));
        }
    }

    fn own(&self) -> Own {
        let virtual_ips = self.here.as_ref().map(|here| here.node.addresses()).unwrap_or_default();
        Own { listening: self.listening.clone(), virtual_ips }
    }

    fn make_forwarders(&self) -> Forwarders {
        let (hop, mark) = (self.hop, self.options.redirect.map(|numbers| numbers.marks.bypass));
        forwarding::make(&self.config, &self.own(), hop, mark, &self.metrics.forward)
    }

    fn scene(&self, version: String) -> Scene {
        let observed = |running: &Running| Observed {
            server: running.labels.0.clone(),
            zones: running.labels.1.clone(),
            tallies: running.tallies.clone(),
            counts: Box::new(running.serving.counter()),
        };
        let here = self.here.as_ref().map(|here| Observed {
            server: here.labels.0.clone(),
            zones: here.labels.1.clone(),
            tallies: here.tallies.clone(),
            counts: Box::new(here.node.counter()),
        });
        Scene {
            groups: self.running.values().map(observed).chain(here).collect(),
            caches: forwarding::caches(&self.config, &self.forwarders),
            plugins: self.config.servers.iter().flat_map(scene::plugins).collect(),
            names: Some((self.names.served(), self.names.stats())),
            redirect: self.here.as_ref().map(|here| here.node.states()),
            version,
        }
    }

    fn tell_missing(&self, feed: &impl Feed) {
        // A block without the cluster's names has nothing to wait for.
        let waits = self.names.all_options().flatten().next().is_some() && self.names.state() != State::Synced;
        self.told.set_missing(if waits { feed.missing() } else { Vec::new() });
    }

    fn restore(&mut self) {
        if let Some(file) = &self.file {
            self.stale_until = file.restore(&mut self.names).map(|left| Instant::now() + left);
        }
    }

    fn write_file(&mut self) {
        if let Some(file) = &mut self.file {
            file.write(&self.names.served().load());
        }
    }

    /// When the configuration is next looked at: at random around what was asked for, so that not all replicas do it at
    /// once.
    fn next_reload(&self) -> Option<Instant> {
        let interval = self.config.servers.iter().filter_map(|server| server.reload).min()?;
        Some(Instant::now() + interval.mul_f64(rand::random_range(0.5..1.5)))
    }

    /// Goes on answering while others learn that this process is about to end.
    async fn lameduck(&self) {
        let lameduck = self.config.servers.iter().filter_map(|server| server.health).map(|health| health.lameduck);
        let lameduck = lameduck.max().unwrap_or(Duration::ZERO);
        if !lameduck.is_zero() {
            info!("answering for another {lameduck:?}");
            tokio::time::sleep(lameduck).await;
        }
    }
}
