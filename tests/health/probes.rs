//! `/healthz`, `/livez` and `/readyz` over time.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan::{
    health::{Health, NodeState},
    http::{Server, health_routes},
    metrics::Metrics,
};
use tokio_util::sync::CancellationToken;

use crate::support::{get, in_namespace, until};

#[test]
fn probes_tell_of_the_loop_and_of_the_node() {
    in_namespace(&[], || async {
        let address: SocketAddr = "127.0.0.1:10256".parse().unwrap();
        let health = Health::new(Duration::from_secs(2), NodeState::Unknown);
        let metrics = Metrics::new(0);
        let routes = health_routes(health.clone(), metrics.clone());
        let server = Server { name: "health", flag: "--healthz-bind-address", address, hard_fail: true, routes };
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        let codes = async || (get(address, "/livez").await.code, get(address, "/healthz").await.code);

        let livez = until(address, "/livez", |_| true).await;
        assert_eq!(livez.code, 200, "a fresh process is alive");
        assert_eq!(livez.header("content-type"), Some("application/json"));
        assert_eq!(livez.header("x-content-type-options"), Some("nosniff"));
        assert!(livez.json().get("nodeEligible").is_none());
        let healthz = get(address, "/healthz").await;
        assert_eq!((healthz.code, &healthz.json()["nodeEligible"]), (503, &false.into()), "no Node was seen");
        assert_eq!(healthz.json()["healthy"], true);

        health.node(NodeState::Eligible);
        assert_eq!(codes().await, (200, 200));

        health.waits_for([("the list of EndpointSlices".to_owned(), Some("connection refused".to_owned()))]);
        let readyz = get(address, "/readyz").await;
        assert_eq!(readyz.code, 503);
        assert_eq!(readyz.json()["waitingFor"][0], "the list of EndpointSlices: connection refused");
        health.waits_for([]);

        health.queued();
        assert_eq!(codes().await, (200, 200), "just queued");
        let late = until(address, "/healthz", |answer| answer.code == 503).await;
        assert_eq!((&late.json()["healthy"], &late.json()["nodeEligible"]), (&false.into(), &true.into()));
        assert_eq!(late.json()["status"]["IPv6"]["healthy"], false);
        assert_eq!(codes().await, (503, 503));
        assert_eq!(get(address, "/readyz").await.code, 503);

        health.updated(Instant::now());
        assert_eq!(codes().await, (200, 200), "done");
        assert_eq!(get(address, "/readyz").await.code, 200);
        assert!(get(address, "/livez").await.json().get("lastVerified").is_none());
        health.verified();
        assert!(get(address, "/livez").await.json()["lastVerified"].is_string());

        health.node(NodeState::Leaving("the Node is being deleted".to_owned()));
        assert_eq!(codes().await, (200, 503), "a node that is drained keeps its proxy");
        assert_eq!(get(address, "/healthz").await.json()["nodeReason"], "the Node is being deleted");
        assert_eq!(get(address, "/elsewhere").await.code, 404);

        let text = metrics.render();
        for code in [200, 503] {
            for probe in ["healthz", "livez"] {
                let series = format!("kubeproxy_proxy_{probe}_total{{code=\"{code}\"}} ");
                assert!(text.contains(&series), "{series} is missing in\n{text}");
            }
        }
        stop.cancel();
        running.await.unwrap().unwrap();
    });
}
