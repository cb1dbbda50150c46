//! Every question of tests/dns by function call: objects to a snapshot, a query's bytes to a reply's, with an upstream
//! that says what is written in the behaviour, section 5.

#[path = "dns/mod.rs"]
mod dns;

use std::collections::BTreeMap;

use dns::{
    cases::{self, Case},
    decode::decode,
    modes,
    server::Server,
};
use portolan::answers::Transport;

fn transport(case: &Case) -> Transport {
    if case.proto == "tcp" { Transport::Tcp } else { Transport::Udp }
}

#[test]
fn every_case_is_answered_as_it_must_be() {
    let objects = modes::objects();
    let mut servers = BTreeMap::new();
    let mut wrong = Vec::new();
    let cases = cases::all();
    for case in &cases {
        let server = servers.entry(&case.mode).or_insert_with(|| Server::new(&case.mode, &objects));
        for random in [0, 0x0123_4567_89ab_cdef, u64::MAX] {
            let query = case.query(0x5aa5);
            let full = server.ask(&Case { edns: None, ..case.clone() }.query(1), Transport::Tcp, random);
            let full = full.and_then(|full| decode(&full).ok()).map_or(Vec::new(), |full| full.answer);
            let reply = server.ask(&query, transport(case), random).unwrap_or_default();
            if let Err(why) = case.judge(&query, &reply, &full) {
                wrong.push(format!("{} ({}) {} {}: {why}", case.id, case.mode, case.qname, case.qtype));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Where CoreDNS differs and `compat` covers it, its own answers hold.
#[test]
fn compat_answers_as_coredns_does() {
    let server = Server::new("compat", &modes::objects());
    let switched_back = ["B21", "B24", "C07"];
    let mut asked = 0;
    for mut case in cases::all().into_iter().filter(|case| switched_back.contains(&case.id.as_str())) {
        case.expect = case.coredns.clone().expect("an answer of CoreDNS");
        let query = case.query(7);
        let reply = server.ask(&query, Transport::Udp, 1).expect("a reply");
        case.judge(&query, &reply, &[]).unwrap_or_else(|why| panic!("{}: {why}", case.id));
        asked += 1;
    }
    assert_eq!(asked, switched_back.len());
}
