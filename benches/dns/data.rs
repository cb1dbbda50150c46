use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use serde_json::{Value, json};

use crate::cluster::Client;

/// Services are spread over so many namespaces.
pub const NAMESPACES: usize = 50;
/// Ports of every Service: name and number. Endpoints have the same.
pub const PORTS: [(&str, u16); 2] = [("http", 8080), ("metrics", 9090)];
/// The zone, and the TTL of everything in it.
pub const ZONE: &str = "cluster.local";
pub const TTL: u32 = 30;

/// What everybody serves. Of a hundred Services 90 have a cluster IP, every fourth of these one of each family; nine are
/// headless, every other one with host names, as a StatefulSet has them; the last is another name for the first.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    pub services: usize,
    pub endpoints: usize,
}

/// What a Service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ClusterIp,
    Headless,
    External,
}

impl Kind {
    /// Of the Service with this number.
    pub fn of(number: usize) -> Self {
        match number % 100 {
            0..90 => Kind::ClusterIp,
            90..99 => Kind::Headless,
            _ => Kind::External,
        }
    }
}

/// The namespace of a Service.
pub fn namespace(number: usize) -> String {
    format!("shop-{}", number % NAMESPACES)
}

/// Its name in DNS, below the zone.
pub fn owner(number: usize) -> String {
    format!("web-{number}.{}.svc", namespace(number))
}

/// The cluster IPs of a Service that has such.
pub fn cluster_ips(number: usize) -> Vec<IpAddr> {
    let offset = u32::try_from(number).unwrap();
    let first = Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 30, 8, 0)) + offset);
    let second = Ipv6Addr::from(u128::from(Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, 0x800)) + u128::from(offset));
    if number.is_multiple_of(4) { vec![first.into(), second.into()] } else { vec![first.into()] }
}

/// The Service that another one is another name for.
pub fn target(number: usize) -> usize {
    number - number % 100
}

/// The host name of an endpoint, if it has one.
fn hostname(number: usize, index: usize) -> Option<String> {
    (Kind::of(number) == Kind::Headless && number.is_multiple_of(2)).then(|| format!("web-{number}-{index}"))
}

impl Data {
    /// Numbers of all Services of this kind.
    pub fn of_kind(self, kind: Kind) -> Vec<usize> {
        (0..self.services).filter(|number| Kind::of(*number) == kind).collect()
    }

    /// The address of an endpoint.
    pub fn address(self, number: usize, index: usize) -> Ipv4Addr {
        let offset = number * self.endpoints + index;
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 64, 0, 0)) + u32::try_from(offset).unwrap())
    }

    /// The name of an endpoint below its Service's: its host name, else its address with dashes.
    pub fn endpoint_label(self, number: usize, index: usize) -> String {
        hostname(number, index).unwrap_or_else(|| self.address(number, index).to_string().replace('.', "-"))
    }

    /// The Service and its slice, if it has one.
    fn objects(self, number: usize) -> Vec<Value> {
        match Kind::of(number) {
            Kind::External => vec![service(number)],
            Kind::ClusterIp | Kind::Headless => vec![service(number), self.slice(number, None)],
        }
    }

    /// A Service's slice, with the address of one endpoint replaced.
    pub fn slice(self, number: usize, changed: Option<(usize, Ipv4Addr)>) -> Value {
        let endpoint = |index| {
            let address = match changed {
                Some((at, fresh)) if at == index => fresh,
                _ => self.address(number, index),
            };
            let mut endpoint = json!({
                "addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": format!("worker-{}", 1 + index % 10),
                "targetRef": {"kind": "Pod", "namespace": namespace(number), "name": format!("web-{number}-{index}")},
            });
            if let Some(hostname) = hostname(number, index) {
                endpoint["hostname"] = hostname.into();
            }
            endpoint
        };
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": namespace(number), "name": format!("web-{number}-slice"), "labels": {
                "kubernetes.io/service-name": format!("web-{number}"),
                "endpointslice.kubernetes.io/managed-by": "comparison",
            }},
            "ports": PORTS.map(|(name, port)| json!({"name": name, "protocol": "TCP", "port": port})),
            "endpoints": (0..self.endpoints).map(endpoint).collect::<Vec<Value>>(),
        })
    }

    /// Creates everything through the API.
    pub fn create(self, client: &Client) {
        client.create_all(&namespaces());
        client.create_all(&(0..self.services).flat_map(|number| self.objects(number)).collect::<Vec<Value>>());
    }

    /// Writes everything as manifests, a thousand Services to a file.
    pub fn write_manifests(self, folder: &Path) {
        let write = |name: &str, items: Vec<Value>| {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
            fs::write(folder.join(format!("{name}.json")), list.to_string()).unwrap();
        };
        write("namespaces", namespaces());
        let numbers: Vec<usize> = (0..self.services).collect();
        for (index, part) in numbers.chunks(1000).enumerate() {
            write(&format!("services-{index}"), part.iter().flat_map(|number| self.objects(*number)).collect());
        }
    }
}

fn namespaces() -> Vec<Value> {
    let object = |number| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}});
    (0..NAMESPACES).map(object).collect()
}

fn service(number: usize) -> Value {
    let ports = PORTS.map(|(name, port)| json!({"name": name, "protocol": "TCP", "port": port, "targetPort": port}));
    let spec = match Kind::of(number) {
        Kind::ClusterIp => {
            let addresses = cluster_ips(number);
            let families = &["IPv4", "IPv6"][..addresses.len()];
            let policy = if addresses.len() == 2 { "RequireDualStack" } else { "SingleStack" };
            json!({
                "ports": ports, "clusterIP": addresses[0], "clusterIPs": addresses,
                "ipFamilies": families, "ipFamilyPolicy": policy,
            })
        }
        Kind::Headless => json!({
            "ports": ports, "clusterIP": "None", "clusterIPs": ["None"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        }),
        Kind::External => {
            json!({"type": "ExternalName", "externalName": format!("{}.{ZONE}", owner(target(number)))})
        }
    };
    json!({
        "apiVersion": "v1", "kind": "Service", "spec": spec,
        "metadata": {"namespace": namespace(number), "name": format!("web-{number}")},
    })
}
