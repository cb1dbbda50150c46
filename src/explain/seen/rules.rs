//! What rules of others do with the packet, on its way to each endpoint that may be picked.

use std::net::IpAddr;

use super::{Sight, node::is_here};
use crate::{
    explain::{
        Cause, Mark, Outcome, Stage,
        client::Role,
        near::list,
        report::{Fault, Report},
    },
    foreign::{Fate, Finding, Hook, Packet},
    model::{Family, Target},
    observed::{Route, Surroundings},
};

pub(super) fn judge(sight: &Sight<'_>, report: &mut Report) {
    let Ok(surroundings) = &sight.observed.surroundings else { return };
    let endpoints = report.prediction.endpoints.clone();
    let (mut ended, mut doubtful): (Vec<(Target, Finding)>, Vec<Finding>) = (Vec::new(), Vec::new());
    for target in &endpoints {
        for finding in surroundings.foreign.pass(&way(sight, *target, surroundings, report.prediction.hidden)) {
            if finding.certain {
                ended.push((*target, finding));
                break;
            }
            doubtful.push(finding);
        }
    }
    doubtful.sort();
    doubtful.dedup_by(|a, b| a.rule == b.rule);
    for finding in &doubtful {
        let depends = list(&finding.depends_on);
        let text = format!("{} may be what {}; that depends on: {depends}", finding.rule, fate(finding.fate));
        report.step(Stage::Foreign, Mark::Unknown, text);
    }
    if let Some((_, first)) = ended.first() {
        fails(first, &ended, endpoints.len(), sight.client.role == Role::Outside, report);
    } else if doubtful.is_empty() && !endpoints.is_empty() {
        report.good(Stage::Foreign, "no rule of another table stops or diverts the packet");
    }
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

/// The packet at each hook that it meets.
pub(super) fn way(sight: &Sight<'_>, target: Target, surroundings: &Surroundings, hidden: bool) -> Vec<(Hook, Packet)> {
    let interface = |address: IpAddr| match surroundings.routes.get(&address) {
        Some(Route::Out { interface, .. }) => Some(interface.clone()),
        _ => None,
    };
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
