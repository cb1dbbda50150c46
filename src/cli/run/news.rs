//! What a pass changed, Service by Service, in words and with the reasons of the plan.

use std::net::SocketAddr;

use crate::{
    agent::Synced,
    compile::{ServicePlan, Use},
    desired::Desired,
    model::{ServiceId, Target},
    tables::{Difference, Owner},
};

/// So many lines are told of one Service: the reasons of more would cost more than anybody reads.
const MOST_LINES: usize = 10;

/// What became of each Service's rows. There are no words for rows that moved in ways that nobody notices, and for most of
/// the Services that change together with very many others.
pub fn of_services(synced: &Synced, desired: &Desired) -> Vec<(ServiceId, Vec<String>)> {
    let service = |owner: &Owner| match owner {
        Owner::Service(id) => Some((id.clone(), words(id, synced.news.get(owner).map_or(&[], Vec::as_slice), desired))),
        Owner::Node | Owner::Stray => None,
    };
    synced.changed.iter().filter_map(service).collect()
}

fn words(id: &ServiceId, news: &[Difference], desired: &Desired) -> Vec<String> {
    let gone = |difference: &Difference| !difference.missing && endpoint(difference).is_some();
    let shown = &news[..news.len().min(MOST_LINES)];
    let plan = if shown.iter().any(gone) { desired.plan(id) } else { None };
    let line = |difference: &Difference| {
        let verb = if difference.missing { "added" } else { "removed" };
        let reason = plan.as_ref().filter(|_| gone(difference)).and_then(|plan| why_gone(plan, difference));
        format!("{verb} {}{}", difference.subject(), reason.map(|reason| format!(": {reason}")).unwrap_or_default())
    };
    let mut lines: Vec<String> = shown.iter().map(line).collect();
    if news.len() > shown.len() {
        lines.push(format!("and {} more", news.len() - shown.len()));
    }
    lines
}

/// The endpoint that a difference is about, and whether as one of the local list.
fn endpoint(difference: &Difference) -> Option<(Target, bool)> {
    let text = difference.what.strip_prefix("local ");
    let target: SocketAddr = text.unwrap_or(&difference.what).strip_prefix("endpoint ")?.parse().ok()?;
    Some((Target { address: target.ip(), port: target.port() }, text.is_some()))
}

/// Why an endpoint is not used any more.
fn why_gone(plan: &ServicePlan, gone: &Difference) -> Option<&'static str> {
    let (target, local) = endpoint(gone)?;
    let judged = plan.ports.iter().flat_map(|port| &port.selection.judged).find(|judged| judged.target == target);
    let Some(judged) = judged else { return Some("it is gone") };
    match if local { judged.local } else { judged.all } {
        Use::Ready | Use::LastResort => None,
        Use::NotReady => Some("not ready"),
        Use::Terminating => Some("terminating"),
        Use::OtherNodeHint => Some("its hints name other nodes"),
        Use::OtherZoneHint => Some("its hints name other zones"),
        Use::NotLocal => Some("on another node"),
    }
}
