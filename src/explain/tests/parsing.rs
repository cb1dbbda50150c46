use proptest::prelude::*;

use super::{BASE, question, scene};
use crate::{
    explain::{Dialled, Host, PortRef, Question, Source, explain},
    model::{Protocol, ServiceId},
};

#[test]
fn targets_are_told_apart() {
    let number = |port| Some(PortRef::Number(port));
    let cases = [
        ("shop/web:80", Host::Service(ServiceId::new("shop", "web")), number(80), None),
        ("shop/web", Host::Service(ServiceId::new("shop", "web")), None, None),
        ("shop/web:http", Host::Service(ServiceId::new("shop", "web")), Some(PortRef::Name("http".into())), None),
        ("web.shop:53/udp", Host::Name("web.shop".into()), number(53), Some(Protocol::Udp)),
        ("10.96.0.1:80/TCP", Host::Address([10, 96, 0, 1].into()), number(80), Some(Protocol::Tcp)),
        ("[fd00::1]:80", Host::Address("fd00::1".parse().unwrap()), number(80), None),
        ("fd00::1", Host::Address("fd00::1".parse().unwrap()), None, None),
        ("localhost:30080", Host::Address([127, 0, 0, 1].into()), number(30080), None),
        ("node-1:30080", Host::Name("node-1".into()), number(30080), None),
    ];
    for (text, host, port, protocol) in cases {
        assert_eq!(Dialled::parse(text), Ok(Dialled { host, port, protocol }), "{text}");
    }
    for bad in [
        "",
        ":80",
        "web:0",
        "web:65536",
        "web:80/ICMP",
        "[fd00::1:80",
        "a/b/c:80",
        "/web",
        "we b",
        "web:80\nx",
        "[::1]80",
        "10.96.0.300:80",
        "10.96.0.20/32:80",
        "web_x.shop:80",
        "web..shop:80",
        ".web:80",
        "-web:80",
    ] {
        assert!(Dialled::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn sources_are_told_apart() {
    let pod = |namespace: &str, name: &str| Source::Pod { namespace: namespace.into(), name: name.into() };
    assert_eq!(Source::parse("host"), Ok(Source::Host));
    assert_eq!(Source::parse("client"), Ok(pod("default", "client")));
    assert_eq!(Source::parse("shop/client"), Ok(pod("shop", "client")));
    assert_eq!(Source::parse("[fd00::1]"), Ok(Source::Address("fd00::1".parse().unwrap())));
    assert_eq!(Source::parse("::1"), Ok(Source::Host), "nobody else sends from there");
    for bad in ["", "/", "a/b/c", "a b", "a/"] {
        assert!(Source::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn wrong_questions_are_told_so() {
    let scene = scene(BASE, "node-1");
    let wrong = |from: Option<&str>, target: &str| explain(&question(from, target), &scene, None).unwrap_err();
    assert_eq!(wrong(Some("shop/clientt"), "shop/web"), "--from: there is no Pod shop/clientt; is shop/client meant?");
    assert_eq!(wrong(Some("client"), "shop/web"), "--from: there is no Pod default/client; is shop/client meant?");
    assert_eq!(wrong(None, "192.0.2.1"), "192.0.2.1: say which port, as 192.0.2.1:80");
}

#[test]
fn the_port_may_be_left_out_where_there_is_one() {
    let two = super::manifests(&[(
        "  - {name: http, port: 80, targetPort: http}",
        "  - {name: a, port: 80}\n  - {name: b, port: 81}",
    )]);
    assert!(super::ask(BASE, None, "shop/web").unwrap().sentence.contains("10.96.0.1:80/TCP"));
    assert!(super::ask(BASE, None, "10.96.0.1").unwrap().sentence.contains("10.96.0.1:80/TCP"));
    let wrong = super::ask(&two, None, "shop/web").unwrap_err();
    assert_eq!(wrong, "Service shop/web has the ports a 80/TCP, b 81/TCP: say which, as shop/web:PORT");
    assert!(super::ask(&two, None, "shop/web:b").unwrap().sentence.contains("port 81 of Service shop/web"));
}

#[test]
fn a_port_s_name_is_no_part_of_an_address() {
    let dialled = Dialled::parse("[fd00::1]:cafe").unwrap();
    assert_eq!(dialled.to_string(), "[fd00::1]:cafe");
}

proptest! {
    #[test]
    fn no_text_breaks_it(target in "\\PC{0,40}", from in "\\PC{0,20}") {
        answer(&target, &from);
    }

    #[test]
    fn nor_does_what_looks_like_a_target(
        target in "(\\[)?(shop/|web\\.)?(web|node-2|10\\.96\\.0\\.[0-9]|fd00::1|127\\.0\\.0\\.1|kubia\\.svc|svc)(\\])?(:[a-z0-9]{1,6})?(/(tcp|UDP|x))?",
        from in "(host|shop/client|web-1|10\\.244\\.[12]\\.[0-9]{1,2}|192\\.168\\.49\\.1[12]|fd00::9)",
    ) {
        answer(&target, &from);
    }
}

fn answer(target: &str, from: &str) {
    let (Ok(dialled), source) = (Dialled::parse(target), Source::parse(from).ok()) else { return };
    assert_eq!(Dialled::parse(&dialled.to_string()).as_ref(), Ok(&dialled), "as it is shown");
    let question = Question { source, dialled, resolution: None };
    if let Ok(told) = explain(&question, &scene(BASE, "node-1"), None) {
        assert!(!told.sentence.contains('\n'));
    }
}
