//! Packets for what is no frontend: whose they are, and what was probably meant.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    Cause, Outcome, Scene, Stage,
    absent::raw_port,
    address::service_network,
    client::{Client, Role},
    headless::declares_others,
    near::{self, list},
    report::{Fault, Report},
    service::{missing, shown, unclaimed},
};
use crate::{
    model::{
        Family, Frontend, NodePortAddresses, Service, ServiceId, ServicePort, Slice, Target, is_loopback, parse_address,
    },
    objects::{self, IntOrString},
};

/// A packet for something that is nobody's frontend.
pub(super) struct Stray<'a> {
    pub frontend: Frontend,
    pub client: &'a Client,
    pub scene: &'a Scene,
}

impl Stray<'_> {
    /// Walks on to whoever has the address.
    pub fn walk(&self, report: &mut Report) {
        report.prediction.frontend = Some(self.frontend);
        let known = self.refused(report)
            || self.other_proxy(report)
            || self.at_service(report)
            || self.at_node(report)
            || self.at_pod(report);
        if !known {
            self.nobody(report);
        }
    }

    /// What a Service would have if it was not refused.
    fn refused(&self, report: &mut Report) -> bool {
        let Some(id) = self.scene.refused_at(&self.frontend) else { return false };
        missing(&id, self.scene, report);
        report.prediction.outcome = unclaimed(self.frontend.address, self.scene);
        true
    }

    /// What a Service has that another proxy serves.
    fn other_proxy(&self, report: &mut Report) -> bool {
        let Some((id, what)) = self.scene.other_proxy_at(&self.frontend) else { return false };
        let because = format!(
            "{} is {what} of Service {id}, which is left to another proxy by its label {}",
            self.frontend,
            objects::PROXY_NAME_LABEL
        );
        let fault = Fault::new(Stage::Service, Cause::OtherProxy, because, "remove the label, or look at that proxy");
        report.breaks(fault, unclaimed(self.frontend.address, self.scene));
        true
    }

    /// An address that some Service has, and a port that it has not.
    fn at_service(&self, report: &mut Report) -> bool {
        let Frontend { address, port, .. } = self.frontend;
        let (scene, frontend) = (self.scene, self.frontend);
        let mut services = scene.world.services.values();
        if let Some(service) = services.find(|service| service.cluster_ips.contains(&address)) {
            let id = &service.id;
            let refused = scene.plan(id).is_some_and(|plan| plan.cluster_ips.contains(&address));
            let (cause, because) = wrong_port(service, &[service], &frontend, "cluster IP");
            let fault = Fault::new(Stage::Frontend, cause, because, instead(&[service]));
            report.breaks(fault, if refused { Outcome::Refused } else { Outcome::Passed });
            return true;
        }
        let external = |service: &&Service| {
            service.load_balancer_ips.contains(&address) || service.external_ips.contains(&address)
        };
        let all: Vec<&Service> = scene.world.services.values().filter(external).collect();
        if let Some(service) = all.first() {
            // Several Services may share such an address.
            let of_port = all.iter().find(|service| service.ports.iter().any(|own| own.port == port));
            let (cause, because) = wrong_port(of_port.unwrap_or(service), &all, &frontend, "external address");
            let fault = Fault::new(Stage::Frontend, cause, because, instead(&all));
            report.breaks(fault, Outcome::Passed);
            return true;
        }
        self.asked_for(address, port, report)
    }

    /// A load-balancer address that an object names and that is not served.
    fn asked_for(&self, address: IpAddr, port: u16, report: &mut Report) -> bool {
        let is_it = |text: &String| parse_address(text) == Some(address);
        for raw in self.scene.services() {
            let id = ServiceId::new(raw.metadata.namespace(), &raw.metadata.name);
            if raw.status.load_balancer.ingress.iter().any(|i| i.ip.as_ref().is_some_and(is_it)) {
                let because = format!(
                    "{address} is an address of Service {id} with ipMode Proxy: the load balancer takes its packets, and this node passes those to port {port} on"
                );
                report.works = because;
                report.prediction.outcome = Outcome::Passed;
                return true;
            }
            if raw.spec.load_balancer_ip.as_ref().is_some_and(is_it) {
                let unnamed =
                    ("status.loadBalancer does not name it".to_owned(), "see the load balancer provider's log");
                let (reason, remedy) = self.scene.pending(raw).unwrap_or(unnamed);
                let because = format!(
                    "{address} is what Service {id} asks for as loadBalancerIP, and it does not have it: {reason}"
                );
                report.breaks(Fault::new(Stage::Frontend, Cause::AddressPending, because, remedy), Outcome::Passed);
                return true;
            }
        }
        false
    }

    /// An address of this node, and a port that is no node port there.
    fn at_node(&self, report: &mut Report) -> bool {
        let Frontend { address, port, protocol } = self.frontend;
        let loopback = is_loopback(address);
        let here = self.scene.is_here(address) || loopback;
        let services = self.scene.world.services.values();
        let ports = services.flat_map(|service| service.ports.iter().map(move |port| (service, port)));
        let known = ports.filter(|(service, _)| service.proxied).find(|(_, own)| own.node_port == Some(port));
        // A node has more addresses than its object: who dials a node port elsewhere probably means one of those.
        let meant = known.is_some() && self.scene.pod_name_at(address).is_none();
        if !here && !meant && self.scene.node_at(address).is_none() {
            return false;
        }
        let owned = self.scene.claims().owned().filter(|(f, _)| f.port == port && f.protocol == protocol);
        let mut instead: Vec<String> =
            owned.filter(|(f, _)| self.scene.is_here(f.address)).map(|(f, _)| f.to_string()).collect();
        instead.sort();
        let fault = match known {
            Some((service, _)) if loopback => Fault::new(
                Stage::Frontend,
                Cause::Loopback,
                format!(
                    "{port} is the node port of Service {}, and node ports do not answer on loopback addresses such as {address}",
                    service.id
                ),
                format!("dial an address of the node: {}", list(&instead)),
            ),
            Some((service, _)) if !service.cluster_ips.iter().any(|ip| Family::of(*ip) == Family::of(address)) => {
                let family = Family::of(address);
                Fault::new(
                    Stage::Frontend,
                    Cause::OtherFamily,
                    format!("{port} is the node port of Service {}, which has no {family} address", service.id),
                    "dial an address of the Service's family, or set spec.ipFamilyPolicy: PreferDualStack",
                )
            }
            Some((service, own)) if own.protocol != protocol => Fault::new(
                Stage::Frontend,
                Cause::OtherProtocol,
                format!("node port {port} of Service {} is for {}, not for {protocol}", service.id, own.protocol),
                format!("dial {port}/{}", own.protocol),
            ),
            Some((service, _)) => Fault::new(
                Stage::Frontend,
                Cause::NodePortAddress,
                format!(
                    "{port} is the node port of Service {}, and node ports do not answer on {address} ({})",
                    service.id,
                    self.chosen_addresses()
                ),
                match instead.as_slice() {
                    [] => "choose others with --nodeport-addresses: this node has none of these".to_owned(),
                    all => format!("dial {}, or choose others with --nodeport-addresses", list(all)),
                },
            ),
            None => return self.no_node_port(report),
        };
        report.breaks(fault, Outcome::Passed);
        true
    }

    fn chosen_addresses(&self) -> String {
        match &self.scene.settings.node_port_addresses {
            NodePortAddresses::Primary => "only on the node's primary address".to_owned(),
            NodePortAddresses::Ranges(ranges) => {
                let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                format!("only inside {}", ranges.join(", "))
            }
        }
    }

    fn no_node_port(&self, report: &mut Report) -> bool {
        let Frontend { address, port, .. } = self.frontend;
        if self.at_endpoint(report) {
            return true;
        }
        let services = || self.scene.world.services.values().filter(|service| service.proxied);
        let ports = || services().flat_map(|service| service.ports.iter().map(move |port| (service, port)));
        let leads_to = |own: &ServicePort, service: &Service| {
            let raw = self.scene.service(&service.id).and_then(|raw| raw_port(raw, own));
            raw.is_some_and(
                |raw| matches!(&raw.target_port, Some(IntOrString::Int(target)) if *target == i32::from(port)),
            )
        };
        let meant = ports().find_map(|(service, own)| {
            let is_it = own.port == port || leads_to(own, service);
            Some((service, own, own.node_port.filter(|_| is_it)?))
        });
        if let Some((service, own, node_port)) = meant {
            let what = if own.port == port { "a port" } else { "a target port" };
            let because = format!(
                "{port} is {what} of Service {}, which has another one on nodes, {node_port}; only a process of the node itself could answer on {}",
                service.id, self.frontend
            );
            let remedy = format!("dial {}", Target { address, port: node_port });
            report.breaks(Fault::new(Stage::Frontend, Cause::NoSuchPort, because, remedy), Outcome::Passed);
            return true;
        }
        let all = ports().filter_map(|(service, own)| Some(format!("{} of {}", own.node_port?, service.id)));
        let all: Vec<String> = all.collect();
        if self.scene.options.node_port_range.contains(&port) {
            let (because, remedy) = match &all[..] {
                [] => (format!("no Service has node port {port}, nor any other"), "set type: NodePort"),
                [_] => (format!("no Service has node port {port}; there is {}", list(&all)), "dial that"),
                _ => (format!("no Service has node port {port}; there are {}", list(&all)), "dial one of these"),
            };
            let remedy = format!("{remedy}, or set spec.ports[].nodePort");
            report.breaks(Fault::new(Stage::Frontend, Cause::NoSuchService, because, remedy), Outcome::Passed);
            return true;
        }
        let of = ports()
            .find(|(_, own)| own.port == port)
            .map(|(service, _)| format!(" (Service {} has port {port}, and no node port for it)", service.id));
        let because = format!(
            "{} is no frontend of a Service{}: only a process of the node itself may answer",
            self.frontend,
            of.unwrap_or_default()
        );
        report.prediction.outcome = Outcome::Passed;
        report.remark(Fault::new(Stage::Frontend, Cause::NoSuchService, because, ""));
        true
    }

    /// A pod's own address.
    fn at_pod(&self, report: &mut Report) -> bool {
        let Frontend { address, port, protocol } = self.frontend;
        let Some(pod) = self.scene.pod_at(address) else {
            // One that could not be listed is known by its endpoints, and one that has ended comes last.
            let unlisted = self.scene.pod_name_at(address);
            return match unlisted {
                Some(whole) => self.itself(&whole, report),
                None => self.at_endpoint(report) || self.at_ended(report),
            };
        };
        let whole = format!("Pod {}/{}", pod.metadata.namespace(), pod.metadata.name);
        report.note(Stage::Frontend, format!("{address} is the address of {whole}: no Service is involved"));
        if let Some(others) = declares_others(pod, port, protocol) {
            let because = format!("probably nobody listens on {}: {others}", self.frontend);
            let remedy = "dial a port that the Pod listens on, or declare this one";
            let fault = Fault::new(Stage::Endpoint, Cause::TargetPortNotDeclared, because, remedy);
            report.breaks(fault, Outcome::Refused);
            return true;
        }
        self.itself(&whole, report)
    }

    /// The address and the port of an endpoint that is no Pod with an address of its own: one of the node's network, or
    /// somebody outside.
    fn at_endpoint(&self, report: &mut Report) -> bool {
        let Frontend { address, port, .. } = self.frontend;
        let services = self.scene.world.services.keys();
        let mut slices = services.flat_map(|id| self.scene.world.slices_of(id));
        let is_it = |slice: &&Slice| {
            slice.ports.iter().any(|own| own.port == port) && slice.endpoints.iter().any(|own| own.address == address)
        };
        let Some(slice) = slices.find(is_it) else { return false };
        let whole = format!("an endpoint of Service {}", slice.service);
        report.note(Stage::Frontend, format!("{} is {whole}: no Service is involved", self.frontend));
        self.itself(&whole, report)
    }

    fn itself(&self, whose: &str, report: &mut Report) -> bool {
        let Frontend { address, port, .. } = self.frontend;
        report.prediction.outcome = Outcome::Answered;
        report.prediction.endpoints = [Target { address, port }].into();
        report.works = format!("{} is {whose} itself: packets go there untranslated", self.frontend);
        true
    }

    /// The address that a Pod had.
    fn at_ended(&self, report: &mut Report) -> bool {
        let address = self.frontend.address;
        let Some(pod) = self.scene.ended_at(address) else { return false };
        let phase = pod.status.phase.as_deref().unwrap_or_default();
        let whole = format!("Pod {}/{}", pod.metadata.namespace(), pod.metadata.name);
        let because = format!("{address} was the address of {whole}, which has ended ({phase}): nobody has it now");
        let remedy = "dial its Service, or the Pod that came after it";
        report.breaks(Fault::new(Stage::Endpoint, Cause::PodsNotRunning, because, remedy), Outcome::Passed);
        true
    }

    fn nobody(&self, report: &mut Report) {
        let Frontend { address, port, .. } = self.frontend;
        let fault = |cause, because: String, remedy: &str| Fault::new(Stage::Frontend, cause, because, remedy);
        if address.is_unspecified() || address.is_multicast() || address == IpAddr::from(Ipv4Addr::BROADCAST) {
            let because = format!("{address} is not the address of one machine: no Service can have it");
            report.breaks(fault(Cause::NoSuchService, because, "dial another address"), Outcome::Passed);
            return;
        }
        if let Some((network, known)) = service_network(address, self.scene) {
            let (what, outcome) = match known {
                true => ("where cluster IPs are taken from, so packets to it are dropped", Outcome::Dropped),
                false => ("where cluster IPs are taken from unless --service-cidr says otherwise", Outcome::Passed),
            };
            let because = format!("no Service has the cluster IP {address}; it is inside {network}, {what}");
            let remedy = "ask for the name of the Service, or see kubectl get services -A for its address";
            report.breaks(fault(Cause::NoSuchService, because, remedy), outcome);
            return;
        }
        if self.scene.options.load_balancer_pool.iter().any(|range| range.contains(address)) {
            let because = format!("no Service has the load-balancer address {address}; it is in --load-balancer-pool");
            let remedy = "see kubectl get services -A for the addresses that there are";
            report.breaks(fault(Cause::NoSuchService, because, remedy), Outcome::Passed);
            return;
        }
        let of_port = |service: &objects::Service| service.spec.ports.iter().any(|own| own.port == i32::from(port));
        let pending = self
            .scene
            .services()
            .filter(|service| of_port(service))
            .find_map(|service| Some((service, self.scene.pending(service)?)));
        if let Some((service, (reason, remedy))) = pending {
            let id = ServiceId::new(service.metadata.namespace(), &service.metadata.name);
            let because = format!(
                "no Service has the address {address}; Service {id}, which has port {port}, waits for a load-balancer address: {reason}"
            );
            report.breaks(fault(Cause::AddressPending, because, remedy), Outcome::Passed);
            return;
        }
        let whose = if self.client.role == Role::Outside { "" } else { " by its routes" };
        let because = format!(
            "no Service of this cluster has the address {address}: this node passes packets to it on{whose} as they are"
        );
        report.prediction.outcome = Outcome::Passed;
        report.remark(fault(Cause::NoSuchService, because, ""));
    }
}

/// What else may be dialled at an address that these Services have.
fn instead(services: &[&Service]) -> String {
    let all: Vec<String> = services.iter().flat_map(|service| service.ports.iter().map(shown)).collect();
    near::dial_one(&all).unwrap_or_default()
}

/// Why a Service does not answer on a port of its address, which it perhaps shares with others.
fn wrong_port(service: &Service, sharing: &[&Service], frontend: &Frontend, what: &str) -> (Cause, String) {
    let Frontend { address, port, protocol } = frontend;
    let id = &service.id;
    if let Some(other) = service.ports.iter().find(|own| own.port == *port) {
        let because = format!(
            "Service {id}, whose {what} {address} is, has port {port} for {}, not for {protocol}",
            other.protocol
        );
        return (Cause::OtherProtocol, because);
    }
    let of = |service: &&Service| service.ports.iter().map(shown).collect::<Vec<_>>().join(", ");
    let because = match sharing {
        [] | [_] => format!("Service {id}, whose {what} {address} is, has no port {port}; it has {}", of(&service)),
        all => {
            let all: Vec<String> = all.iter().map(|one| format!("{} has {}", one.id, of(one))).collect();
            format!("none of the Services that share the {what} {address} has port {port}: {}", all.join(", "))
        }
    };
    (Cause::NoSuchPort, because)
}
