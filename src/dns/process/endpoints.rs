//! What probes and Prometheus are told, over HTTP (4.1).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::metrics::DnsMetrics;
use crate::{config::dns::DnsConfig, dns::serve::Heartbeats, http::Server, metrics::CONTENT_TYPE};

/// A worker that has not gone round for this long hangs (4.1).
const HANGS: Duration = Duration::from_secs(2);

/// What is told. Cheap to clone; every clone is the same.
#[derive(Clone, Default)]
pub struct Told(Arc<Inner>);

#[derive(Default)]
struct Inner {
    beats: Mutex<Vec<Heartbeats>>,
    /// What is not ready, and why
    missing: Mutex<Vec<String>>,
    /// Once ready, always ready
    latched: AtomicBool,
}

impl Told {
    pub fn set_beats(&self, beats: Vec<Heartbeats>) {
        *self.0.beats.lock().unwrap_or_else(PoisonError::into_inner) = beats;
    }

    /// What is waited for before there are answers; nothing once all is there.
    pub fn set_missing(&self, missing: Vec<String>) {
        if missing.is_empty() {
            self.0.latched.store(true, Relaxed);
        }
        *self.0.missing.lock().unwrap_or_else(PoisonError::into_inner) = missing;
    }

    fn health(&self) -> (StatusCode, String) {
        let oldest = |beats: &Heartbeats| beats.oldest();
        let beats = self.0.beats.lock().unwrap_or_else(PoisonError::into_inner);
        match beats.iter().map(oldest).max() {
            Some(oldest) if oldest > HANGS => {
                let text = format!("a worker has not answered for {:.1} s; a restart helps", oldest.as_secs_f64());
                (StatusCode::SERVICE_UNAVAILABLE, text)
            }
            _ => (StatusCode::OK, "OK".to_owned()),
        }
    }

    fn ready(&self) -> (StatusCode, String) {
        if self.0.latched.load(Relaxed) {
            return (StatusCode::OK, "OK".to_owned());
        }
        let missing = self.0.missing.lock().unwrap_or_else(PoisonError::into_inner);
        (StatusCode::SERVICE_UNAVAILABLE, missing.join(", "))
    }
}

/// The HTTP servers that run.
pub struct Endpoints {
    told: Told,
    metrics: Arc<DnsMetrics>,
    running: BTreeMap<(Kind, SocketAddr), (CancellationToken, JoinHandle<()>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Health,
    Ready,
    Metrics,
}

impl Endpoints {
    pub fn new(told: Told, metrics: Arc<DnsMetrics>) -> Self {
        Self { told, metrics, running: BTreeMap::new() }
    }

    /// Serves what the configuration asks for, and no more.
    pub async fn set(&mut self, config: &DnsConfig) {
        let mut wanted = BTreeSet::new();
        for server in &config.servers {
            wanted.extend(server.health.map(|health| (Kind::Health, health.address)));
            wanted.extend(server.ready.map(|address| (Kind::Ready, address)));
            wanted.extend(server.prometheus.map(|address| (Kind::Metrics, address)));
        }
        let gone: Vec<_> = self.running.keys().filter(|key| !wanted.contains(*key)).copied().collect();
        for key in gone {
            if let Some((stop, task)) = self.running.remove(&key) {
                stop.cancel();
                // The address is free when the task is gone: another kind may want it.
                let _ = task.await;
            }
        }
        for (kind, address) in wanted {
            self.running.entry((kind, address)).or_insert_with(|| {
                let stop = CancellationToken::new();
                let (name, flag, routes) = match kind {
                    Kind::Health => ("health", "`health` in the Corefile", health(self.told.clone())),
                    Kind::Ready => ("readiness", "`ready` in the Corefile", ready(self.told.clone())),
                    Kind::Metrics => ("metrics", "`prometheus` in the Corefile", metrics(self.metrics.clone())),
                };
                let server = Server { name, flag, address, hard_fail: false, routes };
                let stopped = stop.clone();
                let task = tokio::spawn(async move {
                    // Without `hard_fail` there is no error: what is taken is tried again.
                    let _ = server.run(stopped).await;
                });
                (stop, task)
            });
        }
    }

    /// Ends all of them.
    pub async fn stop(&mut self) {
        self.set(&DnsConfig::default()).await;
    }
}

fn health(told: Told) -> Router {
    Router::new().route("/health", get(async move || plain(told.health())))
}

fn ready(told: Told) -> Router {
    Router::new().route("/ready", get(async move || plain(told.ready())))
}

fn metrics(metrics: Arc<DnsMetrics>) -> Router {
    let routes = async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render()).into_response();
    Router::new().route("/metrics", get(routes))
}

fn plain((code, text): (StatusCode, String)) -> Response {
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
