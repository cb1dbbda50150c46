//! Two sides on one node.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Effect, Fortune,
    comparison::Comparison,
    program::ProgramText,
    view::{frontends, udp_targets},
};
use crate::{
    compile::ServicePlan,
    desired::Desired,
    model::{Family, Frontend, Service, ServiceId, Settings, Target, World},
    tables::{Changes, Contents, Element, Owner, Program, Rows, TableState},
};

/// What the node has.
pub enum OldSide {
    /// What these inputs make of it
    Wanted(Box<World>, Settings),
    /// What was found
    Held(Box<TableState>, ProgramText),
}

/// What the node gets.
pub enum NewSide {
    /// What these inputs make of it
    Wanted {
        /// Inputs
        world: Box<World>,
        /// Settings
        settings: Settings,
        /// Services that are refused, and keep what they have
        refused: BTreeSet<ServiceId>,
        /// Some input could not be read, so nothing is removed on its account
        incomplete: bool,
    },
    /// A ruleset
    Held(Box<TableState>, ProgramText),
}

/// What differs on one node.
#[derive(Debug, Default)]
pub struct NodeDifference {
    /// By Service
    pub services: BTreeMap<ServiceId, (Fortune, Vec<Effect>)>,
    /// What concerns no single Service
    pub node: Vec<Effect>,
    /// Services of the old side
    pub existed: BTreeSet<ServiceId>,
}

/// One side, worked out.
pub(super) struct Side {
    /// Its rows
    pub contents: Contents,
    /// `None` for one that was found
    pub desired: Option<Desired>,
    /// Its program
    pub program: ProgramText,
    /// Where UDP flows may go; empty on the old side
    pub serving: BTreeMap<Frontend, BTreeSet<Target>>,
}

/// Compares two sides on a node. The new one is worked out as an agent does that finds the old one in the kernel, so that
/// what does not change keeps its slots, and a Service that is refused its rows.
pub fn compare_node(old: OldSide, new: NewSide) -> NodeDifference {
    let mut old = old_side(old);
    let (new, changed) = new_side(&mut old, new);
    let comparison = Comparison::new(&old, &new, &changed);
    let mut difference = NodeDifference { existed: old.services(), ..NodeDifference::default() };
    for id in comparison.candidates(&changed) {
        let effects = comparison.service(&id, changed.contains_key(&Owner::Service(id.clone())));
        if !effects.is_empty() {
            difference.services.insert(id.clone(), (comparison.fortune(&id), effects));
        }
    }
    difference.node = comparison.node();
    difference
}

fn old_side(old: OldSide) -> Side {
    match old {
        OldSide::Wanted(world, settings) => {
            let program = program_text(&settings);
            let mut desired = Desired::default();
            desired.replace(*world, settings);
            let mut contents = Contents::default();
            let work = desired.work(&contents);
            contents.accept(work.changes);
            Side { contents, desired: Some(desired), program, serving: BTreeMap::new() }
        }
        OldSide::Held(state, program) => {
            Side { contents: Contents::from_kernel(*state), desired: None, program, serving: BTreeMap::new() }
        }
    }
}

/// The new side, and the owners whose rows change with their new rows. What was found in the old one is given to those
/// who want it, as an agent does.
fn new_side(old: &mut Side, new: NewSide) -> (Side, Changes) {
    match new {
        NewSide::Wanted { world, settings, refused, incomplete } => {
            let program = program_text(&settings);
            // On a node that has the inputs of the old side, or that finds out what it has.
            let running = old.desired.clone().filter(|_| !incomplete);
            let is_running = running.is_some();
            let mut desired = running.unwrap_or_default();
            desired.keep(refused);
            desired.replace(*world, settings);
            let work = match is_running {
                true => desired.work(&old.contents),
                false => desired.take_over(&mut old.contents, incomplete),
            };
            let mut contents = old.contents.clone();
            contents.accept(work.changes.clone());
            let serving = work.udp.into_iter().map(|(frontend, serving)| (frontend, serving.targets)).collect();
            (Side { contents, desired: Some(desired), program, serving }, work.changes)
        }
        NewSide::Held(state, program) => {
            let contents = Contents::from_kernel(*state);
            let owners: BTreeSet<Owner> = old.contents.owners().chain(contents.owners()).cloned().collect();
            let rows = |side: &Contents, owner: &Owner| own_rows(side.rows(owner));
            let differ = owners.into_iter().filter(|owner| rows(&old.contents, owner) != rows(&contents, owner));
            let changed = differ.map(|owner| (owner.clone(), rows(&contents, &owner))).collect();
            let mut serving = BTreeMap::new();
            for owner in contents.owners() {
                let rows = contents.rows(owner).cloned().unwrap_or_default();
                serving.extend(udp_targets(&frontends(&rows)));
            }
            (Side { contents, desired: None, program, serving }, changed)
        }
    }
}

/// Rows without those that several owners may want: of what was found nobody knows to whom they belong.
fn own_rows(rows: Option<&Rows>) -> Rows {
    let mut rows = rows.cloned().unwrap_or_default();
    rows.elements.retain(|e| !matches!(e, Element::ClusterIp(_) | Element::Hairpin(_) | Element::Remembered { .. }));
    rows
}

fn program_text(settings: &Settings) -> ProgramText {
    ProgramText::of(&Family::ALL.map(|family| Program::new(family, settings)))
}

impl Side {
    fn services(&self) -> BTreeSet<ServiceId> {
        match &self.desired {
            Some(desired) => desired.world().services.keys().cloned().collect(),
            None => self.contents.owners().filter_map(service_of).collect(),
        }
    }

    pub fn has(&self, id: &ServiceId) -> bool {
        match &self.desired {
            Some(desired) => desired.world().services.contains_key(id) || self.held(id).is_some(),
            None => self.held(id).is_some(),
        }
    }

    pub fn held(&self, id: &ServiceId) -> Option<&Rows> {
        self.contents.rows(&Owner::Service(id.clone()))
    }

    pub fn plan(&self, id: &ServiceId) -> Option<ServicePlan<'_>> {
        self.desired.as_ref()?.plan(id)
    }

    pub fn object(&self, id: &ServiceId) -> Option<&Service> {
        self.desired.as_ref()?.world().services.get(id)
    }

    /// The port of the health check, and how many ready endpoints it tells of; of the family that has most.
    pub fn health(&self, id: &ServiceId) -> Option<(u16, usize)> {
        let check = self.desired.as_ref()?.reports().get(id)?.health_check.as_ref()?;
        Some((check.port, check.ready_local.values().copied().max().unwrap_or(0)))
    }
}

/// The Service that an owner is.
pub(super) fn service_of(owner: &Owner) -> Option<ServiceId> {
    match owner {
        Owner::Service(id) => Some(id.clone()),
        Owner::Node | Owner::Stray => None,
    }
}
