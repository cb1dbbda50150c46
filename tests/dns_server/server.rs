//! One process, and those who ask it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use domain::{
    base::{Message, MessageBuilder, Name, Rtype, iana::Rcode},
    rdata::AllRecordData,
};
use tempfile::TempDir;

use crate::sandbox::{PORTOLAN, Running, eventually};

/// The longest wait for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const OBJECTS: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.20.1, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.96.20.2, clusterIPs: [10.96.20.2, 'fd00:96::22'], ports: [{port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, ports: [{name: pg, port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: pg, port: 5432}]
endpoints: [{addresses: [10.244.1.30], hostname: db-0, conditions: {ready: true}}]
---
apiVersion: v1
kind: Service
metadata: {name: partner, namespace: shop}
spec: {type: ExternalName, externalName: API.Partner.Example}
";

/// A server of names with a folder of its own.
pub struct Server {
    pub folder: TempDir,
    pub port: u16,
    /// For health, readiness, metrics
    pub http: [u16; 3],
    pub process: Option<Running>,
}

/// What is put into the server block besides what every test needs.
impl Server {
    /// A server with these lines in its block, not yet started.
    pub fn new(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let http = [free_port(), free_port(), free_port()];
        let server = Self { folder, port: free_port(), http, process: None };
        fs::create_dir(server.path("objects")).unwrap();
        server.write("objects/all.yaml", OBJECTS);
        server.corefile(lines);
        server
    }

    pub fn started(lines: &str) -> Self {
        let mut server = Self::new(lines);
        server.start();
        server.until_ready();
        server
    }

    pub fn until_ready(&self) {
        eventually("the server is ready", || self.get(1, "/ready").is_some_and(|(code, _)| code == 200));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes the Corefile.
    pub fn corefile(&self, lines: &str) {
        let [health, ready, metrics] = self.http;
        let text = format!(
            ".:{} {{\n  errors\n  health 127.0.0.1:{health} {{\n    lameduck 1s\n  }}\n  ready 127.0.0.1:{ready}\n  \
             prometheus 127.0.0.1:{metrics}\n  {lines}\n}}\n",
            self.port
        );
        self.write("Corefile", &text);
    }

    pub fn start(&mut self) {
        let errors = fs::File::create(self.path("err")).unwrap();
        let mut command = Command::new(PORTOLAN);
        command.arg("dns").arg("--corefile").arg(self.path("Corefile"));
        command.arg("--manifests").arg(self.path("objects")).stdin(Stdio::null()).stderr(errors);
        self.process = Some(Running::of(command.spawn().unwrap()));
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Asks over UDP.
    #[track_caller]
    pub fn ask(&self, name: &str, rtype: Rtype) -> Answer {
        Answer::read(&self.ask_raw(&query(1, name, rtype), false).expect("an answer"))
    }

    /// Sends a message and returns what comes; none if nothing does.
    pub fn ask_raw(&self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        if !tcp {
            let socket = client(self.address());
            socket.send(query).unwrap();
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).ok()?;
            return Some(buffer[..length].to_vec());
        }
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(query).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).ok()?;
        Some(message)
    }

    /// Asks over TCP.
    #[track_caller]
    pub fn ask_tcp(&self, name: &str, rtype: Rtype) -> Answer {
        Answer::read(&self.ask_raw(&query(1, name, rtype), true).expect("an answer"))
    }

    /// What one of the HTTP servers says; none if it does not.
    pub fn get(&self, which: usize, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http[which])).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The value of a series, by the begin of its line.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get(2, "/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("err")).unwrap()
    }
}

/// An answer, in words.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub rcode: Rcode,
    /// The data of the answer section
    pub data: Vec<String>,
}

impl Answer {
    #[track_caller]
    fn read(message: &[u8]) -> Self {
        let message = Message::from_octets(message).expect("a message");
        let records = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
        let data = records.map(|record| record.unwrap().data().to_string()).collect();
        Self { rcode: message.header().rcode(), data }
    }
}

pub fn query(id: u16, name: &str, rtype: Rtype) -> Vec<u8> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    let mut question = message.question();
    question.push((name.parse::<Name<Vec<u8>>>().unwrap(), rtype)).unwrap();
    question.finish()
}

pub fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A port that nobody has, over UDP and TCP. Somebody may take it before it is used: not in these tests.
pub fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
