//! A Service's rows, read frontend by frontend.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Clients, Fate};
use crate::{
    model::{Family, Frontend, IpRange, Protocol, Target},
    tables::{DeadEnd, Element, List, Policy, Rows},
};

/// What the rows say of one frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontendView {
    /// The service port, as in the comment
    pub port: Arc<str>,
    /// Not known of a frontend without endpoints
    pub policy: Option<Policy>,
    /// Who may come, if not everybody
    pub allowed: Option<Vec<IpRange>>,
    /// What those get for whom there is no endpoint
    pub dead_end: Option<DeadEnd>,
    /// The cluster list, if it is used
    pub all: BTreeSet<Target>,
    /// The local list, if it is used
    pub local: BTreeSet<Target>,
    /// The name of the affinity group, and its seconds
    pub affinity: Option<(Arc<str>, u32)>,
}

/// The frontends of a Service.
pub fn frontends(rows: &Rows) -> BTreeMap<Frontend, FrontendView> {
    let timeouts: BTreeMap<(Family, &str), u32> =
        rows.groups.iter().map(|group| ((group.family, &*group.name), group.timeout)).collect();
    let mut views: BTreeMap<Frontend, FrontendView> = BTreeMap::new();
    for element in &rows.elements {
        let Some(frontend) = element.frontend() else { continue };
        let view = views.entry(*frontend).or_default();
        match element {
            Element::Frontend { policy, guarded, owner, .. } => {
                view.port = owner.clone();
                view.policy = Some(*policy);
                if *guarded {
                    view.allowed.get_or_insert_default();
                }
            }
            Element::DeadEnd { verdict, owner, .. } => {
                view.port = owner.clone();
                view.dead_end = Some(*verdict);
            }
            Element::Slot { slot, target, .. } => {
                let local = *slot >= List::Local.first_slot();
                if local { &mut view.local } else { &mut view.all }.insert(*target);
            }
            Element::AllowedSource { range, .. } => view.allowed.get_or_insert_default().push(*range),
            Element::Learner { group, .. } | Element::Sticky { group, .. } => {
                let timeout = timeouts.get(&(frontend.family(), &**group)).copied().unwrap_or_default();
                view.affinity = Some((group.clone(), timeout));
            }
            _ => {}
        }
    }
    views
}

impl FrontendView {
    /// What becomes of new connections of pods and this host, or of all others.
    pub fn fate(&self, clients: Clients) -> Fate {
        let local = match self.policy {
            Some(Policy::InternalLocal) => true,
            Some(Policy::ExternalLocal) => clients == Clients::Outside,
            Some(Policy::Internal | Policy::External) | None => false,
        };
        let list = if local { &self.local } else { &self.all };
        match (list.is_empty(), self.dead_end) {
            (false, _) => Fate::Served(list.clone()),
            (true, Some(DeadEnd::Drop)) => Fate::Dropped,
            // Without a list and without a verdict the chain ends, and the address of a frontend is no host.
            (true, Some(DeadEnd::Refuse) | None) => Fate::Refused,
        }
    }

    /// Whether anybody is served.
    pub fn is_served(&self) -> bool {
        !self.all.is_empty() || !self.local.is_empty()
    }

    /// All endpoints that a client can have got.
    pub fn targets(&self) -> BTreeSet<Target> {
        self.all.union(&self.local).copied().collect()
    }
}

/// Where flows to each UDP frontend may go, as far as rows can tell.
pub fn udp_targets(views: &BTreeMap<Frontend, FrontendView>) -> BTreeMap<Frontend, BTreeSet<Target>> {
    let udp = views.iter().filter(|(frontend, _)| frontend.protocol == Protocol::Udp);
    udp.map(|(frontend, view)| (*frontend, view.targets())).collect()
}
