//! The newest snapshot on disk, so that a restart has something to answer with while the lists are on their way (2.7).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::{JoinHandle, spawn_blocking},
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

/// Names that do not change are written again after this time, so that their age in the file is that of what was known.
const AGAIN: Duration = Duration::from_secs(600);

/// One file for each block that has names: `PATH`, and `PATH.N` for further ones.
pub struct SnapshotFile {
    path: PathBuf,
    /// What was written last, and when; locked while something is written
    last: Arc<Mutex<Option<(u64, Instant)>>>,
    /// Names that do not change are written again after this time
    again: Duration,
}

impl SnapshotFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: Arc::default(), again: AGAIN }
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
            let path = numbered(&self.path, number);
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

    /// Begins to write what is served, if it is complete and was not written lately. Does not wait: a large cluster's
    /// names take a while, and one write at a time is enough.
    pub fn write(&self, snapshots: Arc<Snapshots>) {
        let Ok(last) = self.last.clone().try_lock_owned() else { return };
        let lately = |(generation, at): (u64, Instant)| generation == snapshots.generation && at.elapsed() < self.again;
        if !last.is_some_and(lately) {
            start(self.path.clone(), last, snapshots);
        }
    }

    /// Writes what is served, if it is complete, and waits until that is done.
    pub async fn finish(&self, snapshots: Arc<Snapshots>) {
        let last = self.last.clone().lock_owned().await;
        // It fails only if the runtime ends.
        let _ = start(self.path.clone(), last, snapshots).await;
    }
}

fn start(
    path: PathBuf,
    mut last: OwnedMutexGuard<Option<(u64, Instant)>>,
    snapshots: Arc<Snapshots>,
) -> JoinHandle<()> {
    spawn_blocking(move || {
        if snapshots.iter().any(|(_, snapshot)| snapshot.state() != State::Synced) {
            return;
        }
        for (number, (_, snapshot)) in snapshots.iter().enumerate() {
            let path = numbered(&path, number);
            if let Err(error) = write(&path, &file::encode(snapshot, seconds_now())) {
                warn!(
                    "cannot write the names to {}: {error}; a restart will have to wait for the lists",
                    path.display()
                );
                return;
            }
        }
        *last = Some((snapshots.generation, Instant::now()));
    })
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    if number > 0 {
        path.push(format!(".{number}"));
    }
    path.into()
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

    #[tokio::test]
    async fn names_come_back_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        let file = SnapshotFile::new(path.clone());
        let mut before = names();
        assert_eq!(file.restore(&mut before), None, "there is none");
        file.finish(before.served().load_full()).await;
        assert!(!path.exists(), "nothing is known yet");
        before.synced();
        file.finish(before.served().load_full()).await;
        assert!(path.exists() && numbered(&path, 1).exists());

        let mut after = names();
        assert!(file.restore(&mut after).is_some_and(|left| left <= STALE_LIMIT));
        assert_eq!(after.state(), State::Stale);
        assert!(after.served().load().snapshot(1).is_some());

        let mut damaged = fs::read(numbered(&path, 1)).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(numbered(&path, 1), damaged).unwrap();
        let mut after = names();
        assert_eq!(file.restore(&mut after), None);
        assert_eq!(after.state(), State::Unsynced);
    }

    /// A cluster in which nothing happens is no reason to forget it.
    #[tokio::test]
    async fn quiet_names_stay_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        let mut file = SnapshotFile::new(path.clone());
        let mut names = names();
        names.synced();
        let served = names.served().load_full();
        // A folder in the way: it was not written, and is tried again.
        fs::create_dir(&path).unwrap();
        file.finish(served.clone()).await;
        assert!(file.last.lock().await.is_none());
        fs::remove_dir(&path).unwrap();
        file.write(served.clone());
        drop(file.last.lock().await);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
        file.write(served.clone());
        drop(file.last.lock().await);
        assert!(!path.exists(), "it was written just now");
        file.again = Duration::ZERO;
        file.write(served);
        drop(file.last.lock().await);
        assert!(path.exists(), "it was written long ago");
    }
}
