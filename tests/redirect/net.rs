//! The machines: namespaces that are gone when the test is, whatever becomes of it.

use std::{
    env,
    fs::File,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use portolan::lab::obstacle;

/// The DNS Service.
pub const VIPS: [&str; 2] = ["10.96.0.10", "fd00:96::a"];
/// Where its only endpoint is.
pub const CENTRAL: [&str; 2] = ["192.168.10.9", "fd00:192::9"];
/// The pod.
pub const POD: [&str; 2] = ["10.244.1.10", "fd00:244:1::10"];
/// The node, towards the central DNS.
pub const NODE: [&str; 2] = ["192.168.10.5", "fd00:192::5"];

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Pod,
    Node,
    Central,
}

/// The machines of one test.
pub struct Net {
    prefix: String,
    over: Arc<AtomicBool>,
    state: tempfile::TempDir,
}

impl Net {
    /// Builds the machines, programs the node with the real data plane and starts the central DNS. `None`, with a word
    /// why, where that cannot be.
    pub fn up(test: &str) -> Option<Self> {
        if let Some(reason) = obstacle() {
            assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
            println!("SKIPPED {test}: {reason}");
            return None;
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("rdr-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let net = Self { prefix, over: Arc::default(), state: tempfile::tempdir().unwrap() };
        for machine in [Machine::Pod, Machine::Node, Machine::Central] {
            succeed(Command::new("ip").args(["netns", "add", &net.name(machine)]));
        }
        net.wire();
        net.program();
        net.serve_centrally();
        Some(net)
    }

    pub fn name(&self, machine: Machine) -> String {
        format!("{}{}", self.prefix, format!("{machine:?}").to_lowercase())
    }

    fn wire(&self) {
        let [pod, node, central] = [Machine::Pod, Machine::Node, Machine::Central].map(|m| self.name(m));
        let settings = [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.rp_filter=1",
            "net.ipv4.conf.default.rp_filter=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv6.conf.default.accept_dad=0",
        ];
        self.run(Machine::Node, &[&["sysctl", "-qw"][..], &settings[..]].concat());
        let batch = format!(
            "link set lo up\n\
             link add vp type veth peer name e0 netns {pod}\n\
             link add vr type veth peer name e0 netns {central}\n\
             link set vp up\nlink set vr up\n\
             addr add 10.244.1.1/32 dev vp\naddr add fd00:244:1::1/64 dev vp nodad\n\
             addr add 192.168.10.5/24 dev vr\naddr add fd00:192::5/64 dev vr nodad\n\
             route add 10.244.1.10 dev vp\n\
             route add default via 192.168.10.9\nroute add default via fd00:192::9\n"
        );
        self.ip(&node, &batch);
        self.ip(
            &pod,
            "link set lo up\nlink set e0 up\n\
             addr add 10.244.1.10/24 dev e0\naddr add fd00:244:1::10/64 dev e0 nodad\n\
             route add default via 10.244.1.1\nroute add default via fd00:244:1::1\n",
        );
        self.ip(
            &central,
            "link set lo up\nlink set e0 up\n\
             addr add 192.168.10.9/24 dev e0\naddr add fd00:192::9/64 dev e0 nodad\n\
             route add 10.244.0.0/16 via 192.168.10.5\nroute add fd00:244::/32 via fd00:192::5\n",
        );
    }

    fn ip(&self, namespace: &str, batch: &str) {
        let mut child =
            Command::new("ip").args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{namespace}: {batch}");
    }

    /// Has the data plane program the node, as it does again at each verification that finds something.
    pub fn program(&self) {
        let manifests = include_str!("service.yaml");
        let mut command = self.command(Machine::Node, &[env!("CARGO_BIN_EXE_portolan"), "apply", "-f", "-"]);
        command.args(["--node", "node-1", "--cluster-cidr", "10.244.0.0/16,fd00:244::/32", "--log", "error"]);
        command.args(["--service-cidr", "10.96.0.0/16,fd00:96::/112"]);
        command.arg("--state-dir").arg(self.state.path().join("state"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Removes all that Portolan made on the node.
    pub fn clean_up(&self) {
        let state = self.state.path().join("state");
        let words = [env!("CARGO_BIN_EXE_portolan"), "cleanup", "--state-dir", state.to_str().unwrap()];
        self.run(Machine::Node, &words);
    }

    /// The central DNS: says `CENTRAL` and whom it saw.
    fn serve_centrally(&self) {
        for address in CENTRAL {
            let address: SocketAddr = (address.parse::<IpAddr>().unwrap(), 53).into();
            let (udp, tcp) = self
                .inside(Machine::Central, || (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap()));
            udp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            tcp.set_nonblocking(true).unwrap();
            let over = self.over.clone();
            thread::spawn(move || {
                let mut query = [0; 512];
                while !over.load(Ordering::Relaxed) {
                    if let Ok((length, client)) = udp.recv_from(&mut query) {
                        let _ = udp.send_to(&answer("CENTRAL", &query[..length], client), client);
                    }
                }
            });
            let over = self.over.clone();
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let Ok((mut stream, client)) = tcp.accept() else {
                        thread::sleep(Duration::from_millis(1));
                        continue;
                    };
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                    let mut query = [0; 2];
                    if stream.read_exact(&mut query).is_ok() {
                        let _ = stream.write_all(&answer("CENTRAL", &query, client));
                    }
                }
            });
        }
    }

    /// Does something on a thread inside the machine.
    pub fn inside<T: Send>(&self, machine: Machine, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(machine))).unwrap();
        let inside = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command in the machine.
    pub fn command(&self, machine: Machine, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(machine)]).args(words);
        command
    }

    /// Runs a command in the machine, which must succeed, and returns what it printed.
    pub fn run(&self, machine: Machine, words: &[&str]) -> String {
        String::from_utf8(succeed(&mut self.command(machine, words)).stdout).unwrap()
    }

    /// Connections that the node tracks to or from port 53.
    pub fn tracked(&self) -> usize {
        let count = |family| {
            let listed = self.run(Machine::Node, &["conntrack", "-L", "-f", family]);
            listed.lines().filter(|line| line.contains("dport=53 ")).count()
        };
        count("ipv4") + count("ipv6")
    }

    /// What of the redirect there is on the node: tables, rules, routes.
    pub fn remains(&self) -> String {
        let mut found = String::new();
        for words in [
            &["nft", "list", "tables"][..],
            &["ip", "rule", "show"],
            &["ip", "-6", "rule", "show"],
            &["ip", "route", "show", "table", "all"],
            &["ip", "-6", "route", "show", "table", "all"],
        ] {
            let listed = self.run(Machine::Node, words);
            let ours = listed.lines().filter(|line| line.contains("portolan-dns") || line.contains("proto 53"));
            found.extend(ours.map(|line| format!("{line}\n")));
        }
        found
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for machine in [Machine::Pod, Machine::Node, Machine::Central] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(machine)]).stderr(Stdio::null()).status();
        }
    }
}

/// The answer to a query: its ID, who answers and whom it saw.
pub fn answer(who: &str, query: &[u8], client: SocketAddr) -> Vec<u8> {
    let mut answer = query.get(..2).unwrap_or_default().to_vec();
    answer.extend_from_slice(format!("{who} saw {}", client.ip()).as_bytes());
    answer
}

fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
