use crate::{
    controlplane::{
        Allocations, Completed, Options,
        testing::{complete_text, networks, service},
    },
    objects::EndpointSlice,
};

fn complete(text: &str) -> Completed {
    complete_text(text, &Options::default(), &mut Allocations::default())
}

/// A Pod with the label app: kubia; `rest` are further fields.
fn pod(name: &str, ip: &str, rest: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: kubia, x: y}}}}, status: {{podIP: \
         '{ip}'}}, {rest}}}\n"
    )
}

/// `address node ready/serving/terminating hostname` of every endpoint, after the slice's ports.
fn shown(slice: &EndpointSlice) -> Vec<String> {
    let ports = slice.ports.iter().map(|p| format!("{}:{}", p.name.as_deref().unwrap(), p.port.unwrap()));
    let endpoints = slice.endpoints.iter().map(|e| {
        let c = &e.conditions;
        let conditions = [c.ready, c.serving, c.terminating].map(|c| if c.unwrap() { 'y' } else { 'n' });
        let node = e.node_name.as_deref().unwrap_or("-");
        let hostname = e.hostname.as_deref().unwrap_or("-");
        format!("{} {node} {} {hostname}", e.addresses[0], String::from_iter(conditions))
    });
    ports.chain(endpoints).collect()
}

fn all(completed: &Completed) -> Vec<Vec<String>> {
    completed.slices().into_iter().map(shown).collect()
}

const SELECTOR: &str = "selector: {app: kubia}";

#[test]
fn pods_that_carry_the_labels_are_endpoints() {
    let text = service("kubia", "selector: {app: kubia, x: y}, ports: [{port: 80, targetPort: 8080}]")
        + &pod("b", "10.244.2.1", "spec: {nodeName: node-2}")
        + &pod("a", "10.244.1.1", "spec: {nodeName: node-1}")
        + &pod("other", "10.244.1.2", "").replace("x: y", "x: z")
        + &pod("elsewhere", "10.244.1.3", "").replace("name: elsewhere", "name: elsewhere, namespace: shop")
        + "---\n{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: {topology.kubernetes.io/zone: east}}}\n";
    let completed = complete(&text);
    assert_eq!(completed.texts(), [""; 0]);
    assert_eq!(all(&completed), [[":8080", "10.244.1.1 node-1 yyn -", "10.244.2.1 node-2 yyn -"]]);
    let slice = completed.slices()[0];
    assert_eq!(slice.metadata.labels["kubernetes.io/service-name"], "kubia");
    assert_eq!(slice.metadata.labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.portolan");
    assert_eq!(slice.metadata.name, "kubia-nrw8f");
    assert_eq!(slice.endpoints[0].zone.as_deref(), Some("east"));
    assert_eq!(slice.endpoints[0].hints, None);
    assert_eq!(slice.endpoints[1].target_ref.as_ref().unwrap().name, "b");
    assert_eq!(completed.objects.last().unwrap().origin.line, 2, "a slice has the place of its Service");
}

#[test]
fn readiness_follows_conditions_phase_and_deletion() {
    let ready = |status: &str| format!("conditions: [{{type: Ready, status: '{status}'}}]");
    let with = |name: &str, ip: &str, status: &str| {
        pod(name, ip, "").replace("podIP:", &format!("{status}, podIP:")).replace("status: {,", "status: {")
    };
    let pods = with("a", "10.0.0.1", &ready("True"))
        + &with("b", "10.0.0.2", &ready("False"))
        + &with("c", "10.0.0.3", &ready("True")).replace("name: c", "name: c, deletionTimestamp: 2026-11-21T00:00:00Z")
        + &with("d", "10.0.0.4", "phase: Succeeded")
        + &with("e", "10.0.0.5", "phase: Failed")
        + &with("f", "10.0.0.6", "phase: Pending");
    let text = service("kubia", SELECTOR) + &pods;
    let wanted = [":80", "10.0.0.1 - yyn -", "10.0.0.2 - nnn -", "10.0.0.3 - nyy -", "10.0.0.6 - yyn -"];
    assert_eq!(all(&complete(&text)), [wanted]);
    let text = service("kubia", "selector: {app: kubia}, publishNotReadyAddresses: true") + &pods;
    let wanted = [":80", "10.0.0.1 - yyn -", "10.0.0.2 - ynn -", "10.0.0.3 - yyy -", "10.0.0.6 - yyn -"];
    assert_eq!(all(&complete(&text)), [wanted]);
}

#[test]
fn a_named_target_port_is_each_pods_own_number() {
    let ports = |list: &str| format!("spec: {{containers: [{{name: c, ports: [{list}]}}]}}");
    let text = service("kubia", "selector: {app: kubia}, ports: [{name: http, port: 80, targetPort: http}]")
        + &pod("a", "10.0.0.1", &ports("{name: http, containerPort: 8080}"))
        + &pod("b", "10.0.0.2", &ports("{name: http, containerPort: 9090}"))
        + &pod("c", "10.0.0.3", &ports("{name: http, containerPort: 8080}"))
        + &pod(
            "d",
            "10.0.0.4",
            &ports("{name: htpp, containerPort: 8080}, {name: http, containerPort: 80, protocol: UDP}"),
        )
        + &pod("e", "10.0.0.5", "")
        + &pod(
            "f",
            "10.0.0.6",
            "spec: {initContainers: [{restartPolicy: Always, ports: [{name: http, containerPort: 8080}]}]}",
        );
    let completed = complete(&text);
    assert_eq!(
        all(&completed),
        [
            vec!["http:8080", "10.0.0.1 - yyn -", "10.0.0.3 - yyn -", "10.0.0.6 - yyn -"],
            vec!["http:9090", "10.0.0.2 - yyn -"]
        ]
    );
    assert_eq!(
        completed.texts(),
        [
            "Service default/kubia: spec.ports[0].targetPort: pod default/d has no port named 'http' (it has: 'htpp', 'http' \
          for UDP); nor has 1 other pod"
        ]
    );
}

#[test]
fn a_pod_serves_the_ports_that_it_has() {
    let text = service(
        "kubia",
        "selector: {app: kubia}, ports: [{name: http, port: 80, targetPort: http}, {name: metrics, port: 9100}]",
    ) + &pod("a", "10.0.0.1", "");
    assert_eq!(all(&complete(&text)), [["metrics:9100", "10.0.0.1 - yyn -"]]);
}

#[test]
fn pods_without_address_give_one_warning() {
    let text = service("kubia", SELECTOR) + &pod("a", "", "") + &pod("b", "", "") + &pod("c", "fd00::1", "");
    let completed = complete(&text);
    assert_eq!(completed.slices(), Vec::<&EndpointSlice>::new());
    assert_eq!(
        completed.texts(),
        [
            "Service default/kubia: spec.selector: 2 pods match the selector but have no address (status.podIP); they are \
             not endpoints",
            "Service default/kubia: spec.ipFamilies: 1 pod matches the selector but has no IPv4 address; it is not an endpoint"
        ]
    );
}

#[test]
fn each_family_has_its_own_slices() {
    let text = service("kubia", "selector: {app: kubia}, ipFamilyPolicy: RequireDualStack")
        + &pod("a", "10.0.0.1", "").replace("podIP: '10.0.0.1'", "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]");
    let completed = complete_text(&text, &networks(&["10.96.0.0/12", "fd00:96::/112"]), &mut Allocations::default());
    assert_eq!(all(&completed), [[":80", "10.0.0.1 - yyn -"], [":80", "fd00::1 - yyn -"]]);
    assert_eq!(completed.slices()[1].address_type, "IPv6");
    assert_ne!(completed.slices()[0].metadata.name, completed.slices()[1].metadata.name);
}

#[test]
fn headless_services_have_slices_and_hostnames() {
    let spec = |subdomain: &str| format!("spec: {{hostname: pod-a, subdomain: {subdomain}}}");
    let text = service("headless1", "selector: {app: kubia}, clusterIP: None, ports: []")
        + &pod("a", "10.0.0.1", &spec("headless1"))
        + &pod("b", "10.0.0.2", &spec("other"));
    assert_eq!(all(&complete(&text)), [["10.0.0.1 - yyn pod-a", "10.0.0.2 - yyn -"]]);
}

#[test]
fn a_slice_holds_a_hundred_endpoints() {
    let pods: String = (0..250).map(|i| pod(&format!("p{i}"), &format!("10.0.1.{i}"), "")).collect();
    let completed = complete(&(service("kubia", SELECTOR) + &pods));
    let sizes: Vec<usize> = completed.slices().iter().map(|slice| slice.endpoints.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    let names: std::collections::BTreeSet<_> = completed.slices().iter().map(|s| s.metadata.name.clone()).collect();
    assert_eq!(names.len(), 3);
}

#[test]
fn short_ways_become_hints() {
    let node =
        "---\n{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: {topology.kubernetes.io/zone: east}}}\n";
    let pods = pod("a", "10.0.0.1", "spec: {nodeName: node-1}");
    for (distribution, nodes) in [("PreferClose", 0), ("PreferSameZone", 0), ("PreferSameNode", 1)] {
        let spec = format!("selector: {{app: kubia}}, trafficDistribution: {distribution}");
        let completed = complete(&(service("kubia", &spec) + &pods + node));
        let hints = completed.slices()[0].endpoints[0].hints.as_ref().unwrap();
        assert_eq!(hints.for_zones[0].name, "east");
        assert_eq!(hints.for_nodes.len(), nodes, "{distribution}");
    }
}

#[test]
fn slices_of_a_real_cluster_are_trusted() {
    let slice = |controller: &str| {
        format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: s, labels: \
             {{kubernetes.io/service-name: kubia, endpointslice.kubernetes.io/managed-by: {controller}}}}}, endpoints: \
             [{{addresses: [10.9.9.9]}}]}}\n"
        )
    };
    let text = service("kubia", SELECTOR) + &pod("a", "10.0.0.1", "");
    assert_eq!(complete(&(text.clone() + &slice("endpointslice-controller.k8s.io"))).slices().len(), 1);
    assert_eq!(complete(&(text + &slice("me"))).slices().len(), 2, "a slice made by hand stands beside");
}

fn endpoints(subsets: &str) -> String {
    format!("---\n{{apiVersion: v1, kind: Endpoints, metadata: {{name: external}}, subsets: {subsets}}}\n")
}

#[test]
fn endpoints_objects_become_slices_of_services_without_selector() {
    let text = service("external", "ports: [{port: 80, targetPort: 9376}]")
        + &endpoints(
            "[{addresses: [{ip: 192.0.2.43}, {ip: 192.0.2.042, nodeName: node-1, hostname: a}], ports: [{port: 9376}]}, \
             {notReadyAddresses: [{ip: 192.0.2.42}, {ip: 192.0.2.44}], addresses: [{ip: 'fd00::1'}], ports: [{port: \
             9376}]}, {addresses: [{ip: 192.0.2.42}], ports: [{port: 9377, name: x}]}]",
        );
    let completed = complete(&text);
    assert_eq!(completed.texts(), [""; 0]);
    assert_eq!(
        all(&completed),
        [
            vec![":9376", "192.0.2.42 node-1 yyn a", "192.0.2.43 - yyn -", "192.0.2.44 - nnn -"],
            vec!["x:9377", "192.0.2.42 - yyn -"],
            vec![":9376", "fd00::1 - yyn -"],
        ]
    );
}

#[test]
fn endpoints_objects_that_do_nothing_are_pointed_out() {
    let object = endpoints("[{addresses: [{ip: 192.0.2.42}]}]");
    for (text, notice) in [
        (service("external", SELECTOR), "not used: the Service of this name has a selector, so its endpoints are"),
        (
            service("external", "type: ExternalName, externalName: a"),
            "not used: the Service of this name is an ExternalName",
        ),
        (service("another", ""), "not used: there is no Service default/external"),
    ] {
        let completed = complete(&(text + &object));
        assert_eq!(completed.slices().len(), 0);
        assert!(completed.texts()[0].starts_with(&format!("Endpoints default/external: {notice}")));
    }
    let skipped =
        object.replace("name: external", "name: external, labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}");
    let completed = complete(&(service("external", "") + &skipped));
    assert_eq!((completed.slices().len(), completed.texts().len()), (0, 0));
}

#[test]
fn ports_that_endpoints_objects_do_not_have_are_pointed_out() {
    let text = service("external", "ports: [{name: http, port: 80}, {name: x, port: 81}]")
        + &endpoints(
            "[{addresses: [{ip: 192.0.2.42}], ports: [{port: 9376}]}, {addresses: [{ip: 192.0.2.42}], ports: [{port: 9377, name: x}]}]",
        );
    assert_eq!(
        complete(&text).texts(),
        [
            "Service default/external: spec.ports[0].name: the Endpoints of this name do not have 'http', so nothing serves it \
          (they have: a port without a name, 'x')"
        ]
    );
}
