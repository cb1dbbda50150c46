//! The central DNS as the chart's Deployment runs it, and those who ask it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use domain::{
    base::{
        Message, MessageBuilder, Name, Rtype,
        iana::{ExtendedErrorCode, Rcode},
        opt::ExtendedError,
    },
    rdata::AllRecordData,
};
use portolan::{
    lab::{CLIENTS, Namespace, in_namespace},
    model::Family,
};

use crate::{
    chart::{CENTRAL, Chart, mount_corefile, probe},
    cluster::{Client, Process, command_in},
    support::{Cluster, becomes, get},
    upstream::Upstream,
};

/// A name of the world, and its address.
pub const WORLD: (&str, [u8; 4]) = ("www.example.com", [203, 0, 113, 80]);
/// The TTL of the cluster's names in the chart's Corefile.
pub const TTL: u32 = 30;
/// How long a stub resolver waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A DNS server of the world, at the client's address.
pub fn world(cluster: &Cluster) -> Upstream {
    Upstream::start(&cluster.lab.client(), CLIENTS[0], &[(WORLD.0, WORLD.1.into())])
}

/// Writes what `/etc/resolv.conf` would be on a node or in a pod with `dnsPolicy: Default`: whose folder it is asks
/// [`world`].
pub fn write_resolv_conf(folder: &std::path::Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("resolv.conf"), format!("nameserver {}\n", CLIENTS[0])).unwrap();
}

/// A pod of the Deployment, with its ServiceAccount and what that may do.
pub struct Central {
    chart: Chart,
    namespace: Namespace,
    address: IpAddr,
    folder: PathBuf,
    kubeconfig: PathBuf,
    process: Option<Process>,
}

impl Central {
    /// Everything that a pod needs before it starts, in the place of an empty pod of the cluster.
    pub fn new(cluster: &Cluster, chart: Chart, pod: &str) -> Self {
        for kind in ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"] {
            cluster.client.apply(&chart.object(kind, CENTRAL));
        }
        let account = chart.object("Deployment", CENTRAL)["spec"]["template"]["spec"]["serviceAccountName"].clone();
        let token = cluster.client.token("kube-system", account.as_str().unwrap());
        let folder = cluster.api.folder().join(pod);
        write_resolv_conf(&folder);
        chart.mount(&folder, |text| text);
        Self {
            chart,
            namespace: cluster.pod(pod),
            address: cluster.pod_address(pod, Family::V4),
            folder,
            kubeconfig: cluster.api.kubeconfig(pod, &token),
            process: None,
        }
    }

    /// The same, at work: it says that it is ready.
    pub fn started(cluster: &Cluster, chart: Chart, pod: &str) -> Self {
        let mut central = Self::new(cluster, chart, pod);
        central.start();
        central.becomes_ready();
        central
    }

    /// Starts the process.
    pub fn start(&mut self) {
        let mut command = command_in(&self.namespace, env!("CARGO_BIN_EXE_portolan"));
        command.args(self.chart.arguments("Deployment", CENTRAL, &self.folder, ""));
        // In a Pod the credentials are those of its ServiceAccount.
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        self.process = Some(Process::start(CENTRAL, command, &self.folder));
    }

    /// Kills it (SIGKILL), if it runs.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Puts a Corefile in the place of the chart's.
    pub fn write_corefile(&self, text: &str) {
        mount_corefile(&self.folder, text);
    }

    /// The chart's Corefile.
    pub fn corefile(&self) -> String {
        self.chart.object("ConfigMap", CENTRAL)["data"]["Corefile"].as_str().unwrap().to_owned()
    }

    /// Somebody with its rights.
    pub fn as_client(&self, cluster: &Cluster) -> Client {
        Client::new(&self.kubeconfig, &cluster.lab.spec().outside())
    }

    /// Where it answers.
    pub fn at(&self) -> SocketAddr {
        (self.address, 53).into()
    }

    /// Whether it has left a snapshot on disk.
    pub fn has_snapshot(&self) -> bool {
        self.folder.join("names/names").exists()
    }

    /// Code and text that a probe of the container gets; `None` if there is no answer.
    pub fn probe(&self, which: &str) -> Option<(u16, String)> {
        let (path, port) = probe(&self.chart.container("Deployment", CENTRAL), which);
        self.get(port, &path)
    }

    /// The same of any path.
    fn get(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let answer = in_namespace(&self.namespace, || get(([127, 0, 0, 1], port).into(), path)).unwrap()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().unwrap(), body.to_owned()))
    }

    /// Waits until its readiness probe passes.
    #[track_caller]
    pub fn becomes_ready(&mut self) {
        becomes("the central DNS is ready", || match self.probe("readinessProbe") {
            Some((200, _)) => Ok(()),
            other => Err(format!("{other:?}; {}", self.last_words())),
        });
    }

    /// Waits until its readiness probe fails for these reasons.
    #[track_caller]
    pub fn says_what_is_missing(&mut self, reasons: &[&str]) {
        becomes(&format!("not ready because of {reasons:?}"), || match self.probe("readinessProbe") {
            Some((503, text)) if reasons.iter().all(|reason| text.contains(reason)) => Ok(()),
            other => Err(format!("{other:?}; {}", self.last_words())),
        });
        // Starting it anew would not help.
        becomes("the liveness probe passes", || match self.probe("livenessProbe") {
            Some((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// The sum of the series that begin so.
    pub fn metric(&self, series: &str) -> f64 {
        let container = self.chart.container("Deployment", CENTRAL);
        let ports = container["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == "metrics").unwrap()["containerPort"].as_u64().unwrap();
        let (_, page) = self.get(u16::try_from(port).unwrap(), "/metrics").unwrap();
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(series)).collect();
        assert!(!lines.is_empty(), "no {series}:\n{page}");
        lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Everything it said.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The end of it; a failure if it has ended.
    #[track_caller]
    fn last_words(&mut self) -> String {
        let process = self.process.as_mut().unwrap();
        assert!(process.is_alive(), "{}", process.last_words());
        process.last_words()
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: Rcode,
    /// Why it is not as it should be
    pub ede: Option<ExtendedErrorCode>,
    /// The least TTL in the answer section
    pub ttl: Option<u32>,
    /// `TYPE DATA`, sorted, of the answer section
    pub data: Vec<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?} {:?}", self.code, self.ede, self.ttl, self.data)
    }
}

/// Asks once over UDP, with EDNS, as stub resolvers do; an error if no answer comes.
pub fn ask(from: &Namespace, server: SocketAddr, name: &str, rtype: Rtype) -> Result<Answer, String> {
    ask_with(from, server, name, rtype, true)
}

/// The same with or without EDNS.
pub fn ask_with(from: &Namespace, server: SocketAddr, name: &str, rtype: Rtype, edns: bool) -> Result<Answer, String> {
    let question = (name.parse::<Name<Vec<u8>>>().unwrap(), rtype);
    let mut query = MessageBuilder::new_vec();
    query.header_mut().set_random_id();
    query.header_mut().set_rd(true);
    let id = query.header().id();
    let mut query = query.question();
    query.push(question).unwrap();
    let mut query = query.additional();
    if edns {
        query
            .opt(|opt| {
                opt.set_udp_payload_size(1232);
                Ok(())
            })
            .unwrap();
    }
    let query = query.finish();
    let exchange = || -> std::io::Result<Vec<u8>> {
        let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.send(&query)?;
        let mut answer = [0; 4096];
        let length = socket.recv(&mut answer)?;
        Ok(answer[..length].to_vec())
    };
    let answer = in_namespace(from, exchange).unwrap().map_err(|error| format!("{name}: {error}"))?;
    let message = Message::from_octets(answer.as_slice()).unwrap();
    assert!(message.header().id() == id && message.header().qr(), "{name}: not an answer to the question");
    let opt = message.opt();
    assert_eq!(opt.is_some(), edns, "{name}: EDNS is answered with EDNS");
    let ede = opt.and_then(|opt| opt.opt().first::<ExtendedError<_>>().map(|error| error.code()));
    let (mut ttl, mut data) = (None, Vec::new());
    for record in message.answer().unwrap().limit_to::<AllRecordData<_, _>>() {
        let record = record.unwrap();
        let least = ttl.unwrap_or(u32::MAX).min(record.ttl().as_secs());
        ttl = Some(least);
        data.push(format!("{} {}", record.rtype(), record.data()).trim_end_matches('.').to_owned());
    }
    data.sort();
    Ok(Answer { code: message.header().rcode(), ede, ttl, data })
}

/// Waits until this is the answer's code and data.
#[track_caller]
pub fn resolves(from: &Namespace, server: SocketAddr, question: (&str, Rtype), code: Rcode, data: &[&str]) -> Answer {
    let mut wanted: Vec<String> = data.iter().map(|text| (*text).to_owned()).collect();
    wanted.sort();
    let (name, rtype) = question;
    becomes(&format!("{name} {rtype} is {code} {wanted:?}, asked from {from}"), || {
        let answer = ask(from, server, name, rtype)?;
        if answer.code == code && answer.data == wanted { Ok(answer) } else { Err(answer.to_string()) }
    })
}

/// The name of an address for questions backwards.
pub fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}
