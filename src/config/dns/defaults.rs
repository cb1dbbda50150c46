//! What applies where nothing is said: CoreDNS's values, but for those that sections 2.2 and 2.3 of the DNS behaviour
//! give as ours.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use domain::base::iana::Rcode;

use super::{
    ApiAccess, CacheOptions, Chaos, Fallthrough, FileZone, ForwardOptions, HealthOptions, HostsOptions,
    KubernetesOptions, Name, PodNames, Policy, Prefetch, PtrNames, ServeStale, ServerBlock, Upstream,
};

/// Port of DNS.
pub const DNS_PORT: u16 = 53;
/// Largest UDP answer, in octets (1.12).
pub const BUFSIZE: u16 = 1232;
/// Seconds that a positive answer is kept at most, however long it may be (2.3).
pub const LONGEST_SUCCESS: u32 = 3600;
/// The same of a denial.
pub const LONGEST_DENIAL: u32 = 1800;
/// Seconds that an answer is kept at least.
pub const LEAST_KEPT: u32 = 5;
/// Upstreams that one `forward` may have.
pub const MOST_UPSTREAMS: usize = 15;

/// Where `health`, `ready` and `prometheus` answer if they are not told: every address, as CoreDNS has it. Whoever binds
/// an unspecified IPv6 address takes IPv4 along, and falls back to it where the kernel has no IPv6.
pub const HEALTH_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8080);
/// See [`HEALTH_ADDRESS`].
pub const READY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8181);
/// Metrics are for this node alone unless said otherwise.
pub const PROMETHEUS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9153);

impl ServerBlock {
    /// A block that answers for these zones, with nothing in it.
    pub fn new(zones: Vec<Name>, port: u16) -> Self {
        Self {
            place: None,
            zones,
            port,
            bind: Vec::new(),
            log: None,
            errors: false,
            health: None,
            ready: None,
            prometheus: None,
            bufsize: BUFSIZE,
            minimal: false,
            any: false,
            nsid: None,
            chaos: None,
            shuffle: false,
            acl: Vec::new(),
            rewrites: Vec::new(),
            templates: Vec::new(),
            hosts: None,
            files: Vec::new(),
            kubernetes: None,
            cache: None,
            detect_loops: false,
            reload: None,
            forwards: Vec::new(),
        }
    }
}

impl Default for HealthOptions {
    fn default() -> Self {
        Self { address: HEALTH_ADDRESS, lameduck: Duration::ZERO }
    }
}

impl Default for Chaos {
    fn default() -> Self {
        Self { version: concat!("Portolan-", env!("CARGO_PKG_VERSION")).to_owned(), authors: Vec::new() }
    }
}

impl Default for HostsOptions {
    fn default() -> Self {
        Self {
            file: Some("/etc/hosts".into()),
            zones: Vec::new(),
            inline: Vec::new(),
            ttl: 3600,
            no_reverse: false,
            reload: Duration::from_secs(5),
            fallthrough: Fallthrough::Never,
        }
    }
}

impl KubernetesOptions {
    /// The names of a cluster in these zones, as a Corefile that says nothing more has them.
    pub fn new(zones: Vec<Name>) -> Self {
        Self {
            zones,
            ttl: 5,
            pods: PodNames::Disabled,
            endpoint_pod_names: false,
            endpoint_aliases: true,
            namespaces: Vec::new(),
            namespace_labels: None,
            labels: None,
            no_endpoints: false,
            ignore_empty_service: false,
            fallthrough: Fallthrough::Never,
            ptr: PtrNames::All,
            dns_service: ("kube-system".to_owned(), "kube-dns".to_owned()),
            compat: false,
            api: ApiAccess::default(),
        }
    }
}

impl Default for Prefetch {
    fn default() -> Self {
        Self { hits: 3, pause: Duration::from_secs(60), percent: 10 }
    }
}

impl Default for ServeStale {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(3600),
            wait: Duration::from_millis(1800),
            ttl: 30,
            recheck: Duration::from_secs(30),
        }
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            octets: 32 << 20,
            success_ttl: (LEAST_KEPT, LONGEST_SUCCESS),
            denial_ttl: (LEAST_KEPT, LONGEST_DENIAL),
            servfail_ttl: 5,
            disable_success: Vec::new(),
            disable_denial: Vec::new(),
            prefetch: Some(Prefetch::default()),
            stale: Some(ServeStale::default()),
        }
    }
}

impl ForwardOptions {
    /// Names at or below `from` are asked of `to`.
    pub fn new(from: Name, to: Vec<Upstream>) -> Self {
        Self {
            place: None,
            from,
            to,
            except: Vec::new(),
            force_tcp: false,
            prefer_udp: false,
            expire: Duration::from_secs(10),
            max_age: Duration::ZERO,
            max_idle: 0,
            read_timeout: Duration::from_secs(2),
            max_fails: 2,
            max_attempts: 0,
            policy: Policy::Random,
            health_interval: Duration::from_millis(500),
            health_no_rec: false,
            health_domain: Name::root_vec(),
            max_concurrent: 0,
            failover: vec![Rcode::SERVFAIL, Rcode::REFUSED],
            next: Vec::new(),
            next_on_nodata: false,
            failfast: false,
            source: None,
        }
    }
}

impl FileZone {
    /// A zone file for the zones of its block.
    pub fn new(file: &str) -> Self {
        Self { file: file.into(), zones: Vec::new(), reload: Duration::from_secs(60), fallthrough: Fallthrough::Never }
    }
}
