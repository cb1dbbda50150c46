//! ValidateService: what the API server checks of a Service, after defaulting.

use std::collections::BTreeSet;

use super::{Faults, addresses, names, ports};
use crate::{
    model::Family,
    objects::{Service, ServiceSpec},
};

const TYPES: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
const TRAFFIC_POLICIES: [&str; 2] = ["Cluster", "Local"];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const FAMILY_POLICIES: [&str; 3] = ["SingleStack", "PreferDualStack", "RequireDualStack"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
/// The longest session affinity: a day.
const LONGEST_AFFINITY: i32 = 86400;

/// `clusterIP` alone means the same as `clusterIPs` with it as the only entry; an empty one means none.
pub(super) fn normalise(spec: &mut ServiceSpec) {
    spec.cluster_ip = spec.cluster_ip.take().filter(|ip| !ip.is_empty());
    if let (Some(ip), true) = (&spec.cluster_ip, spec.cluster_ips.is_empty()) {
        spec.cluster_ips = vec![ip.clone()];
    }
}

/// Whether the Service has asked for no cluster IP.
pub(in crate::controlplane) fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ips.first().is_some_and(|ip| ip == "None")
}

/// Whether nodes answer health checks for the Service: a LoadBalancer with external policy Local.
pub(in crate::controlplane) fn needs_health_check(spec: &ServiceSpec) -> bool {
    is_type(spec, "LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local")
}

fn is_type(spec: &ServiceSpec, kind: &str) -> bool {
    match spec.type_.as_deref() {
        None | Some("") => kind == "ClusterIP",
        Some(type_) => type_ == kind,
    }
}

pub(super) fn check(service: &Service, faults: &mut Faults<'_>) {
    let spec = &service.spec;
    faults.metadata(&service.metadata, names::label);
    faults.one_of("spec.type", spec.type_.as_deref(), &TYPES);
    if spec.ports.is_empty() && !is_headless(spec) && !is_type(spec, "ExternalName") {
        faults.refuse("spec.ports", "missing; only headless and ExternalName Services can do without");
    }
    ports::check(spec, faults);
    faults.labels("spec.selector", &spec.selector);
    check_affinity(spec, faults);
    if is_type(spec, "ExternalName") {
        check_external_name(spec, faults);
    } else {
        check_cluster_ips(spec, faults);
    }
    for (i, ip) in spec.external_ips.iter().enumerate() {
        faults.check(format!("spec.externalIPs[{i}]"), addresses::reachable(ip));
    }
    check_load_balancer(service, faults);
    check_traffic_policies(spec, faults);
    faults.one_of("spec.trafficDistribution", spec.traffic_distribution.as_deref(), &DISTRIBUTIONS);
}

fn check_affinity(spec: &ServiceSpec, faults: &mut Faults<'_>) {
    faults.one_of("spec.sessionAffinity", spec.session_affinity.as_deref(), &["None", "ClientIP"]);
    let timeout = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        if let Some(seconds) = timeout.filter(|seconds| !(1..=LONGEST_AFFINITY).contains(seconds)) {
            let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            faults.refuse(field, format!("{seconds} is outside 1-{LONGEST_AFFINITY}"));
        }
    } else if spec.session_affinity_config.is_some() {
        // The API server drops it without a word.
        faults.warn("spec.sessionAffinityConfig", "has no effect without sessionAffinity: ClientIP");
    }
}

fn check_external_name(spec: &ServiceSpec, faults: &mut Faults<'_>) {
    let name = spec.external_name.as_deref().unwrap_or_default();
    match name.strip_suffix('.').unwrap_or(name) {
        "" => faults.refuse("spec.externalName", "missing; an ExternalName Service is an alias of this DNS name"),
        name => {
            faults.check("spec.externalName", names::subdomain(name));
        }
    }
    if !spec.cluster_ips.is_empty() {
        faults.refuse("spec.clusterIPs", "an ExternalName Service has no cluster IP; leave clusterIP out");
    }
    if !spec.ip_families.is_empty() {
        faults.refuse("spec.ipFamilies", "not for ExternalName Services, which have no addresses");
    }
    if spec.ip_family_policy.is_some() {
        faults.refuse("spec.ipFamilyPolicy", "not for ExternalName Services, which have no addresses");
    }
}

fn check_cluster_ips(spec: &ServiceSpec, faults: &mut Faults<'_>) {
    match (&spec.cluster_ip, spec.cluster_ips.first()) {
        (Some(single), Some(first)) if single != first => {
            let reason = format!("the first is {}, but clusterIP is {}", names::shown(first), names::shown(single));
            faults.refuse("spec.clusterIPs", reason);
        }
        (None, Some(_)) => faults.refuse("spec.clusterIPs", "give clusterIP as well, the same as the first"),
        _ => {}
    }
    let mut families: Vec<&str> = Vec::new();
    for (i, family) in spec.ip_families.iter().map(String::as_str).enumerate() {
        if !FAMILIES.contains(&family) {
            let reason = format!("{} is none of {}", names::shown(family), FAMILIES.join(", "));
            faults.refuse(format!("spec.ipFamilies[{i}]"), reason);
        } else if families.contains(&family) {
            faults.refuse(format!("spec.ipFamilies[{i}]"), format!("{family} stands twice"));
        }
        families.push(family);
    }
    faults.one_of("spec.ipFamilyPolicy", spec.ip_family_policy.as_deref(), &FAMILY_POLICIES);
    if is_headless(spec) {
        if spec.cluster_ips.len() > 1 {
            faults.refuse("spec.clusterIPs", "None must be the only value");
        }
        for kind in ["NodePort", "LoadBalancer"].into_iter().filter(|kind| is_type(spec, kind)) {
            faults.refuse("spec.clusterIP", format!("None does not go with type {kind}, which needs a cluster IP"));
        }
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, ip) in spec.cluster_ips.iter().enumerate() {
        let field = if spec.cluster_ips.len() == 1 { "spec.clusterIP".into() } else { format!("spec.clusterIPs[{i}]") };
        let result =
            addresses::address(ip).map_err(|reason| format!("{reason}; None and nothing are the other choices"));
        let Some(family) = faults.check(&field, result).map(Family::of) else { continue };
        if !seen.insert(family) {
            faults.refuse(&field, format!("a second {family} address; one of each family is the most"));
        }
        if let Some(wanted) = families.get(i).filter(|wanted| **wanted != family.to_string()) {
            faults.refuse(&field, format!("{ip} is {family}, but ipFamilies[{i}] is {wanted}"));
        }
    }
}

fn check_load_balancer(service: &Service, faults: &mut Faults<'_>) {
    let spec = &service.spec;
    let elsewhere = "only for Services of type LoadBalancer";
    if !is_type(spec, "LoadBalancer") {
        if !spec.load_balancer_source_ranges.is_empty() {
            faults.refuse("spec.loadBalancerSourceRanges", elsewhere);
        }
        if spec.allocate_load_balancer_node_ports.is_some() {
            faults.refuse("spec.allocateLoadBalancerNodePorts", elsewhere);
        }
        if spec.load_balancer_class.is_some() {
            faults.refuse("spec.loadBalancerClass", elsewhere);
        }
    } else if let Some(class) = &spec.load_balancer_class {
        faults.check("spec.loadBalancerClass", names::qualified(class));
    }
    for (i, range) in spec.load_balancer_source_ranges.iter().enumerate() {
        faults.check(format!("spec.loadBalancerSourceRanges[{i}]"), addresses::range(range));
    }
    for (i, ingress) in service.status.load_balancer.ingress.iter().enumerate() {
        if let Some(ip) = ingress.ip.as_deref().filter(|ip| !ip.is_empty()) {
            faults.check(format!("status.loadBalancer.ingress[{i}].ip"), addresses::address(ip));
        }
    }
}

fn check_traffic_policies(spec: &ServiceSpec, faults: &mut Faults<'_>) {
    let is_external = is_type(spec, "NodePort")
        || is_type(spec, "LoadBalancer")
        || (is_type(spec, "ClusterIP") && !spec.external_ips.is_empty());
    let external = spec.external_traffic_policy.as_deref().filter(|policy| !policy.is_empty());
    if external.is_some() && !is_external {
        let reason = "only for Services that can be reached from outside: NodePort, LoadBalancer, or with externalIPs";
        faults.refuse("spec.externalTrafficPolicy", reason);
    } else {
        faults.one_of("spec.externalTrafficPolicy", external, &TRAFFIC_POLICIES);
    }
    faults.one_of("spec.internalTrafficPolicy", spec.internal_traffic_policy.as_deref(), &TRAFFIC_POLICIES);
    let health_check = spec.health_check_node_port.filter(|port| *port != 0);
    if health_check.is_some() && !needs_health_check(spec) {
        let reason = "only for type LoadBalancer with externalTrafficPolicy: Local";
        faults.refuse("spec.healthCheckNodePort", reason);
    } else if let Some(port) = health_check {
        faults.check("spec.healthCheckNodePort", ports::number(port));
        if spec.ports.iter().any(|p| p.node_port == Some(port)) {
            faults.refuse("spec.healthCheckNodePort", format!("{port} is also the nodePort of a port"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::controlplane::{
        Allocations, Options,
        testing::{complete_text, service},
    };

    /// What is said of a Service with this spec.
    fn notices(spec: &str) -> Vec<String> {
        complete_text(&service("x", spec), &Options::default(), &mut Allocations::default()).texts()
    }

    #[test]
    fn what_the_api_server_takes_is_taken() {
        for spec in [
            "",
            "type: ClusterIP, sessionAffinity: None",
            "clusterIP: None, ports: []",
            "clusterIP: None, ports: [{port: 80, targetPort: 8080}]",
            "clusterIP: ''",
            "clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack",
            "clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9, fd00::9], ipFamilyPolicy: RequireDualStack",
            "clusterIP: fd00::9, clusterIPs: [fd00::9, 10.96.0.9], ipFamilies: [IPv6, IPv4], ipFamilyPolicy: PreferDualStack",
            "clusterIP: 10.096.0.009",
            "type: ExternalName, externalName: my.database.example.com., ports: []",
            "type: ExternalName, externalName: a.example.com, ports: [{port: 80}]",
            "type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30008}]",
            "type: NodePort, ports: [{port: 53, nodePort: 30053, protocol: UDP, name: u}, {port: 53, nodePort: 30053, name: t}]",
            "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30009",
            "type: LoadBalancer, loadBalancerSourceRanges: [' 10.0.0.0/8 ', '192.168.000.000/016', 'fd00::/8']",
            "type: LoadBalancer, allocateLoadBalancerNodePorts: false, loadBalancerClass: example.com/lb",
            "externalIPs: [192.0.2.1, 'fd00::1', 239.1.1.1], externalTrafficPolicy: Local",
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}",
            "sessionAffinity: ClientIP, sessionAffinityConfig: {}",
            "internalTrafficPolicy: Local, trafficDistribution: PreferClose, publishNotReadyAddresses: true",
            "selector: {app.kubernetes.io/name: 'v1.0', empty: ''}",
            "ports: [{port: 80, name: 2nd, targetPort: 0}, {port: 81, name: b, targetPort: ''}]",
            "ports: [{port: 65535, targetPort: http-1, appProtocol: kubernetes.io/h2c, protocol: SCTP}]",
        ] {
            assert_eq!(notices(spec), [""; 0], "{spec}");
        }
    }

    #[test]
    fn what_the_api_server_refuses_is_refused() {
        for (spec, notice) in [
            ("type: Clusterip", r#"spec.type: "Clusterip" is none of ClusterIP, NodePort, LoadBalancer, ExternalName"#),
            ("ports: []", "spec.ports: missing; only headless and ExternalName Services can do without"),
            ("sessionAffinity: Cookie", r#"spec.sessionAffinity: "Cookie" is none of None, ClientIP"#),
            (
                "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}",
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 is outside 1-86400",
            ),
            (
                "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is outside 1-86400",
            ),
            ("type: ExternalName", "spec.externalName: missing; an ExternalName Service is an alias of this DNS name"),
            ("type: ExternalName, externalName: A_b", r#"spec.externalName: "A_b" is not a name"#),
            (
                "type: ExternalName, externalName: a, clusterIP: 10.0.0.1",
                "spec.clusterIPs: an ExternalName Service has no cluster IP",
            ),
            ("type: ExternalName, externalName: a, ipFamilies: [IPv4]", "spec.ipFamilies: not for ExternalName"),
            ("type: NodePort, clusterIP: None", "spec.clusterIP: None does not go with type NodePort"),
            ("clusterIP: 10.0.0", r#"spec.clusterIP: "10.0.0" is not an IP address"#),
            ("clusterIPs: [10.0.0.1]", "spec.clusterIPs: give clusterIP as well"),
            (
                "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]",
                r#"spec.clusterIPs: the first is "10.0.0.2", but clusterIP is "10.0.0.1""#,
            ),
            (
                "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 10.0.0.2], ipFamilyPolicy: RequireDualStack",
                "spec.clusterIPs[1]: a second IPv4 address",
            ),
            ("clusterIP: None, clusterIPs: [None, 10.0.0.1]", "spec.clusterIPs: None must be the only value"),
            ("clusterIP: 10.0.0.1, ipFamilies: [IPv6]", "spec.clusterIP: 10.0.0.1 is IPv4, but ipFamilies[0] is IPv6"),
            ("ipFamilies: [IPv5]", r#"spec.ipFamilies[0]: "IPv5" is none of IPv4, IPv6"#),
            ("ipFamilies: [IPv4, IPv4]", "spec.ipFamilies[1]: IPv4 stands twice"),
            ("ipFamilyPolicy: DualStack", r#"spec.ipFamilyPolicy: "DualStack" is none of"#),
            ("externalIPs: [127.0.0.1]", "spec.externalIPs[0]: 127.0.0.1 is a loopback address"),
            ("externalIPs: [192.0.2.1, 169.254.1.1]", "spec.externalIPs[1]: 169.254.1.1 is a link-local address"),
            ("externalIPs: ['::']", "spec.externalIPs[0]: :: is the unspecified address"),
            (
                "loadBalancerSourceRanges: [10.0.0.0/8]",
                "spec.loadBalancerSourceRanges: only for Services of type LoadBalancer",
            ),
            (
                "type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0]",
                r#"spec.loadBalancerSourceRanges[0]: "10.0.0.0" is not a range"#,
            ),
            ("loadBalancerClass: a", "spec.loadBalancerClass: only for Services of type LoadBalancer"),
            (
                "allocateLoadBalancerNodePorts: true",
                "spec.allocateLoadBalancerNodePorts: only for Services of type LoadBalancer",
            ),
            (
                "externalTrafficPolicy: Local",
                "spec.externalTrafficPolicy: only for Services that can be reached from outside",
            ),
            (
                "type: NodePort, externalTrafficPolicy: local",
                r#"spec.externalTrafficPolicy: "local" is none of Cluster, Local"#,
            ),
            ("internalTrafficPolicy: Node", r#"spec.internalTrafficPolicy: "Node" is none of Cluster, Local"#),
            ("type: NodePort, healthCheckNodePort: 30009", "spec.healthCheckNodePort: only for type LoadBalancer"),
            (
                "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30009, ports: [{port: 80, nodePort: 30009}]",
                "spec.healthCheckNodePort: 30009 is also the nodePort",
            ),
            ("trafficDistribution: Near", r#"spec.trafficDistribution: "Near" is none of"#),
            ("selector: {a b: c}", r#"spec.selector: "a b" is not of the form"#),
            ("selector: {a: b c}", r#"spec.selector.a: "b c" cannot be a label's value"#),
            ("ports: [{port: 0}]", "spec.ports[0].port: 0 is outside 1-65535"),
            ("ports: [{port: 65536}]", "spec.ports[0].port: 65536 is outside 1-65535"),
            ("ports: [{port: 80}, {port: 81, name: b}]", "spec.ports[0].name: missing; if there are several ports"),
            ("ports: [{port: 80, name: Http}]", r#"spec.ports[0].name: "Http" is not a name"#),
            ("ports: [{port: 80, name: a}, {port: 81, name: a}]", r#"spec.ports[1].name: "a" stands twice"#),
            ("ports: [{port: 80, name: a}, {port: 80, name: b}]", "spec.ports[1].port: TCP 80 stands twice"),
            (
                "ports: [{port: 80, protocol: tcp}]",
                r#"spec.ports[0].protocol: "tcp" is none of TCP, UDP, SCTP; write TCP"#,
            ),
            ("ports: [{port: 80, targetPort: 70000}]", "spec.ports[0].targetPort: 70000 is outside 1-65535"),
            ("ports: [{port: 80, targetPort: '8080'}]", "spec.ports[0].targetPort: \"8080\" is not a port name"),
            (
                "ports: [{port: 80, targetPort: a-port-with-a-long-name}]",
                "spec.ports[0].targetPort: \"a-port-with-a-long-name\"",
            ),
            (
                "ports: [{port: 80, nodePort: 30008}]",
                "spec.ports[0].nodePort: only for Services of type NodePort and LoadBalancer; write type: NodePort",
            ),
            (
                "type: NodePort, ports: [{port: 80, nodePort: 30008, name: a}, {port: 81, nodePort: 30008, name: b}]",
                "spec.ports[1].nodePort: TCP 30008 stands twice",
            ),
            ("ports: [{port: 80, appProtocol: '-'}]", "spec.ports[0].appProtocol: \"-\" is not of the form"),
        ] {
            let found = notices(spec);
            assert_eq!(found.len(), 1, "{spec}: {found:?}");
            assert!(found[0].starts_with(&format!("Service default/x: {notice}")), "{spec}: {found:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_and_only_that_object_is_lost() {
        let text = service("x", "type: A, sessionAffinity: B") + &service("good", "");
        let completed = complete_text(&text, &Options::default(), &mut Allocations::default());
        assert_eq!(completed.texts().len(), 2);
        assert_eq!(completed.objects.len(), 1);
        assert_eq!(completed.service("good").metadata.name, "good");
    }

    #[test]
    fn names_are_checked() {
        for (name, ok) in [
            ("a", true),
            ("1a", true),
            (&*"a".repeat(63), true),
            (&*"a".repeat(64), false),
            ("a.b", false),
            ("A", false),
        ] {
            let completed = complete_text(&service(name, ""), &Options::default(), &mut Allocations::default());
            assert_eq!(completed.texts().is_empty(), ok, "{name}");
        }
    }

    #[test]
    fn an_affinity_config_without_affinity_is_dropped_as_the_api_server_does() {
        let notices = notices("sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}");
        assert_eq!(
            notices,
            ["Service default/x: spec.sessionAffinityConfig: has no effect without sessionAffinity: ClientIP"]
        );
    }
}
