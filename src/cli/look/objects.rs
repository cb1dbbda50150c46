//! What the objects say, where there are any: the same decisions that the data plane is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::Side;
use crate::{
    cli::{InputArgs, NodeArgs, input},
    compile::{FrontendKind, Judged, PortPlan, ServicePlan, Use, rows},
    controlplane::Options,
    desired::Desired,
    model::{Frontend, Notice, PortId, ServiceId, Settings, Target, World},
    objects::Service,
    tables::Contents,
};

/// Objects, and what follows from them for this node.
pub struct Objects {
    desired: Desired,
    /// The Services, in order of namespace and name
    pub services: Vec<Service>,
    /// What the control plane worked with
    pub options: Options,
    /// The frontends that they make
    pub frontends: BTreeMap<Frontend, Side>,
    /// What each of these is to its Service
    pub kinds: BTreeMap<Frontend, FrontendKind>,
    /// Every endpoint of every service port, used or not: the Pod, the node, and how it stands
    pub endpoints: BTreeMap<(PortId, Target), Endpoint>,
    /// What was wrong with them
    pub notices: Vec<Notice>,
    /// Services that were refused: they keep what the kernel holds of them
    kept: BTreeSet<ServiceId>,
    /// Some input could not be read: what the kernel holds may be wanted by it
    incomplete: bool,
    /// Something was refused
    pub refused: bool,
}

/// An endpoint as the objects have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its Pod
    pub pod: Option<String>,
    /// Its node
    pub node: Option<String>,
    /// Used, or why not
    pub state: &'static str,
    /// Being deleted
    pub terminating: bool,
}

impl Objects {
    /// Reads the manifests.
    ///
    /// # Errors
    /// Those of [`input::load`].
    pub fn load(input: &InputArgs, node: &NodeArgs) -> anyhow::Result<Self> {
        let loaded = input::load(input, node, input::Allocating::ReadOnly)?;
        let mut objects = Self::new(loaded.services, loaded.world, loaded.settings, loaded.options);
        objects.refused = loaded.exit_code != std::process::ExitCode::SUCCESS;
        objects.notices.splice(0..0, loaded.notices);
        (objects.kept, objects.incomplete) = (loaded.refused, loaded.incomplete);
        Ok(objects)
    }

    /// Decides.
    pub fn new(services: Vec<Service>, world: World, settings: Settings, options: Options) -> Self {
        let mut desired = Desired::default();
        desired.replace(world, settings);
        let notices = desired.work(&Contents::default()).notices;
        let mut objects = Self {
            services,
            options,
            frontends: BTreeMap::new(),
            kinds: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            notices,
            kept: BTreeSet::new(),
            incomplete: false,
            refused: false,
            desired: Desired::default(),
        };
        for id in desired.world().services.keys() {
            if let Some(plan) = desired.plan(id) {
                objects.add(&plan);
            }
        }
        objects.desired = desired;
        objects
    }

    fn add(&mut self, plan: &ServicePlan<'_>) {
        self.frontends.extend(Side::of(&rows(plan, None).elements));
        for port in &plan.ports {
            self.kinds.extend(port.frontends.iter().map(|frontend| (frontend.frontend, frontend.kind)));
            for judged in &port.selection.judged {
                self.endpoints.insert((port.id.clone(), judged.target), Endpoint::of(judged, port));
            }
        }
    }

    /// Every Service.
    pub fn ids(&self) -> impl Iterator<Item = ServiceId> {
        let ids = self.services.iter().map(|service| &service.metadata);
        ids.map(|metadata| ServiceId::new(metadata.namespace(), &metadata.name))
    }

    /// What to call something of a Service that the kernel holds and the objects do not want.
    pub fn held_only(&self, service: &ServiceId) -> &'static str {
        match (self.kept.contains(service), self.incomplete) {
            (true, _) => "programmed, object refused",
            (false, true) => "programmed, object not read",
            (false, false) => "left over",
        }
    }

    /// Distinct addresses of a Service's endpoints: ready ones, and all.
    pub fn ready_and_total(&self, id: &ServiceId) -> (usize, usize) {
        let all = || self.desired.world().slices_of(id).flat_map(|slice| &slice.endpoints);
        let ready: BTreeSet<_> = all().filter(|e| e.ready).map(|e| e.address).collect();
        let total: BTreeSet<_> = all().map(|e| e.address).collect();
        (ready.len(), total.len())
    }
}

impl Endpoint {
    fn of(judged: &Judged<'_>, port: &PortPlan<'_>) -> Self {
        let text = |text: &Option<std::sync::Arc<str>>| text.as_ref().map(|text| text.to_string());
        Self {
            pod: text(&judged.facts.pod),
            node: text(&judged.facts.node),
            state: state(judged, port),
            terminating: judged.facts.terminating,
        }
    }
}

/// The verdict of the list that is in use; of both, the one that uses the endpoint.
fn state(judged: &Judged<'_>, port: &PortPlan<'_>) -> &'static str {
    let (all, local) = (!port.selection.all.is_empty(), !port.selection.local.is_empty());
    let verdict = match (all && judged.all.is_used(), local && judged.local.is_used()) {
        (true, _) => judged.all,
        (false, true) => judged.local,
        (false, false) if all || judged.all != Use::Ready => judged.all,
        (false, false) => judged.local,
    };
    match verdict {
        Use::Ready => "used",
        Use::LastResort => "used, terminating",
        Use::NotReady => "not ready",
        Use::Terminating => "terminating",
        Use::OtherNodeHint => "other node's, by hint",
        Use::OtherZoneHint => "other zone's, by hint",
        Use::NotLocal => "other node's, policy Local",
    }
}
