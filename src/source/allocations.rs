//! Keeps [`Allocations`] in a file, so that addresses and node ports outlive the process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::controlplane::Allocations;

/// Where allocations are kept if nobody says otherwise.
pub const STATE_DIRECTORY: &str = "/var/lib/portolan";

const FILE: &str = "allocations.json";
const NEW_FILE: &str = "allocations.json.new";
const CORRUPT_FILE: &str = "allocations.json.corrupt";

/// Why allocations could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {}: {reason}; choose a state directory that Portolan may write, or mend this one", path.display())]
pub struct AllocationsError {
    /// What was attempted
    pub attempt: &'static str,
    /// On what
    pub path: PathBuf,
    /// Why it failed
    #[source]
    pub reason: io::Error,
}

/// The file `allocations.json` in a state directory.
#[derive(Clone, Debug)]
pub struct AllocationStore {
    directory: PathBuf,
}

impl AllocationStore {
    /// A store in the directory, which is made (for its owner only) when there is something to keep.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// What is remembered, without a lock: for commands that only show what would be.
    pub fn load(&self) -> Result<Allocations, AllocationsError> {
        self.read(false)
    }

    /// Does some work on the allocations and keeps what came of it. No other process has them in the meantime.
    ///
    /// The file is replaced in one step, and only if something changed: a crash leaves the old one or the new one. A
    /// file that cannot be understood is moved aside, and the work starts with nothing remembered.
    pub fn update<T>(&self, work: impl FnOnce(&mut Allocations) -> T) -> Result<T, AllocationsError> {
        let lock = self.lock()?;
        let before = self.read(true)?;
        let mut allocations = before.clone();
        let result = work(&mut allocations);
        if allocations != before {
            self.write(&allocations, &lock)?;
        }
        Ok(result)
    }

    /// Forgets everything, and removes the directory if nothing else is in it. It is no error if nothing is there.
    pub fn remove(&self) -> Result<(), AllocationsError> {
        for file in [FILE, NEW_FILE, CORRUPT_FILE] {
            let path = self.directory.join(file);
            absent_is_fine(fs::remove_file(&path)).map_err(|reason| failed("remove", &path, reason))?;
        }
        use io::ErrorKind::{DirectoryNotEmpty, ResourceBusy};
        match fs::remove_dir(&self.directory) {
            // Somebody else's files, or a mount: the directory is not ours alone.
            Err(reason) if matches!(reason.kind(), DirectoryNotEmpty | ResourceBusy) => Ok(()),
            result => absent_is_fine(result).map_err(|reason| failed("remove", &self.directory, reason)),
        }
    }

    /// Locks the directory itself, so that no lock file is left behind. Waits for whoever has it.
    fn lock(&self) -> Result<Flock<File>, AllocationsError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|reason| failed("make the directory", &self.directory, reason))?;
        let directory = File::open(&self.directory).map_err(|reason| failed("open", &self.directory, reason))?;
        Flock::lock(directory, FlockArg::LockExclusive)
            .map_err(|(_, errno)| failed("lock", &self.directory, errno.into()))
    }

    /// Reads the file; `mend` moves it aside if it cannot be understood.
    fn read(&self, mend: bool) -> Result<Allocations, AllocationsError> {
        let path = self.directory.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(Allocations::default()),
            Err(reason) => return Err(failed("read", &path, reason)),
        };
        let fault = match serde_json::from_slice(&text) {
            Ok(allocations) => return Ok(allocations),
            Err(fault) => fault,
        };
        let aside = self.directory.join(CORRUPT_FILE);
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

    /// Replaces the file, and does not return before it is on the disk. `directory` is the lock.
    fn write(&self, allocations: &Allocations, directory: &File) -> Result<(), AllocationsError> {
        let (new, path) = (self.directory.join(NEW_FILE), self.directory.join(FILE));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            serde_json::to_writer_pretty(&mut file, allocations)?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(|reason| failed("write", &new, reason))?;
        fs::rename(&new, &path).map_err(|reason| failed("replace", &path, reason))?;
        directory.sync_all().map_err(|reason| failed("write", &self.directory, reason))
    }
}

fn failed(attempt: &'static str, path: &Path, reason: io::Error) -> AllocationsError {
    AllocationsError { attempt, path: path.to_owned(), reason }
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
    use crate::controlplane::Held;

    fn remember(store: &AllocationStore, service: &str) {
        let held = Held { node_ports: [("80/TCP".to_owned(), 30008)].into(), ..Held::default() };
        store.update(|allocations| allocations.services.insert(service.to_owned(), held)).unwrap();
    }

    #[test]
    fn what_is_kept_comes_back_and_only_the_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = AllocationStore::new(directory.path().join("a/b"));
        assert_eq!(store.load().unwrap(), Allocations::default());
        remember(&store, "default/kubia");
        assert_eq!(store.load().unwrap().services["default/kubia"].node_ports["80/TCP"], 30008);
        let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a/b"), mode("a/b/allocations.json")), (0o700, 0o600));
        store.remove().unwrap();
        store.remove().unwrap();
        assert!(!directory.path().join("a/b").exists());
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_moved_aside() {
        let directory = tempfile::tempdir().unwrap();
        let store = AllocationStore::new(directory.path());
        fs::write(directory.path().join(FILE), "{\"services\": {\"a").unwrap();
        assert_eq!(store.load().unwrap(), Allocations::default());
        assert!(directory.path().join(FILE).exists(), "loading changes nothing");
        remember(&store, "default/kubia");
        assert_eq!(fs::read_to_string(directory.path().join(CORRUPT_FILE)).unwrap(), "{\"services\": {\"a");
        assert_eq!(store.load().unwrap().services.len(), 1);
    }

    #[test]
    fn processes_take_turns() {
        let directory = tempfile::tempdir().unwrap();
        let store = AllocationStore::new(directory.path());
        thread::scope(|scope| {
            for i in 0..8 {
                let store = &store;
                scope.spawn(move || remember(store, &format!("default/s{i}")));
            }
        });
        assert_eq!(store.load().unwrap().services.len(), 8);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = AllocationStore::new(directory.path().join("file/state")).update(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("cannot make the directory "), "{error}");
    }
}
