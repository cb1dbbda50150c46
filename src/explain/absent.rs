//! Why a service port has no endpoint that can be used.

use std::collections::BTreeSet;

use super::{
    Cause, Scene, Stage,
    near::{self, list},
    report::Fault,
    slices,
};
use crate::{
    compile::{Judged, Selection},
    controlplane::{PodVerdict, is_selected, verdict},
    model::{Family, Service, ServiceId, ServicePort, Severity},
    objects,
};

/// Who makes slices in a cluster.
const CONTROLLER: &str = "see whether kube-controller-manager runs, which makes them of the Pods, and its log";

/// A service port that has nobody to serve it.
pub(super) struct Absent<'a> {
    pub scene: &'a Scene,
    pub service: &'a Service,
    pub port: &'a ServicePort,
    pub family: Family,
    /// All of its endpoints, judged
    pub selection: &'a Selection<'a>,
}

impl Absent<'_> {
    /// The first true cause.
    pub fn fault(&self) -> Fault {
        let known = self
            .unnamed_port()
            .or_else(|| self.not_usable())
            .or_else(|| self.without_slices())
            .or_else(|| self.of_pods());
        let known = known.or_else(|| self.of_slices());
        known.unwrap_or_else(|| self.nobody_made_them())
    }

    fn id(&self) -> &ServiceId {
        &self.service.id
    }

    /// The Service with its port in the words of its object.
    fn raw(&self) -> Option<(&objects::Service, &objects::ServicePort)> {
        let service = self.scene.service(self.id())?;
        Some((service, raw_port(service, self.port)?))
    }

    /// Endpoints are there, and none of them is ready.
    fn not_usable(&self) -> Option<Fault> {
        let judged = &self.selection.judged;
        judged.first()?;
        let id = self.id();
        let shown = |j: &Judged<'_>| match j.facts.terminating {
            true => format!("{}, terminating", who(j, id)),
            false => who(j, id),
        };
        let shown: Vec<String> = judged.iter().map(shown).collect();
        let fault = |cause, because: String, remedy: String| Some(Fault::new(Stage::Endpoint, cause, because, remedy));
        if judged.iter().all(|j| j.facts.terminating) {
            return fault(
                Cause::Terminating,
                format!("all endpoints of Service {id} are terminating and serve no more ({})", list(&shown)),
                "wait for their successors, or see why there are none: kubectl get pods".to_owned(),
            );
        }
        let remedy = see_why(&judged.iter().filter(|j| !j.facts.terminating).collect::<Vec<_>>(), id);
        let because = match judged.len() {
            1 => format!("Service {id} has no ready endpoints: its only one, {}, is not ready", shown.concat()),
            all => format!("Service {id} has no ready endpoints: all {all} are not ready ({})", list(&shown)),
        };
        // Pods that could never serve are the lesser reason where one could.
        let without = self.raw().zip(self.verdicts()).and_then(|((_, port), all)| self.wrong_port(&all, port));
        let because = match without {
            Some(fault) => format!("{because}; besides, {}", fault.because),
            None => because,
        };
        fault(Cause::NotReady, because, remedy)
    }

    /// No Pod has the port of the target port's name.
    fn unnamed_port(&self) -> Option<Fault> {
        let (_, port) = self.raw()?;
        let verdicts = self.verdicts()?;
        let one_has = verdicts.iter().any(|(_, verdict)| matches!(verdict, PodVerdict::Endpoint(..)));
        if one_has { None } else { self.wrong_port(&verdicts, port) }
    }

    /// The Pods that the Service selects, with what they are to this port. None if the endpoints were not made of them.
    fn verdicts(&self) -> Option<Vec<(&objects::Pod, PodVerdict)>> {
        let (raw, port) = self.raw()?;
        let selected = self.scene.pods().filter(|pod| is_selected(raw, pod));
        let verdicts: Vec<_> = selected.map(|pod| (pod, verdict(port, pod, self.family))).collect();
        (!raw.spec.selector.is_empty()).then_some(verdicts)
    }

    /// No endpoints were made of the Pods that the Service selects.
    fn of_pods(&self) -> Option<Fault> {
        let (raw, _) = self.raw()?;
        let verdicts = self.verdicts()?;
        if self.scene.world.slices_of(self.id()).any(|slice| !slice.endpoints.is_empty()) && verdicts.is_empty() {
            return None;
        }
        if verdicts.is_empty() {
            return Some(self.matches_nothing(raw));
        }
        self.wrong_family(&verdicts).or_else(|| self.not_running(&verdicts))
    }

    /// A cluster's controller makes slices for every Service with a selector, empty ones, too.
    fn without_slices(&self) -> Option<Fault> {
        let (raw, _) = self.raw()?;
        let id = self.id();
        let made = self.scene.world.slices_of(id).next().is_some();
        if self.scene.api.is_none() || raw.spec.selector.is_empty() || made {
            return None;
        }
        let because = format!("Service {id} has no endpoints: it has a selector, and no EndpointSlice was made for it");
        Some(Fault::new(Stage::Endpoint, Cause::NoEndpointsObject, because, CONTROLLER))
    }

    fn matches_nothing(&self, raw: &objects::Service) -> Fault {
        let id = self.id();
        if self.scene.pods_unlisted().is_some() {
            let selector = near::labels(&raw.spec.selector);
            return Fault::new(
                Stage::Endpoint,
                Cause::SelectorMatchesNothing,
                format!("Service {id} has no endpoints: its selector {selector} matches no Pod that has an address"),
                format!(
                    "see whether it matches any: kubectl -n {} get pods -l {selector}; if not, correct spec.selector or \
                     the Pods' labels",
                    id.namespace
                ),
            );
        }
        let near = near::pods(raw, self.scene);
        let near = if near.is_empty() { String::new() } else { format!(" ({})", list(&near)) };
        Fault::new(
            Stage::Endpoint,
            Cause::SelectorMatchesNothing,
            format!(
                "the selector {} of Service {id} matches no Pod in namespace {}{near}, so it has no endpoints",
                near::labels(&raw.spec.selector),
                id.namespace
            ),
            format!("correct spec.selector or the Pods' labels (kubectl -n {} get pods --show-labels)", id.namespace),
        )
    }

    fn wrong_port(&self, verdicts: &[(&objects::Pod, PodVerdict)], port: &objects::ServicePort) -> Option<Fault> {
        let (pod, wanted, has) = verdicts.iter().find_map(|(pod, verdict)| match verdict {
            PodVerdict::NoPort { wanted, has } => Some((pod, wanted, has)),
            _ => None,
        })?;
        let one_has = verdicts.iter().any(|(_, verdict)| matches!(verdict, PodVerdict::Endpoint(..)));
        Some(Fault::new(
            Stage::Endpoint,
            Cause::TargetPortName,
            format!(
                "{} of Service {} has a port with the name {wanted:?} of targetPort in port {} (Pod {}/{}: {has})",
                if one_has { "not every Pod" } else { "no Pod" },
                self.id(),
                port.port,
                pod.metadata.namespace(),
                pod.metadata.name
            ),
            "correct spec.ports[].targetPort, or name the container's port so",
        ))
    }

    fn wrong_family(&self, verdicts: &[(&objects::Pod, PodVerdict)]) -> Option<Fault> {
        let other: Vec<String> = pods_with(verdicts, |verdict| *verdict == PodVerdict::OtherFamily);
        (!other.is_empty()).then(|| self.other_family(&list(&other)))
    }

    fn other_family(&self, who: &str) -> Fault {
        let (id, family) = (self.id(), self.family);
        let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
        Fault::new(
            Stage::Endpoint,
            Cause::EndpointFamily,
            format!(
                "Service {id} is asked for an {family} endpoint, and its endpoints have {other} addresses only ({who})"
            ),
            "set spec.ipFamilies to the family that the Pods have, or give the Pods both",
        )
    }

    fn not_running(&self, verdicts: &[(&objects::Pod, PodVerdict)]) -> Option<Fault> {
        let id = self.id();
        let waiting = pods_with(verdicts, |verdict| matches!(verdict, PodVerdict::NoAddress(_)));
        let ended = pods_with(verdicts, |verdict| matches!(verdict, PodVerdict::Ended(_)));
        let because = match (waiting.is_empty(), ended.is_empty()) {
            (false, true) => match waiting.as_slice() {
                [only] => format!("the only Pod that Service {id} selects has no address yet: {only}"),
                all => format!(
                    "none of the {} Pods that Service {id} selects has an address yet: {}",
                    all.len(),
                    list(all)
                ),
            },
            (false, false) => format!(
                "none of the {} Pods that Service {id} selects runs: without an address yet {}; ended {}",
                waiting.len() + ended.len(),
                list(&waiting),
                list(&ended)
            ),
            (true, false) => match ended.as_slice() {
                [only] => format!("the only Pod that Service {id} selects has ended: {only}"),
                all => format!("all {} Pods that Service {id} selects have ended: {}", all.len(), list(all)),
            },
            (true, true) => return None,
        };
        let remedy = format!("see why: kubectl -n {} describe pods -l <the selector>", id.namespace);
        let remedy = match self.raw() {
            Some((raw, _)) => remedy.replace("<the selector>", &near::labels(&raw.spec.selector)),
            None => remedy,
        };
        Some(Fault::new(Stage::Endpoint, Cause::PodsNotRunning, because, remedy))
    }

    /// Slices are there, and what they have is not of this port.
    fn of_slices(&self) -> Option<Fault> {
        let (id, port) = (self.id(), self.port);
        let filled = || self.scene.world.slices_of(id).filter(|slice| !slice.endpoints.is_empty());
        filled().next()?;
        let ours = |p: &crate::model::SlicePort| p.name == port.name && p.protocol == port.protocol;
        if filled().any(|slice| slice.ports.iter().any(ours)) {
            let others = filled().filter(|slice| slice.ports.iter().any(ours)).flat_map(|slice| &slice.endpoints);
            let others: Vec<String> = others.map(|facts| facts.address.to_string()).collect();
            return Some(self.other_family(&list(&others)));
        }
        if let Some(fault) = self.unlisted_port_name() {
            return Some(fault);
        }
        let names: BTreeSet<String> = filled().flat_map(|slice| &slice.ports).map(shown_port).collect();
        let names: Vec<String> = names.into_iter().collect();
        let has = match names.is_empty() {
            true => "they have no ports".to_owned(),
            false => format!("they have: {}", list(&names)),
        };
        Some(Fault::new(
            Stage::Endpoint,
            Cause::PortName,
            format!("the endpoints of Service {id} have no port {} ({has})", shown(&port.name, port.protocol)),
            "give the port the same name and protocol in the Service and in its Endpoints or EndpointSlice",
        ))
    }

    /// Pods that could not be listed, and have no port of the target port's name: the slices that were made of them would
    /// have it.
    fn unlisted_port_name(&self) -> Option<Fault> {
        let (raw, port) = self.raw()?;
        self.scene.pods_unlisted()?;
        match &port.target_port {
            Some(objects::IntOrString::String(name)) if !name.is_empty() && !raw.spec.selector.is_empty() => {
                let because = format!(
                    "no Pod of Service {} has a port with the name {name:?} of targetPort in port {}",
                    self.id(),
                    port.port
                );
                let remedy = "correct spec.ports[].targetPort, or name the container's port so";
                Some(Fault::new(Stage::Endpoint, Cause::TargetPortName, because, remedy))
            }
            _ => None,
        }
    }

    /// Neither Pods nor slices.
    fn nobody_made_them(&self) -> Fault {
        let id = self.id();
        if let Some(notice) = self.scene.said_of("Endpoints", id, Severity::Refused).next() {
            return Fault::new(
                Stage::Endpoint,
                Cause::Invalid,
                format!("the Endpoints object {id} is refused, {}: {}", notice.field, notice.reason),
                "correct it",
            );
        }
        let selector = self.raw().filter(|(raw, _)| !raw.spec.selector.is_empty());
        if let Some((raw, _)) = selector {
            let selected: Vec<String> = self.verdicts().map(|all| pods_with(&all, |_| true)).unwrap_or_default();
            if selected.is_empty() {
                return self.matches_nothing(raw);
            }
            let because =
                format!("the EndpointSlices of Service {id} lack the Pods that it selects: {}", list(&selected));
            return Fault::new(Stage::Endpoint, Cause::NoEndpointsObject, because, CONTROLLER);
        }
        let near = slices::near(id, self.scene);
        let near = if near.is_empty() { String::new() } else { format!(" ({})", list(&near)) };
        Fault::new(
            Stage::Endpoint,
            Cause::NoEndpointsObject,
            format!(
                "Service {id} has no endpoints: it has no selector, and there is no Endpoints or EndpointSlice with addresses for it{near}"
            ),
            format!(
                "write an EndpointSlice with the label kubernetes.io/service-name: {}, or give the Service a selector",
                id.name
            ),
        )
    }
}

/// The port as the object has it.
pub(super) fn raw_port<'a>(service: &'a objects::Service, port: &ServicePort) -> Option<&'a objects::ServicePort> {
    service.spec.ports.iter().find(|raw| {
        raw.name.as_deref().unwrap_or_default() == &*port.name
            && raw.protocol.as_deref().filter(|p| !p.is_empty()).unwrap_or("TCP") == port.protocol.to_string()
    })
}

/// An endpoint's address, and who that is.
pub(super) fn who(judged: &Judged<'_>, id: &ServiceId) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(judged.facts.pod.as_ref().map(|pod| format!("Pod {}/{pod}", id.namespace)));
    words.extend(judged.facts.node.as_ref().map(|node| format!("on {node}")));
    match words.is_empty() {
        true => judged.target.to_string(),
        false => format!("{} ({})", judged.target, words.join(" ")),
    }
}

/// What to do about endpoints that are not ready.
pub(super) fn see_why(not_ready: &[&Judged<'_>], id: &ServiceId) -> String {
    let mut pods: Vec<&str> = not_ready.iter().filter_map(|judged| judged.facts.pod.as_deref()).collect();
    pods.dedup();
    match pods[..] {
        [] => "make them ready in their EndpointSlice or Endpoints object".to_owned(),
        [pod] => format!("see why its readiness probe fails: kubectl -n {} describe pod {pod}", id.namespace),
        [pod, ..] => format!("see why their readiness probes fail: kubectl -n {} describe pod {pod}", id.namespace),
    }
}

fn pods_with(verdicts: &[(&objects::Pod, PodVerdict)], is: impl Fn(&PodVerdict) -> bool) -> Vec<String> {
    let with = verdicts.iter().filter(|(_, verdict)| is(verdict));
    with.map(|(pod, verdict)| {
        let phase = match verdict {
            PodVerdict::Ended(phase) => format!(", {phase}"),
            PodVerdict::NoAddress(Some(phase)) => format!(", {phase}"),
            _ => String::new(),
        };
        format!("Pod {}/{}{phase}", pod.metadata.namespace(), pod.metadata.name)
    })
    .collect()
}

fn shown_port(port: &crate::model::SlicePort) -> String {
    let name = if port.name.is_empty() { "without a name".to_owned() } else { format!("named {}", port.name) };
    format!("{}/{} {name}", port.port, port.protocol)
}

fn shown(name: &str, protocol: crate::model::Protocol) -> String {
    if name.is_empty() { format!("without a name for {protocol}") } else { format!("named {name} for {protocol}") }
}
