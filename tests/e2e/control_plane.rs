//! What the other tests stand on: the API server works, and allows Portolan exactly what the chart asks for.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan::model::Family;
use serde_json::{Value, json};

use crate::{
    chart::{self, Chart},
    cluster::{Client, SERVICE_RANGES},
    support::{Cluster, SHOP, cluster_ip, node_port, service},
};

#[test]
#[ignore = "needs a real API server: make e2e"]
fn the_api_server_allocates_keeps_and_guards() {
    let Some(mut cluster) = Cluster::start("the_api_server_allocates_keeps_and_guards", &[("web-1", 1)]) else {
        return;
    };

    let made = cluster.expose("web", json!({"type": "NodePort"}), &["web-1"]);
    let ranges: Vec<IpNet> = SERVICE_RANGES.split(',').map(|range| range.parse().unwrap()).collect();
    let addresses: Vec<IpAddr> = Family::ALL.map(|family| cluster_ip(&made, family)).to_vec();
    for address in &addresses {
        assert!(ranges.iter().any(|range| range.contains(address)), "{address} is in none of {ranges:?}");
    }
    assert!((30000..32768).contains(&node_port(&made, "TCP")), "{made}");
    let slices = cluster.client.list("discovery.k8s.io/v1", "EndpointSlice").unwrap();
    let of_web = slices.iter().filter(|slice| slice["metadata"]["namespace"] == SHOP);
    assert_eq!(of_web.count(), 2);

    // Others get what nobody has.
    let refused =
        cluster.client.create(&service("double", json!({"clusterIP": addresses[0], "ipFamilyPolicy": "SingleStack"})));
    assert!(refused.unwrap_err().to_string().contains("already allocated"));

    cluster.api.crash();
    cluster.api.resume();
    assert_eq!(Family::ALL.map(|family| cluster_ip(&cluster.client.get(&made).unwrap(), family)).to_vec(), addresses);
    cluster.client.delete(&made);
    assert!(cluster.client.get(&made).is_err());

    portolan_may_do_its_work_and_nothing_else(&cluster.api.as_portolan());
    chart::ALL.into_iter().for_each(|chart| takes_the_chart(&cluster.client, chart));
}

fn takes_the_chart(client: &Client, chart: Chart) {
    // What a controller makes in a whole cluster.
    let account = json!({"namespace": "kube-system", "name": "default"});
    client.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}));
    let objects = chart.objects();
    assert!(objects.len() >= 5, "{objects:?}");
    for object in objects {
        let taken = client.try_out(&object).unwrap_or_else(|error| panic!("{}: {error}", object["kind"]));
        assert_eq!(taken["metadata"]["name"], object["metadata"]["name"]);
    }
}

/// Verbs, API group and resource.
pub type Rights = (&'static [&'static str], &'static str, &'static str);

fn portolan_may_do_its_work_and_nothing_else(portolan: &Client) {
    const RIGHTS: [Rights; 11] = [
        (&["get", "list", "watch"], "", "services"),
        (&["list", "watch"], "discovery.k8s.io", "endpointslices"),
        (&["list", "watch"], "", "namespaces"),
        (&["list", "watch"], "", "nodes"),
        (&["list", "watch"], "networking.k8s.io", "servicecidrs"),
        (&["create"], "events.k8s.io", "events"),
        (&[], "", "secrets"),
        (&[], "", "pods"),
        (&[], "", "configmaps"),
        (&[], "", "serviceaccounts"),
        (&[], "rbac.authorization.k8s.io", "clusterroles"),
    ];
    has_exactly(portolan, &RIGHTS);
    assert!(!portolan.list("v1", "Service").unwrap().is_empty());
    assert!(portolan.list("v1", "Secret").unwrap_err().to_string().contains("secrets is forbidden"));
}

/// Asserts that the client may do this with these resources, and nothing else.
#[track_caller]
pub fn has_exactly(client: &Client, rights: &[Rights]) {
    const ALL: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    for (verbs, group, resource) in rights {
        for verb in ALL {
            let review = client.create(&json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {"verb": verb, "group": group, "resource": resource}},
            }));
            let allowed = review.unwrap()["status"]["allowed"] == Value::Bool(true);
            assert_eq!(allowed, verbs.contains(&verb), "{verb} {resource}");
        }
    }
}
