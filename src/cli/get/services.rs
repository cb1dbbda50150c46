//! `portolan get services`: what `kubectl get svc` shows, and whether it is used.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{Line, Shape, columns, count_or_dash};
use crate::{
    cli::look::{Counts, Kernel, Needs, Objects, Seen, Selected, View},
    compile::FrontendKind,
    controlplane::{self, Options},
    model::{ServiceId, Settings, World},
    objects::Service,
};

pub(super) fn examples() -> String {
    super::EXIT_CODES.to_owned()
        + "  portolan get services                                             what this node serves, from the kernel alone
  portolan get services -f manifests/ --node node-1
  portolan get svc -f manifests/ --node node-1 -n shop -o wide"
}

/// One Service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceLine {
    namespace: String,
    name: String,
    #[serde(flatten)]
    object: Option<ObjectPart>,
    cluster_ip: String,
    external_ip: String,
    ports: String,
    endpoints_used: usize,
    new_connections: Option<u64>,
    refused: Option<u64>,
    dropped: Option<u64>,
    /// Tracked now
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u64>,
    /// Of these, those whose endpoint gets no new ones
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_leaving: Option<u64>,
    /// `None` where nobody could look
    state: Option<&'static str>,
}

/// What only the object knows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectPart {
    #[serde(rename = "type")]
    type_: String,
    age: String,
    endpoints_ready: usize,
    endpoints_total: usize,
    selector: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
}

impl Line for ServiceLine {
    fn needs(wide: bool) -> Needs {
        Needs { connections: wide, ..Needs::default() }
    }

    fn lines(view: &View<'_>, selected: &Selected) -> Vec<Self> {
        let now = Timestamp::now();
        let by_service = view.by_service();
        let mut objects: BTreeMap<ServiceId, Option<&Service>> =
            by_service.keys().map(|id| ((*id).clone(), None)).collect();
        if let Some(known) = view.objects {
            objects.extend(known.ids().zip(known.services.iter().map(Some)));
        }
        let tracked = tracked(view);
        let none = Vec::new();
        let mut lines = Vec::new();
        for (id, object) in objects.iter().filter(|(id, _)| selected.has(id)) {
            let frontends = by_service.get(id).unwrap_or(&none);
            let mut line = line(id, *object, frontends, view, now);
            let (connections, leaving) = tracked.get(id).copied().unwrap_or_default();
            line.connections = view.connections().map(|_| connections);
            line.connections_leaving = view.connections().map(|_| leaving);
            lines.push(line);
        }
        lines
    }

    fn headings(shape: Shape) -> Vec<&'static str> {
        let mut headings = vec!["NAMESPACE", "NAME"];
        if shape.objects {
            headings.push("TYPE");
        }
        headings.extend(["CLUSTER-IP", "EXTERNAL-IP", "PORT(S)"]);
        if shape.objects {
            headings.push("AGE");
        }
        headings.extend(["ENDPOINTS", "NEW-CONNECTIONS", "REFUSED", "DROPPED"]);
        if shape.wide {
            headings.extend(["CONNECTIONS", "LEAVING", "STATE"]);
        }
        if shape.wide && shape.objects {
            headings.extend(["SELECTOR", "PENDING"]);
        }
        headings
    }

    fn cells(&self, shape: Shape) -> Vec<String> {
        let object = |cell: fn(&ObjectPart) -> String| self.object.as_ref().map_or_else(|| "-".to_owned(), cell);
        let mut cells = vec![self.namespace.clone(), self.name.clone()];
        if shape.objects {
            cells.push(object(|object| object.type_.clone()));
        }
        cells.extend([self.cluster_ip.clone(), self.external_ip.clone(), self.ports.clone()]);
        if shape.objects {
            cells.push(object(|object| object.age.clone()));
        }
        cells.push(match &self.object {
            Some(object) => format!("{}/{}", object.endpoints_ready, object.endpoints_total),
            None => self.endpoints_used.to_string(),
        });
        cells.extend([self.new_connections, self.refused, self.dropped].map(count_or_dash));
        if shape.wide {
            cells.extend([self.connections, self.connections_leaving].map(count_or_dash));
            cells.push(self.state.unwrap_or("-").to_owned());
        }
        if shape.wide && shape.objects {
            cells.push(object(|object| object.selector.clone()));
            cells.push(object(|object| none_if_empty(object.pending.clone().unwrap_or_default())));
        }
        cells
    }

    fn notes(lines: &[Self], _view: &View<'_>, shape: Shape) -> Vec<String> {
        let pending = |line: &ServiceLine| {
            let reason = line.object.as_ref()?.pending.as_ref()?;
            Some(format!("{}/{}: external address pending: {reason}", line.namespace, line.name))
        };
        lines.iter().filter(|_| !shape.wide).filter_map(pending).collect()
    }

    fn still(&mut self) {
        if let Some(object) = &mut self.object {
            object.age.clear();
        }
    }
}

/// The table of some Services, for people, from the calling thread's network namespace. No kernel, no counts: that is no
/// error here.
pub(in crate::cli) fn table_text(
    services: &[Service],
    world: &World,
    settings: &Settings,
    options: &Options,
) -> String {
    let objects = Objects::new(services.to_vec(), world.clone(), settings.clone(), options.clone());
    let look = |mut kernel: Kernel| kernel.look(Needs::default(), &BTreeSet::new()).ok();
    let sight = Kernel::open().ok().and_then(look);
    let view = View::new(sight.as_ref(), Some(&objects));
    let lines = ServiceLine::lines(&view, &Selected::default());
    columns(&lines, Shape { wide: false, objects: true }, &view)
}

/// Tracked connections of each Service: all, and those that are leaving.
pub(in crate::cli) fn tracked(view: &View<'_>) -> BTreeMap<ServiceId, (u64, u64)> {
    let mut tracked: BTreeMap<ServiceId, (u64, u64)> = BTreeMap::new();
    for connection in view.connections().into_iter().flat_map(|connections| &connections.entries) {
        let port = view.frontends.get(&connection.frontend).and_then(|seen| seen.port());
        if let Some(port) = port {
            let (all, leaving) = tracked.entry(port.service.clone()).or_default();
            *all += 1;
            *leaving += u64::from(view.leaving(connection).is_some());
        }
    }
    tracked
}

fn line(
    id: &ServiceId,
    object: Option<&Service>,
    frontends: &[&Seen<'_>],
    view: &View<'_>,
    now: Timestamp,
) -> ServiceLine {
    let counts = frontends.iter().filter_map(|seen| seen.counts).reduce(Counts::plus);
    let pending = object.zip(view.objects).and_then(|(o, objects)| controlplane::pending_reason(o, &objects.options));
    ServiceLine {
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
        cluster_ip: none_if_empty(object.map_or_else(|| held(frontends, true), cluster_ips)),
        external_ip: match object {
            Some(object) => external_ips(object, pending.is_some()),
            None => none_if_empty(held(frontends, false)),
        },
        ports: none_if_empty(object.map_or_else(|| held_ports(frontends), ports)),
        object: object.zip(view.objects).map(|(o, objects)| object_part(o, id, objects, pending, now)),
        endpoints_used: View::used(frontends).len(),
        new_connections: counts.map(|counts| counts.new),
        refused: counts.map(|counts| counts.refused),
        dropped: counts.map(|counts| counts.dropped + counts.not_allowed),
        connections: None,
        connections_leaving: None,
        state: view.looked().then(|| state(id, object, frontends, view)),
    }
}

fn object_part(
    service: &Service,
    id: &ServiceId,
    objects: &Objects,
    pending: Option<String>,
    now: Timestamp,
) -> ObjectPart {
    let (endpoints_ready, endpoints_total) = objects.ready_and_total(id);
    let selector: Vec<String> = service.spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    ObjectPart {
        type_: service.spec.type_.clone().unwrap_or_else(|| "ClusterIP".to_owned()),
        age: service.metadata.creation_timestamp.map_or_else(|| "<unknown>".to_owned(), |t| age(now, t)),
        endpoints_ready,
        endpoints_total,
        selector: none_if_empty(selector.join(",")),
        pending,
    }
}

/// Whether the kernel has what the object wants.
fn state(id: &ServiceId, object: Option<&Service>, frontends: &[&Seen<'_>], view: &View<'_>) -> &'static str {
    let Some(objects) = view.objects else { return "programmed" };
    let held = frontends.iter().any(|seen| seen.held.is_some());
    if object.is_none() {
        return objects.held_only(id);
    }
    let same = frontends.iter().all(|seen| seen.held == seen.wanted);
    match (frontends.is_empty(), same, held) {
        (true, _, _) => "nothing to program",
        (false, true, _) => "programmed",
        (false, false, true) => "programmed otherwise",
        (false, false, false) => "not programmed",
    }
}

/// Addresses that the kernel has, those of the cluster or the others.
fn held(frontends: &[&Seen<'_>], cluster: bool) -> String {
    let wanted = frontends.iter().filter(|seen| (seen.kind == Some(FrontendKind::ClusterIp)) == cluster);
    let addresses: BTreeSet<_> = wanted.map(|seen| seen.frontend.address).collect();
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The ports that the kernel has: on cluster IPs, or, if there are none, on others.
fn held_ports(frontends: &[&Seen<'_>]) -> String {
    let of = |cluster: bool| -> BTreeSet<String> {
        let wanted = frontends.iter().filter(|seen| (seen.kind == Some(FrontendKind::ClusterIp)) == cluster);
        wanted.map(|seen| format!("{}/{}", seen.frontend.port, seen.frontend.protocol)).collect()
    };
    let ports = Some(of(true)).filter(|ports| !ports.is_empty()).unwrap_or_else(|| of(false));
    ports.into_iter().collect::<Vec<_>>().join(",")
}

fn cluster_ips(service: &Service) -> String {
    let spec = &service.spec;
    if spec.cluster_ips.is_empty() { spec.cluster_ip.clone().unwrap_or_default() } else { spec.cluster_ips.join(",") }
}

fn external_ips(service: &Service, pending: bool) -> String {
    let spec = &service.spec;
    if spec.type_.as_deref() == Some("ExternalName") {
        return none_if_empty(spec.external_name.clone().unwrap_or_default());
    }
    let ingress = &service.status.load_balancer.ingress;
    let mut all: Vec<String> = ingress.iter().filter_map(|i| i.ip.clone().or_else(|| i.hostname.clone())).collect();
    all.extend(spec.external_ips.iter().cloned());
    if all.is_empty() && pending {
        return "<pending>".to_owned();
    }
    none_if_empty(all.join(","))
}

/// `80:30008/TCP,443/TCP`
fn ports(service: &Service) -> String {
    let port = |p: &crate::objects::ServicePort| {
        let node_port = p.node_port.filter(|n| *n != 0).map(|n| format!(":{n}")).unwrap_or_default();
        format!("{}{node_port}/{}", p.port, p.protocol.as_deref().unwrap_or("TCP"))
    };
    service.spec.ports.iter().map(port).collect::<Vec<_>>().join(",")
}

fn none_if_empty(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// The largest unit that gives at least two of it, as kubectl has it: `90s`, `5m`, `3h`, `12d`.
fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = (now.as_second() - then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}
