//! One process of `portolan dns` for a mode, with an upstream and, where it has no manifests, an API server of its own.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use tempfile::TempDir;

use crate::{
    corefile::corefile,
    sandbox::{PORTOLAN, Running, eventually},
    upstream,
};

pub struct Server {
    pub names: SocketAddr,
    ready: SocketAddr,
    folder: TempDir,
    process: Option<Running>,
    /// Takes connections and never says anything
    api_server: TcpListener,
    api_address: SocketAddr,
}

impl Server {
    /// A folder with the Corefile of a mode, and an upstream that answers.
    pub fn new(mode: &str) -> Self {
        let [names, ready, upstream, api] = [(); 4].map(|()| address());
        upstream::start(upstream);
        let folder = tempfile::tempdir().unwrap();
        let api_server = TcpListener::bind(api).unwrap();
        let server = Self { names, ready, folder, process: None, api_server, api_address: api };
        fs::write(server.path("Corefile"), corefile(mode, names, ready, upstream)).unwrap();
        server
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it with manifests, and waits until it is ready.
    pub fn with_manifests(mut self, manifests: &str) -> Self {
        fs::write(self.path("objects.json"), manifests).unwrap();
        let manifests = self.path("objects.json");
        self.start(&["--manifests", manifests.to_str().unwrap()]);
        eventually("the server is ready", || self.is_ready());
        self
    }

    /// Starts it with an API server that does not answer, and with what an earlier process left, if anything.
    pub fn without_objects(mut self) -> Self {
        let (api, file) = (format!("http://{}", self.api_address), self.path("names"));
        self.start(&["--apiserver", &api, "--dns-snapshot-file", file.to_str().unwrap()]);
        eventually("the API server is asked", || self.api_server.accept().is_ok());
        eventually("it takes connections", || TcpStream::connect(self.names).is_ok());
        assert!(!self.is_ready(), "it cannot have all names");
        self
    }

    fn start(&mut self, arguments: &[&str]) {
        let errors = fs::File::create(self.path("err")).unwrap();
        let mut command = Command::new(PORTOLAN);
        command.arg("dns").arg("--corefile").arg(self.path("Corefile")).args(arguments);
        command.args(["--state-dir", self.path("state").to_str().unwrap()]).stdin(Stdio::null()).stderr(errors);
        self.process = Some(Running::of(command.spawn().unwrap()));
    }

    fn is_ready(&self) -> bool {
        use std::io::{Read, Write};
        let mut text = String::new();
        let Ok(mut stream) = TcpStream::connect(self.ready) else { return false };
        let asked = write!(stream, "GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        asked.and_then(|()| stream.read_to_string(&mut text)).is_ok() && text.starts_with("HTTP/1.1 200 ")
    }

    /// What it said on standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("err")).unwrap()
    }
}

/// An address that nobody else has. An ephemeral port of 127.0.0.1 could be given to two servers at once, for they share
/// ports on purpose; a loopback address made of the process's id cannot, and ports below the ephemeral ones are no
/// client's.
pub fn address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 128 | high, middle, low);
    SocketAddr::new(IpAddr::V4(address), NEXT.fetch_add(1, Ordering::Relaxed))
}
