//! Keeps [`Allocations`] in a file, so that addresses and node ports outlive the process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::controlplane::Allocations;

const FILE: &str = "allocations.json";
const NEW_FILE: &str = "allocations.json.new";
const CORRUPT_FILE: &str = "allocations.json.corrupt";

/// Why allocations could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {}: {reason}; choose another folder with --state-dir, or mend this one", path.display())]
pub struct StateError {
    attempt: &'static str,
    path: PathBuf,
    #[source]
    reason: io::Error,
}

/// The file `allocations.json` in a state folder. Nothing is opened or made before a method needs it.
#[derive(Clone, Debug)]
pub struct StateFile {
    folder: PathBuf,
}

/// The state, locked: other processes wait until it is dropped.
#[derive(Debug)]
pub struct LockedState {
    file: StateFile,
    allocations: Allocations,
    written: Allocations,
    /// The folder
    lock: Flock<File>,
}

impl StateFile {
    /// The state in a folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// What is remembered, without a lock: for commands that only show what would be. A file that cannot be understood
    /// is left alone, with a warning, and counts as none.
    pub fn read(&self) -> Result<Allocations, StateError> {
        self.load(false)
    }

    /// Waits until nobody else has the state, and reads it. A file that cannot be understood is moved aside, with a
    /// warning. The folder is made, for its owner only, if it is not there.
    pub fn lock(&self) -> Result<LockedState, StateError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|reason| failed("make the folder", &self.folder, reason))?;
        // The folder itself is locked, so that no lock file is left behind.
        let folder = File::open(&self.folder).map_err(|reason| failed("open", &self.folder, reason))?;
        let lock = Flock::lock(folder, FlockArg::LockExclusive)
            .map_err(|(_, errno)| failed("lock", &self.folder, errno.into()))?;
        let allocations = self.load(true)?;
        Ok(LockedState { file: self.clone(), written: allocations.clone(), allocations, lock })
    }

    /// Forgets everything, and removes the folder if nothing else is in it. It is no error if nothing is there.
    pub fn remove(&self) -> Result<(), StateError> {
        for file in [FILE, NEW_FILE, CORRUPT_FILE] {
            let path = self.folder.join(file);
            absent_is_fine(fs::remove_file(&path)).map_err(|reason| failed("remove", &path, reason))?;
        }
        use io::ErrorKind::{DirectoryNotEmpty, ResourceBusy};
        match fs::remove_dir(&self.folder) {
            // Somebody else's files, or a mount: the folder is not ours alone.
            Err(reason) if matches!(reason.kind(), DirectoryNotEmpty | ResourceBusy) => Ok(()),
            result => absent_is_fine(result).map_err(|reason| failed("remove", &self.folder, reason)),
        }
    }

    /// Reads the file; `mend` moves it aside if it cannot be understood.
    fn load(&self, mend: bool) -> Result<Allocations, StateError> {
        let path = self.folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(Allocations::default()),
            Err(reason) => return Err(failed("read", &path, reason)),
        };
        let fault = match serde_json::from_slice(&text) {
            Ok(allocations) => return Ok(allocations),
            Err(fault) => fault,
        };
        let aside = self.folder.join(CORRUPT_FILE);
        tracing::warn!(
            file = %path.display(),
            %fault,
            "cannot understand the remembered allocations; starting afresh, so Services may get other addresses and \
             node ports than before; the file is kept as {}",
            if mend { aside.display() } else { path.display() }
        );
        if mend {
            fs::rename(&path, &aside).map_err(|reason| failed("move aside", &path, reason))?;
        }
        Ok(Allocations::default())
    }
}

impl LockedState {
    /// What is remembered, to be brought up to date.
    pub fn allocations(&mut self) -> &mut Allocations {
        &mut self.allocations
    }

    /// Writes what changed and does not return before it is on the disk: a new file takes the place of the old one in
    /// one step, so that a crash leaves one of the two.
    pub fn save(self) -> Result<(), StateError> {
        if self.allocations == self.written {
            return Ok(());
        }
        let folder = &self.file.folder;
        let (new, path) = (folder.join(NEW_FILE), folder.join(FILE));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            serde_json::to_writer_pretty(&mut file, &self.allocations)?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(|reason| failed("write", &new, reason))?;
        fs::rename(&new, &path).map_err(|reason| failed("replace", &path, reason))?;
        self.lock.sync_all().map_err(|reason| failed("write", folder, reason))
    }
}

fn failed(attempt: &'static str, path: &Path, reason: io::Error) -> StateError {
    StateError { attempt, path: path.to_owned(), reason }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, thread};

    use super::*;

    fn remember(state: &StateFile, service: &str) {
        let mut locked = state.lock().unwrap();
        locked.allocations().services.entry(service.to_owned()).or_default().node_ports =
            [("80/TCP".to_owned(), 30008)].into();
        locked.save().unwrap();
    }

    #[test]
    fn what_is_kept_comes_back_and_only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(&folder.path().join("a/b"));
        assert_eq!(state.read().unwrap(), Allocations::default());
        assert!(!folder.path().join("a").exists(), "reading makes nothing");
        remember(&state, "default/kubia");
        assert_eq!(state.read().unwrap().services["default/kubia"].node_ports["80/TCP"], 30008);
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a/b"), mode("a/b/allocations.json")), (0o700, 0o600));
        state.remove().unwrap();
        state.remove().unwrap();
        assert!(!folder.path().join("a/b").exists());
    }

    #[test]
    fn removing_leaves_what_is_somebody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(folder.path());
        remember(&state, "default/kubia");
        fs::write(folder.path().join("other"), "").unwrap();
        state.remove().unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["other"]);
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(folder.path());
        fs::write(folder.path().join(FILE), "{\"services\": {\"a").unwrap();
        assert_eq!(state.read().unwrap(), Allocations::default());
        assert!(folder.path().join(FILE).exists(), "reading changes nothing");
        remember(&state, "default/kubia");
        assert_eq!(fs::read_to_string(folder.path().join(CORRUPT_FILE)).unwrap(), "{\"services\": {\"a");
        assert_eq!(state.read().unwrap().services.len(), 1);
    }

    #[test]
    fn processes_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(folder.path());
        thread::scope(|scope| {
            for i in 0..8 {
                let state = &state;
                scope.spawn(move || remember(state, &format!("default/s{i}")));
            }
        });
        assert_eq!(state.read().unwrap().services.len(), 8);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = StateFile::new(&folder.path().join("file/state")).lock().unwrap_err();
        assert!(error.to_string().starts_with("cannot make the folder "), "{error}");
        assert!(error.to_string().contains("--state-dir"), "{error}");
    }
}
