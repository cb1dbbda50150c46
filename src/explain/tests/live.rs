//! What was seen on the node.

use std::collections::BTreeMap;

use super::{BASE, Cause, Verdict, ask_live, assert_told};
use crate::{
    explain::{Mark, Outcome, Stage},
    model::{Family, Frontend, Protocol, Target},
    observed::{
        AgentReport, Connection, Connections, ListName, Observed, ProgramState, Programmed, RememberedClient, Route,
        Surroundings,
    },
    tables::Difference,
};

const FRONTEND: Frontend = Frontend {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1)),
    protocol: Protocol::Tcp,
    port: 80,
};

fn target(text: &str) -> Target {
    let address: std::net::SocketAddr = text.parse().unwrap();
    Target { address: address.ip(), port: address.port() }
}

/// A node where all is well.
fn healthy() -> Observed {
    let programs = Family::ALL.into_iter().map(|family| (family, ProgramState::Intact)).collect();
    Observed {
        programmed: Ok(Programmed { programs, ..Programmed::default() }),
        connections: Ok(Connections { count: 10, max: 1000, ..Connections::default() }),
        surroundings: Ok(Surroundings {
            forwarding: Family::ALL.into_iter().map(|family| (family, true)).collect(),
            ..Surroundings::default()
        }),
        agent: Ok(AgentReport { node: "node-1".to_owned(), ..AgentReport::default() }),
    }
}

fn programmed(change: impl FnOnce(&mut Programmed)) -> Observed {
    let mut observed = healthy();
    change(observed.programmed.as_mut().unwrap());
    observed
}

fn surroundings(change: impl FnOnce(&mut Surroundings)) -> Observed {
    let mut observed = healthy();
    change(observed.surroundings.as_mut().unwrap());
    observed
}

fn difference(what: &str, missing: bool) -> Difference {
    Difference { what: what.to_owned(), missing, frontends: [FRONTEND].into() }
}

fn differing(all: &[(&str, bool)]) -> Observed {
    programmed(|programmed| {
        programmed.differences = all.iter().map(|(what, missing)| difference(what, *missing)).collect()
    })
}

fn dead(observed: Observed) -> Observed {
    Observed { agent: Err("nobody listens there".to_owned()), ..observed }
}

#[test]
fn a_healthy_node_claims_nothing() {
    let told = ask_live(BASE, &healthy());
    assert_told("healthy", &told, Verdict::Works, None, &[]);
    for stage in [Stage::Kernel, Stage::Agent, Stage::Connection, Stage::Node, Stage::Foreign] {
        assert!(told.steps.iter().any(|step| step.stage == stage), "{stage:?}");
    }
}

#[test]
fn what_cannot_be_seen_is_said_and_claims_nothing() {
    let no = || "no permission".to_owned();
    let blind =
        Observed { programmed: Err(no()), connections: Err(no()), surroundings: Err(no()), agent: healthy().agent };
    let told = ask_live(BASE, &blind);
    assert_told("blind", &told, Verdict::Works, None, &[]);
    assert_eq!(told.steps.iter().filter(|step| step.mark == Mark::Unknown).count(), 3);
}

#[test]
fn the_program() {
    let with = |state: ProgramState| programmed(|programmed| programmed.programs.extend([(Family::V4, state)]));
    let damaged = |chain: &str| with(ProgramState::Damaged(vec![chain.to_owned()]));
    let fails = |cause| (Verdict::Fails, Some(cause));
    let but = |cause| (Verdict::WorksBut, Some(cause));
    let cases = [
        ("missing", with(ProgramState::Missing), fails(Cause::NotProgrammed), "ip portolan"),
        ("missing, and nobody there", dead(with(ProgramState::Missing)), fails(Cause::NotProgrammed), "ip portolan"),
        ("old", with(ProgramState::Other), but(Cause::KernelDiffers), "version"),
        ("on the way", damaged("ip chain internal"), fails(Cause::ProgramEdited), "ip chain internal"),
        ("not on the way", damaged("ip chain external-local"), but(Cause::ProgramEdited), "external-local"),
        ("nobody there", dead(healthy()), but(Cause::AgentDead), "portolan run"),
    ];
    for (about, observed, (verdict, cause), word) in cases {
        assert_told(about, &ask_live(BASE, &observed), verdict, cause, &[word]);
    }
}

#[test]
fn rows_that_somebody_took_away() {
    let by_hand = [
        ("frontend", vec![("frontend with policy Cluster", true)]),
        ("choice", vec![("choice among 2 endpoints", true)]),
        ("all endpoints", vec![("endpoint 10.244.1.11:8080", true), ("endpoint 10.244.2.11:8080", true)]),
        (
            "endpoints bent",
            vec![
                ("endpoint 10.244.1.11:8080", true),
                ("endpoint 10.244.1.11:8099", false),
                ("endpoint 10.244.2.11:8080", true),
            ],
        ),
    ];
    for (about, all) in by_hand {
        let told = ask_live(BASE, &dead(differing(&all)));
        assert_told(about, &told, Verdict::Fails, Some(Cause::KernelDiffers), &["10.96.0.1:80/TCP"]);
        assert_eq!(told.prediction.outcome, Outcome::Refused, "{about}");
    }
    let one = ask_live(BASE, &differing(&[("endpoint 10.244.1.11:8080", true)]));
    assert_told("one endpoint", &one, Verdict::WorksBut, Some(Cause::KernelDiffers), &["10.244.1.11:8080"]);
}

#[test]
fn rows_of_the_past() {
    let replaced =
        [("endpoint 10.244.9.9:8080", false), ("endpoint 10.244.1.11:8080", true), ("endpoint 10.244.2.11:8080", true)];
    let told = ask_live(BASE, &dead(differing(&replaced)));
    assert_told("agent", &told, Verdict::WorksBut, Some(Cause::AgentDead), &["10.244.9.9:8080"]);
    assert_eq!(told.prediction.endpoints, [target("10.244.9.9:8080")].into());
    let first = [("refusal (no endpoints)", false), ("frontend with policy Cluster", true)];
    let told = ask_live(BASE, &dead(differing(&first)));
    assert_told("agent", &told, Verdict::Fails, Some(Cause::AgentDead), &["10.96.0.1:80/TCP"]);
    assert_eq!(told.prediction.outcome, Outcome::Refused);
    let mut stale = differing(&replaced);
    stale.agent.as_mut().unwrap().source_stale = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let told = ask_live(BASE, &stale);
    assert_told("source", &told, Verdict::WorksBut, Some(Cause::SourceStale), &["2026-01-01T00:00:00Z"]);
    let mut refused = differing(&first);
    refused.agent.as_mut().unwrap().refused = Some("no buffer space".to_owned());
    let told = ask_live(BASE, &refused);
    assert_told("refused", &told, Verdict::Fails, Some(Cause::KernelRefused), &["no buffer space"]);
}

#[test]
fn tracked_connections() {
    let full =
        Observed { connections: Ok(Connections { count: 999, max: 1000, ..Connections::default() }), ..healthy() };
    let told = ask_live(BASE, &full);
    assert_told("full", &told, Verdict::Fails, Some(Cause::ConnectionTableFull), &["nf_conntrack_max"]);

    let udp = BASE
        .replace("port: 80, targetPort: http", "port: 80, protocol: UDP, targetPort: 8080")
        .replace(", ports: [{name: http, containerPort: 8080}]", "");
    let flow = |client: &str, endpoint: &str| Connection {
        frontend: Frontend { protocol: Protocol::Udp, ..FRONTEND },
        client: target(client),
        endpoint: target(endpoint),
        answers_to: target(client),
        answered: false,
    };
    let with =
        |entry| Observed { connections: Ok(Connections { entries: vec![entry], count: 1, max: 1000 }), ..healthy() };
    let told = ask_live(&udp, &with(flow("10.244.1.20:5000", "10.244.1.99:8080")));
    assert_told("stale", &told, Verdict::WorksBut, Some(Cause::StaleConnection), &["10.244.1.99:8080"]);
    for (client, endpoint) in [("10.244.1.20:5000", "10.244.1.11:8080"), ("10.244.1.21:5000", "10.244.1.99:8080")] {
        assert_told(client, &ask_live(&udp, &with(flow(client, endpoint))), Verdict::Works, None, &[]);
    }
}

#[test]
fn a_client_that_is_remembered_goes_where_it_went() {
    let client = RememberedClient {
        list: ListName::All,
        protocol: Protocol::Tcp,
        port_name: "http".to_owned(),
        client: [10, 244, 1, 20].into(),
        target: target("10.244.2.11:8080"),
        expires: 77,
    };
    let told = ask_live(BASE, &programmed(|programmed| programmed.remembered = vec![client]));
    assert_told("remembered", &told, Verdict::Works, None, &[]);
    assert_eq!(told.prediction.endpoints, [target("10.244.2.11:8080")].into());
    assert!(told.steps.iter().any(|step| step.stage == Stage::Affinity && step.text.contains("77 s")));
}

#[test]
fn a_client_that_is_pinned_to_what_is_not_used_any_more() {
    let sticky = BASE.replace("selector: {app: web}", "selector: {app: web}\n  sessionAffinity: ClientIP");
    assert_ne!(sticky, BASE);
    let pinned = |client: [u8; 4], to: &str| {
        let (protocol, port_name) = (Protocol::Tcp, "http".to_owned());
        let (client, target) = (client.into(), target(to));
        let known = RememberedClient { list: ListName::All, protocol, port_name, client, target, expires: 77 };
        programmed(|programmed| programmed.remembered = vec![known])
    };
    let (own, other) = ([10, 244, 1, 20], [10, 244, 1, 21]);
    let told = ask_live(&sticky, &pinned(own, "10.244.1.99:8080"));
    let words = ["10.244.1.99:8080", "affinity-shop/web/tcp/http-address '{ 10.244.1.20 }'"];
    assert_told("gone", &told, Verdict::Fails, Some(Cause::StaleAffinity), &words);
    assert_eq!(told.prediction.outcome, Outcome::Dropped);
    assert_told("used", &ask_live(&sticky, &pinned(own, "10.244.2.11:8080")), Verdict::Works, None, &[]);
    assert_told("another's", &ask_live(&sticky, &pinned(other, "10.244.1.99:8080")), Verdict::Works, None, &[]);
    let mut local = pinned(own, "10.244.1.99:8080");
    local.programmed.as_mut().unwrap().remembered[0].list = ListName::Local;
    assert_told("of the other list", &ask_live(&sticky, &local), Verdict::Works, None, &[]);

    let unready = "conditions: [{type: Ready, status: \"False\"}]";
    let not_ready = sticky.replacen("conditions: [{type: Ready, status: \"True\"}]", unready, 1);
    assert_ne!(not_ready, sticky);
    let told = ask_live(&not_ready, &pinned(own, "10.244.1.11:8080"));
    assert_eq!((told.verdict, told.prediction.endpoints), (Verdict::WorksBut, [target("10.244.1.11:8080")].into()));
    assert!(told.sentence.contains("is not ready"), "{}", told.sentence);
}

#[test]
fn the_node() {
    let off = surroundings(|s| s.forwarding.extend([(Family::V4, false)]));
    assert_told("off", &ask_live(BASE, &off), Verdict::Fails, Some(Cause::ForwardingOff), &["net.ipv4.ip_forward"]);
    let other = surroundings(|s| s.forwarding.extend([(Family::V6, false)]));
    assert_told("off for IPv6", &ask_live(BASE, &other), Verdict::Works, None, &[]);
    let routes = |all: &[&str]| {
        let lost = all.iter().map(|address| (address.parse().unwrap(), Route::None("blackhole".to_owned())));
        let lost: BTreeMap<_, _> = lost.collect();
        surroundings(|s| s.routes = lost)
    };
    let told = ask_live(BASE, &routes(&["10.244.1.11", "10.244.2.11"]));
    assert_told("no route", &told, Verdict::Fails, Some(Cause::NoRoute), &["10.244.1.11 (blackhole)"]);
    let told = ask_live(BASE, &routes(&["10.244.2.11"]));
    assert_told("one without", &told, Verdict::WorksBut, Some(Cause::NoRoute), &["10.244.2.11"]);
    let proxy = surroundings(|s| s.kube_proxy = Some("table ip kube-proxy".to_owned()));
    let told = ask_live(BASE, &dead(proxy));
    assert_told("kube-proxy", &told, Verdict::WorksBut, Some(Cause::KubeProxy), &["table ip kube-proxy"]);
}
