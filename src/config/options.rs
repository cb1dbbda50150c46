use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Command, FromArgMatches, builder::BoolishValueParser};
use ipnet::IpNet;
use serde::Serialize;

use super::{
    dns::DnsOptions,
    duration::{self, parse_duration, parse_duration_or_milliseconds},
    node::NodeOptions,
    values::{BindAddress, api_server, bind_address, cidr, loopback_address},
};

/// Everything that `portolan run` can be told, as it applies. The same definition makes the flags, the environment
/// variables, the fields of the file and the table in docs/configuration.md.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Where Services come from, without an API server
    #[command(flatten)]
    #[serde(flatten)]
    pub input: InputOptions,
    /// Where Services come from, with one
    #[command(flatten)]
    #[serde(flatten)]
    pub api: ApiOptions,
    /// The node
    #[command(flatten)]
    #[serde(flatten)]
    pub node: NodeOptions,
    /// The loop
    #[command(flatten)]
    #[serde(flatten)]
    pub sync: SyncOptions,
    /// What others can see
    #[command(flatten)]
    #[serde(flatten)]
    pub serving: ServingOptions,
    /// The kernel's connection tracking
    #[command(flatten)]
    #[serde(flatten)]
    pub conntrack: ConntrackOptions,
    /// Names
    #[command(flatten)]
    #[serde(flatten)]
    pub dns: DnsOptions,
    /// The process
    #[command(flatten)]
    #[serde(flatten)]
    pub process: ProcessOptions,
}

/// Where Services come from.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputOptions {
    /// Manifests: files, folders (read recursively), or - for standard input
    #[arg(
        short = 'f',
        long = "manifests",
        visible_alias = "filename",
        value_name = "PATH",
        required = true,
        num_args = 1..,
        env = "PORTOLAN_MANIFESTS"
    )]
    pub manifests: Vec<PathBuf>,

    /// Ranges that cluster IPs are allocated from, one a family; also: addresses in them that no Service has are dropped
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr, env = "PORTOLAN_SERVICE_CIDR")]
    pub service_cidr: Vec<IpNet>,

    /// Ranges that load-balancer addresses are allocated from, for Services of type LoadBalancer that have none
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr, env = "PORTOLAN_LOAD_BALANCER_POOL")]
    pub load_balancer_pool: Vec<IpNet>,

    /// Where allocated addresses and ports are remembered, so that they stay the same
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portolan", env = "PORTOLAN_STATE_DIR")]
    pub state_dir: PathBuf,
}

/// The API server.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiOptions {
    /// Address of the API server. Not the cluster IP of Service default/kubernetes, which only works once Portolan has
    /// programmed it [default: what --kubeconfig says, else the environment of a pod, else $KUBECONFIG or ~/.kube/config]
    #[arg(long, visible_alias = "master", value_name = "URL", value_parser = api_server, env = "PORTOLAN_APISERVER")]
    pub apiserver: Option<String>,

    /// How to reach the API server and who to be there
    #[arg(long, value_name = "PATH", env = "PORTOLAN_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Write Events about Services that their owners should know of [default: true with an API server]
    #[arg(
        long,
        value_name = "BOOL",
        env = "PORTOLAN_EVENTS",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "true",
        hide_default_value = true,
        value_parser = BoolishValueParser::new()
    )]
    pub events: bool,
}

/// When the kernel is changed, and how.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncOptions {
    /// Least time between two changes of the kernel, such as 1s or 100ms; a bare number counts milliseconds
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "100ms",
        value_parser = parse_duration_or_milliseconds,
        env = "PORTOLAN_MIN_SYNC_PERIOD"
    )]
    #[serde(serialize_with = "duration::serialize")]
    pub min_sync_period: Duration,

    /// A change that is not in the kernel after twice this time makes /healthz fail
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration, env = "PORTOLAN_SYNC_PERIOD")]
    #[serde(serialize_with = "duration::serialize")]
    pub sync_period: Duration,

    /// Let no other process change our tables while we live, `nft flush ruleset` included; they stay when we end, and
    /// the next start takes them over. Needs Linux 6.9
    #[arg(
        long,
        value_name = "BOOL",
        env = "PORTOLAN_OWN_TABLE",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        value_parser = BoolishValueParser::new()
    )]
    pub own_table: bool,

    /// Print what would change, and touch nothing
    #[arg(
        long,
        value_name = "BOOL",
        env = "PORTOLAN_DRY_RUN",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        value_parser = BoolishValueParser::new()
    )]
    pub dry_run: bool,

    /// Remove the tables and chains that kube-proxy left, once our own are in the kernel
    #[arg(
        long,
        value_name = "BOOL",
        env = "PORTOLAN_CLEANUP_KUBE_PROXY",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        value_parser = BoolishValueParser::new()
    )]
    pub cleanup_kube_proxy: bool,
}

/// Health and metrics.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingOptions {
    /// Where /healthz, /livez and /readyz answer; empty is off [default: 0.0.0.0:10256 with an API server, else off]
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "0.0.0.0:10256",
        hide_default_value = true,
        value_parser = bind_address,
        env = "PORTOLAN_HEALTHZ_BIND_ADDRESS"
    )]
    pub healthz_bind_address: BindAddress,

    /// Where /metrics answers; empty is off [default: 127.0.0.1:10249 with an API server, else off]
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:10249",
        hide_default_value = true,
        value_parser = bind_address,
        env = "PORTOLAN_METRICS_BIND_ADDRESS"
    )]
    pub metrics_bind_address: BindAddress,

    /// End if one of these addresses cannot be listened on
    #[arg(
        long,
        value_name = "BOOL",
        env = "PORTOLAN_BIND_ADDRESS_HARD_FAIL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        value_parser = BoolishValueParser::new()
    )]
    pub bind_address_hard_fail: bool,

    /// Where the page with the live picture is served, a loopback address such as 127.0.0.1:10245; empty is off
    /// [default: off]
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true,
        value_parser = loopback_address,
        env = "PORTOLAN_PAGE_ADDRESS"
    )]
    pub page_address: BindAddress,

    /// How many Services have counters of their own among the metrics; 0 is none
    #[arg(long, value_name = "COUNT", default_value_t = 1000, env = "PORTOLAN_SERVICE_METRICS_LIMIT")]
    pub service_metrics_limit: u32,
}

impl ServingOptions {
    /// Where health is served, if it is.
    pub fn healthz(&self) -> Option<SocketAddr> {
        self.healthz_bind_address.0
    }

    /// Where metrics are served, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics_bind_address.0
    }

    /// Where the page is served, if it is.
    pub fn page(&self) -> Option<SocketAddr> {
        self.page_address.0
    }
}

/// Limits and timeouts of connection tracking (section 9 of the Service behaviour).
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
pub struct ConntrackOptions {
    /// Connections to track for each CPU; 0 leaves the limit as it is, which is the default with manifests
    #[arg(
        long = "conntrack-max-per-core",
        value_name = "COUNT",
        default_value_t = 32768,
        value_parser = clap::value_parser!(u32).range(..=i64::from(i32::MAX)),
        env = "PORTOLAN_CONNTRACK_MAX_PER_CORE"
    )]
    #[serde(rename = "conntrackMaxPerCore")]
    pub max_per_core: u32,

    /// Connections to track at least, however few CPUs there are
    #[arg(
        long = "conntrack-min",
        value_name = "COUNT",
        default_value_t = 131_072,
        value_parser = clap::value_parser!(u32).range(..=i64::from(i32::MAX)),
        env = "PORTOLAN_CONNTRACK_MIN"
    )]
    #[serde(rename = "conntrackMin")]
    pub min: u32,

    /// How long an idle TCP connection is tracked; 0s leaves the kernel's value, the default
    /// with manifests
    #[arg(
        long = "conntrack-tcp-timeout-established",
        value_name = "DURATION",
        default_value = "24h",
        value_parser = parse_duration,
        env = "PORTOLAN_CONNTRACK_TCP_TIMEOUT_ESTABLISHED"
    )]
    #[serde(rename = "conntrackTcpTimeoutEstablished", serialize_with = "duration::serialize")]
    pub tcp_timeout_established: Duration,

    /// How long a TCP connection that one side has closed is tracked; 0s leaves the kernel's value, the default
    /// with manifests
    #[arg(
        long = "conntrack-tcp-timeout-close-wait",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = parse_duration,
        env = "PORTOLAN_CONNTRACK_TCP_TIMEOUT_CLOSE_WAIT"
    )]
    #[serde(rename = "conntrackTcpTimeoutCloseWait", serialize_with = "duration::serialize")]
    pub tcp_timeout_close_wait: Duration,

    /// Take TCP packets outside of the window for valid
    #[arg(
        long = "conntrack-tcp-be-liberal",
        value_name = "BOOL",
        env = "PORTOLAN_CONNTRACK_TCP_BE_LIBERAL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        value_parser = BoolishValueParser::new()
    )]
    #[serde(rename = "conntrackTcpBeLiberal")]
    pub tcp_be_liberal: bool,

    /// How long a UDP flow without an answer is tracked; 0s leaves the kernel's value
    #[arg(
        long = "conntrack-udp-timeout",
        value_name = "DURATION",
        default_value = "0s",
        value_parser = parse_duration,
        env = "PORTOLAN_CONNTRACK_UDP_TIMEOUT"
    )]
    #[serde(rename = "conntrackUdpTimeout", serialize_with = "duration::serialize")]
    pub udp_timeout: Duration,

    /// How long a UDP flow in both directions is tracked; 0s leaves the kernel's value
    #[arg(
        long = "conntrack-udp-timeout-stream",
        value_name = "DURATION",
        default_value = "0s",
        value_parser = parse_duration,
        env = "PORTOLAN_CONNTRACK_UDP_TIMEOUT_STREAM"
    )]
    #[serde(rename = "conntrackUdpTimeoutStream", serialize_with = "duration::serialize")]
    pub udp_timeout_stream: Duration,
}

/// What concerns the process itself.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessOptions {
    /// How readily the kernel ends this process when memory is short: from -1000, never, to 1000, first
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = -999,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i16).range(-1000..=1000),
        env = "PORTOLAN_OOM_SCORE_ADJ"
    )]
    pub oom_score_adj: i16,

    /// Set the node's sysctls, which takes more rights than everything else, and end
    #[arg(
        long,
        value_name = "BOOL",
        env = "PORTOLAN_INIT_ONLY",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        value_parser = BoolishValueParser::new()
    )]
    pub init_only: bool,
}

impl Config {
    /// All options as clap knows them, without the environment: what [`Config`] is read with, and what tells of them.
    pub fn command() -> Command {
        let plain = Command::new("config").no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
        Self::augment_args(plain).mut_args(|option| option.required(false))
    }

    /// Reads the options from flags alone.
    pub(super) fn parse(flags: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().mut_args(|option| option.env(None::<&str>)).try_get_matches_from(flags)?;
        Self::from_arg_matches(&matches)
    }
}

/// The name of an option in the file and in /configz: its flag in camel case, `--cluster-cidr` as `clusterCidr`.
pub fn file_key(flag: &str) -> String {
    let mut key = String::new();
    let mut upper = false;
    for c in flag.chars() {
        match c {
            '-' => upper = true,
            c if std::mem::take(&mut upper) => key.push(c.to_ascii_uppercase()),
            c => key.push(c),
        }
    }
    key
}
