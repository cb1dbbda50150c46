//! One server block, as far as answers need it: what it says about a name, source by source (2.1).

use domain::base::iana::{OptRcode, Rtype};

use super::{
    cluster::{Cluster, Decision, Zone, lower},
    message::Ede,
    name::{LowerName, relative_to},
    site::Sources,
};
use crate::{
    config::dns::{ForwardOptions, ServerBlock},
    zone::Snapshot,
};

/// A server block.
pub struct Block {
    /// Its place in the configuration
    pub id: usize,
    /// Largest UDP reply in octets
    pub bufsize: u16,
    /// No sections that the reply is complete without
    pub minimal: bool,
    /// ANY gets one HINFO, whatever the name
    pub any: bool,
    /// Who we are (RFC 5001)
    pub nsid: Option<Box<[u8]>>,
    /// Addresses are mixed
    pub shuffle: bool,
    /// Seconds in a stale answer
    pub stale_ttl: u32,
    cluster: Option<Cluster>,
    forwards: Vec<Forward>,
}

struct Forward {
    from: Box<[u8]>,
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
    /// The chain of aliases is all there is
    Links,
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
    /// An alias leads on
    Alias { owner: &'a [u8], target: &'a [u8] },
    /// A chain was not followed on: too long, or it has been there
    ChainEnds { target: &'a [u8] },
    /// Others are asked, by the `forward` for this zone
    Forward { from: &'a [u8] },
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
            bufsize: config.bufsize,
            minimal: config.minimal,
            any: config.any,
            nsid: config.nsid.as_deref().map(Into::into),
            shuffle: config.shuffle,
            stale_ttl: config.cache.as_ref().and_then(|cache| cache.stale).map_or(30, |stale| stale.ttl),
            cluster: config.kubernetes.as_ref().map(Cluster::new),
            forwards,
        }
    }

    /// Whether it asks others.
    pub fn forwards(&self) -> bool {
        !self.forwards.is_empty()
    }

    /// What it has for a name of class IN.
    pub fn look_up<'s>(
        &'s self,
        name: &LowerName,
        qtype: Rtype,
        sources: &'s impl Sources,
        trace: &mut impl Trace,
    ) -> End<'s> {
        if self.any && qtype == Rtype::ANY {
            return End::Any;
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
                trace.step(Step::Forward { from: &forward.from });
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
        Self { from: lower(&options.from), except: options.except.iter().map(lower).collect() }
    }

    fn takes(&self, name: &[u8]) -> bool {
        relative_to(name, &self.from).is_some() && !self.except.iter().any(|zone| relative_to(name, zone).is_some())
    }
}
