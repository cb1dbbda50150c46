//! `portolan get frontends`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Line, Shape, count_or_dash};
use crate::{
    cli::look::{Needs, Seen, Selected, Side, View},
    compile::FrontendKind,
    model::Family,
    tables::{DeadEnd, Policy},
};

pub(super) fn examples() -> String {
    super::EXIT_CODES.to_owned()
        + "  portolan get frontends                             every frontend, from the kernel alone
  portolan get frontends web -n shop -o wide -w      one Service's, and follow it"
}

/// A frontend.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FrontendLine {
    frontend: String,
    kind: String,
    service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    port: String,
    policy: Option<String>,
    /// In the list that clients from outside get
    endpoints: usize,
    /// With an external policy Local: in the list that pods and this host get
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints_for_pods: Option<usize>,
    source_ranges: bool,
    /// `None` where nobody could look
    state: Option<&'static str>,
    new_connections: Option<u64>,
    refused: Option<u64>,
    dropped: Option<u64>,
    /// Packets that source ranges turned away from all frontends with source ranges of this family and policy together
    #[serde(skip_serializing_if = "Option::is_none")]
    source_not_allowed_together: Option<u64>,
    /// Why clients are refused or dropped now
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    connections: Option<u64>,
}

impl Line for FrontendLine {
    fn needs(wide: bool) -> Needs {
        Needs { connections: wide, ..Needs::default() }
    }

    fn lines(view: &View<'_>, selected: &Selected) -> Vec<Self> {
        let mut tracked = BTreeMap::new();
        for connection in view.connections().into_iter().flat_map(|connections| &connections.entries) {
            *tracked.entry(connection.frontend).or_default() += 1;
        }
        let tracked_of =
            |seen: &Seen<'_>| view.connections().map(|_| tracked.get(&seen.frontend).copied().unwrap_or_default());
        let mut lines = Vec::new();
        for (id, frontends) in view.by_service() {
            if selected.has(id) {
                lines.extend(frontends.into_iter().filter_map(|seen| line(seen, tracked_of(seen), view)));
            }
        }
        lines
    }

    fn headings(shape: Shape) -> Vec<&'static str> {
        let mut headings = vec![
            "FRONTEND",
            "KIND",
            "SERVICE",
            "POLICY",
            "ENDPOINTS",
            "NEW-CONNECTIONS",
            "REFUSED",
            "DROPPED",
            "REASON",
        ];
        if shape.wide {
            headings.extend(["SOURCE-RANGES", "CONNECTIONS", "STATE"]);
        }
        headings
    }

    fn cells(&self, shape: Shape) -> Vec<String> {
        let service =
            if self.port.is_empty() { self.service.clone() } else { format!("{}:{}", self.service, self.port) };
        let endpoints = match self.endpoints_for_pods {
            Some(for_pods) => format!("{} (pods: {for_pods})", self.endpoints),
            None => self.endpoints.to_string(),
        };
        let mut cells = vec![
            self.frontend.clone(),
            self.kind.clone(),
            service,
            self.policy.clone().unwrap_or_else(|| "-".to_owned()),
            endpoints,
            count_or_dash(self.new_connections),
            count_or_dash(self.refused),
            count_or_dash(self.dropped),
            self.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ];
        if shape.wide {
            let ranges = if self.source_ranges { "yes" } else { "no" };
            cells.extend([ranges.to_owned(), count_or_dash(self.connections), self.state.unwrap_or("-").to_owned()]);
        }
        cells
    }

    fn notes(lines: &[Self], view: &View<'_>, _shape: Shape) -> Vec<String> {
        if !lines.iter().any(|line| line.source_ranges) {
            return Vec::new();
        }
        let away = view.turned_away().filter(|(_, packets)| *packets > 0);
        let note = |((family, policy), packets): ((Family, Policy), u64)| {
            let policy = policy_name(policy);
            format!(
                "source ranges turned away {packets} packets of frontends with policy {policy} ({family}, all together)"
            )
        };
        away.map(note).collect()
    }
}

fn line(seen: &Seen<'_>, connections: Option<u64>, view: &View<'_>) -> Option<FrontendLine> {
    let (side, port) = (seen.side()?, seen.port()?);
    let external_local = side.policy == Some(Policy::ExternalLocal);
    let (all, local) = (side.all.len(), side.local.len());
    Some(FrontendLine {
        frontend: seen.frontend.to_string(),
        kind: seen.kind.map_or("external", FrontendKind::name).to_owned(),
        service: port.service.to_string(),
        port: port.name.to_string(),
        policy: side.policy.map(|policy| policy_name(policy).to_owned()),
        endpoints: if external_local || side.policy == Some(Policy::InternalLocal) { local } else { all },
        endpoints_for_pods: external_local.then_some(all),
        source_ranges: side.guarded,
        state: view.looked().then(|| state(seen, view)),
        new_connections: seen.counts.map(|counts| counts.new),
        refused: seen.counts.map(|counts| counts.refused),
        dropped: seen.counts.map(|counts| counts.dropped + counts.not_allowed),
        source_not_allowed_together: turned_away(seen, side, view),
        reason: reason(side),
        connections,
    })
}

/// What the counter says that a frontend with source ranges shares with others.
fn turned_away(seen: &Seen<'_>, side: &Side, view: &View<'_>) -> Option<u64> {
    let shared = (seen.frontend.family(), side.policy.filter(|_| side.guarded)?);
    view.turned_away().find(|(of, _)| *of == shared).map(|(_, packets)| packets)
}

/// Whether the kernel has what the objects want.
fn state(seen: &Seen<'_>, view: &View<'_>) -> &'static str {
    match (seen.held, seen.wanted) {
        (Some(held), Some(wanted)) if held == wanted => "programmed",
        (Some(_), Some(_)) => "programmed otherwise",
        (None, _) => "not programmed",
        (Some(held), None) => view.objects.map_or("programmed", |objects| objects.held_only(&held.port.service)),
    }
}

fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Internal | Policy::External => "Cluster",
        Policy::InternalLocal | Policy::ExternalLocal => "Local",
    }
}

/// Why clients are turned away, if they are.
pub(in crate::cli) fn reason(side: &Side) -> Option<String> {
    let words = match side.dead_end? {
        DeadEnd::Refuse => "refused: no endpoint",
        DeadEnd::Drop if side.all.is_empty() => "dropped: no endpoint on this node",
        DeadEnd::Drop => "dropped from outside: no endpoint on this node",
    };
    Some(words.to_owned())
}
