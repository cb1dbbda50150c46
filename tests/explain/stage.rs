//! The lab that situations are played in: two nodes, the pods of the manifests, a client outside.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use portolan::{
    lab::{Guard, Lab, LabHost, LabNode, LabPod, LabSpec, Namespace, Ports, in_namespace, obstacle},
    model::Family,
};

use crate::manifests::Manifests;

/// Where all pods listen, for TCP and UDP. Nobody listens on any other port but 53, and only where DNS is played.
const TARGET_PORT: u16 = 8080;
/// So long something may take to become so.
const PATIENCE: Duration = Duration::from_secs(30);
/// The flags of every command, those of its node apart.
const FLAGS: [&str; 4] =
    ["--cluster-cidr", "10.244.0.0/16,fd00:10:244::/48", "--service-cidr", "10.96.0.0/16,fd00:96::/112"];
/// A host outside that is not of the cluster and answers.
pub const STRANGER: [u8; 4] = [203, 0, 113, 9];
/// The next DNS server up.
pub const UPSTREAM: [u8; 4] = [192, 0, 2, 53];

/// False, with a word why, where a lab cannot be built; a failure where it must be.
pub fn can_run(test: &str) -> bool {
    let missing = ["nft", "conntrack", "getent"].iter().find_map(|program| {
        let found = env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|p| p.join(program).exists()));
        (!found).then(|| format!("there is no command `{program}`"))
    });
    let Some(reason) = obstacle().or(missing) else { return true };
    assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
    false
}

/// The lab, and the processes in it. Dropping it ends all and leaves nothing.
pub struct Stage {
    processes: Vec<Child>,
    /// What `ip` must be told so that routes are again as they were
    undo: Vec<(Namespace, String)>,
    etc: Vec<PathBuf>,
    folder: tempfile::TempDir,
    pub lab: Guard,
}

impl Stage {
    /// Builds the lab. Nothing is programmed yet.
    pub fn build() -> Self {
        let lab = Lab::up(spec()).unwrap().guarded();
        let outside = ["10.96.0.1", "fd00:96::1", "10.96.0.2", "fd00:96::2", "10.96.0.3", "fd00:96::3"];
        let balancers = [
            "192.0.2.127",
            "fd00:2::127",
            "192.0.2.128",
            "fd00:2::128",
            "198.51.100.7",
            "fd00:51::7",
            "198.51.100.8",
            "fd00:51::8",
        ];
        let stray = ["10.96.7.7", "fd00:96::77"];
        let routed: Vec<_> =
            outside.iter().chain(&balancers).chain(&stray).map(|address| address.parse().unwrap()).collect();
        lab.route(&routed, "node-1").unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { processes: Vec::new(), undo: Vec::new(), etc: Vec::new(), folder, lab }
    }

    /// A file of this stage.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts manifests where every command reads them, in one step.
    pub fn write(&self, manifests: &Manifests) {
        fs::write(self.path("next"), manifests.text()).unwrap();
        fs::rename(self.path("next"), self.manifests()).unwrap();
    }

    fn manifests(&self) -> PathBuf {
        self.path("manifests.yaml")
    }

    /// `portolan WORDS` for a node, ready to be started in it.
    pub fn command(&self, node: u8, words: &[&str], more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args(words).arg("-f").arg(self.manifests());
        command.args(["--node", &format!("node-{node}"), "--state-dir"]).arg(self.path("state"));
        command.args(FLAGS).args(more).stdin(Stdio::null());
        command
    }

    /// Runs it and waits for its end.
    pub fn portolan(&self, node: u8, words: &[&str], more: &[&str]) -> Output {
        let mut command = self.command(node, words, more);
        self.lab.on_node(&format!("node-{node}"), || command.output()).unwrap().unwrap()
    }

    /// Programs both nodes, once. Objects that are refused are left out, as they would be for an operator.
    pub fn apply(&self, more: &[&str]) {
        for node in [1, 2] {
            let output = self.portolan(node, &["apply"], more);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 1)), "apply on node-{node}: {said}");
        }
    }

    /// Starts an agent on a node and waits until it has programmed everything. Returns its place, for [`Stage::kill`].
    pub fn run_agent(&mut self, node: u8, more: &[&str]) -> usize {
        let log = fs::File::create(self.path("agent.log")).unwrap();
        // Off, if there is no API server.
        let servers = ["--metrics-bind-address", "127.0.0.1:10249", "--healthz-bind-address", "127.0.0.1:10256"];
        let mut command = self.command(node, &["run"], &[&servers, more].concat());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let name = format!("node-{node}");
        let child = self.lab.on_node(&name, || command.spawn()).unwrap().unwrap();
        self.processes.push(child);
        self.eventually("the agent is ready", || {
            let answer = self.agent_says(node, 10256, "/readyz").unwrap_or_default();
            answer.lines().next().is_some_and(|line| line.contains(" 200"))
        });
        self.processes.len() - 1
    }

    /// What the agent of a node answers on a port.
    pub fn agent_says(&self, node: u8, port: u16, path: &str) -> Option<String> {
        self.lab.on_node(&format!("node-{node}"), || http(port, path)).unwrap()
    }

    /// Starts another process in a namespace; it ends with the situation.
    pub fn start(&mut self, namespace: &Namespace, command: &mut Command) {
        let log = fs::File::create(self.path("process.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = in_namespace(namespace, || command.spawn()).unwrap().unwrap();
        self.processes.push(child);
    }

    /// Ends a process without a warning, as the kernel's out-of-memory killer would.
    pub fn kill(&mut self, place: usize) {
        self.processes[place].kill().unwrap();
        self.processes[place].wait().unwrap();
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            let log = || ["agent.log", "process.log"].map(|n| fs::read_to_string(self.path(n)).unwrap_or_default());
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", log().concat());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Has nft carry out a text on a node.
    #[track_caller]
    pub fn nft(&self, node: u8, text: &str) {
        let run = || portolan::kernel::nft::run(text, false, "damage a node");
        if let Err(error) = self.lab.on_node(&format!("node-{node}"), run).unwrap() {
            panic!("{text}: {error}");
        }
    }

    /// Runs a command in a namespace; it must succeed. Returns what it printed.
    #[track_caller]
    pub fn shell(&self, namespace: &Namespace, command: &str) -> String {
        let mut words = command.split(' ');
        let program = words.next().unwrap();
        let output = in_namespace(namespace, || Command::new(program).args(words).output()).unwrap().unwrap();
        assert!(output.status.success(), "{namespace}: {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Has `ip` do something on a node, and undo it when the situation is over.
    #[track_caller]
    pub fn ip(&mut self, node: u8, command: &str, undo: &str) {
        self.until_reset(node, &format!("ip {command}"), format!("ip {undo}"));
    }

    /// Runs a command on a node, and another one when the situation is over.
    #[track_caller]
    pub fn until_reset(&mut self, node: u8, command: &str, undo: String) {
        let namespace = self.lab.node(&format!("node-{node}")).unwrap();
        self.shell(&namespace, command);
        self.undo.push((namespace, undo));
    }

    /// Switches forwarding of a family on or off.
    pub fn forwarding(&self, node: u8, family: Family, on: bool) {
        let path = match family {
            Family::V4 => "/proc/sys/net/ipv4/ip_forward",
            Family::V6 => "/proc/sys/net/ipv6/conf/all/forwarding",
        };
        let write = || fs::write(path, if on { "1" } else { "0" });
        self.lab.on_node(&format!("node-{node}"), write).unwrap().unwrap();
    }

    /// Gives a pod a resolver, as the kubelet does.
    pub fn resolv_conf(&mut self, namespace: &Namespace, text: &str) {
        let folder = PathBuf::from("/etc/netns").join(namespace.name());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("resolv.conf"), text).unwrap();
        self.etc.push(folder);
    }

    /// Makes everything as it was before anything was programmed.
    pub fn reset(&mut self) {
        self.end_processes();
        for (namespace, command) in std::mem::take(&mut self.undo).into_iter().rev() {
            self.shell(&namespace, &command);
        }
        for node in [1, 2] {
            self.nft(node, "flush ruleset");
            // Never off and on again: that would take IPv6 routes away.
            for family in Family::ALL {
                self.forwarding(node, family, true);
            }
            let namespace = self.lab.node(&format!("node-{node}")).unwrap();
            self.shell(&namespace, "conntrack -F");
        }
        let _ = fs::remove_dir_all(self.path("state"));
    }

    fn end_processes(&mut self) {
        for mut child in self.processes.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end_processes();
        for folder in &self.etc {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// What the agent in this thread's namespace answers; nothing if it does not.
fn http(port: u16, path: &str) -> Option<String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().ok()
}

fn spec() -> LabSpec {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut spec = LabSpec::new(&format!("exp-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    for node in 1..=2 {
        let addresses = [node_address(node, Family::V4), node_address(node, Family::V6)];
        let second = [[192, 168, 49, 50 + node].into(), format!("fd00:49::{}", 50 + node).parse().unwrap()];
        spec.nodes.push(LabNode { name: format!("node-{node}"), addresses: [addresses, second].concat() });
    }
    let pods = [
        ("shop", "web-1", 1, 11),
        ("shop", "web-2", 2, 11),
        ("shop", "client-1", 1, 20),
        ("shop", "client-2", 2, 20),
        ("other", "visitor", 1, 30),
        ("shop", "dns", 1, 53),
        ("shop", "web-3", 1, 12),
        ("shop", "web-4", 2, 12),
    ];
    for (namespace, name, node, last) in pods {
        spec.pods.push(LabPod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node: format!("node-{node}"),
            addresses: vec![[10, 244, node, last].into(), format!("fd00:10:244:{node}::{last}").parse().unwrap()],
            host_network: false,
            ports: Ports { tcp: [TARGET_PORT].into(), udp: [TARGET_PORT].into() },
        });
    }
    // Hosts of both families, or those outside would have no way back to IPv6 addresses.
    for address in [STRANGER.into(), "fd00:203::9".parse().unwrap()] {
        let ports = Ports { tcp: [80, TARGET_PORT].into(), udp: [80, TARGET_PORT].into() };
        spec.externals.push(LabHost { address, ports });
    }
    spec.externals.push(LabHost { address: UPSTREAM.into(), ports: Ports::default() });
    spec
}

/// The address of node-N that the cluster knows.
pub fn node_address(number: u8, family: Family) -> std::net::IpAddr {
    match family {
        Family::V4 => [192, 168, 49, 10 + number].into(),
        Family::V6 => format!("fd00:49::{}", 10 + number).parse().unwrap(),
    }
}
