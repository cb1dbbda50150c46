//! A plan as rows of the tables. Endpoints keep the slots that they have, so that a change moves as few as possible.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{FrontendPlan, PortPlan, ServicePlan};
use crate::{
    model::{Frontend, PodDetector, Settings, Target, World, merge_ranges},
    tables::{AffinityGroup, Element, List, Rows, fit_comment},
};

/// The most endpoints one list can hold: the slots of a list (see [`crate::tables::LOCAL_SLOTS`]).
const MOST_ENDPOINTS: usize = 32768;

/// The rows of a Service. `held` are the rows that it has now: their slots are kept where possible.
pub fn rows(plan: &ServicePlan, held: Option<&Rows>) -> Rows {
    let held = held.map(held_slots).unwrap_or_default();
    let mut rows = Rows::default();
    rows.elements.extend(plan.cluster_ips.iter().map(|ip| Element::ClusterIp(*ip)));
    for port in &plan.ports {
        port_rows(port, &held, &mut rows);
    }
    rows.normalise();
    rows
}

/// The rows that belong to the node and not to a Service: where pods live, and the ranges of cluster IPs.
pub fn node_rows(world: &World, settings: &Settings) -> Rows {
    let pods = match &settings.detector {
        PodDetector::SourceRanges(ranges) => {
            // The first of each family, as kube-proxy has it (section 3.5).
            let mut families = BTreeSet::new();
            ranges.iter().filter(|r| families.insert(r.network().is_ipv4())).copied().collect()
        }
        PodDetector::BridgeInterface(_) | PodDetector::InterfaceNamePrefix(_) => Vec::new(),
    };
    let mut rows = Rows::default();
    rows.elements.extend(merge_ranges(pods).into_iter().map(Element::Pods));
    let networks = merge_ranges(world.service_networks.iter().copied());
    rows.elements.extend(networks.into_iter().map(Element::ServiceNetwork));
    rows.normalise();
    rows
}

fn port_rows(port: &PortPlan, held: &HeldSlots, rows: &mut Rows) {
    let owner: Arc<str> = fit_comment(&port.id.to_string()).into();
    let group = affinity_group(port);
    for frontend in &port.frontends {
        frontend_rows(port, frontend, &owner, held, rows);
        if let Some(group) = &group {
            sticky_rows(frontend, &group.name, rows);
        }
    }
    let protocol = port.id.protocol;
    rows.elements.extend(port.hairpins.iter().map(|target| Element::Hairpin { target: *target, protocol }));
    if let Some(group) = group {
        for (list, on, targets) in
            [(List::All, group.all, &port.selection.all), (List::Local, group.local, &port.selection.local)]
        {
            let member = |target: &Target| Element::Member { group: group.name.clone(), list, target: *target };
            rows.elements.extend(targets.iter().filter(|_| on).map(member));
        }
        rows.groups.push(group);
    }
}

fn frontend_rows(port: &PortPlan, plan: &FrontendPlan, owner: &Arc<str>, held: &HeldSlots, rows: &mut Rows) {
    let frontend = plan.frontend;
    if plan.all || plan.local {
        rows.elements.push(Element::Frontend { frontend, policy: plan.policy, owner: owner.clone() });
    }
    if let Some(verdict) = plan.dead_end {
        rows.elements.push(Element::DeadEnd { frontend, verdict, owner: owner.clone() });
    }
    if let Some(ranges) = &plan.allowed {
        rows.elements.push(Element::Guarded(frontend));
        rows.elements.extend(ranges.iter().map(|range| Element::AllowedSource { frontend, range: *range }));
    }
    let lists = [(List::All, plan.all, &port.selection.all), (List::Local, plan.local, &port.selection.local)];
    for (list, _, targets) in lists.into_iter().filter(|(_, on, _)| *on) {
        let targets = &targets[..targets.len().min(MOST_ENDPOINTS)];
        let placed = assign(held.get(&(frontend, list)).map_or(&[], Vec::as_slice), targets);
        rows.elements.push(Element::Pick { frontend, list, count: placed.len() as u16 });
        let slots = (list.first_slot()..=u16::MAX).zip(placed);
        rows.elements.extend(slots.map(|(slot, target)| Element::Slot { frontend, slot, target }));
    }
}

fn sticky_rows(plan: &FrontendPlan, group: &Arc<str>, rows: &mut Rows) {
    let frontend = plan.frontend;
    for (list, _) in [(List::All, plan.all), (List::Local, plan.local)].into_iter().filter(|(_, on)| *on) {
        rows.elements.push(Element::Sticky { frontend, list, group: group.clone() });
    }
    if plan.all || plan.local {
        rows.elements.push(Element::Learner { frontend, group: group.clone() });
    }
}

/// The group of a service port with affinity that has endpoints to remember.
fn affinity_group(port: &PortPlan) -> Option<AffinityGroup> {
    let timeout = port.affinity_seconds?;
    let all = port.frontends.iter().any(|f| f.all);
    let local = port.frontends.iter().any(|f| f.local);
    let id = &port.id;
    let mut name = format!("{}/{}", id.service, id.protocol.nft());
    if !id.name.is_empty() {
        name = format!("{name}/{}", id.name);
    }
    (all || local).then(|| AffinityGroup { family: port.family, name: name.into(), timeout, all, local })
}

/// The slots in use, by frontend and list, counted from the list's first slot, in order.
type HeldSlots = BTreeMap<(Frontend, List), Vec<(usize, Target)>>;

fn held_slots(rows: &Rows) -> HeldSlots {
    let mut held = HeldSlots::new();
    for element in &rows.elements {
        if let Element::Slot { frontend, slot, target } = element {
            let list = if *slot >= List::Local.first_slot() { List::Local } else { List::All };
            let index = usize::from(slot - list.first_slot());
            held.entry((*frontend, list)).or_default().push((index, *target));
        }
    }
    held
}

/// Puts the wanted endpoints into slots 0..N. Those that already hold one of these slots keep it; the others fill the
/// holes in order: so a removal moves one endpoint, an addition none.
fn assign(held: &[(usize, Target)], wanted: &[Target]) -> Vec<Target> {
    let mut waiting: BTreeSet<Target> = wanted.iter().copied().collect();
    let mut slots: Vec<Option<Target>> = vec![None; waiting.len()];
    for (index, target) in held {
        if let Some(slot @ None) = slots.get_mut(*index)
            && waiting.remove(target)
        {
            *slot = Some(*target);
        }
    }
    let mut waiting = waiting.into_iter();
    slots.into_iter().filter_map(|slot| slot.or_else(|| waiting.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(last: &[u8]) -> Vec<Target> {
        last.iter().map(|n| Target { address: [10, 0, 0, *n].into(), port: 80 }).collect()
    }

    fn assigned(held: &[u8], wanted: &[u8]) -> Vec<Target> {
        let held: Vec<_> = targets(held).into_iter().enumerate().collect();
        assign(&held, &targets(wanted))
    }

    #[test]
    fn slots_move_as_little_as_possible() {
        assert_eq!(assigned(&[], &[1, 2, 3]), targets(&[1, 2, 3]));
        assert_eq!(assigned(&[1, 2, 3, 4], &[1, 3, 4]), targets(&[1, 4, 3]), "the last fills the hole");
        assert_eq!(assigned(&[4, 2], &[1, 2, 4, 5]), targets(&[4, 2, 1, 5]), "new ones are appended");
        assert_eq!(assigned(&[1, 2, 3], &[1, 9, 3]), targets(&[1, 9, 3]), "a replacement takes the place");
        assert_eq!(assigned(&[7, 7], &[7]), targets(&[7]), "a slot held twice, by hand, is mended");
    }
}
