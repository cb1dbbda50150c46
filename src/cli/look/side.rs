//! What rows say of each frontend, whether the kernel holds them or the objects want them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{Frontend, PortId, Target},
    tables::{DeadEnd, Element, List, Policy},
};

/// A frontend, as some rows have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The service port, from the element's comment
    pub port: PortId,
    /// The policy chain; `None` for one that is nothing but a dead end
    pub policy: Option<Policy>,
    /// Only clients in the source ranges may come
    pub guarded: bool,
    /// What happens to those for whom there is no endpoint
    pub dead_end: Option<DeadEnd>,
    /// Endpoints of the cluster list
    pub all: BTreeSet<Target>,
    /// Endpoints of the local list
    pub local: BTreeSet<Target>,
}

impl Side {
    /// The frontends that these elements make.
    pub fn of<'a>(elements: impl IntoIterator<Item = &'a Element>) -> BTreeMap<Frontend, Side> {
        let mut sides: BTreeMap<Frontend, Side> = BTreeMap::new();
        let mut slots = Vec::new();
        for element in elements {
            match element {
                Element::Frontend { frontend, policy, guarded, .. } => {
                    if let Some(side) = Self::entry(&mut sides, *frontend, element) {
                        (side.policy, side.guarded) = (Some(*policy), *guarded);
                    }
                }
                Element::DeadEnd { frontend, verdict, .. } => {
                    if let Some(side) = Self::entry(&mut sides, *frontend, element) {
                        side.dead_end = Some(*verdict);
                    }
                }
                Element::Slot { frontend, slot, target } => slots.push((*frontend, *slot, *target)),
                _ => {}
            }
        }
        for (frontend, slot, target) in slots {
            let Some(side) = sides.get_mut(&frontend) else { continue };
            let list = if slot >= List::Local.first_slot() { &mut side.local } else { &mut side.all };
            list.insert(target);
        }
        sides
    }

    fn entry<'a>(
        sides: &'a mut BTreeMap<Frontend, Side>,
        frontend: Frontend,
        element: &Element,
    ) -> Option<&'a mut Side> {
        let port = element.port()?;
        let empty =
            Side { port, policy: None, guarded: false, dead_end: None, all: BTreeSet::new(), local: BTreeSet::new() };
        Some(sides.entry(frontend).or_insert(empty))
    }

    /// Every endpoint on either list.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.all.union(&self.local)
    }

    /// Whether new connections may get this endpoint.
    pub fn uses(&self, target: &Target) -> bool {
        self.all.contains(target) || self.local.contains(target)
    }
}
