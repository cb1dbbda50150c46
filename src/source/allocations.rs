//! What the standalone control plane remembers between runs, in a file of a folder of its own.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use tracing::warn;

use crate::controlplane::Allocations;

/// The file that holds the allocations.
const FILE: &str = "allocations.json";
/// The file that is locked while somebody reads, allocates and writes.
const LOCK: &str = "lock";

/// The state could not be read, locked or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {}: {reason}; choose another folder with --state-dir, or mend its permissions", path.display())]
pub struct StateError {
    attempt: &'static str,
    path: PathBuf,
    #[source]
    reason: io::Error,
}

/// The state folder. Nothing is opened or made before a method needs it.
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
    _lock: Flock<File>,
}

impl StateFile {
    /// The state in a folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// What is remembered; nothing, if there is no file yet. A file that cannot be understood is left alone, with a
    /// warning, and counts as none.
    pub fn read(&self) -> Result<Allocations, StateError> {
        let path = self.folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Allocations::default()),
            Err(reason) => return Err(StateError { attempt: "read", path, reason }),
        };
        Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
            warn!("{} does not hold allocations ({error}); starting without them", path.display());
            Allocations::default()
        }))
    }

    /// Waits until nobody else has the state, and reads it. A file that cannot be understood is moved aside.
    pub fn lock(&self) -> Result<LockedState, StateError> {
        let failed = |attempt, path: &Path| {
            let path = path.to_owned();
            move |reason| StateError { attempt, path, reason }
        };
        fs::create_dir_all(&self.folder).map_err(failed("make the folder", &self.folder))?;
        let path = self.folder.join(LOCK);
        let lock = File::create(&path).map_err(failed("make the lock", &path))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, errno)| failed("lock", &path)(io::Error::from(errno)))?;
        let allocations = self.read()?;
        let file = self.folder.join(FILE);
        let readable = fs::read(&file).ok().is_none_or(|text| serde_json::from_slice::<Allocations>(&text).is_ok());
        if !readable {
            let aside = self.folder.join(format!("{FILE}.corrupt"));
            fs::rename(&file, &aside).map_err(failed("move aside", &file))?;
        }
        Ok(LockedState { file: self.clone(), written: allocations.clone(), allocations, _lock: lock })
    }

    /// Deletes what is remembered, and the folder if nothing else is in it. That there is none is no error.
    pub fn remove(&self) -> Result<(), StateError> {
        for name in [FILE, LOCK] {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError { attempt: "remove", path, reason });
                }
                _ => {}
            }
        }
        // Somebody else's files keep the folder; that is as it should be.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }
}

impl LockedState {
    /// What is remembered, to be brought up to date.
    pub fn allocations(&mut self) -> &mut Allocations {
        &mut self.allocations
    }

    /// Writes what changed: a new file takes the place of the old one at once, so that a crash leaves one of the two.
    pub fn save(self) -> Result<(), StateError> {
        if self.allocations == self.written {
            return Ok(());
        }
        let path = self.file.folder.join(FILE);
        let fresh = self.file.folder.join(format!("{FILE}.new"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&fresh)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(&serde_json::to_vec_pretty(&self.allocations)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|reason| StateError { attempt: "write", path: path.clone(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remember(state: &StateFile, service: &str) {
        let mut locked = state.lock().unwrap();
        locked.allocations().services.insert(service.into(), Default::default());
        locked.save().unwrap();
    }

    #[test]
    fn what_is_saved_is_read_again_and_removed_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(&folder.path().join("portolan"));
        assert_eq!(state.read().unwrap(), Allocations::default());
        remember(&state, "shop/web");
        remember(&state, "shop/db");
        let services: Vec<String> = state.read().unwrap().services.into_keys().collect();
        assert_eq!(services, ["shop/db", "shop/web"]);
        state.remove().unwrap();
        state.remove().unwrap();
        assert!(!folder.path().join("portolan").exists());
    }

    #[test]
    fn a_damaged_file_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(folder.path());
        fs::write(folder.path().join(FILE), "{\"services\": [").unwrap();
        assert_eq!(state.read().unwrap(), Allocations::default());
        remember(&state, "shop/web");
        assert!(folder.path().join("allocations.json.corrupt").exists());
        assert_eq!(state.read().unwrap().services.len(), 1);
    }
}
