//! One server block, as far as answers need it: what it says about a name, source by source (2.1).

use std::net::IpAddr;

use domain::base::{
    Name as WireName,
    iana::{Class, ExtendedErrorCode, OptRcode, Rtype},
};

use super::{
    cluster::{Cluster, Decision, Falls, Zone, lower},
    extras::{
        acl,
        chaos::{self, Told},
        falls_through, file, hosts, lies_in, lies_in_any,
        rewrite::{self, NoName, Rewritten},
        template,
    },
    message::Ede,
    name::{LowerName, relative_to},
    site::Sources,
};
use crate::{
    config::dns::{AclAction, ForwardOptions, ServerBlock, Upstream},
    zone::Snapshot,
};

/// A server block.
pub struct Block {
    /// Its place in the configuration
    pub id: usize,
    /// Seconds in a stale answer
    pub stale_ttl: u32,
    /// What was configured
    pub config: ServerBlock,
    cluster: Option<Cluster>,
    hosts_fall: Falls,
    forwards: Vec<Forward>,
}

struct Forward {
    from: Box<[u8]>,
    to: Vec<Upstream>,
    except: Vec<Box<[u8]>>,
}

/// What a block has for a name.
pub enum End<'s> {
    /// One HINFO (RFC 8482)
    Any,
    /// What the cluster's zone says
    Cluster {
        /// The block's zones
        cluster: &'s Cluster,
        /// The one that the name lies in
        zone: &'s Zone,
        /// The names; none before there are any
        snapshot: Option<&'s Snapshot>,
        /// What they say
        decision: Decision<'s>,
    },
    /// Others are asked
    Forward,
    /// What the server says about itself
    Chaos(Told<'s>),
    /// What a template says: a code
    Template(OptRcode),
    /// What a hosts file says; lifetime in seconds
    Hosts(hosts::Found<'s>, u32),
    /// What a zone file says
    File(&'s file::Zone, file::Found<'s>),
    /// The chain of aliases is all there is
    Links,
    /// Something else is asked instead
    Rewritten(Box<Rewritten>),
    /// Silence
    Drop,
    /// A code and nothing else
    Code(OptRcode, Option<Ede>),
}

/// What was come by on the way to an answer, for who wants it explained.
pub enum Step<'a> {
    /// A block is responsible: the zone by which it was chosen
    Block { id: usize, zone: &'a [u8] },
    /// No block is responsible
    NoBlock,
    /// The cluster's zone was looked into
    Cluster {
        cluster: &'a Cluster,
        zone: &'a Zone,
        snapshot: Option<&'a Snapshot>,
        name: &'a [u8],
        decision: &'a Decision<'a>,
    },
    /// `acl` does not let the query pass
    Acl(AclAction),
    /// `rewrite` asks for another name instead
    Rewritten { name: &'a [u8], qtype: Rtype },
    /// Another source of the block has the last word
    Local(&'static str),
    /// An alias leads on
    Alias { owner: &'a [u8], target: &'a [u8] },
    /// A chain was not followed on: too long, or it has been there
    ChainEnds { target: &'a [u8] },
    /// Others are asked, by the `forward` for this zone
    Forward { from: &'a [u8], to: &'a [Upstream] },
    /// Nobody is asked
    NoForward,
}

/// Takes notes of the way to an answer. `()` takes none, and costs nothing.
pub trait Trace {
    /// One step
    fn step(&mut self, step: Step<'_>);
}

impl Trace for () {
    #[inline(always)]
    fn step(&mut self, _: Step<'_>) {}
}

impl Block {
    /// From its configuration.
    pub fn new(id: usize, config: &ServerBlock) -> Self {
        let mut forwards: Vec<Forward> = config.forwards.iter().map(Forward::new).collect();
        forwards.sort_by_key(|forward| std::cmp::Reverse(forward.from.len()));
        Self {
            id,
            stale_ttl: config.cache.as_ref().and_then(|cache| cache.stale).map_or(30, |stale| stale.ttl),
            cluster: config.kubernetes.as_ref().map(Cluster::new),
            hosts_fall: config.hosts.as_ref().map_or(Falls::Never, |hosts| Falls::new(&hosts.fallthrough)),
            forwards,
            config: config.clone(),
        }
    }

    fn has_local(&self) -> bool {
        let config = &self.config;
        !config.templates.is_empty() || config.hosts.is_some() || !config.files.is_empty()
    }

    /// Whether it asks others.
    pub fn forwards(&self) -> bool {
        !self.forwards.is_empty()
    }

    /// Whether a client may ask, and if not, what it gets instead (2.5).
    pub fn admits(&self, name: &[u8], qtype: Rtype, source: IpAddr, trace: &mut impl Trace) -> Option<End<'_>> {
        if self.config.acl.is_empty() {
            return None;
        }
        let ede = |code| Some(Ede { code, text: "" });
        let action = acl::decide(&self.config.acl, name, qtype, source);
        let end = match action {
            AclAction::Allow => return None,
            AclAction::Block => End::Code(OptRcode::REFUSED, ede(ExtendedErrorCode::PROHIBITED)),
            AclAction::Filter => End::Code(OptRcode::NOERROR, ede(ExtendedErrorCode::FILTERED)),
            AclAction::Drop => End::Drop,
        };
        trace.step(Step::Acl(action));
        Some(end)
    }

    /// Whether something else is asked instead (2.6).
    pub fn rewrite(&self, name: &[u8], qtype: Rtype, trace: &mut impl Trace) -> Option<End<'_>> {
        if self.config.rewrites.is_empty() {
            return None;
        }
        let name = WireName::from_octets(name.to_vec()).ok()?;
        match rewrite::apply(&self.config.rewrites, &name, qtype) {
            Ok(None) => None,
            Ok(Some(rewritten)) => {
                trace.step(Step::Rewritten { name: rewritten.name.as_octets(), qtype: rewritten.rtype });
                Some(End::Rewritten(Box::new(rewritten)))
            }
            Err(NoName) => Some(End::Code(OptRcode::SERVFAIL, None)),
        }
    }

    /// What it has for a name of another class than IN: what `chaos` tells, or nothing (delta 16).
    pub fn look_up_other(&self, name: &[u8], qtype: Rtype, qclass: Class) -> End<'_> {
        let told = self
            .config
            .chaos
            .as_ref()
            .and_then(|chaos| chaos::find(chaos, self.config.nsid.as_deref(), name, qtype, qclass));
        told.map_or(End::Code(OptRcode::REFUSED, None), End::Chaos)
    }

    /// What comes before the cluster's names: templates, hosts files, zone files.
    fn local<'s>(
        &'s self,
        name: &LowerName,
        qtype: Rtype,
        sources: &'s impl Sources,
        trace: &mut impl Trace,
    ) -> Option<End<'s>> {
        let config = &self.config;
        if let Some(rcode) = template::find(&config.templates, &config.zones, name, qtype) {
            trace.step(Step::Local("template"));
            return Some(End::Template(rcode.into()));
        }
        if let Some(options) = &config.hosts
            && (options.zones.is_empty() || lies_in_any(name, &options.zones))
        {
            let found = sources.hosts(self.id).map_or(hosts::Found::Missing, |table| table.lookup(name, qtype));
            if !matches!(found, hosts::Found::Missing) || !self.hosts_fall.covers(name) {
                trace.step(Step::Local("hosts"));
                return Some(End::Hosts(found, options.ttl));
            }
        }
        for (nth, options) in config.files.iter().enumerate() {
            let zones = sources.files(self.id, nth).iter().filter(|zone| lies_in(name, zone.origin()));
            let Some(zone) = zones.max_by_key(|zone| zone.origin().len()) else { continue };
            let found = zone.lookup(name, qtype);
            if !matches!(found, file::Found::Missing) || !falls_through(&options.fallthrough, name) {
                trace.step(Step::Local("file"));
                return Some(End::File(zone, found));
            }
        }
        None
    }

    /// What it has for a name of class IN.
    pub fn look_up<'s>(
        &'s self,
        name: &LowerName,
        qtype: Rtype,
        sources: &'s impl Sources,
        trace: &mut impl Trace,
    ) -> End<'s> {
        if self.config.any && qtype == Rtype::ANY {
            return End::Any;
        }
        if self.has_local()
            && let Some(end) = self.local(name, qtype, sources, trace)
        {
            return end;
        }
        if let Some(cluster) = &self.cluster
            && let Some((zone, relative)) = cluster.locate(name)
        {
            let snapshot = sources.snapshot(self.id);
            let decision = cluster.decide(snapshot, zone, relative, name, qtype);
            trace.step(Step::Cluster { cluster, zone, snapshot, name, decision: &decision });
            if !matches!(decision, Decision::FallsThrough) {
                return End::Cluster { cluster, zone, snapshot, decision };
            }
        }
        match self.forwards.iter().find(|forward| forward.takes(name)) {
            Some(forward) => {
                trace.step(Step::Forward { from: &forward.from, to: &forward.to });
                End::Forward
            }
            None => {
                trace.step(Step::NoForward);
                End::Code(OptRcode::REFUSED, None)
            }
        }
    }
}

impl Forward {
    fn new(options: &ForwardOptions) -> Self {
        Self { from: lower(&options.from), to: options.to.clone(), except: options.except.iter().map(lower).collect() }
    }

    fn takes(&self, name: &[u8]) -> bool {
        relative_to(name, &self.from).is_some() && !self.except.iter().any(|zone| relative_to(name, zone).is_some())
    }
}
