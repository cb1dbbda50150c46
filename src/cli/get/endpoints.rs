//! `portolan get endpoints`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Line, Shape, count_or_dash};
use crate::{
    cli::look::{Needs, Objects, Selected, View},
    model::{PortId, Target},
};

pub(super) fn examples() -> String {
    super::EXIT_CODES.to_owned()
        + "  portolan get endpoints                                          what this node sends connections to
  portolan get endpoints shop/web -f manifests/ --node node-1     and why others get none"
}

/// An endpoint of a service port.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointLine {
    service: String,
    port: String,
    protocol: String,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    state: String,
    frontends: usize,
    connections: Option<u64>,
}

/// What is known of one.
#[derive(Default)]
struct Known {
    /// Frontends in the kernel that lead to it, or that would by what is wanted
    held: usize,
    wanted: usize,
    connections: u64,
}

type Endpoints = BTreeMap<(PortId, Target), Known>;

impl Line for EndpointLine {
    fn needs(_wide: bool) -> Needs {
        Needs { connections: true, ..Needs::default() }
    }

    fn lines(view: &View<'_>, selected: &Selected) -> Vec<Self> {
        let tracked = view.connections().is_some();
        let line = |((port, target), known): ((PortId, Target), Known)| {
            let object = view.objects.and_then(|objects| objects.endpoints.get(&(port.clone(), target)));
            Self {
                service: port.service.to_string(),
                port: port.name.to_string(),
                protocol: port.protocol.to_string(),
                endpoint: target.to_string(),
                pod: object.and_then(|endpoint| endpoint.pod.clone()),
                node: object.and_then(|endpoint| endpoint.node.clone()),
                state: state(&port, &target, &known, view),
                frontends: if view.programmed() { known.held } else { known.wanted },
                connections: tracked.then_some(known.connections),
            }
        };
        endpoints(view).into_iter().filter(|((port, _), _)| selected.has(&port.service)).map(line).collect()
    }

    fn headings(shape: Shape) -> Vec<&'static str> {
        let mut headings = vec!["SERVICE", "PORT", "ENDPOINT"];
        if shape.objects {
            headings.extend(["POD", "NODE"]);
        }
        headings.extend(["STATE", "FRONTENDS", "CONNECTIONS"]);
        headings
    }

    fn cells(&self, shape: Shape) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let port =
            if self.port.is_empty() { self.protocol.clone() } else { format!("{}/{}", self.port, self.protocol) };
        let mut cells = vec![self.service.clone(), port, self.endpoint.clone()];
        if shape.objects {
            cells.extend([or_dash(&self.pod), or_dash(&self.node)]);
        }
        cells.extend([self.state.clone(), self.frontends.to_string(), count_or_dash(self.connections)]);
        cells
    }
}

/// Every endpoint that the kernel has, the objects have, or a tracked connection has.
fn endpoints(view: &View<'_>) -> Endpoints {
    let mut all = Endpoints::new();
    for (port, target) in view.objects.into_iter().flat_map(|objects: &Objects| objects.endpoints.keys()) {
        all.entry((port.clone(), *target)).or_default();
    }
    for seen in view.frontends.values() {
        let Some(port) = seen.port() else { continue };
        for target in seen.held.into_iter().flat_map(|side| side.targets()) {
            all.entry((port.clone(), *target)).or_default().held += 1;
        }
        for target in seen.wanted.into_iter().flat_map(|side| side.targets()) {
            all.entry((port.clone(), *target)).or_default().wanted += 1;
        }
    }
    for connection in view.connections().into_iter().flat_map(|connections| &connections.entries) {
        let itself = Target { address: connection.frontend.address, port: connection.frontend.port };
        let port = view.frontends.get(&connection.frontend).and_then(|seen| seen.port());
        // What was not translated went to no endpoint.
        if let Some(port) = port.filter(|_| connection.endpoint != itself) {
            all.entry((port.clone(), connection.endpoint)).or_default().connections += 1;
        }
    }
    all
}

fn state(port: &PortId, target: &Target, known: &Known, view: &View<'_>) -> String {
    let held = known.held > 0;
    let Some(objects) = view.objects else { return if held { "used" } else { "no longer used" }.to_owned() };
    let state = objects.endpoints.get(&(port.clone(), *target)).map(|endpoint| endpoint.state);
    let note = match (held, known.wanted > 0) {
        (true, false) => objects.held_only(&port.service),
        (false, true) if view.programmed() => "not programmed yet",
        _ => return state.unwrap_or("gone").to_owned(),
    };
    state.into_iter().chain([note]).collect::<Vec<_>>().join(", ")
}
