//! What a change is called, and who notices.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Change, Clients, Effect, Fate, Impact, Placed, words_of_names};
use crate::{
    compile::Use,
    model::{Family, IpRange, Notice, ServiceId, Target},
    tables::{Difference, Policy},
};

/// So many things are named; of more, the number is said.
const MOST_NAMED: usize = 6;

/// What is known of endpoints beside their addresses.
#[derive(Debug, Default)]
pub struct Known {
    /// The Pod of each
    pub pods: BTreeMap<Target, Arc<str>>,
    /// What the new side says of it: for the cluster list, for the local one
    pub judged: BTreeMap<Target, (Use, Use)>,
}

/// A change in words.
pub fn effect(change: &Change, frontends: Vec<String>, known: &Known) -> Effect {
    let (impact, change, notices) = match change {
        Change::Appears(clients, fate) => appears(*clients, fate),
        Change::Vanishes { served, udp } => vanishes(*served, *udp),
        Change::TakenBy(owner, served) => taken(owner, *served),
        Change::Contested(owner) => (
            Impact::Nobody,
            format!("belongs to Service {owner}, which came first"),
            format!("nobody: it is not served; whoever dials it reaches {owner}"),
        ),
        Change::TakenFrom(owner, fate) => {
            let to = format!("new connections {}; established TCP ones stay with {owner}", outcome(fate));
            (impact_of(fate), format!("comes from Service {owner}"), to)
        }
        Change::Fate { clients, old, new, udp } => turned(*clients, old, new, *udp),
        Change::Endpoints { clients, added, removed, before, after, udp } => {
            let stay = match (removed.is_empty(), udp) {
                (true, _) => "; established ones stay",
                (false, false) => "; established ones stay, for as long as their endpoint answers",
                (false, true) => "; flows to others stay",
            };
            let (impact, change, notices) = endpoints(*clients, added, removed, (*before, *after), known);
            (impact, change, notices + stay)
        }
        Change::FlowsMove(targets, found) => flows(targets, *found, known),
        Change::Policy(from, to) => policy(*from, *to),
        Change::Guarded(now) => guarded(now),
        Change::Unguarded(before) => (
            Impact::NewConnections,
            format!("open to everybody, no longer only to {}", ranges(before)),
            "clients from elsewhere are served".to_owned(),
        ),
        Change::Sources { closed, opened, now } => sources(closed, opened, now),
        Change::Affinity(from, to) => affinity(*from, *to),
        Change::Forgotten(targets) => (
            Impact::NewConnections,
            "session affinity forgets endpoints that leave".to_owned(),
            format!("clients remembered for {} get another endpoint, and keep that", targets_text(targets, known)),
        ),
        Change::ForgottenAll => (
            Impact::NewConnections,
            "session affinity begins anew under the port's other name".to_owned(),
            "all remembered clients may get another endpoint".to_owned(),
        ),
        Change::Renamed(from, to) => (
            Impact::Nobody,
            format!("the service port is called {to}, no longer {from}"),
            "nobody: clients dial the number".to_owned(),
        ),
        Change::ClusterIps(from, to) => (
            Impact::Interrupted,
            format!("cluster IP {} in place of {}", joined(to), joined(from)),
            "whoever keeps the old address, from a look-up or an environment variable, must learn the new one"
                .to_owned(),
        ),
        Change::NodePortNumber(port, from, to) => (
            Impact::Interrupted,
            format!("node port {to} in place of {from} for port {port}"),
            "load balancers and clients that dial the old number must learn the new one".to_owned(),
        ),
        Change::HealthCheck(from, to) => health_check(*from, *to),
        Change::HealthReady(port, before, after) => health_ready(*port, *before, *after),
        name => words_of_names::names(name),
    };
    Effect { impact, frontends, change, notices, nodes: BTreeSet::new() }
}

/// A Service that is refused. `notices` say why.
pub fn kept<'a>(notices: impl Iterator<Item = &'a Notice>) -> Effect {
    let why: Vec<String> = notices.map(ToString::to_string).collect();
    Effect {
        impact: Impact::Nobody,
        frontends: Vec::new(),
        change: format!("refused: {}", why.join("; ")),
        notices: "nobody: nodes that run keep what they have; a node that starts anew has nothing for it".to_owned(),
        nodes: BTreeSet::new(),
    }
}

/// A node that only one side has.
pub fn node(name: &str, joins: bool) -> Effect {
    let (impact, verb, notices) = match joins {
        true => (Impact::Nobody, "joins", "nobody yet: it serves every Service from its start on"),
        false => (Impact::Interrupted, "leaves", "whoever dials its addresses, and its Pods"),
    };
    let (change, notices) = (format!("node {name} {verb}"), notices.to_owned());
    Effect { impact, frontends: Vec::new(), change, notices, nodes: BTreeSet::new() }
}

/// A row of the node's own.
pub fn node_row(difference: &Difference) -> Effect {
    let pods = difference.what.starts_with("pod range");
    let (impact, notices) = match (pods, difference.missing) {
        (true, true) => (Impact::NewConnections, "clients in it keep their address at cluster IPs"),
        (true, false) => (
            Impact::NewConnections,
            "clients in it are hidden behind the node at cluster IPs, unless known as Pods otherwise",
        ),
        (false, true) => (Impact::NewConnections, "addresses in it that no Service has are dropped"),
        (false, false) => (Impact::Nobody, "addresses in it that no Service has are left to the routes"),
    };
    let notices = notices.to_owned();
    Effect { impact, frontends: Vec::new(), change: row(difference), notices, nodes: BTreeSet::new() }
}

/// Rows of nobody, which go.
pub fn strays() -> Effect {
    let change = "rows that name no Service are removed".to_owned();
    let notices = "whoever dials what somebody wrote into the tables by hand".to_owned();
    Effect { impact: Impact::NewConnections, frontends: Vec::new(), change, notices, nodes: BTreeSet::new() }
}

/// `hairpin rule for 10.1.2.3 comes`
pub fn row(difference: &Difference) -> String {
    format!("{} {}", difference.subject(), if difference.missing { "comes" } else { "goes" })
}

/// What is dialled.
pub fn frontend(placed: &Placed) -> String {
    match placed {
        Placed::At(frontend) => frontend.to_string(),
        Placed::NodePort(frontend) if frontend.family() == Family::V6 => {
            format!("node port {}/{} (IPv6)", frontend.port, frontend.protocol)
        }
        Placed::NodePort(frontend) => format!("node port {}/{}", frontend.port, frontend.protocol),
    }
}

fn who(clients: Clients) -> &'static str {
    match clients {
        Clients::All => "clients",
        Clients::Inside => "pods and the node itself",
        Clients::Outside => "clients from outside",
    }
}

/// What becomes of new connections, after "new connections" or "clients".
fn outcome(fate: &Fate) -> String {
    match fate {
        Fate::Served(targets) => format!("go to {}", count(targets.len(), "endpoint")),
        Fate::Refused => "are refused: there is no ready endpoint".to_owned(),
        Fate::Dropped => "are dropped: the policy is Local, and there is no endpoint on the node".to_owned(),
    }
}

fn impact_of(fate: &Fate) -> Impact {
    if fate.is_served() { Impact::NewConnections } else { Impact::Nobody }
}

fn appears(clients: Clients, fate: &Fate) -> (Impact, String, String) {
    let said = match clients {
        Clients::All => "new connections".to_owned(),
        some => format!("new connections of {}", who(some)),
    };
    (impact_of(fate), "begins to answer".to_owned(), format!("{said} {}", outcome(fate)))
}

fn taken(owner: &ServiceId, served: bool) -> (Impact, String, String) {
    let change = format!("goes to Service {owner}, which has the stronger claim");
    match served {
        true => {
            let notices = "new connections reach another Service's endpoints; established TCP ones stay";
            (Impact::Interrupted, change, notices.to_owned())
        }
        false => (Impact::Nobody, change, "nobody: nobody was served".to_owned()),
    }
}

fn vanishes(served: bool, udp: bool) -> (Impact, String, String) {
    let change = "is not this node's to answer any more".to_owned();
    match (served, udp) {
        (false, _) => (Impact::Nobody, change, "nobody: nobody was served".to_owned()),
        (true, false) => (Impact::Interrupted, change, "new connections find nobody; established ones stay".to_owned()),
        (true, true) => (
            Impact::Interrupted,
            change,
            "clients find nobody from now on: the flows that are tracked are deleted".to_owned(),
        ),
    }
}

fn turned(clients: Clients, old: &Fate, new: &Fate, udp: bool) -> (Impact, String, String) {
    let who = who(clients);
    let stay = if udp { "" } else { "; established connections stay" };
    let notices = match (old, new) {
        (Fate::Served(_), Fate::Refused) => format!("{who} are refused from now on{stay}"),
        (Fate::Served(_), _) => format!("{who} hear nothing from now on{stay}"),
        (_, Fate::Served(_)) => format!("{who} are served from now on"),
        (_, Fate::Refused) => format!("{who} get an error at once instead of silence"),
        (_, Fate::Dropped) => format!("{who} hear nothing instead of an error"),
    };
    let change = match new {
        Fate::Served(targets) => format!("has {}, had none", count(targets.len(), "endpoint")),
        Fate::Refused => "refuses: no ready endpoint is left".to_owned(),
        Fate::Dropped => "drops: the policy is Local, and no endpoint is on the node".to_owned(),
    };
    let impact = if old.is_served() { Impact::Interrupted } else { Impact::NewConnections };
    (impact, change, notices)
}

fn endpoints(
    clients: Clients,
    added: &BTreeSet<Target>,
    removed: &BTreeSet<Target>,
    (before, after): (usize, usize),
    known: &Known,
) -> (Impact, String, String) {
    let leave =
        removed.iter().map(|target| format!("{} leaves{}", target_text(target, known), why_gone(target, known)));
    let join = added.iter().map(|target| format!("{} joins", target_text(target, known)));
    let change = shortened(leave.chain(join).collect());
    let of = if clients == Clients::All { String::new() } else { format!(" of {}", who(clients)) };
    let instead = if before == after { ", as before".to_owned() } else { format!(" instead of {before}") };
    let notices = format!("new connections{of} go to {}{instead}", count(after, "endpoint"));
    (Impact::NewConnections, change, notices)
}

/// Why an endpoint that is there all the same is not used.
fn why_gone(target: &Target, known: &Known) -> &'static str {
    match known.judged.get(target) {
        Some((Use::NotReady, _)) => " (not ready)",
        Some((Use::Terminating, _)) => " (terminating)",
        Some((Use::OtherNodeHint, _)) => " (its hints name other nodes)",
        Some((Use::OtherZoneHint, _)) => " (its hints name other zones)",
        Some((_, Use::NotLocal)) => " (on another node)",
        Some(_) => "",
        None => " (gone)",
    }
}

fn flows(targets: &BTreeSet<Target>, found: bool, known: &Known) -> (Impact, String, String) {
    let change = format!("tracked UDP flows to {} are deleted", targets_text(targets, known));
    let notices = match found {
        true => "UDP clients are moved at once: their next packet finds another endpoint",
        false => "UDP clients are cut off at once: no endpoint is left",
    };
    let impact = if found { Impact::NewConnections } else { Impact::Interrupted };
    (impact, change, notices.to_owned())
}

fn policy(from: Policy, to: Policy) -> (Impact, String, String) {
    let name = |policy| match policy {
        Policy::Internal => "internalTrafficPolicy Cluster",
        Policy::InternalLocal => "internalTrafficPolicy Local",
        Policy::External => "externalTrafficPolicy Cluster",
        Policy::ExternalLocal => "externalTrafficPolicy Local",
    };
    let notices = match to {
        Policy::Internal => "new connections go to endpoints of any node",
        Policy::InternalLocal => "new connections go to this node's endpoints only",
        Policy::External => "endpoints see the node's address instead of the client's; any node serves any endpoint",
        Policy::ExternalLocal => {
            "endpoints see the address of clients from outside instead of the node's; nodes without an endpoint drop them"
        }
    };
    (Impact::NewConnections, format!("{} instead of {}", name(to), name(from)), notices.to_owned())
}

fn guarded(now: &[IpRange]) -> (Impact, String, String) {
    let notices = "clients from elsewhere lose it: dropped, without an answer; established connections stay";
    (Impact::Interrupted, format!("only {} may come", ranges(now)), notices.to_owned())
}

fn sources(closed: &[IpRange], opened: &[IpRange], now: &[IpRange]) -> (Impact, String, String) {
    let change = format!("source ranges are {}", ranges(now));
    let loses = format!("clients of {} that are not in these lose it: dropped, without an answer", ranges(closed));
    let gains = format!("clients of {} are served", ranges(opened));
    match (closed.is_empty(), opened.is_empty()) {
        (true, _) => (Impact::NewConnections, change, gains),
        (false, true) => (Impact::Interrupted, change, format!("{loses}; established connections stay")),
        (false, false) => (Impact::Interrupted, change, format!("{loses}; {gains}; established connections stay")),
    }
}

fn affinity(from: Option<u32>, to: Option<u32>) -> (Impact, String, String) {
    let (change, notices) = match (from, to) {
        (_, None) => (
            "session affinity ends".to_owned(),
            "remembered clients are forgotten: each new connection goes to any endpoint".to_owned(),
        ),
        (None, Some(seconds)) => (
            format!("session affinity for {seconds} s"),
            "a client's new connections keep to the endpoint that its next one gets".to_owned(),
        ),
        (Some(from), Some(to)) => (
            format!("session affinity for {to} s instead of {from} s"),
            "remembered clients stay remembered; the new time counts from their next connection".to_owned(),
        ),
    };
    (Impact::NewConnections, change, notices)
}

fn health_check(from: Option<u16>, to: Option<u16>) -> (Impact, String, String) {
    match (from, to) {
        (None, Some(to)) => (
            Impact::NewConnections,
            format!("health check node port {to} answers"),
            "load balancers that ask it learn which nodes have endpoints".to_owned(),
        ),
        (Some(from), to) => {
            let now = to.map(|to| format!("; {to} does")).unwrap_or_default();
            let change = format!("health check node port {from} does not answer any more{now}");
            (Impact::Interrupted, change, "load balancers that ask it take the node for dead".to_owned())
        }
        (None, None) => (Impact::Nobody, String::new(), String::new()),
    }
}

fn health_ready(port: u16, before: usize, after: usize) -> (Impact, String, String) {
    let change = format!("health check node port {port} tells of {}, not {before}", count(after, "ready endpoint"));
    let notices = match (before, after) {
        (_, 0) => "load balancers turn away from the node",
        (0, _) => "load balancers turn to the node",
        _ => return (Impact::Nobody, change, "load balancers that weigh nodes by it".to_owned()),
    };
    (Impact::NewConnections, change, notices.to_owned())
}

/// `10.1.2.3:80 (web-1)`
fn target_text(target: &Target, known: &Known) -> String {
    match known.pods.get(target) {
        Some(pod) => format!("{target} ({pod})"),
        None => target.to_string(),
    }
}

fn targets_text(targets: &BTreeSet<Target>, known: &Known) -> String {
    shortened(targets.iter().map(|target| target_text(target, known)).collect())
}

fn ranges(ranges: &[IpRange]) -> String {
    if ranges.is_empty() { "nobody".to_owned() } else { joined(ranges) }
}

pub(super) fn joined<'a, T: ToString + 'a>(things: impl IntoIterator<Item = &'a T>) -> String {
    shortened(things.into_iter().map(ToString::to_string).collect())
}

fn shortened(mut parts: Vec<String>) -> String {
    if parts.len() > MOST_NAMED {
        let more = parts.len() - (MOST_NAMED - 1);
        parts.truncate(MOST_NAMED - 1);
        parts.push(format!("and {more} more"));
    }
    parts.join(", ")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
