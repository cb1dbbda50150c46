//! The small HTTP servers: health, metrics, the page, and the health checks of Services.
//!
//! One request a connection, few connections, short lives: a client that is slow or many costs the others nothing.

mod connections;
mod health;
mod health_checks;
mod metrics;
mod page;
mod status;

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    middleware::map_response,
    response::Response,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::kernel::kube_proxy::MARK;
pub use health::health_routes;
pub use health_checks::{HealthChecks, ListenFailure};
pub use metrics::metrics_routes;
pub use page::{
    Ask, DeadEndLine, EndpointPicture, Feed as PageFeed, FrontendPicture, Picture, ServicePicture,
    State as EndpointState, page_routes,
};
pub use status::status_routes;

/// How long a server waits before it tries again to listen.
const BIND_RETRY: Duration = Duration::from_secs(5);

/// The headers of every JSON answer that load balancers read (section 6).
const JSON_HEADERS: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// A server that could not listen and may not wait.
#[derive(Debug, thiserror::Error)]
#[error("the {name} server cannot listen on {address}: {source}; free the address, or choose another one by {flag}")]
pub struct BindError {
    name: &'static str,
    flag: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// A server for one address.
#[derive(Debug)]
pub struct Server {
    /// What logs call it
    pub name: &'static str,
    /// The flag that chooses the address, for messages
    pub flag: &'static str,
    /// Where it listens
    pub address: SocketAddr,
    /// Whether an address that is taken is an error; otherwise it is tried again every 5 seconds
    pub hard_fail: bool,
    /// What it serves
    pub routes: Router,
}

impl Server {
    /// Listens and serves until `stop`; requests under way may then still finish, for a second.
    ///
    /// # Errors
    ///
    /// Only with `hard_fail`: the address cannot be listened on.
    pub async fn run(self, stop: CancellationToken) -> Result<(), BindError> {
        let listener = tokio::select! {
            listener = self.listen() => listener?,
            () = stop.cancelled() => return Ok(()),
        };
        info!(address = %self.address, "the {} server listens", self.name);
        // Who looks for a living kube-proxy must be able to tell who answers.
        let marked = self.routes.layer(map_response(mark));
        connections::serve(listener, marked, stop).await;
        Ok(())
    }

    async fn listen(&self) -> Result<TcpListener, BindError> {
        let mut warned = false;
        loop {
            let source = match TcpListener::bind(self.address).await {
                Ok(listener) => return Ok(listener),
                Err(source) => source,
            };
            let failure = BindError { name: self.name, flag: self.flag, address: self.address, source };
            if self.hard_fail {
                return Err(failure);
            }
            if !std::mem::replace(&mut warned, true) {
                warn!("{failure}; trying again every {BIND_RETRY:?}");
            }
            tokio::time::sleep(BIND_RETRY).await;
        }
    }
}

/// Says that it is Portolan who answers.
async fn mark(mut response: Response) -> Response {
    response.headers_mut().insert(HeaderName::from_static(MARK), HeaderValue::from_static("1"));
    response
}
