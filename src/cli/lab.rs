//! `portolan lab`: a cluster on one machine, to look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::{get, input, table};
use crate::{
    agent::Agent,
    compile::FrontendKind,
    controlplane,
    desired::Desired,
    kernel::NetlinkDataPlane,
    lab::{self, Cluster, DEFAULT_PREFIX, Defaults, Lab, LabHost, LabSpec, Namespace, Ports, Probe, Responders, Row},
    model::{Frontend, IpRange, Located, Notice, PodDetector, Settings, World, ingest},
    objects::{Node, Object, Pod, Service},
    source::manifests,
};

/// Connections made from each place to each frontend.
const CONNECTIONS: usize = 12;
/// How long to wait for an answer before it counts as silence.
const PATIENCE: Duration = Duration::from_millis(400);

const EXAMPLES: &str = "\
Examples:
  portolan lab -f examples/01-clusterip.yaml             build, call every frontend, take down
  portolan lab -f examples/08-nodeport.yaml --keep       leave it up, to enter it
  portolan lab down                                      take down what was kept";

/// Build a cluster out of network namespaces and show who answers whom.
///
/// Nodes, pods and an outside client are network namespaces on this machine, with Portolan on every node.
/// Each pod answers on its ports with "You've hit NAME" and the address it was called from. The lab shows the Services,
/// then who answered how often when they were called from a pod, from a node and from outside. Without addresses in the
/// manifests, nodes and pods get some. Needs root. Nothing outside the lab's namespaces is touched.
///
/// Exit code: 0 the lab was built and shown; 2 it could not be.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct LabArgs {
    #[command(subcommand)]
    command: Option<LabCommand>,

    /// Manifests: files, folders, or - for standard input
    #[arg(short = 'f', long = "manifests", visible_alias = "filename", value_name = "PATH", num_args = 1.., required = true)]
    manifests: Vec<PathBuf>,

    /// Number of nodes, if the manifests name none
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    nodes: u8,

    /// Ranges that cluster IPs are allocated from
    #[arg(long, value_name = "CIDR", value_delimiter = ',', default_value = "10.96.0.0/16,fd00:10:96::/112")]
    service_cidr: Vec<IpNet>,

    /// Ranges that load-balancer addresses are allocated from; none leaves them pending
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    load_balancer_pool: Vec<IpNet>,

    /// Leave the lab up, and say how to enter it
    #[arg(long)]
    keep: bool,

    /// What the names of the lab's namespaces begin with
    #[arg(long, value_name = "PREFIX", default_value = DEFAULT_PREFIX, global = true)]
    prefix: String,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Take down a lab that was kept
    Down,
}

/// The manifests, completed for the lab.
struct Scene {
    objects: Vec<Located>,
    services: Vec<Service>,
    notices: Vec<Notice>,
    spec: LabSpec,
    settings: Settings,
    options: controlplane::Options,
}

pub(super) fn run(args: &LabArgs) -> anyhow::Result<ExitCode> {
    if let Some(LabCommand::Down) = args.command {
        lab::down(&args.prefix)?;
        println!("the lab {} is down", args.prefix);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(obstacle) = lab::obstacle() {
        anyhow::bail!("cannot build a lab here: {obstacle}");
    }
    let scene = scene(args)?;
    input::print_notices(&scene.notices);
    let spec = scene.spec.clone();
    eprintln!("building {} nodes and {} pods ...", spec.nodes.len(), spec.pods.len());
    let lab = Lab::up(spec)?;
    // Whatever goes wrong from here on, a lab that is not kept is taken down.
    let shown = show(&scene, &lab);
    if args.keep && shown.is_ok() {
        print!("{}", how_to_enter(&lab, &args.prefix));
    } else {
        lab.down()?;
    }
    shown?;
    Ok(ExitCode::SUCCESS)
}

fn scene(args: &LabArgs) -> anyhow::Result<Scene> {
    let read = manifests::read(&args.manifests)?;
    let names: Vec<String> = (1..=args.nodes).map(|n| format!("node-{n}")).collect();
    let options = controlplane::Options {
        service_cidrs: args.service_cidr.clone(),
        load_balancer_pool: args.load_balancer_pool.iter().map(|range| IpRange::from(*range)).collect(),
        nodes: names.clone(),
        ..controlplane::Options::default()
    };
    let expanded = controlplane::expand_workloads(read.objects, &names);
    let (nodes, pods) = nodes_and_pods(&expanded);
    let cluster = Cluster::complete(&nodes, &pods, Defaults { nodes: args.nodes.into(), ..Defaults::default() })?;
    let objects = with_cluster(expanded, &cluster);
    let completed = controlplane::complete(objects, &options, &mut controlplane::Allocations::default());
    let services = input::services(&completed.objects);
    let mut spec = cluster.spec(&args.prefix)?;
    if args.keep {
        let executable = std::env::current_exe().context("cannot find the path of this program")?;
        spec.responders = Responders::Process(vec![executable.into(), "lab-responder".into()]);
    }
    listen_where_services_lead(&completed.objects, &mut spec);
    let pod_ranges = cluster.nodes.iter().flat_map(|node| &node.spec.pod_cidrs).filter_map(|c| c.parse().ok());
    let settings = Settings {
        detector: PodDetector::SourceRanges(pod_ranges.collect()),
        masquerade_bit: 14,
        ..Settings::default()
    };
    let notices = [read.notices, completed.notices].concat();
    Ok(Scene { objects: completed.objects, services, notices, spec, settings, options })
}

fn nodes_and_pods(objects: &[Located]) -> (Vec<Node>, Vec<Pod>) {
    let (mut nodes, mut pods) = (Vec::new(), Vec::new());
    for located in objects {
        match &located.object {
            Object::Node(node) => nodes.push(node.clone()),
            Object::Pod(pod) => pods.push(pod.clone()),
            _ => {}
        }
    }
    (nodes, pods)
}

/// The objects with the cluster's nodes and pods, which have addresses, in place of those of the manifests.
fn with_cluster(objects: Vec<Located>, cluster: &Cluster) -> Vec<Located> {
    let origin = crate::model::Origin { file: std::sync::Arc::new("lab".into()), line: 1 };
    let mut complete: Vec<Located> =
        objects.into_iter().filter(|o| !matches!(o.object, Object::Node(_) | Object::Pod(_))).collect();
    let made = |object| Located { object, origin: origin.clone() };
    complete.extend(cluster.nodes.iter().cloned().map(Object::Node).map(made));
    complete.extend(cluster.pods.iter().cloned().map(Object::Pod).map(made));
    complete
}

/// Has every pod listen where some endpoint says it does, and makes a host of every endpoint that is no pod.
fn listen_where_services_lead(objects: &[Located], spec: &mut LabSpec) {
    let (world, _) = ingest::world("", objects.iter().map(|o| (&o.object, Some(&o.origin))));
    let pods: BTreeSet<IpAddr> = spec.pods.iter().flat_map(|pod| pod.addresses.iter().copied()).collect();
    let mut hosts: BTreeMap<IpAddr, Ports> = BTreeMap::new();
    for id in world.services.keys() {
        for slice in world.slices_of(id) {
            for port in &slice.ports {
                for endpoint in &slice.endpoints {
                    if pods.contains(&endpoint.address) {
                        spec.listen(port.protocol, port.port);
                    } else {
                        hosts.entry(endpoint.address).or_default().insert(port.protocol, port.port);
                    }
                }
            }
        }
    }
    spec.externals.extend(hosts.into_iter().map(|(address, ports)| LabHost { address, ports }));
}

/// Programs the nodes, calls every frontend from everywhere, and prints what came of it.
fn show(scene: &Scene, lab: &Lab) -> anyhow::Result<()> {
    let mut sizes = Vec::new();
    let mut worlds = Vec::new();
    for node in &lab.spec().nodes {
        let world = world_of(&node.name, scene);
        let size = lab.on_node(&node.name, || program(world.clone(), scene.settings.clone()))??;
        sizes.push(vec![node.name.clone(), size.to_string()]);
        worlds.push((node.name.clone(), world));
    }
    let Some((first, world)) = worlds.first() else { anyhow::bail!("a lab without nodes") };
    let mut frontends: BTreeSet<(FrontendKind, Frontend)> = BTreeSet::new();
    for (_, world) in &worlds {
        let mut desired = Desired::default();
        desired.replace(world.clone(), scene.settings.clone());
        frontends.extend(frontends_of(&desired));
    }
    let by_way_of_a_node: Vec<IpAddr> =
        frontends.iter().filter(|(kind, _)| *kind != FrontendKind::NodePort).map(|(_, f)| f.address).collect();
    lab.route(&by_way_of_a_node, first)?;
    let rows = call_everything(lab, first, &frontends)?;
    let services = lab.on_node(first, || get::table_text(&scene.services, world, &scene.settings, &scene.options))?;
    println!("{services}");
    println!("{}", lab::table(&rows));
    sizes.insert(0, vec!["NODE".to_owned(), "ELEMENTS IN THE KERNEL".to_owned()]);
    println!("{}", table::columns(&sizes));
    Ok(())
}

fn world_of(node: &str, scene: &Scene) -> World {
    let (mut world, _) = ingest::world(node, scene.objects.iter().map(|o| (&o.object, Some(&o.origin))));
    world.node.interface_addresses.clone_from(&world.node.addresses);
    world
}

/// Programs the node of the calling thread's namespace; returns the number of elements.
fn program(world: World, settings: Settings) -> anyhow::Result<usize> {
    let mut agent = Agent::new(NetlinkDataPlane::open()?);
    agent.set(world, settings, false);
    agent.sync()?;
    Ok(agent.contents().state().elements.len())
}

/// The frontends of all Services on one node.
fn frontends_of(desired: &Desired) -> Vec<(FrontendKind, Frontend)> {
    let plans = desired.world().services.keys().filter_map(|id| desired.plan(id));
    let ports = plans.flat_map(|plan| plan.ports).flat_map(|port| port.frontends);
    ports.map(|f| (f.kind, f.frontend)).collect()
}

fn call_everything(lab: &Lab, node: &str, frontends: &BTreeSet<(FrontendKind, Frontend)>) -> anyhow::Result<Vec<Row>> {
    let mut places: Vec<(String, Namespace)> = Vec::new();
    if let Some(pod) = lab.spec().pods.iter().find(|pod| !pod.host_network) {
        places.push((format!("pod {}", pod.name), lab.pod(&pod.namespace, &pod.name)?));
    }
    places.push((node.to_owned(), lab.node(node)?));
    places.push(("client outside".to_owned(), lab.client()));
    let mut rows = Vec::new();
    for (_, frontend) in frontends.iter().filter(|(_, f)| f.protocol != crate::model::Protocol::Sctp) {
        for (name, namespace) in &places {
            let tally = Probe::new(*frontend).patience(PATIENCE).spread(namespace, CONNECTIONS)?;
            rows.push(Row { from: name.clone(), frontend: *frontend, tally });
        }
    }
    Ok(rows)
}

fn how_to_enter(lab: &Lab, prefix: &str) -> String {
    let mut lines = vec!["The lab stays up. To enter a node, a pod or the client:".to_owned()];
    let mut enter = |what: &str, namespace: Namespace, command: &str| {
        lines.push(format!("  ip netns exec {} {command:<28} # {what}", namespace.name()));
    };
    for node in &lab.spec().nodes {
        enter(&node.name, lab.spec().node_namespace(&node.name), "nft list ruleset");
    }
    for pod in &lab.spec().pods {
        enter(&format!("pod {}/{}", pod.namespace, pod.name), lab.spec().pod_namespace(pod), "bash");
    }
    enter("the client outside", lab.client(), "bash");
    let option = if prefix == DEFAULT_PREFIX { String::new() } else { format!(" --prefix {prefix}") };
    lines.push(format!("To take it down: portolan lab down{option}\n"));
    lines.join("\n")
}
