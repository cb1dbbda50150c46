//! Health check node ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use portolan::{
    compile::HealthCheck,
    health::{Health, NodeState},
    http::{HealthChecks, ListenFailure},
    model::{Family, ServiceId},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, in_namespace, try_get, until, until_closed};

struct Fixture {
    checks: HealthChecks,
    health: Health,
    failures: mpsc::UnboundedReceiver<ListenFailure>,
    stop: CancellationToken,
}

fn fixture() -> Fixture {
    let health = Health::new(Duration::from_secs(1), NodeState::Unknown);
    let (sender, failures) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let checks = HealthChecks::start(health.clone(), move |failure| drop(sender.send(failure)), stop.clone());
    Fixture { checks, health, failures, stop }
}

impl Fixture {
    /// `[(service, port, ready IPv4, ready IPv6)]`; a family without a number is one that the Service does not have.
    fn set(&self, wanted: &[(&str, u16, Option<usize>, Option<usize>)], addresses: &[&str]) {
        let check = |(name, port, v4, v6): &(&str, u16, Option<usize>, Option<usize>)| {
            let counts = [(Family::V4, *v4), (Family::V6, *v6)];
            let ready_local = counts.into_iter().filter_map(|(family, count)| Some((family, count?))).collect();
            (ServiceId::new("shop", name), HealthCheck { port: *port, ready_local })
        };
        let wanted: BTreeMap<ServiceId, HealthCheck> = wanted.iter().map(check).collect();
        let addresses: BTreeSet<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        self.checks.set(&wanted, &addresses);
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

const EVERYWHERE: [&str; 2] = ["0.0.0.0", "::"];
const ADDRESSES: [&str; 2] = ["192.0.2.1/24", "2001:db8::1/64"];
const V4: &str = "192.0.2.1:31000";
const V6: &str = "[2001:db8::1]:31000";

#[test]
fn each_family_answers_for_itself() {
    in_namespace(&ADDRESSES, || async {
        let fixture = fixture();
        fixture.set(&[("web", 31000, Some(2), Some(0))], &EVERYWHERE);
        let answer = until(at(V4), "/any/path?x", |_| true).await;
        assert_eq!(answer.code, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-load-balancing-endpoint-weight"), Some("2"));
        let service = json!({"namespace": "shop", "name": "web"});
        assert_eq!(answer.json(), json!({"service": service, "localEndpoints": 2, "serviceProxyHealthy": true}));

        let answer = until(at(V6), "/", |_| true).await;
        assert_eq!((answer.code, answer.header("x-load-balancing-endpoint-weight")), (503, Some("0")));
        assert_eq!(answer.json(), json!({"service": service, "localEndpoints": 0, "serviceProxyHealthy": true}));

        fixture.set(&[("web", 31000, Some(0), Some(1))], &EVERYWHERE);
        until(at(V4), "/", |answer| answer.code == 503).await;
        until(at(V6), "/", |answer| answer.code == 200).await;

        fixture.health.queued();
        let answer = until(at(V6), "/", |answer| answer.code == 503).await;
        assert_eq!(answer.json(), json!({"service": service, "localEndpoints": 1, "serviceProxyHealthy": false}));
        fixture.health.updated(Instant::now());
        until(at(V6), "/", |answer| answer.code == 200).await;

        fixture.set(&[("web", 31000, Some(1), None)], &EVERYWHERE);
        until_closed(at(V6)).await;
        until(at(V4), "/", |answer| answer.code == 200).await;
    });
}

#[test]
fn ports_are_closed_and_opened_as_services_change() {
    in_namespace(&ADDRESSES, || async {
        let mut fixture = fixture();
        fixture.set(&[("api", 31000, Some(1), None), ("web", 31001, Some(1), None)], &EVERYWHERE);
        let of = |name: &'static str| {
            move |answer: &crate::support::Answer| answer.body.contains(&format!("\"name\":\"{name}\""))
        };
        until(at(V4), "/", of("api")).await;

        // The ports change hands in one step.
        fixture.set(&[("api", 31001, Some(1), None), ("web", 31000, Some(1), None)], &EVERYWHERE);
        until(at(V4), "/", of("web")).await;
        until(at("192.0.2.1:31001"), "/", of("api")).await;
        assert!(fixture.failures.try_recv().is_err());

        // Only on the address that node ports have.
        fixture.set(&[("web", 31000, Some(1), Some(1))], &["192.0.2.1"]);
        until_closed(at("127.0.0.1:31000")).await;
        until(at(V4), "/", of("web")).await;
        until_closed(at("192.0.2.1:31001")).await;

        fixture.set(&[], &EVERYWHERE);
        until_closed(at(V4)).await;

        fixture.set(&[("web", 31000, Some(1), None)], &EVERYWHERE);
        until(at(V4), "/", of("web")).await;
        fixture.stop.cancel();
        until_closed(at(V4)).await;
    });
}

#[test]
fn a_port_that_is_taken_is_told_and_tried_again() {
    in_namespace(&ADDRESSES, || async {
        let mut fixture = fixture();
        let other = TcpListener::bind("192.0.2.1:31000").await.unwrap();
        fixture.set(&[("web", 31000, Some(1), Some(1))], &EVERYWHERE);
        let failure = timeout(PATIENCE, fixture.failures.recv()).await.unwrap().unwrap();
        assert_eq!((failure.service.to_string(), failure.address), ("shop/web".to_owned(), at("0.0.0.0:31000")));
        assert_eq!(
            failure.to_string(),
            "cannot listen on 0.0.0.0:31000 for the health check node port: Address already in use (os error 98)"
        );
        until(at(V6), "/", |answer| answer.code == 200).await;
        assert!(try_get(at("127.0.0.1:31000"), "/").await.is_none());
        drop(other);
        until(at(V4), "/", |answer| answer.code == 200).await;
    });
}
