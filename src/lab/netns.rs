use std::{
    fmt, fs,
    fs::File,
    io::{self, Write},
    panic,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};

use super::LabError;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// The name of a network namespace, as `ip netns` knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(String);

impl Namespace {
    /// A namespace of the lab with this prefix. `part` is one of the forms that [`belongs_to`] knows.
    pub(super) fn new(prefix: &str, part: &str) -> Self {
        Self(format!("{prefix}{part}"))
    }

    /// The name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.0)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every namespace on this machine that a lab with this prefix made, whether or not it was finished.
pub(super) fn belonging_to(prefix: &str) -> Result<Vec<Namespace>, LabError> {
    let mut found: Vec<Namespace> =
        names()?.into_iter().filter(|name| belongs_to(name, prefix)).map(Namespace).collect();
    found.sort();
    Ok(found)
}

/// All names of network namespaces on this machine.
pub(super) fn names() -> Result<Vec<String>, LabError> {
    let entries = match fs::read_dir(NAMES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| LabError::io(format!("list the network namespaces in {NAMES}"), e))?,
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Whether a lab with this prefix gives such a name. Prefixes hold no dot, so that `a-` does not own `a-b-pod.x.y`.
fn belongs_to(name: &str, prefix: &str) -> bool {
    let Some(part) = name.strip_prefix(prefix) else { return false };
    matches!(part, "lan" | "client" | "outside") || part.starts_with("node.") || part.starts_with("pod.")
}

/// Why no lab can be built on this machine by this process; `None` if one can.
pub fn obstacle() -> Option<String> {
    if let Err(error) = Command::new("ip").arg("-V").stdout(Stdio::null()).status() {
        return Some(format!("the command `ip` (package iproute2) does not run: {error}"));
    }
    let tried = thread::scope(|scope| scope.spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join());
    match tried {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("no network namespace can be made (that needs root): {}", error.desc())),
        Err(panicked) => panic::resume_unwind(panicked),
    }
}

/// Runs `work` on a thread of its own inside the namespace and waits for it. Sockets that it opens stay there.
///
/// A panic of `work` is passed on to the caller.
pub fn in_namespace<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
    let entrance = Entrance::to(namespace)?;
    let result = thread::scope(|scope| scope.spawn(|| entrance.enter().map(|()| work())).join());
    result.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
}

/// An open namespace, for a thread that is going to live there.
pub(super) struct Entrance {
    file: File,
    name: String,
}

impl Entrance {
    /// Opens the namespace.
    pub(super) fn to(namespace: &Namespace) -> Result<Self, LabError> {
        let file = File::open(namespace.path())
            .map_err(|e| LabError::io(format!("open the network namespace {namespace}"), e))?;
        Ok(Self { file, name: namespace.0.clone() })
    }

    /// Moves the calling thread there, for good. Child processes that it starts begin there too.
    pub(super) fn enter(&self) -> Result<(), LabError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|e| LabError::io(format!("enter the network namespace {}", self.name), e))
    }
}

/// Runs `ip` with many commands at once in the namespace of the calling thread; the first that fails ends it.
pub(super) fn ip_batch(commands: &str) -> Result<(), LabError> {
    let attempt = || "run `ip -batch -` (package iproute2)".to_owned();
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| LabError::io(attempt(), e))?;
    // A child that gave up early closes the pipe; what it says on stderr is then the better error.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(commands.as_bytes()));
    let output = child.wait_with_output().map_err(|e| LabError::io(attempt(), e))?;
    if !output.status.success() {
        return Err(LabError::Failed { attempt: attempt(), reason: explain(&output.stderr, commands) });
    }
    written.map_err(|e| LabError::io(attempt(), e))
}

/// What `ip` said, and the line it said it about (`Command failed -:7`).
fn explain(stderr: &[u8], commands: &str) -> String {
    let said = String::from_utf8_lossy(stderr).trim().replace('\n', "; ");
    let number = said.rsplit_once("-:").and_then(|(_, n)| n.parse::<usize>().ok());
    match number.and_then(|n| commands.lines().nth(n.saturating_sub(1))) {
        Some(line) => format!("{said} (`{line}`)"),
        None => said,
    }
}

/// Writes kernel parameters, given below `/proc/sys/net`, in the namespace of the calling thread.
///
/// Parameters that this kernel does not have are passed over.
pub(super) fn set_parameters(parameters: &[(&str, &str)]) -> Result<(), LabError> {
    for (name, value) in parameters {
        let path = Path::new("/proc/sys/net").join(name);
        match fs::write(&path, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|e| LabError::io(format!("write {value} to {}", path.display()), e))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_owns_only_the_names_its_lab_gives() {
        for owned in ["a-lan", "a-client", "a-outside", "a-node.n", "a-pod.default.web"] {
            assert!(belongs_to(owned, "a-"), "{owned}");
        }
        for foreign in ["a-b-lan", "a-b-pod.default.web", "a-lan2", "lan", "a-", "b-lan"] {
            assert!(!belongs_to(foreign, "a-"), "{foreign}");
        }
    }

    #[test]
    fn an_error_of_ip_names_the_line() {
        let said = b"Cannot find device \"eth9\"\nCommand failed -:2\n";
        assert_eq!(
            explain(said, "link set lo up\nlink set eth9 up\n"),
            "Cannot find device \"eth9\"; Command failed -:2 (`link set eth9 up`)"
        );
    }
}
