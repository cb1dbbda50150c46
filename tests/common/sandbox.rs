//! A network namespace and a folder for one test, and the built program run in them.

#![allow(dead_code, reason = "every test file uses a part of it")]
use std::{
    env,
    ffi::OsStr,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use portolan::kernel::{DataPlane, NetlinkDataPlane};
use tempfile::TempDir;

/// The built program.
pub const PORTOLAN: &str = env!("CARGO_BIN_EXE_portolan");

/// How long [`eventually`] waits before it gives up: far longer than anything should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A fresh network namespace with its loopback up, and a folder; both go with the value.
pub struct Sandbox {
    namespace: String,
    folder: TempDir,
}

impl Sandbox {
    /// A sandbox; `None`, with a word why, where none can be made, and a failure where one must be.
    pub fn new(test: &str) -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let namespace = format!("ptg-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        if let Some(reason) = obstacle() {
            assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
            println!("SKIPPED {test}: {reason}");
            return None;
        }
        run("ip", ["netns", "add", &namespace]);
        let sandbox = Self { namespace, folder: tempfile::tempdir().unwrap() };
        sandbox.ok("ip", &["link", "set", "lo", "up"]);
        Some(sandbox)
    }

    /// Name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the folder, and the folders above it; returns its path as text.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Where the program remembers allocations.
    pub fn state(&self) -> String {
        self.path("state").to_str().unwrap().to_owned()
    }

    /// A command in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]).stdin(Stdio::null());
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// Runs a command in the namespace, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn ok(&self, program: &str, arguments: &[&str]) -> String {
        succeeded(&mut self.command(program), arguments)
    }

    /// The program in the namespace with these words, and nothing else.
    pub fn bare(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(PORTOLAN).args(arguments).output().unwrap())
    }

    /// The program in the namespace, as node-1, with the folder's state: `portolan ARGUMENTS --node node-1 ...`.
    pub fn portolan(&self, arguments: &[&str]) -> Ran {
        let state = self.state();
        self.bare(&[arguments, &["--node", "node-1", "--state-dir", &state, "--log", "error"]].concat())
    }

    /// Like [`Sandbox::portolan`], without CAP_SYS_ADMIN: as in a container of the chart.
    pub fn limited(&self, arguments: &[&str]) -> Ran {
        self.without("sys_admin", arguments)
    }

    /// Like [`Sandbox::portolan`], without a capability.
    pub fn without(&self, capability: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command("setpriv");
        command.args(["--bounding-set", &format!("-{capability}"), PORTOLAN]).args(arguments);
        Ran::of(command.args(["--node", "node-1", "--state-dir", &self.state()]).output().unwrap())
    }

    /// Does something on a thread in the namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(Path::new("/run/netns").join(&self.namespace)).unwrap();
        let inside = || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap()
    }

    /// Which ruleset the kernel has: another number after every transaction.
    pub fn generation(&self) -> u32 {
        self.inside(|| NetlinkDataPlane::open().unwrap().generation().unwrap())
    }

    /// `portolan apply` of some paths, which must do all of it; returns its line.
    #[track_caller]
    pub fn apply(&self, paths: &[&str]) -> String {
        let ran = self.portolan(&with_manifests("apply", paths));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "apply {paths:?}");
        ran.stdout
    }

    /// Has nft load a text, which it must take.
    #[track_caller]
    pub fn nft(&self, text: &str) {
        let ran = feed(self.command("nft").args(["-f", "-"]), text);
        assert_eq!(ran.code, 0, "{}\n{text}", ran.stderr);
    }

    /// The whole ruleset without counters.
    pub fn ruleset(&self) -> String {
        self.ok("nft", &["--stateless", "list", "ruleset"])
    }

    /// Starts the program in the namespace and leaves it running, its output in the folder's files `NAME.out` and
    /// `NAME.err`.
    pub fn start(&self, name: &str, arguments: &[&str]) -> Running {
        let file = |end: &str| fs::File::create(self.path(&format!("{name}.{end}"))).unwrap();
        let mut command = self.command(PORTOLAN);
        let state = self.state();
        command.args(arguments).args(["--node", "node-1", "--state-dir", &state]);
        Running { child: command.stdout(file("out")).stderr(file("err")).spawn().unwrap() }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).status();
    }
}

/// A program that still runs; killed, at the latest, when the value is dropped.
pub struct Running {
    child: Child,
}

impl Running {
    /// A program that was started in another way.
    pub fn of(child: Child) -> Self {
        Self { child }
    }

    /// Asks it to end, and waits; its exit code. Panics if it does not.
    pub fn terminate(mut self) -> Option<i32> {
        // `ip netns exec` has become the program: the process is the same.
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let mut status = None;
        eventually("the program ends on SIGTERM", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Asserts an exit code and returns what was printed.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

/// `COMMAND -f PATH -f PATH ...`
pub fn with_manifests<'a>(command: &'a str, paths: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![command];
    words.extend(paths.iter().flat_map(|path| ["-f", path]));
    words
}

/// Runs a command with a text on its standard input.
pub fn feed(command: &mut Command, text: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // A program that does not read its input closes the pipe; its exit code tells.
        scope.spawn(move || input.write_all(text.as_bytes()));
        Ran::of(child.wait_with_output().unwrap())
    })
}

/// Waits until something is so; panics if it does not become so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The path of a file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn obstacle() -> Option<String> {
    let nft = || Command::new("nft").arg("-v").output().err().map(|e| format!("the command `nft` does not run: {e}"));
    portolan::lab::obstacle().or_else(nft)
}

#[track_caller]
fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) {
    succeeded(&mut Command::new(program), &arguments.into_iter().collect::<Vec<_>>());
}

#[track_caller]
fn succeeded<A: AsRef<OsStr>>(command: &mut Command, arguments: &[A]) -> String {
    let ran = Ran::of(command.args(arguments).output().unwrap());
    assert_eq!(ran.code, 0, "{command:?}: {}", ran.stderr);
    ran.stdout
}
