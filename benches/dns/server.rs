use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use portolan::lab::Namespace;
use serde::{Deserialize, Serialize};

use crate::{
    check::Asker,
    cluster::{ApiServer, Process, command_in},
    data::{Data, ZONE, owner},
    figures::first_line,
    processes::{descendants, processor_seconds, resident},
    questions::Question,
    settings,
};

/// How long a server may take to answer for everything.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long it is left alone then.
const SETTLE: Duration = Duration::from_secs(3);
/// The longest that a server may live, whatever becomes of the benchmark: seconds, for `timeout`.
const LIFE: &str = "7200";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    Portolan,
    Nsd,
    Knot,
    CoreDns,
}

/// Where a server has the names from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Files,
    ApiServer,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Portolan => "portolan",
            Server::Nsd => "nsd",
            Server::Knot => "knot",
            Server::CoreDns => "coredns",
        })
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Server::Portolan, Server::Nsd, Server::Knot, Server::CoreDns];
        all.into_iter().find(|server| server.to_string() == text).ok_or_else(|| format!("no server {text}"))
    }
}

impl Server {
    /// Where it has the names from while its serving is measured.
    pub fn usual_source(self) -> Source {
        if self == Server::CoreDns { Source::ApiServer } else { Source::Files }
    }

    /// Its program. `DNS_BENCH_PORTOLAN` may name another build of Portolan.
    fn program(self) -> PathBuf {
        let given = |name, default: &str| env::var_os(name).unwrap_or_else(|| default.into()).into();
        match self {
            Server::Portolan => given("DNS_BENCH_PORTOLAN", env!("CARGO_BIN_EXE_portolan")),
            Server::Nsd => "nsd".into(),
            Server::Knot => "knotd".into(),
            Server::CoreDns => given("DNS_BENCH_COREDNS", "coredns"),
        }
    }

    /// Its version in its own words.
    pub fn version(self) -> String {
        let flag = match self {
            Server::Portolan | Server::Knot => "--version",
            Server::Nsd => "-v",
            Server::CoreDns => "-version",
        };
        first_line(&self.program().to_string_lossy(), &[flag])
    }

    /// Panics if it cannot be started at all.
    pub fn assert_installed(self) {
        let program = self.program();
        let arguments: &[&str] = match self {
            Server::Portolan => &["dns", "--help"],
            Server::Nsd => &["-v"],
            Server::Knot => &["--version"],
            Server::CoreDns => &["-version"],
        };
        let status = Command::new(&program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(
            status.as_ref().is_ok_and(std::process::ExitStatus::success),
            "{} {} does not work: {status:?}; `make compare-dns` installs and builds what is needed, and \
             DNS_BENCH_SERVERS and DNS_BENCH_FOLLOWING leave a server out",
            program.display(),
            arguments.join(" ")
        );
    }
}

/// A server, and where it is to run.
pub struct Subject<'a> {
    pub server: Server,
    pub source: Source,
    pub namespace: Namespace,
    pub api: Option<&'a ApiServer>,
    /// Where zone files and manifests are
    pub folder: &'a Path,
    /// The only processor it may use
    pub core: usize,
}

impl Subject<'_> {
    /// Starts it and waits until it answers for Services from everywhere in the data.
    pub fn start(&self, data: &Data) -> Running {
        let folder = self.folder.join(self.namespace.name());
        fs::create_dir(&folder).unwrap();
        let mut command = command_in(&self.namespace, "timeout");
        command.args(["--kill-after=5", LIFE, "taskset", "--cpu-list", &self.core.to_string()]);
        command.arg(self.server.program()).args(self.arguments(&folder)).env("GOMAXPROCS", "1");
        eprintln!("{}: start", self.server);
        let started = Instant::now();
        let mut process = Process::start(&self.server.to_string(), command, &folder);
        let asker = Asker::new(&self.namespace);
        for number in (0..data.services).step_by((data.services / 100).max(1)) {
            let question = Question { name: format!("{}.{ZONE}", owner(number)), kind: "A".into() };
            while !asker.try_ask(&question).is_some_and(|answer| answer.has_records()) {
                assert!(process.is_alive() && started.elapsed() < PATIENCE, "{question:?}: {}", process.last_words());
                thread::sleep(Duration::from_millis(5));
            }
        }
        let start = started.elapsed().as_secs_f64();
        thread::sleep(SETTLE);
        Running { process, asker, start }
    }

    fn arguments(&self, folder: &Path) -> Vec<OsString> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        match self.server {
            Server::Nsd => vec!["-d".into(), "-c".into(), write("nsd.conf", settings::nsd(self.folder)).into()],
            Server::Knot => vec!["-c".into(), write("knot.conf", settings::knot(self.folder)).into()],
            Server::CoreDns => {
                let extra = format!("kubeconfig {} test", self.api().admin_kubeconfig().display());
                vec!["-conf".into(), write("Corefile", settings::corefile(&extra)).into()]
            }
            Server::Portolan => {
                let corefile = write("Corefile", settings::corefile(""));
                let mut arguments: Vec<OsString> = vec!["dns".into(), "--corefile".into(), corefile.into()];
                match self.source {
                    Source::Files => arguments.extend(["--manifests".into(), self.folder.join("manifests").into()]),
                    Source::ApiServer => {
                        let (url, kubeconfig) = (self.api().url(), self.api().admin_kubeconfig());
                        arguments.extend(["--apiserver".into(), url.into(), "--kubeconfig".into(), kubeconfig.into()]);
                        // As the chart has it: what is written for the next start is part of the work.
                        arguments.extend(["--dns-snapshot-file".into(), folder.join("names").into()]);
                    }
                }
                arguments
            }
        }
    }

    /// The API server.
    pub fn api(&self) -> &ApiServer {
        self.api.expect("an API server was started for who needs one")
    }
}

/// A server that answers. Dropping it ends it.
pub struct Running {
    process: Process,
    /// Asks it
    pub asker: Asker,
    /// Seconds until it answered for everything
    pub start: f64,
}

impl Running {
    /// Processor time of all its processes so far, in seconds.
    pub fn processor(&self) -> f64 {
        descendants(self.process.id()).into_iter().map(processor_seconds).sum()
    }

    /// Memory of all its processes, in bytes.
    pub fn memory(&self) -> u64 {
        descendants(self.process.id()).into_iter().map(resident).sum()
    }

    /// Panics, with what it said, if it has ended.
    pub fn assert_alive(&mut self) {
        assert!(self.process.is_alive(), "{}", self.process.last_words());
    }
}
