//! Events on Services, against a stand-in for the API server.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kube::{Client, Config};
use portolan::{
    events::{Events, Reason},
    model::{Notice, ObjectRef, ServiceId, Severity},
};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, in_namespace};

/// What was posted, and how posts are answered.
#[derive(Clone, Default)]
struct Server {
    posted: Arc<Mutex<Vec<Value>>>,
    /// Posts that are still to be refused
    refusals: Arc<Mutex<usize>>,
}

impl Server {
    async fn start(&self) -> Events {
        let this = self.clone();
        let routes = Router::new().route("/api/v1/namespaces/{namespace}/services/{name}", get(service)).route(
            "/apis/events.k8s.io/v1/namespaces/{namespace}/events",
            post(async move |body: String| this.post(&body)),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:6443").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let config = Config::new(format!("http://{address}").parse().unwrap());
        Events::start(Client::try_from(config).unwrap(), "node-1", CancellationToken::new())
    }

    fn post(&self, body: &str) -> Response {
        let mut refusals = self.refusals.lock().unwrap();
        if *refusals > 0 {
            *refusals -= 1;
            return status(StatusCode::FORBIDDEN, "Forbidden");
        }
        let event: Value = serde_json::from_str(body).unwrap();
        self.posted.lock().unwrap().push(event.clone());
        answer(StatusCode::CREATED, &event)
    }

    /// Waits for so many posts, and returns all.
    async fn posts(&self, count: usize) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let posted = self.posted.lock().unwrap().clone();
            if posted.len() >= count {
                return posted;
            }
            assert!(start.elapsed() < PATIENCE, "only {posted:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn service(Path((namespace, name)): Path<(String, String)>) -> Response {
    if name == "gone" {
        return status(StatusCode::NOT_FOUND, "NotFound");
    }
    let metadata = json!({"namespace": namespace, "name": name, "uid": format!("uid-of-{name}")});
    let found = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    answer(StatusCode::OK, &found)
}

fn answer(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn status(code: StatusCode, reason: &str) -> Response {
    let number = code.as_u16();
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no",
        "reason": reason, "code": number});
    answer(code, &body)
}

fn notes(posted: &[Value]) -> Vec<&str> {
    posted.iter().map(|event| event["note"].as_str().unwrap()).collect()
}

#[test]
fn an_event_names_the_service_so_that_describe_shows_it() {
    in_namespace(&[], || async {
        let server = Server::default();
        let events = server.start().await;
        events.warn(&ServiceId::new("shop", "web"), Reason::KernelRefused, "Invalid argument");
        let posted = server.posts(1).await;
        let event = &posted[0];
        let regarding =
            json!({"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web", "uid": "uid-of-web"});
        assert_eq!(event["regarding"], regarding);
        assert_eq!(event["metadata"]["namespace"], "shop");
        assert_eq!((&event["type"], &event["reason"]), (&"Warning".into(), &"KernelRefused".into()));
        assert_eq!(event["note"], "Invalid argument");
        assert_eq!(event["reportingController"], "portolan");
        assert_eq!(event["reportingInstance"], "node-1");
        assert!(event["action"].is_string() && event["eventTime"].is_string(), "the API insists on both");
    });
}

#[test]
fn repetitions_and_floods_are_kept_from_the_api_server() {
    in_namespace(&[], || async {
        let server = Server::default();
        let events = server.start().await;
        let web = ServiceId::new("shop", "web");
        events.warn(&ServiceId::new("shop", "gone"), Reason::InvalidService, "nobody can read this");
        for _ in 0..50 {
            events.warn(&web, Reason::KernelRefused, "once");
        }
        events.warn(&web, Reason::KernelRefused, "another note is another event");
        assert_eq!(notes(&server.posts(2).await), ["once", "another note is another event"]);
        for number in 0..200 {
            events.warn(&web, Reason::FrontendConflict, format!("{number}"));
        }
        // The burst is 20; three were sent, the one for the Service that is gone among them.
        server.posts(19).await;
        sleep(Duration::from_millis(500)).await;
        let sent = server.posts(19).await.len();
        assert!(sent < 30, "one more in 10 seconds may come, but not {sent} of 200");
    });
}

#[test]
fn a_refusal_costs_only_the_event() {
    in_namespace(&[], || async {
        let server = Server::default();
        *server.refusals.lock().unwrap() = 1;
        let events = server.start().await;
        let web = ServiceId::new("shop", "web");
        events.warn(&web, Reason::FailedToStartServiceHealthcheck, "refused");
        events.warn(&web, Reason::FailedToStartServiceHealthcheck, "x".repeat(2000));
        let posted = server.posts(1).await;
        assert_eq!(notes(&posted)[0].len(), 1024, "as long as the API takes it");
    });
}

#[test]
fn notices_about_services_become_events() {
    in_namespace(&[], || async {
        let server = Server::default();
        let events = server.start().await;
        let notice = |kind: &str, field: &str| Notice {
            severity: Severity::Refused,
            origin: None,
            object: Some(ObjectRef { kind: kind.into(), namespace: "shop".into(), name: "web".into() }),
            field: field.to_owned(),
            reason: "not good".to_owned(),
        };
        let notices = [notice("EndpointSlice", "ports"), notice("Service", "spec.type"), notice("Service", "")];
        events.notices(Reason::InvalidService, &notices);
        assert_eq!(notes(&server.posts(2).await), ["spec.type: not good", "not good"]);
        Events::off().notices(Reason::InvalidService, &notices);
    });
}
