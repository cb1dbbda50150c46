//! What an operator reads when the API server cannot be used, and what happens meanwhile.

use std::time::Duration;

use portolan::source::kube::{Kind, Timing};

use super::{
    Followed,
    encode::{cluster_wide, event, page, service},
    server::{Answer, FakeApi, Step},
    timing,
};

fn list() -> Answer {
    Answer::Page(page(10, "", &[service("a", 1, 80)]))
}

#[tokio::test]
async fn lists_that_fail_over_and_over_are_tried_less_and_less() {
    let failing = || Answer::Error(500, "InternalError", "etcdserver: no leader");
    let mut answers: Vec<Answer> = (0..6).map(|_| failing()).collect();
    answers.push(list());
    let api = FakeApi::start(Kind::Service, answers);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    let (error, retry_in) = followed.trouble().await;
    assert_eq!(
        error,
        format!(
            "cannot list services at the API server http://{}/: it answers 500: etcdserver: no leader",
            api.address
        )
    );
    assert!(retry_in <= Duration::from_millis(10));
    // The cause is told once, not six times.
    followed.expect(&["put a:80", "listed"]).await;
    let seen = api.seen(Kind::Service, 7).await;
    for (failures, pause) in [10, 20, 40, 80, 160, 160].into_iter().enumerate() {
        let waited = seen[failures + 1].at - seen[failures].at;
        assert!(waited >= Duration::from_millis(pause / 2), "{waited:?} after {} failures", failures + 1);
    }
}

#[tokio::test]
async fn credentials_that_are_not_accepted() {
    let api = FakeApi::start(Kind::Service, vec![Answer::Error(401, "Unauthorized", "Unauthorized"), list()]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    let (error, _) = followed.trouble().await;
    assert_eq!(
        error,
        format!(
            "cannot list services at the API server http://{}/ with no credentials (none are sent without TLS): it \
             answers 401 (Unauthorized); a token may have expired or its ServiceAccount been deleted, a kubeconfig be \
             that of another cluster",
            api.address
        )
    );
    followed.expect(&["put a:80", "listed"]).await;
}

#[tokio::test]
async fn a_forbidden_list_names_what_to_grant() {
    let message = "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:kube-system:portolan\" \
                   cannot list resource \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster scope";
    let api = FakeApi::start(Kind::EndpointSlice, vec![Answer::Error(403, "Forbidden", message)]);
    let mut followed = Followed::start(&api, Kind::EndpointSlice, &timing()).await;
    let (error, _) = followed.trouble().await;
    assert_eq!(
        error,
        format!(
            "cannot list endpointslices at the API server http://{}/: ServiceAccount kube-system/portolan is not \
             allowed to; grant the verb \"list\" on resource \"endpointslices\" in API group \"discovery.k8s.io\" in \
             its ClusterRole (the server says: {message})",
            api.address
        )
    );
    followed.expect(&["listed"]).await;
}

/// The list may be read, the watch not: no new list for that.
#[tokio::test]
async fn a_forbidden_watch_names_what_to_grant() {
    let message = "services is forbidden: User \"jane\" cannot watch resource \"services\" in API group \"\"";
    let changed = Answer::Watch(vec![Step::Send(event("MODIFIED", &service("a", 11, 81)))]);
    let api = FakeApi::start(Kind::Service, vec![list(), Answer::Error(403, "Forbidden", message), changed]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    followed.expect(&["put a:80", "listed"]).await;
    let (error, _) = followed.trouble().await;
    let part = "user \"jane\" is not allowed to; grant the verb \"watch\" on resource \"services\" in API group \"\"";
    assert!(error.contains(part), "{error}");
    followed.expect(&["put a:81"]).await;
    assert_eq!(api.seen(Kind::Service, 3).await[2].get("resourceVersion"), "10");
}

#[tokio::test]
async fn something_that_is_no_api_server() {
    let proxy = Answer::Foreign(502, "text/html", "<h1>Bad gateway</h1>\n<p>Sorry</p>");
    let json = Answer::Foreign(429, "application/json", r#"{"kind":"Status","message":"too many requests"}"#);
    let page = Answer::Foreign(200, "text/html", "<h1>Welcome</h1>");
    let api = FakeApi::start(Kind::Service, vec![proxy, json, page, list()]);
    let mut followed = Followed::start(&api, Kind::Service, &timing()).await;
    assert!(followed.trouble().await.0.ends_with("it answers 502: <h1>Bad gateway</h1>"));
    assert!(followed.trouble().await.0.ends_with("it answers 429: too many requests"));
    let (error, _) = followed.trouble().await;
    assert!(
        error.contains("its answer cannot be read: it is \"text/html\", not application/vnd.kubernetes"),
        "{error}"
    );
    followed.expect(&["put a:80", "listed"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let mut api = FakeApi::start(Kind::Service, vec![list()]);
    api.down();
    let mut followed = Followed::start(&api, Kind::Service, &Timing { calm: Duration::ZERO, ..timing() }).await;
    let (error, _) = followed.trouble().await;
    let start = format!("cannot list services at the API server http://{}/: ", api.address);
    assert!(error.starts_with(&start) && error.contains("Connection refused"), "{error}");
    assert!(error.contains("check that it is up and reachable from this node (--apiserver must not be"), "{error}");
    api.up();
    followed.expect(&["put a:80", "listed", "recovered"]).await;
}

#[tokio::test]
async fn a_server_that_takes_the_connection_and_says_nothing() {
    let api = FakeApi::start(Kind::Service, vec![Answer::Silence, list()]);
    let timing = Timing { answer: Duration::from_millis(300), ..timing() };
    let mut followed = Followed::start(&api, Kind::Service, &timing).await;
    let (error, _) = followed.trouble().await;
    assert!(error.contains("it took the connection and then said nothing for 0.3 s"), "{error}");
    loop {
        // A slow machine may take longer than that for a good answer, too.
        match followed.change().await {
            portolan::source::kube::Change::Trouble { .. } => {}
            change => break assert_eq!(super::line(&change), "put a:80"),
        }
    }
}

/// An API server that does not know ServiceCIDRs is asked again later, and that is no trouble.
#[tokio::test]
async fn an_api_that_is_not_served() {
    let missing = || Answer::Error(404, "NotFound", "the server could not find the requested resource");
    let served = Answer::Page(page(10, "", &[cluster_wide("kubernetes", 1)]));
    let removed = Answer::Error(404, "NotFound", "the server could not find the requested resource");
    let api = FakeApi::start(Kind::ServiceCidr, vec![missing(), missing(), served, removed, missing(), missing()]);
    let mut followed = Followed::start(&api, Kind::ServiceCidr, &timing()).await;
    followed.expect(&["listed", "put kubernetes", "listed"]).await;
    let (error, _) = followed.trouble().await;
    assert!(error.contains("it does not have servicecidrs.networking.k8s.io in v1 (404)"), "{error}");
    followed.expect(&["gone /kubernetes", "listed", "recovered"]).await;
}

/// One warning for a wrong --node; everything else works, and the Node may still come.
#[tokio::test]
async fn a_node_that_does_not_exist() {
    let come = Answer::Watch(vec![Step::Send(event("ADDED", &cluster_wide("node-1", 11)))]);
    let expired = Answer::Error(410, "Expired", "too old");
    let empty = || Answer::Page(page(10, "", &[]));
    let api = FakeApi::start(Kind::Node, vec![empty(), expired, empty(), come]);
    let mut followed = Followed::start(&api, Kind::Node, &timing()).await;
    let warning = "no node: the cluster has no Node \"node-1\": zone, addresses and pod ranges of this node are \
                   unknown, and no endpoint counts as local; --node must be a name that `kubectl get nodes` lists";
    followed.expect(&[warning, "listed", "listed", "put node-1"]).await;
    let seen = api.seen(Kind::Node, 4).await;
    assert!(seen.iter().all(|request| request.get("fieldSelector") == "metadata.name%3Dnode-1"), "{seen:?}");
}
