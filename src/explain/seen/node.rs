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
    model::{Family, Protocol, Target},
    observed::{Route, Surroundings},
};

/// Begins what the kernel says of a route that throws packets away without a word.
const BLACKHOLE: &str = "(blackhole";

pub(super) fn judge(sight: &Sight<'_>, report: &mut Report) {
    let surroundings = match &sight.observed.surroundings {
        Ok(surroundings) => surroundings,
        Err(why) => {
            report.unsure("whether the node passes the packet on, and whether a rule of another table stops it");
            return unseen(report, Stage::Node, "forwarding, routes and rules of others", why);
        }
    };
    for unread in &surroundings.unread {
        report.step(Stage::Node, Mark::Unknown, unread.clone());
    }
    kube_proxy(sight, surroundings, report);
    if report.is_broken() {
        return;
    }
    forwarding(sight, surroundings, report);
    routes(sight, surroundings, report);
}

/// Another proxy, or what it left. An IPv4 packet does not meet rules for IPv6.
fn kube_proxy(sight: &Sight<'_>, surroundings: &Surroundings, report: &mut Report) {
    let (because, remedy) = match (&surroundings.kube_proxy, surroundings.kube_proxy_rules.get(&sight.family())) {
        (Some(how), _) => (
            format!(
                "a kube-proxy runs beside us on this node ({how}): the two serve the same Services, and either may decide"
            ),
            "stop it, and remove its rules with portolan cleanup --kube-proxy",
        ),
        (None, Some(rules)) => (
            format!(
                "a kube-proxy that does not run any more has left {rules} on this node, which may decide in place of our rules"
            ),
            "remove them with portolan cleanup --kube-proxy",
        ),
        (None, None) => return,
    };
    report.remark(Fault::new(Stage::Node, Cause::KubeProxy, because, remedy));
}

/// The switch that decides on the client's packets, and how it stands. For IPv4 that is the one of the interface by which
/// they come (`IN_DEV_FORWARD` in net/ipv4/route.c); the others are set with the one for all, and may differ afterwards.
fn switch(sight: &Sight<'_>, surroundings: &Surroundings) -> (String, Option<bool>) {
    let family = sight.family();
    let setting = match family {
        Family::V4 => "net.ipv4.ip_forward".to_owned(),
        Family::V6 => "net.ipv6.conf.all.forwarding".to_owned(),
    };
    let all = surroundings.forwarding.get(&family).copied();
    let by = sight.client_address().filter(|_| family == Family::V4 && sight.client.role != Role::Host);
    let by = by.and_then(|address| match surroundings.routes.get(&address)? {
        Route::Out { interface, .. } => Some((interface, *surroundings.passes_on.get(interface)?)),
        _ => None,
    });
    match by {
        Some((interface, on)) if all != Some(on) => (format!("net.ipv4.conf.{interface}.forwarding"), Some(on)),
        _ => (setting, all),
    }
}

/// Whether an endpoint is this node itself.
pub(super) fn is_here(target: &Target, surroundings: &Surroundings) -> bool {
    surroundings.own_addresses.contains(&target.address)
        || surroundings.routes.get(&target.address) == Some(&Route::Here)
}

fn forwarding(sight: &Sight<'_>, surroundings: &Surroundings, report: &mut Report) {
    let (setting, on) = switch(sight, surroundings);
    match on {
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

fn routes(sight: &Sight<'_>, surroundings: &Surroundings, report: &mut Report) {
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
    let silent = lost.iter().any(|lost| lost.contains(BLACKHOLE));
    // What is passed on and has no route is answered with an ICMP error, but for a black hole (`ip_error` in
    // net/ipv4/route.c). Of the node's own connections the routing is asked again after the translation, and what is lost
    // then, TCP only sends again.
    let outcome = match sight.client.role == Role::Host && sight.frontend.protocol == Protocol::Tcp {
        false if !silent => Outcome::Refused,
        _ => Outcome::Dropped,
    };
    if lost.len() == endpoints.len() {
        report.breaks(fault, outcome);
    } else {
        report.remark(fault);
        // Some connections are lost; these do not answer.
        report.prediction.endpoints = reached;
    }
}
