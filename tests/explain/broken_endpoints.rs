//! The Service is right, and there is nobody to serve it.

use crate::{
    caller::{CLIENT, Caller, OUTSIDE},
    manifests::{Manifests, base, load_balancer, node_port, without_selector},
    situation::Situation,
};

const READY: &str = "conditions: [{type: Ready, status: \"True\"}]";
const NOT_READY: &str = "conditions: [{type: Ready, status: \"False\"}]";

pub fn situations() -> Vec<Situation> {
    [target_ports(), pods(), without_pods(), policies()].into_iter().flatten().collect()
}

fn target_ports() -> Vec<Situation> {
    let cause = "target-port-name";
    let to = |target: &str| base().web("targetPort: http", &format!("targetPort: {target}"));
    vec![
        Situation::new("target port: a name that no pod has", to("web")).fails(cause, &["\"web\"", "http"]),
        Situation::new("target port: two letters changed places", to("htpt")).fails(cause, &["htpt", "http"]),
        Situation::new("target port: right in name, wrong in protocol", base().pods("TCP", "UDP"))
            .fails(cause, &["http", "UDP"]),
        Situation::new("target port: the pods name none", base().pods("name: http, ", "")).fails(cause, &["http"]),
        Situation::new("target port: a number that the pods do not listen on", to("8081"))
            .fails("target-port-not-declared", &["8081", "8080"]),
        Situation::new("target port: none given, and so the port's own", base().web(", targetPort: http", ""))
            .fails("target-port-not-declared", &["80", "8080"]),
    ]
}

fn pods() -> Vec<Situation> {
    let all = |from: &str, to: &str| base().pods(from, to);
    let without_address = || {
        base()
            .change("pod shop/web-1", "  podIP: 10.244.1.11\n", "")
            .change("pod shop/web-1", "  podIPs: [{ip: 10.244.1.11}, {ip: \"fd00:10:244:1::11\"}]\n", "")
            .change("pod shop/web-2", "  podIP: 10.244.2.11\n", "")
            .change("pod shop/web-2", "  podIPs: [{ip: 10.244.2.11}, {ip: \"fd00:10:244:2::11\"}]\n", "")
    };
    let leaving = "  labels: {app: web}\n  deletionTimestamp: \"2026-01-01T00:00:00Z\"\n";
    let terminating = || base().pods("  labels: {app: web}\n", leaving);
    let v6_only = || {
        base()
            .change("pod shop/web-1", "{ip: 10.244.1.11}, ", "")
            .change("pod shop/web-1", "podIP: 10.244.1.11", "podIP: \"fd00:10:244:1::11\"")
            .change("pod shop/web-2", "{ip: 10.244.2.11}, ", "")
            .change("pod shop/web-2", "podIP: 10.244.2.11", "podIP: \"fd00:10:244:2::11\"")
    };
    vec![
        Situation::new("pods: pending, without an address", without_address().pods("phase: Running", "phase: Pending"))
            .fails("pods-not-running", &["web-1", "Pending"]),
        Situation::new("pods: failed", all("phase: Running", "phase: Failed"))
            .fails("pods-not-running", &["web-1", "Failed"]),
        Situation::new("pods: ended well, as a Job's", all("phase: Running", "phase: Succeeded"))
            .fails("pods-not-running", &["web-1", "Succeeded"]),
        Situation::new("pods: not ready", all(READY, NOT_READY)).fails("not-ready", &["web-1", "web-2"]),
        Situation::new("pods: not ready, by node port", node_port().pods(READY, NOT_READY))
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .fails("not-ready", &["web-1"]),
        Situation::new("pods: one of two is not ready", base().change("pod shop/web-1", READY, NOT_READY))
            .works_but("some-not-ready", &["web-1"]),
        Situation::new("pods: one not ready, the other without the port", {
            base().change("pod shop/web-1", READY, NOT_READY).change("pod shop/web-2", "name: http", "name: htttp")
        })
        .fails("not-ready", &["web-1", "web-2", "htttp"]),
        Situation::new("pods: leaving, and no longer serving", terminating().pods(READY, NOT_READY))
            .fails("terminating", &["web-1"]),
        Situation::new("pods: leaving, and still serving", terminating()).works_but("last-resort", &["web-1"]),
        Situation::new("pods: of the other family", v6_only())
            .asks("10.96.0.1:80", "10.96.0.1:80/TCP")
            .fails("endpoint-family", &["IPv6"]),
        Situation::new("pods: of the other family, and the name has both", v6_only())
            .asks("shop/web:80", "[fd00:96::1]:80/TCP")
            .works_but("endpoint-family", &["IPv4", "10.96.0.1:80"]),
        Situation::new("pods: of the other family, by node port", v6_only_by_node_port(v6_only()))
            .from(OUTSIDE)
            .asks("192.168.49.11:30080", "192.168.49.11:30080/TCP")
            .fails("endpoint-family", &["IPv6"]),
    ]
}

fn v6_only_by_node_port(manifests: Manifests) -> Manifests {
    manifests.web("type: ClusterIP", "type: NodePort").web("port: 80,", "port: 80, nodePort: 30080,")
}

/// Endpoints of Service shop/web by this address and port.
fn endpoints(addresses: &str, port: &str) -> String {
    format!(
        "# endpoints shop/web\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: web, namespace: shop}}\nsubsets:\n- \
         {{{addresses}, ports: [{port}]}}\n"
    )
}

/// An EndpointSlice of this Service.
fn slice(service: &str, type_: &str, port: &str, endpoint: &str) -> String {
    format!(
        "# slice shop/web-x\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-x, namespace: \
         shop, labels: {{kubernetes.io/service-name: {service}}}}}\naddressType: {type_}\nports: [{port}]\nendpoints: \
         [{endpoint}]\n"
    )
}

fn without_pods() -> Vec<Situation> {
    let http = "{name: http, port: 8080}";
    let pod = "{addresses: [10.244.1.11], nodeName: node-1}";
    let refused = |name, address: &str| {
        let text = endpoints(&format!("addresses: [{{ip: \"{address}\"}}]"), http);
        Situation::new(name, without_selector(&text))
    };
    vec![
        Situation::new("no selector, and nobody made Endpoints", without_selector("# nothing\n"))
            .fails("no-endpoints-object", &["shop/web"]),
        refused("Endpoints: a loopback address", "127.0.0.1").fails("invalid", &["127.0.0.1"]),
        refused("Endpoints: a link-local address", "169.254.1.1").fails("invalid", &["169.254.1.1"]),
        Situation::new(
            "Endpoints: the port has another name",
            without_selector(&endpoints("addresses: [{ip: 10.244.1.11}]", "{name: web, port: 8080}")),
        )
        .fails("port-name", &["web", "http"]),
        Situation::new(
            "Endpoints: nobody is ready",
            without_selector(&endpoints("notReadyAddresses: [{ip: 10.244.1.11}]", http)),
        )
        .fails("not-ready", &["10.244.1.11"]),
        Situation::new("EndpointSlice: the port has another name", {
            without_selector(&slice("web", "IPv4", "{name: htttp, port: 8080}", pod))
        })
        .fails("port-name", &["htttp", "http"]),
        Situation::new("EndpointSlice: the label names another Service", {
            without_selector(&slice("wbe", "IPv4", http, pod))
        })
        .fails("no-endpoints-object", &["shop/web"]),
        Situation::new("EndpointSlice: not ready", {
            let endpoint = "{addresses: [10.244.1.11], nodeName: node-1, conditions: {ready: false}}";
            without_selector(&slice("web", "IPv4", http, endpoint))
        })
        .fails("not-ready", &["10.244.1.11"]),
        Situation::new("EndpointSlice: of the other family", {
            without_selector(&slice("web", "IPv6", http, "{addresses: [\"fd00:10:244:1::11\"]}"))
        })
        .asks("10.96.0.1:80", "10.96.0.1:80/TCP")
        .fails("endpoint-family", &["IPv6"]),
        Situation::new("EndpointSlice: without endpoints", without_selector(&slice("web", "IPv4", http, "")))
            .fails("no-endpoints-object", &["shop/web"]),
    ]
}

fn policies() -> Vec<Situation> {
    let internal = || base().web("  type:", "  internalTrafficPolicy: Local\n  type:");
    let external = |manifests: Manifests| manifests.web("  type:", "  externalTrafficPolicy: Local\n  type:");
    let elsewhere = |manifests: Manifests| manifests.change("pod shop/web-1", READY, NOT_READY);
    let gone = |manifests: Manifests| manifests.without("pod shop/web-1");
    vec![
        Situation::new("internal Local: no endpoint here", gone(internal()))
            .fails("no-local-endpoint", &["node-1", "Local"]),
        Situation::new("internal Local: no endpoint here, asked by the host", gone(internal()))
            .from(Caller::Host(1))
            .fails("no-local-endpoint", &["node-1", "Local"]),
        Situation::new("internal Local: the one here is not ready", elsewhere(internal()))
            .from(CLIENT)
            .fails("no-local-endpoint", &["node-1", "web-1"]),
        Situation::new("internal Local: over IPv6", gone(internal()))
            .asks("[fd00:96::1]:80", "[fd00:96::1]:80/TCP")
            .fails("no-local-endpoint", &["node-1"]),
        Situation::new("internal Local: nobody anywhere", internal().web("{app: web}", "{app: wbe}"))
            .fails("selector-matches-nothing", &["app=wbe"]),
        Situation::new("external Local: no endpoint here, by node port", gone(external(node_port())))
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .fails("no-local-endpoint-external", &["node-1", "Local"]),
        Situation::new("external Local: no endpoint here, by load balancer", gone(external(load_balancer())))
            .from(OUTSIDE)
            .asks("192.0.2.127:80", "192.0.2.127:80/TCP")
            .fails("no-local-endpoint-external", &["node-1", "Local"]),
        Situation::new("external Local: the one here is not ready", elsewhere(external(node_port())))
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .fails("no-local-endpoint-external", &["node-1", "web-1"]),
        Situation::new("external Local: over IPv6", gone(external(node_port())))
            .from(Caller::Outside(2))
            .asks("[fd00:49::11]:30080", "[fd00:49::11]:30080/TCP")
            .fails("no-local-endpoint-external", &["node-1"]),
        Situation::new("external Local: nobody is ready anywhere", external(node_port()).pods(READY, NOT_READY))
            .from(OUTSIDE)
            .asks("node-1:30080", "192.168.49.11:30080/TCP")
            .fails("not-ready", &["web-1"]),
    ]
}
