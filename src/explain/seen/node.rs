//! The node around our tables: forwarding, routes, other proxies.

use std::collections::BTreeSet;

use super::{Sight, unseen};
use crate::{
    explain::{
        Cause, Mark, Outcome, Stage,
        client::Role,
        near::list,
        report::{Fault, Report},
    },
    model::{Family, Target},
    observed::{Route, Surroundings},
};

pub(super) fn judge(sight: &Sight<'_>, report: &mut Report) {
    let surroundings = match &sight.observed.surroundings {
        Ok(surroundings) => surroundings,
        Err(why) => return unseen(report, Stage::Node, "forwarding, routes and rules of others", why),
    };
    for unread in &surroundings.unread {
        report.step(Stage::Node, Mark::Unknown, unread.clone());
    }
    if let Some(how) = &surroundings.kube_proxy {
        let because = format!(
            "a kube-proxy is beside us on this node ({how}): the two serve the same Services, and either may decide"
        );
        let remedy = "stop it, and remove its rules with kube-proxy --cleanup";
        report.remark(Fault::new(Stage::Node, Cause::KubeProxy, because, remedy));
    }
    if report.is_broken() {
        return;
    }
    forwarding(sight, surroundings, report);
    routes(surroundings, report);
}

/// Whether an endpoint is this node itself.
pub(super) fn is_here(target: &Target, surroundings: &Surroundings) -> bool {
    surroundings.own_addresses.contains(&target.address)
        || surroundings.routes.get(&target.address) == Some(&Route::Here)
}

fn forwarding(sight: &Sight<'_>, surroundings: &Surroundings, report: &mut Report) {
    let family = sight.family();
    let setting = match family {
        Family::V4 => "net.ipv4.ip_forward",
        Family::V6 => "net.ipv6.conf.all.forwarding",
    };
    match surroundings.forwarding.get(&family) {
        None => report.step(Stage::Node, Mark::Unknown, format!("{setting} could not be read")),
        Some(true) => report.good(Stage::Node, format!("{setting} is on")),
        Some(false) if sight.client.role == Role::Host => {
            report.note(Stage::Node, format!("{setting} is off; the node's own connections need it not"))
        }
        Some(false) => {
            let endpoints = &report.prediction.endpoints;
            let passed_on: BTreeSet<Target> = endpoints.iter().filter(|t| !is_here(t, surroundings)).copied().collect();
            if passed_on.is_empty() {
                report.note(Stage::Node, format!("{setting} is off; the endpoints are on the node itself"));
                return;
            }
            let because = format!("this node does not pass packets on: {setting} is 0");
            let fault = Fault::new(Stage::Node, Cause::ForwardingOff, because, format!("sysctl -w {setting}=1"));
            if passed_on.len() == endpoints.len() {
                report.breaks(fault, Outcome::Dropped);
            } else {
                report.remark(fault);
                report.prediction.endpoints.retain(|target| !passed_on.contains(target));
            }
        }
    }
}

fn routes(surroundings: &Surroundings, report: &mut Report) {
    let endpoints = report.prediction.endpoints.clone();
    let (mut lost, mut reached, mut known) = (Vec::new(), endpoints.clone(), BTreeSet::new());
    for target in &endpoints {
        match surroundings.routes.get(&target.address) {
            Some(Route::None(why)) => {
                lost.push(format!("{} ({why})", target.address));
                reached.remove(target);
            }
            Some(Route::Here) => drop(known.insert(format!("{} is this node's own", target.address))),
            Some(Route::Out { interface, gateway: Some(gateway) }) => {
                known.insert(format!("{} is reached by {gateway} on {interface}", target.address));
            }
            Some(Route::Out { interface, gateway: None }) => {
                known.insert(format!("{} is reached on {interface}", target.address));
            }
            None => {}
        }
    }
    for text in known.into_iter().take(crate::explain::near::NAMED) {
        report.good(Stage::Node, text);
    }
    if lost.is_empty() || report.is_broken() {
        return;
    }
    let because = format!("this node has no route to {}", list(&lost));
    let remedy = "see to the network plugin of the node, and to ip route get";
    let fault = Fault::new(Stage::Node, Cause::NoRoute, because, remedy);
    if lost.len() == endpoints.len() {
        report.breaks(fault, Outcome::Passed);
    } else {
        report.remark(fault);
        // Some connections are lost; these do not answer.
        report.prediction.endpoints = reached;
    }
}
