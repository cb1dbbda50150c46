//! Manifests for the tests, small and of one shape.

/// The node that the tests are.
pub const NODE: &str = "\
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.49.11}]}
";

/// A Service `shop/NAME` at a cluster IP, port 80, whose endpoints listen on 8080.
pub fn service(name: &str, cluster_ip: &str, endpoints: &[&str]) -> String {
    let endpoints: String = endpoints.iter().map(|e| format!("- {{addresses: [{e}], nodeName: node-1}}\n")).collect();
    let endpoints = if endpoints.is_empty() { "[]\n".to_owned() } else { format!("\n{endpoints}") };
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  clusterIP: {cluster_ip}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: shop
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports: [{{name: \"\", protocol: TCP, port: 8080}}]
endpoints: {endpoints}"
    )
}

/// `shop/web` at 10.96.0.10 with the two endpoints 10.1.2.3 and 10.1.2.4, and the node.
pub fn web() -> String {
    service("web", "10.96.0.10", &["10.1.2.3", "10.1.2.4"]) + NODE
}
