//! What was seen on the node, judged: the kernel's tables, the agent, tracked connections, routes, rules of others.

mod affinity;
mod connections;
mod edited;
mod node;
mod rules;
mod tables;

use std::net::IpAddr;

use super::{Mark, Outcome, Scene, Stage, client::Client, report::Report};
use crate::{
    compile::ServicePlan,
    model::{Family, Frontend, ServiceId},
    observed::Observed,
};

/// The packet that was followed so far, and what was seen of its node.
pub(super) struct Sight<'a> {
    pub observed: &'a Observed,
    pub client: &'a Client,
    pub scene: &'a Scene,
    pub frontend: Frontend,
}

impl Sight<'_> {
    /// Whether nothing of ours is to translate the packet: it goes to a pod itself, or to somebody outside the cluster.
    fn is_untranslated(&self, report: &Report) -> bool {
        report.prediction.frontend.is_none() || (report.prediction.outcome == Outcome::Passed && !report.is_broken())
    }

    fn family(&self) -> Family {
        self.frontend.family()
    }

    fn owner(&self) -> Option<&ServiceId> {
        self.scene.claims().owner(&self.frontend)
    }

    fn plan(&self) -> Option<ServicePlan<'_>> {
        self.scene.plan(self.owner()?)
    }

    /// The client's address in the family of the packet.
    fn client_address(&self) -> Option<IpAddr> {
        self.client.address(self.family())
    }
}

/// Adds what was seen to what follows from the objects.
pub(super) fn judge(observed: &Observed, client: &Client, scene: &Scene, report: &mut Report) {
    let Some(frontend) = report.prediction.frontend.or_else(|| direct(report)) else {
        report.note(Stage::Kernel, "there is no address to look for in the kernel");
        return;
    };
    let sight = Sight { observed, client, scene, frontend };
    tables::judge(&sight, report);
    connections::judge(&sight, report);
    node::judge(&sight, report);
    if !report.is_broken() {
        rules::judge(&sight, report);
    }
}

/// What is dialled where no Service stands between.
fn direct(report: &Report) -> Option<Frontend> {
    let target = report.prediction.endpoints.first()?;
    Some(Frontend { address: target.address, protocol: crate::model::Protocol::Tcp, port: target.port })
}

/// A part that could not be looked at.
fn unseen(report: &mut Report, stage: Stage, what: &str, why: &str) {
    report.step(stage, Mark::Unknown, format!("{what} could not be looked at: {why}"));
}
