//! Who answers in the pods: on every port of every pod, with the pod's name and what it saw of the client.
//!
//! A line over TCP, or a datagram, is answered with two lines:
//!
//! ```text
//! You've hit web-1
//! from 192.168.49.11:40321 to 10.244.1.2:8080
//! ```
//!
//! Every further line on the same connection is answered too, so that a connection can be kept and watched. A request
//! in HTTP gets the two lines as the body of an HTTP answer. A client that closes its half without a word is answered
//! once.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs::{self, OpenOptions},
    future::pending,
    io::{self, BufRead, Write},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    process::{Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinSet,
    time::sleep,
};

use super::{LabError, LabPod, LabSpec, Namespace, Ports, in_namespace, state::State};

/// What [`serve`] writes to standard output once every socket listens.
pub const READY: &str = "ready";

/// The longest line that is read; what is longer counts as several.
const LONGEST_LINE: u64 = 8192;

/// Who is to answer where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Everybody who answers
    pub servers: Vec<Server>,
}

/// One pod, or one host outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The pod's `namespace/name`, or the host's address
    pub id: String,
    /// The name it answers with
    pub name: String,
    /// Where it lives
    pub namespace: Namespace,
    /// The addresses it listens on
    pub addresses: Vec<IpAddr>,
    /// The ports it listens on, on each address
    pub ports: Ports,
}

impl Server {
    /// The server of a pod.
    pub(super) fn of_pod(spec: &LabSpec, pod: &LabPod) -> Self {
        Self {
            id: pod.id(),
            name: pod.name.clone(),
            namespace: spec.pod_namespace(pod),
            addresses: pod.addresses.clone(),
            ports: pod.ports.clone(),
        }
    }
}

impl Plan {
    /// All pods and external hosts of a lab.
    pub(super) fn of(spec: &LabSpec) -> Self {
        let pods = spec.pods.iter().map(|pod| Server::of_pod(spec, pod));
        let externals = spec.externals.iter().map(|host| Server {
            id: host.address.to_string(),
            name: host.address.to_string(),
            namespace: spec.outside(),
            addresses: vec![host.address],
            ports: host.ports.clone(),
        });
        Self { servers: pods.chain(externals).collect() }
    }
}

/// Answers until the process ends. Writes the line [`READY`] to standard output when all sockets listen.
///
/// Fails if a namespace cannot be entered or a port cannot be listened on.
pub fn serve(plan: Plan) -> Result<Infallible, LabError> {
    let sockets = plan.servers.iter().map(Sockets::open).collect::<Result<Vec<_>, _>>()?;
    let runtime = runtime()?;
    let mut tasks = JoinSet::new();
    {
        let _guard = runtime.enter();
        for sockets in sockets {
            sockets.answer(&mut tasks)?;
        }
    }
    writeln!(io::stdout(), "{READY}").map_err(|e| LabError::io("report readiness", e))?;
    runtime.block_on(pending())
}

/// Starts a process that calls [`serve`], notes it in the lab's state, and returns when it is ready.
pub(super) fn launch(command: &[OsString], plan: &Plan, state: &State) -> Result<(), LabError> {
    let attempt = || format!("start the responder {command:?}");
    let failed = |e| LabError::io(attempt(), e);
    let Some((program, arguments)) = command.split_first() else {
        return Err(LabError::Failed { attempt: attempt(), reason: "the command is empty".to_owned() });
    };
    let plan = serde_json::to_vec(plan).map_err(|e| failed(e.into()))?;
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(state.log()).map_err(failed)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // So that Ctrl-C in the terminal ends the command and not the lab.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    state.note_process(child.id())?;
    // A process that gave up early closes the pipe; its last words are then the better error.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(&plan));
    let said = child.stdout.take().into_iter().flat_map(|stdout| io::BufReader::new(stdout).lines());
    if said.map_while(Result::ok).any(|line| line == READY) {
        return written.map_err(failed);
    }
    let log = fs::read_to_string(state.log()).unwrap_or_default();
    let reason = format!("it ended before it was ready: {}", log.lines().last().unwrap_or("no word in its log"));
    Err(LabError::Failed { attempt: attempt(), reason })
}

/// A server in a thread of this process. It ends, and its connections with it, when this value is dropped.
#[derive(Debug)]
pub struct Responder {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Starts answering; all sockets listen when it returns.
    pub fn start(server: &Server) -> Result<Self, LabError> {
        let sockets = Sockets::open(server)?;
        let runtime = runtime()?;
        let mut tasks = JoinSet::new();
        {
            let _guard = runtime.enter();
            sockets.answer(&mut tasks)?;
        }
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(format!("lab {}", server.name))
            .spawn(move || {
                // Nothing is ever sent: the channel ends when the Responder is dropped.
                drop(runtime.block_on(stopped));
                drop(tasks);
            })
            .map_err(|e| LabError::io("start a thread for a responder", e))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has closed its sockets as well.
            drop(thread.join());
        }
    }
}

fn runtime() -> Result<Runtime, LabError> {
    Builder::new_current_thread().enable_all().build().map_err(|e| LabError::io("start a responder", e))
}

/// A server's sockets, opened in its namespace.
struct Sockets {
    name: Arc<str>,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl Sockets {
    /// Opens one socket for each address and port, so that a datagram is answered from the address it was sent to.
    fn open(server: &Server) -> Result<Self, LabError> {
        in_namespace(&server.namespace, || {
            let mut sockets = Self { name: server.name.as_str().into(), tcp: Vec::new(), udp: Vec::new() };
            for address in &server.addresses {
                for port in &server.ports.tcp {
                    let at = SocketAddr::new(*address, *port);
                    let socket = TcpListener::bind(at).and_then(|s| s.set_nonblocking(true).map(|()| s));
                    sockets.tcp.push(socket.map_err(|e| cannot_listen(server, "TCP", at, e))?);
                }
                for port in &server.ports.udp {
                    let at = SocketAddr::new(*address, *port);
                    let socket = UdpSocket::bind(at).and_then(|s| s.set_nonblocking(true).map(|()| s));
                    sockets.udp.push(socket.map_err(|e| cannot_listen(server, "UDP", at, e))?);
                }
            }
            Ok(sockets)
        })?
    }

    /// Answers on all of them, in the runtime of the calling thread.
    fn answer(self, tasks: &mut JoinSet<()>) -> Result<(), LabError> {
        let runtime = tokio::runtime::Handle::current();
        let register = |e| LabError::io(format!("watch the sockets of {}", self.name), e);
        for socket in self.tcp {
            let socket = tokio::net::TcpListener::from_std(socket).map_err(register)?;
            tasks.spawn_on(accept(socket, self.name.clone()), &runtime);
        }
        for socket in self.udp {
            let socket = tokio::net::UdpSocket::from_std(socket).map_err(register)?;
            tasks.spawn_on(echo(socket, self.name.clone()), &runtime);
        }
        Ok(())
    }
}

fn cannot_listen(server: &Server, protocol: &str, at: SocketAddr, error: io::Error) -> LabError {
    LabError::io(format!("listen on {protocol} {at} as {} in {}", server.name, server.namespace), error)
}

/// The two lines.
fn answer(name: &str, client: SocketAddr, here: SocketAddr) -> String {
    format!("You've hit {name}\nfrom {client} to {here}\n")
}

async fn accept(listener: tokio::net::TcpListener, name: Arc<str>) {
    let mut conversations = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let name = name.clone();
                conversations.spawn(async move {
                    if let Err(error) = converse(stream, &name).await {
                        tracing::debug!(pod = %name, %error, "a client's connection broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(pod = %name, %error, "cannot accept a connection");
                sleep(Duration::from_millis(10)).await;
            }
        }
        while conversations.try_join_next().is_some() {}
    }
}

async fn converse(stream: tokio::net::TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = answer(name, stream.peer_addr()?, stream.local_addr()?);
    let mut stream = BufReader::new(stream);
    let mut answered = false;
    loop {
        let line = read_line(&mut stream).await?;
        if line.is_empty() {
            return if answered { Ok(()) } else { stream.write_all(answer.as_bytes()).await };
        }
        if !answered && is_http(&line) {
            return answer_http(&mut stream, &answer).await;
        }
        stream.write_all(answer.as_bytes()).await?;
        answered = true;
    }
}

/// One line with its end; nothing at the end of the stream.
async fn read_line(stream: &mut BufReader<tokio::net::TcpStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    Ok(line)
}

/// Whether a line is an HTTP request line: `GET / HTTP/1.1`.
fn is_http(line: &[u8]) -> bool {
    line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().is_some_and(|version| version.starts_with(b"HTTP/1."))
}

/// Answers one request and closes: enough for curl, wget and browsers.
async fn answer_http(stream: &mut BufReader<tokio::net::TcpStream>, body: &str) -> io::Result<()> {
    while !read_line(stream).await?.trim_ascii().is_empty() {}
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n");
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
    stream.shutdown().await?;
    // A request's body that nobody reads would make the kernel reset the connection before the answer is read.
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}

async fn echo(socket: tokio::net::UdpSocket, name: Arc<str>) {
    let mut datagram = [0; 2048];
    let Ok(here) = socket.local_addr() else { return };
    loop {
        let result = match socket.recv_from(&mut datagram).await {
            Ok((_, client)) => socket.send_to(answer(&name, client, here).as_bytes(), client).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::debug!(pod = %name, %error, "a datagram was not answered");
        }
    }
}
