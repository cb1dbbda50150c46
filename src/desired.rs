//! The desired state: the inputs, who owns which frontend, and what changed since the last time somebody asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    compile::{
        Claims, ServicePlan, ServiceReport, ServingTargets, frontends, node_rows, plan, port_of, report, rows,
        udp_frontends,
    },
    model::{Frontend, Node, Notice, PortId, Protocol, Service, ServiceId, Settings, Severity, Slice, SliceId, World},
    tables::{Changes, Contents, Element, Owner, Rows},
};

/// Inputs and what follows from them, one Service at a time. Pure: it compiles what is dirty and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    world: World,
    settings: Settings,
    claims: Claims,
    dirty: BTreeSet<ServiceId>,
    /// Services whose objects are there but cannot be used: they keep the rows that they have
    kept: BTreeSet<ServiceId>,
    /// What others than the tables are told, of Services that have something to tell
    reports: BTreeMap<ServiceId, ServiceReport>,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Work {
    /// New rows for those owners whose rows change
    pub changes: Changes,
    /// UDP frontends whose established flows may have become stale, with the endpoints that flows may keep
    pub udp: BTreeMap<Frontend, ServingTargets>,
    /// What a user should know of the Services that were looked at
    pub notices: Vec<Notice>,
}

impl Desired {
    /// The inputs.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Replaces all inputs. What is the same in both costs a comparison, not a compilation.
    pub fn replace(&mut self, world: World, settings: Settings) {
        self.dirty.extend(self.world.changed(&world));
        if self.settings != settings {
            self.dirty.extend(world.services.keys().cloned());
        }
        self.world = world;
        self.settings = settings;
    }

    /// Names the Services whose objects are there but cannot be used. Until that is mended, or the object deleted, what
    /// the tables hold for them stays as it is: a slip of the pen takes nobody off the network.
    pub fn keep(&mut self, kept: BTreeSet<ServiceId>) {
        let no_longer = self.kept.difference(&kept).filter(|id| !self.world.services.contains_key(id));
        self.dirty.extend(no_longer.cloned());
        self.kept = kept;
    }

    /// Whether the owner is a Service that keeps what it has; see [`Desired::keep`].
    pub fn keeps(&self, owner: &Owner) -> bool {
        matches!(owner, Owner::Service(id) if self.kept.contains(id))
    }

    /// Replaces what is known of the node and what the operator chose. Either concerns every Service.
    pub fn set_node(&mut self, node: Node, settings: Settings) {
        if self.world.node != node || self.settings != settings {
            self.dirty.extend(self.world.services.keys().cloned());
            self.world.node = node;
            self.settings = settings;
        }
    }

    /// Replaces the ranges that cluster IPs are taken from.
    pub fn set_service_networks(&mut self, networks: Vec<IpNet>) {
        self.world.service_networks = networks;
    }

    /// Adds or replaces one Service. Returns whether that changes anything.
    pub fn put_service(&mut self, service: Service) -> bool {
        if self.world.services.get(&service.id) == Some(&service) {
            return false;
        }
        self.dirty.insert(service.id.clone());
        self.world.services.insert(service.id.clone(), service);
        true
    }

    /// Removes one Service.
    pub fn remove_service(&mut self, id: &ServiceId) {
        self.dirty.insert(id.clone());
        self.world.services.remove(id);
    }

    /// Adds or replaces one slice. Returns whether that changes anything.
    pub fn put_slice(&mut self, slice: Slice) -> bool {
        if self.world.slices_of(&slice.service).any(|known| *known == slice) {
            return false;
        }
        self.dirty.insert(slice.service.clone());
        self.world.put_slice(slice);
        true
    }

    /// The work of a start: everything is looked at, against what was found in the kernel, and what else was found
    /// there is removed. With `keep_unknown` owners that the inputs do not know are left alone, because some input
    /// could not be read.
    pub fn take_over(&mut self, contents: &mut Contents, keep_unknown: bool) -> Work {
        self.dirty.extend(self.world.services.keys().cloned());
        if keep_unknown {
            // A Service that vanished from the inputs keeps its rows, and with them its claims.
            self.dirty.retain(|id| self.world.services.contains_key(id));
        }
        let unknown = |owner: &&Owner| match owner {
            Owner::Service(id) => !self.world.services.contains_key(id) && !self.kept.contains(id),
            Owner::Node => false,
            Owner::Stray => true,
        };
        let leftovers: Vec<Owner> = contents.owners().filter(|_| !keep_unknown).filter(unknown).cloned().collect();
        self.dirty.extend(leftovers.iter().filter_map(|owner| match owner {
            Owner::Service(id) => Some(id.clone()),
            Owner::Node | Owner::Stray => None,
        }));
        let mut work = self.work(contents);
        if keep_unknown {
            // Its endpoints may stand in what could not be read.
            work.changes.retain(|owner, _| !self.lost_all_endpoints(owner, contents));
        }
        for owner in leftovers {
            self.note_departed_udp(contents.rows(&owner), &mut work.udp);
            work.changes.insert(owner, Rows::default());
        }
        contents.attribute(&mut work.changes);
        work
    }

    /// Whether the tables hold endpoints of a Service for which the inputs have none at all.
    fn lost_all_endpoints(&self, owner: &Owner, contents: &Contents) -> bool {
        let Owner::Service(id) = owner else { return false };
        let held =
            contents.rows(owner).is_some_and(|rows| rows.elements.iter().any(|e| matches!(e, Element::Slot { .. })));
        held && self.world.slices_of(id).all(|slice| slice.endpoints.is_empty())
    }

    /// Removes one slice.
    pub fn remove_slice(&mut self, service: &ServiceId, id: &SliceId) {
        self.dirty.insert(service.clone());
        self.world.remove_slice(service, id);
    }

    /// Has these Services compiled again the next time.
    pub fn mark(&mut self, services: impl IntoIterator<Item = ServiceId>) {
        self.dirty.extend(services);
    }

    /// Whether a Service will be compiled the next time.
    pub fn is_dirty(&self, id: &ServiceId) -> bool {
        self.dirty.contains(id)
    }

    /// Services that are gone, whose departure is still to be worked on.
    pub fn departed(&self) -> Vec<ServiceId> {
        self.dirty.iter().filter(|id| !self.world.services.contains_key(*id)).cloned().collect()
    }

    /// Compiles what is dirty, against what the tables hold.
    pub fn work(&mut self, contents: &Contents) -> Work {
        let dirty = self.settle_claims();
        let mut work = Work::default();
        for id in &dirty {
            let owner = Owner::Service(id.clone());
            let held = contents.rows(&owner);
            self.note_departed_udp(held, &mut work.udp);
            let wanted = match self.world.services.get(id) {
                Some(service) => {
                    let plan = plan(service, &self.world, &self.settings, &self.claims);
                    work.notices.extend(lost_frontends(&plan));
                    put_report(&mut self.reports, id, report(&plan, &self.world.node));
                    rows(&plan, held)
                }
                None => {
                    self.reports.remove(id);
                    Rows::default()
                }
            };
            put_if_new(&mut work.changes, owner, wanted, held);
        }
        let node = node_rows(&self.world, &self.settings);
        put_if_new(&mut work.changes, Owner::Node, node, contents.rows(&Owner::Node));
        work.udp.extend(udp_frontends(dirty.iter(), &self.world, &self.claims));
        work
    }

    /// The plan of one Service as it stands, for those who want to see the decisions.
    pub fn plan(&self, id: &ServiceId) -> Option<ServicePlan<'_>> {
        Some(plan(self.world.services.get(id)?, &self.world, &self.settings, &self.claims))
    }

    /// What health checks and metrics are told of each Service that has something to tell, as of the last
    /// [`Desired::work`].
    pub fn reports(&self) -> &BTreeMap<ServiceId, ServiceReport> {
        &self.reports
    }

    /// The service port that a frontend leads to, for counters.
    pub fn port_of(&self, frontend: &Frontend) -> Option<PortId> {
        port_of(frontend, &self.world, &self.claims)
    }

    /// Brings the claims up to date and returns all Services to compile: the dirty ones, and those that gained or lost
    /// a frontend by them.
    fn settle_claims(&mut self) -> BTreeSet<ServiceId> {
        let mut all = std::mem::take(&mut self.dirty);
        all.retain(|id| self.world.services.contains_key(id) || !self.kept.contains(id));
        for id in all.clone() {
            let affected = match self.world.services.get(&id) {
                Some(service) => {
                    let own = frontends(service, &self.world.node, &self.settings);
                    self.claims.set(service, &own)
                }
                None => self.claims.withdraw(&id),
            };
            all.extend(affected);
        }
        all
    }

    /// UDP frontends that were programmed: unless they are wanted still, their flows go nowhere any more.
    fn note_departed_udp(&self, held: Option<&Rows>, udp: &mut BTreeMap<Frontend, ServingTargets>) {
        for element in held.into_iter().flat_map(|rows| &rows.elements) {
            if let Element::Frontend { frontend, .. } | Element::DeadEnd { frontend, .. } = element
                && frontend.protocol == Protocol::Udp
            {
                let node_port = self.is_own_address(frontend.address);
                udp.entry(*frontend).or_insert(ServingTargets { node_port, ..ServingTargets::default() });
            }
        }
    }

    fn is_own_address(&self, address: IpAddr) -> bool {
        let node = &self.world.node;
        node.addresses.contains(&address) || node.interface_addresses.contains(&address)
    }
}

fn put_if_new(changes: &mut Changes, owner: Owner, wanted: Rows, held: Option<&Rows>) {
    if held.map_or(!wanted.is_empty(), |held| *held != wanted) {
        changes.insert(owner, wanted);
    }
}

fn put_report(reports: &mut BTreeMap<ServiceId, ServiceReport>, id: &ServiceId, report: ServiceReport) {
    if report.is_empty() {
        reports.remove(id);
    } else {
        reports.insert(id.clone(), report);
    }
}

fn lost_frontends<'a>(plan: &'a ServicePlan) -> impl Iterator<Item = Notice> + 'a {
    let id = &plan.service.id;
    plan.lost.iter().map(move |lost| Notice {
        severity: Severity::Warning,
        origin: None,
        object: Some(crate::model::ObjectRef {
            kind: "Service".into(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
        }),
        field: String::new(),
        reason: format!("{} belongs to Service {}, which came first; it is not served here", lost.frontend, lost.owner),
    })
}
