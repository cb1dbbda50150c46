use std::{collections::BTreeMap, path::PathBuf, sync::Arc, thread};

use portolan::{
    config::dns::DnsConfig,
    dns::{
        corefile,
        names::Names,
        process::{self, DnsMetrics, Feed, Options, Source},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    client,
    dns::{
        cases::{self, Case},
        decode::decode,
        modes,
    },
    server::Server,
};

#[test]
fn every_case_is_answered_over_sockets() {
    let mut by_mode: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases::all() {
        by_mode.entry(case.mode.clone()).or_default().push(case);
    }
    let count: usize = by_mode.values().map(Vec::len).sum();
    let wrong: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> =
            by_mode.iter().map(|(mode, cases)| scope.spawn(|| wrong_answers(&started(mode), cases))).collect();
        asking.into_iter().flat_map(|asking| asking.join().expect("a mode's questions are asked")).collect()
    });
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where CoreDNS differs and `compat` covers it, its own answers hold.
#[test]
fn compat_answers_as_coredns_does_over_sockets() {
    let mut cases: Vec<Case> =
        cases::all().into_iter().filter(|case| ["B21", "B24", "C07"].contains(&case.id.as_str())).collect();
    assert_eq!(cases.len(), 3);
    for case in &mut cases {
        case.expect = case.coredns.clone().expect("an answer of CoreDNS");
    }
    let wrong = wrong_answers(&started("compat"), &cases);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The server of a mode, ready to answer.
fn started(mode: &str) -> Server {
    match mode {
        "unsynced" => Server::new(mode).without_objects(),
        "stale" => {
            let server = Server::new(mode);
            leave_names(&server);
            server.without_objects()
        }
        _ => Server::new(mode).with_manifests(modes::FIXTURES),
    }
}

/// What is wrong with the answers to cases: asked as each of them says, and over TCP, where nothing may be left out.
fn wrong_answers(server: &Server, cases: &[Case]) -> Vec<String> {
    let over_tcp = |case: &Case| Case { proto: "tcp".to_owned(), ..case.clone() };
    let ids = |cases: usize| (0..).take(cases).map(|id| 0x5a00 + id);
    let queries: Vec<Vec<u8>> = ids(cases.len()).zip(cases).map(|(id, case)| case.query(id)).collect();
    let replies = client::tcp(server.names, &queries);
    let mut wrong = Vec::new();
    for ((id, case), query) in ids(cases.len()).zip(cases).zip(&queries) {
        let full = &replies[&id];
        let full_answer = decode(full).map_or(Vec::new(), |full| full.answer);
        let mut judge = |case: &Case, reply: Result<&Vec<u8>, String>| {
            if let Err(why) = reply.and_then(|reply| case.judge(query, reply, &full_answer)) {
                wrong.push(format!("{} ({} {}) {} {}: {why}", case.id, case.mode, case.proto, case.qname, case.qtype));
            }
        };
        if case.proto == "udp" {
            let reply = client::udp(server.names, query);
            judge(case, reply.as_ref().map_err(String::clone));
        }
        if !case.expect.tc || case.proto == "tcp" {
            judge(&over_tcp(case), Ok(full));
        }
    }
    if !wrong.is_empty() {
        wrong.push(server.log());
    }
    wrong
}

/// Has a process with all objects write its names down, and end.
fn leave_names(server: &Server) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = options(1, Some(server.path("names")));
    let (config, _) = corefile::load(&server.path("Corefile")).unwrap();
    let stop = CancellationToken::new();
    let mut feed = Once { stop: stop.clone() };
    runtime.block_on(process::run(&options, &mut Fixed(config), &mut feed, stop)).unwrap();
    assert!(server.path("names").exists());
}

/// A process without redirect.
pub fn options(workers: usize, snapshot_file: Option<PathBuf>) -> Options {
    Options { workers, snapshot_file, redirect: None, metrics: Arc::new(DnsMetrics::new(false)) }
}

/// All objects, and then the end.
struct Once {
    stop: CancellationToken,
}

impl Feed for Once {
    async fn changed(&mut self) {}

    fn apply(&mut self, names: &mut Names) {
        modes::objects().iter().for_each(|object| names.put(object));
        names.synced();
        self.stop.cancel();
    }

    fn again(&self, _: &DnsConfig) -> Result<Self, String> {
        Err("it begins once".to_owned())
    }

    fn missing(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A configuration that stays.
pub struct Fixed(pub DnsConfig);

impl Source for Fixed {
    fn read(&mut self) -> Result<Option<DnsConfig>, String> {
        Ok(Some(self.0.clone()))
    }

    fn version(&self) -> String {
        String::new()
    }
}
