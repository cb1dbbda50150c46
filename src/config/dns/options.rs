use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::{
    CacheOptions, DNS_PORT, DnsConfig, Fallthrough, ForwardOptions, HealthOptions, KubernetesOptions, Name, PodNames,
    ServerBlock, Upstream, corefile,
};
use crate::config::values::{BindAddress, bind_address, cidr};

/// Who answers for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DnsMode {
    /// Nobody of ours
    Off,
    /// This node's agent, at the cluster IP of the DNS Service; the Service's own endpoints when it cannot
    Local,
    /// A process that is an endpoint of the DNS Service
    Central,
}

/// Which pods have names (1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PodMode {
    /// None
    Disabled,
    /// Every address in a namespace that there is
    Insecure,
    /// Those that are there
    Verified,
    /// Every address of the ranges for pods in a namespace that there is
    Cidr,
}

/// Names: made of these options, or all of it from a Corefile.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsOptions {
    /// Answer for the cluster's names: "local" on this node, at the cluster IP of the DNS Service, with the Service
    /// itself behind when we cannot; "central" as an endpoint of that Service
    #[arg(long, value_name = "MODE", default_value = "off", env = "PORTOLAN_DNS")]
    pub dns: DnsMode,

    /// Take everything about names from a CoreDNS Corefile; the options --dns-... that say what is answered are then
    /// refused
    #[arg(long, value_name = "PATH", env = "PORTOLAN_COREFILE")]
    pub corefile: Option<PathBuf>,

    /// The cluster's domain
    #[arg(
        long,
        value_name = "DOMAIN",
        default_value = "cluster.local",
        value_parser = domain,
        env = "PORTOLAN_DNS_CLUSTER_DOMAIN"
    )]
    #[serde(serialize_with = "written")]
    pub dns_cluster_domain: Name,

    /// Seconds that answers about the cluster may be kept
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(0..=3600),
        env = "PORTOLAN_DNS_TTL"
    )]
    pub dns_ttl: u32,

    /// Which names such as 10-244-1-5.default.pod.cluster.local there are
    #[arg(long, value_name = "MODE", default_value = "insecure", env = "PORTOLAN_DNS_PODS")]
    pub dns_pods: PodMode,

    /// With --dns-pods=cidr: the ranges of pod addresses [default: --cluster-cidr]
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr, env = "PORTOLAN_DNS_POD_CIDR")]
    pub dns_pod_cidr: Vec<IpNet>,

    /// Who is asked for names outside of the cluster: IP[:PORT], or files in the form of resolv.conf
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "/etc/resolv.conf",
        value_parser = upstream,
        env = "PORTOLAN_DNS_UPSTREAMS"
    )]
    #[serde(serialize_with = "written_list")]
    pub dns_upstreams: Vec<Upstream>,

    /// Who is asked for some domains instead: DOMAIN=IP[:PORT], again for another server of the same domain
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = stub_domain,
        env = "PORTOLAN_DNS_STUB_DOMAINS"
    )]
    pub dns_stub_domains: Vec<StubDomain>,

    /// The Service that pods ask, as NAMESPACE/NAME; its cluster IPs are those of ns.dns in the cluster's domain
    #[arg(
        long,
        value_name = "SERVICE",
        default_value = "kube-system/kube-dns",
        value_parser = service,
        env = "PORTOLAN_DNS_SERVICE"
    )]
    #[serde(serialize_with = "written_service")]
    pub dns_service: (String, String),

    /// Addresses to answer on besides [default: all with --dns=central, none with --dns=local]
    #[arg(long, value_name = "IP", value_delimiter = ',', env = "PORTOLAN_DNS_BIND_ADDRESS")]
    pub dns_bind_address: Vec<IpAddr>,

    /// Port to answer on
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = DNS_PORT,
        value_parser = clap::value_parser!(u16).range(1..),
        env = "PORTOLAN_DNS_PORT"
    )]
    pub dns_port: u16,

    /// Memory for answers of others, in bytes, or as 512Ki, 32Mi; 0 keeps none
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "32Mi",
        value_parser = size,
        env = "PORTOLAN_DNS_CACHE_SIZE"
    )]
    pub dns_cache_size: u64,

    /// Where the last names are kept, for a start while the API server is away; empty is off. Not with --dns=local: until
    /// a node knows all names the DNS Service's endpoints answer
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/lib/portolan/names",
        value_parser = optional_file,
        env = "PORTOLAN_DNS_SNAPSHOT_FILE"
    )]
    pub dns_snapshot_file: OptionalFile,

    /// Threads that answer; 0 is one for each CPU
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=1024),
        env = "PORTOLAN_DNS_THREADS"
    )]
    pub dns_threads: u16,

    /// Where /health answers as CoreDNS does; empty is off [default: [::]:8080 with --dns=central, else off]
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true,
        value_parser = bind_address,
        env = "PORTOLAN_DNS_HEALTH_BIND_ADDRESS"
    )]
    pub dns_health_bind_address: BindAddress,

    /// Where /ready answers as CoreDNS does; empty is off [default: [::]:8181 with --dns=central, else off]
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true,
        value_parser = bind_address,
        env = "PORTOLAN_DNS_READY_BIND_ADDRESS"
    )]
    pub dns_ready_bind_address: BindAddress,

    /// Where /metrics answers with CoreDNS's names; empty is off [default: [::]:9153 with --dns=central, else off]
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true,
        value_parser = bind_address,
        env = "PORTOLAN_DNS_METRICS_BIND_ADDRESS"
    )]
    pub dns_metrics_bind_address: BindAddress,
}

/// Options that say what is answered, which a Corefile says instead.
pub(in crate::config) const INSTEAD_OF_A_COREFILE: [&str; 12] = [
    "dns-cluster-domain",
    "dns-ttl",
    "dns-pods",
    "dns-pod-cidr",
    "dns-upstreams",
    "dns-stub-domains",
    "dns-bind-address",
    "dns-port",
    "dns-cache-size",
    "dns-health-bind-address",
    "dns-ready-bind-address",
    "dns-metrics-bind-address",
];

impl DnsOptions {
    /// What these options say, in the way that kubeadm's Corefile says it. `cluster_cidr` are the ranges of pods if none
    /// were given for names. A Corefile is not looked at.
    pub fn config(&self, cluster_cidr: &[IpNet]) -> DnsConfig {
        let reverse: Vec<Name> = ["in-addr.arpa", "ip6.arpa"].iter().filter_map(|zone| domain(zone).ok()).collect();
        let zones = [vec![self.dns_cluster_domain.clone()], reverse.clone()].concat();
        let pod_cidr = if self.dns_pod_cidr.is_empty() { cluster_cidr } else { &self.dns_pod_cidr };
        let kubernetes = KubernetesOptions {
            ttl: self.dns_ttl,
            pods: match self.dns_pods {
                PodMode::Disabled => PodNames::Disabled,
                PodMode::Insecure => PodNames::Insecure,
                PodMode::Verified => PodNames::Verified,
                PodMode::Cidr => PodNames::Ranges(pod_cidr.to_vec()),
            },
            fallthrough: Fallthrough::Zones(reverse),
            dns_service: self.dns_service.clone(),
            ..KubernetesOptions::new(zones)
        };
        let octets = usize::try_from(self.dns_cache_size).unwrap_or(usize::MAX);
        let server = ServerBlock {
            bind: self.dns_bind_address.clone(),
            errors: true,
            health: self.dns_health_bind_address.0.map(|address| HealthOptions { address, ..HealthOptions::default() }),
            ready: self.dns_ready_bind_address.0,
            prometheus: self.dns_metrics_bind_address.0,
            shuffle: true,
            kubernetes: Some(kubernetes),
            cache: (octets > 0).then(|| CacheOptions { octets, ..CacheOptions::default() }),
            detect_loops: true,
            forwards: self.forwards(),
            ..ServerBlock::new(vec![Name::root_vec()], self.dns_port)
        };
        DnsConfig { servers: vec![server] }
    }

    /// Makes of a Corefile's configuration the one that applies. A block that names no DNS Service has that of
    /// `--dns-service`. On a node nothing is listened on but the DNS Service's own addresses: probes and metrics are
    /// those of the agent.
    pub fn settle(&self, mut config: DnsConfig) -> DnsConfig {
        for server in &mut config.servers {
            if let Some(kubernetes) = &mut server.kubernetes
                && kubernetes.dns_service == KubernetesOptions::new(Vec::new()).dns_service
            {
                kubernetes.dns_service = self.dns_service.clone();
            }
            if self.dns == DnsMode::Local {
                server.bind.clear();
                (server.health, server.ready, server.prometheus) = (None, None, None);
            }
        }
        config
    }

    /// One for each stub domain, and one for everything else.
    fn forwards(&self) -> Vec<ForwardOptions> {
        let limited =
            |from: &Name, to| ForwardOptions { max_concurrent: 1000, ..ForwardOptions::new(from.clone(), to) };
        let mut forwards: Vec<ForwardOptions> = Vec::new();
        for StubDomain { domain, server } in &self.dns_stub_domains {
            match forwards.iter_mut().find(|forward| forward.from == *domain) {
                Some(forward) => forward.to.push(Upstream::Address(*server)),
                None => forwards.push(limited(domain, vec![Upstream::Address(*server)])),
            }
        }
        forwards.push(limited(&Name::root_vec(), self.dns_upstreams.clone()));
        forwards
    }
}

/// A domain and a server that knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubDomain {
    /// Names at or below this
    pub domain: Name,
    /// are asked of this
    pub server: SocketAddr,
}

impl Serialize for StubDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}={}", self.domain, self.server))
    }
}

/// A file, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalFile(pub Option<PathBuf>);

impl Serialize for OptionalFile {
    /// The path, or an empty text for none: what `optional_file` reads.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(path) => path.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Upstream::Address(address) => write!(f, "{address}"),
            Upstream::ResolvConf(path) => write!(f, "{}", path.display()),
        }
    }
}

fn written<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn written_list<S: Serializer>(values: &[impl fmt::Display], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

fn written_service<S: Serializer>(service: &(String, String), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}/{}", service.0, service.1))
}

fn domain(text: &str) -> Result<Name, String> {
    corefile::name(text)
}

fn upstream(text: &str) -> Result<Upstream, String> {
    corefile::upstream(text)
}

fn stub_domain(text: &str) -> Result<StubDomain, String> {
    let wrong = || format!("{text:?} is no DOMAIN=IP[:PORT] such as corp.example=10.0.0.53");
    let (name, server) = text.split_once('=').ok_or_else(wrong)?;
    match upstream(server)? {
        Upstream::Address(server) => Ok(StubDomain { domain: domain(name)?, server }),
        Upstream::ResolvConf(_) => Err(wrong()),
    }
}

fn service(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = parts.ok_or_else(|| format!("{text:?} is no NAMESPACE/NAME"))?;
    Ok((namespace.to_owned(), name.to_owned()))
}

fn size(text: &str) -> Result<u64, String> {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];
    let unit = units.iter().find_map(|(unit, octets)| Some((text.strip_suffix(unit)?, *octets)));
    let (number, octets) = unit.unwrap_or((text, 1_u64));
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(octets));
    size.ok_or_else(|| format!("{text:?} is no size such as 33554432, 512Ki or 32Mi"))
}

fn optional_file(text: &str) -> Result<OptionalFile, String> {
    Ok(OptionalFile(if text.is_empty() { None } else { Some(text.into()) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Entry, resolve};

    fn options(given: &[(&str, &str)]) -> DnsOptions {
        let given = given.iter().map(|(flag, value)| Entry::new(flag, *value)).collect();
        resolve(vec![], given).unwrap().0.dns
    }

    #[test]
    fn without_options_names_are_kubeadms() {
        let options = options(&[]);
        assert_eq!(options.dns, DnsMode::Off);
        let mut config = options.config(&[]);
        let server = config.servers.remove(0);
        let kubernetes = server.kubernetes.unwrap();
        assert_eq!((kubernetes.ttl, kubernetes.pods, kubernetes.zones.len()), (5, PodNames::Insecure, 3));
        assert!(matches!(&kubernetes.fallthrough, Fallthrough::Zones(zones) if zones.len() == 2));
        assert_eq!(server.forwards[0].to, [Upstream::ResolvConf("/etc/resolv.conf".into())]);
        assert_eq!((server.port, server.cache.unwrap().octets), (53, 32 << 20));
        assert!(server.detect_loops && server.shuffle && server.health.is_none());
    }

    #[test]
    fn stub_domains_have_their_servers_and_pods_their_ranges() {
        let stubs = "Corp.example=10.0.0.53,corp.example.=10.0.0.54:5353,lab=fd00::53";
        let given = [
            ("dns-stub-domains", stubs),
            ("dns-pods", "cidr"),
            ("cluster-cidr", "10.244.0.0/16"),
            ("dns-cache-size", "0"),
        ];
        let range: IpNet = "10.244.0.0/16".parse().unwrap();
        let server = options(&given).config(&[range]).servers.remove(0);
        let froms: Vec<String> = server.forwards.iter().map(|forward| forward.from.to_string()).collect();
        assert_eq!(froms, ["corp.example", "lab", "."]);
        let corp = ["10.0.0.53:53", "10.0.0.54:5353"].map(|server| Upstream::Address(server.parse().unwrap()));
        assert_eq!(server.forwards[0].to, corp);
        assert_eq!(server.kubernetes.unwrap().pods, PodNames::Ranges(vec![range]));
        assert!(server.cache.is_none());
    }

    #[test]
    fn a_corefile_without_a_dns_service_has_that_of_the_flag() {
        let options = options(&[("dns-service", "dns/portolan")]);
        let text = "a {\nkubernetes a\n}\nb {\nkubernetes b {\ndns_service x/y\n}\n}";
        let (config, _) = corefile::parse(text, "f", &|_| None, &|_| Err(String::new())).unwrap();
        let names = options.settle(config).servers.into_iter().map(|server| server.kubernetes.unwrap().dns_service.1);
        assert_eq!(names.collect::<Vec<_>>(), ["portolan", "y"]);
    }
}
