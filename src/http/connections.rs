use std::{collections::VecDeque, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Connections of one server at a time. One more ends the oldest, which must be a slow one: so nobody who holds
/// connections open keeps a probe out.
const MOST_CONNECTIONS: usize = 64;
/// How long a request line and its headers may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last in all.
const LONGEST_CONNECTION: Duration = Duration::from_secs(15);
/// The most that a request's head may hold, in bytes.
const MOST_HEADER_BYTES: usize = 16 * 1024;
/// How long requests under way may take to finish at the end.
const GRACE: Duration = Duration::from_secs(1);
/// A pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until `stop`.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(failure) => {
                debug!(%failure, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        by_age.retain(|connection| !connection.is_finished());
        if by_age.len() >= MOST_CONNECTIONS
            && let Some(oldest) = by_age.pop_front()
        {
            oldest.abort();
        }
        by_age.push_back(connections.spawn(answer(stream, routes.clone())));
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Those that take longer are dropped with the set.
    let _ = timeout(GRACE, all).await;
}

/// Answers one request.
async fn answer(stream: TcpStream, routes: Router) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MOST_HEADER_BYTES);
    builder.keep_alive(false);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    match timeout(LONGEST_CONNECTION, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => debug!(%failure, "a request was not answered"),
        Err(_) => debug!("a connection lasted too long"),
    }
}
