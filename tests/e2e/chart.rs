//! The chart, as Helm renders it with values.yaml: what the nodes run, and what the API server must take.

use std::{env, fs};

use serde_json::Value;

/// Where `make e2e` puts what Helm renders.
const RENDERED: &str = "PORTOLAN_E2E_CHART";
/// Where the chart mounts the configuration file.
const CONFIG: &str = "/etc/portolan/config.yaml";

/// All objects of the chart.
pub fn objects() -> Vec<Value> {
    let path = env::var(RENDERED).unwrap_or_else(|_| panic!("{RENDERED} is not set: `make e2e` renders the chart"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The only object of a kind.
fn object(kind: &str) -> Value {
    let mut found = objects().into_iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("the chart has no {kind}"));
    assert!(found.next().is_none(), "the chart has two objects of kind {kind}");
    object
}

/// The configuration file.
pub fn config() -> String {
    object("ConfigMap")["data"]["config.yaml"].as_str().unwrap().to_owned()
}

/// The arguments of the DaemonSet's container on the node of this name, with the configuration at `config`.
pub fn arguments(node: &str, config: &str) -> Vec<String> {
    let container = object("DaemonSet")["spec"]["template"]["spec"]["containers"][0].clone();
    let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    let arguments: Vec<String> =
        arguments.map(|argument| argument.replace("$(NODE_NAME)", node).replace(CONFIG, config)).collect();
    assert!(arguments.iter().any(|argument| argument == config), "{arguments:?} do not name {CONFIG}");
    arguments
}
