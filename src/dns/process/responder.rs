//! Answers the queries of one group of sockets.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arc_swap::{ArcSwap, Cache};
use domain::base::iana::{Rcode, Rtype};

use super::{
    errorlog::ErrorLog,
    files::Files,
    querylog::QueryLog,
    tally::{Answered, Tallies, Tally},
};
use crate::{
    answers::{
        Client, Failure, Finish, Outcome, Pending, Reply, Site, Source, Sources, Transport,
        extras::{file, hosts},
        query::{HEADER, Query},
    },
    dns::{
        forward::{Forwarder, Hop, TOO_MANY},
        names::{Served, Snapshots},
        serve::{LONGEST_MESSAGE, LONGEST_REPLY, Now, Responder},
    },
    zone::{Snapshot, State},
};

/// Aliases that are followed from one upstream's answer to the next question; those of an answer itself count less
/// than the limit of ten links (1.8), so this only bounds the work.
const MOST_HOPS: usize = 12;

/// What every client takes over UDP, in octets.
const LEAST_SIZE: u16 = 512;

/// What a group answers with at present.
pub struct Current {
    /// Tells one from the next
    pub version: u64,
    pub site: Site,
    /// By block
    pub forwarders: Vec<Option<Arc<Forwarder>>>,
    pub served: Arc<Served>,
    pub files: Arc<ArcSwap<Files>>,
    /// By block
    pub logs: Vec<Option<QueryLog>>,
    /// By block
    pub errors: Vec<Option<ErrorLog>>,
    pub tallies: Arc<Tallies>,
    pub hop: Hop,
}

/// The responder of a group of sockets; what it answers with can be replaced.
pub struct Group {
    current: Arc<ArcSwap<Current>>,
    /// For answers that took time
    later: Mutex<(u64, Tally)>,
}

/// All that answers are made from at the moment.
struct Here<'a> {
    snapshots: &'a Snapshots,
    files: &'a Files,
}

impl Sources for Here<'_> {
    fn snapshot(&self, block: usize) -> Option<&Snapshot> {
        self.snapshots.snapshot(block)
    }

    fn hosts(&self, block: usize) -> Option<&hosts::Table> {
        self.files.hosts(block)
    }

    fn files(&self, block: usize, nth: usize) -> &[file::Zone] {
        self.files.zones(block, nth)
    }
}

/// What a thread keeps.
pub struct Local {
    current: Cache<Arc<ArcSwap<Current>>, Arc<Current>>,
    /// Of which version the others are
    version: u64,
    snapshots: Cache<Arc<Served>, Arc<Snapshots>>,
    files: Cache<Arc<ArcSwap<Files>>, Arc<Files>>,
    tally: Tally,
}

/// A query that others have to be asked for.
pub struct Waiting {
    pending: Box<Pending>,
    current: Arc<Current>,
    arrived: Instant,
    asked: Asked,
    random: u64,
}

/// What is counted of a query.
#[derive(Clone, Copy)]
struct Asked {
    client: Client,
    size: usize,
    id: u16,
    qtype: Option<Rtype>,
    dnssec_ok: bool,
    bufsize: u16,
}

impl Group {
    pub fn new(current: Arc<Current>) -> Self {
        let later = Mutex::new((current.version, current.tallies.tally()));
        Self { current: Arc::new(ArcSwap::new(current)), later }
    }

    /// Answers otherwise from now on.
    pub fn set(&self, current: Arc<Current>) {
        self.current.store(current);
    }

    /// Counts an answer that took time.
    fn count_later(&self, current: &Current, answered: &Answered) {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if later.0 != current.version {
            *later = (current.version, current.tallies.tally());
        }
        later.1.count(answered);
    }
}

impl Responder for Group {
    type Local = Local;
    type Later = Waiting;

    fn local(&self) -> Local {
        let mut current = Cache::new(self.current.clone());
        let (version, served, files, tally) = {
            let now: &Arc<Current> = current.load();
            (now.version, now.served.clone(), now.files.clone(), now.tallies.tally())
        };
        Local { current, version, snapshots: Cache::new(served), files: Cache::new(files), tally }
    }

    fn now(
        &self,
        local: &mut Local,
        query: &[u8],
        client: Client,
        arrived: Instant,
        random: u64,
        out: &mut [u8],
    ) -> Now<Waiting> {
        let current = local.current.load();
        if current.version != local.version {
            local.version = current.version;
            local.snapshots = Cache::new(current.served.clone());
            local.files = Cache::new(current.files.clone());
            local.tally = current.tallies.tally();
        }
        let asked = Asked::read(query, client);
        let here = Here { snapshots: local.snapshots.load(), files: local.files.load() };
        let (reply, stale) = match current.site.answer(query, client, &here, random, out) {
            Outcome::Reply(reply) => (reply, false),
            Outcome::Drop => return Now::Drop,
            Outcome::Forward(pending) => {
                if current.came_back(query, &pending) {
                    return Now::Drop;
                }
                match current.without_waiting(pending, arrived, random, out) {
                    Ok(found) => found,
                    Err(pending) => {
                        return Now::Later(Waiting { pending, current: current.clone(), arrived, asked, random });
                    }
                }
            }
        };
        // What a process before this one knew may have ended like what a cache holds.
        let restored = |block| here.snapshot(block).is_some_and(|snapshot| snapshot.state() == State::Stale);
        let stale = stale || reply.source == Source::Cluster && reply.block.is_some_and(restored);
        let answered = Answered { stale, ..current.answered(&asked, &reply, arrived, out) };
        local.tally.count(&answered);
        current.log(query, &answered);
        Now::Reply(reply.length)
    }

    async fn later(&self, waiting: Waiting) -> Option<Vec<u8>> {
        let Waiting { mut pending, current, arrived, asked, random } = waiting;
        let room = if asked.client.transport == Transport::Udp { LONGEST_REPLY } else { LONGEST_MESSAGE };
        let head = pending.question.clone();
        let mut stale = false;
        for _ in 0..MOST_HOPS {
            let answer = match current.forwarder(&pending) {
                Some(forwarder) => forwarder.resolve(&pending.question, asked.client, arrived).await,
                None => Err(Failure::NO_UPSTREAM),
            };
            stale |= answer.as_ref().is_ok_and(|hit| hit.stale.is_some());
            let failure = answer.as_ref().err().copied();
            // Thousands may wait: room is taken by those who have an answer.
            let mut out = vec![0; room];
            let finish = match answer {
                Ok(hit) => pending.finish(Ok(&hit.foreign), hit.age, hit.stale, random, &mut out),
                Err(failure) => pending.finish(Err(failure), 0, None, random, &mut out),
            };
            match finish {
                Finish::Reply(reply) => {
                    let answered = Answered { stale, ..current.answered(&asked, &reply, arrived, &out) };
                    self.count_later(&current, &answered);
                    current.log_question(&head, &answered);
                    if let Some(failure) = failure {
                        current.report(&head, &answered, &failure);
                    }
                    out.truncate(reply.length);
                    // Who reads slowly has many of them.
                    out.shrink_to_fit();
                    return Some(out);
                }
                Finish::Again(again) => pending = again,
            }
        }
        None
    }

    fn busy(&self, waiting: Waiting, out: &mut [u8]) -> Option<usize> {
        let Waiting { pending, current, arrived, asked, random } = waiting;
        let head = pending.question.clone();
        match pending.finish(Err(TOO_MANY), 0, None, random, out) {
            Finish::Reply(reply) => {
                let answered = current.answered(&asked, &reply, arrived, out);
                self.count_later(&current, &answered);
                current.report(&head, &answered, &TOO_MANY);
                Some(reply.length)
            }
            Finish::Again(_) => None,
        }
    }
}

impl Current {
    fn forwarder(&self, pending: &Pending) -> Option<&Arc<Forwarder>> {
        self.forwarders.get(pending.block)?.as_ref()
    }

    /// Whether we sent this query ourselves (2.4): an answer would go round for ever.
    fn came_back(&self, query: &[u8], pending: &Pending) -> bool {
        let probe = pending.question.qtype == Rtype::HINFO
            && self.forwarder(pending).is_some_and(|forwarder| forwarder.is_probe(&pending.question));
        probe || Query::parse(query).is_ok_and(|query| query.edns.is_some_and(|edns| self.hop.is_in(&edns)))
    }

    /// Answers from the cache alone, if it can be done.
    fn without_waiting(
        &self,
        mut pending: Box<Pending>,
        now: Instant,
        random: u64,
        out: &mut [u8],
    ) -> Result<(Reply, bool), Box<Pending>> {
        let mut stale = false;
        for _ in 0..MOST_HOPS {
            let hit = self.forwarder(&pending).and_then(|forwarder| forwarder.lookup(&pending.question, now));
            stale |= hit.as_ref().is_some_and(|hit| hit.stale.is_some());
            let finish = match hit {
                Some(hit) => pending.finish(Ok(&hit.foreign), hit.age, hit.stale, random, out),
                None if pending.cache_only => pending.finish(Err(Failure::NOT_CACHED), 0, None, random, out),
                None => return Err(pending),
            };
            match finish {
                Finish::Reply(reply) => return Ok((reply, stale)),
                Finish::Again(again) => pending = again,
            }
        }
        Err(pending)
    }

    fn answered(&self, asked: &Asked, reply: &Reply, arrived: Instant, out: &[u8]) -> Answered {
        Answered {
            row: reply.block.unwrap_or(self.tallies.nowhere()),
            client: asked.client,
            qtype: asked.qtype,
            dnssec_ok: asked.dnssec_ok,
            id: asked.id,
            bufsize: asked.bufsize,
            query: asked.size,
            reply: reply.length,
            rcode: reply.rcode,
            source: reply.source,
            records: out.get(6..8).is_some_and(|count| count != [0, 0]),
            truncated: out.get(2).is_some_and(|flags| flags & 0x02 != 0),
            stale: false,
            took: arrived.elapsed(),
        }
    }

    fn log(&self, query: &[u8], answered: &Answered) {
        if let Some(Some(log)) = self.logs.get(answered.row) {
            log.query(query, answered);
        }
    }

    fn log_question(&self, question: &crate::answers::query::Question, answered: &Answered) {
        if let Some(Some(log)) = self.logs.get(answered.row) {
            log.question(question, answered);
        }
    }

    /// Refusals are no failures: that nobody is to be asked was somebody's decision.
    fn report(&self, question: &crate::answers::query::Question, answered: &Answered, failure: &Failure) {
        if failure.rcode == Rcode::SERVFAIL
            && let Some(Some(errors)) = self.errors.get(answered.row)
        {
            errors.failed(question, failure, Instant::now());
        }
    }
}

impl Asked {
    /// Looks at the question alone, and at an OPT record right behind it; what is malformed has no type.
    fn read(query: &[u8], client: Client) -> Self {
        let id = query.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        let bufsize = if client.transport == Transport::Udp { LEAST_SIZE } else { u16::MAX };
        let mut asked = Self { client, size: query.len(), id, qtype: None, dnssec_ok: false, bufsize };
        let mut at = HEADER;
        while let Some(length) = query.get(at).filter(|length| (1..64).contains(*length)) {
            at += 1 + usize::from(*length);
        }
        let Some([0, high, low, _, _, rest @ ..]) = query.get(at..) else { return asked };
        asked.qtype = Some(Rtype::from_int(u16::from_be_bytes([*high, *low])));
        // Root, type 41, size, extended code and version, and then the flags.
        if let [0, 0, 41, high, low, _, _, flags, ..] = rest {
            asked.dnssec_ok = flags & 0x80 != 0;
            asked.bufsize = asked.bufsize.max(u16::from_be_bytes([*high, *low]));
        }
        asked
    }
}
