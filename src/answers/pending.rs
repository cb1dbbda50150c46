//! Queries that others have to be asked for, and their replies (1.8, 2.2).

use domain::base::iana::{Class, ExtendedErrorCode, OptRcode, Rcode};

use super::{
    Client, Failure,
    block::Block,
    chain,
    extras::rewrite::Rewritten,
    foreign::{Foreign, Kind},
    forwarded,
    link::{self, Link},
    message::{Ede, Envelope, ReplyEdns, Writer},
    name::LowerName,
    query::{Query, Question},
    restore,
    site::{Reply, Source},
};

/// What is to be asked, and all that is needed to reply afterwards.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What others are asked
    pub question: Question,
    /// The block whose forwarders are asked, by its place in the configuration
    pub block: usize,
    /// Only the cache may be asked: the client set RD to 0 (delta 21)
    pub cache_only: bool,
    /// Who asked
    pub client: Client,
    /// The block that the query came to
    pub(super) first: usize,
    pub(super) links: Vec<Link>,
    pub(super) minimal: bool,
    pub(super) shuffle: bool,
    stale_ttl: u32,
    envelope: OwnEnvelope,
    /// The client asked in other words: how, and the envelope of its reply
    restore: Option<Box<(Rewritten, OwnEnvelope)>>,
}

/// [`Envelope`], kept.
#[derive(Clone, Debug)]
pub(super) struct OwnEnvelope {
    head: Box<[u8]>,
    limit: usize,
    recursion_available: bool,
    edns: Option<OwnEdns>,
}

/// [`ReplyEdns`], kept.
#[derive(Clone, Debug)]
struct OwnEdns {
    dnssec_ok: bool,
    nsid: Option<Box<[u8]>>,
    keepalive: bool,
}

/// What comes of an upstream's answer.
#[derive(Debug)]
pub enum Finish {
    /// The reply stands in the buffer
    Reply(Reply),
    /// The answer ends in an alias whose target is to be asked for
    Again(Box<Pending>),
}

/// Lifetimes of an upstream's records in the reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ageing {
    /// Seconds since they came
    pub age: u32,
    /// Seconds in answers that have ended; none for those that have not
    pub stale: Option<u32>,
}

impl Ageing {
    /// Lifetimes stay as they are.
    pub const NONE: Self = Self { age: 0, stale: None };

    /// What is left of a time to live; what has ended is given a short one (RFC 8767, section 5).
    pub fn left(&self, ttl: u32) -> u32 {
        let left = ttl.saturating_sub(self.age);
        match self.stale {
            None => left,
            Some(stale) if left == 0 => stale,
            Some(stale) => left.min(stale),
        }
    }
}

impl Failure {
    /// RD was 0, and the cache has nothing (delta 21).
    pub const NOT_CACHED: Self = Self { rcode: Rcode::REFUSED, ede: None };
    /// No upstream could be reached.
    pub const NO_UPSTREAM: Self =
        Self { rcode: Rcode::SERVFAIL, ede: Some(Ede { code: ExtendedErrorCode::NO_REACHABLE_AUTHORITY, text: "" }) };
}

impl Pending {
    pub(super) fn new(
        query: &Query<'_>,
        client: Client,
        envelope: &Envelope<'_>,
        first: usize,
        block: &Block,
        links: Vec<Link>,
        name: Option<LowerName>,
    ) -> Self {
        let mut question = query.question();
        question.qclass = Class::IN;
        if let Some(name) = name {
            question.name = name.as_ref().into();
        }
        Self {
            question,
            block: block.id,
            cache_only: !query.recursion_desired(),
            client,
            first,
            links,
            minimal: block.config.minimal,
            shuffle: block.config.shuffle,
            stale_ttl: block.stale_ttl,
            envelope: OwnEnvelope::new(envelope),
            restore: None,
        }
    }

    /// The reply is to be put back into the words of the client.
    pub(super) fn restored_by(mut self, rewritten: Rewritten, envelope: &Envelope<'_>) -> Self {
        self.restore = Some(Box::new((rewritten, OwnEnvelope::new(envelope))));
        self
    }

    /// Makes the reply from what upstream said `age` seconds ago. `stale` tells that it has ended since, and what the
    /// client is told about that; `random` mixes; `out` must have place as for [`super::Site::answer`].
    pub fn finish(
        mut self,
        answer: Result<&Foreign, Failure>,
        age: u32,
        stale: Option<Ede>,
        random: u64,
        out: &mut [u8],
    ) -> Finish {
        let Some(restore) = self.restore.take() else { return self.finish_asked(answer, age, stale, random, out) };
        let mut inner = vec![0; usize::from(u16::MAX)];
        match self.finish_asked(answer, age, stale, random, &mut inner) {
            Finish::Reply(reply) => {
                let (rewritten, envelope) = &*restore;
                let inner = inner.get(..reply.length).unwrap_or_default();
                let length = restore::write(&envelope.get(), inner, reply.rcode, rewritten, out);
                Finish::Reply(Reply { length, ..reply })
            }
            Finish::Again(mut again) => {
                again.restore = Some(restore);
                Finish::Again(again)
            }
        }
    }

    fn finish_asked(
        mut self,
        answer: Result<&Foreign, Failure>,
        age: u32,
        stale: Option<Ede>,
        random: u64,
        out: &mut [u8],
    ) -> Finish {
        let ageing = Ageing { age, stale: stale.is_some().then_some(self.stale_ttl) };
        let foreign = match answer {
            Ok(foreign) => foreign,
            Err(failure) => return Finish::Reply(self.fail(failure, out)),
        };
        if self.links.is_empty() {
            let envelope = self.envelope.get();
            let mut writer = Writer::new(&envelope, stale, out);
            let random = self.shuffle.then_some(random);
            forwarded::copy(&mut writer, foreign, self.envelope.head.len(), ageing, random, self.minimal);
            let length = writer.finish(&envelope, foreign.rcode(), false);
            return Finish::Reply(self.reply(length, foreign.rcode()));
        }
        if !matches!(foreign.rcode(), OptRcode::NOERROR | OptRcode::NXDOMAIN) {
            return Finish::Reply(self.fail(Failure { rcode: Rcode::SERVFAIL, ede: None }, out));
        }
        let Ok(found) = chain::follow(foreign, &self.question, ageing, &mut self.links) else {
            return Finish::Reply(self.fail(Failure { rcode: Rcode::SERVFAIL, ede: None }, out));
        };
        if found.goes_on && !self.cache_only {
            self.question.name = found.end;
            return Finish::Again(Box::new(self));
        }
        let envelope = self.envelope.get();
        let mut writer = Writer::new(&envelope, stale, out);
        let owner = link::write(&mut writer, &self.links, &found.end);
        found.write(&mut writer, owner, self.shuffle.then_some(random));
        if foreign.kind() == Kind::Truncated {
            writer.truncate();
        }
        let length = writer.finish(&envelope, foreign.rcode(), true);
        Finish::Reply(self.reply(length, foreign.rcode()))
    }

    /// The reply when there is no answer. An alias alone would say that its target has no address (delta 6), but for
    /// those who did not want us to ask, it is all that we have.
    fn fail(&self, failure: Failure, out: &mut [u8]) -> Reply {
        let envelope = self.envelope.get();
        let mut writer = Writer::new(&envelope, failure.ede, out);
        let (rcode, aa) = match (self.links.is_empty(), self.cache_only) {
            (true, _) => (failure.rcode.into(), false),
            (false, false) => (OptRcode::SERVFAIL, false),
            (false, true) => {
                link::write(&mut writer, &self.links, &self.question.name);
                (OptRcode::NOERROR, true)
            }
        };
        let length = writer.finish(&envelope, rcode, aa);
        self.reply(length, rcode)
    }

    fn reply(&self, length: usize, rcode: OptRcode) -> Reply {
        Reply { length, rcode, block: Some(self.first), source: Source::Forward }
    }
}

impl OwnEnvelope {
    fn new(envelope: &Envelope<'_>) -> Self {
        Self {
            head: envelope.head.into(),
            limit: envelope.limit,
            recursion_available: envelope.recursion_available,
            edns: envelope.edns.map(|edns| OwnEdns {
                dnssec_ok: edns.dnssec_ok,
                nsid: edns.nsid.map(Into::into),
                keepalive: edns.keepalive,
            }),
        }
    }

    fn get(&self) -> Envelope<'_> {
        Envelope {
            head: &self.head,
            limit: self.limit,
            recursion_available: self.recursion_available,
            edns: self.edns.as_ref().map(|edns| ReplyEdns {
                dnssec_ok: edns.dnssec_ok,
                nsid: edns.nsid.as_deref(),
                keepalive: edns.keepalive,
            }),
        }
    }
}
