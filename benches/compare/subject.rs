use std::{fmt, fs, process::Command, str::FromStr};

use portolan::lab::Namespace;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::{ApiServer, Binaries, Process, command_in},
    objects::{NODE, POD_RANGE},
};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    KubeProxy,
    Portolan,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Program::KubeProxy => "kube-proxy",
            Program::Portolan => "portolan",
        })
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Program::KubeProxy, Program::Portolan].into_iter().find(|program| program.to_string() == text);
        known.ok_or_else(|| format!("no program {text}"))
    }
}

/// A set or map, and how many elements it has when everything is programmed.
pub struct Complete {
    pub table: &'static str,
    pub set: &'static str,
    pub elements: usize,
}

/// A program on a node of its own.
pub struct Subject<'a> {
    pub program: Program,
    pub namespace: Namespace,
    pub binaries: &'a Binaries,
    pub api: &'a ApiServer,
}

impl Subject<'_> {
    /// Starts the program.
    pub fn start(&self) -> Process {
        let command = match self.program {
            Program::KubeProxy => self.kube_proxy(),
            Program::Portolan => self.portolan(),
        };
        Process::start(&format!("{}-{}", self.namespace, self.program), command, self.api.folder())
    }

    /// With its defaults, but for what says where everything is, and for conntrack limits, which are the host's.
    fn kube_proxy(&self) -> Command {
        let config = serde_json::json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": self.api.admin_kubeconfig()},
            "clusterCIDR": POD_RANGE,
            "hostnameOverride": NODE,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "conntrack": {
                "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
                "udpTimeout": "0s", "udpStreamTimeout": "0s",
            },
        });
        let path = self.api.folder().join("kube-proxy.json");
        fs::write(&path, config.to_string()).unwrap();
        let mut command = command_in(&self.namespace, self.binaries.path("kube-proxy"));
        command.arg(format!("--config={}", path.display()));
        command
    }

    /// The same.
    fn portolan(&self) -> Command {
        let mut command = command_in(&self.namespace, env!("CARGO_BIN_EXE_portolan"));
        command.arg("run").arg("--apiserver").arg(self.api.url());
        command.arg("--kubeconfig").arg(self.api.portolan_kubeconfig());
        command.args(["--node", NODE, "--cluster-cidr", POD_RANGE, "--healthz-bind-address=127.0.0.1:10256"]);
        command.args(["--conntrack-max-per-core=0", "--conntrack-min=0"]);
        command.args(["--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"]);
        command
    }

    /// What the kernel holds when `services` Services with as many `endpoints` each are programmed, the smallest first.
    /// The API server's own Service, `kubernetes`, has one endpoint.
    pub fn complete(&self, services: usize, endpoints: usize) -> Vec<Complete> {
        match self.program {
            // An element leads to the Service's chain, which is part of the same transaction, or of one before.
            Program::KubeProxy => vec![Complete { table: "kube-proxy", set: "service-ips", elements: services + 1 }],
            Program::Portolan => vec![
                Complete { table: "portolan", set: "frontends", elements: services + 1 },
                Complete { table: "portolan", set: "endpoints", elements: services * endpoints + 1 },
            ],
        }
    }

    /// Removes what the program left in its node.
    pub fn tidy(&self) {
        let status = command_in(&self.namespace, "nft").args(["flush", "ruleset"]).status().unwrap();
        assert!(status.success(), "nft flush ruleset: {status}");
    }
}
