//! What a lab leaves on disk, so that another process can find it and take it down: `/run/portolan-lab/<prefix>/`.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};

use super::{LabError, LabSpec};

const ROOT: &str = "/run/portolan-lab";

/// The directory of one lab.
pub(super) struct State(PathBuf);

impl State {
    /// The directory of the lab with this prefix, which need not exist. The prefix has been checked.
    pub(super) fn of(prefix: &str) -> Self {
        Self(Path::new(ROOT).join(prefix))
    }

    /// Makes the directory, for root only.
    pub(super) fn create(&self) -> Result<(), LabError> {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&self.0);
        made.map_err(|e| LabError::io(format!("make the directory {}", self.0.display()), e))
    }

    pub(super) fn exists(&self) -> bool {
        self.0.exists()
    }

    /// Deletes the directory, if there is one.
    pub(super) fn remove(&self) -> Result<(), LabError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| LabError::io(format!("delete the directory {}", self.0.display()), e)),
        }
    }

    /// The prefixes of all labs that have a directory.
    pub(super) fn prefixes() -> Result<Vec<String>, LabError> {
        match fs::read_dir(ROOT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(LabError::io(format!("list the labs in {ROOT}"), error)),
            Ok(entries) => Ok(entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect()),
        }
    }

    /// Keeps what the lab looks like now.
    pub(super) fn save(&self, spec: &LabSpec) -> Result<(), LabError> {
        let path = self.0.join("lab.json");
        let attempt = || format!("write {}", path.display());
        let text = serde_json::to_vec_pretty(spec).map_err(|e| LabError::io(attempt(), io::Error::from(e)))?;
        // By another name first, so that nobody reads half a file.
        let draft = self.0.join("lab.json.new");
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).map_err(|e| LabError::io(attempt(), e))
    }

    /// What the lab looks like; `None` if there is no lab.
    pub(super) fn load(&self) -> Result<Option<LabSpec>, LabError> {
        let path = self.0.join("lab.json");
        let attempt = || format!("read {}", path.display());
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LabError::io(attempt(), error)),
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|e| LabError::io(attempt(), io::Error::from(e)))
            }
        }
    }

    /// Where responder processes complain.
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("responder.log")
    }

    /// Notes a process that must end with the lab.
    pub(super) fn note_process(&self, pid: u32) -> Result<(), LabError> {
        let path = self.0.join("pids");
        let born = birth(pid).unwrap_or_default();
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "{pid} {born}"));
        written.map_err(|e| LabError::io(format!("write {}", path.display()), e))
    }

    /// Ends the processes that were noted, and waits until they are gone.
    pub(super) fn end_processes(&self) -> Result<(), LabError> {
        let noted = fs::read_to_string(self.0.join("pids")).unwrap_or_default();
        for line in noted.lines() {
            let Some((pid, born)) = line.split_once(' ') else { continue };
            let Ok(number) = pid.parse::<u32>() else { continue };
            // The number may belong to another process by now; the time of its start tells.
            if birth(number).as_deref() == Some(born) {
                end(number)?;
            }
        }
        Ok(())
    }
}

/// When a living process was started, in clock ticks since boot (field 22 of /proc/pid/stat, proc(5)).
fn birth(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") { None } else { fields.nth(18).map(str::to_owned) }
}

fn end(pid: u32) -> Result<(), LabError> {
    let id = Pid::from_raw(pid.cast_signed());
    // It has nothing to put in order: its sockets close with it.
    let killed = kill(id, Signal::SIGKILL);
    if killed != Err(nix::errno::Errno::ESRCH) {
        killed.map_err(|e| LabError::io(format!("end the responder, process {pid}"), e))?;
    }
    // Succeeds only for a child of this process; otherwise the process's parent, or init, collects it.
    let _not_ours = waitpid(id, None);
    let deadline = Instant::now() + Duration::from_secs(5);
    while birth(pid).is_some() {
        if Instant::now() > deadline {
            let reason = "it is still there 5 s after SIGKILL".to_owned();
            return Err(LabError::Failed { attempt: format!("end the responder, process {pid}"), reason });
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
