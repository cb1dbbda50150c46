//! Whether the kernel holds what is wanted, and whether the agent keeps it so.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{Sight, affinity, edited, unseen};
use crate::{
    explain::{
        Cause, Mark, Outcome, Stage,
        near::list,
        report::{Fault, Report},
    },
    model::{Family, IpRange, Target},
    observed::{AgentReport, ProgramState, Programmed, Silence},
    tables::Difference,
};

pub(super) fn judge(sight: &Sight<'_>, report: &mut Report) {
    let behind = match &sight.observed.programmed {
        Ok(programmed) => {
            if program(sight, programmed, report) {
                rows(sight, programmed, report)
            } else {
                true
            }
        }
        Err(why) => {
            unseen(report, Stage::Kernel, "the kernel's tables", why);
            false
        }
    };
    agent(sight, behind, report);
    if let Ok(programmed) = &sight.observed.programmed {
        counters(sight, programmed, report);
        affinity::judge(sight, programmed, report);
    }
}

/// The program. Returns whether it is there, so that its rows matter.
fn program(sight: &Sight<'_>, programmed: &Programmed, report: &mut Report) -> bool {
    let family = sight.family();
    let table = format!("{} portolan", family.nft());
    let node = &sight.scene.world.node.name;
    match programmed.programs.get(&family) {
        Some(ProgramState::Intact) => report.good(Stage::Kernel, format!("the program in table {table} is intact")),
        None => report.step(
            Stage::Kernel,
            Mark::Unknown,
            format!("whether somebody edited table {table} could not be found out: that takes CAP_SYS_ADMIN, which this process (or the container it is in) does not have"),
        ),
        Some(ProgramState::Missing) => {
            let because = format!("the table {table} is not in the kernel of {node}: no Service works here");
            let remedy = "start portolan run there (or portolan apply)";
            absent(sight, Fault::new(Stage::Kernel, Cause::NotProgrammed, because, remedy), report);
            return false;
        }
        Some(ProgramState::Dormant) => {
            let because = format!(
                "somebody switched off the table {table} in the kernel of {node} (flag dormant): no Service works here"
            );
            let remedy = "start portolan run there, which writes it anew (or portolan apply), and find out who did it";
            absent(sight, Fault::new(Stage::Kernel, Cause::ProgramEdited, because, remedy), report);
            return false;
        }
        Some(ProgramState::Other) => {
            let because =
                format!("the program in table {table} is of another version of portolan, or of other settings");
            let remedy = "if portolan run has other settings than those given here, give the same (--config); else restart it: it \
                          replaces the program without a gap";
            report.remark(Fault::new(Stage::Kernel, Cause::KernelDiffers, because, remedy));
        }
        Some(ProgramState::Damaged(things)) => {
            edited::judge(sight, things, programmed.edited.get(&family), report);
        }
    }
    true
}

/// No packet meets the program: neither is anything translated, nor refused.
fn absent(sight: &Sight<'_>, fault: Fault, report: &mut Report) {
    match sight.is_untranslated(report) {
        true => report.remark(fault),
        false => report.overrules(fault, Outcome::Passed),
    }
}

/// The rows of the Service. Returns whether they lag behind what is wanted, and that was said.
fn rows(sight: &Sight<'_>, programmed: &Programmed, report: &mut Report) -> bool {
    let all = &programmed.differences;
    let differences: Vec<&Difference> = all.iter().filter(|difference| concerns(sight, difference)).collect();
    if differences.is_empty() {
        report.good(Stage::Kernel, format!("the kernel holds for {} what is wanted", sight.frontend));
        for other in all {
            report.note(Stage::Kernel, format!("elsewhere of the same Service or node: {other}"));
        }
        return false;
    }
    let shown: Vec<String> = differences.iter().map(ToString::to_string).collect();
    let (cause, why, remedy) = reason(sight, all);
    let because = format!("{why}the kernel does not hold for {} what is wanted: {}", sight.frontend, list(&shown));
    let fault = Fault::new(Stage::Kernel, cause, because, remedy);
    if report.is_broken() {
        report.step(Stage::Kernel, Mark::Warning, fault.because);
        return true;
    }
    match effect(sight, programmed, &differences, report) {
        Some(outcome) => report.breaks(fault, outcome),
        None => report.remark(fault),
    }
    cause == Cause::AgentDead
}

/// Whether a difference concerns this packet.
fn concerns(sight: &Sight<'_>, difference: &Difference) -> bool {
    match difference.frontends.is_empty() {
        false => difference.frontends.contains(&sight.frontend),
        true => match difference.what.strip_prefix("pod range ").map(str::parse::<IpNet>) {
            Some(Ok(range)) => Family::of(range.network()) == sight.family(),
            Some(Err(_)) => false,
            None => difference.what.starts_with("session affinity"),
        },
    }
}

/// Who is to blame. Somebody's hand takes things away, or makes an endpoint lead elsewhere; what is left over as a whole
/// was right once.
fn reason(sight: &Sight<'_>, all: &[Difference]) -> (Cause, String, String) {
    let node = &sight.scene.world.node.name;
    let was_right = all.iter().any(|d| !d.missing && !is_bent(d, all) && !is_added(d, all));
    let repair = "start portolan run on the node, which repairs it".to_owned();
    match &sight.observed.agent {
        Ok(AgentReport { refused: Some(refused), .. }) => {
            let because = format!("the kernel refuses the rows of the Service ({refused}): ");
            (Cause::KernelRefused, because, "see the log of portolan run".to_owned())
        }
        Ok(AgentReport { source_stale: Some(since), source_error, .. }) => {
            let error = source_error.as_deref().unwrap_or("it is silent");
            let because = format!("the agent has not heard of its source of objects since {since} ({error}): ");
            (Cause::SourceStale, because, "mend the source: API server or manifests".to_owned())
        }
        Err(Silence { gone: true, .. }) if was_right => {
            (Cause::AgentDead, format!("portolan run does not run on {node}: "), repair)
        }
        Err(Silence { why, .. }) if was_right => {
            (Cause::AgentDead, format!("portolan run is behind on {node}, if it runs at all ({why}): "), repair)
        }
        Err(_) => (Cause::KernelDiffers, String::new(), repair),
        Ok(_) => (
            Cause::KernelDiffers,
            String::new(),
            "see the log of portolan run: it should have repaired this".to_owned(),
        ),
    }
}

/// An endpoint that is left over where only its port is wrong.
fn is_bent(difference: &Difference, all: &[Difference]) -> bool {
    let Some((_, target)) = endpoint(difference) else { return false };
    let missing = all.iter().filter(|other| other.missing).filter_map(endpoint);
    missing.into_iter().any(|(_, wanted)| wanted.address == target.address && wanted.port != target.port)
}

/// A dead end beside the frontend: at no time were both wanted.
fn is_added(difference: &Difference, all: &[Difference]) -> bool {
    let is_end = |what: &str| what.starts_with("refusal") || what.starts_with("drop");
    let instead = |other: &Difference| {
        let there = !other.frontends.is_disjoint(&difference.frontends);
        there && other.missing && (other.what.starts_with("frontend") || is_end(&other.what))
    };
    is_end(&difference.what) && !all.iter().any(instead)
}

/// What the differences do to this packet, if that is the end of its way. Sets who answers instead.
fn effect(
    sight: &Sight<'_>,
    programmed: &Programmed,
    differences: &[&Difference],
    report: &mut Report,
) -> Option<Outcome> {
    let missing = |prefix: &str| differences.iter().any(|d| d.missing && d.what.starts_with(prefix));
    let left = |prefix: &str| differences.iter().any(|d| !d.missing && d.what.starts_with(prefix));
    // A cluster IP is one of those where everything else is refused; of other addresses the kernel knows nothing.
    let of_cluster = sight.plan().is_some_and(|plan| plan.cluster_ips.contains(&sight.frontend.address));
    let nowhere = if of_cluster { Outcome::Refused } else { Outcome::Passed };
    let served = report.prediction.outcome == Outcome::Answered;
    if !served {
        return None;
    }
    if missing("frontend") && !left("frontend") {
        return Some(if left("drop") {
            Outcome::Dropped
        } else if left("refusal") {
            Outcome::Refused
        } else {
            nowhere
        });
    }
    if missing("affinity look-up") && !left("affinity look-up") {
        return Some(nowhere);
    }
    // With session affinity the choice is only for clients that are not remembered.
    if missing("choice") && !left("choice") && !affinity::serves(sight, programmed, report) {
        return Some(nowhere);
    }
    let away = differences.iter().filter(|d| d.missing).filter_map(|d| d.what.strip_prefix("source range "));
    let client = sight.client_address();
    if away.into_iter().any(|range| client.is_none_or(|client| contains(range, client))) {
        return Some(Outcome::Dropped);
    }
    endpoints(differences, report).then_some(nowhere)
}

/// Who answers by what the kernel holds. Returns whether nobody does.
fn endpoints(differences: &[&Difference], report: &mut Report) -> bool {
    let of = |missing: bool| -> BTreeSet<Target> {
        differences
            .iter()
            .filter(|d| d.missing == missing)
            .filter_map(|d| endpoint(d))
            .map(|(_, target)| target)
            .collect()
    };
    let (missing, left) = (of(true), of(false));
    let bent =
        |target: &&Target| missing.iter().any(|wanted| wanted.address == target.address && wanted.port != target.port);
    let still: BTreeSet<Target> = report.prediction.endpoints.difference(&missing).copied().collect();
    let astray: BTreeSet<Target> = left.iter().filter(|target| !bent(target)).copied().collect();
    let all: BTreeSet<Target> = still.union(&astray).copied().collect();
    if all.is_empty() {
        return true;
    }
    report.prediction.endpoints = all;
    false
}

/// `local endpoint 10.1.2.3:8080` taken apart.
fn endpoint(difference: &Difference) -> Option<(bool, Target)> {
    let (local, text) = match difference.what.strip_prefix("local ") {
        Some(text) => (true, text),
        None => (false, difference.what.as_str()),
    };
    let address: std::net::SocketAddr = text.strip_prefix("endpoint ")?.parse().ok()?;
    Some((local, Target { address: address.ip(), port: address.port() }))
}

/// Whether a range as [`IpRange`] is written has an address.
fn contains(range: &str, address: IpAddr) -> bool {
    if let Ok(net) = range.parse::<IpNet>() {
        return IpRange::from(net).contains(address);
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let ends = first.parse().ok().zip(last.parse().ok());
    ends.is_some_and(|(first, last)| IpRange { first, last }.contains(address))
}

/// The agent. `behind`: that the kernel is not as wanted for want of one was said already.
fn agent(sight: &Sight<'_>, behind: bool, report: &mut Report) {
    let node = &sight.scene.world.node.name;
    match &sight.observed.agent {
        Err(Silence { why, .. }) if behind => {
            report.step(Stage::Agent, Mark::Warning, format!("portolan run does not answer: {why}"));
        }
        Err(Silence { why, gone: true, .. }) => {
            let because = format!(
                "portolan run does not run on {node} (nobody listens for changes of its tables, and {why}), so nothing follows changes"
            );
            report.remark(Fault::new(Stage::Agent, Cause::AgentDead, because, "start portolan run there"));
        }
        Err(Silence { why, mute: true, .. }) => {
            let text = format!("portolan run was not heard: by these settings it serves no metrics ({why})");
            report.step(Stage::Agent, Mark::Unknown, text);
        }
        Err(Silence { why, .. }) => {
            let text = format!(
                "portolan run was not heard ({why}): it may run, and serve its metrics elsewhere (--metrics-bind-address)"
            );
            report.note(Stage::Agent, text);
        }
        Ok(agent) => {
            if *agent.node != *sight.scene.world.node.name {
                let text = format!("the agent that answers is that of node {}, not of {node}", agent.node);
                report.step(Stage::Agent, Mark::Warning, text);
            }
            report.good(
                Stage::Agent,
                match agent.programmed {
                    Some(at) => {
                        format!("the agent runs; it last changed the Service's rows at {at}: {}", list(&agent.changed))
                    }
                    None => "the agent runs; the Service's rows are as it found them when it started".to_owned(),
                },
            );
            trouble(agent, behind, report);
        }
    }
}

/// What the agent complains of.
fn trouble(agent: &AgentReport, said: bool, report: &mut Report) {
    if let Some(refused) = agent.refused.as_ref().filter(|_| !said) {
        let because = format!("the kernel refuses the rows of the Service, which keeps its last good state: {refused}");
        report.remark(Fault::new(Stage::Agent, Cause::KernelRefused, because, "see the log of portolan run"));
    }
    if let Some(since) = agent.source_stale.filter(|_| !said) {
        let error = agent.source_error.as_deref().unwrap_or("it is silent");
        let because = format!(
            "the agent has not heard of its source of objects since {since} ({error}), so it may not know the latest"
        );
        let remedy = "mend the source: API server or manifests";
        report.remark(Fault::new(Stage::Agent, Cause::SourceStale, because, remedy));
    }
}

fn counters(sight: &Sight<'_>, programmed: &Programmed, report: &mut Report) {
    if let Some(counters) = programmed.counters.get(&sight.frontend) {
        let text = format!(
            "{} new connections to {} went to endpoints, {} met a dead end, since it was programmed",
            counters.served, sight.frontend, counters.dead_end
        );
        report.note(Stage::Kernel, text);
    }
}
