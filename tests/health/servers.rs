//! Servers whose port is taken, and clients that are slow, many or rude.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get as on_get};
use portolan::{
    http::{Server, metrics_routes},
    metrics::{Metrics, Refresh},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, get, in_namespace, request, try_get, until, until_closed};

const ADDRESS: &str = "127.0.0.1:8080";

fn address() -> SocketAddr {
    ADDRESS.parse().unwrap()
}

fn server(hard_fail: bool) -> Server {
    let routes = Router::new().route("/", on_get(async || "hello"));
    Server { name: "metrics", flag: "--metrics-bind-address", address: address(), hard_fail, routes }
}

#[test]
fn a_port_that_is_taken_is_tried_again() {
    in_namespace(&[], || async {
        let other = TcpListener::bind(address()).await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server(false).run(stop.clone()));
        // The other one is asked, and does not answer.
        let asked = tokio::spawn(try_get(address(), "/"));
        drop(other.accept().await.unwrap());
        assert!(asked.await.unwrap().is_none());
        assert!(!running.is_finished());
        drop(other);
        assert_eq!(until(address(), "/", |_| true).await.body, "hello");
        stop.cancel();
        running.await.unwrap().unwrap();
        until_closed(address()).await;
    });
}

#[test]
fn a_server_that_waits_for_its_port_can_be_stopped() {
    in_namespace(&[], || async {
        let _other = TcpListener::bind(address()).await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server(false).run(stop.clone()));
        tokio::task::yield_now().await;
        stop.cancel();
        timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    });
}

#[test]
fn with_hard_fail_a_port_that_is_taken_is_an_error() {
    in_namespace(&[], || async {
        let _other = TcpListener::bind(address()).await.unwrap();
        let failure = server(true).run(CancellationToken::new()).await.unwrap_err().to_string();
        assert_eq!(
            failure,
            "the metrics server cannot listen on 127.0.0.1:8080: Address already in use (os error 98); free the \
             address, or choose another one by --metrics-bind-address"
        );
    });
}

#[test]
fn slow_clients_keep_nobody_out() {
    in_namespace(&[], || async {
        let running = tokio::spawn(server(true).run(CancellationToken::new()));
        until(address(), "/", |_| true).await;
        let mut slow = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(address()).await.unwrap();
            stream.write_all(b"GET / HT").await.unwrap();
            slow.push(stream);
        }
        assert_eq!(get(address(), "/").await.body, "hello", "the server serves others");
        // The first ones had to go at once; the last ones are given up for being slow.
        for stream in [0, 199] {
            let mut rest = Vec::new();
            let closed = timeout(PATIENCE, slow[stream].read_to_end(&mut rest)).await;
            assert!(closed.is_ok(), "connection {stream} is open still");
        }
        running.abort();
    });
}

#[test]
fn a_long_head_is_refused() {
    in_namespace(&[], || async {
        let running = tokio::spawn(server(true).run(CancellationToken::new()));
        until(address(), "/", |_| true).await;
        let long = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {}\r\n\r\n", "x".repeat(64 * 1024));
        let answer = request(address(), long).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.code == 431), "{answer:?}");
        assert_eq!(get(address(), "/").await.code, 200);
        running.abort();
    });
}

#[test]
fn the_metrics_server_asks_the_loop_and_shows_what_it_was_told() {
    in_namespace(&[], || async {
        let metrics = Metrics::new(10);
        let (refresh, mut requests) = Refresh::channel();
        let config = json!({"minSyncPeriod": "100ms"});
        let routes = metrics_routes(metrics.clone(), refresh, &config);
        let stop = CancellationToken::new();
        let running = tokio::spawn(Server { routes, ..server(true) }.run(stop.clone()));
        until(address(), "/healthz", |_| true).await;
        // The loop.
        let seen = metrics.clone();
        tokio::spawn(async move {
            while let Some(reply) = requests.recv().await {
                seen.quarantined(3);
                let _ = reply.send(());
            }
        });

        let answer = get(address(), "/metrics").await;
        assert_eq!(answer.code, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(answer.body.contains("\nportolan_quarantined_services 3\n"), "{}", answer.body);
        assert_eq!(get(address(), "/proxyMode").await.body, "nftables");
        assert_eq!(get(address(), "/healthz").await.body, "ok");
        let configz = get(address(), "/configz").await;
        assert_eq!((configz.json(), configz.header("content-type")), (config, Some("application/json")));
        stop.cancel();
        timeout(Duration::from_secs(10), running).await.unwrap().unwrap().unwrap();
    });
}
