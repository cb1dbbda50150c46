//! Every question of tests/dns by function call: objects to a snapshot, a query's bytes to a reply's, with an upstream
//! that says what is written in the behaviour, section 5.

#[path = "dns/mod.rs"]
mod dns;

use std::{collections::BTreeMap, sync::Arc};

use dns::{
    cases::{self, CLIENT, Case},
    decode::decode,
    modes, upstream,
};
use domain::base::iana::Rcode;
use portolan::{
    answers::{Client, Failure, Finish, Outcome, Pending, Site, Sources, Transport, foreign::Foreign, query::Question},
    zone::Snapshot,
};

/// A site with one block and its names.
struct Server {
    site: Site,
    snapshot: Arc<Snapshot>,
}

impl Sources for Server {
    fn snapshot(&self, block: usize) -> Option<&Snapshot> {
        (block == 0).then_some(&self.snapshot)
    }
}

impl Server {
    fn new(mode: &str, objects: &[portolan::objects::Object]) -> Self {
        Self { site: Site::new([(0, &modes::block(mode))]), snapshot: modes::snapshot(mode, objects) }
    }

    /// Answers bytes with bytes.
    fn ask(&self, query: &[u8], transport: Transport, random: u64) -> Option<Vec<u8>> {
        let mut out = vec![0; if transport == Transport::Udp { 1232 } else { 65535 }];
        let client = Client { address: CLIENT, transport };
        let length = match self.site.answer(query, client, self, random, &mut out) {
            Outcome::Drop => return None,
            Outcome::Reply(reply) => reply.length,
            Outcome::Forward(pending) => forward(*pending, random, &mut out),
        };
        out.truncate(length);
        Some(out)
    }
}

/// Asks the scripted upstream, as often as it takes.
fn forward(mut pending: Pending, random: u64, out: &mut [u8]) -> usize {
    for _ in 0..20 {
        let foreign = ask_upstream(&pending.question);
        let answer = match &foreign {
            _ if pending.cache_only => Err(Failure::NOT_CACHED),
            Ok(foreign) if foreign.rcode().rcode() != Rcode::SERVFAIL => Ok(foreign),
            _ => Err(Failure::NO_UPSTREAM),
        };
        match pending.finish(answer, 0, None, random, out) {
            Finish::Reply(reply) => return reply.length,
            Finish::Again(again) => pending = *again,
        }
    }
    panic!("no end");
}

fn ask_upstream(question: &Question) -> Result<Foreign, String> {
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(&question.name);
    query.extend(question.qtype.to_int().to_be_bytes());
    query.extend(question.qclass.to_int().to_be_bytes());
    Foreign::parse(&upstream::reply(&query), question).map_err(|error| error.to_string())
}

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
