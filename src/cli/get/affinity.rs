//! `portolan get affinity`.

use serde::Serialize;

use super::{Line, Shape};
use crate::{
    cli::look::{Needs, Selected, View},
    model::PortId,
    observed::{ListName, RememberedClient},
};

pub(super) fn examples() -> String {
    super::EXIT_CODES.to_owned()
        + "  portolan get affinity              who is sent where, and for how long
  portolan get affinity shop/web     of one Service"
}

/// A client that session affinity remembers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AffinityLine {
    service: String,
    port: String,
    protocol: String,
    client: String,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    /// Seconds from now
    expires_in_seconds: u64,
    /// The list of this node's own endpoints
    local: bool,
    state: &'static str,
}

impl Line for AffinityLine {
    const OF_THE_KERNEL_ALONE: bool = true;

    fn needs(_wide: bool) -> Needs {
        Needs { remembered: true, ..Needs::default() }
    }

    fn lines(view: &View<'_>, selected: &Selected) -> Vec<Self> {
        let wanted = view.remembered().filter(|(port, _)| selected.has(&port.service));
        wanted.map(|(port, client)| line(port, client, view)).collect()
    }

    fn headings(shape: Shape) -> Vec<&'static str> {
        let mut headings = vec!["SERVICE", "PORT", "CLIENT", "ENDPOINT"];
        if shape.objects {
            headings.push("POD");
        }
        headings.extend(["EXPIRES", "STATE"]);
        if shape.wide {
            headings.push("LIST");
        }
        headings
    }

    fn cells(&self, shape: Shape) -> Vec<String> {
        let port =
            if self.port.is_empty() { self.protocol.clone() } else { format!("{}/{}", self.port, self.protocol) };
        let mut cells = vec![self.service.clone(), port, self.client.clone(), self.endpoint.clone()];
        if shape.objects {
            cells.push(self.pod.clone().unwrap_or_else(|| "-".to_owned()));
        }
        cells.extend([format!("{}s", self.expires_in_seconds), self.state.to_owned()]);
        if shape.wide {
            cells.push(if self.local { "this node's" } else { "all" }.to_owned());
        }
        cells
    }

    fn still(&mut self) {
        self.expires_in_seconds = 0;
    }
}

fn line(port: &PortId, known: &RememberedClient, view: &View<'_>) -> AffinityLine {
    let local = known.list == ListName::Local;
    let sides = view.frontends.values().filter(|seen| seen.port() == Some(port)).filter_map(|seen| seen.held);
    let used = sides.into_iter().any(|side| if local { &side.local } else { &side.all }.contains(&known.target));
    let object = view.objects.and_then(|objects| objects.endpoints.get(&(port.clone(), known.target)));
    AffinityLine {
        service: port.service.to_string(),
        port: port.name.to_string(),
        protocol: port.protocol.to_string(),
        client: known.client.to_string(),
        endpoint: known.target.to_string(),
        pod: object.and_then(|endpoint| endpoint.pod.clone()),
        expires_in_seconds: known.expires,
        local,
        state: if used { "used" } else { "stale: endpoint no longer used" },
    }
}
