use serde::Serialize;

/// Why something does not work, or what is to be known although it does. The names are part of `-o json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    // ---- the name and the object ----
    /// No such name, Service, or address of a Service
    NoSuchService,
    /// The short name is one of another namespace
    OtherNamespace,
    /// The name of an ExternalName Service: nothing of it is in the data plane
    ExternalName,
    /// The name is not the cluster's, and nobody answers for it
    UpstreamDead,
    /// The DNS that the client uses does not answer
    DnsDead,
    /// A headless Service has names and no address of its own
    Headless,
    /// The object was refused: invalid
    Invalid,
    /// Another proxy serves it (`service.kubernetes.io/service-proxy-name`)
    OtherProxy,
    /// The Service has no address of the client's family
    OtherFamily,
    /// The Service has no such port
    NoSuchPort,
    /// The Service has the port, for another protocol
    OtherProtocol,
    /// The frontend belongs to another Service
    FrontendTaken,
    /// The load balancer has no address yet
    AddressPending,
    /// The name or the address is one of the cluster only, and the client is not of it
    ClusterOnly,
    /// Node ports do not answer on this address
    NodePortAddress,
    /// Node ports do not answer on loopback addresses
    Loopback,
    // ---- who may come ----
    /// The client is a pod, outside the pods' range that this node knows
    PodRange,
    /// The client is outside `loadBalancerSourceRanges`
    SourceRange,
    // ---- endpoints ----
    /// The selector matches no Pod
    SelectorMatchesNothing,
    /// The Pods that it matches have no address yet, or have ended
    PodsNotRunning,
    /// There is no selector, and nobody made Endpoints or EndpointSlices
    NoEndpointsObject,
    /// No Pod has a port of the target port's name
    TargetPortName,
    /// Slices have ports of other names than the Service's
    PortName,
    /// No endpoint is ready
    NotReady,
    /// Only terminating endpoints are left, and they do not serve
    Terminating,
    /// Only terminating endpoints are left, which still serve
    LastResort,
    /// Endpoints are of the other family only
    EndpointFamily,
    /// Internal policy Local, and no endpoint on this node
    NoLocalEndpoint,
    /// External policy Local, and no endpoint on this node
    NoLocalEndpointExternal,
    /// The containers declare other ports than the target port
    TargetPortNotDeclared,
    /// Endpoints exist, but not every one is used
    SomeNotReady,
    // ---- the kernel ----
    /// Our program is not in the kernel
    NotProgrammed,
    /// Somebody edited our program
    ProgramEdited,
    /// The kernel holds something else than what is wanted
    KernelDiffers,
    /// The kernel refused the Service's rows
    KernelRefused,
    /// The agent does not run: nothing follows changes
    AgentDead,
    /// The source of objects is silent: the agent may not know the latest
    SourceStale,
    /// A kube-proxy lives beside us
    KubeProxy,
    /// Connection tracking keeps clients where nobody serves
    StaleConnection,
    /// Connection tracking is full
    ConnectionTableFull,
    /// Session affinity keeps the client on an endpoint that is no longer used
    StaleAffinity,
    // ---- the node ----
    /// The node does not pass packets on
    ForwardingOff,
    /// The node has no route to an endpoint
    NoRoute,
    /// Rules of others drop or refuse the packet
    ForeignRule,
    /// Rules of others send the packet elsewhere first
    ForeignTranslation,
}
