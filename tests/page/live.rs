//! A node of a lab with connections through a Service, seen on its page.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use portolan::{
    kernel::observe,
    lab::{Lab, LabNode, LabPod, LabSpec, Ports, Probe, Session, in_namespace},
    model::{Frontend, Protocol, ServiceId},
    observed::AgentReport,
};
use serde_json::json;

use crate::{
    browser::{Browser, PATIENCE},
    can_run,
};

const PAGE: &str = "http://127.0.0.1:10245/";
const METRICS: &str = "127.0.0.1:10249";

/// `portolan run`; ended with the value.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spec() -> LabSpec {
    let mut spec = LabSpec::new(&format!("page-{}-", std::process::id()));
    let addresses = vec![[192, 168, 49, 11].into(), "fd00:49::11".parse().unwrap()];
    spec.nodes.push(LabNode { name: "node-1".into(), addresses });
    for (name, last) in [("client", 9), ("web-1", 11), ("web-2", 12), ("web-3", 13)] {
        spec.pods.push(LabPod {
            namespace: "shop".into(),
            name: name.into(),
            node: "node-1".into(),
            addresses: vec![[10, 244, 1, last].into(), format!("fd00:10:244:1::{last}").parse().unwrap()],
            host_network: false,
            ports: Ports { tcp: [8080].into(), udp: [8080].into() },
        });
    }
    spec
}

/// `shop/web` with three endpoints, each ready or not; `shop/cart`, whose only one never is; and `shop/db`.
fn manifests(ready: [bool; 3]) -> String {
    let service = |name: &str, last: u8, kind: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
             type: {kind}\n  clusterIP: 10.96.0.{last}\n  ports: [{{name: http, port: 80, targetPort: 8080}}]\n"
        )
    };
    let slice = |name: &str, endpoints: String| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-1\n  \
             namespace: shop\n  labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\n\
             ports: [{{name: http, protocol: TCP, port: 8080}}]\nendpoints:\n{endpoints}"
        )
    };
    let endpoint = |pod: &str, last: u8, ready: bool| {
        format!(
            "- {{addresses: [10.244.1.{last}], nodeName: node-1, conditions: {{ready: {ready}}}, \
             targetRef: {{kind: Pod, namespace: shop, name: {pod}}}}}\n"
        )
    };
    let web: String = ready.iter().zip(1u8..).map(|(ready, n)| endpoint(&format!("web-{n}"), 10 + n, *ready)).collect();
    let node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: node-1}\nspec: {podCIDRs: [10.244.1.0/24]}\n\
                status: {addresses: [{type: InternalIP, address: 192.168.49.11}]}\n";
    [
        service("web", 10, "NodePort").replace("port: 80,", "port: 80, nodePort: 30080,"),
        slice("web", web),
        service("cart", 11, "ClusterIP"),
        slice("cart", endpoint("cart-0", 99, false)),
        service("db", 12, "ClusterIP"),
        slice("db", endpoint("db-0", 11, true) + &endpoint("db-1", 13, true)),
        node.to_owned(),
    ]
    .concat()
}

/// Asks the agent, in its node, until what it says is so.
fn told(lab: &Lab, what: &str, is_so: impl Fn(&AgentReport) -> bool + Sync) -> AgentReport {
    let web = ServiceId::new("shop", "web");
    let start = Instant::now();
    loop {
        let seen = lab.on_node("node-1", || observe::agent(METRICS.parse().unwrap(), Some(&web))).unwrap();
        match seen {
            Ok(report) if is_so(&report) => return report,
            other => assert!(start.elapsed() < PATIENCE, "{what}: {other:?}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_page_follows_connections_and_changes() {
    if !can_run("the_page_follows_connections_and_changes") {
        return;
    }
    let lab = Lab::up(spec()).unwrap().guarded();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    fs::write(&file, manifests([true, true, true])).unwrap();
    let node = lab.node("node-1").unwrap();
    let agent = in_namespace(&node, || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args([
            "run",
            "--node",
            "node-1",
            "--page-address",
            "127.0.0.1:10245",
            "--metrics-bind-address",
            METRICS,
        ]);
        command.arg("-f").arg(&file).arg("--state-dir").arg(folder.path().join("state"));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        Agent(command.stderr(log).spawn().unwrap())
    })
    .unwrap();
    let report = told(&lab, "shop/web is programmed", |report| report.programmed.is_some());
    assert_eq!((report.node.as_str(), &report.refused, report.source_stale), ("node-1", &None, None));
    assert!(report.changed.iter().any(|line| line.starts_with("added endpoint 10.244.1.11:8080")), "{report:?}");

    let frontend = Frontend { address: [10, 96, 0, 10].into(), protocol: Protocol::Tcp, port: 80 };
    let client = lab.pod("shop", "client").unwrap();
    let open = |_| Session::open(&Probe::new(frontend), &client).unwrap().expect("shop/web answers");
    let sessions: Vec<Session> = (0..30).map(open).collect();

    let mut browser = in_namespace(&node, Browser::open).unwrap();
    browser.go(PAGE);
    browser.until("the Service", "document.querySelector('[data-service=\"shop/web\"]')");
    let web = "document.querySelector('[data-service=\"shop/web\"]').textContent";
    for frontend in ["10.96.0.10:80/TCP", "192.168.49.11:30080/TCP"] {
        browser.until(frontend, &format!("{web}.includes('{frontend}')"));
    }
    browser.until("all connections", &format!("{web}.includes('30 tracked')"));
    let shares = browser.eval(
        "[...document.querySelectorAll('[data-service=\"shop/web\"] [data-endpoint]')].map(e => \
         [e.dataset.endpoint, e.dataset.state, +/(\\d+) tracked/.exec(e.textContent)[1]])",
    );
    let shares = shares.as_array().unwrap();
    assert_eq!(shares.len(), 3, "{shares:?}");
    assert_eq!(shares.iter().map(|share| share[2].as_u64().unwrap()).sum::<u64>(), 30, "{shares:?}");
    assert!(shares.iter().all(|share| share[1] == "ready"), "{shares:?}");
    browser.until("the dead end", "document.getElementById('dead-ends').textContent.includes('shop/cart at 10.96.0.11:80/TCP: refused: no endpoint: 1 not ready')");

    let told_rate = format!("!{web}.includes('0 new/s')");
    let start = Instant::now();
    while browser.eval(&told_rate) != json!(true) {
        Probe::new(frontend).spread(&client, 40).unwrap();
        assert!(start.elapsed() < PATIENCE, "new connections are not seen");
    }
    let moving = "document.querySelector('[data-service=\"shop/web\"] .moving:not(.still)')";
    browser.until("new connections move", moving);

    // It works without a mouse.
    browser.eval("document.querySelector('[data-service=\"shop/web\"]').focus()");
    browser.press("Enter");
    browser
        .until("the tables of the Service", "document.querySelector('#tables table + table tbody').rows.length === 3");

    browser.eval("window.sameDocument = true");
    let new = folder.path().join("new");
    fs::write(&new, manifests([true, false, true])).unwrap();
    fs::rename(new, &file).unwrap();
    let report = told(&lab, "the change", |report| report.changed.iter().any(|line| line.starts_with("removed")));
    assert!(
        report.changed.iter().any(|line| line.contains("10.244.1.12:8080") && line.ends_with(": not ready")),
        "{report:?}"
    );
    browser.until(
        "the last change",
        "document.getElementById('changes').firstChild.textContent.includes('removed endpoint 10.244.1.12:8080')",
    );
    let endpoint = "document.querySelector('[data-service=\"shop/web\"] [data-endpoint=\"10.244.1.12:8080\"]')";
    browser.until("its state", &format!("{endpoint}.dataset.state === 'not-ready'"));
    browser.until("its connections, which are left", &format!("/not ready .* tracked/.test({endpoint}.textContent)"));
    assert_eq!(browser.eval("window.sameDocument"), json!(true), "it was not loaded again");
    let focused = browser.eval("document.activeElement.dataset.service");
    assert_eq!(focused, json!("shop/web"), "a change does not take the focus away");

    if let Some(path) = std::env::var_os("PORTOLAN_SCREENSHOT") {
        Probe::new(frontend).spread(&client, 300).unwrap();
        browser.until("new connections again", &told_rate);
        browser.screenshot(&PathBuf::from(path));
    }

    // Somebody else's hand in our tables is told with its name.
    let nft = in_namespace(&node, || Command::new("nft").args(["delete", "table", "ip", "portolan"]).status()).unwrap();
    assert!(nft.unwrap().success());
    browser.until(
        "who did it",
        "/our tables ⚠ by nft \\(PID \\d+\\)/.test(document.getElementById('changes').textContent)",
    );

    // A source that cannot be read is silent since its first failure, until it is mended.
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, "kind: Service\nmetadata: {name: we").unwrap();
    let stale = told(&lab, "the file cannot be read", |report| report.source_stale.is_some());
    assert!(stale.source_error.as_ref().is_some_and(|error| error.contains("shop.yaml")), "{stale:?}");
    browser.until("the page says so", "document.getElementById('trouble').textContent.includes('shop.yaml')");
    browser.until("the Service stays", &format!("{web}.includes('10.96.0.10:80/TCP')"));
    fs::write(&file, good).unwrap();
    told(&lab, "the file is mended", |report| report.source_stale.is_none());
    browser.until("all is well", "document.getElementById('trouble').hidden");

    assert_eq!(browser.complaints, Vec::<String>::new());

    drop(sessions);
    drop(agent);
    browser.until(
        "the page says that nobody answers",
        "document.getElementById('trouble').textContent.includes('does not answer')",
    );
    let gone = lab.on_node("node-1", || observe::agent(METRICS.parse().unwrap(), None)).unwrap();
    assert_eq!(gone.unwrap_err(), format!("no agent answers at {METRICS}: nobody listens there"));
}
