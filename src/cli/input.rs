//! From flags to inputs: read the manifests, do the control plane's work, add what only the kernel knows.

use std::{collections::BTreeSet, net::IpAddr, process::ExitCode};

use anyhow::Context;
use ipnet::IpNet;
use tracing::warn;

use super::{InputArgs, NodeArgs, node_name};
use crate::{
    controlplane,
    kernel::addresses::AddressWatch,
    model::{IpRange, Located, Node, NodePortAddresses, Notice, ServiceId, Settings, Severity, World, ingest},
    objects::{Object, Service},
    source::{allocations::AllocationStore, manifests},
};

/// What all commands work on.
pub struct Loaded {
    /// Inputs of the data plane
    pub world: World,
    /// Settings for this node
    pub settings: Settings,
    /// The Services as the control plane completed them, in order of namespace and name
    pub services: Vec<Service>,
    /// All objects as the control plane completed them
    pub objects: Vec<Located>,
    /// Objects that the control plane refused
    pub left_out: Vec<Located>,
    /// What the control plane worked with
    pub options: controlplane::Options,
    /// What was wrong with the input
    pub notices: Vec<Notice>,
    /// Services that are there but were refused
    pub refused: BTreeSet<ServiceId>,
    /// Some input could not be read at all
    pub incomplete: bool,
    /// 1 if something was refused
    pub exit_code: ExitCode,
}

/// Whether allocations are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocating {
    /// Use what is remembered, write nothing: for dry runs
    ReadOnly,
    /// Remember
    Remember,
}

/// Reads everything.
///
/// # Errors
///
/// A path that cannot be opened, a state folder that cannot be written. What is wrong with single objects is among the
/// notices.
pub fn load(input: &InputArgs, node: &NodeArgs, allocating: Allocating) -> anyhow::Result<Loaded> {
    let ask = |_: &Node| interface_addresses().context("cannot list the addresses of the interfaces");
    load_with(input, node, allocating, ask)
}

/// Like [`load`], for those who know the interfaces' addresses of the node already.
///
/// # Errors
///
/// Those of [`load`], and those of `interface_addresses`.
pub fn load_with(
    input: &InputArgs,
    node: &NodeArgs,
    allocating: Allocating,
    interface_addresses: impl FnOnce(&Node) -> anyhow::Result<Vec<IpAddr>>,
) -> anyhow::Result<Loaded> {
    let name = node_name(node);
    let read = manifests::read(&input.manifests)?;
    let options = controlplane::Options {
        service_cidrs: input.service_cidr.clone(),
        load_balancer_pool: input.load_balancer_pool.iter().map(|range| IpRange::from(*range)).collect(),
        incomplete: read.unreadable,
        nodes: vec![name.clone()],
        ..controlplane::Options::default()
    };
    let completed = complete(read.objects, &options, &AllocationStore::new(&input.state_dir), allocating)?;
    let (world, settings, notices) = world(&completed.objects, input, node, interface_addresses)?;
    let notices: Vec<Notice> = [read.notices, completed.notices, notices].concat();
    let refused = read.unreadable || notices.iter().any(|n| n.severity == Severity::Refused);
    let services = services(&completed.objects);
    let exit_code = ExitCode::from(u8::from(refused));
    let refused = refused_services(&notices, &services);
    let (objects, left_out, incomplete) = (completed.objects, completed.refused, read.unreadable);
    Ok(Loaded { world, settings, services, objects, left_out, options, refused, notices, incomplete, exit_code })
}

/// Completed objects as one node has them, the settings for it, and what cannot be used of them.
///
/// # Errors
///
/// Those of `interface_addresses`, which is asked only where it matters.
pub fn world(
    objects: &[Located],
    input: &InputArgs,
    node: &NodeArgs,
    interface_addresses: impl FnOnce(&Node) -> anyhow::Result<Vec<IpAddr>>,
) -> anyhow::Result<(World, Settings, Vec<Notice>)> {
    let view = node_view(&node_name(node), objects, &input.service_cidr, node, interface_addresses)?;
    view.warnings.iter().for_each(|warning| warn!("{warning}"));
    Ok((view.world, view.settings, view.notices))
}

/// What a node makes of the objects.
pub struct NodeView {
    /// Inputs of the data plane
    pub world: World,
    /// Settings
    pub settings: Settings,
    /// What was wrong with objects
    pub notices: Vec<Notice>,
    /// What is to be said about the settings
    pub warnings: Vec<String>,
}

/// The objects as the node of this name sees them, and its settings. `interface_addresses` is asked only where these
/// count.
///
/// # Errors
///
/// Those of `interface_addresses`.
pub fn node_view(
    name: &str,
    objects: &[Located],
    service_cidr: &[IpNet],
    node: &NodeArgs,
    interface_addresses: impl FnOnce(&Node) -> anyhow::Result<Vec<IpAddr>>,
) -> anyhow::Result<NodeView> {
    let objects = objects.iter().map(|located| (&located.object, Some(&located.origin)));
    let (mut world, notices) = ingest::world(name, objects);
    world.service_networks.extend(service_cidr);
    world.node.addresses.splice(0..0, node.node_ip.iter().copied());
    let (settings, mut warnings) = node.settings(&world.node);
    warnings.extend(node.strange_cluster_cidrs(&world.node.addresses, &world.service_networks));
    if world.node.addresses.is_empty() || settings.node_port_addresses != NodePortAddresses::Primary {
        world.node.interface_addresses = interface_addresses(&world.node)?;
    }
    Ok(NodeView { world, settings, notices, warnings })
}

/// Services that some notice refuses and that are not among those that can be used.
pub fn refused_services(notices: &[Notice], usable: &[Service]) -> BTreeSet<ServiceId> {
    let refused = notices.iter().filter(|n| n.severity == Severity::Refused).filter_map(|n| n.object.as_ref());
    let mut refused: BTreeSet<ServiceId> = refused
        .filter(|object| &*object.kind == "Service")
        .map(|object| ServiceId { namespace: object.namespace.clone(), name: object.name.clone() })
        .collect();
    for service in usable {
        refused.remove(&ServiceId::new(service.metadata.namespace(), &service.metadata.name));
    }
    refused
}

/// The Services among the objects, in order of namespace and name.
pub fn services(objects: &[Located]) -> Vec<Service> {
    let service = |located: &Located| match &located.object {
        Object::Service(service) => Some(service.clone()),
        _ => None,
    };
    let mut services: Vec<Service> = objects.iter().filter_map(service).collect();
    services.sort_by_cached_key(|s| (s.metadata.namespace().to_owned(), s.metadata.name.clone()));
    services
}

fn complete(
    objects: Vec<Located>,
    options: &controlplane::Options,
    state: &AllocationStore,
    allocating: Allocating,
) -> anyhow::Result<controlplane::Completed> {
    Ok(match allocating {
        Allocating::ReadOnly => controlplane::complete(objects, options, &mut state.load()?),
        Allocating::Remember => state.update(|allocations| controlplane::complete(objects, options, allocations))?,
    })
}

/// The interfaces' addresses. Asked in a thread of its own, in the same network namespace, because the caller may be
/// inside a runtime already.
pub fn interface_addresses() -> anyhow::Result<Vec<IpAddr>> {
    let ask = || -> anyhow::Result<Vec<IpAddr>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { Ok(AddressWatch::open()?.read().await?.all) })
    };
    std::thread::scope(|scope| scope.spawn(ask).join())
        .map_err(|_| anyhow::anyhow!("the thread that asks ended early"))?
}

/// Prints what is wrong with the input, a line each, to standard error.
pub fn print_notices<'a>(notices: impl IntoIterator<Item = &'a Notice>) {
    for notice in notices {
        let severity = match notice.severity {
            Severity::Refused => "error",
            Severity::Warning => "warning",
        };
        eprintln!("{severity}: {notice}");
    }
}
