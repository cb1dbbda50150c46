use std::{
    fmt::Write as _,
    fs, io,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

use super::{
    Attachment, LabError, LabNode, LabPod, LabSpec, Namespace, fnv1a,
    netns::{in_namespace, ip_batch, set_parameters},
    spec::ROUTER,
};
use crate::model::Family;

/// Where a pod's IPv6 default route leads: its node's end of the cable.
const GATEWAY: &str = "fe80::1";

/// The flag of an IPv6 address that cannot be used yet (linux/if_addr.h).
const IFA_F_TENTATIVE: u32 = 0x40;

/// A node's bridge, with [`Attachment::Bridge`].
const BRIDGE: &str = "cni0";

/// Kernel parameters of every namespace, set before it has interfaces.
const EVERYWHERE: &[(&str, &str)] = &[
    // Without limits, or the kernel keeps back some of the ICMP errors and a refusal looks like a drop.
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv4/icmp_ratemask", "0"),
    ("ipv4/icmp_msgs_per_sec", "1000000"),
    ("ipv4/icmp_msgs_burst", "100000"),
    ("ipv6/icmp/ratelimit", "0"),
    // IPv6 addresses work almost at once; `unsettled` says when. (The option `nodad` of an address would hide that.)
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    // Packets may arrive wherever the data plane under test sends them, and nobody teaches anybody a shorter way.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv6/conf/all/accept_redirects", "0"),
    ("ipv6/conf/default/accept_redirects", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// Kernel parameters of nodes and of the LAN's router.
const FORWARDING: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    // As on nodes whose pods stand on a bridge: bridged packets pass the ruleset too.
    ("bridge/bridge-nf-call-iptables", "1"),
    ("bridge/bridge-nf-call-ip6tables", "1"),
];

/// Somebody with a leg `eth0` in the LAN.
struct LanHost<'a> {
    namespace: Namespace,
    /// The name of the other end, on the LAN's bridge
    port: String,
    addresses: Vec<IpAddr>,
    node: Option<&'a LabNode>,
}

/// Makes the namespaces and cables of a lab. All links are up when it returns.
///
/// Every address is a host address, every route a host route, so addresses from manifests need not fit a plan.
pub(super) fn build(spec: &LabSpec) -> Result<(), LabError> {
    let hosts = lan_hosts(spec);
    let pods: Vec<&LabPod> = spec.pods.iter().filter(|pod| !pod.host_network).collect();
    let mut all = vec![spec.lan()];
    all.extend(hosts.iter().map(|host| host.namespace.clone()));
    all.extend(pods.iter().map(|pod| spec.pod_namespace(pod)));
    add_namespaces(&all)?;
    for namespace in &all {
        let forwards = *namespace == spec.lan() || hosts.iter().any(|h| h.node.is_some() && h.namespace == *namespace);
        let parameters = if forwards { FORWARDING } else { &[] };
        in_namespace(namespace, || set_parameters(EVERYWHERE).and_then(|()| set_parameters(parameters)))??;
    }

    let mut cables = String::new();
    for host in &hosts {
        cable(&mut cables, &host.namespace, &spec.lan(), &host.port);
    }
    for pod in &pods {
        cable(&mut cables, &spec.pod_namespace(pod), &spec.node_namespace(&pod.node), &cable_name(pod));
    }
    ip_batch(&cables)?;

    configure(&spec.lan(), &lan_commands(spec, &hosts))?;
    for host in &hosts {
        configure(&host.namespace, &host_commands(spec, host, &hosts))?;
    }
    for pod in &pods {
        configure(&spec.pod_namespace(pod), &pod_commands(spec, pod))?;
    }
    all.iter().try_for_each(wait_for_links)
}

/// Attaches one more pod to a running lab.
pub(super) fn attach(spec: &LabSpec, pod: &LabPod) -> Result<(), LabError> {
    let (namespace, node) = (spec.pod_namespace(pod), spec.node_namespace(&pod.node));
    add_namespaces(std::slice::from_ref(&namespace))?;
    in_namespace(&namespace, || set_parameters(EVERYWHERE))??;
    let mut commands = String::new();
    cable(&mut commands, &namespace, &node, &cable_name(pod));
    ip_batch(&commands)?;
    for host in lan_hosts(spec) {
        configure(&host.namespace, &way_to_pod(spec, &host, pod, "add"))?;
    }
    configure(&spec.lan(), &way_past_node(spec, pod, "br0", "add"))?;
    configure(&namespace, &pod_commands(spec, pod))?;
    wait_for_links(&node)?;
    wait_for_links(&namespace)
}

/// Takes a pod's cable and namespace away. Packets to its address are then lost like those to any unknown address.
pub(super) fn detach(spec: &LabSpec, pod: &LabPod) -> Result<(), LabError> {
    for host in lan_hosts(spec) {
        if host.node.is_some_and(|node| node.name == pod.node) {
            configure(&host.namespace, &format!("link del {}\n", cable_name(pod)))?;
        } else {
            configure(&host.namespace, &way_past_node(spec, pod, "eth0", "del"))?;
        }
    }
    configure(&spec.lan(), &way_past_node(spec, pod, "br0", "del"))?;
    delete_namespaces(&[spec.pod_namespace(pod)])
}

/// Sends the client's packets for these addresses to a node.
pub(super) fn route_client(spec: &LabSpec, addresses: &[IpAddr], node: &LabNode) -> Result<(), LabError> {
    let mut commands = String::new();
    for address in addresses {
        let Some(via) = of_family(&node.addresses, Family::of(*address)) else {
            let reason = format!("Node {} has no address of its family", node.name);
            return Err(LabError::Invalid { what: format!("route to {address}"), reason });
        };
        let _ = writeln!(commands, "route replace {} via {via} dev eth0", host_route(*address));
    }
    configure(&spec.client(), &commands)
}

/// Deletes namespaces by name, and with them everything in them that no process holds.
pub(super) fn delete_namespaces(namespaces: &[Namespace]) -> Result<(), LabError> {
    ip_batch(&namespaces.iter().map(|n| format!("netns del {n}\n")).collect::<String>())
}

fn add_namespaces(namespaces: &[Namespace]) -> Result<(), LabError> {
    ip_batch(&namespaces.iter().map(|n| format!("netns add {n}\n")).collect::<String>())
}

fn configure(namespace: &Namespace, commands: &str) -> Result<(), LabError> {
    if commands.is_empty() { Ok(()) } else { in_namespace(namespace, || ip_batch(commands))? }
}

/// Everybody on the LAN: nodes, the client, the external hosts (all in one namespace).
fn lan_hosts(spec: &LabSpec) -> Vec<LanHost<'_>> {
    let nodes = spec.nodes.iter().enumerate().map(|(index, node)| LanHost {
        namespace: spec.node_namespace(&node.name),
        port: format!("node{}", index + 1),
        addresses: node.addresses.clone(),
        node: Some(node),
    });
    let other = |namespace, port: &str, addresses| LanHost { namespace, port: port.to_owned(), addresses, node: None };
    let mut hosts: Vec<LanHost<'_>> = nodes.collect();
    hosts.push(other(spec.client(), "client", spec.clients.clone()));
    if !spec.externals.is_empty() {
        hosts.push(other(spec.outside(), "outside", spec.externals.iter().map(|h| h.address).collect()));
    }
    hosts
}

/// A cable from `eth0` in one namespace to `far_end` in another, both ends still down.
fn cable(commands: &mut String, near: &Namespace, far: &Namespace, far_end: &str) {
    let _ = writeln!(commands, "link add eth0 netns {near} type veth peer name {far_end} netns {far}");
}

/// The node's end of a pod's cable: `veth` and a number made of the pod's name.
fn cable_name(pod: &LabPod) -> String {
    format!("veth{:08x}", fnv1a(&pod.id()))
}

/// The LAN: a bridge, and on it a router that knows everybody and says `host unreachable` of everybody else. So a packet
/// that a data plane failed to translate comes to an end that is neither a refusal nor silence.
fn lan_commands(spec: &LabSpec, hosts: &[LanHost<'_>]) -> String {
    let mut text = "link set lo up\n".to_owned() + &bridge("br0");
    for host in hosts {
        let _ = writeln!(text, "link set {} master br0 up", host.port);
    }
    addresses(&mut text, &ROUTER, "br0");
    for address in hosts.iter().flat_map(|host| &host.addresses) {
        let _ = writeln!(text, "route add {} dev br0", host_route(*address));
    }
    for pod in spec.pods.iter().filter(|pod| !pod.host_network) {
        text += &way_past_node(spec, pod, "br0", "add");
    }
    text + "route add unreachable 0.0.0.0/0\nroute add unreachable ::/0\n"
}

/// A node, the client or the external hosts: on link with everybody on the LAN, and the router for all else.
fn host_commands(spec: &LabSpec, host: &LanHost<'_>, hosts: &[LanHost<'_>]) -> String {
    let mut text = "link set lo up\nlink set eth0 up\n".to_owned();
    addresses(&mut text, &host.addresses, "eth0");
    let others = hosts.iter().filter(|other| other.port != host.port).flat_map(|other| other.addresses.iter());
    for address in others.chain(&ROUTER).filter(|a| of_family(&host.addresses, Family::of(**a)).is_some()) {
        let _ = writeln!(text, "route add {} dev eth0", host_route(*address));
    }
    for router in ROUTER.iter().filter(|r| of_family(&host.addresses, Family::of(**r)).is_some()) {
        let _ = writeln!(text, "route add default via {router} dev eth0");
    }
    if host.node.is_some() && spec.attachment == Attachment::Bridge {
        text += &bridge(BRIDGE);
        let _ = writeln!(text, "addr add {GATEWAY}/64 dev {BRIDGE}");
    }
    for pod in spec.pods.iter().filter(|pod| !pod.host_network) {
        text += &way_to_pod(spec, host, pod, "add");
    }
    text
}

/// A bridge that forwards at once. Its own fixed hardware address does not change when ports come and go.
fn bridge(name: &str) -> String {
    format!(
        "link add {name} address 02:00:00:00:00:01 type bridge forward_delay 0 mcast_snooping 0\nlink set {name} up\n"
    )
}

/// What somebody on the LAN needs to reach a pod: its own node the cable, everybody else a route past that node.
fn way_to_pod(spec: &LabSpec, host: &LanHost<'_>, pod: &LabPod, verb: &str) -> String {
    if host.node.is_none_or(|node| node.name != pod.node) {
        return way_past_node(spec, pod, "eth0", verb);
    }
    let cable = cable_name(pod);
    let mut text = String::new();
    let device = match spec.attachment {
        Attachment::Routed => {
            let _ = writeln!(text, "link set {cable} up\naddr add {GATEWAY}/64 dev {cable}");
            cable.as_str()
        }
        Attachment::Bridge => {
            let _ =
                writeln!(text, "link set {cable} master {BRIDGE} up\nlink set {cable} type bridge_slave hairpin on");
            BRIDGE
        }
    };
    for address in &pod.addresses {
        let _ = writeln!(text, "route {verb} {} dev {device}", host_route(*address));
    }
    text
}

/// Routes to a pod by its node's addresses.
fn way_past_node(spec: &LabSpec, pod: &LabPod, device: &str, verb: &str) -> String {
    let mut text = String::new();
    let node = spec.nodes.iter().find(|node| node.name == pod.node);
    for address in &pod.addresses {
        if let Some(via) = node.and_then(|node| of_family(&node.addresses, Family::of(*address))) {
            let _ = writeln!(text, "route {verb} {} via {via} dev {device}", host_route(*address));
        }
    }
    text
}

/// A pod: one leg, and its node for everything. The IPv4 gateway is the node's own address, which answers ARP on any
/// of the node's interfaces; neighbour discovery is stricter, so the IPv6 gateway stands on the cable or the bridge.
fn pod_commands(spec: &LabSpec, pod: &LabPod) -> String {
    let mut text = "link set lo up\nlink set eth0 up\n".to_owned();
    addresses(&mut text, &pod.addresses, "eth0");
    let node = spec.nodes.iter().find(|node| node.name == pod.node);
    let of_node = |family| node.and_then(|node| of_family(&node.addresses, family));
    if let (Some(_), Some(via)) = (of_family(&pod.addresses, Family::V4), of_node(Family::V4)) {
        let _ = writeln!(text, "route add default via {via} dev eth0 onlink");
    }
    if of_family(&pod.addresses, Family::V6).is_some() {
        let _ = writeln!(text, "route add default via {GATEWAY} dev eth0");
    }
    text
}

/// Gives addresses to a device, so that the first of each family is the one used unasked: of several as good, the kernel
/// takes the oldest of IPv4 and the youngest of IPv6.
fn addresses(text: &mut String, addresses: &[IpAddr], device: &str) {
    for address in addresses.iter().filter(|a| a.is_ipv4()) {
        let _ = writeln!(text, "addr add {} dev {device}", host_route(*address));
    }
    for address in addresses.iter().rev().filter(|a| a.is_ipv6()) {
        let _ = writeln!(text, "addr add {} dev {device}", host_route(*address));
    }
}

/// `192.0.2.1/32` or `fd00::1/128`; `ip` tells the family by it.
fn host_route(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn of_family(addresses: &[IpAddr], family: Family) -> Option<IpAddr> {
    addresses.iter().copied().find(|a| Family::of(*a) == family)
}

/// Waits until packets get through. The kernel finishes links and IPv6 addresses in the background: what is sent before
/// is lost, and a lost question for a neighbour is asked again only after a second.
fn wait_for_links(namespace: &Namespace) -> Result<(), LabError> {
    in_namespace(namespace, || {
        let attempt = || format!("wait for the links of {namespace}");
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match unsettled().map_err(|e| LabError::io(attempt(), e))? {
                None => return Ok(()),
                Some(what) if Instant::now() > deadline => {
                    let reason = format!("{what} is not ready after 5 s");
                    return Err(LabError::Failed { attempt: attempt(), reason });
                }
                Some(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    })?
}

/// Something in the calling thread's namespace that is not ready: an interface that does not carry packets, or an IPv6
/// address for which the kernel does not yet listen to neighbours.
fn unsettled() -> io::Result<Option<String>> {
    let running = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let links: Vec<_> = getifaddrs()?.map(|i| (i.interface_name, i.flags.contains(running))).collect();
    // A node's bridge without pods never carries anything.
    let has_pods = links.iter().any(|(name, _)| name.starts_with("veth"));
    if let Some((name, _)) = links.into_iter().find(|(name, up)| !up && (has_pods || name != BRIDGE)) {
        return Ok(Some(name));
    }
    // Address, interface number, prefix length, scope, flags, interface.
    let addresses = fs::read_to_string("/proc/thread-self/net/if_inet6")?;
    let tentative = |line: &&str| {
        let flags = line.split_whitespace().nth(4).and_then(|flags| u32::from_str_radix(flags, 16).ok());
        flags.is_none_or(|flags| flags & IFA_F_TENTATIVE != 0)
    };
    Ok(addresses.lines().find(tentative).map(str::to_owned))
}
