//! The servers behind `healthCheckNodePort`: a load balancer asks each node whether it has ready endpoints of a Service
//! whose external traffic policy is Local (section 6.2).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, response::IntoResponse};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    connections,
    health::{json, yes_or_no},
};
use crate::{
    compile::HealthCheck,
    health::Health,
    model::{Family, ServiceId},
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// How long until an address that could not be listened on is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// All health check node ports of this node. They are opened and closed in the background.
#[derive(Debug)]
pub struct HealthChecks(watch::Sender<BTreeMap<Place, usize>>);

/// What is listened on.
struct Listeners {
    health: Health,
    stop: CancellationToken,
    listening: BTreeMap<Place, Listening>,
    /// Places that could not be listened on the last time, so that it is logged once
    failing: BTreeSet<Place>,
}

/// A Service's health check on one address.
type Place = (ServiceId, SocketAddr);

/// An address that is listened on.
#[derive(Debug)]
struct Listening {
    ready_local: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

/// A health check that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenFailure {
    /// Whose
    pub service: ServiceId,
    /// Where
    pub address: SocketAddr,
    /// The system's words
    pub reason: String,
}

impl fmt::Display for ListenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {} for the health check node port: {}", self.address, self.reason)
    }
}

impl HealthChecks {
    /// None yet. They end with `stop`, and answer 503 while `health` is not current. What cannot be listened on is told
    /// to `failed`, and tried again every few seconds, and told again. To be called from within the runtime.
    pub fn start(health: Health, failed: impl FnMut(ListenFailure) + Send + 'static, stop: CancellationToken) -> Self {
        let (sender, wanted) = watch::channel(BTreeMap::new());
        let listeners = Listeners { health, stop, listening: BTreeMap::new(), failing: BTreeSet::new() };
        tokio::spawn(listeners.follow(wanted, failed));
        Self(sender)
    }

    /// Has these served on these addresses, of which an unspecified one stands for all of its family, and closes what
    /// is not wanted any more. To be called after every pass; it returns at once.
    pub fn set<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a ServiceId, &'a HealthCheck)>,
        addresses: &BTreeSet<IpAddr>,
    ) {
        let new = places(wanted, addresses);
        self.0.send_if_modified(|places| {
            let differs = *places != new;
            *places = new;
            differs
        });
    }
}

impl Listeners {
    async fn follow(
        mut self,
        mut wanted: watch::Receiver<BTreeMap<Place, usize>>,
        mut failed: impl FnMut(ListenFailure) + Send,
    ) {
        loop {
            let places = wanted.borrow_and_update().clone();
            let failures = self.set(places).await;
            let again = !failures.is_empty();
            failures.into_iter().for_each(&mut failed);
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if again => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Opens and closes. Returns what could not be opened.
    async fn set(&mut self, wanted: BTreeMap<Place, usize>) -> Vec<ListenFailure> {
        let closed: Vec<Place> = self.listening.keys().filter(|place| !wanted.contains_key(*place)).cloned().collect();
        for place in closed {
            if let Some(old) = self.listening.remove(&place) {
                debug!(service = %place.0, address = %place.1, "closing a health check node port");
                old.server.abort();
                // The address is free when the task is gone: another Service may want it now.
                let _ = old.server.await;
            }
        }
        let mut failures = Vec::new();
        for (place, count) in wanted {
            match self.listening.get(&place) {
                Some(listening) => listening.ready_local.store(count, Ordering::Relaxed),
                None => failures.extend(self.open(place, count)),
            }
        }
        self.failing = failures.iter().map(|failure| (failure.service.clone(), failure.address)).collect();
        failures
    }

    fn open(&mut self, place: Place, count: usize) -> Option<ListenFailure> {
        let (service, address) = place.clone();
        match listen(address) {
            Ok(listener) => {
                let ready_local = Arc::new(AtomicUsize::new(count));
                let routes = routes(service, self.health.clone(), ready_local.clone());
                let server = tokio::spawn(connections::serve(listener, routes, self.stop.clone()));
                self.listening.insert(place, Listening { ready_local, server });
                None
            }
            Err(error) => {
                let failure = ListenFailure { service, address, reason: error.to_string() };
                if !self.failing.contains(&place) {
                    warn!(service = %failure.service, "{failure}; trying again");
                }
                Some(failure)
            }
        }
    }
}

/// Every address that is to be listened on, with the number of ready endpoints that it tells.
fn places<'a>(
    wanted: impl IntoIterator<Item = (&'a ServiceId, &'a HealthCheck)>,
    addresses: &BTreeSet<IpAddr>,
) -> BTreeMap<Place, usize> {
    let mut places = BTreeMap::new();
    for (service, check) in wanted {
        for (family, count) in &check.ready_local {
            for address in addresses.iter().filter(|address| Family::of(**address) == *family) {
                places.insert((service.clone(), SocketAddr::new(*address, check.port)), *count);
            }
        }
    }
    places
}

/// A socket for one family only: the other one has its own, with its own count.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whatever is asked, this is the answer.
fn routes(service: ServiceId, health: Health, ready_local: Arc<AtomicUsize>) -> Router {
    Router::new().fallback(async move || {
        let count = ready_local.load(Ordering::Relaxed);
        let current = health.is_current();
        let body = json!({
            "service": {"namespace": &*service.namespace, "name": &*service.name},
            "localEndpoints": count,
            "serviceProxyHealthy": current,
        });
        let weight = [("X-Load-Balancing-Endpoint-Weight", count.to_string())];
        (weight, json(yes_or_no(count > 0 && current), &body)).into_response()
    })
}
