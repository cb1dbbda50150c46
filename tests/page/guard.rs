//! Who is answered, and with which headers.

use portolan::{
    health::{Health, NodeState},
    http::{PageFeed, Server, page_routes},
    status::Status,
};
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, get, in_namespace, request, until};

const ADDRESS: &str = "127.0.0.1:10245";

#[test]
fn only_who_asks_this_host_by_its_own_name_is_answered() {
    in_namespace(&[], || async {
        let (health, status) = (Health::new(PATIENCE, NodeState::Eligible), Status::new("node-1"));
        let (feed, asks) = PageFeed::new(health, status);
        // Nobody answers for the loop: the page must live with that.
        drop(asks);
        let address = ADDRESS.parse().unwrap();
        let server =
            Server { name: "page", flag: "--page-address", address, hard_fail: true, routes: page_routes(feed) };
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        let ask = async |line: &str, host: &str| {
            request(address, format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap()
        };
        // `Host: test` of the helper is a stranger's name.
        until(address, "/", |answer| answer.code == 421).await;
        assert!(get(address, "/api/state/0").await.body.contains("loopback"));
        for host in ["attacker.example", "attacker.example:10245", "192.0.2.7", "127.0.0.1.attacker.example", ""] {
            assert_eq!(ask("GET /api/state/0", host).await.code, 421, "{host:?}");
        }
        for host in ["localhost", "localhost:8080", "127.0.0.1:10245", "[::1]:10245"] {
            assert_eq!(ask("GET /api/state/0", host).await.code, 200, "{host:?}");
        }
        assert_eq!(ask("GET http://attacker.example/", "localhost").await.code, 421, "the line counts");
        assert_eq!(ask("POST /api/state/0", "localhost").await.code, 405);
        assert_eq!(ask("GET /nothing", "localhost").await.code, 404);
        for path in ["/", "/page.js", "/page.css", "/api/state/0", "/nothing"] {
            let answer = ask(&format!("GET {path}"), "localhost").await;
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert!(answer.header("access-control-allow-origin").is_none(), "{path}");
        }
        let state = ask("GET /api/state/0/shop%2Fweb", "localhost").await.json();
        assert_eq!((&state["busy"], &state["agent"]["node"]), (&true.into(), &"node-1".into()));
        let again = ask("GET /api/state/0/shop%2Fweb", "localhost").await.json();
        assert_eq!(again["busy"], true, "the same once more");
        let long = ask(&format!("GET /api/state/0/{}", "x".repeat(1000)), "localhost").await;
        assert_eq!(long.code, 400);
        stop.cancel();
        running.await.unwrap().unwrap();
    });
}
