//! Clients that session affinity knows already. They go where the maps say, whether or not that is an endpoint still: the
//! chain `sticky-X` does not ask who the endpoints are (rules/README.md).

use super::Sight;
use crate::{
    compile::{Path, PortPlan, Use, affinity_group, path},
    explain::{
        Cause, Outcome, Stage,
        near::list,
        report::{Fault, Report},
        serve::of_list,
    },
    model::{Family, ServiceId},
    observed::{ListName, Programmed, RememberedClient},
    tables::{List, TABLE},
};

pub(super) fn judge(sight: &Sight<'_>, programmed: &Programmed, report: &mut Report) {
    if report.is_broken() {
        return;
    }
    with_port(sight, |port, list| {
        let mut known = of_port(sight, programmed, port, list);
        match sight.client_address() {
            Some(client) => {
                if let Some(known) = known.find(|known| known.client == client) {
                    pinned(sight, known, port, list, report);
                }
            }
            None => others(known, &port.id.service, report),
        }
    });
}

/// Whether the client is remembered for an endpoint that it may go to, so that it needs no choice.
pub(super) fn serves(sight: &Sight<'_>, programmed: &Programmed, report: &Report) -> bool {
    let Some(client) = sight.client_address() else { return false };
    let used = |known: &RememberedClient| report.prediction.endpoints.contains(&known.target);
    with_port(sight, |port, list| {
        of_port(sight, programmed, port, list).any(|known| known.client == client && used(known))
    })
    .unwrap_or_default()
}

/// Calls `then` with the service port and the list that the packet meets, if it is served.
fn with_port<T>(sight: &Sight<'_>, then: impl FnOnce(&PortPlan<'_>, List) -> T) -> Option<T> {
    let plan = sight.plan()?;
    let own = |port: &&PortPlan<'_>| port.frontends.iter().any(|own| own.frontend == sight.frontend);
    let port = plan.ports.iter().find(own)?;
    let frontend = port.frontends.iter().find(|own| own.frontend == sight.frontend)?;
    let sender = sight.client.sender(sight.family(), sight.scene);
    match path(frontend, port, &sender, &sight.scene.settings) {
        Path::Served { list, .. } => Some(then(port, list)),
        _ => None,
    }
}

/// The clients that one list of a service port knows.
fn of_port<'a>(
    sight: &Sight<'_>,
    programmed: &'a Programmed,
    port: &PortPlan<'_>,
    list: List,
) -> impl Iterator<Item = &'a RememberedClient> {
    let (family, id) = (sight.family(), port.id.clone());
    programmed.remembered.iter().filter(move |known| {
        known.list == ListName::from(list)
            && known.protocol == id.protocol
            && *known.port_name == *id.name
            && Family::of(known.client) == family
    })
}

/// The client itself is remembered.
fn pinned(sight: &Sight<'_>, known: &RememberedClient, port: &PortPlan<'_>, list: List, report: &mut Report) {
    let RememberedClient { target, expires, .. } = known;
    let judged = port.selection.judged.iter().find(|judged| judged.target == *target);
    let verdict = judged.map(|judged| of_list(judged, list));
    if report.prediction.endpoints.contains(target) || verdict.is_some_and(Use::is_used) {
        let text = format!("the client is remembered: it goes to {target} for another {expires} s");
        report.note(Stage::Affinity, text);
        report.prediction.endpoints = [*target].into();
        return;
    }
    // Somebody has the address, and may answer.
    let lives = sight.scene.pod_name_at(target.address);
    let what = match verdict {
        Some(Use::NotReady) => "is not ready".to_owned(),
        Some(Use::Terminating) => "is terminating".to_owned(),
        Some(_) => "is not used any more".to_owned(),
        None => match &lives {
            Some(pod) => format!("is no endpoint any more ({pod})"),
            None => "is no endpoint any more".to_owned(),
        },
    };
    let because = format!(
        "session affinity of Service {} sends the client to {target} for another {expires} s, and that {what}",
        port.id.service
    );
    let fault = Fault::new(Stage::Affinity, Cause::StaleAffinity, because, forget(known, port, list));
    if judged.is_some() || lives.is_some() {
        report.remark(fault);
        report.prediction.endpoints = [*target].into();
    } else {
        report.breaks(fault, Outcome::Dropped);
    }
}

/// It is not known who asks, and some are remembered for what nobody else gets.
fn others<'a>(known: impl Iterator<Item = &'a RememberedClient>, id: &ServiceId, report: &mut Report) {
    let stale = known.filter(|known| !report.prediction.endpoints.contains(&known.target));
    let stale: Vec<String> = stale.map(|known| format!("{} -> {}", known.client, known.target)).collect();
    if stale.is_empty() {
        return;
    }
    let because = format!(
        "session affinity of Service {id} sends clients to endpoints that are not used any more: {}",
        list(&stale)
    );
    let remedy = "ask with --from for one of them; portolan get affinity shows all";
    report.remark(Fault::new(Stage::Affinity, Cause::StaleAffinity, because, remedy));
}

/// How the kernel is made to forget a client.
fn forget(known: &RememberedClient, port: &PortPlan<'_>, list: List) -> String {
    let by_hand = affinity_group(port).map(|group| {
        let (family, map) = (port.family.nft(), group.addresses(list));
        format!("; by hand: nft delete element {family} {TABLE} {map} '{{ {} }}'", known.client)
    });
    let log = "see the log of portolan run, which should have made the kernel forget it";
    format!("{log}{}", by_hand.unwrap_or_default())
}
