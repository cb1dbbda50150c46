//! The newest snapshot on disk, so that a restart has something to answer with while the lists are on their way (2.7).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};

use super::STALE_LIMIT;
use crate::{
    dns::names::{Names, Snapshots},
    zone::{
        State,
        file::{self, Saved},
    },
};

/// The file is written at most this often.
pub const PAUSE: Duration = Duration::from_secs(30);

/// One file for each block that has names: `PATH`, and `PATH.N` for further ones.
pub struct SnapshotFile {
    path: PathBuf,
    /// What was written last
    generation: u64,
}

impl SnapshotFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path, generation: 0 }
    }

    fn path(&self, number: usize) -> PathBuf {
        match number {
            0 => self.path.clone(),
            _ => {
                let mut path = self.path.clone().into_os_string();
                path.push(format!(".{number}"));
                path.into()
            }
        }
    }

    /// Serves what is there, if it is whole and not too old. Returns how much longer it may be served.
    pub fn restore(&self, names: &mut Names) -> Option<Duration> {
        let mut snapshots = Vec::new();
        let mut left = STALE_LIMIT;
        let mut number = 0;
        for options in names.all_options() {
            let Some(options) = options else {
                snapshots.push(None);
                continue;
            };
            let path = self.path(number);
            number += 1;
            let saved = match read(&path, options.clone()) {
                Ok(saved) => saved?,
                Err(reason) => {
                    warn!("cannot use the names in {}: {reason}; the lists are waited for", path.display());
                    return None;
                }
            };
            let age = Duration::from_secs(seconds_now().saturating_sub(saved.written_at));
            left = left.min(STALE_LIMIT.checked_sub(age).or_else(|| {
                info!("the names in {} are too old to be served: {} s", path.display(), age.as_secs());
                None
            })?);
            snapshots.push(Some(saved.snapshot));
        }
        if number == 0 {
            return None;
        }
        info!("serving the names in {} until the lists are complete", self.path.display());
        names.serve_stale(snapshots);
        Some(left)
    }

    /// Writes what is served, if it is another one than the last time and complete. May take a while.
    pub fn write(&mut self, snapshots: &Snapshots) {
        if snapshots.generation == self.generation {
            return;
        }
        for (number, (_, snapshot)) in snapshots.iter().enumerate() {
            if snapshot.state() != State::Synced {
                return;
            }
            let path = self.path(number);
            if let Err(error) = write(&path, &file::encode(snapshot, seconds_now())) {
                warn!(
                    "cannot write the names to {}: {error}; a restart will have to wait for the lists",
                    path.display()
                );
            }
        }
        self.generation = snapshots.generation;
    }
}

fn read(path: &Path, options: Arc<crate::config::dns::KubernetesOptions>) -> Result<Option<Saved>, String> {
    match fs::read(path) {
        Ok(bytes) => file::decode(&bytes, options).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Either the old contents or the new, whatever happens meanwhile.
fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut to = fs::File::create(&new)?;
    to.write_all(contents)?;
    to.sync_all()?;
    fs::rename(&new, path)
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answers::Sources,
        config::dns::{DnsConfig, KubernetesOptions, Name, ServerBlock},
    };

    fn names() -> Names {
        let block = |zone: &str| ServerBlock {
            kubernetes: Some(KubernetesOptions::new(vec![zone.parse().unwrap()])),
            ..ServerBlock::new(vec![Name::root_vec()], 53)
        };
        Names::new(&DnsConfig { servers: vec![block("one.test"), block("two.test")] })
    }

    #[test]
    fn names_come_back_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        let mut file = SnapshotFile::new(path.clone());
        let mut before = names();
        assert_eq!(file.restore(&mut before), None, "there is none");
        file.write(&before.served().load());
        assert!(!path.exists(), "nothing is known yet");
        before.synced();
        file.write(&before.served().load());
        assert!(path.exists() && file.path(1).exists());

        let mut after = names();
        assert!(file.restore(&mut after).is_some_and(|left| left <= STALE_LIMIT));
        assert_eq!(after.state(), State::Stale);
        assert!(after.served().load().snapshot(1).is_some());

        let mut damaged = fs::read(file.path(1)).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(file.path(1), damaged).unwrap();
        let mut after = names();
        assert_eq!(file.restore(&mut after), None);
        assert_eq!(after.state(), State::Unsynced);
    }
}
