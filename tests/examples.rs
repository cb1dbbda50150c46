//! The manifests under examples/ say of themselves what is to be seen; this is what the standalone control plane makes
//! of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use portolan::{
    controlplane::{Allocations, Completed, Options, complete, pending_reason},
    objects::{Object, Service},
    source::manifests::read,
};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn completed(file: &str, options: &Options, allocations: &mut Allocations) -> Completed {
    let manifests = read(&[examples().join(file)]).unwrap();
    assert_eq!(manifests.notices, [], "{file} can be read");
    complete(manifests.objects, options, allocations)
}

fn open(file: &str) -> Completed {
    completed(file, &Options::default(), &mut Allocations::default())
}

/// An example that is all right in every way.
fn good(file: &str) -> Completed {
    let completed = open(file);
    assert_eq!(completed.notices, [], "{file}");
    completed
}

fn services(completed: &Completed) -> BTreeMap<&str, &Service> {
    let mut services = BTreeMap::new();
    for located in &completed.objects {
        if let Object::Service(service) = &located.object {
            services.insert(service.metadata.name.as_str(), service);
        }
    }
    services
}

/// Each endpoint as `service port=address:number`, or without a port `service address`; those not ready end in `!`.
fn endpoints(completed: &Completed) -> Vec<String> {
    let mut endpoints = Vec::new();
    for located in &completed.objects {
        let Object::EndpointSlice(slice) = &located.object else { continue };
        let service = &slice.metadata.labels["kubernetes.io/service-name"];
        for endpoint in &slice.endpoints {
            for port in &slice.ports {
                let (name, number) = (port.name.as_deref().unwrap(), port.port.unwrap());
                let ready = if endpoint.conditions.ready == Some(true) { "" } else { "!" };
                let address = &endpoint.addresses[0];
                endpoints.push(format!("{}/{service} {name}={address}:{number}{ready}", slice.metadata.namespace));
            }
        }
    }
    endpoints.sort();
    endpoints
}

/// What is refused: `name field`.
fn refusals(completed: &Completed) -> Vec<String> {
    let name = |notice: &portolan::model::Notice| notice.object.as_ref().unwrap().name.to_string();
    completed.notices.iter().map(|notice| format!("{} {}", name(notice), notice.field)).collect()
}

const KUBIA: [&str; 3] =
    ["default/kubia =10.244.1.11:8080", "default/kubia =10.244.1.12:8080", "default/kubia =10.244.2.11:8080"];

#[test]
fn every_example_is_named_after_its_scenario_and_explains_itself() {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        numbers.push(name[..2].parse::<u32>().unwrap_or_else(|_| panic!("{name} has no number")));
        let first = if path.is_dir() { path.join("before.yaml") } else { path };
        let text = fs::read_to_string(first).unwrap();
        let number: u32 = name[..2].parse().unwrap();
        assert!(text.starts_with(&format!("# Scenario {number}")), "{name} begins with its scenario");
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers, (1..=21).collect::<Vec<_>>());
}

#[test]
fn scenario_1_a_service_gets_a_cluster_ip_that_stays() {
    let completed = good("01-clusterip.yaml");
    assert_eq!(endpoints(&completed), KUBIA);
    let ip = &services(&completed)["kubia"].spec.cluster_ips;
    assert!(ip[0].starts_with("10."), "{ip:?}");
    assert_eq!(ip, &services(&good("01-clusterip.yaml"))["kubia"].spec.cluster_ips);
}

#[test]
fn scenario_2_a_pod_returns_with_another_address() {
    let before = good("02-pod-replaced/before.yaml");
    let after = good("02-pod-replaced/after.yaml");
    assert_eq!(endpoints(&before), KUBIA);
    assert_eq!(endpoints(&after), [KUBIA[0], KUBIA[2], "default/kubia =10.244.2.12:8080"]);
    assert_eq!(services(&before)["kubia"].spec, services(&after)["kubia"].spec);
}

#[test]
fn scenario_3_labels_alone_select() {
    let found = endpoints(&good("03-selects-by-label.yaml"));
    assert_eq!(found, ["default/kubia =10.244.1.11:8080", "default/kubia =10.244.2.21:8080"]);

    let deployed = open("03-deployment.yaml");
    assert_eq!(deployed.objects.iter().filter(|l| l.object.kind() == "Pod").count(), 3);
    let reasons: Vec<&str> = deployed.notices.iter().map(|notice| notice.reason.as_str()).collect();
    assert_eq!(reasons, ["3 pods match the selector but have no address (status.podIP); they are not endpoints"]);
}

#[test]
fn scenario_4_session_affinity_is_client_ip_or_none() {
    let completed = good("04-session-affinity.yaml");
    assert_eq!(services(&completed)["kubia"].spec.session_affinity.as_deref(), Some("ClientIP"));
    let refused = open("04-session-affinity-refused.yaml");
    assert_eq!(refusals(&refused), ["kubia-cookie spec.sessionAffinity"]);
    assert_eq!(endpoints(&refused), KUBIA);
}

#[test]
fn scenario_5_two_ports() {
    let found = endpoints(&good("05-two-ports.yaml"));
    assert_eq!(found.len(), 6);
    assert!(found.contains(&"default/kubia https=10.244.2.11:8443".to_owned()));
}

#[test]
fn scenario_6_a_named_target_port_is_each_pods_own() {
    let found = endpoints(&good("06-named-target-port.yaml"));
    assert_eq!(
        found[..3],
        ["http=10.244.1.11:8080", "http=10.244.1.12:8080", "http=10.244.2.11:9090"]
            .map(|e| format!("default/kubia {e}"))
    );
    assert_eq!(found[5], "default/kubia https=10.244.2.11:9443");
}

#[test]
fn scenario_7_port_names() {
    assert_eq!(endpoints(&good("07-port-names.yaml")).len(), 9);
    let refused = open("07-port-names-refused.yaml");
    assert_eq!(
        refusals(&refused),
        [
            "kubia-capitals spec.ports[0].name",
            "kubia-underscore spec.ports[0].name",
            "kubia-end spec.ports[0].name",
            "kubia-unnamed spec.ports[1].name"
        ]
    );
    assert_eq!(services(&refused).keys().collect::<Vec<_>>(), [&"kubia"]);
}

#[test]
fn scenarios_8_to_11_node_ports() {
    for (file, name, port, policy) in [
        ("08-nodeport.yaml", "kubia-nodeport", Some(30008), None),
        ("09-nodeport-allocated.yaml", "kubia-nodeport", None, None),
        ("10-external-policy-local.yaml", "kubia-local", Some(30010), Some("Local")),
        ("11-external-policy-cluster.yaml", "kubia-cluster", Some(30011), Some("Cluster")),
    ] {
        let completed = good(file);
        let service = services(&completed)[name];
        let found = service.spec.ports[0].node_port.unwrap();
        assert!((30000..=32767).contains(&found) && port.is_none_or(|port| port == found), "{file}: {found}");
        assert_ne!((port, found), (None, 30008), "a chosen number is not given away");
        assert_eq!(service.spec.external_traffic_policy.as_deref(), policy);
        let nodes = completed.objects.iter().filter(|l| l.object.kind() == "Node").count();
        assert_eq!(nodes, 3, "{file} has a node without pods");
    }
    let refused = open("09-nodeport-refused.yaml");
    assert_eq!(refusals(&refused), ["kubia-outside spec.ports[0].nodePort", "kubia-second spec.ports[0].nodePort"]);
    assert_eq!(services(&refused)["kubia-first"].spec.ports[0].node_port, Some(30008));
}

#[test]
fn scenarios_12_and_13_load_balancers() {
    let completed = good("12-loadbalancer.yaml");
    let service = services(&completed)["kubia-loadbalancer"];
    assert_eq!(service.status.load_balancer.ingress[0].ip.as_deref(), Some("192.0.2.127"));
    assert!(service.spec.cluster_ip.is_some() && service.spec.ports[0].node_port == Some(30012));

    let options = Options::default();
    let pending = good("13-loadbalancer-pending.yaml");
    let service = services(&pending)["kubia-loadbalancer"];
    assert!(service.spec.ports[0].node_port.is_some());
    let reason = pending_reason(service, &options);
    assert_eq!(reason.as_deref(), Some("no load balancer provider and no --load-balancer-pool"));

    let pool = "192.0.2.96/27".parse::<ipnet::IpNet>().unwrap();
    let options = Options { load_balancer_pool: vec![pool.into()], ..options };
    let served = completed_with(&options, "13-loadbalancer-pending.yaml");
    let service = services(&served)["kubia-loadbalancer"];
    let ip = service.status.load_balancer.ingress[0].ip.clone().unwrap();
    assert!(pool.contains(&ip.parse::<std::net::IpAddr>().unwrap()), "{ip}");
}

fn completed_with(options: &Options, file: &str) -> Completed {
    completed(file, options, &mut Allocations::default())
}

#[test]
fn scenarios_14_and_16_endpoints_objects_become_slices() {
    let external = |ip: &str| [format!("default/external-service ={ip}:9376")];
    assert_eq!(endpoints(&good("14-endpoints-without-selector.yaml")), external("192.0.2.42"));
    assert_eq!(endpoints(&good("16-endpoints-changed/before.yaml")), external("192.0.2.42"));
    assert_eq!(endpoints(&good("16-endpoints-changed/after.yaml")), external("192.0.2.43"));
}

#[test]
fn scenario_15_special_addresses_are_no_endpoints() {
    let refused = open("15-endpoints-refused.yaml");
    let names = ["loopback", "link-local", "multicast", "loopback-v6", "link-local-v6", "multicast-v6"];
    assert_eq!(refusals(&refused), names.map(|name| format!("{name} subsets[0].addresses[0].ip")));
    assert_eq!(endpoints(&refused), ["default/external-service =192.0.2.42:9376"]);
}

#[test]
fn scenarios_17_to_20_names() {
    let external = good("17-externalname.yaml");
    let service = services(&external)["external-database"];
    assert_eq!(service.spec.external_name.as_deref(), Some("my.database.example.com"));
    assert!(service.spec.cluster_ips.is_empty() && endpoints(&external).is_empty());

    let headless = good("18-headless.yaml");
    assert_eq!(services(&headless)["kubia-headless"].spec.cluster_ips, ["None"]);
    assert_eq!(endpoints(&headless).iter().filter(|e| e.ends_with('!')).count(), 1);
    assert_eq!(endpoints(&headless).len(), 3);

    let named = good("19-hostname-subdomain.yaml");
    let hostname = |located: &portolan::model::Located| match &located.object {
        Object::EndpointSlice(slice) => slice.endpoints.iter().filter_map(|e| e.hostname.clone()).collect(),
        _ => Vec::new(),
    };
    let hostnames: Vec<String> = named.objects.iter().flat_map(hostname).collect();
    assert_eq!(hostnames, ["pod-a", "pod-b"]);

    let two = endpoints(&good("20-names.yaml"));
    assert_eq!(two.iter().filter(|e| e.starts_with("shop/")).count(), 2);
    assert_eq!(two.iter().filter(|e| e.starts_with("default/")).count(), 2);
}
