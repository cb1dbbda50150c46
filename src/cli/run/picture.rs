//! What the page shows: the plans, with the kernel's counters.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    cli::summary,
    compile::{Judged, PortPlan, ServicePlan, Use},
    desired::Desired,
    http::{DeadEndLine, EndpointPicture, EndpointState, FrontendPicture, Picture, ServicePicture},
    kernel::Count,
    model::{Frontend, Protocol, ServiceId, Target},
    reconcile::Keeper,
    tables::{Element, Owner, Rows},
};

/// So many Services are shown: those with the most new connections.
const MOST_SERVICES: usize = 50;
/// So many frontends, and endpoints, of one.
const MOST_OF_ONE: usize = 24;
/// What is said of a Service whose object is not to be had.
const KEPT: &str = "as it was: the object cannot be read or used";
/// So many dead ends.
const MOST_DEAD_ENDS: usize = 100;
/// Over this time rates are evened out, so that the picture does not flicker.
const MEMORY: Duration = Duration::from_secs(4);
/// Viewers who look for different things share a reading for so long.
const FRESH: Duration = Duration::from_millis(500);
/// After a longer break between two readings rates begin anew.
const BREAK: Duration = Duration::from_secs(15);

/// The counters as they were read last, and how fast they move.
#[derive(Debug, Default)]
pub struct Rates {
    last: Option<Instant>,
    /// By frontend and whether it is a dead end
    counters: BTreeMap<(Frontend, bool), Counter>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counter {
    total: u64,
    /// A second
    rate: f64,
}

impl Rates {
    /// Whether the counters are to be read again.
    pub fn are_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.duration_since(last) >= FRESH)
    }

    /// Takes note of a reading of all counters.
    pub fn read(&mut self, counts: &[Count], now: Instant) {
        let passed = self.last.map(|last| now.duration_since(last)).filter(|passed| *passed < BREAK);
        let before = std::mem::take(&mut self.counters);
        for count in counts {
            let key = (count.frontend, count.dead_end);
            let rate = match (before.get(&key), passed) {
                (Some(old), Some(passed)) => faded(*old, count.packets, passed),
                _ => 0.0,
            };
            self.counters.insert(key, Counter { total: count.packets, rate });
        }
        self.last = Some(now);
    }

    fn of(&self, frontend: Frontend) -> [Counter; 2] {
        [false, true].map(|dead_end| self.counters.get(&(frontend, dead_end)).copied().unwrap_or_default())
    }

    /// Frontends that nobody, or not everybody, is answered at.
    fn dead_ends(&self) -> impl Iterator<Item = Frontend> + '_ {
        self.counters.keys().filter(|(_, dead_end)| *dead_end).map(|(frontend, _)| *frontend)
    }
}

/// The rate after another reading. A counter that was made anew began at 0.
fn faded(old: Counter, total: u64, passed: Duration) -> f64 {
    let seconds = passed.as_secs_f64().max(0.001);
    let step = if total >= old.total { total - old.total } else { total };
    let weight = 1.0 - (-seconds / MEMORY.as_secs_f64()).exp();
    let rate = old.rate + weight * (step as f64 / seconds - old.rate);
    if rate < 0.01 { 0.0 } else { rate }
}

/// Draws the Services that have this text in their names: the busiest, in order of their names.
///
/// A Service whose object cannot be used any more keeps its rows in the tables, and so its place in the picture.
pub fn draw(keeper: &mut impl Keeper, rates: &Rates, find: &str) -> Picture {
    let find = find.trim().to_lowercase();
    let is_asked_for = |id: &ServiceId| find.is_empty() || id.to_string().contains(&find);
    let kept = kept(keeper, is_asked_for);
    let desired = keeper.desired();
    let mut weights: BTreeMap<&ServiceId, (f64, u64)> = BTreeMap::new();
    let services = &desired.world().services;
    for (id, service) in services.iter().filter(|(id, _)| is_asked_for(id)) {
        // Without a question nobody misses those that are not in the kernel by nature.
        if !find.is_empty() || !service.cluster_ips.is_empty() {
            weights.insert(id, (0.0, 0));
        }
    }
    weights.extend(kept.keys().map(|id| (id, (0.0, 0))));
    let matching = weights.len();
    for ((frontend, _), counter) in &rates.counters {
        let owner = desired.port_of(frontend).map(|port| port.service);
        if let Some(weight) = owner.as_ref().and_then(|id| weights.get_mut(id)) {
            weight.0 += counter.rate;
            weight.1 += counter.total;
        }
    }
    let mut by_weight: Vec<_> = weights.into_iter().collect();
    by_weight.sort_by(|(a, x), (b, y)| y.0.total_cmp(&x.0).then(y.1.cmp(&x.1)).then(a.cmp(b)));
    let mut shown: Vec<&ServiceId> = by_weight.into_iter().take(MOST_SERVICES).map(|(id, _)| id).collect();
    shown.sort();
    let drawn = shown.into_iter().filter_map(|id| match desired.plan(id) {
        Some(plan) => Some(service(&plan, rates)),
        None => kept.get(id).map(|rows| kept_service(id, rows, rates)),
    });
    Picture {
        services: drawn.collect(),
        matching,
        total: services.len(),
        dead_ends: dead_ends(desired, rates, is_asked_for),
        took: Duration::ZERO,
    }
}

/// The rows of Services that are in the tables and no longer among the objects; not more than are shown.
fn kept(keeper: &mut impl Keeper, is_asked_for: impl Fn(&ServiceId) -> bool) -> BTreeMap<ServiceId, Rows> {
    let service = |owner: &Owner| match owner {
        Owner::Service(id) if is_asked_for(id) => Some(id.clone()),
        _ => None,
    };
    let mut held: Vec<ServiceId> = keeper.contents().owners().filter_map(service).collect();
    let services = &keeper.desired().world().services;
    held.retain(|id| !services.contains_key(id));
    held.truncate(MOST_SERVICES);
    let rows = |id: ServiceId| Some((id.clone(), keeper.contents().rows(&Owner::Service(id))?.clone()));
    held.into_iter().filter_map(rows).collect()
}

fn dead_ends(desired: &Desired, rates: &Rates, is_asked_for: impl Fn(&ServiceId) -> bool) -> Vec<DeadEndLine> {
    let owner = |frontend: Frontend| desired.port_of(&frontend).map(|port| port.service);
    let found = rates.dead_ends().filter_map(|frontend| Some((owner(frontend)?, frontend)));
    let found: BTreeSet<(ServiceId, Frontend)> = found.filter(|(id, _)| is_asked_for(id)).collect();
    let line = |(id, frontend): (ServiceId, Frontend)| {
        let plan = desired.plan(&id)?;
        let (port, planned) = plan.ports.iter().find_map(|port| {
            let planned = port.frontends.iter().find(|planned| planned.frontend == frontend)?;
            Some((port, planned))
        })?;
        planned.dead_end?;
        let words = with_reason(summary::outcome(planned, port), port);
        let [_, unserved] = rates.of(frontend);
        Some(DeadEndLine { service: id.to_string(), frontend, words, count: unserved.total })
    };
    found.into_iter().filter_map(line).take(MOST_DEAD_ENDS).collect()
}

/// `refused: no endpoint (2 not ready)`
fn with_reason(words: String, port: &PortPlan) -> String {
    let judged = &port.selection.judged;
    if !port.selection.all.is_empty() {
        return words;
    }
    let count = |of: Use| judged.iter().filter(|judged| judged.all == of).count();
    let not_ready = count(Use::NotReady);
    match (judged.len(), not_ready) {
        (0, _) => format!("{words} is known"),
        (all, _) if all == not_ready => format!("{words}: {all} not ready"),
        (all, _) => format!("{words}: {not_ready} not ready, {} otherwise not usable", all - not_ready),
    }
}

fn service(plan: &ServicePlan, rates: &Rates) -> ServicePicture {
    let all = || plan.ports.iter().flat_map(|port| port.frontends.iter().map(move |planned| (port, planned)));
    let mut frontends: Vec<FrontendPicture> = all()
        .map(|(port, planned)| {
            let [served, unserved] = rates.of(planned.frontend);
            let words = summary::outcome(planned, port);
            FrontendPicture {
                frontend: planned.frontend,
                kind: planned.kind.name(),
                port: port.id.name.to_string(),
                words: if planned.dead_end.is_some() { with_reason(words, port) } else { words },
                dead_end: planned.dead_end.is_some(),
                served: served.total,
                unserved: unserved.total,
                rate: served.rate + unserved.rate,
            }
        })
        .collect();
    let rate = frontends.iter().map(|frontend| frontend.rate).sum();
    let mut endpoints = endpoints(plan);
    let (known, used) = (endpoints.len(), endpoints.iter().filter(|e| e.state.is_used()).count());
    ServicePicture {
        name: plan.service.id.to_string(),
        kind: plan.service.kind.to_string(),
        nothing: plan.ports.is_empty().then(|| summary::why_nothing(plan).to_owned()),
        more_frontends: cut(&mut frontends),
        frontends,
        more_endpoints: cut(&mut endpoints),
        endpoints,
        used,
        known,
        connections: None,
        rate,
    }
}

/// A Service of which only its rows are known.
fn kept_service(id: &ServiceId, rows: &Rows, rates: &Rates) -> ServicePicture {
    let mut frontends: BTreeMap<Frontend, bool> = BTreeMap::new();
    let mut endpoints: BTreeMap<(Target, Protocol), EndpointPicture> = BTreeMap::new();
    for element in &rows.elements {
        match element {
            Element::Frontend { frontend, .. } => _ = frontends.entry(*frontend).or_insert(false),
            Element::DeadEnd { frontend, .. } => _ = frontends.insert(*frontend, true),
            Element::Slot { frontend, target, .. } => {
                let new = EndpointPicture {
                    target: *target,
                    protocol: frontend.protocol.to_string(),
                    pod: String::new(),
                    node: String::new(),
                    state: EndpointState::Ready,
                    words: KEPT.to_owned(),
                    connections: None,
                };
                endpoints.insert((*target, frontend.protocol), new);
            }
            _ => {}
        }
    }
    let picture = |(frontend, dead_end): (Frontend, bool)| {
        let [served, unserved] = rates.of(frontend);
        FrontendPicture {
            frontend,
            kind: "kept",
            port: String::new(),
            words: KEPT.to_owned(),
            dead_end,
            served: served.total,
            unserved: unserved.total,
            rate: served.rate + unserved.rate,
        }
    };
    let mut frontends: Vec<FrontendPicture> = frontends.into_iter().map(picture).collect();
    let mut endpoints: Vec<EndpointPicture> = endpoints.into_values().collect();
    let known = endpoints.len();
    ServicePicture {
        name: id.to_string(),
        kind: "kept".to_owned(),
        rate: frontends.iter().map(|frontend| frontend.rate).sum(),
        more_frontends: cut(&mut frontends),
        frontends,
        more_endpoints: cut(&mut endpoints),
        endpoints,
        used: known,
        known,
        ..ServicePicture::default()
    }
}

/// Leaves as many as are shown; returns how many went.
fn cut<T>(all: &mut Vec<T>) -> usize {
    let more = all.len().saturating_sub(MOST_OF_ONE);
    all.truncate(MOST_OF_ONE);
    more
}

/// Every endpoint once, though several service ports may lead to it: those that are used first.
fn endpoints(plan: &ServicePlan) -> Vec<EndpointPicture> {
    let mut all: BTreeMap<(Target, Protocol), EndpointPicture> = BTreeMap::new();
    for port in &plan.ports {
        for judged in &port.selection.judged {
            let new = endpoint(port, judged);
            let known = all.entry((judged.target, port.id.protocol)).or_insert_with(|| new.clone());
            if new.state < known.state {
                *known = new;
            }
        }
    }
    let mut all: Vec<EndpointPicture> = all.into_values().collect();
    all.sort_by_key(|endpoint| !endpoint.state.is_used());
    all
}

fn endpoint(port: &PortPlan, judged: &Judged) -> EndpointPicture {
    let uses = |all: bool| port.frontends.iter().any(|planned| if all { planned.all } else { planned.local });
    let by_all = uses(true).then_some(judged.all);
    let by_local = uses(false).then_some(judged.local);
    // Where nothing is used, the cluster's list still says why.
    let verdicts = [by_all, by_local, Some(judged.all)];
    let verdict = verdicts.iter().flatten().find(|verdict| verdict.is_used()).or(verdicts.iter().flatten().next());
    let verdict = verdict.copied().unwrap_or(judged.all);
    EndpointPicture {
        target: judged.target,
        protocol: port.id.protocol.to_string(),
        pod: judged.facts.pod.as_deref().unwrap_or_default().to_owned(),
        node: judged.facts.node.as_deref().unwrap_or_default().to_owned(),
        state: state(verdict),
        words: summary::verdict(verdict).to_owned(),
        connections: None,
    }
}

fn state(verdict: Use) -> EndpointState {
    match verdict {
        Use::Ready => EndpointState::Ready,
        Use::LastResort => EndpointState::LastResort,
        Use::NotReady => EndpointState::NotReady,
        Use::Terminating => EndpointState::Terminating,
        Use::OtherNodeHint | Use::OtherZoneHint | Use::NotLocal => EndpointState::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_even_and_forget() {
        let frontend = Frontend { address: [10, 96, 0, 1].into(), protocol: Protocol::Tcp, port: 80 };
        let count = |packets| Count { frontend, dead_end: false, packets, bytes: 0 };
        let start = Instant::now();
        let mut rates = Rates::default();
        for second in 0..60 {
            rates.read(&[count(1000 + second * 10)], start + Duration::from_secs(second));
        }
        let steady = rates.of(frontend)[0].rate;
        assert!((9.9..10.1).contains(&steady), "{steady}");
        rates.read(&[count(5)], start + Duration::from_secs(60));
        let anew = rates.of(frontend)[0].rate;
        assert!((5.0..10.0).contains(&anew), "a counter that begins anew is no negative rate: {anew}");
        rates.read(&[count(1_000_000)], start + Duration::from_secs(600));
        assert_eq!(rates.of(frontend)[0], Counter { total: 1_000_000, rate: 0.0 }, "nobody looked for a while");
        assert!(
            !rates.are_due(start + Duration::from_millis(600_100)) && rates.are_due(start + Duration::from_secs(601))
        );
        rates.read(&[], start + Duration::from_secs(601));
        assert!(rates.counters.is_empty());
    }
}
