//! Names while the API server does not answer: not yet, not any more, and after a restart.

use std::{thread, time::Duration};

use domain::base::{
    Rtype,
    iana::{ExtendedErrorCode, Rcode},
};
use portolan::model::Family;
use serde_json::json;

use crate::{
    chart::WITH_NAMES,
    dns::{Central, TTL, WORLD, ask, ask_with, resolves, reverse, world},
    support::{Cluster, becomes, cluster_ip},
};

const PODS: [(&str, u8); 2] = [("web-1", 1), ("guest", 1)];
const DNS: [(&str, u8); 1] = [("dns-1", 2)];
const WEB: &str = "web.shop.svc.cluster.local";
/// The TTL of what may have changed since.
const STALE_TTL: u32 = 5;

#[test]
#[ignore = "needs a real API server: make e2e"]
fn before_the_lists_are_there_nothing_is_denied() {
    let test = "before_the_lists_are_there_nothing_is_denied";
    let Some(mut cluster) = Cluster::start_beside(test, &PODS, &DNS) else { return };
    let world = world(&cluster);
    let web = cluster.expose("web", json!({}), &["web-1"]);
    let mut central = Central::new(&cluster, WITH_NAMES, "dns-1");
    cluster.api.stop();
    central.start();
    let (guest, address) = (cluster.pod("guest"), cluster_ip(&web, Family::V4));

    central.says_what_is_missing(&["Service", "EndpointSlice", "Namespace"]);
    for (name, rtype) in [(WEB, Rtype::A), ("gone.shop.svc.cluster.local", Rtype::A), (&reverse(address), Rtype::PTR)] {
        resolves(&guest, central.at(), (name, rtype), Rcode::SERVFAIL, &[]);
        let answer = ask(&guest, central.at(), name, rtype).unwrap();
        assert_eq!((answer.code, answer.ede), (Rcode::SERVFAIL, Some(ExtendedErrorCode::NOT_READY)), "{name}");
        assert_eq!(ask_with(&guest, central.at(), name, rtype, false).unwrap().code, Rcode::SERVFAIL, "{name}");
    }
    let (name, [a, b, c, d]) = WORLD;
    resolves(&guest, central.at(), (name, Rtype::A), Rcode::NOERROR, &[&format!("A {a}.{b}.{c}.{d}")]);

    cluster.api.resume();
    central.becomes_ready();
    resolves(&guest, central.at(), (WEB, Rtype::A), Rcode::NOERROR, &[&format!("A {address}")]);
    resolves(&guest, central.at(), ("gone.shop.svc.cluster.local", Rtype::A), Rcode::NXDOMAIN, &[]);
    let leaked: Vec<String> = world.asked().into_iter().filter(|name| name.contains("cluster.local")).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
}

#[test]
#[ignore = "needs a real API server: make e2e"]
fn names_outlive_the_api_server_and_a_restart_without_it() {
    let test = "names_outlive_the_api_server_and_a_restart_without_it";
    let Some(mut cluster) = Cluster::start_beside(test, &PODS, &DNS) else { return };
    let _world = world(&cluster);
    let web = cluster.expose("web", json!({}), &["web-1"]);
    let old = cluster.expose("old", json!({}), &["web-1"]);
    let mut central = Central::started(&cluster, WITH_NAMES, "dns-1");
    let (guest, at) = (cluster.pod("guest"), central.at());
    let fresh = [format!("A {}", cluster_ip(&web, Family::V4))];
    let answer = resolves(&guest, at, (WEB, Rtype::A), Rcode::NOERROR, &[&fresh[0]]);
    assert_eq!((answer.ttl, answer.ede), (Some(TTL), None));
    // It is looked after every half minute, so that a crash leaves something too.
    becomes("the snapshot is on disk", || if central.has_snapshot() { Ok(()) } else { Err("no file".to_owned()) });

    cluster.api.crash();
    for _ in 0..50 {
        let answer = ask(&guest, at, WEB, Rtype::A).unwrap();
        assert_eq!(
            (answer.code, answer.ttl, answer.ede, &answer.data[..]),
            (Rcode::NOERROR, Some(TTL), None, &fresh[..])
        );
        thread::sleep(Duration::from_millis(100));
    }
    // What was complete once does not stop being so (2.7).
    assert_eq!(central.probe("readinessProbe").unwrap().0, 200);

    central.kill();
    central.start();
    let is_stale = |name: &str, rtype, code, data: &[&str], ede| {
        let answer = resolves(&guest, at, (name, rtype), code, data);
        assert_eq!(answer.ede, Some(ede), "{name}: {answer}");
        assert!(answer.ttl.is_none_or(|ttl| ttl == STALE_TTL), "{name}: {answer}");
        let plain = ask_with(&guest, at, name, rtype, false).unwrap();
        assert_eq!((plain.code, plain.ede, plain.ttl, plain.data), (answer.code, None, answer.ttl, answer.data));
    };
    let backwards = reverse(cluster_ip(&web, Family::V4));
    is_stale(WEB, Rtype::A, Rcode::NOERROR, &[&fresh[0]], ExtendedErrorCode::STALE_ANSWER);
    is_stale(&backwards, Rtype::PTR, Rcode::NOERROR, &[&format!("PTR {WEB}")], ExtendedErrorCode::STALE_ANSWER);
    let missing = "gone.shop.svc.cluster.local";
    is_stale(missing, Rtype::A, Rcode::NXDOMAIN, &[], ExtendedErrorCode::STALE_NXDOMAIN_ANSWER);
    central.says_what_is_missing(&["Service", "EndpointSlice", "Namespace"]);
    assert!(central.metric("portolan_dns_stale_answers_total") >= 6.0, "two for each");

    cluster.api.resume();
    cluster.client.delete(&old);
    let made = cluster.expose("made", json!({}), &["web-1"]);
    central.becomes_ready();
    let fresh_again = |name: &str, code, data: &[&str]| {
        let answer = resolves(&guest, at, (name, Rtype::A), code, data);
        assert_eq!(answer.ede, None, "{name}: {answer}");
        assert!(answer.ttl.is_none_or(|ttl| ttl == TTL), "{name}: {answer}");
    };
    fresh_again(WEB, Rcode::NOERROR, &[&fresh[0]]);
    fresh_again("made.shop.svc.cluster.local", Rcode::NOERROR, &[&format!("A {}", cluster_ip(&made, Family::V4))]);
    fresh_again("old.shop.svc.cluster.local", Rcode::NXDOMAIN, &[]);
}
