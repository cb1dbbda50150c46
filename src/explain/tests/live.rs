//! What was seen on the node.

use std::collections::BTreeMap;

use super::{BASE, Cause, Verdict, ask_live, assert_told};
use crate::{
    explain::{Mark, Outcome, Stage},
    foreign,
    model::{Family, Frontend, Protocol, Target},
    observed::{
        AgentReport, Connection, Connections, ListName, Observed, ProgramState, Programmed, RememberedClient, Route,
        Silence, Surroundings,
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

fn remembered() -> RememberedClient {
    RememberedClient {
        list: ListName::All,
        protocol: Protocol::Tcp,
        port_name: "http".to_owned(),
        client: [10, 244, 1, 20].into(),
        target: target("10.244.2.11:8080"),
        expires: 77,
    }
}

fn dead(observed: Observed) -> Observed {
    silent(observed, false, true)
}

fn silent(observed: Observed, mute: bool, gone: bool) -> Observed {
    Observed { agent: Err(Silence { why: "nobody listens there".to_owned(), mute, gone }), ..observed }
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
    assert!(told.sentence.contains("not known is whether the node passes the packet on"), "{}", told.sentence);
}

#[test]
fn tables_that_were_not_read_are_not_said_to_be_harmless() {
    let unread = surroundings(|s| s.unread_tables = vec!["reading table ip filter: nft took too long".to_owned()]);
    let told = ask_live(BASE, &unread);
    assert_told("unread", &told, Verdict::Works, None, &["not known is whether a rule of another table stops"]);
    let foreign: Vec<_> = told.steps.iter().filter(|step| step.stage == Stage::Foreign).collect();
    assert_eq!(foreign.iter().map(|step| step.mark).collect::<Vec<_>>(), [Mark::Unknown]);
    assert!(foreign[0].text.contains("table ip filter"));
    let told = ask_live(BASE, &surroundings(|s| s.unread = vec!["asking for the route to 10.0.0.1: no".to_owned()]));
    assert!(told.steps.iter().any(|step| step.stage == Stage::Foreign && step.mark == Mark::Good));
    assert!(!told.sentence.contains("not known"), "{}", told.sentence);
}

/// A table of others with so many rules that may drop a packet, depending on the client's port.
fn doubtful_rules(count: u16) -> foreign::Ruleset {
    let head = r#""family":"ip","table":"t","chain":"f""#;
    let rules = (1..=count).map(|port| {
        let left = r#"{"payload":{"protocol":"tcp","field":"sport"}}"#;
        let expressions = format!(r#"{{"match":{{"op":"==","left":{left},"right":{port}}}}},{{"drop":null}}"#);
        format!(r#",{{"rule":{{{head},"handle":{port},"expr":[{expressions}]}}}}"#)
    });
    let chain = r#""family":"ip","table":"t","name":"f","hook":"forward","type":"filter","prio":0,"policy":"accept""#;
    let rules: String = rules.collect();
    let mut ruleset = foreign::Ruleset::default();
    let table = r#"{"table":{"family":"ip","name":"t"}}"#;
    ruleset.add(&format!(r#"{{"nftables":[{table},{{"chain":{{{chain}}}}}{rules}]}}"#), "").unwrap();
    ruleset
}

#[test]
fn of_many_rules_that_may_matter_a_few_are_named() {
    let told = ask_live(BASE, &surroundings(|s| s.foreign = doubtful_rules(3000)));
    assert_told("many", &told, Verdict::Works, None, &[]);
    let said: Vec<_> = told.steps.iter().filter(|step| step.stage == Stage::Foreign).collect();
    assert_eq!(said.len(), 11);
    assert!(said.iter().all(|step| step.mark == Mark::Unknown));
    assert_eq!(said[10].text, "and 2990 more rules may");
}

#[test]
fn an_agent_that_is_not_heard_is_blamed_only_if_something_else_says_that_it_is_gone() {
    let cases = [
        (false, true, Verdict::WorksBut, Some(Cause::AgentDead), Mark::Warning, "does not run on node-1"),
        (true, true, Verdict::WorksBut, Some(Cause::AgentDead), Mark::Warning, "does not run on node-1"),
        (true, false, Verdict::Works, None, Mark::Unknown, "serves no metrics"),
        (false, false, Verdict::Works, None, Mark::Note, "--metrics-bind-address"),
    ];
    for (mute, gone, verdict, cause, mark, words) in cases {
        let told = ask_live(BASE, &silent(healthy(), mute, gone));
        assert_told(words, &told, verdict, cause, &[]);
        let said: Vec<_> = told.steps.iter().filter(|step| step.stage == Stage::Agent).collect();
        assert_eq!(said.iter().map(|step| step.mark).collect::<Vec<_>>(), [mark], "{said:?}");
        assert!(said[0].text.contains(words), "{said:?}");
    }
    let left = [("endpoint 10.244.9.9:8080", false)];
    let told = ask_live(BASE, &silent(differing(&left), true, false));
    assert_told(
        "behind",
        &told,
        Verdict::WorksBut,
        Some(Cause::AgentDead),
        &["is behind on node-1, if it runs at all"],
    );
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
        ("asleep", with(ProgramState::Dormant), fails(Cause::ProgramEdited), "dormant"),
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
fn rows_of_session_affinity() {
    let sticky = BASE.replacen("  type: ClusterIP", "  sessionAffinity: ClientIP\n  type: ClusterIP", 1);
    let told = ask_live(&sticky, &differing(&[("affinity look-up", true)]));
    assert_told("look-up", &told, Verdict::Fails, Some(Cause::KernelDiffers), &["affinity look-up"]);
    assert_eq!(told.prediction.outcome, Outcome::Refused);
    let mut first = differing(&[("choice among 2 endpoints", true)]);
    assert_eq!(ask_live(&sticky, &first).prediction.outcome, Outcome::Refused);
    first.programmed.as_mut().unwrap().remembered = vec![remembered()];
    let told = ask_live(&sticky, &first);
    assert_eq!(told.prediction.endpoints, [target("10.244.2.11:8080")].into(), "{told:#?}");
}

#[test]
fn a_dead_end_beside_the_frontend_is_the_work_of_a_hand() {
    let told = ask_live(BASE, &dead(differing(&[("refusal (no endpoints)", false)])));
    assert_eq!(told.cause, Some(Cause::KernelDiffers), "{}", told.sentence);
    assert_eq!(told.prediction.outcome, Outcome::Answered);
}

#[test]
fn without_a_table_nothing_is_refused() {
    let missing = programmed(|programmed| programmed.programs.extend([(Family::V4, ProgramState::Missing)]));
    let told = ask_live(&BASE.replace("selector: {app: web}", "selector: {app: none}"), &missing);
    let then = ["ip portolan", "and then still not, because", "are refused"];
    assert_told("no endpoints, too", &told, Verdict::Fails, Some(Cause::NotProgrammed), &then);
    assert_eq!(told.prediction.outcome, Outcome::Passed);
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
        |count| Observed { connections: Ok(Connections { count, max: 1000, ..Connections::default() }), ..healthy() };
    assert_told("room", &ask_live(BASE, &full(989)), Verdict::Works, None, &[]);
    let told = ask_live(BASE, &full(999));
    assert_told("nearly full", &told, Verdict::WorksBut, Some(Cause::ConnectionTableFull), &["nearly full, 999"]);
    let told = ask_live(BASE, &full(1000));
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
    let told = ask_live(BASE, &programmed(|programmed| programmed.remembered = vec![remembered()]));
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
    assert_eq!(told.prediction.outcome, Outcome::Dropped);
    let nowhere = |s: &mut Surroundings| {
        let lost = ["10.244.1.11", "10.244.2.11"].map(|address| address.parse().unwrap());
        s.routes = lost.into_iter().map(|address| (address, Route::None("no route".to_owned()))).collect();
    };
    let told = ask_live(BASE, &surroundings(nowhere));
    assert_eq!((told.cause, told.prediction.outcome), (Some(Cause::NoRoute), Outcome::Refused));
    let told = ask_live(BASE, &routes(&["10.244.2.11"]));
    assert_told("one without", &told, Verdict::WorksBut, Some(Cause::NoRoute), &["10.244.2.11"]);
}

#[test]
fn the_interface_that_the_client_comes_by_has_a_switch_of_its_own() {
    let by = |all: bool, own: bool| {
        surroundings(|s| {
            let interface = "vc".to_owned();
            s.forwarding.extend([(Family::V4, all)]);
            s.passes_on.extend([(interface.clone(), own)]);
            s.routes.extend([([10, 244, 1, 20].into(), Route::Out { interface, gateway: None })]);
        })
    };
    let told = ask_live(BASE, &by(true, false));
    let setting = "net.ipv4.conf.vc.forwarding";
    assert_told("its own is off", &told, Verdict::Fails, Some(Cause::ForwardingOff), &[setting]);
    assert_eq!(told.prediction.outcome, Outcome::Dropped);
    assert_told("its own is on", &ask_live(BASE, &by(false, true)), Verdict::Works, None, &[]);
}

#[test]
fn another_proxy() {
    let but = |about, observed: Observed, word: &str| {
        let told = ask_live(BASE, &dead(observed));
        assert_told(about, &told, Verdict::WorksBut, Some(Cause::KubeProxy), &[word]);
        told.sentence
    };
    let alive = but("alive", surroundings(|s| s.kube_proxy = Some("process 7".to_owned())), "process 7");
    assert!(alive.contains("stop it"), "{alive}");
    let rules = |family: Family| {
        surroundings(|s| s.kube_proxy_rules.extend([(family, format!("table {} kube-proxy", family.nft()))]))
    };
    let gone = but("left", rules(Family::V4), "table ip kube-proxy");
    assert!(!gone.contains("stop it"), "{gone}");
    assert_told("of IPv6", &ask_live(BASE, &rules(Family::V6)), Verdict::Works, None, &[]);
}

#[test]
fn an_old_iptables_may_do_anything() {
    let old = |family| surroundings(|s| s.old_tables.extend([(family, vec!["filter".to_owned()])]));
    let told = ask_live(BASE, &old(Family::V4));
    assert_told("old", &told, Verdict::Works, None, &["not known is whether a rule of iptables-legacy", "filter"]);
    let good = |told: &crate::explain::Explanation| {
        told.steps.iter().any(|step| step.stage == Stage::Foreign && step.mark == Mark::Good)
    };
    assert!(!good(&told) && good(&ask_live(BASE, &old(Family::V6))));
}
