//! `portolan get conntrack`.

use serde::Serialize;

use super::{Line, Shape};
use crate::{
    cli::look::{Needs, Selected, View},
    model::Target,
    observed::{Connection, Connections},
};

pub(super) fn examples() -> String {
    super::EXIT_CODES.to_owned()
        + "  portolan get conntrack                      connections to all Services
  portolan get conntrack shop/dns -o json     to one, for a program"
}

/// A tracked connection.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionLine {
    protocol: String,
    client: String,
    frontend: String,
    service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    port: String,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    answered: bool,
    /// Why the endpoint gets no new connections, if it does not
    #[serde(skip_serializing_if = "Option::is_none")]
    leaving: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_behind: Option<String>,
}

impl Line for ConnectionLine {
    const OF_THE_KERNEL_ALONE: bool = true;

    fn needs(_wide: bool) -> Needs {
        Needs { connections: true, ..Needs::default() }
    }

    fn lines(view: &View<'_>, selected: &Selected) -> Vec<Self> {
        let all = view.connections().into_iter().flat_map(|connections| &connections.entries);
        all.filter_map(|connection| line(connection, view, selected)).collect()
    }

    fn headings(shape: Shape) -> Vec<&'static str> {
        let mut headings = vec!["PROTO", "CLIENT", "FRONTEND", "SERVICE", "ENDPOINT"];
        if shape.objects {
            headings.push("POD");
        }
        headings.push("STATE");
        headings
    }

    fn cells(&self, shape: Shape) -> Vec<String> {
        let service =
            if self.port.is_empty() { self.service.clone() } else { format!("{}:{}", self.service, self.port) };
        let mut cells =
            vec![self.protocol.clone(), self.client.clone(), self.frontend.clone(), service, self.endpoint.clone()];
        if shape.objects {
            cells.push(self.pod.clone().unwrap_or_else(|| "-".to_owned()));
        }
        let mut state = if self.answered { "answered" } else { "unanswered" }.to_owned();
        if let Some(why) = self.leaving {
            state.push_str(&format!(", {why}"));
        }
        if let Some(address) = &self.hidden_behind {
            state.push_str(&format!(", hidden behind {address}"));
        }
        cells.push(state);
        cells
    }

    fn notes(_lines: &[Self], view: &View<'_>, _shape: Shape) -> Vec<String> {
        let size =
            |table: &Connections| format!("the node tracks {} connections, of at most {}", table.count, table.max);
        view.connections().map(size).into_iter().collect()
    }
}

fn line(connection: &Connection, view: &View<'_>, selected: &Selected) -> Option<ConnectionLine> {
    let Connection { frontend, client, endpoint, answers_to, answered } = connection;
    let port = view.frontends.get(frontend)?.port().filter(|port| selected.has(&port.service))?;
    let object = view.objects.and_then(|objects| objects.endpoints.get(&(port.clone(), *endpoint)));
    Some(ConnectionLine {
        protocol: frontend.protocol.to_string(),
        client: client.to_string(),
        frontend: Target { address: frontend.address, port: frontend.port }.to_string(),
        service: port.service.to_string(),
        port: port.name.to_string(),
        endpoint: endpoint.to_string(),
        pod: object.and_then(|endpoint| endpoint.pod.clone()),
        answered: *answered,
        leaving: view.leaving(connection),
        hidden_behind: (answers_to.address != client.address).then(|| answers_to.address.to_string()),
    })
}
