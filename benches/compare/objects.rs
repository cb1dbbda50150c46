use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::cluster::Client;

/// The node that everybody runs as.
pub const NODE: &str = "worker-1";
/// Where all endpoints are.
pub const POD_RANGE: &str = "10.0.0.0/8";
/// Services are spread over so many namespaces.
const NAMESPACES: usize = 10;

/// Services with one TCP port each and one slice each, of equally many endpoints, one in ten of them on the node.
pub struct Objects {
    client: Client,
    endpoints: usize,
    services: usize,
    /// Changes made so far, so that every address is new
    changes: u32,
}

impl Objects {
    /// None yet, but namespaces and the node.
    pub fn new(client: Client, endpoints: usize) -> Self {
        for number in 0..NAMESPACES {
            client.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}}));
        }
        client.apply(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"podCIDR": "10.64.0.0/24", "podCIDRs": ["10.64.0.0/24"]},
        }));
        Self { client, endpoints, services: 0, changes: 0 }
    }

    /// Number of Services.
    pub fn services(&self) -> usize {
        self.services
    }

    /// Endpoints of each Service.
    pub fn endpoints(&self) -> usize {
        self.endpoints
    }

    /// Gives the node this address.
    pub fn move_node(&self, address: IpAddr) {
        self.client.patch_status(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }));
    }

    /// Creates Services and their slices until there are so many.
    pub fn grow(&mut self, services: usize) {
        let objects: Vec<Value> =
            (self.services..services).flat_map(|number| [service(number), self.slice(number, None)]).collect();
        self.client.create_all(&objects);
        self.services = self.services.max(services);
    }

    /// The next change: one endpoint of some Service is replaced. Returns the slice to write, and the new address.
    pub fn next_change(&mut self) -> (Value, Ipv4Addr) {
        self.changes += 1;
        // A number that is prime to the number of Services goes round all of them.
        let number = self.changes as usize * 7919 % self.services;
        let fresh = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 32, 0, 0)) + self.changes);
        (self.slice(number, Some((self.changes as usize % self.endpoints, fresh))), fresh)
    }

    /// The client that makes changes.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn slice(&self, number: usize, changed: Option<(usize, Ipv4Addr)>) -> Value {
        let first = u32::from(Ipv4Addr::new(10, 64, 0, 0)) + u32::try_from(number * self.endpoints).unwrap();
        let endpoints: Vec<Value> = (0..self.endpoints)
            .map(|index| {
                let address = match changed {
                    Some((at, fresh)) if at == index => fresh,
                    _ => Ipv4Addr::from(first + u32::try_from(index).unwrap()),
                };
                json!({
                    "addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false},
                    "nodeName": format!("worker-{}", 1 + index % 10),
                    "targetRef": {"kind": "Pod", "namespace": namespace(number), "name": format!("web-{number}-{index}")},
                })
            })
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": namespace(number), "name": format!("web-{number}-slice"), "labels": {
                "kubernetes.io/service-name": format!("web-{number}"),
                "endpointslice.kubernetes.io/managed-by": "comparison",
            }},
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
            "endpoints": endpoints,
        })
    }
}

fn namespace(number: usize) -> String {
    format!("shop-{}", number % NAMESPACES)
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace(number), "name": format!("web-{number}")},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}
