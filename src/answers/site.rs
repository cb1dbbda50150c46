//! The server blocks of one listener: which answers a query, and how the reply is put together (2.1, 1.11).

use domain::base::iana::{Class, ExtendedErrorCode, OptRcode, Rtype};

use super::{
    Client, Transport,
    block::{Block, End, Step, Trace},
    cluster::{Decision, lower},
    extras::{file, hosts, rewrite::Rewritten},
    link::{self, Link, goes_on},
    local,
    message::{Ede, Envelope, Section, Writer, header_only},
    name::{LowerName, relative_to},
    pending::Pending,
    query::{Early, Query},
    records::{Context, HINFO},
    restore,
};
use crate::{
    config::dns::ServerBlock,
    zone::{Snapshot, State},
};

/// Nothing is answered from what is not complete (2.7).
const NOT_READY: Ede = Ede { code: ExtendedErrorCode::NOT_READY, text: "" };
/// Nobody is configured to be asked for an alias's target.
const NOBODY: Ede =
    Ede { code: ExtendedErrorCode::NO_REACHABLE_AUTHORITY, text: "no forwarder for the alias's target" };
/// Seconds that the answer to ANY may be kept where no zone says so.
const ANY_TTL: u32 = 8482;

/// What blocks answer from, at the moment of a query.
pub trait Sources {
    /// The cluster's names for a block, by its place in the configuration; none before there are any.
    fn snapshot(&self, block: usize) -> Option<&Snapshot>;

    /// What a block's `hosts` has read: its file and its inline lines.
    fn hosts(&self, _block: usize) -> Option<&hosts::Table> {
        None
    }

    /// The zones that a block's nth `file` has read.
    fn files(&self, _block: usize, _nth: usize) -> &[file::Zone] {
        &[]
    }
}

/// The server blocks of one listener.
pub struct Site {
    blocks: Vec<Block>,
    /// Zones in wire form, lower case, with the block that has them; longest first
    zones: Vec<(Box<[u8]>, usize)>,
    recursion_available: bool,
}

/// What becomes of a query.
pub enum Outcome {
    /// The reply stands in the buffer
    Reply(Reply),
    /// Silence
    Drop,
    /// Others have to be asked first
    Forward(Box<Pending>),
}

/// A reply, as far as counting and logging need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Octets
    pub length: usize,
    /// Code
    pub rcode: OptRcode,
    /// The block that answered, by its place in the configuration; none if the query lies in none or cannot be read
    pub block: Option<usize>,
    /// What it was answered from
    pub source: Source,
}

/// What a reply was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Nothing: refusals and errors
    Server,
    /// `any`
    Any,
    /// `acl`
    Acl,
    /// `chaos`
    Chaos,
    /// `template`
    Template,
    /// `hosts`
    Hosts,
    /// `file`
    File,
    /// `kubernetes`
    Cluster,
    /// `forward` and the cache before it
    Forward,
}

/// Where a query leads.
pub(super) struct Plan<'s> {
    /// The block of the name asked for
    pub block: Option<&'s Block>,
    /// The block of the last name
    pub last: Option<&'s Block>,
    /// Aliases on the way
    pub links: Vec<Link>,
    /// The last name, if it is not the one asked for
    pub name: Option<LowerName>,
    /// What there is
    pub end: End<'s>,
}

impl Site {
    /// The blocks that share a listener, each with its place in the configuration.
    pub fn new<'c>(blocks: impl IntoIterator<Item = (usize, &'c ServerBlock)>) -> Self {
        let mut zones = Vec::new();
        let mut compiled = Vec::new();
        for (at, (id, config)) in blocks.into_iter().enumerate() {
            zones.extend(config.zones.iter().map(|zone| (lower(zone), at)));
            compiled.push(Block::new(id, config));
        }
        // Stable: of two blocks with the same zone the first has it.
        zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.len()));
        let recursion_available = compiled.iter().any(Block::forwards);
        Self { blocks: compiled, zones, recursion_available }
    }

    /// Answers one message. `out` must have place for the largest reply that may be sent: 65,535 octets over TCP, the
    /// largest `bufsize` over UDP, at least 512. `random` decides the order of records.
    pub fn answer(
        &self,
        message: &[u8],
        client: Client,
        sources: &impl Sources,
        random: u64,
        out: &mut [u8],
    ) -> Outcome {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Early::Drop) => return Outcome::Drop,
            Err(Early::Header(rcode)) => {
                let length = header_only(message, rcode, self.recursion_available, out);
                return Outcome::Reply(Reply { length, rcode: rcode.into(), block: None, source: Source::Server });
            }
        };
        let plan = self.plan(&query, client, sources, &mut ());
        let (bufsize, nsid) =
            plan.block.map_or((512, None), |block| (block.config.bufsize, block.config.nsid.as_deref()));
        let envelope = Envelope::new(&query, client.transport, bufsize, self.recursion_available, nsid);
        if let End::Rewritten(rewritten) = plan.end {
            return self.answer_rewritten(&query, &envelope, plan.block, *rewritten, client, sources, random, out);
        }
        if let (End::Forward, Some(first), Some(last)) = (&plan.end, plan.block, plan.last) {
            let pending = Pending::new(&query, client, &envelope, first.id, last, plan.links, plan.name);
            return Outcome::Forward(Box::new(pending));
        }
        write(&query, &envelope, &plan, random, out).map_or(Outcome::Drop, Outcome::Reply)
    }

    /// Answers the other question, and puts the answer back into the client's words.
    #[allow(clippy::too_many_arguments, reason = "what `answer` was given, and what it found")]
    fn answer_rewritten(
        &self,
        query: &Query<'_>,
        envelope: &Envelope<'_>,
        block: Option<&Block>,
        rewritten: Rewritten,
        client: Client,
        sources: &impl Sources,
        random: u64,
        out: &mut [u8],
    ) -> Outcome {
        let bytes = restore::other_query(query, &rewritten);
        let (Some(block), Ok(other)) = (block, Query::parse(&bytes)) else { return Outcome::Drop };
        let plan = self.follow(
            Some(block),
            block.look_up(&other.name, other.qtype, sources, &mut ()),
            &other,
            sources,
            &mut (),
        );
        let inner = Envelope::new(&other, Transport::Tcp, u16::MAX, self.recursion_available, None);
        if let (End::Forward, Some(last)) = (&plan.end, plan.last) {
            let pending = Pending::new(&other, client, &inner, block.id, last, plan.links, plan.name);
            return Outcome::Forward(Box::new(pending.restored_by(rewritten, envelope)));
        }
        let mut scratch = vec![0; usize::from(u16::MAX)];
        let Some(reply) = write(&other, &inner, &plan, random, &mut scratch) else { return Outcome::Drop };
        let length = restore::write(envelope, &scratch[..reply.length], reply.rcode, &rewritten, out);
        Outcome::Reply(Reply { length, ..reply })
    }

    /// Finds what a query is to be answered with.
    pub(super) fn plan<'s>(
        &'s self,
        query: &Query<'_>,
        client: Client,
        sources: &'s impl Sources,
        trace: &mut impl Trace,
    ) -> Plan<'s> {
        let block = self.route(&query.name, trace);
        let end = match (query.fault, block) {
            (Some(fault), _) => End::Code(fault, None),
            (None, None) => End::Code(OptRcode::REFUSED, None),
            (None, Some(block)) => match block.admits(&query.name, query.qtype, client.address, trace) {
                Some(end) => end,
                None if query.qclass != Class::IN => block.look_up_other(&query.name, query.qtype, query.qclass),
                None => block
                    .rewrite(&query.name, query.qtype, trace)
                    .unwrap_or_else(|| block.look_up(&query.name, query.qtype, sources, trace)),
            },
        };
        self.follow(block, end, query, sources, trace)
    }

    /// Goes along aliases to the last name.
    pub(super) fn follow<'s>(
        &'s self,
        block: Option<&'s Block>,
        end: End<'s>,
        query: &Query<'_>,
        sources: &'s impl Sources,
        trace: &mut impl Trace,
    ) -> Plan<'s> {
        let mut plan = Plan { block, last: block, links: Vec::new(), name: None, end };
        while let Some(target) = plan.alias(&query.name) {
            if let Some(link) = plan.links.last() {
                trace.step(Step::Alias { owner: &link.owner, target: &link.target });
            }
            if query.qtype == Rtype::CNAME || !goes_on(&plan.links, &target) {
                if query.qtype != Rtype::CNAME {
                    trace.step(Step::ChainEnds { target: &target });
                }
                plan.end = End::Links;
                break;
            }
            plan.last = self.route(&target, trace);
            plan.end = plan.last.map_or(End::Code(OptRcode::REFUSED, None), |block| {
                block.look_up(&target, query.qtype, sources, trace)
            });
            plan.name = Some(target);
        }
        if !plan.links.is_empty() && matches!(plan.end, End::Code(OptRcode::REFUSED, _)) {
            // Who does not want us to ask goes on from the alias; to who does, an alias alone says that there is no
            // address (delta 6).
            plan.end = match query.recursion_desired() {
                true => End::Code(OptRcode::SERVFAIL, Some(NOBODY)),
                false => End::Links,
            };
        }
        plan
    }

    /// The block with the longest zone that a name lies in.
    fn route(&self, name: &[u8], trace: &mut impl Trace) -> Option<&Block> {
        let found = self.zones.iter().find(|(zone, _)| relative_to(name, zone).is_some());
        let Some((zone, at)) = found else {
            trace.step(Step::NoBlock);
            return None;
        };
        let block = self.blocks.get(*at)?;
        trace.step(Step::Block { id: block.id, zone });
        Some(block)
    }
}

impl Plan<'_> {
    /// If the last name is an alias, adds the link. Returns where it leads.
    fn alias(&mut self, asked: &LowerName) -> Option<LowerName> {
        let (ttl, target): (u32, &[u8]) = match &self.end {
            End::Cluster { cluster, snapshot: Some(snapshot), decision: Decision::Alias(_, target), .. } => {
                (cluster.ttl(snapshot), target.as_octets())
            }
            End::File(_, file::Found::Alias(set)) => (set.ttl, set.data.first()?),
            _ => return None,
        };
        let owner = self.name.as_ref().unwrap_or(asked);
        self.links.push(Link { owner: owner.as_ref().into(), ttl, target: target.into() });
        LowerName::new(target)
    }
}

/// Writes the reply of a plan that nobody else has to be asked for.
pub(super) fn write(
    query: &Query<'_>,
    envelope: &Envelope<'_>,
    plan: &Plan<'_>,
    random: u64,
    out: &mut [u8],
) -> Option<Reply> {
    let block = plan.block.map(|block| block.id);
    let reply = |length, rcode, source| Reply { length, rcode, block, source };
    let code = |rcode, ede, out: &mut [u8]| Writer::new(envelope, ede, out).finish(envelope, rcode, false);
    let end = plan.name.as_ref().unwrap_or(&query.name);
    let shuffle = plan.last.filter(|block| block.config.shuffle).map(|_| random);
    Some(match &plan.end {
        End::Code(rcode, ede) => {
            let acl = [ExtendedErrorCode::PROHIBITED, ExtendedErrorCode::FILTERED];
            let source = if ede.is_some_and(|ede| acl.contains(&ede.code)) { Source::Acl } else { Source::Server };
            reply(code(*rcode, *ede, out), *rcode, source)
        }
        End::Cluster { decision: Decision::NotReady, .. } | End::Cluster { snapshot: None, .. } => {
            reply(code(OptRcode::SERVFAIL, Some(NOT_READY), out), OptRcode::SERVFAIL, Source::Cluster)
        }
        End::Cluster { cluster, zone, snapshot: Some(snapshot), decision } => {
            let stale = snapshot.state() == State::Stale;
            let ede = stale.then_some(match decision {
                Decision::Missing => Ede { code: ExtendedErrorCode::STALE_NXDOMAIN_ANSWER, text: "" },
                _ => Ede { code: ExtendedErrorCode::STALE_ANSWER, text: "" },
            });
            let context = Context {
                cluster,
                zone,
                snapshot,
                random: shuffle,
                minimal: plan.last.is_some_and(|block| block.config.minimal),
            };
            let mut writer = Writer::new(envelope, ede, out);
            writer.count_additional(cluster.compat);
            let owner = link::write(&mut writer, &plan.links, end);
            let rcode = context.write(&mut writer, owner, query.qtype, decision);
            reply(writer.finish(envelope, rcode, true), rcode, Source::Cluster)
        }
        End::Drop => return None,
        End::Chaos(told) => {
            let mut writer = Writer::new(envelope, None, out);
            local::chaos(&mut writer, *told);
            reply(writer.finish(envelope, OptRcode::NOERROR, true), OptRcode::NOERROR, Source::Chaos)
        }
        End::Template(rcode) => {
            let mut writer = Writer::new(envelope, None, out);
            link::write(&mut writer, &plan.links, end);
            let aa = matches!(*rcode, OptRcode::NOERROR | OptRcode::NXDOMAIN);
            reply(writer.finish(envelope, *rcode, aa), *rcode, Source::Template)
        }
        End::Hosts(found, ttl) => {
            let mut writer = Writer::new(envelope, None, out);
            let owner = link::write(&mut writer, &plan.links, end);
            let rcode = local::hosts(&mut writer, owner, found, *ttl, shuffle);
            reply(writer.finish(envelope, rcode, true), rcode, Source::Hosts)
        }
        End::File(zone, found) => {
            let mut writer = Writer::new(envelope, None, out);
            let owner = link::write(&mut writer, &plan.links, end);
            let (rcode, aa) = local::file(&mut writer, owner, zone, found, shuffle);
            let aa = aa || !plan.links.is_empty();
            reply(writer.finish(envelope, rcode, aa), rcode, Source::File)
        }
        End::Any => {
            let mut writer = Writer::new(envelope, None, out);
            let owner = link::write(&mut writer, &plan.links, end);
            writer.record(owner, Rtype::HINFO, ANY_TTL, |writer| writer.put(HINFO));
            reply(writer.finish(envelope, OptRcode::NOERROR, true), OptRcode::NOERROR, Source::Any)
        }
        // The last two are not answered from here.
        End::Links | End::Forward | End::Rewritten(_) => {
            let mut writer = Writer::new(envelope, None, out);
            writer.section(Section::Answer);
            link::write(&mut writer, &plan.links, end);
            reply(writer.finish(envelope, OptRcode::NOERROR, true), OptRcode::NOERROR, Source::Cluster)
        }
    })
}
