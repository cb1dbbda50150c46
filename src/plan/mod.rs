//! What a change of the inputs means to clients: the difference between two states of a node, told in effects.
//!
//! Both states are rows of the tables, made by [`crate::compile`] or read from a kernel or a listing; the plans of
//! `compile` add what rows do not say: what an address is to its Service, which Pod an endpoint is, why one is not used.
//! Nothing is decided here. Pure.
//!
//! `node` works out the two sides of one node, `comparison` goes through their Services, `view` reads rows frontend by
//! frontend, `compare` finds what changes for one, `change` says what that can be, `words` tells it, and this file puts
//! the nodes of a cluster together. `alike` finds nodes for which one of them can stand.

mod alike;
mod change;
mod compare;
mod comparison;
mod names;
mod node;
mod program;
mod view;
mod words;
mod words_of_names;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::{Notice, ServiceId};

pub use alike::{Alike, Face};
pub use change::{Change, Clients, Fate, Placed};
pub use names::{ServiceNames, changes as name_changes, names_by_service};
pub use node::{NewSide, NodeDifference, OldSide, compare_node};
pub use program::{ProgramText, differing_chains};

/// Who notices a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// Nobody
    #[default]
    Nobody,
    /// New connections, and UDP flows that lost their endpoint, go elsewhere, or succeed where they did not. Whoever is
    /// served now is served.
    NewConnections,
    /// Somebody who is served now will not be
    Interrupted,
}

impl Impact {
    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            Impact::Nobody => "nobody",
            Impact::NewConnections => "new connections",
            Impact::Interrupted => "interrupted",
        }
    }
}

/// What becomes of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fortune {
    /// There was none of this name
    Added,
    /// There is none any more
    Removed,
    /// It is there before and after
    Changed,
    /// Its new object is refused, so it keeps what it has
    Kept,
}

impl Fortune {
    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            Fortune::Added => "added",
            Fortune::Removed => "removed",
            Fortune::Changed => "changed",
            Fortune::Kept => "kept: refused",
        }
    }
}

/// One thing that changes, and who notices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// Who notices, in a word
    pub impact: Impact,
    /// What clients dial, as far as it concerns something to dial
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frontends: Vec<String>,
    /// What changes
    pub change: String,
    /// What it means to clients
    pub notices: String,
    /// On which nodes; empty for what concerns no node, such as a name
    pub nodes: BTreeSet<String>,
}

/// What becomes of one Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePlan {
    /// `namespace/name`
    pub service: String,
    /// Added, removed, changed, kept
    pub change: Fortune,
    /// The worst of its effects
    pub impact: Impact,
    /// The nodes on which something of it changes
    pub nodes: BTreeSet<String>,
    /// What changes, the worst first
    pub effects: Vec<Effect>,
}

/// What becomes of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The nodes that were looked at
    pub nodes: BTreeSet<String>,
    /// Services for which anything changes
    pub services: Vec<ServicePlan>,
    /// What concerns no single Service: the program, the ranges of Pods and of cluster IPs
    pub node: Vec<Effect>,
    /// What is refused of the new inputs
    pub refused: Vec<String>,
    /// The last line
    pub summary: String,
}

impl Plan {
    /// Puts together what was gathered from the nodes, what changes in names, and what is refused of the new side. `kept` are
    /// the Services that are refused with all that they ask for.
    ///
    /// `joining` and `leaving` are nodes that only one side has.
    pub fn new(
        mut gathered: Gathered,
        (joining, leaving): (&BTreeSet<String>, &BTreeSet<String>),
        names: BTreeMap<ServiceId, Vec<Change>>,
        refused: &[Notice],
        kept: &BTreeSet<ServiceId>,
    ) -> Self {
        let refused_objects = refused.iter().map(ToString::to_string).collect();
        let nodes = std::mem::take(&mut gathered.nodes);
        let mut plan = Plan { nodes, refused: refused_objects, ..Plan::default() };
        for (id, changes) in names {
            let effects = changes.iter().map(|change| words::effect(change, Vec::new(), &words::Known::default()));
            gathered.service(id, None).extend(effects.map(|effect| (effect, BTreeSet::new())));
        }
        let kept: Vec<ServiceId> = kept.intersection(&gathered.existed).cloned().collect();
        for id in kept {
            let effect = words::kept(refused.iter().filter(|notice| names_service(notice, &id)));
            gathered.service(id, Some(Fortune::Kept)).insert(effect, BTreeSet::new());
        }
        let nodes = joining.iter().map(|node| (node, true)).chain(leaving.iter().map(|node| (node, false)));
        gathered.node.extend(nodes.map(|(node, joins)| (words::node(node, joins), BTreeSet::new())));
        plan.node = finish(gathered.node);
        // It is what the chains below are of.
        plan.node.sort_by_key(|effect| effect.change.contains(" chain "));
        plan.services =
            gathered.services.into_iter().map(|(id, (fortune, found))| service(&id, fortune, found)).collect();
        plan.summary = plan.sum_up();
        plan
    }

    /// The worst that happens to anybody.
    pub fn impact(&self) -> Impact {
        let services = self.services.iter().map(|service| service.impact);
        services.chain(self.node.iter().map(|effect| effect.impact)).max().unwrap_or_default()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.node.is_empty()
    }

    fn sum_up(&self) -> String {
        let count = |wanted: fn(&ServicePlan) -> bool| self.services.iter().filter(|service| wanted(service)).count();
        let changing = count(|service| service.change != Fortune::Kept);
        let mut text = match changing {
            0 if self.node.is_empty() => "Nothing changes".to_owned(),
            0 => "No Service changes, but the node's own rules do".to_owned(),
            1 => "1 Service changes".to_owned(),
            n => format!("{n} Services change"),
        };
        if changing > 0 {
            let interrupted = count(|service| service.impact == Impact::Interrupted);
            text += &match interrupted {
                0 => ", clients of none are interrupted".to_owned(),
                n => format!(", clients of {n} are interrupted"),
            };
        }
        match self.refused.len() {
            0 => {}
            1 => text += "; 1 object is refused",
            n => text += &format!("; {n} objects are refused"),
        }
        text
    }
}

fn names_service(notice: &Notice, id: &ServiceId) -> bool {
    let is_it = |object: &crate::objects::ObjectRef| {
        &*object.kind == "Service" && object.namespace == id.namespace && object.name == id.name
    };
    notice.object.as_ref().is_some_and(is_it)
}

/// Effects with the nodes on which they were found.
type Found = BTreeMap<Effect, BTreeSet<String>>;

/// What was found on nodes so far. What several nodes have in common is kept once.
#[derive(Default)]
pub struct Gathered {
    nodes: BTreeSet<String>,
    services: BTreeMap<ServiceId, (Fortune, Found)>,
    node: Found,
    /// Services of the old side
    existed: BTreeSet<ServiceId>,
}

impl Gathered {
    fn service(&mut self, id: ServiceId, fortune: Option<Fortune>) -> &mut Found {
        let (known, found) = self.services.entry(id).or_insert((Fortune::Changed, Found::new()));
        *known = fortune.unwrap_or(*known);
        found
    }

    /// Adds what differs on each of these nodes.
    pub fn take<'a>(&mut self, nodes: impl Iterator<Item = &'a str> + Clone, difference: NodeDifference) {
        let names = || nodes.clone().map(str::to_owned);
        self.nodes.extend(names());
        self.existed.extend(difference.existed);
        for (id, (fortune, effects)) in difference.services {
            let found = self.service(id, Some(fortune));
            effects.into_iter().for_each(|effect| found.entry(effect).or_default().extend(names()));
        }
        difference.node.into_iter().for_each(|effect| self.node.entry(effect).or_default().extend(names()));
    }
}

fn service(id: &ServiceId, change: Fortune, found: Found) -> ServicePlan {
    let effects = finish(found);
    let impact = effects.iter().map(|effect| effect.impact).max().unwrap_or_default();
    let nodes = effects.iter().flat_map(|effect| &effect.nodes).cloned().collect();
    ServicePlan { service: id.to_string(), change, impact, nodes, effects }
}

/// The worst first, and what concerns something to dial ahead of names.
fn finish(found: Found) -> Vec<Effect> {
    let mut effects: Vec<Effect> = found.into_iter().map(|(effect, nodes)| Effect { nodes, ..effect }).collect();
    effects.sort_by_key(|effect| (std::cmp::Reverse(effect.impact), effect.frontends.is_empty()));
    effects
}
