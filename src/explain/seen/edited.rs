//! Our own program after somebody edited it: what it does with the packet now is read from the table as the kernel has it.

use std::collections::BTreeSet;

use super::{Sight, rules};
use crate::{
    explain::{
        Cause, Outcome, Stage,
        client::Role,
        near::list,
        report::{Fault, Report},
    },
    foreign::{Fate, Finding, Hook, MOST_RULES, Packet, Ruleset},
    model::Target,
    observed::Surroundings,
};

/// What becomes of the packet at one part of its way.
enum Now {
    /// It goes on as it should
    On,
    /// It ends, by this rule if one ends it
    Ends(Outcome, Option<String>),
    /// It depends on something whether it ends, by this rule
    Perhaps(String),
}

/// `things` are what is not as written, `table` is our table as it is.
pub(super) fn judge(sight: &Sight<'_>, things: &[String], table: Option<&Ruleset>, report: &mut Report) {
    let name = format!("{} portolan", sight.family().nft());
    let edited = format!("somebody edited the table {name} in the kernel: {}", list(things));
    let remedy = "start portolan run, which repairs it (or portolan apply), and find out who did it";
    let fault =
        |more: String| Fault::new(Stage::Kernel, Cause::ProgramEdited, format!("{edited}{more}"), remedy.to_owned());
    if report.is_broken() || report.prediction.outcome != Outcome::Answered {
        return report.remark(fault(String::new()));
    }
    let (Some(table), Ok(surroundings)) = (table, &sight.observed.surroundings) else {
        return match things.iter().any(|thing| is_on_the_way(sight, thing)) {
            true => report.breaks(fault(String::new()), Outcome::Passed),
            false => report.remark(fault(String::new())),
        };
    };
    if !sight.is_untranslated(report) {
        match first_hook(sight, table, surroundings) {
            Now::On | Now::Perhaps(_) => {}
            Now::Ends(outcome, rule) => {
                let more = rule.map_or("; it no longer leads the packet to an endpoint".to_owned(), ending);
                return report.breaks(fault(more), outcome);
            }
        }
    }
    let (lost, perhaps) = later_hooks(sight, table, surroundings, report);
    let all = report.prediction.endpoints.len();
    match lost.first() {
        Some((_, outcome, rule)) if lost.len() == all => report.breaks(fault(ending(rule.clone())), *outcome),
        Some((_, _, rule)) => {
            let to: Vec<String> = lost.iter().map(|(target, ..)| target.to_string()).collect();
            report.remark(fault(format!("; packets to {} end at {rule}", list(&to))));
            report.prediction.endpoints.retain(|target| !lost.iter().any(|(lost, ..)| lost == target));
        }
        None => {
            let hides = report.prediction.hidden && things.iter().any(|thing| hides(thing));
            let doubt = match (perhaps.first(), hides) {
                (Some(rule), _) => format!("; {rule} may be what ends the packet's way"),
                (None, true) => "; not known is whether the client's address is still hidden".to_owned(),
                (None, false) => "; packets as asked for still pass".to_owned(),
            };
            report.remark(fault(doubt));
        }
    }
}

fn ending(rule: String) -> String {
    format!("; the packet ends at {rule}")
}

/// Where the packet is to get its endpoint.
fn first_hook(sight: &Sight<'_>, table: &Ruleset, surroundings: &Surroundings) -> Now {
    let dialled = Target { address: sight.frontend.address, port: sight.frontend.port };
    let way = rules::way(sight, dialled, surroundings, false);
    let Some((first, rest)) = way.split_first() else { return Now::On };
    let mut left = MOST_RULES;
    let found = table.pass(std::slice::from_ref(first), &mut left);
    match found.iter().find(|finding| finding.certain || finding.fate == Fate::Translated) {
        Some(finding) if finding.fate == Fate::Translated => return Now::On,
        Some(finding) => return Now::Ends(outcome(finding), Some(finding.rule.clone())),
        None => {}
    }
    // Nothing leads it to an endpoint; then it goes where it was sent, if a later rule lets it.
    match decided(&table.pass(rest, &mut left)) {
        Now::On | Now::Perhaps(_) => Now::Ends(Outcome::Passed, None),
        ends => ends,
    }
}

/// What becomes of packets that were led to an endpoint: those that end, and rules of which that is not known.
fn later_hooks(
    sight: &Sight<'_>,
    table: &Ruleset,
    surroundings: &Surroundings,
    report: &Report,
) -> (Vec<(Target, Outcome, String)>, BTreeSet<String>) {
    let (mut lost, mut perhaps, mut left) = (Vec::new(), BTreeSet::new(), MOST_RULES);
    for target in &report.prediction.endpoints {
        let way = rules::way(sight, *target, surroundings, report.prediction.hidden);
        // What the first hook does to packets before their translation was looked at.
        let way: Vec<(Hook, Packet)> = way.into_iter().filter(|(hook, _)| *hook != Hook::Prerouting).collect();
        match decided(&table.pass(&way, &mut left)) {
            Now::On => {}
            Now::Ends(outcome, rule) => lost.push((*target, outcome, rule.unwrap_or_default())),
            Now::Perhaps(rule) => drop(perhaps.insert(rule)),
        }
    }
    (lost, perhaps)
}

/// Whether the packet is thrown away or refused. Our own translation is none of somebody else's.
fn decided(findings: &[Finding]) -> Now {
    let mut ends = findings.iter().filter(|finding| matches!(finding.fate, Fate::Dropped | Fate::Refused));
    match ends.clone().find(|finding| finding.certain) {
        Some(finding) => Now::Ends(outcome(finding), Some(finding.rule.clone())),
        None => ends.next().map_or(Now::On, |finding| Now::Perhaps(finding.rule.clone())),
    }
}

fn outcome(finding: &Finding) -> Outcome {
    match finding.fate {
        Fate::Dropped => Outcome::Dropped,
        Fate::Refused => Outcome::Refused,
        Fate::Translated | Fate::Untracked => Outcome::Passed,
    }
}

/// The chain in `ip chain internal`.
fn chain(thing: &str) -> Option<&str> {
    thing.split(' ').skip_while(|word| *word != "chain").nth(1)
}

/// Whether a client's address is hidden there.
fn hides(thing: &str) -> bool {
    chain(thing).is_some_and(|chain| {
        ["postrouting", "hide-source", "hide-marked"].contains(&chain)
            || ["internal", "external", "guarded-external"].iter().any(|policy| chain.starts_with(policy))
    })
}

/// Whether a chain is one that this packet meets, where the table itself could not be read. What is no chain of ours may be
/// anything.
fn is_on_the_way(sight: &Sight<'_>, thing: &str) -> bool {
    let Some(chain) = chain(thing) else { return thing.split(' ').count() <= 3 };
    let hook: &[&str] = match sight.client.role {
        Role::Host => &["output", "filter-output"],
        _ => &["prerouting", "filter-forward", "filter-input"],
    };
    let always = ["postrouting", "hide-source", "hide-marked", "check-destination", "refuse"];
    let policy = sight.plan().and_then(|plan| {
        let mut all = plan.ports.into_iter().flat_map(|port| port.frontends);
        all.find(|own| own.frontend == sight.frontend).map(|own| own.policy.chain())
    });
    let plain = chain.trim_start_matches("guarded-").trim_start_matches("local-");
    hook.contains(&chain)
        || always.contains(&chain)
        || policy == Some(plain)
        || ["pick-", "sticky-"].iter().any(|prefix| plain.starts_with(prefix))
}
