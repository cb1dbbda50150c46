//! `portolan explain`: why a Service works or does not.

mod cluster;
mod live;
mod names;
mod show;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Arg, Args};
use tracing::warn;

use super::{
    NodeArgs, RunArgs, input,
    resolve::{self, Format},
    table,
};
use crate::{
    config::Config,
    explain::{self, Dialled, Question, Scene, Source, Verdict},
    model::Node,
};

/// Where an agent serves its metrics if nobody chose.
const AGENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);

const EXAMPLES: &str = "\
Examples:
  portolan explain shop/web:80 -f manifests/ --node node-1                     from some pod of this node
  portolan explain web.shop:80 -f manifests/ --node node-1 --from shop/client  from that pod, by name
  portolan explain 192.0.2.127:80 -f manifests/ --node node-1 --from 203.0.113.9
  portolan explain node-2:30080 -f manifests/ --node node-1                    from outside the cluster
  portolan explain shop/web:80 -f manifests/ --node node-1 --from host -o json
  portolan explain shop/web:80 -f manifests/ --node node-1 --live              and is it so on this node?
  portolan explain shop/web:80 --live                                          the same, of the API server's objects";

/// Options of `portolan run` that are shown here; the others are taken, and not shown.
const SHOWN: [&str; 17] = [
    "config",
    "manifests",
    "apiserver",
    "kubeconfig",
    "service_cidr",
    "load_balancer_pool",
    "state_dir",
    "node",
    "node_ip",
    "cluster_cidr",
    "detect_local_mode",
    "nodeport_addresses",
    "masquerade_all",
    "corefile",
    "dns_cluster_domain",
    "dns_upstreams",
    "metrics_bind_address",
];

/// Say why a Service works or does not: the way of a connection's first packet, step by step, each decision with its
/// reason, and at last one sentence: works; works, but ...; does not work because ..., and what to do.
///
/// TARGET is a name as a pod uses it (web, web.shop, web.shop.svc.cluster.local), a Service as NAMESPACE/NAME, an IP
/// address, or the name of a node; an IPv6 address with a port stands in brackets. PORT is a number or the name of a
/// service port; it may be left out where there is only one. PROTO is TCP, UDP or SCTP.
///
/// The decisions are those that `portolan run` takes from the same objects, by the same code. Without --from, the client
/// is some pod of this node for names, Services and cluster IPs, and somebody outside the cluster for all else. Where
/// another node decides - the client's own, or that whose node port is dialled - it is told what that one does.
///
/// With --live, on the node itself and as root, what the kernel holds is compared with what the objects ask for, and all is
/// looked at that may come between: nothing is changed. Without manifests the objects are those of the API server, which is
/// reached as `portolan run` reaches it.
///
/// Exit code: 0 it works, perhaps with a but; 1 it does not; 2 the question is wrong, or nothing could be read.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, mut_args = shown)]
pub struct ExplainArgs {
    /// What is dialled
    #[arg(value_name = "TARGET[:PORT[/PROTO]]", value_parser = Dialled::parse)]
    target: Dialled,
    /// Who dials: POD, NAMESPACE/POD, host (this node), or an IP address
    #[arg(long, value_name = "SOURCE", value_parser = Source::parse)]
    from: Option<Source>,
    /// Look at this node, too: its tables, its agent, tracked connections, routes, rules of others
    #[arg(long)]
    live: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    options: RunArgs,
}

fn shown(arg: Arg) -> Arg {
    resolve::one_path(arg, &SHOWN, &["target", "from", "live", "output"])
}

pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let config = args.options.of_answers()?;
    let mut scene = scene(args, &config)?;
    check_node(args.options.names_node()?, &scene)?;
    if args.live && scene.world.node.interface_addresses.is_empty() {
        // Node ports do not answer on all of them, and somebody may have dialled another. Who may not read them is told so
        // when the node is looked at.
        scene.world.node.interface_addresses = input::interface_addresses().unwrap_or_default();
    }
    let mut question = Question { source: args.from.clone(), dialled: args.target.clone(), resolution: None };
    question.resolution = names::resolve(&question, &config, &scene.objects, args.live)?;
    let decides = explain::deciding_node(&question, &scene);
    let here = decides.is_none();
    if let Some(node) = decides {
        question = question.from_afar(&scene);
        scene = on_node(&node, &config, scene)?;
    }
    let offline = || explain::explain(&question, &scene, None).map_err(anyhow::Error::msg);
    let mut explanation = offline()?;
    if args.live && here {
        let observed = live::observe(&explanation, &question, &scene, &config);
        explanation = explain::explain(&question, &scene, Some(&observed)).map_err(anyhow::Error::msg)?;
    } else if args.live {
        let node = &scene.world.node.name;
        warn!("{node} decides, and this is another node: nothing was looked at; ask with --live there");
    }
    let text = match args.output {
        Format::Text => show::text(&explanation, &scene.world.node.name),
        Format::Json => serde_json::to_string_pretty(&explanation)? + "\n",
    };
    table::print(&text)?;
    Ok(ExitCode::from(u8::from(explanation.verdict == Verdict::Fails)))
}

/// The cluster: as manifests have it, or else the API server, as `portolan run` has it.
fn scene(args: &ExplainArgs, config: &Config) -> anyhow::Result<Scene> {
    let server = args.live || config.api.apiserver.is_some() || config.api.kubeconfig.is_some();
    match (config.input.manifests.is_empty(), server) {
        (true, true) => cluster::scene(config),
        (true, false) => {
            bail!(
                "nothing to answer from: give manifests with -f, or have the API server asked: --live or --kubeconfig"
            )
        }
        (false, _) => {
            let addresses = |node: &Node| interface_addresses(node, args.live);
            let loaded = input::load_with(&config.input, &config.node, input::Allocating::ReadOnly, addresses);
            let loaded = loaded.context("nothing to answer from")?;
            let unread: Vec<_> = loaded.notices.iter().filter(|notice| notice.object.is_none()).collect();
            let nothing = !unread.is_empty() && loaded.objects.is_empty();
            input::print_notices(unread);
            if nothing {
                bail!("nothing to answer from: no object of the manifests could be read");
            }
            let scene = Scene::new(loaded.world, loaded.settings, loaded.objects, loaded.notices, loaded.options);
            Ok(scene.leaving_out(loaded.left_out))
        }
    }
}

/// The addresses of a node's interfaces. The machine that answers need not be that node: its own are taken only if it is,
/// or where nobody says those of the node.
fn interface_addresses(node: &Node, live: bool) -> anyhow::Result<Vec<IpAddr>> {
    let own = input::interface_addresses().context("cannot list the addresses of the interfaces")?;
    let is_it = live || node.addresses.is_empty() || node.addresses.iter().any(|address| own.contains(address));
    Ok(if is_it { own } else { node.addresses.clone() })
}

/// The answer for a node that is none would be a wrong one. Manifests for any node may be asked on a machine that is none.
fn check_node(given: bool, scene: &Scene) -> anyhow::Result<()> {
    let own = &*scene.world.node.name;
    let nodes: Vec<&str> = scene.node_names().collect();
    if nodes.is_empty() || nodes.contains(&own) {
        return Ok(());
    }
    let few = 10;
    let more = nodes.len().saturating_sub(few);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let there = format!("there are {}{more}", nodes[..nodes.len().min(few)].join(", "));
    if given {
        bail!("--node: there is no node {own}; {there}");
    }
    let name = format!("this machine's name is {own}, and there is no such node; {there}: say which with --node");
    if scene.api.is_some() {
        bail!(name);
    }
    warn!("{name}");
    Ok(())
}

/// The same cluster as another node has it. What that one was told on its command line is not known here; what this one
/// was told of itself is not the other's.
fn on_node(name: &str, config: &Config, scene: Scene) -> anyhow::Result<Scene> {
    let node = NodeArgs { node: Some(name.to_owned()), node_ip: Vec::new(), ..config.node.clone() };
    let Scene { objects, notices, options, api, left_out, .. } = scene;
    let (world, settings, _) = input::world(&objects, &config.input, &node, |node| Ok(node.addresses.clone()))?;
    let scene = Scene::new(world, settings, objects, notices, options).leaving_out(left_out);
    Ok(match api {
        Some(lists) => scene.of_api(lists),
        None => scene,
    })
}
