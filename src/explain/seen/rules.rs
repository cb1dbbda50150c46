//! What rules of others do with the packet, on its way to each endpoint that may be picked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Sight, node::is_here};
use crate::{
    explain::{
        Cause, Mark, Outcome, Stage,
        client::Role,
        near::{count, list},
        report::{Fault, Report},
    },
    foreign::{Fate, Finding, Hook, MOST_RULES, Packet},
    model::{Family, Target},
    observed::{Route, Surroundings},
};

/// Rules of which it is not known whether they match: so many are listed.
const LISTED: usize = 10;

pub(super) fn judge(sight: &Sight<'_>, report: &mut Report) {
    let Ok(surroundings) = &sight.observed.surroundings else { return };
    let hidden = report.prediction.hidden;
    let endpoints = in_turn(&report.prediction.endpoints, surroundings);
    let (mut ended, mut doubtful): (Vec<(Target, Finding)>, BTreeMap<String, Finding>) = Default::default();
    let (mut left, mut looked) = (MOST_RULES, 0);
    for target in &endpoints {
        if left == 0 {
            break;
        }
        looked += 1;
        for finding in surroundings.foreign.pass(&way(sight, *target, surroundings, hidden), &mut left) {
            if finding.certain {
                ended.push((*target, finding));
                break;
            }
            doubtful.entry(finding.rule.clone()).or_insert(finding);
        }
    }
    say_doubtful(&doubtful, report);
    let old = old_tables(sight.family(), surroundings, report);
    let clean = say_unseen(surroundings, endpoints.len() - looked, report) && !old;
    if let Some((_, first)) = ended.first() {
        fails(first, &ended, looked, sight.client.role == Role::Outside, report);
    } else if doubtful.is_empty() && !endpoints.is_empty() && clean {
        report.good(Stage::Foreign, "no rule of another table stops or diverts the packet");
    }
}

/// The endpoints, first one for each way that differs in more than the address: with many of them and many rules, not all
/// are looked at.
fn in_turn(endpoints: &BTreeSet<Target>, surroundings: &Surroundings) -> Vec<Target> {
    let mut known = BTreeSet::new();
    let is_new = |target: &&Target| {
        let interface = interface(target.address, surroundings);
        known.insert((is_here(target, surroundings), interface, target.port))
    };
    let (mut first, rest): (Vec<&Target>, Vec<&Target>) = endpoints.iter().partition(is_new);
    first.extend(rest);
    first.into_iter().copied().collect()
}

fn say_doubtful(doubtful: &BTreeMap<String, Finding>, report: &mut Report) {
    for (rule, finding) in doubtful.iter().take(LISTED) {
        let depends = list(&finding.depends_on);
        let text = format!("{rule} may be what {}; that depends on: {depends}", fate(finding.fate));
        report.step(Stage::Foreign, Mark::Unknown, text);
    }
    if let Some((rule, finding)) = doubtful.iter().next() {
        let others = match doubtful.len() - 1 {
            0 => String::new(),
            others => format!(", and the same of {}", count(others, "other rule")),
        };
        let depends = list(&finding.depends_on);
        report.unsure(format!("whether {rule} {} the packet, which depends on: {depends}{others}", fate(finding.fate)));
    }
    let more = doubtful.len().saturating_sub(LISTED);
    if more > 0 {
        report.step(Stage::Foreign, Mark::Unknown, format!("and {more} more rules may"));
    }
}

/// The tables of an iptables that shows them to nobody else. Returns whether there are any.
fn old_tables(family: Family, surroundings: &Surroundings, report: &mut Report) -> bool {
    let Some(tables) = surroundings.old_tables.get(&family).filter(|tables| !tables.is_empty()) else { return false };
    let program = if family == Family::V4 { "iptables-legacy" } else { "ip6tables-legacy" };
    let tables = tables.join(", ");
    let text = format!("the rules of {program} (tables {tables}) were not looked at: {program}-save shows them");
    report.step(Stage::Foreign, Mark::Unknown, text);
    report.unsure(format!("whether a rule of {program} (tables {tables}) stops the packet: {program}-save shows them"));
    true
}

/// What was not looked at. Returns whether that is nothing.
fn say_unseen(surroundings: &Surroundings, endpoints: usize, report: &mut Report) -> bool {
    for reason in &surroundings.unread_tables {
        report.step(Stage::Foreign, Mark::Unknown, reason.clone());
    }
    if !surroundings.unread_tables.is_empty() {
        report.unsure("whether a rule of another table stops or diverts the packet: not every table could be read");
    }
    if endpoints > 0 {
        let what = format!("whether a rule of another table stops packets to {}", count(endpoints, "other endpoint"));
        report.step(Stage::Foreign, Mark::Unknown, format!("{what} was not looked at: there are too many rules"));
        report.unsure(format!("{what}: there are too many rules"));
    }
    surroundings.unread_tables.is_empty() && endpoints == 0
}

fn fails(first: &Finding, ended: &[(Target, Finding)], all: usize, outside: bool, report: &mut Report) {
    let (cause, outcome) = match first.fate {
        Fate::Dropped => (Cause::ForeignRule, Outcome::Dropped),
        Fate::Refused => (Cause::ForeignRule, Outcome::Refused),
        // An answer that takes another way back is none to the client.
        Fate::Translated if first.to.is_some() && outside => (Cause::ForeignTranslation, Outcome::Dropped),
        Fate::Translated if first.to.is_some() => (Cause::ForeignTranslation, Outcome::Answered),
        Fate::Translated | Fate::Untracked => (Cause::ForeignTranslation, Outcome::Passed),
    };
    let to: Vec<String> = ended.iter().map(|(target, _)| target.to_string()).collect();
    let to = if ended.len() == all { String::new() } else { format!(" to {}", list(&to)) };
    let because = format!("a rule of another table {} the packets{to}: {}", fate(first.fate), first.rule);
    let remedy = "change that rule, or let the pods' range pass ahead of it";
    let fault = Fault::new(Stage::Foreign, cause, because, remedy);
    if ended.len() == all {
        report.breaks(fault, outcome);
        report.prediction.endpoints.extend(first.to.filter(|_| outcome == Outcome::Answered));
    } else {
        report.remark(fault);
        // Some connections are lost; these do not answer.
        report.prediction.endpoints.retain(|target| !ended.iter().any(|(lost, _)| lost == target));
    }
}

/// The interface that packets to an address leave by, and those from it come by.
fn interface(address: IpAddr, surroundings: &Surroundings) -> Option<&String> {
    match surroundings.routes.get(&address) {
        Some(Route::Out { interface, .. }) => Some(interface),
        _ => None,
    }
}

/// The packet at each hook that it meets.
pub(super) fn way(sight: &Sight<'_>, target: Target, surroundings: &Surroundings, hidden: bool) -> Vec<(Hook, Packet)> {
    let interface = |address: IpAddr| interface(address, surroundings).cloned();
    let source = source(sight);
    let host = sight.client.role == Role::Host;
    let before = Packet {
        family: sight.family(),
        protocol: sight.frontend.protocol,
        source: (source, None),
        destination: target,
        dialled: Target { address: sight.frontend.address, port: sight.frontend.port },
        incoming: if host { None } else { interface(source) },
        outgoing: None,
        mark: 0,
    };
    let mark = if hidden { sight.scene.settings.mark() } else { 0 };
    let after = Packet { outgoing: interface(target.address), mark, ..before.clone() };
    match (host, is_here(&target, surroundings)) {
        (true, false) => vec![(Hook::Output, before), (Hook::Postrouting, after)],
        (true, true) => vec![(Hook::Output, before), (Hook::Postrouting, after.clone()), (Hook::Input, after)],
        (false, true) => vec![(Hook::Prerouting, before), (Hook::Input, after)],
        (false, false) => vec![(Hook::Prerouting, before), (Hook::Forward, after.clone()), (Hook::Postrouting, after)],
    }
}

/// The client's address, or one that it may have.
fn source(sight: &Sight<'_>) -> IpAddr {
    let family = sight.family();
    let some = || match (sight.client.role, sight.scene.settings.detector.range_of(family)) {
        (Role::Pod | Role::FarPod, Some(range)) => range.network(),
        _ => match family {
            // Addresses of nobody, which no rule is made for.
            Family::V4 => IpAddr::from([0, 0, 0, 0]),
            Family::V6 => IpAddr::from([0; 16]),
        },
    };
    sight.client_address().unwrap_or_else(some)
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Dropped => "drops",
        Fate::Refused => "refuses",
        Fate::Translated => "diverts",
        Fate::Untracked => "keeps from connection tracking, and so from any translation,",
    }
}
