//! What a pass changed, Service by Service, in words and with the reasons of the plan.

use crate::{
    agent::Synced,
    compile::{ServicePlan, Use},
    desired::Desired,
    model::ServiceId,
    tables::{Difference, Owner},
};

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
    if news.is_empty() {
        return Vec::new();
    }
    let plan = desired.plan(id);
    let line = |difference: &Difference| {
        let verb = if difference.missing { "added" } else { "removed" };
        let reason = match &plan {
            Some(plan) if !difference.missing => why_gone(plan, difference).map(|reason| format!(": {reason}")),
            _ => None,
        };
        format!("{verb} {}{}", difference.subject(), reason.unwrap_or_default())
    };
    news.iter().map(line).collect()
}

/// Why an endpoint is not used any more.
fn why_gone(plan: &ServicePlan, gone: &Difference) -> Option<&'static str> {
    let target = gone.what.strip_prefix("local ").unwrap_or(&gone.what).strip_prefix("endpoint ")?;
    let local = gone.what.starts_with("local ");
    let judged = plan.ports.iter().flat_map(|port| &port.selection.judged).find(|j| j.target.to_string() == target);
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
