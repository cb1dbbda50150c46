use std::{net::SocketAddr, path::PathBuf, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    dns::{DnsMode, DnsOptions, OptionalFile, PodMode},
    *,
};

/// The file that kubeadm writes into the ConfigMap kube-system/kube-proxy, key config.conf.
const KUBEADM: &str = include_str!("../../tests/config/kubeadm.yaml");

fn read(text: &str) -> Result<(Config, Vec<String>), String> {
    let (entries, warnings) = read_file(text, "f.yaml").map_err(|error| error.to_string())?;
    let (config, more) = resolve(entries, vec![]).map_err(|error| error.to_string())?;
    Ok((config, warnings.iter().chain(&more).map(ToString::to_string).collect()))
}

fn kube_proxy(fields: &str) -> Result<(Config, Vec<String>), String> {
    read(&format!("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n{fields}"))
}

/// A file of mode nftables, which has nothing to be warned of by itself.
fn nftables(fields: &str) -> Result<(Config, Vec<String>), String> {
    kube_proxy(&format!("mode: nftables\n{fields}"))
}

fn defaults() -> Config {
    resolve(vec![], vec![]).unwrap().0
}

#[test]
fn options_have_their_flags_names_everywhere() {
    let command = Config::command();
    let json = serde_json::to_value(defaults()).unwrap();
    let mut keys: Vec<String> = Vec::new();
    for option in command.get_arguments() {
        let flag = option.get_long().unwrap();
        let variable = format!("PORTOLAN_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(option.get_env(), Some(variable.as_ref()), "{flag}");
        keys.push(file_key(flag));
    }
    let serialized: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(serialized, keys.iter().collect::<Vec<_>>());
    let flags: Vec<_> = command.get_arguments().filter_map(|option| option.get_long()).collect();
    for doc in field_docs() {
        assert!(doc.flag.is_none_or(|flag| flags.contains(&flag)), "{doc:?}");
    }
}

#[test]
fn our_own_file_sets_options() {
    let text = "\
apiVersion: config.portolan.net/v1alpha1
kind: PortolanConfiguration
clusterCIDR: [10.244.0.0/16, fd00::/48]
serviceCidr: 10.96.0.0/12,fd01::/108
nodeIp: []
node: NODE-7
masqueradeAll: true
healthzBindAddress: \"\"
oomScoreAdj: -500
syncPeriod: 1m
events: null
";
    let (config, warnings) = read(text).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.node.cluster_cidr.len(), 2);
    assert_eq!(config.input.service_cidr[1].to_string(), "fd01::/108");
    assert_eq!(config.node.node.as_deref(), Some("node-7"));
    assert!(config.node.masquerade_all && config.api.events);
    assert_eq!(config.serving.healthz(), None);
    assert_eq!(config.process.oom_score_adj, -500);
    assert_eq!(config.sync.sync_period, Duration::from_secs(60));
    // Neither the header nor anything else is needed.
    assert_eq!(read("# nothing\n").unwrap().0, defaults());
    assert_eq!(read("masqueradeBit: 3\n").unwrap().0.node.masquerade_bit, 3);
}

#[test]
fn what_is_wrong_with_our_own_file_is_named_with_its_place() {
    let cases = [
        ("a: 1\nb: [", "f.yaml:"),
        ("clusterCidrs: 10.0.0.0/8", "f.yaml:1:1: clusterCidrs: there is no such field; is clusterCidr meant?"),
        ("iptables: {}", "f.yaml:1:1: iptables: there is no such field; kube-proxy has it"),
        ("frobnicate: 1", "f.yaml:1:1: frobnicate: there is no such field; docs/configuration.md lists all"),
        ("\nclusterCidr: 10.0.0.0/33", "f.yaml:2:14: clusterCidr: \"10.0.0.0/33\" is no range"),
        ("masqueradeBit: 32", "f.yaml:1:16: masqueradeBit: 32 is not in 0..32"),
        ("masqueradeBit: [1, {a: 2}]", "f.yaml:1:20: masqueradeBit[1]: is fields (name: value)"),
        ("masqueradeAll: perhaps", "f.yaml:1:16: masqueradeAll: "),
        ("detectLocalMode: Guess", "f.yaml:1:18: detectLocalMode: invalid value 'Guess'"),
        ("syncPeriod: 5", "f.yaml:1:13: syncPeriod: \"5\" is no duration"),
        ("minSyncPeriod: 2m", "f.yaml:1:16: minSyncPeriod: is longer than the sync period"),
        ("healthzBindAddress: 0.0.0.0", "f.yaml:1:21: healthzBindAddress: \"0.0.0.0\" is no address with a port"),
        ("clusterCIDR: 10.0.0.0/8\nclusterCidr: 10.0.0.0/8", "f.yaml:2:1: clusterCidr: stands here a second time"),
        ("- a\n", "f.yaml:1:1: the file: is a list"),
        ("apiVersion: v1\nkind: ConfigMap\n", "f.yaml:2:7: kind: ConfigMap of v1 is no configuration"),
    ];
    for (text, beginning) in cases {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(beginning), "{text:?}: {error}");
    }
    assert!(read("apiVersion: v1\nkind: ConfigMap\n").unwrap_err().contains("config.conf"));
}

#[test]
fn of_two_ranges_of_one_family_the_second_is_named() {
    let (_, warnings) = read("clusterCidr: 10.0.0.0/16,10.1.0.0/16\n").unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("f.yaml:1:14: clusterCidr: 10.1.0.0/16 is ignored"), "{warnings:?}");
}

#[test]
fn kubeadms_file_works_as_it_is() {
    let (config, warnings) = read(KUBEADM).unwrap();
    assert_eq!(config.api.kubeconfig, Some(PathBuf::from("/var/lib/kube-proxy/kubeconfig.conf")));
    assert_eq!(config.node.cluster_cidr, ["10.244.0.0/16".parse().unwrap()]);
    assert_eq!(config.node.nodeport_addresses, [NodePortAddress::All]);
    let mut rest = config;
    (rest.api, rest.node) = (defaults().api, defaults().node);
    assert_eq!(rest, defaults());
    // What is to be said: the mode, and what follows from it for node ports. Nothing of all the empty values.
    let [mode, node_ports] = &warnings[..] else { panic!("{warnings:#?}") };
    assert_eq!(mode, "f.yaml:52:7: mode: is empty, which means iptables; Portolan programs nftables and nothing else");
    assert!(
        node_ports.starts_with("f.yaml:58:20: nodePortAddresses: is empty, which in mode iptables"),
        "{node_ports}"
    );
}

#[test]
fn a_file_of_mode_nftables_has_nothing_to_be_warned_of() {
    let fields = "\
bindAddress: 192.168.1.7
clusterCIDR: 10.244.0.0/16,fd00::/48
metricsBindAddress: 0.0.0.0:10249
healthzBindAddress: 0.0.0.0
configSyncPeriod: 15m0s
iptables: {masqueradeBit: 14, syncPeriod: 30s, minSyncPeriod: 1s}
nftables: {masqueradeBit: 15, masqueradeAll: true, syncPeriod: 1h15m0s, minSyncPeriod: 0s}
detectLocalMode: BridgeInterface
detectLocal: {bridgeInterface: cni0}
hostnameOverride: Node-1
oomScoreAdj: -998
logging: {format: text, flushFrequency: 5000000000}
clientConnection: {qps: 5, burst: 10, contentType: application/vnd.kubernetes.protobuf}
";
    let (config, warnings) = nftables(fields).unwrap();
    assert_eq!(warnings, [""; 0]);
    let node = &config.node;
    assert_eq!(node.node_ip, ["192.168.1.7".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((node.masquerade_bit, node.masquerade_all), (15, true));
    assert_eq!(
        (node.detect_local_mode, node.pod_bridge_interface.as_deref()),
        (Some(DetectLocalMode::BridgeInterface), Some("cni0"))
    );
    assert_eq!((node.node.as_deref(), node.cluster_cidr.len()), (Some("node-1"), 2));
    assert_eq!(node.nodeport_addresses, [NodePortAddress::Primary]);
    assert_eq!(config.sync.sync_period, Duration::from_secs(75 * 60));
    assert_eq!(config.sync.min_sync_period, Duration::from_millis(100));
    assert_eq!(config.serving.metrics().unwrap().to_string(), "0.0.0.0:10249");
    assert_eq!(config.serving.healthz().unwrap().to_string(), "0.0.0.0:10256");
    assert_eq!(config.process.oom_score_adj, -998);
}

#[test]
fn conntrack_stands_in_the_old_place_or_under_linux() {
    let fields = "maxPerCore: 0, min: 5, tcpEstablishedTimeout: 0s, tcpBeLiberal: true, udpTimeout: 30s";
    for text in [format!("conntrack: {{{fields}}}\n"), format!("linux: {{conntrack: {{{fields}}}}}\n")] {
        let conntrack = nftables(&text).unwrap().0.conntrack;
        assert_eq!((conntrack.max_per_core, conntrack.min, conntrack.tcp_be_liberal), (0, 5, true));
        assert_eq!(conntrack.tcp_timeout_established, Duration::ZERO);
        assert_eq!(conntrack.tcp_timeout_close_wait, Duration::from_secs(3600));
        assert_eq!(conntrack.udp_timeout, Duration::from_secs(30));
    }
    let error = nftables("conntrack: {min: 5}\nlinux: {conntrack: {min: 6}}\n").unwrap_err();
    assert_eq!(error, "f.yaml:5:26: linux.conntrack.min: says something else than conntrack.min, which means the same");
}

#[test]
fn fields_without_a_meaning_are_named_once_each_if_they_were_set() {
    let fields = "\
featureGates: {A: true, B: false}
clientConnection: {qps: 50}
configSyncPeriod: 5m
enableProfiling: true
ipvs: {scheduler: wrr, excludeCIDRs: [10.0.0.0/8], syncPeriod: 45s}
iptables: {localhostNodePorts: true, masqueradeBit: 20, masqueradeAll: true}
logging: {verbosity: 4, options: {json: {infoBufferSize: 1Mi}}}
winkernel: {enableDSR: true}
udpIdleTimeout: 250ms
clusterCidr: 10.0.0.0/8
";
    let (config, warnings) = nftables(fields).unwrap();
    let field = |warning: &String| warning.split(": ").nth(1).unwrap().to_owned();
    let mut named: Vec<String> = warnings.iter().map(field).collect();
    named.sort();
    let expected = [
        "clientConnection.qps",
        "clusterCidr",
        "configSyncPeriod",
        "enableProfiling",
        "featureGates.A",
        "featureGates.B",
        "iptables.localhostNodePorts",
        "iptables.masqueradeAll",
        "iptables.masqueradeBit",
        "ipvs.excludeCIDRs",
        "ipvs.scheduler",
        "ipvs.syncPeriod",
        "logging.options",
        "logging.verbosity",
        "udpIdleTimeout",
        "winkernel.enableDSR",
    ];
    assert_eq!(named, expected);
    assert_eq!(config, defaults());
    let near = warnings.iter().find(|warning| warning.contains(" clusterCidr: ")).unwrap();
    assert!(near.ends_with("is clusterCIDR meant?"), "{near}");
}

#[test]
fn what_kube_proxy_would_refuse_is_refused_with_its_place() {
    let cases = [
        ("hostnameOverride: 5", "f.yaml:4:19: hostnameOverride: is \"5\", a number; a text (in quotes) is wanted"),
        ("enableProfiling: \"true\"", "f.yaml:4:18: enableProfiling: is \"true\", a text; true or false is wanted"),
        ("oomScoreAdj: 1.5", "f.yaml:4:14: oomScoreAdj: "),
        ("oomScoreAdj: -1001", "f.yaml:4:14: oomScoreAdj: -1001 is not in -1000..=1000"),
        ("configSyncPeriod: 15", "f.yaml:4:19: configSyncPeriod: is \"15\", a number; a duration"),
        ("configSyncPeriod: 15 minutes", "f.yaml:4:19: configSyncPeriod: \"15 minutes\" is no duration"),
        ("iptables: 1", "f.yaml:4:11: iptables: is \"1\", a number; fields (name: value) is wanted"),
        ("nodePortAddresses: primary", "f.yaml:4:20: nodePortAddresses: is \"primary\", a text; a list of texts"),
        ("nodePortAddresses: [everywhere]", "f.yaml:4:20: nodePortAddresses: \"everywhere\" is no range"),
        ("clusterCIDR: 10.0.0.0", "f.yaml:4:14: clusterCIDR: \"10.0.0.0\" is no range"),
        ("bindAddress: here", "f.yaml:4:14: bindAddress: \"here\" is no IP address"),
        ("nftables: {masqueradeBit: 32}", "f.yaml:4:27: nftables.masqueradeBit: 32 is not in 0..32"),
        ("detectLocalMode: BridgeInterface", "f.yaml:4:18: detectLocalMode: needs --pod-bridge-interface"),
    ];
    for (text, beginning) in cases {
        let error = nftables(text).unwrap_err();
        assert!(error.starts_with(beginning), "{text:?}: {error}");
    }
    assert!(kube_proxy("mode: userspace\n").unwrap_err().starts_with("f.yaml:3:7: mode: \"userspace\" is no mode"));
}

#[test]
fn an_ipv6_bind_address_moves_the_servers_there() {
    let (config, _) = nftables("bindAddress: '::'\nmetricsBindAddress: '::1'\n").unwrap();
    assert_eq!(config.serving.healthz().unwrap().to_string(), "[::]:10256");
    assert_eq!(config.serving.metrics().unwrap().to_string(), "[::1]:10249");
    assert!(config.node.node_ip.is_empty());
}

fn duration() -> impl Strategy<Value = Duration> {
    (1..10_000_000_u64, select(vec![1_000_000_u64, 1_000_000_000, 3_000_001]))
        .prop_map(|(n, unit)| Duration::from_nanos(n * unit))
}

fn bind() -> impl Strategy<Value = BindAddress> {
    let addresses = select(vec!["0.0.0.0:10256", "[::1]:1", "127.0.0.1:65535"]);
    option::of(addresses).prop_map(|a| BindAddress(a.map(|a| a.parse::<SocketAddr>().unwrap())))
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["true", "null", "007", "1e3", "node-1", "0x1f", "a.b", "1.5", "no", "y"]).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = PathBuf> {
    select(vec!["-", "a b", "~", "x: y", "#z", "a,b", "ü/\"q\"", "1", "[a]", "/var/lib"]).prop_map(PathBuf::from)
}

fn node_options() -> impl Strategy<Value = NodeOptions> {
    let cidrs = || vec(select(vec!["10.0.0.0/8", "fd00::/48", "0.0.0.0/0"]).prop_map(|c| c.parse().unwrap()), 0..3);
    let entry = prop_oneof![
        Just(NodePortAddress::Primary),
        Just(NodePortAddress::All),
        Just(NodePortAddress::Range("10.1.0.0/16".parse().unwrap()))
    ];
    let ips = vec(select(vec!["192.0.2.1", "2001:db8::1"]).prop_map(|a| a.parse().unwrap()), 0..3);
    let mode = option::of(select(vec![DetectLocalMode::ClusterCidr, DetectLocalMode::NodeCidr]));
    let interface = || option::of(name().prop_filter("an interface's name", |n| n.len() < 16));
    (option::of(name()), ips, cidrs(), mode, interface(), interface(), vec(entry, 1..3), any::<bool>(), 0..32_u8)
        .prop_map(
            |(
                node,
                node_ip,
                cluster_cidr,
                detect_local_mode,
                bridge,
                prefix,
                nodeport_addresses,
                masquerade_all,
                bit,
            )| {
                NodeOptions {
                    node,
                    node_ip,
                    cluster_cidr,
                    detect_local_mode,
                    pod_bridge_interface: bridge,
                    pod_interface_name_prefix: prefix,
                    nodeport_addresses,
                    masquerade_all,
                    masquerade_bit: bit,
                }
            },
        )
}

prop_compose! {
    fn dns_options()(
        (dns_ttl, dns_port, dns_threads, size) in (0..=3600_u32, 1..u16::MAX, 0..=1024_u16, any::<u64>()),
        pods in select(vec![PodMode::Disabled, PodMode::Insecure, PodMode::Verified]),
        upstreams in vec(select(vec!["192.0.2.1:53", "[fd00::1]:5353", "/a/resolv.conf"]), 1..3),
        stubs in vec(select(vec!["corp.example=192.0.2.1", "a.b=[fd00::1]:99"]), 0..3),
        ranges in vec(Just("10.244.0.0/16".parse().unwrap()), 0..2),
        addresses in vec(select(vec!["192.0.2.1", "fd00::1"]).prop_map(|a| a.parse().unwrap()), 0..3),
        snapshot in option::of(path()),
        (mode, health, ready, metrics) in (any::<bool>(), bind(), bind(), bind()),
    ) -> DnsOptions {
        let text = |texts: Vec<&str>| texts.join(",");
        let mut given = vec![Entry::new("dns-upstreams", text(upstreams))];
        if !stubs.is_empty() {
            given.push(Entry::new("dns-stub-domains", text(stubs)));
        }
        DnsOptions {
            dns: if mode { DnsMode::Local } else { DnsMode::Central },
            dns_ttl,
            dns_pods: pods,
            dns_pod_cidr: ranges,
            dns_bind_address: addresses,
            dns_port,
            dns_cache_size: size,
            dns_snapshot_file: OptionalFile(snapshot),
            dns_threads,
            dns_health_bind_address: health,
            dns_ready_bind_address: ready,
            dns_metrics_bind_address: metrics,
            ..resolve(vec![], given).unwrap().0.dns
        }
    }
}

prop_compose! {
    fn config()(
        node in node_options(),
        manifests in vec(path(), 0..3),
        service_cidr in vec(Just("10.96.0.0/12".parse().unwrap()), 0..2),
        state_dir in path(),
        (apiserver, kubeconfig) in (option::of(Just("https://[fd00::1]:6443".to_owned())), option::of(path())),
        (min, sync) in (duration(), duration()),
        flags in any::<[bool; 7]>(),
        (healthz, metrics) in (bind(), bind()),
        page in option::of(Just("[::1]:10245".parse().unwrap())).prop_map(BindAddress),
        (limit, max_per_core, at_least) in (any::<u32>(), 0..i32::MAX as u32, 0..i32::MAX as u32),
        timeouts in [duration(), duration(), duration(), duration()],
        oom_score_adj in -1000..=1000_i16,
        dns in dns_options(),
    ) -> Config {
        let [events, own_table, dry_run, cleanup_kube_proxy, hard_fail, liberal, init_only] = flags;
        Config {
            input: InputOptions { manifests, service_cidr, load_balancer_pool: vec![], state_dir },
            api: ApiOptions { apiserver, kubeconfig, events },
            node,
            sync: SyncOptions {
                min_sync_period: min.min(sync),
                sync_period: sync,
                own_table,
                dry_run,
                cleanup_kube_proxy,
            },
            serving: ServingOptions {
                healthz_bind_address: healthz,
                metrics_bind_address: metrics,
                page_address: page,
                bind_address_hard_fail: hard_fail,
                service_metrics_limit: limit,
            },
            conntrack: ConntrackOptions {
                max_per_core,
                min: at_least,
                tcp_timeout_established: timeouts[0],
                tcp_timeout_close_wait: timeouts[1],
                tcp_be_liberal: liberal,
                udp_timeout: timeouts[2],
                udp_timeout_stream: timeouts[3],
            },
            dns,
            process: ProcessOptions { oom_score_adj, init_only },
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(config in config()) {
        let text = to_yaml(&config).unwrap();
        let (read, _) = read(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read, config, "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\n]{0,200}") {
        let _ = read(&text);
        let _ = kube_proxy(&text);
    }
}
