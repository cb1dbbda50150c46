//! The loop: objects into names, configurations into sockets, and a good end.

mod answering;

use std::{
    collections::BTreeMap,
    future::pending,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    Feed, Options, Source,
    endpoints::{Endpoints, Told},
    files::Files,
    forwarding::Forwarders,
    listening::BindFailure,
    metrics::DnsMetrics,
    node::Node,
    responder::Group,
    snapshot_file::{self, SnapshotFile},
    tally::Tallies,
};
use crate::{
    config::dns::DnsConfig,
    dns::{
        forward::Hop,
        names::{GATHER, Names},
        serve::Serving,
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
    /// Where clients ask the Service
    virtual_ips: Vec<IpAddr>,
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
struct Next<F> {
    config: DnsConfig,
    names: Names,
    /// Theirs: those that serve go on being fed by their own
    feed: F,
}

/// Answers until `stop`, and then so long as `lameduck` says.
///
/// # Errors
/// Only at the start: a configuration or a socket that cannot be used.
pub async fn run<F: Feed>(
    options: &Options,
    source: &mut impl Source,
    feed: &mut F,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let config = source.read().map_err(Failure::Config)?.unwrap_or_default();
    feed.suffices(&config).map_err(Failure::Config)?;
    // What changes together on a node has been gathered for the kernel already.
    let gather = if options.redirect.is_some() { Duration::ZERO } else { GATHER };
    let metrics = options.metrics.clone();
    let told = Told::default();
    let mut endpoints = Endpoints::new(told.clone(), metrics.clone());
    let mut process = Process {
        options,
        names: Names::new(&config).gathering(gather),
        config: config.clone(),
        forwarders: Vec::new(),
        files: Arc::default(),
        files_at: None,
        running: BTreeMap::new(),
        listening: Vec::new(),
        virtual_ips: Vec::new(),
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
    process.answer_as(&config, None, source.version()).await?;
    endpoints.set(&config).await;
    let result = process.follow(source, feed, &mut endpoints, &stop).await;
    match process.here.take() {
        // The Service takes over; those who asked here already are answered.
        Some(here) => here.node.stop().await,
        None => process.lameduck().await,
    }
    if let Some(file) = &process.file {
        file.finish(process.names.served().load_full()).await;
    }
    for (_, running) in std::mem::take(&mut process.running) {
        running.serving.stop().await;
    }
    endpoints.stop().await;
    result
}

impl Process<'_> {
    async fn follow<F: Feed>(
        &mut self,
        source: &mut impl Source,
        feed: &mut F,
        endpoints: &mut Endpoints,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut next: Option<Next<F>> = None;
        let mut reload_at = self.next_reload();
        loop {
            let file = self.file.as_ref().map(|_| self.write_at);
            let wake = [self.names.due(), reload_at, file, self.stale_until, self.files_at];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = feed.changed() => {
                    feed.apply(&mut self.names);
                    self.tell_missing(feed);
                }
                () = changed(&mut next) => if let Some(next) = &mut next {
                    next.feed.apply(&mut next.names);
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
            }
            let now = Instant::now();
            self.publish_due(now);
            self.tell_addresses();
            if next.as_ref().is_some_and(|next| next.names.state() == State::Synced)
                && let Some(complete) = next.take()
            {
                self.switch(complete.config, Some((complete.names, complete.feed)), feed, source, endpoints).await;
            }
            if reload_at.is_some_and(|at| at <= now) {
                let read = source.read();
                if !matches!(read, Ok(None)) {
                    // Whatever it says now, it is not that any more.
                    next = None;
                }
                match read {
                    Ok(None) => {}
                    Ok(Some(config)) if self.names.fit(&config) => {
                        self.switch(config, None, feed, source, endpoints).await;
                    }
                    Ok(Some(config)) => match feed.again(&config) {
                        Ok(feed) => {
                            info!("the configuration has changed; reading all objects for its names");
                            next = Some(Next { names: self.names.anew(&config), config, feed });
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
            if let Some(file) = &self.file {
                file.write(self.names.served().load_full());
            }
        }
    }

    /// Answers by another configuration, if that is possible; with other names and what feeds them, if it needs others.
    async fn switch<F: Feed>(
        &mut self,
        config: DnsConfig,
        other: Option<(Names, F)>,
        feed: &mut F,
        source: &impl Source,
        endpoints: &mut Endpoints,
    ) {
        let (names, other) = other.unzip();
        if let Err(failure) = self.answer_as(&config, names, source.version()).await {
            return self.reload_failed(&failure.to_string());
        }
        if let Some(other) = other {
            *feed = other;
        }
        self.tell_missing(feed);
        endpoints.set(&config).await;
        info!("the new configuration is in effect");
    }

    fn reload_failed(&self, reason: &str) {
        self.metrics.reload_failed.fetch_add(1, Relaxed);
        error!("cannot use the changed configuration, the old one stays in effect: {reason}");
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

/// Waits for the feed of names that are to take the place of those that serve.
async fn changed<F: Feed>(next: &mut Option<Next<F>>) {
    match next {
        Some(next) => next.feed.changed().await,
        None => pending().await,
    }
}
