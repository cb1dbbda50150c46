//! Addresses and ports that standalone Portolan allocates: they stay, and they come back when a Service goes.

use super::sandbox::Sandbox;

fn service(name: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{type: NodePort, {rest}}}\n"
    )
}

/// Cluster IP and ports of a Service, as `get services` has them.
fn of(sandbox: &Sandbox, paths: &[&str], name: &str) -> (String, String) {
    let mut words = super::sandbox::with_manifests("services", paths);
    words.insert(0, "get");
    words.extend(["-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&sandbox.portolan(&words).stdout).unwrap();
    let service = json.as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone();
    let text = |field: &str| service[field].as_str().unwrap().to_owned();
    (text("clusterIp"), text("ports"))
}

#[test]
fn they_are_stable_and_freed() {
    let Some(sandbox) = Sandbox::new("they_are_stable_and_freed") else { return };
    let first = sandbox.write("a.yaml", &service("first", "ports: [{port: 80}]"));
    sandbox.apply(&[&first]);
    let (address, ports) = of(&sandbox, &[&first], "first");
    let node_port = ports.strip_prefix("80:").unwrap().strip_suffix("/TCP").unwrap().to_owned();
    sandbox.apply(&[&first]);
    assert_eq!(of(&sandbox, &[&first], "first"), (address.clone(), ports.clone()));

    // Somebody else asks for what is taken: the newcomer is refused.
    let wants = format!("clusterIP: {address}, ports: [{{port: 80}}]");
    let taken = sandbox.write("b.yaml", &service("newcomer", &wants));
    let ran = sandbox.portolan(&["apply", "-f", &taken, "-f", &first]).expect(1);
    assert!(ran.stderr.contains("Service shop/newcomer: spec.clusterIP"), "{ran:#?}");
    assert_eq!(of(&sandbox, &[&taken, &first], "first"), (address.clone(), ports));
    let wants = format!("ports: [{{port: 80, nodePort: {node_port}}}]");
    let taken = sandbox.write("b.yaml", &service("newcomer", &wants));
    let ran = sandbox.portolan(&["apply", "-f", &taken, "-f", &first]).expect(1);
    assert!(ran.stderr.contains("Service shop/newcomer: spec.ports[0].nodePort"), "{ran:#?}");

    // Without the first Service, both are free.
    sandbox.apply(&[&taken]);
    assert_eq!(of(&sandbox, &[&taken], "newcomer").1, format!("80:{node_port}/TCP"));
}
