//! A server without sockets: replies by function call, others asked in the scripted upstream.

use std::sync::Arc;

use domain::base::iana::Rcode;
use portolan::{
    answers::{
        Client, Failure, Finish, Outcome, Pending, Site, Sources, Transport,
        extras::{file, hosts},
        foreign::Foreign,
        query::Question,
    },
    config::dns::ServerBlock,
    objects::Object,
    zone::Snapshot,
};

use super::{cases::CLIENT, modes, upstream};

/// A site with one block, its names and files.
pub struct Server {
    pub site: Site,
    pub snapshot: Arc<Snapshot>,
    pub hosts: Option<hosts::Table>,
    pub files: Vec<file::Zone>,
}

impl Sources for Server {
    fn snapshot(&self, block: usize) -> Option<&Snapshot> {
        (block == 0).then_some(&self.snapshot)
    }

    fn hosts(&self, _: usize) -> Option<&hosts::Table> {
        self.hosts.as_ref()
    }

    fn files(&self, _: usize, _: usize) -> &[file::Zone] {
        &self.files
    }
}

impl Server {
    pub fn new(mode: &str, objects: &[Object]) -> Self {
        Self::with(&modes::block(mode), modes::snapshot(mode, objects))
    }

    pub fn with(block: &ServerBlock, snapshot: Arc<Snapshot>) -> Self {
        Self { site: Site::new([(0, block)]), snapshot, hosts: None, files: Vec::new() }
    }

    /// Answers bytes with bytes.
    pub fn ask(&self, query: &[u8], transport: Transport, random: u64) -> Option<Vec<u8>> {
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
