//! What holds for every reply, whatever the query; the sources of a block besides the cluster's names; explanations; and
//! what an answer costs.

#[path = "dns/mod.rs"]
mod dns;

use std::{str::FromStr, sync::LazyLock, time::Instant};

use dns::{
    cases::{CLIENT, Case},
    decode::{Decoded, decode},
    modes::{self, name},
    server::Server,
};
use domain::base::iana::{Rcode, Rtype};
use hickory_proto::op::ResponseCode;
use portolan::{
    answers::{
        Client, Outcome, Transport,
        extras::{file, hosts},
        query::Query,
        why::KnownService,
    },
    config::dns::{
        AclAction, AclRule, Chaos, Fallthrough, FileZone, HostsOptions, Name, NameMatch, Rewrite, ServerBlock, Template,
    },
};
use proptest::prelude::*;

static SERVER: LazyLock<Server> = LazyLock::new(|| Server::new("insecure", &modes::objects()));

fn case(qname: &str, qtype: &str) -> Case {
    let empty = r#""rcode": "", "aa": false, "tc": false, "answer": [], "authority": [], "additional": []"#;
    serde_json::from_str(&format!(
        r#"{{"id": "", "mode": "", "qname": "{qname}", "qtype": "{qtype}", "qclass": "IN", "proto": "udp", "rd": true,
            "edns": null, "coredns": null, "expect": {{{empty}}}}}"#
    ))
    .expect("a case")
}

fn asked(server: &Server, qname: &str, qtype: &str) -> Option<Decoded> {
    let reply = server.ask(&case(qname, qtype).query(9), Transport::Udp, 5)?;
    Some(decode(&reply).unwrap_or_else(|why| panic!("{qname} {qtype}: {why}")))
}

fn code(decoded: &Decoded) -> ResponseCode {
    decoded.message.metadata.response_code
}

/// Names that exist, nearly exist, and do not.
fn names() -> impl Strategy<Value = String> {
    let label = proptest::sample::select(vec![
        "web",
        "big",
        "db",
        "db-0",
        "_http",
        "_tcp",
        "_udp",
        "shop",
        "data",
        "edge",
        "svc",
        "pod",
        "cluster",
        "local",
        "partner",
        "chain",
        "self",
        "alias",
        "10-244-1-10",
        "1-2-3-4",
        "dns",
        "ns",
        "dns-version",
        "1",
        "20",
        "96",
        "10",
        "in-addr",
        "arpa",
        "WEB",
        "*",
        "x",
        "upstream",
        "example",
        "many",
        "liar",
        "step",
        "www",
    ]);
    let tail = proptest::sample::select(vec![
        "",
        "svc.cluster.local",
        "shop.svc.cluster.local",
        "data.svc.CLUSTER.local",
        "edge.svc.cluster.local",
        "pod.cluster.local",
        "cluster.local",
        "in-addr.arpa",
        "upstream.example",
    ]);
    (proptest::collection::vec(label, 0..6), tail).prop_map(|(labels, tail)| format!("{}.{tail}", labels.join(".")))
}

fn types() -> impl Strategy<Value = String> {
    let types =
        ["A", "AAAA", "SRV", "CNAME", "NS", "SOA", "TXT", "ANY", "PTR", "HINFO", "HTTPS", "MX", "DS", "TYPE65280"];
    proptest::sample::select(types.to_vec()).prop_map(str::to_owned)
}

/// What must hold for the reply to any bytes.
fn check(query: &[u8], transport: Transport, random: u64) -> Result<(), TestCaseError> {
    let Some(reply) = SERVER.ask(query, transport, random) else {
        prop_assert!(query.len() < 12 || query[2] & 0x80 != 0);
        return Ok(());
    };
    prop_assert_eq!(&reply[..2], &query[..2]);
    let limit = match (transport, Query::parse(query).ok().and_then(|query| query.edns)) {
        (Transport::Tcp, _) => 65535,
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => edns.size.min(1232),
    };
    prop_assert!(reply.len() <= usize::from(limit), "{} octets where {limit} are allowed", reply.len());
    match Query::parse(query) {
        Ok(parsed) => {
            prop_assert_eq!(&reply[12..parsed.head().len()], &parsed.head()[12..]);
            decode(&reply).map_err(TestCaseError::fail)?;
        }
        Err(_) => prop_assert_eq!(reply.len(), 12),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_reply_is_sound(
        qname in names(), qtype in types(), random: u64, tcp: bool, rd: bool,
        edns in proptest::option::of((any::<u16>(), any::<bool>())),
    ) {
        let mut case = case(&qname, &qtype);
        case.rd = rd;
        case.edns = edns.map(|(size, dnssec_ok)| dns::cases::Edns { size, version: 0, dnssec_ok });
        check(&case.query(random as u16), if tcp { Transport::Tcp } else { Transport::Udp }, random)?;
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100), random: u64) {
        check(&bytes, Transport::Udp, random)?;
    }

    #[test]
    fn queries_with_broken_octets_do_no_harm(
        qname in names(), qtype in types(), at in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(), random: u64,
    ) {
        let mut case = case(&qname, &qtype);
        case.edns = Some(dns::cases::Edns { size: 1232, version: 0, dnssec_ok: false });
        let mut query = case.query(3);
        for (index, octet) in at {
            let index = index.index(query.len());
            query[index] = octet;
        }
        check(&query, Transport::Udp, random)?;
        query.truncate(cut.index(query.len()));
        check(&query, Transport::Udp, random)?;
    }
}

#[test]
fn addresses_come_in_every_order() {
    let first = |random: u64| {
        let reply = SERVER.ask(&case("mid.data.svc.cluster.local", "A").query(1), Transport::Udp, random).unwrap();
        decode(&reply).unwrap().answer[0].clone()
    };
    let seen: std::collections::BTreeSet<String> =
        (0..200).map(|n: u64| first(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    assert_eq!(seen.len(), 7);
}

#[test]
fn options_are_answered_and_not_echoed() {
    let ask = |options: &[u8], transport| {
        let mut query = case("web.shop.svc.cluster.local", "A").query(1);
        query[11] = 1;
        query.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, options.len() as u8]);
        query.extend(options);
        let reply = SERVER.ask(&query, transport, 0).unwrap();
        let message = decode(&reply).unwrap().message;
        let options: Vec<_> =
            message.edns.unwrap().options().as_ref().iter().map(|(code, _)| u16::from(*code)).collect();
        (message.metadata.response_code, options)
    };
    let fine = ResponseCode::NoError;
    assert_eq!(ask(b"", Transport::Udp), (fine, vec![]));
    // NSID; a client's cookie; keepalive on both transports; padding; one of local use
    assert_eq!(ask(&[0, 3, 0, 0], Transport::Udp), (fine, vec![3]));
    assert_eq!(ask(b"\0\x0a\0\x0812345678", Transport::Udp), (fine, vec![]));
    assert_eq!(ask(&[0, 11, 0, 0], Transport::Udp), (fine, vec![]));
    assert_eq!(ask(&[0, 11, 0, 0], Transport::Tcp), (fine, vec![11]));
    assert_eq!(ask(&[0, 12, 0, 2, 0, 0], Transport::Udp), (fine, vec![]));
    assert_eq!(ask(&[0xfd, 0xe9, 0, 1, 7], Transport::Udp), (fine, vec![]));
    assert_eq!(ask(b"\0\x0a\0\x071234567", Transport::Udp).0, ResponseCode::FormErr);
}

#[test]
fn extended_errors_tell_the_state() {
    let errors = |mode: &str, qname: &str| {
        let server = Server::new(mode, &modes::objects());
        let mut case = case(qname, "A");
        case.edns = Some(dns::cases::Edns { size: 1232, version: 0, dnssec_ok: false });
        let reply = server.ask(&case.query(1), Transport::Udp, 0).unwrap();
        let message = decode(&reply).unwrap().message;
        let code = message.metadata.response_code;
        // Option 15, and the two octets of its code
        let at = reply.windows(2).rposition(|octets| octets == [0, 15]);
        (code, at.map(|at| u16::from_be_bytes([reply[at + 4], reply[at + 5]])))
    };
    assert_eq!(errors("unsynced", "web.shop.svc.cluster.local"), (ResponseCode::ServFail, Some(14)));
    assert_eq!(errors("stale", "web.shop.svc.cluster.local"), (ResponseCode::NoError, Some(3)));
    assert_eq!(errors("stale", "nope.shop.svc.cluster.local"), (ResponseCode::NXDomain, Some(19)));
    assert_eq!(errors("base", "dead.upstream.example"), (ResponseCode::ServFail, Some(22)));
    assert_eq!(errors("base", "web.shop.svc.cluster.local"), (ResponseCode::NoError, None));
}

/// A block with everything before `kubernetes`.
fn full() -> Server {
    let acl = |action, zone: &str, types: &[Rtype]| AclRule {
        zones: vec![name(zone)],
        action,
        types: types.to_vec(),
        nets: vec!["10.244.0.0/16".parse().unwrap()],
    };
    let block = ServerBlock {
        acl: vec![
            acl(AclAction::Block, "blocked.example", &[]),
            acl(AclAction::Filter, "filtered.example", &[]),
            acl(AclAction::Drop, "dropped.example", &[Rtype::A]),
        ],
        templates: vec![Template {
            zones: vec![name("v4.example")],
            rtype: Some(Rtype::AAAA),
            matches: Vec::new(),
            rcode: Rcode::NOERROR,
            fallthrough: Fallthrough::Never,
        }],
        hosts: Some(HostsOptions {
            file: None,
            zones: vec![name("hosts.example")],
            ttl: 60,
            ..HostsOptions::default()
        }),
        files: vec![FileZone::new("zone")],
        chaos: Some(Chaos { version: "one".into(), authors: Vec::new() }),
        ..modes::block("base")
    };
    let mut server = Server::with(&block, modes::snapshot("base", &modes::objects()));
    server.hosts = Some(hosts::Table::parse("192.0.2.1 a.hosts.example\n", false).0);
    let zone = "@ 300 IN SOA ns hostmaster 1 2 3 4 60\n@ 300 IN NS ns\nns 300 IN A 192.0.2.2\n\
        in 300 IN CNAME web.shop.svc.cluster.local.\nout 300 IN CNAME www.upstream.example.\nsub 300 IN NS ns\n";
    server.files = vec![file::Zone::parse(zone, &Name::from_str("file.example").unwrap()).unwrap()];
    server
}

#[test]
fn other_sources_come_before_the_cluster() {
    let server = full();
    let ask = |qname, qtype| asked(&server, qname, qtype).unwrap();
    assert_eq!(code(&ask("x.blocked.example", "A")), ResponseCode::Refused);
    let filtered = ask("filtered.example", "A");
    assert_eq!((code(&filtered), filtered.answer.len()), (ResponseCode::NoError, 0));
    assert!(asked(&server, "dropped.example", "A").is_none());
    let templated = ask("a.v4.example", "AAAA");
    assert_eq!((code(&templated), templated.answer.len()), (ResponseCode::NoError, 0));
    assert_eq!(ask("a.hosts.example", "A").answer, ["a.hosts.example. 60 IN A 192.0.2.1"]);
    assert_eq!(code(&ask("a.hosts.example", "AAAA")), ResponseCode::NoError);
    assert_eq!(code(&ask("b.hosts.example", "A")), ResponseCode::NXDomain);
    assert_eq!(ask("ns.file.example", "A").answer, ["ns.file.example. 300 IN A 192.0.2.2"]);
    let missing = ask("nope.file.example", "A");
    assert_eq!(code(&missing), ResponseCode::NXDomain);
    assert_eq!(missing.authority, ["file.example. 60 IN SOA ns.file.example. hostmaster.file.example. 1 2 3 4 60"]);
    // Aliases lead into the cluster and out of it.
    let into = ask("in.file.example", "A").answer;
    assert_eq!(
        into,
        ["in.file.example. 300 IN CNAME web.shop.svc.cluster.local.", "web.shop.svc.cluster.local. 5 IN A 10.96.20.1"]
    );
    assert_eq!(ask("out.file.example", "A").answer.len(), 3);
    let referral = ask("a.sub.file.example", "A");
    assert!(!referral.message.metadata.authoritative);
    assert_eq!(referral.authority, ["sub.file.example. 300 IN NS ns.file.example."]);

    let mut chaos = case("version.bind", "TXT");
    chaos.qclass = "CH".to_owned();
    let reply = server.ask(&chaos.query(1), Transport::Udp, 0).unwrap();
    assert_eq!(decode(&reply).unwrap().answer, ["version.bind. 0 CH TXT \"one\""]);
    chaos.qname = "web.shop.svc.cluster.local".to_owned();
    let reply = server.ask(&chaos.query(1), Transport::Udp, 0).unwrap();
    assert_eq!(code(&decode(&reply).unwrap()), ResponseCode::Refused);
}

#[test]
fn rewritten_questions_come_back_in_the_clients_words() {
    let rewrite = |from: &str, to: &str| Rewrite::Name {
        matches: NameMatch::Suffix(from.to_owned()),
        replacement: to.to_owned(),
        restore_answer: true,
        answers: Vec::new(),
        go_on: false,
    };
    let block = ServerBlock {
        rewrites: vec![
            rewrite(".old.example.", ".svc.cluster.local."),
            rewrite(".there.example.", ".upstream.example."),
        ],
        ..modes::block("base")
    };
    let server = Server::with(&block, modes::snapshot("base", &modes::objects()));
    let ask = |qname, qtype| asked(&server, qname, qtype).unwrap();
    assert_eq!(ask("Web.shop.old.example", "A").answer, ["Web.shop.old.example. 5 IN A 10.96.20.1"]);
    let denied = ask("nope.shop.old.example", "A");
    assert_eq!(code(&denied), ResponseCode::NXDomain);
    assert!(denied.authority[0].starts_with("cluster.local. 5 IN SOA "), "{:?}", denied.authority);
    let forwarded = ask("v4only.there.example", "A");
    assert_eq!(forwarded.answer, ["v4only.there.example. 60 IN A 198.51.100.8"]);
    assert!(!forwarded.message.metadata.authoritative);
    assert!(ask("many.there.example", "A").message.metadata.truncation);
    assert_eq!(ask("web.shop.svc.cluster.local", "A").answer, ["web.shop.svc.cluster.local. 5 IN A 10.96.20.1"]);
    let text = server.site.explain(&name("web.shop.old.example"), Rtype::A, CLIENT, &server, &[]).to_string();
    assert!(text.contains("asks for web.shop.svc.cluster.local. A instead"), "{text}");
}

/// An alias whose target's server says no more than where it goes on; and one that says more than it was asked.
#[test]
fn only_what_continues_a_chain_is_believed() {
    let mut objects = modes::objects();
    for (service, target) in [("stepwise", "step.upstream.example"), ("lied-to", "liar.upstream.example")] {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {service}, namespace: edge}}\nspec: {{type: ExternalName, externalName: {target}}}\n"
        );
        let made = portolan::source::manifests::read_text(std::path::Path::new("x"), &text);
        objects.extend(made.objects.into_iter().map(|located| located.object));
    }
    let server = Server::new("base", &objects);
    assert_eq!(
        asked(&server, "stepwise.edge.svc.cluster.local", "A").unwrap().answer,
        [
            "stepwise.edge.svc.cluster.local. 5 IN CNAME step.upstream.example.",
            "step.upstream.example. 60 IN CNAME late.upstream.example.",
            "late.upstream.example. 60 IN A 198.51.100.9",
        ]
    );
    assert_eq!(
        asked(&server, "lied-to.edge.svc.cluster.local", "A").unwrap().answer,
        [
            "lied-to.edge.svc.cluster.local. 5 IN CNAME liar.upstream.example.",
            "liar.upstream.example. 60 IN A 198.51.100.10",
        ]
    );
}

fn explained(qname: &str, qtype: Rtype) -> String {
    let service = |namespace: &str, name: &str, headless, not_ready| KnownService {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        headless,
        ready: 0,
        not_ready,
    };
    let services =
        [service("shop", "web", false, 1), service("data", "empty", true, 1), service("data", "nosel", true, 0)];
    SERVER.site.explain(&name(qname), qtype, CLIENT, &*SERVER, &services).to_string()
}

#[test]
fn answers_are_explained() {
    let explain = |qname: &str, words: &[&str]| {
        let text = explained(qname, Rtype::A);
        for word in words {
            assert!(text.contains(word), "{word:?} is not in:\n{text}");
        }
    };
    explain(
        "web.shop.svc.cluster.local",
        &["Service shop/web has cluster IPs", "10.96.20.1", "\n;; NOERROR", "IN\tA\t10.96.20.1"],
    );
    explain("db.data.svc.cluster.local", &["headless", "10.244.1.30 (EndpointSlice "]);
    explain("pod-a.headless1.default.svc.cluster.local", &["one of the other names", "Service default/headless1"]);
    explain("_http._tcp.web.shop.svc.cluster.local", &["The name is port http", "NOERROR without an answer"]);
    explain(
        "chain.edge.svc.cluster.local",
        &["leads to alias.edge", "Service edge/alias", "Service shop/web", "IN\tCNAME"],
    );
    explain("web.data.svc.cluster.local", &["NXDOMAIN", "There is a Service web in Namespace shop."]);
    explain("web.none.svc.cluster.local", &["There is no Namespace none"]);
    explain("empty.data.svc.cluster.local", &["none of its 1 endpoints is ready"]);
    explain("nosel.data.svc.cluster.local", &["has no endpoint"]);
    explain("http.tcp.web.shop.svc.cluster.local", &["_http._tcp, _https._tcp", "Underscores are part"]);
    explain("1.20.96.10.in-addr.arpa", &["10.96.20.1 belongs to web.shop.svc.cluster.local."]);
    explain("www.upstream.example", &["`forward .` takes the name", "for the upstream to say"]);
    explain("a.except.example", &["no `forward` for the name"]);
    explain("1-2-3-4.shop.pod.cluster.local", &["spells the address 1.2.3.4 in Namespace shop"]);
}

/// Prints what answers cost; nothing is asserted, as machines differ. `cargo test --release --test dns_answers cost -- --nocapture`
#[test]
fn cost_of_answers() {
    let client = Client { address: CLIENT, transport: Transport::Udp };
    let mut out = [0; 1232];
    let rounds = if cfg!(debug_assertions) { 1_000 } else { 2_000_000 };
    for (qname, qtype) in [
        ("web.shop.svc.cluster.local", "A"),
        ("web.shop.svc.cluster.local", "AAAA"),
        ("nope.shop.svc.cluster.local", "A"),
        ("_http._tcp.web.shop.svc.cluster.local", "SRV"),
        ("mid.data.svc.cluster.local", "A"),
        ("big.data.svc.cluster.local", "A"),
        ("1.20.96.10.in-addr.arpa", "PTR"),
    ] {
        let query = case(qname, qtype).query(1);
        let start = Instant::now();
        let mut octets = 0;
        for random in 0..rounds {
            let outcome = SERVER.site.answer(std::hint::black_box(&query), client, &*SERVER, random << 20, &mut out);
            octets += match outcome {
                Outcome::Reply(reply) => reply.length,
                _ => panic!("{qname} is not answered"),
            };
        }
        println!(
            "{qname} {qtype}: {:.0} ns, {} octets",
            start.elapsed().as_nanos() as f64 / rounds as f64,
            octets as u64 / rounds
        );
    }
}
