use std::{
    env,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::server::Server;

/// What is measured and for how long; each from an environment variable of its name, `DNS_BENCH_SERVICES` and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// Number of Services
    pub services: usize,
    /// Endpoints of each Service that has any
    pub endpoints: usize,
    /// Whose serving is measured
    pub servers: Vec<Server>,
    /// Who follows an API server
    pub following: Vec<Server>,
    /// Different questions in the mix
    pub questions: usize,
    /// How many of them are asked of all servers beforehand, to compare the answers
    pub checked: usize,
    /// How often everything is measured, in turns
    pub rounds: usize,
    /// How long each time
    pub seconds: u64,
    /// Queries a second where latency and processor time are measured
    pub rate: u32,
    /// How many single changes are waited for
    pub changes: usize,
    /// How many changes are made after them, as fast as the API server takes them
    pub churn: usize,
    /// The processor that servers run on, and the one for everything else
    pub server_core: usize,
    pub client_core: usize,
}

impl Options {
    /// Reads the environment. Panics on what it cannot read.
    pub fn from_environment() -> Self {
        let options = Self {
            services: one("SERVICES", "10000"),
            endpoints: one("ENDPOINTS", "10"),
            servers: list("SERVERS", "portolan,nsd,knot,coredns"),
            following: list("FOLLOWING", "portolan,coredns"),
            questions: one("QUESTIONS", "100000"),
            checked: one("CHECKED", "5000"),
            rounds: one("ROUNDS", "3"),
            seconds: one("SECONDS", "10"),
            rate: one("RATE", "10000"),
            changes: one("CHANGES", "300"),
            churn: one("CHURN", "100000"),
            server_core: one("SERVER_CORE", "0"),
            client_core: one("CLIENT_CORE", "1"),
        };
        assert!(options.services >= 100, "DNS_BENCH_SERVICES: fewer than 100 are not of every kind");
        assert!(options.server_core != options.client_core, "server and client need a processor each");
        options
    }

    /// Whether there must be an API server.
    pub fn needs_api(&self) -> bool {
        !self.following.is_empty() || self.servers.contains(&Server::CoreDns)
    }

    /// Where the page goes: `DNS_BENCH_OUT`, else docs/.
    pub fn folder() -> PathBuf {
        let docs = || concat!(env!("CARGO_MANIFEST_DIR"), "/docs").into();
        env::var_os("DNS_BENCH_OUT").map_or_else(docs, PathBuf::from)
    }

    /// Where files go while it runs: memory, where the machine has such a folder.
    pub fn scratch() -> PathBuf {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { memory.into() } else { env::temp_dir() }
    }
}

fn read(name: &str, default: &str) -> String {
    env::var(format!("DNS_BENCH_{name}")).unwrap_or_else(|_| default.to_owned())
}

fn one<T: FromStr>(name: &str, default: &str) -> T {
    let text = read(name, default);
    text.parse().unwrap_or_else(|_| panic!("DNS_BENCH_{name}={text} cannot be read; the default is {default}"))
}

fn list<T: FromStr>(name: &str, default: &str) -> Vec<T> {
    let text = read(name, default);
    let items = text.split([',', ' ']).filter(|item| !item.is_empty());
    items
        .map(|item| item.parse().unwrap_or_else(|_| panic!("DNS_BENCH_{name}={text} cannot be read at {item:?}")))
        .collect()
}
