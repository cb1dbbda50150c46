//! The cluster of examples/21-cluster-dns.yaml in a lab: each node runs the agent, two pods are the central DNS.

use std::{
    env, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portolan::{
    lab::{Cluster, Defaults, Guard, Lab, LabHost, Namespace, Ports, obstacle},
    objects::Object,
    source::manifests,
};

use crate::upstream::Upstream;

/// The DNS server of the world, on the LAN.
pub const UPSTREAM: &str = "192.0.2.53";
/// Where the alias `external-database` leads.
pub const DATABASE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// A name of the world.
pub const WEB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// So long something may take to become so.
const PATIENCE: Duration = Duration::from_secs(30);

/// kubeadm's, unchanged.
const COREFILE: &str = ".:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// False, with a word why, where the town cannot be built; a failure where it must be.
pub fn can_run(test: &str) -> bool {
    let missing = ["nft", "dig", "getent", "musl-gcc"].iter().find_map(|program| {
        let found = env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|p| p.join(program).exists()));
        (!found).then(|| format!("there is no command `{program}`"))
    });
    let Some(reason) = obstacle().or(missing) else { return true };
    assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
    false
}

/// The lab and everything that runs in it. Dropping it ends all and leaves nothing.
pub struct Town {
    pub upstream: Upstream,
    agents: Vec<(String, Agent)>,
    central: Vec<Agent>,
    etc: Vec<PathBuf>,
    folder: tempfile::TempDir,
    pub lab: Guard,
}

/// A process in a namespace.
pub struct Agent {
    child: Child,
}

impl Agent {
    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // `ip netns exec` has become the program: the process is the same.
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end after it was asked to.
    pub fn ended(mut self) {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the agent does not end");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Town {
    /// Builds everything; names are answered on both nodes when it returns.
    pub fn build() -> Self {
        let lab = lab();
        let folder = tempfile::tempdir().unwrap();
        let mut town = Self {
            upstream: Upstream::start(
                &lab.spec().outside(),
                UPSTREAM.parse().unwrap(),
                &[("my.database.example.com", DATABASE), ("www.example.com", WEB)],
            ),
            agents: Vec::new(),
            central: Vec::new(),
            etc: Vec::new(),
            folder,
            lab,
        };
        town.write_resolv_confs();
        fs::write(town.path("Corefile"), COREFILE).unwrap();
        town.compile_musl();
        for pod in ["dns-a", "dns-b"] {
            let corefile = town.path("Corefile");
            let words =
                ["dns", "--corefile", corefile.to_str().unwrap(), "--manifests", &town.manifests()].map(str::to_owned);
            let namespace = town.lab.pod("kube-system", pod).unwrap();
            town.central.push(town.start(&namespace, pod, &words));
        }
        for node in ["node-1", "node-2"] {
            let agent = town.agent(node);
            town.agents.push((node.to_owned(), agent));
        }
        for node in ["node-1", "node-2"] {
            town.await_redirect(node);
        }
        town
    }

    /// Where the example's copy is; it may be changed.
    pub fn manifests(&self) -> String {
        self.path("town.yaml").to_str().unwrap().to_owned()
    }

    /// Replaces the manifests by what `change` makes of them.
    pub fn change(&self, change: impl FnOnce(String) -> String) {
        let text = change(fs::read_to_string(self.manifests()).unwrap());
        let next = self.path("next.yaml");
        fs::write(&next, text).unwrap();
        fs::rename(&next, self.manifests()).unwrap();
    }

    /// Starts an agent on a node, beside one that may already be there.
    pub fn agent(&self, node: &str) -> Agent {
        let state = self.path(&format!("state-{node}"));
        let corefile = self.path("Corefile");
        let words = [
            "run",
            "-f",
            &self.manifests(),
            "--node",
            node,
            "--cluster-cidr",
            "10.244.0.0/16",
            "--state-dir",
            state.to_str().unwrap(),
            "--dns",
            "local",
            "--corefile",
            corefile.to_str().unwrap(),
        ];
        self.start(&self.lab.node(node).unwrap(), node, &words.map(str::to_owned))
    }

    /// Takes a node's agent out of the town's hands.
    pub fn take_agent(&mut self, node: &str) -> Agent {
        let index = self.agents.iter().position(|(name, _)| name == node).unwrap();
        self.agents.remove(index).1
    }

    /// and gives one back.
    pub fn keep_agent(&mut self, node: &str, agent: Agent) {
        self.agents.push((node.to_owned(), agent));
    }

    /// Waits until the node's agent answers for the DNS Service.
    pub fn await_redirect(&self, node: &str) {
        self.eventually(&format!("{node} answers by itself"), || self.is_redirected(node));
    }

    /// Whether the DNS Service's packets stay on the node.
    pub fn is_redirected(&self, node: &str) -> bool {
        let listing = self.run(&self.lab.node(node).unwrap(), "nft", &["list", "ruleset"]);
        // Only a living element has a time to its end.
        listing.1.contains("10.96.0.10 . udp . 53 timeout 2s expires")
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.logs());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The last words of all processes.
    pub fn logs(&self) -> String {
        let read = |name: &str| {
            let text = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        ["dns-a", "dns-b", "node-1", "node-2"].map(read).concat()
    }

    /// What a pod's glibc makes of a name: its addresses, sorted; empty if there are none.
    pub fn glibc(&self, namespace: &str, pod: &str, name: &str) -> Vec<String> {
        let (_, text) = self.run(&self.lab.pod(namespace, pod).unwrap(), "getent", &["ahosts", name]);
        let mut addresses: Vec<String> =
            text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// The same of musl.
    pub fn musl(&self, namespace: &str, pod: &str, name: &str) -> Vec<String> {
        let program = self.path("resolve-musl");
        let (worked, text) = self.run(&self.lab.pod(namespace, pod).unwrap(), program.to_str().unwrap(), &[name]);
        if !worked {
            return Vec::new();
        }
        let mut addresses: Vec<String> =
            text.trim().rsplit_once(": ").unwrap().1.split(' ').map(str::to_owned).collect();
        addresses.sort();
        addresses
    }

    /// What dig prints with `+short`, line by line, sorted.
    pub fn dig(&self, namespace: &str, pod: &str, words: &[&str]) -> Vec<String> {
        let words = [&["+short", "+search", "+tries=1"], words].concat();
        let (_, text) = self.run(&self.lab.pod(namespace, pod).unwrap(), "dig", &words);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Runs a program in a namespace, with the files of /etc/netns over those of /etc. Whether it worked, and what it
    /// printed.
    pub fn run(&self, namespace: &Namespace, program: &str, words: &[&str]) -> (bool, String) {
        let output = Command::new("ip")
            .args(["netns", "exec", namespace.name(), program])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, namespace: &Namespace, name: &str, words: &[String]) -> Agent {
        let log = fs::File::options().create(true).append(true).open(self.path(&format!("{name}.log"))).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", namespace.name(), env!("CARGO_BIN_EXE_portolan")])
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Agent { child }
    }

    /// What the kubelet writes into pods, and what nodes have of their own.
    fn write_resolv_confs(&mut self) {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/21-cluster-dns.yaml"), self.manifests()).unwrap();
        let spec = self.lab.spec().clone();
        for pod in &spec.pods {
            let text = if pod.namespace == "kube-system" {
                // dnsPolicy: Default
                format!("nameserver {UPSTREAM}\n")
            } else {
                let namespace = &pod.namespace;
                format!(
                    "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n\
                     options ndots:5\n"
                )
            };
            self.write_resolv_conf(&spec.pod_namespace(pod), &text);
        }
        for node in &spec.nodes {
            self.write_resolv_conf(&spec.node_namespace(&node.name), &format!("nameserver {UPSTREAM}\n"));
        }
    }

    fn write_resolv_conf(&mut self, namespace: &Namespace, text: &str) {
        let folder = Path::new("/etc/netns").join(namespace.name());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("resolv.conf"), text).unwrap();
        self.etc.push(folder);
    }

    fn compile_musl(&self) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/names/resolve.c");
        let output = Command::new("musl-gcc")
            .args(["-static", "-O1", "-o"])
            .arg(self.path("resolve-musl"))
            .arg(source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.agents.clear();
        self.central.clear();
        for folder in &self.etc {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn lab() -> Guard {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/21-cluster-dns.yaml");
    let read = manifests::read(&[path]).unwrap();
    assert_eq!(read.notices, []);
    let (mut nodes, mut pods) = (Vec::new(), Vec::new());
    for located in read.objects {
        match located.object {
            Object::Node(node) => nodes.push(node),
            Object::Pod(pod) => pods.push(pod),
            _ => {}
        }
    }
    let prefix = format!("nam-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut spec = Cluster::complete(&nodes, &pods, Defaults::default()).unwrap().spec(&prefix).unwrap();
    spec.externals.push(LabHost { address: UPSTREAM.parse().unwrap(), ports: Ports::default() });
    Lab::up(spec).unwrap().guarded()
}
