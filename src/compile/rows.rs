//! A plan as rows of the tables. Endpoints keep the slots that they have, so that a change moves as few as possible.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{FrontendPlan, PortPlan, ServicePlan};
use crate::{
    model::{Family, Frontend, Settings, Target, World, merge_ranges},
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
    // The first range of each family, as kube-proxy has it (section 3.5).
    let pods: Vec<_> = Family::ALL.into_iter().filter_map(|family| settings.detector.range_of(family)).collect();
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
        frontend_rows(frontend, &owner, rows);
        for (list, targets) in lists_in_use(frontend, port) {
            let held = held.get(&(frontend.frontend, list)).map_or(&[][..], Vec::as_slice);
            slot_rows(frontend.frontend, list, &assign(held, targets), group.is_some(), rows);
            if let Some(group) = &group {
                let group = group.name.clone();
                rows.elements.push(Element::Sticky { frontend: frontend.frontend, list, group });
            }
        }
        if let Some(group) = group.as_ref().filter(|_| frontend.all || frontend.local) {
            rows.elements.push(Element::Learner { frontend: frontend.frontend, group: group.name.clone() });
        }
    }
    rows.elements.extend(port.hairpins.iter().map(|target| Element::Hairpin(target.address)));
    if let Some(group) = group {
        group_rows(port, &group, rows);
        rows.groups.push(group);
    }
}

fn frontend_rows(plan: &FrontendPlan, owner: &Arc<str>, rows: &mut Rows) {
    let frontend = plan.frontend;
    // A guarded frontend without endpoints still tells those who may not come: dropped, not refused.
    let guarded = plan.allowed.is_some();
    if plan.all || plan.local || guarded {
        rows.elements.push(Element::Frontend { frontend, policy: plan.policy, guarded, owner: owner.clone() });
    }
    if let Some(verdict) = plan.dead_end {
        rows.elements.push(Element::DeadEnd { frontend, verdict, owner: owner.clone() });
    }
    let ranges = plan.allowed.iter().flatten();
    rows.elements.extend(ranges.map(|range| Element::AllowedSource { frontend, range: *range }));
}

/// The lists that a frontend uses, with their endpoints: as many as there are slots.
fn lists_in_use<'a>(
    frontend: &FrontendPlan,
    port: &'a PortPlan,
) -> impl Iterator<Item = (List, &'a [Target])> + use<'a> {
    let all = frontend.all.then_some((List::All, port.selection.all.as_slice()));
    let local = frontend.local.then_some((List::Local, port.selection.local.as_slice()));
    all.into_iter().chain(local).map(|(list, targets)| (list, &targets[..targets.len().min(MOST_ENDPOINTS)]))
}

fn slot_rows(frontend: Frontend, list: List, placed: &[Target], first: bool, rows: &mut Rows) {
    rows.elements.push(Element::Pick { frontend, list, first, count: placed.len() as u16 });
    let slots = (list.first_slot()..=u16::MAX).zip(placed);
    rows.elements.extend(slots.map(|(slot, target)| Element::Slot { frontend, slot, target: *target }));
}

fn group_rows(port: &PortPlan, group: &AffinityGroup, rows: &mut Rows) {
    let all = port.selection.all.iter().filter(|_| group.all).map(|target| (List::All, *target));
    let local = port.selection.local.iter().filter(|_| group.local).map(|target| (List::Local, *target));
    for (list, target) in all.chain(local) {
        rows.elements.push(Element::Member { group: group.name.clone(), list, target });
        rows.elements.push(Element::Remembered { target, protocol: port.id.protocol });
    }
}

/// The group of a service port with affinity that has endpoints to remember.
pub fn affinity_group(port: &PortPlan) -> Option<AffinityGroup> {
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
