use std::{fmt, net::IpAddr, sync::Arc};

use super::group;
use crate::model::{Family, Frontend, IpRange, PortId, Protocol, ServiceId, Target};

/// The first slot of a node's own endpoints in the map `endpoints`.
pub const LOCAL_SLOTS: u16 = 32768;

/// Bytes that nft allows a comment, without the NUL behind it (NFTNL_UDATA_COMMENT_MAXLEN is 128).
const COMMENT_BYTES: usize = 127;

/// As much of an owner's name as an element's comment can hold. What the kernel gives back is this, so an [`Element`]
/// must be made with it, or it would differ from its own image for ever.
pub fn fit_comment(owner: &str) -> &str {
    let end = (0..=COMMENT_BYTES.min(owner.len())).rev().find(|end| owner.is_char_boundary(*end));
    &owner[..end.unwrap_or(0)]
}

/// The policy chain that serves a frontend (rules/README.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Cluster IP
    Internal,
    /// Cluster IP, internalTrafficPolicy: Local
    InternalLocal,
    /// External address or node port
    External,
    /// External address or node port, externalTrafficPolicy: Local
    ExternalLocal,
}

impl Policy {
    /// All policies.
    pub const ALL: [Policy; 4] = [Policy::Internal, Policy::InternalLocal, Policy::External, Policy::ExternalLocal];

    /// The chain's name.
    pub fn chain(self) -> &'static str {
        match self {
            Policy::Internal => "internal",
            Policy::InternalLocal => "internal-local",
            Policy::External => "external",
            Policy::ExternalLocal => "external-local",
        }
    }
}

/// What stands in front of the name of a policy chain that asks for source ranges first.
pub fn guard_prefix(guarded: bool) -> &'static str {
    if guarded { "guarded-" } else { "" }
}

/// What happens to new connections to a frontend that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadEnd {
    /// Answered with port unreachable: no endpoint anywhere
    Refuse,
    /// Dropped: the policy is Local and this node has no endpoint
    Drop,
}

/// Which list of endpoints: all that the cluster policy allows, or this node's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// The cluster list: slots from 0
    All,
    /// The local list: slots from [`LOCAL_SLOTS`]
    Local,
}

/// One element of one map or set of the program in `rules/`. The family follows from the addresses.
///
/// `owner` is written as the element's comment, so that a bare listing names the Service: `shop/web:http`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// set `service-networks`
    ServiceNetwork(IpRange),
    /// set `pods`
    Pods(IpRange),
    /// set `cluster-ips`
    ClusterIp(IpAddr),
    /// set `hairpin`: this endpoint's address to itself
    Hairpin(IpAddr),
    /// set `remembered`: an endpoint that some affinity group remembers clients for
    Remembered {
        /// The endpoint
        target: Target,
        /// Its protocol
        protocol: Protocol,
    },
    /// set `allowed-sources`
    AllowedSource {
        /// The guarded frontend
        frontend: Frontend,
        /// Who may come
        range: IpRange,
    },
    /// map `frontends`
    Frontend {
        /// Key
        frontend: Frontend,
        /// `goto` this chain
        policy: Policy,
        /// By way of the chain `guarded-…` of an external policy, which asks `allowed-sources`
        guarded: bool,
        /// Comment
        owner: Arc<str>,
    },
    /// map `dead-ends`
    DeadEnd {
        /// Key
        frontend: Frontend,
        /// `drop` or `goto refuse`
        verdict: DeadEnd,
        /// Comment
        owner: Arc<str>,
    },
    /// map `picks` or `local-picks`; with affinity `first-picks` or `local-first-picks`
    Pick {
        /// Key
        frontend: Frontend,
        /// Which list
        list: List,
        /// Only for clients that `sticky-X` does not know
        first: bool,
        /// `goto pick-N` or `goto local-pick-N`; at least 1
        count: u16,
    },
    /// map `endpoints`
    Slot {
        /// Key, first part
        frontend: Frontend,
        /// Key, second part: from 0 or from [`LOCAL_SLOTS`]
        slot: u16,
        /// The endpoint
        target: Target,
    },
    /// map `picks` or `local-picks`, with affinity: `goto sticky-X` or `goto local-sticky-X`
    Sticky {
        /// Key
        frontend: Frontend,
        /// Which of the two
        list: List,
        /// X: see [`super::AffinityGroup::name`]
        group: Arc<str>,
    },
    /// map `learners`: `goto learn-X`
    Learner {
        /// Key
        frontend: Frontend,
        /// X
        group: Arc<str>,
    },
    /// set `members-X` or `local-members-X`: endpoints that clients may be remembered for
    Member {
        /// X
        group: Arc<str>,
        /// Which of the two
        list: List,
        /// The endpoint
        target: Target,
    },
}

/// A chain `pick-N` or `local-pick-N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PickChain {
    /// Family
    pub family: Family,
    /// Which of the two
    pub list: List,
    /// N, at least 1
    pub count: u16,
}

impl PickChain {
    /// So often the chain has its rule: a packet that is held up while the endpoint in its slot is replaced may miss the old
    /// one and the new one, and picks again.
    pub const RULES: usize = 2;

    /// The chain's name.
    pub fn name(&self) -> String {
        match self.list {
            List::All => format!("pick-{}", self.count),
            List::Local => format!("local-pick-{}", self.count),
        }
    }
}

impl Element {
    /// The family whose table holds the element.
    pub fn family(&self) -> Family {
        match self {
            Element::ServiceNetwork(range) | Element::Pods(range) => Family::of(range.first),
            Element::ClusterIp(address) => Family::of(*address),
            Element::Hairpin(address) => Family::of(*address),
            Element::Remembered { target, .. } | Element::Member { target, .. } => Family::of(target.address),
            _ => self.frontend().map_or(Family::V4, Frontend::family),
        }
    }

    /// The frontend in the element's key, if it has one.
    pub fn frontend(&self) -> Option<&Frontend> {
        match self {
            Element::AllowedSource { frontend, .. }
            | Element::Frontend { frontend, .. }
            | Element::DeadEnd { frontend, .. }
            | Element::Pick { frontend, .. }
            | Element::Slot { frontend, .. }
            | Element::Sticky { frontend, .. }
            | Element::Learner { frontend, .. } => Some(frontend),
            Element::ServiceNetwork(_)
            | Element::Pods(_)
            | Element::ClusterIp(_)
            | Element::Hairpin(_)
            | Element::Remembered { .. }
            | Element::Member { .. } => None,
        }
    }

    /// The service port that the element's comment names, for those with a comment. Of a long name the end is missing.
    pub fn port(&self) -> Option<PortId> {
        let (Element::Frontend { frontend, owner, .. } | Element::DeadEnd { frontend, owner, .. }) = self else {
            return None;
        };
        let (service, port) = owner.split_once(':').unwrap_or((owner, ""));
        let (namespace, name) = service.split_once('/')?;
        let service = ServiceId::new(namespace, name);
        Some(PortId { service, name: port.into(), protocol: frontend.protocol })
    }

    /// The name of the map or set that holds the element.
    pub fn container(&self) -> Container<'_> {
        match self {
            Element::ServiceNetwork(_) => Container::ServiceNetworks,
            Element::Pods(_) => Container::Pods,
            Element::ClusterIp(_) => Container::ClusterIps,
            Element::Hairpin(_) => Container::Hairpin,
            Element::Remembered { .. } => Container::Remembered,
            Element::AllowedSource { .. } => Container::AllowedSources,
            Element::Frontend { .. } => Container::Frontends,
            Element::DeadEnd { .. } => Container::DeadEnds,
            Element::Pick { list: List::All, first: true, .. } => Container::FirstPicks,
            Element::Pick { list: List::Local, first: true, .. } => Container::LocalFirstPicks,
            Element::Pick { list: List::All, .. } | Element::Sticky { list: List::All, .. } => Container::Picks,
            Element::Pick { list: List::Local, .. } | Element::Sticky { list: List::Local, .. } => {
                Container::LocalPicks
            }
            Element::Slot { .. } => Container::Endpoints,
            Element::Learner { .. } => Container::Learners,
            Element::Member { group, list, .. } => Container::Members { group, list: *list },
        }
    }
}

impl fmt::Display for Element {
    /// For messages: the key, and what it leads to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::ServiceNetwork(range) | Element::Pods(range) => write!(f, "{range}"),
            Element::ClusterIp(address) => write!(f, "{address}"),
            Element::Hairpin(address) => write!(f, "{address}"),
            Element::Remembered { target, protocol } => write!(f, "{target}/{protocol}"),
            Element::AllowedSource { frontend, range } => write!(f, "{frontend} from {range}"),
            Element::Frontend { frontend, policy, guarded, owner } => {
                write!(f, "{frontend} -> {}{} ({owner})", guard_prefix(*guarded), policy.chain())
            }
            Element::DeadEnd { frontend, verdict: DeadEnd::Refuse, owner } => {
                write!(f, "{frontend} -> refuse ({owner})")
            }
            Element::DeadEnd { frontend, verdict: DeadEnd::Drop, owner } => write!(f, "{frontend} -> drop ({owner})"),
            Element::Pick { frontend, list, count, .. } => write!(f, "{frontend} -> {}pick-{count}", list.prefix()),
            Element::Slot { frontend, slot, target } => write!(f, "{frontend} slot {slot} -> {target}"),
            Element::Sticky { frontend, list, group } => write!(f, "{frontend} -> {}sticky-{group}", list.prefix()),
            Element::Learner { frontend, group } => write!(f, "{frontend} -> learn-{group}"),
            Element::Member { target, .. } => write!(f, "{target}"),
        }
    }
}

/// A map or set of the program in `rules/`, in the order in which the program declares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the map or set of that name in rules/, documented there")]
pub enum Container<'a> {
    Frontends,
    Picks,
    LocalPicks,
    Endpoints,
    DeadEnds,
    ClusterIps,
    ServiceNetworks,
    Pods,
    Hairpin,
    AllowedSources,
    FirstPicks,
    LocalFirstPicks,
    Remembered,
    Learners,
    Members { group: &'a str, list: List },
}

impl Container<'_> {
    /// The containers that the fixed program declares; `Members` come and go with affinity groups.
    pub const FIXED: [Container<'static>; 14] = [
        Container::Frontends,
        Container::Picks,
        Container::LocalPicks,
        Container::Endpoints,
        Container::DeadEnds,
        Container::ClusterIps,
        Container::ServiceNetworks,
        Container::Pods,
        Container::Hairpin,
        Container::AllowedSources,
        Container::FirstPicks,
        Container::LocalFirstPicks,
        Container::Remembered,
        Container::Learners,
    ];

    /// nft's name of the map or set.
    pub fn name(&self) -> String {
        match self {
            Container::Frontends => "frontends".into(),
            Container::Picks => "picks".into(),
            Container::LocalPicks => "local-picks".into(),
            Container::Endpoints => "endpoints".into(),
            Container::DeadEnds => "dead-ends".into(),
            Container::ClusterIps => "cluster-ips".into(),
            Container::ServiceNetworks => "service-networks".into(),
            Container::Pods => "pods".into(),
            Container::Hairpin => "hairpin".into(),
            Container::AllowedSources => "allowed-sources".into(),
            Container::FirstPicks => "first-picks".into(),
            Container::LocalFirstPicks => "local-first-picks".into(),
            Container::Remembered => "remembered".into(),
            Container::Learners => "learners".into(),
            Container::Members { group, list } => group::members(group, *list),
        }
    }
}

impl List {
    /// What stands in front of the names that belong to the list: nothing, or `local-`.
    pub fn prefix(self) -> &'static str {
        match self {
            List::All => "",
            List::Local => "local-",
        }
    }

    /// The list that a name of the form `local-...` or `...` is for, and the rest of the name.
    pub fn of_name(name: &str) -> (List, &str) {
        match name.strip_prefix(List::Local.prefix()) {
            Some(rest) => (List::Local, rest),
            None => (List::All, name),
        }
    }

    /// The list's first slot in the map `endpoints`.
    pub fn first_slot(self) -> u16 {
        match self {
            List::All => 0,
            List::Local => LOCAL_SLOTS,
        }
    }
}
