//! Every field of `KubeProxyConfiguration` (`k8s.io/kube-proxy/config/v1alpha1` with what it takes from component-base),
//! and what becomes of it here.

use super::Mode::{self, Iptables, Ipvs, Nftables};

/// What a field's value must be; kube-proxy refuses a file where it is something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    /// A whole number
    Integer,
    /// Any number
    Number,
    /// A duration as Go writes it
    Duration,
    /// Several texts
    Texts,
    /// Anything
    Any,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    /// The value of this flag
    Flag(&'static str),
    /// The value of this flag, but zero means the default, as for kube-proxy
    FlagUnlessZero(&'static str),
    /// The value of this flag in these modes, nothing in others
    FlagIn(&'static [Mode], &'static str),
    /// Like both of these
    FlagUnlessZeroIn(&'static [Mode], &'static str),
    /// An address of a server, with its port if the text has none
    Server(&'static str, u16),
    /// Nothing; a value other than this one is worth a warning
    Nothing(&'static str),
    /// Something that code decides; the text says it for the documentation
    Special(&'static str),
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub path: &'static str,
    pub kind: Kind,
    pub becomes: Becomes,
}

const fn field(path: &'static str, kind: Kind, becomes: Becomes) -> Field {
    Field { path, kind, becomes }
}

use Becomes::{Flag, FlagIn, FlagUnlessZero, FlagUnlessZeroIn, Nothing, Server, Special};
use Kind::{Any, Bool, Duration, Integer, Number, Text, Texts};

/// All fields, in the order of the Go type. `linux.*` is where kube-proxy's internal type, and later versions, have what
/// v1alpha1 has at the top.
pub(super) const FIELDS: &[Field] = &[
    field("featureGates", Any, Special("one warning a gate: kube-proxy's gates switch nothing here")),
    field("clientConnection.kubeconfig", Text, FlagUnlessZero("kubeconfig")),
    field("clientConnection.acceptContentTypes", Text, Nothing("")),
    field("clientConnection.contentType", Text, Nothing("application/vnd.kubernetes.protobuf")),
    field("clientConnection.qps", Number, Nothing("5")),
    field("clientConnection.burst", Integer, Nothing("10")),
    field("logging.format", Text, Nothing("text")),
    field("logging.flushFrequency", Any, Nothing("5s")),
    field("logging.verbosity", Integer, Nothing("0")),
    field("logging.vmodule", Any, Nothing("")),
    field("logging.options", Any, Nothing("")),
    field("hostnameOverride", Text, FlagUnlessZero("node")),
    field("bindAddress", Text, Special("--node-ip, unless it is 0.0.0.0 or ::")),
    field("healthzBindAddress", Text, Server("healthz-bind-address", 10256)),
    field("metricsBindAddress", Text, Server("metrics-bind-address", 10249)),
    field("bindAddressHardFail", Bool, Flag("bind-address-hard-fail")),
    field("enableProfiling", Bool, Nothing("false")),
    field("showHiddenMetricsForVersion", Text, Nothing("")),
    field("mode", Text, Special("says which section counts; anything but nftables is worth a warning")),
    field("iptables.masqueradeBit", Integer, FlagIn(&[Iptables, Ipvs], "masquerade-bit")),
    field("iptables.masqueradeAll", Bool, FlagIn(&[Iptables, Ipvs], "masquerade-all")),
    field("iptables.localhostNodePorts", Bool, Nothing("false")),
    field("iptables.syncPeriod", Duration, FlagUnlessZeroIn(&[Iptables], "sync-period")),
    field("iptables.minSyncPeriod", Duration, FlagUnlessZeroIn(&[Iptables], "min-sync-period")),
    field("ipvs.syncPeriod", Duration, FlagUnlessZeroIn(&[Ipvs], "sync-period")),
    field("ipvs.minSyncPeriod", Duration, FlagUnlessZeroIn(&[Ipvs], "min-sync-period")),
    field("ipvs.scheduler", Text, Nothing("")),
    field("ipvs.excludeCIDRs", Texts, Nothing("")),
    field("ipvs.strictARP", Bool, Nothing("false")),
    field("ipvs.tcpTimeout", Duration, Nothing("0s")),
    field("ipvs.tcpFinTimeout", Duration, Nothing("0s")),
    field("ipvs.udpTimeout", Duration, Nothing("0s")),
    field("nftables.masqueradeBit", Integer, FlagIn(&[Nftables], "masquerade-bit")),
    field("nftables.masqueradeAll", Bool, FlagIn(&[Nftables], "masquerade-all")),
    field("nftables.syncPeriod", Duration, FlagUnlessZeroIn(&[Nftables], "sync-period")),
    field("nftables.minSyncPeriod", Duration, FlagUnlessZeroIn(&[Nftables], "min-sync-period")),
    field("winkernel.networkName", Text, Nothing("")),
    field("winkernel.sourceVip", Text, Nothing("")),
    field("winkernel.enableDSR", Bool, Nothing("false")),
    field("winkernel.rootHnsEndpointName", Text, Nothing("")),
    field("winkernel.forwardHealthCheckVip", Bool, Nothing("false")),
    field("detectLocalMode", Text, FlagUnlessZero("detect-local-mode")),
    field("detectLocal.bridgeInterface", Text, FlagUnlessZero("pod-bridge-interface")),
    field("detectLocal.interfaceNamePrefix", Text, FlagUnlessZero("pod-interface-name-prefix")),
    field("clusterCIDR", Text, FlagUnlessZero("cluster-cidr")),
    field(
        "nodePortAddresses",
        Texts,
        Special(
            "--nodeport-addresses; empty means all in the modes iptables and ipvs, as there, and primary in nftables",
        ),
    ),
    field("oomScoreAdj", Integer, Flag("oom-score-adj")),
    field("conntrack.maxPerCore", Integer, Flag("conntrack-max-per-core")),
    field("conntrack.min", Integer, Flag("conntrack-min")),
    field("conntrack.tcpEstablishedTimeout", Duration, Flag("conntrack-tcp-timeout-established")),
    field("conntrack.tcpCloseWaitTimeout", Duration, Flag("conntrack-tcp-timeout-close-wait")),
    field("conntrack.tcpBeLiberal", Bool, Flag("conntrack-tcp-be-liberal")),
    field("conntrack.udpTimeout", Duration, Flag("conntrack-udp-timeout")),
    field("conntrack.udpStreamTimeout", Duration, Flag("conntrack-udp-timeout-stream")),
    field("configSyncPeriod", Duration, Nothing("15m")),
    field("portRange", Text, Nothing("")),
    field("windowsRunAsService", Bool, Nothing("false")),
    field("linux.oomScoreAdj", Integer, Flag("oom-score-adj")),
    field("linux.masqueradeAll", Bool, Flag("masquerade-all")),
    field("linux.conntrack.maxPerCore", Integer, Flag("conntrack-max-per-core")),
    field("linux.conntrack.min", Integer, Flag("conntrack-min")),
    field("linux.conntrack.tcpEstablishedTimeout", Duration, Flag("conntrack-tcp-timeout-established")),
    field("linux.conntrack.tcpCloseWaitTimeout", Duration, Flag("conntrack-tcp-timeout-close-wait")),
    field("linux.conntrack.tcpBeLiberal", Bool, Flag("conntrack-tcp-be-liberal")),
    field("linux.conntrack.udpTimeout", Duration, Flag("conntrack-udp-timeout")),
    field("linux.conntrack.udpStreamTimeout", Duration, Flag("conntrack-udp-timeout-stream")),
];

/// A line of the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDoc {
    /// The field's path
    pub path: &'static str,
    /// The flag that it sets, if it sets one
    pub flag: Option<&'static str>,
    /// What becomes of it, in words
    pub meaning: String,
}

/// What becomes of every field of a `KubeProxyConfiguration`.
pub fn field_docs() -> Vec<FieldDoc> {
    let doc = |field: &Field| {
        let only = |modes: &[Mode]| modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(" and ");
        let (flag, meaning) = match field.becomes {
            Flag(flag) => (Some(flag), String::new()),
            FlagUnlessZero(flag) => (Some(flag), "empty: the default".to_owned()),
            FlagIn(modes, flag) => (Some(flag), format!("in mode {}", only(modes))),
            FlagUnlessZeroIn(modes, flag) => (Some(flag), format!("in mode {}; 0s: the default", only(modes))),
            Server(flag, port) => (Some(flag), format!("empty: the default; without a port, {port}")),
            Nothing(_) => (None, "no meaning here; a warning if it is set".to_owned()),
            Special(words) => (None, words.to_owned()),
        };
        FieldDoc { path: field.path, flag, meaning }
    };
    FIELDS.iter().map(doc).collect()
}
