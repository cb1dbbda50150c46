//! DNS as pods have it: a server in a pod, behind the DNS Service, and resolvers that know it.

use std::{fs, process::Command};

use crate::{
    manifests::Manifests,
    situation::Dns,
    stage::{STRANGER, Stage, UPSTREAM},
    upstream::Upstream,
};

/// Its file, in a stage.
pub const COREFILE_PATH: &str = "Corefile";

const COREFILE: &str = ".:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
    }
    forward . 192.0.2.53
}
";

const SERVICE: &str = "# service kube-system/kube-dns
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: 10.96.0.10
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
---
# endpoints kube-system/kube-dns
apiVersion: v1
kind: Endpoints
metadata: {name: kube-dns, namespace: kube-system}
subsets:
- {addresses: [{ip: 10.244.1.53}], ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]}
";

/// With the DNS Service.
pub fn with_service(manifests: Manifests) -> Manifests {
    manifests.and(SERVICE)
}

/// Starts what there is; the server answers when this returns. The upstream ends when it is dropped.
pub fn start(stage: &mut Stage, dns: Dns) -> Option<Upstream> {
    if dns == Dns::None {
        return None;
    }
    for (namespace, pod) in [("shop", "client-1"), ("other", "visitor")] {
        let search = format!("search {namespace}.svc.cluster.local svc.cluster.local cluster.local\n");
        let text = format!("{search}nameserver 10.96.0.10\noptions ndots:5 timeout:1 attempts:1\n");
        stage.resolv_conf(&stage.lab.pod(namespace, pod).unwrap(), &text);
    }
    fs::write(stage.path(COREFILE_PATH), COREFILE).unwrap();
    let world = [("www.example.com", STRANGER.into()), ("db.example.com", STRANGER.into())];
    let upstream = (dns == Dns::Runs).then(|| Upstream::start(&stage.lab.spec().outside(), UPSTREAM.into(), &world));
    if dns != Dns::Dead {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args(["dns", "--corefile"]).arg(stage.path(COREFILE_PATH));
        command.arg("--manifests").arg(stage.path("manifests.yaml"));
        let pod = stage.lab.pod("shop", "dns").unwrap();
        stage.start(&pod, &mut command);
        let client = stage.lab.pod("shop", "client-1").unwrap();
        let words = ["netns", "exec", client.name(), "getent", "ahosts", "kube-dns.kube-system.svc.cluster.local."];
        stage.eventually("DNS answers", || Command::new("ip").args(words).output().unwrap().status.success());
    }
    upstream
}
