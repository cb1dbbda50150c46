//! Rates of a Service's counters.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    cli::{
        get,
        look::{Counts, Selected, View},
    },
    model::{Frontend, ServiceId},
};

/// What was counted when last looked.
#[derive(Default)]
pub(super) struct Rates(BTreeMap<Frontend, Counts>);

/// A Service in the last interval.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceRate {
    namespace: String,
    name: String,
    new_per_second: f64,
    refused_per_second: f64,
    dropped_per_second: f64,
    /// Why connections are refused or dropped now
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    endpoints_used: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints_ready: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints_total: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_leaving: Option<u64>,
}

impl Rates {
    /// The rates since the last call, which was so many seconds ago: the busiest Service first.
    pub fn step(&mut self, view: &View<'_>, selected: &Selected, seconds: f64) -> Vec<ServiceRate> {
        let now: BTreeMap<Frontend, Counts> =
            view.frontends.values().filter_map(|seen| Some((seen.frontend, seen.counts?))).collect();
        let tracked = get::tracked(view);
        let mut services = Vec::new();
        for (id, frontends) in view.by_service().into_iter().filter(|(id, _)| selected.has(id)) {
            let steps = frontends.iter().filter_map(|seen| {
                let before = self.0.get(&seen.frontend).copied().unwrap_or_default();
                Some(since(before, *now.get(&seen.frontend)?))
            });
            let step = steps.fold(Counts::default(), Counts::plus);
            let reason = frontends.iter().filter_map(|seen| seen.held).find_map(get::reason);
            let rate = |count: u64| (count as f64 / seconds * 10.0).round() / 10.0;
            let of_objects = view.objects.map(|objects| objects.ready_and_total(id));
            let (connections, leaving) = tracked.get(id).copied().unwrap_or_default();
            let tracks = view.connections().is_some();
            let ServiceId { namespace, name } = id;
            services.push(ServiceRate {
                namespace: namespace.to_string(),
                name: name.to_string(),
                new_per_second: rate(step.new),
                refused_per_second: rate(step.refused),
                dropped_per_second: rate(step.dropped + step.not_allowed),
                reason,
                endpoints_used: View::used(&frontends).len(),
                endpoints_ready: of_objects.map(|(ready, _)| ready),
                endpoints_total: of_objects.map(|(_, total)| total),
                connections: tracks.then_some(connections),
                connections_leaving: tracks.then_some(leaving),
            });
        }
        self.0 = now;
        let busy = |rate: &ServiceRate| rate.new_per_second + rate.refused_per_second + rate.dropped_per_second;
        // A stable sort: Services as busy as one another stay in the order of their names.
        services.sort_by(|one, other| {
            let by_connections = other.connections.cmp(&one.connections);
            busy(other).total_cmp(&busy(one)).then(by_connections)
        });
        services
    }
}

impl ServiceRate {
    pub fn headings() -> Vec<String> {
        let headings =
            ["NAMESPACE", "NAME", "NEW/S", "REFUSED/S", "DROPPED/S", "ENDPOINTS", "CONNECTIONS", "LEAVING", "REASON"];
        headings.map(str::to_owned).to_vec()
    }

    pub fn cells(&self) -> Vec<String> {
        let endpoints = match (self.endpoints_ready, self.endpoints_total) {
            (Some(ready), Some(total)) => format!("{ready}/{total}"),
            _ => self.endpoints_used.to_string(),
        };
        vec![
            self.namespace.clone(),
            self.name.clone(),
            self.new_per_second.to_string(),
            self.refused_per_second.to_string(),
            self.dropped_per_second.to_string(),
            endpoints,
            get::count_or_dash(self.connections),
            get::count_or_dash(self.connections_leaving),
            self.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

/// What was counted meanwhile. A counter begins anew when its element is made anew: then all of it is new.
fn since(before: Counts, now: Counts) -> Counts {
    let step = |before: u64, now: u64| if before <= now { now - before } else { now };
    Counts {
        new: step(before.new, now.new),
        refused: step(before.refused, now.refused),
        dropped: step(before.dropped, now.dropped),
        not_allowed: step(before.not_allowed, now.not_allowed),
    }
}
