//! `portolan render -o summary`: each Service with its frontends and endpoints, and why.

use std::fmt::Write;

use crate::{
    compile::{FrontendPlan, PortPlan, ServicePlan, Use},
    desired::Desired,
    tables::{DeadEnd, Policy},
};

/// The plan of every Service, in words.
pub fn text(desired: &Desired) -> String {
    let mut text = String::new();
    for id in desired.world().services.keys() {
        if let Some(plan) = desired.plan(id) {
            service(&plan, &mut text);
        }
    }
    text
}

// Writing to a String cannot fail: hence `let _` below.

fn service(plan: &ServicePlan, text: &mut String) {
    let service = plan.service;
    let _ = writeln!(text, "{} ({})", service.id, service.kind);
    if plan.ports.is_empty() {
        let _ = writeln!(text, "  nothing in the kernel: {}", why_nothing(plan));
    }
    for port in &plan.ports {
        service_port(port, text);
    }
    for lost in &plan.lost {
        let _ = writeln!(text, "  not served: {} belongs to {}", lost.frontend, lost.owner);
    }
}

/// Why there is nothing of a Service in the kernel.
pub(super) fn why_nothing(plan: &ServicePlan) -> &'static str {
    let service = plan.service;
    if !service.proxied {
        "its label service.kubernetes.io/service-proxy-name hands it to another proxy"
    } else if service.kind == crate::model::ServiceType::ExternalName {
        "ExternalName is answered by DNS alone"
    } else if service.cluster_ips.is_empty() {
        "it has no cluster IP (headless: DNS alone)"
    } else if !plan.lost.is_empty() {
        "all its frontends belong to other Services"
    } else {
        "it has no ports"
    }
}

fn service_port(port: &PortPlan, text: &mut String) {
    let name = if port.id.name.is_empty() { "(unnamed)" } else { &port.id.name };
    let _ = writeln!(text, "  port {name} {} {}", port.id.protocol, port.family);
    for frontend in &port.frontends {
        let _ = writeln!(text, "    {:<13} {} -> {}", frontend.kind.name(), frontend.frontend, outcome(frontend, port));
    }
    if let Some(seconds) = port.affinity_seconds {
        let _ =
            writeln!(text, "    affinity      a client keeps its endpoint for {seconds} s after its last connection");
    }
    for endpoint in &port.selection.judged {
        let pod = endpoint.facts.pod.as_deref().unwrap_or("no pod known");
        let node = endpoint.facts.node.as_deref().unwrap_or("node unknown");
        let mut words = verdict(endpoint.all).to_owned();
        // The local list has a mind of its own: it falls back for itself, and knows no hints.
        if port.frontends.iter().any(|f| f.local) && endpoint.local != Use::NotLocal && endpoint.local != endpoint.all {
            let _ = write!(words, "; for policy Local: {}", verdict(endpoint.local));
        }
        let _ = writeln!(text, "    endpoint      {} ({pod}, {node}): {words}", endpoint.target);
    }
}

/// Who gets what at a frontend.
pub(super) fn outcome(frontend: &FrontendPlan, port: &PortPlan) -> String {
    let (all, local) = (port.selection.all.len(), port.selection.local.len());
    let mut words = match (frontend.policy, frontend.dead_end) {
        (_, Some(DeadEnd::Refuse)) => "refused: no endpoint".to_owned(),
        (Policy::ExternalLocal, Some(DeadEnd::Drop)) => {
            format!("dropped: policy Local and no endpoint on this node; pods and this host reach one of {all}")
        }
        (_, Some(DeadEnd::Drop)) => "dropped: policy Local and no endpoint on this node".to_owned(),
        (Policy::Internal | Policy::External, None) => format!("one of {all}"),
        (Policy::InternalLocal, None) => format!("one of {local} on this node (policy Local)"),
        (Policy::ExternalLocal, None) => {
            format!("one of {local} on this node (policy Local); pods and this host: one of {all}")
        }
    };
    if let Some(ranges) = &frontend.allowed {
        let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        let _ = write!(words, "; only from {}", ranges.join(", "));
    }
    words
}

/// Why the cluster policy uses an endpoint, or why it does not.
pub(super) fn verdict(verdict: Use) -> &'static str {
    match verdict {
        Use::Ready => "ready",
        Use::LastResort => "terminating, used because none is ready",
        Use::NotReady => "not used: not ready",
        Use::Terminating => "not used: terminating",
        Use::OtherNodeHint => "not used: its hints name other nodes",
        Use::OtherZoneHint => "not used: its hints name other zones",
        Use::NotLocal => "not used: on another node",
    }
}
