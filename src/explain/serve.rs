//! From a frontend to the endpoints that answer, or to the end of the way.

use super::{
    Cause, Mark, Outcome, Scene, Stage,
    absent::{Absent, who},
    client::{Client, Role},
    near::{count, list},
    others,
    report::{Fault, Report},
};
use crate::{
    compile::{FrontendKind, FrontendPlan, Hidden, Judged, Path, PortPlan, Sender, ServicePlan, Use, is_hidden, path},
    controlplane::is_ready,
    model::{IpRange, ServicePort, Target},
    tables::{DeadEnd, List, Policy},
};

/// Endpoints that are listed at most, used ones and others.
const LISTED: usize = 10;

/// What helps a pod that is not taken for one.
const RANGE: &str = "name all ranges of the pods with --cluster-cidr";

/// One way of a packet.
pub(super) struct Way<'a> {
    pub scene: &'a Scene,
    pub client: &'a Client,
    pub plan: &'a ServicePlan<'a>,
    pub port: &'a PortPlan<'a>,
    pub frontend: &'a FrontendPlan,
}

impl Way<'_> {
    /// Walks on from the frontend.
    pub fn walk(&self, report: &mut Report) {
        let sender = self.sender();
        report.prediction.frontend = Some(self.frontend.frontend);
        self.say_frontend(report);
        let path = path(self.frontend, self.port, &sender, &self.scene.settings);
        self.say_ranges(report, &sender, path == Path::NotAllowed);
        match path {
            Path::NotAllowed => {}
            Path::DeadEnd { verdict, list } => {
                self.say_policy(report, &sender);
                self.say_endpoints(report, list);
                self.dead_end(report, verdict, list);
            }
            Path::Served { list, targets, hidden } => {
                self.say_policy(report, &sender);
                self.say_endpoints(report, list);
                self.served(report, &sender, list, targets, hidden);
            }
        }
        others::say(self, report);
    }

    pub fn sender(&self) -> Sender {
        self.client.sender(self.port.family, self.scene)
    }

    pub fn service_port(&self) -> Option<&ServicePort> {
        let id = &self.port.id;
        self.plan.service.ports.iter().find(|port| port.name == id.name && port.protocol == id.protocol)
    }

    fn say_frontend(&self, report: &mut Report) {
        let what = kind(self.frontend.kind);
        let name = &self.port.id.name;
        let of = if name.is_empty() { String::new() } else { format!(", port {name}") };
        let text = format!("{} is {what} of Service {}{of}", self.frontend.frontend, self.plan.service.id);
        report.good(Stage::Frontend, text);
        let range = self.scene.settings.detector.range_of(self.port.family);
        if let (true, false, Some(range)) = (self.client.is_pod(), self.sender().pod, range) {
            let text =
                format!("the client is a pod, but not inside {range}, the pods' range: it counts as an outside client");
            // A node that knows only the range of its own pods rightly takes those of other nodes for others.
            match self.client.role {
                Role::Pod => report.remark(Fault::new(Stage::Client, Cause::PodRange, text, RANGE)),
                _ => report.step(Stage::Client, Mark::Warning, text),
            }
        }
    }

    fn say_ranges(&self, report: &mut Report, sender: &Sender, not_allowed: bool) {
        let Some(allowed) = &self.frontend.allowed else { return };
        let ranges: Vec<String> = self.plan.service.source_ranges.iter().map(ToString::to_string).collect();
        let ranges = ranges.join(", ");
        let (id, frontend) = (&self.plan.service.id, self.frontend.frontend);
        match sender.address {
            // Every client is inside the range of all addresses.
            None if allowed.iter().any(|range| range.to_string().ends_with("/0")) => {}
            None => report.remark(Fault::new(
                Stage::SourceRange,
                Cause::SourceRange,
                format!("only for clients inside the loadBalancerSourceRanges of Service {id} ({ranges})"),
                "--from says who asks",
            )),
            Some(address) if !not_allowed => {
                let text = format!("{address} may come: loadBalancerSourceRanges {}", shown_ranges(allowed));
                report.good(Stage::SourceRange, text);
            }
            Some(address) => report.breaks(
                Fault::new(
                    Stage::SourceRange,
                    Cause::SourceRange,
                    format!("the client {address} is in none of the loadBalancerSourceRanges of Service {id} ({ranges}); its packets to {frontend} are dropped"),
                    format!("add its range to spec.loadBalancerSourceRanges (kubectl -n {} edit service {})", id.namespace, id.name),
                ),
                Outcome::Dropped,
            ),
        }
    }

    fn say_policy(&self, report: &mut Report, sender: &Sender) {
        let text = match self.frontend.policy {
            Policy::Internal => "internalTrafficPolicy: Cluster: endpoints of every node",
            Policy::InternalLocal => "internalTrafficPolicy: Local: endpoints of this node only",
            Policy::External => "externalTrafficPolicy: Cluster: endpoints of every node",
            Policy::ExternalLocal if sender.pod => {
                "externalTrafficPolicy: Local, but a pod is served as by the cluster IP: endpoints of every node"
            }
            Policy::ExternalLocal if sender.host => {
                "externalTrafficPolicy: Local, but this node itself is served as by the cluster IP: endpoints of every node"
            }
            Policy::ExternalLocal => "externalTrafficPolicy: Local: endpoints of this node only",
        };
        report.good(Stage::Policy, text);
    }

    fn say_endpoints(&self, report: &mut Report, list: List) {
        let mut lines: Vec<(bool, Mark, String)> = Vec::new();
        for judged in &self.port.selection.judged {
            let verdict = of_list(judged, list);
            let (mark, text) = self.judgement(verdict, judged);
            lines.push((verdict.is_used(), mark, format!("{}: {text}", who(judged, &self.plan.service.id))));
        }
        self.say_ignored_hints(report, list);
        for used in [true, false] {
            let of_kind: Vec<_> = lines.iter().filter(|line| line.0 == used).collect();
            for (_, mark, text) in of_kind.iter().take(LISTED) {
                report.step(Stage::Endpoint, *mark, text.clone());
            }
            let more = of_kind.len().saturating_sub(LISTED);
            if more > 0 {
                let word = if used { "used" } else { "not used" };
                report.note(Stage::Endpoint, format!("and {more} more, {word}"));
            }
        }
    }

    /// Hints that are there and that nobody follows (KEP-2433: somebody might be left without endpoints).
    fn say_ignored_hints(&self, report: &mut Report, list: List) {
        let judged = &self.port.selection.judged;
        let followed = |j: &&Judged<'_>| matches!(j.all, Use::OtherNodeHint | Use::OtherZoneHint);
        if list == List::Local || judged.iter().any(|j| followed(&j)) {
            return;
        }
        let node = &self.scene.world.node;
        let ready = || judged.iter().filter(|j| j.facts.ready).map(|j| j.facts);
        let of_node = ready().any(|facts| !facts.node_hints.is_empty());
        let of_zone = ready().any(|facts| !facts.zone_hints.is_empty());
        let all_of_node = ready().all(|facts| !facts.node_hints.is_empty());
        let all_of_zone = ready().all(|facts| !facts.zone_hints.is_empty());
        let reason = match &node.zone {
            _ if !of_node && !of_zone => return,
            _ if all_of_node && ready().any(|facts| facts.node_hints.contains(&node.name)) => return,
            _ if all_of_node && !of_zone => format!("no hint names node {}", node.name),
            _ if !all_of_zone => "not every ready endpoint has one".to_owned(),
            None => format!("node {} has no label {}", node.name, crate::objects::ZONE_LABEL),
            Some(zone) if ready().any(|facts| facts.zone_hints.contains(zone)) => return,
            Some(zone) => format!("no hint names zone {zone}"),
        };
        report.note(Stage::Endpoint, format!("the hints of the endpoints are ignored: {reason}"));
    }

    /// An endpoint's verdict in words.
    fn judgement(&self, verdict: Use, judged: &Judged<'_>) -> (Mark, String) {
        let node = &self.scene.world.node;
        let names = |names: &[std::sync::Arc<str>]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        match verdict {
            Use::Ready if self.is_published(judged) => {
                (Mark::Note, "used: not ready, but publishNotReadyAddresses counts it as ready".to_owned())
            }
            Use::Ready => (Mark::Good, "used: ready".to_owned()),
            Use::LastResort => {
                (Mark::Warning, "used as a last resort: terminating, still serving, and none is ready".to_owned())
            }
            Use::NotReady if judged.facts.terminating => {
                (Mark::Note, "not used: terminating, and it serves no more".to_owned())
            }
            Use::NotReady => (Mark::Warning, "not used: not ready".to_owned()),
            Use::Terminating => (Mark::Note, "not used: terminating, and others are ready".to_owned()),
            Use::OtherNodeHint => {
                let hints = names(&judged.facts.node_hints);
                (Mark::Note, format!("not used: its hint is for node {hints}, and this is {}", node.name))
            }
            Use::OtherZoneHint => {
                let hints = names(&judged.facts.zone_hints);
                let zone = node.zone.as_deref().unwrap_or("none");
                (Mark::Note, format!("not used: its hint is for zone {hints}, and this node's zone is {zone}"))
            }
            Use::NotLocal => match &judged.facts.node {
                Some(other) => (Mark::Note, format!("not used: it is on {other}, and the policy is Local")),
                None => (Mark::Note, "not used: nobody says on which node it is, and the policy is Local".to_owned()),
            },
        }
    }

    /// A Pod that is an endpoint although it is not ready.
    fn is_published(&self, judged: &Judged<'_>) -> bool {
        let raw = self.scene.service(&self.plan.service.id);
        let published = raw.is_some_and(|raw| raw.spec.publish_not_ready_addresses == Some(true));
        let (namespace, pod) = (&self.plan.service.id.namespace, judged.facts.pod.as_deref());
        published && pod.and_then(|pod| self.scene.pod(namespace, pod)).is_some_and(|pod| !is_ready(pod))
    }

    fn dead_end(&self, report: &mut Report, verdict: DeadEnd, list: List) {
        let (frontend, id) = (self.frontend.frontend, &self.plan.service.id);
        match verdict {
            DeadEnd::Refuse => {
                let Some(port) = self.service_port() else { return };
                let (scene, service, family) = (self.scene, self.plan.service, self.port.family);
                let mut fault = Absent { scene, service, port, family, selection: &self.port.selection }.fault();
                if let (Cause::SelectorMatchesNothing, Some(unlisted)) = (fault.cause, scene.pods_unlisted()) {
                    let text = format!("{unlisted}: why the selector matches nothing cannot be told");
                    report.step(Stage::Endpoint, Mark::Unknown, text);
                }
                fault.because += &format!("; connections to {frontend} are refused");
                report.breaks(fault, Outcome::Refused);
            }
            DeadEnd::Drop => {
                let fault = self.no_local(id, list);
                let range = self.scene.settings.detector.range_of(self.port.family);
                let fault = match (range, self.client.address(self.port.family)) {
                    (Some(range), Some(address))
                        if self.client.is_pod() && !self.sender().pod && self.served_pods() =>
                    {
                        let because = format!(
                            "the client {address} is a pod, but not inside {range}, the pods' range: it counts as an \
                             outside client, and {}",
                            fault.because
                        );
                        Fault::new(Stage::Policy, Cause::PodRange, because, RANGE)
                    }
                    _ => fault,
                };
                report.breaks(fault, Outcome::Dropped);
            }
        }
    }

    /// Whether a pod that is recognised as one gets through.
    fn served_pods(&self) -> bool {
        let pod = Sender { pod: true, ..self.sender() };
        matches!(path(self.frontend, self.port, &pod, &self.scene.settings), Path::Served { .. })
    }

    /// The fault of a Local policy without an endpoint on this node.
    fn no_local(&self, id: &crate::model::ServiceId, _list: List) -> Fault {
        let node = &self.scene.world.node.name;
        let internal = self.frontend.policy == Policy::InternalLocal;
        let (cause, policy) = match internal {
            true => (Cause::NoLocalEndpoint, "internalTrafficPolicy: Local"),
            false => (Cause::NoLocalEndpointExternal, "externalTrafficPolicy: Local"),
        };
        let here: Vec<String> = self
            .port
            .selection
            .judged
            .iter()
            .filter(|judged| judged.local == Use::NotReady)
            .map(|judged| who(judged, id))
            .collect();
        let nodes = self.nodes_with_endpoints();
        let here = match here.is_empty() {
            true => format!("has no endpoint on this node ({node})"),
            false => {
                let are = if here.len() == 1 { "is" } else { "are" };
                format!("has no ready endpoint on this node ({node}): {} {are} not ready", list(&here))
            }
        };
        let elsewhere = match nodes.is_empty() {
            true => "there are some elsewhere".to_owned(),
            false => format!("there are some on {}", list(&nodes)),
        };
        let first = nodes
            .first()
            .map_or("a node that has one".to_owned(), |node| format!("a node that has one, such as {node}"));
        let (field, instead) = match internal {
            true => ("internalTrafficPolicy", format!("run one on {node} (a DaemonSet does)")),
            false => ("externalTrafficPolicy", format!("send clients to {first}")),
        };
        Fault::new(
            Stage::Policy,
            cause,
            format!(
                "Service {id} has {policy} and {here}, {elsewhere}; connections to {} are dropped",
                self.frontend.frontend
            ),
            format!("{instead}, or set {field}: Cluster"),
        )
    }

    /// What those outside the cluster meet at this frontend, if that is a dead end for them only.
    pub fn dropped_outside(&self) -> Option<Fault> {
        let outside = Sender::default();
        let dead = path(self.frontend, self.port, &outside, &self.scene.settings);
        let dropped = matches!(dead, Path::DeadEnd { verdict: DeadEnd::Drop, .. });
        dropped.then(|| {
            let mut fault = self.no_local(&self.plan.service.id, List::Local);
            fault.because = format!("not for clients outside the cluster: {}", fault.because);
            fault
        })
    }

    fn nodes_with_endpoints(&self) -> Vec<String> {
        let used =
            self.port.selection.judged.iter().filter(|j| j.facts.ready || (j.facts.serving && j.facts.terminating));
        let mut nodes: Vec<String> =
            used.filter_map(|judged| judged.facts.node.as_ref()).map(ToString::to_string).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    fn served(&self, report: &mut Report, sender: &Sender, on: List, targets: &[Target], hidden: Option<Hidden>) {
        if let Some(seconds) = self.port.affinity_seconds {
            let text = format!(
                "sessionAffinity: ClientIP: a client stays with its endpoint until it has made no new connection for {seconds} s"
            );
            report.note(Stage::Affinity, text);
        }
        let node = &self.scene.world.node;
        let masked = targets.iter().filter(|target| is_hidden(**target, sender, hidden, self.port, node)).count();
        let all_hidden = masked > 0 && masked == targets.len();
        let in_its_place = "the client's address is hidden, the endpoint sees this node's in its place";
        let text = match (hidden, masked) {
            (None, 0) => "the endpoint sees the client's own address".to_owned(),
            (None, _) if all_hidden => format!("{in_its_place}: it is sent to itself"),
            (None, _) => "the endpoint sees the client's own address, unless the client is sent to itself".to_owned(),
            (Some(_), 0) => {
                "the endpoint, in the node's own network, sees the client's own address: nothing is hidden there"
                    .to_owned()
            }
            (Some(why), _) if all_hidden => format!("{in_its_place}: {}", reason(why)),
            (Some(why), _) => {
                format!("{in_its_place}, unless it has the node's own network: {}", reason(why))
            }
        };
        report.note(Stage::Masquerade, text.clone());
        if let Some(own) = targets.iter().find(|target| sender.address == Some(target.address)) {
            report.note(
                Stage::Masquerade,
                format!("sent to {own}, itself, the client meets this node's address (hairpin)"),
            );
        }
        report.prediction.outcome = Outcome::Answered;
        report.prediction.endpoints = targets.iter().copied().collect();
        report.prediction.hidden = all_hidden;
        let judged = &self.port.selection.judged;
        let shown = judged.iter().filter(|j| of_list(j, on).is_used()).map(|j| who(j, &self.plan.service.id));
        let shown: Vec<String> = shown.collect();
        let any = if targets.len() == 1 { String::new() } else { "any of ".to_owned() };
        report.works = format!(
            "{} of Service {} leads to {any}{}: {}; {text}",
            self.frontend.frontend,
            self.plan.service.id,
            count(targets.len(), "endpoint"),
            list(&shown)
        );
        others::of_endpoints(self, on, report);
    }
}

/// The verdict for a list.
pub(super) fn of_list(judged: &Judged<'_>, list: List) -> Use {
    match list {
        List::All => judged.all,
        List::Local => judged.local,
    }
}

/// What a frontend is, in a sentence.
pub(super) fn kind(kind: FrontendKind) -> String {
    match kind {
        FrontendKind::ClusterIp | FrontendKind::NodePort => format!("the {}", kind.name()),
        FrontendKind::LoadBalancer => format!("a {} address", kind.name()),
        FrontendKind::ExternalIp => format!("an {}", kind.name()),
    }
}

fn reason(hidden: Hidden) -> &'static str {
    match hidden {
        Hidden::Everybody => "--masquerade-all",
        Hidden::NotPod => "the client is not recognised as a pod",
        Hidden::External => "externalTrafficPolicy: Cluster",
        Hidden::Host => "it is a connection of this node itself",
    }
}

fn shown_ranges(ranges: &[IpRange]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
