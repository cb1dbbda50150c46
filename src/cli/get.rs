//! `portolan get services`: what `kubectl get svc` shows, and whether it is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::{InputArgs, NodeArgs, input, table};
use crate::{
    compile::Claims,
    controlplane::{self, Options},
    kernel::{DataPlane, NetlinkDataPlane},
    model::{Family, ServiceId, World},
    objects::Service,
};

/// What to show.
#[derive(Debug, Subcommand)]
pub enum GetCommand {
    #[command(visible_aliases = ["service", "svc"])]
    Services(GetServicesArgs),
}

const EXAMPLES: &str = "\
Examples:
  portolan get services -f manifests/ --node node-1
  portolan get svc -f manifests/ --node node-1 -n shop -o wide";

/// Services, with their endpoints (ready/total) and the new connections the kernel counted.
///
/// NEW-CONNECTIONS counts, on this node, since the frontend was programmed; it is - where the kernel's tables cannot
/// be read or do not hold the Service.
///
/// Exit code: 0; 1 some object was refused, the rest is shown; 2 nothing could be read.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct GetServicesArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// Only this namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns
    Table,
    /// More columns: selector, and why an address is pending
    Wide,
    /// JSON
    Json,
}

/// One Service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    name: String,
    #[serde(rename = "type")]
    type_: String,
    cluster_ip: String,
    external_ip: String,
    ports: String,
    age: String,
    endpoints_ready: usize,
    endpoints_total: usize,
    new_connections: Option<u64>,
    selector: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
}

pub(super) fn run(command: &GetCommand) -> anyhow::Result<ExitCode> {
    let GetCommand::Services(args) = command;
    let loaded = input::load(&args.input, &args.node, input::Allocating::ReadOnly)?;
    input::print_notices(&loaded.notices);
    let counts = new_connections(&loaded.world, &loaded.settings);
    let now = Timestamp::now();
    let wanted = |service: &&Service| args.namespace.as_deref().is_none_or(|n| n == service.metadata.namespace());
    let line = |service: &Service| line(service, &loaded.world, &counts, now, &loaded.options);
    let lines: Vec<Line> = loaded.services.iter().filter(wanted).map(line).collect();
    let text = match args.output {
        Format::Json => serde_json::to_string_pretty(&lines)? + "\n",
        format => text(&lines, format == Format::Wide),
    };
    table::print(&text)?;
    Ok(loaded.exit_code)
}

/// The table of some Services, for people.
pub(super) fn table_text(
    services: &[Service],
    world: &World,
    counts: &BTreeMap<ServiceId, u64>,
    options: &Options,
) -> String {
    let now = Timestamp::now();
    let lines: Vec<Line> = services.iter().map(|service| line(service, world, counts, now, options)).collect();
    text(&lines, false)
}

/// New connections of each Service that the kernel has a counter for. No kernel, no counts: that is no error here.
pub(super) fn new_connections(world: &World, settings: &crate::model::Settings) -> BTreeMap<ServiceId, u64> {
    let mut claims = Claims::default();
    for service in world.services.values() {
        claims.set(service, &crate::compile::frontends(service, &world.node, settings));
    }
    let mut counts = BTreeMap::new();
    let Ok(mut kernel) = NetlinkDataPlane::open() else { return counts };
    for family in Family::ALL {
        for count in kernel.counters(family).unwrap_or_default() {
            if let Some(owner) = claims.owner(&count.frontend) {
                *counts.entry(owner.clone()).or_default() += count.packets;
            }
        }
    }
    counts
}

fn line(
    service: &Service,
    world: &World,
    counts: &BTreeMap<ServiceId, u64>,
    now: Timestamp,
    options: &Options,
) -> Line {
    let metadata = &service.metadata;
    let id = ServiceId::new(metadata.namespace(), &metadata.name);
    let (endpoints_ready, endpoints_total) = endpoints(&id, world);
    let pending = controlplane::pending_reason(service, options);
    let selector: Vec<String> = service.spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Line {
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
        type_: service.spec.type_.clone().unwrap_or_else(|| "ClusterIP".to_owned()),
        cluster_ip: none_if_empty(cluster_ips(service)),
        external_ip: external_ips(service, pending.is_some()),
        ports: none_if_empty(ports(service)),
        age: metadata.creation_timestamp.map_or_else(|| "<unknown>".to_owned(), |t| age(now, t)),
        endpoints_ready,
        endpoints_total,
        new_connections: counts.get(&id).copied(),
        selector: none_if_empty(selector.join(",")),
        pending,
    }
}

/// Distinct addresses: ready ones, and all.
fn endpoints(id: &ServiceId, world: &World) -> (usize, usize) {
    let all = || world.slices_of(id).flat_map(|slice| &slice.endpoints);
    let ready: BTreeSet<_> = all().filter(|e| e.ready).map(|e| e.address).collect();
    let total: BTreeSet<_> = all().map(|e| e.address).collect();
    (ready.len(), total.len())
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

fn text(lines: &[Line], wide: bool) -> String {
    let mut headings = vec![
        "NAMESPACE",
        "NAME",
        "TYPE",
        "CLUSTER-IP",
        "EXTERNAL-IP",
        "PORT(S)",
        "AGE",
        "ENDPOINTS",
        "NEW-CONNECTIONS",
    ];
    if wide {
        headings.extend(["SELECTOR", "PENDING"]);
    }
    let mut table: Vec<Vec<String>> = vec![headings.into_iter().map(str::to_owned).collect()];
    for line in lines {
        let mut cells = vec![
            line.namespace.clone(),
            line.name.clone(),
            line.type_.clone(),
            line.cluster_ip.clone(),
            line.external_ip.clone(),
            line.ports.clone(),
            line.age.clone(),
            format!("{}/{}", line.endpoints_ready, line.endpoints_total),
            line.new_connections.map_or_else(|| "-".to_owned(), |n| n.to_string()),
        ];
        if wide {
            cells.push(line.selector.clone());
            cells.push(none_if_empty(line.pending.clone().unwrap_or_default()));
        }
        table.push(cells);
    }
    let mut text = table::columns(&table);
    for line in lines.iter().filter(|_| !wide) {
        if let Some(reason) = &line.pending {
            text.push_str(&format!("{}/{}: external address pending: {reason}\n", line.namespace, line.name));
        }
    }
    text
}
