//! Says when manifests have changed on disk.

mod targets;

use std::{path::PathBuf, time::Duration};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use self::targets::Targets;

/// How long it must be quiet before a change is reported: an editor or kubectl makes several at once.
const SETTLE: Duration = Duration::from_millis(50);
/// After this long a change is reported even if there are still more.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often manifests are to be read again where the kernel's notifications cannot be had, and how often paths are
/// looked at that notifications may miss (a link further up that now leads elsewhere).
const POLL: Duration = Duration::from_secs(2);

/// Follows manifests. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<()>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Follows files and directories (with everything below them). Changes after this call are reported, so read the
    /// manifests after it. Paths need not exist. Must be called in a tokio runtime with time enabled.
    pub fn new(paths: &[PathBuf]) -> Self {
        let (sender, changes) = mpsc::channel(1);
        let mut following = Following::new(paths);
        following.arm();
        Self { changes, task: tokio::spawn(following.run(sender)) }
    }

    /// Waits until something has changed and settled. It may be reported without a change that matters: whoever waits
    /// reads the manifests again and compares. Changes while nobody waits are kept, as one.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // The task does not end before this is dropped.
            std::future::pending().await
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a notification is about.
enum News {
    /// Something happened at the paths of the event.
    Event(Event),
    /// The kernel or the library failed: nobody knows what happened.
    Failure(notify::Error),
}

struct Following {
    paths: Vec<PathBuf>,
    targets: Targets,
    /// None while notifications cannot be had
    watcher: Option<RecommendedWatcher>,
    /// Whether that has been said
    failing: bool,
    news: mpsc::UnboundedReceiver<News>,
}

impl Following {
    fn new(paths: &[PathBuf]) -> Self {
        let paths = paths.iter().filter(|path| path.as_os_str() != super::manifests::STDIN).cloned().collect();
        Self { paths, targets: Targets::default(), watcher: None, failing: false, news: mpsc::unbounded_channel().1 }
    }

    /// Starts notifications anew, for the paths as they are now.
    fn arm(&mut self) {
        self.targets = Targets::of(&self.paths);
        let (sender, news) = mpsc::unbounded_channel();
        self.news = news;
        match watcher(&self.targets, sender) {
            Ok(watcher) => {
                if self.watcher.replace(watcher).is_none() && std::mem::take(&mut self.failing) {
                    tracing::info!("watching manifests again");
                }
            }
            Err(error) => {
                self.watcher = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "cannot watch manifests; reading them every {} s instead", POLL.as_secs());
                }
            }
        }
    }

    async fn run(mut self, sender: mpsc::Sender<()>) {
        let mut ticks = interval_at(Instant::now() + POLL, POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = tokio::select! {
                Some(news) = self.news.recv(), if self.watcher.is_some() => self.settle(news).await,
                _ = ticks.tick() => self.look(),
            };
            if changed && let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                return;
            }
        }
    }

    /// Collects notifications until it is quiet. Returns whether there is something to report.
    async fn settle(&mut self, first: News) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut changed = false;
        let mut lost = false;
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                News::Event(event) if event.need_rescan() => {
                    tracing::warn!("too many changes at once to be notified of each; reading all manifests again");
                    lost = true;
                }
                // The watch of a directory ends with it; another may already stand in its place.
                News::Event(event) if is_departure(&event.kind) && self.targets.are_roots(&event.paths) => lost = true,
                News::Event(event) => changed |= is_change(&event.kind) && self.targets.concern(&event.paths),
                News::Failure(error) => {
                    tracing::warn!(%error, "watching manifests failed; starting again");
                    lost = true;
                }
            }
            next = match deadline.checked_duration_since(Instant::now()) {
                Some(_) => timeout(SETTLE, self.news.recv()).await.ok().flatten(),
                None => None,
            };
        }
        if lost {
            self.arm();
        }
        // Look at the files themselves in any case: they may have been replaced.
        self.look() || changed || lost
    }

    /// Looks at the paths themselves. Returns whether they have changed, or may have while notifications are not to be
    /// had.
    fn look(&mut self) -> bool {
        if self.watcher.is_none() {
            self.arm();
            return true;
        }
        let now = Targets::of(&self.paths);
        if now == self.targets {
            return false;
        }
        if now.is_watched_as(&self.targets) {
            self.targets = now;
        } else {
            self.arm();
        }
        true
    }
}

fn watcher(targets: &Targets, sender: mpsc::UnboundedSender<News>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |result: notify::Result<Event>| {
        // Nobody listens any more: the watch is about to be dropped.
        let _ = sender.send(result.map_or_else(News::Failure, News::Event));
    })?;
    for directory in targets.trees() {
        watcher.watch(directory, RecursiveMode::Recursive)?;
    }
    for directory in targets.directories() {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Whether an event can change what a reader finds. That somebody reads (we do) cannot.
fn is_change(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

/// Whether something is no longer where it was.
fn is_departure(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    /// Long enough for a change to be reported on a busy machine, and shorter than [`POLL`].
    const SOON: Duration = Duration::from_millis(1500);

    async fn is_reported(watch: &mut Watch) -> bool {
        timeout(SOON, watch.changed()).await.is_ok()
    }

    /// Waits until nothing is reported any more.
    async fn quiet(watch: &mut Watch) {
        while timeout(SETTLE * 4, watch.changed()).await.is_ok() {}
    }

    fn write(path: &Path, text: &str) {
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, text).unwrap();
        fs::rename(&temporary, path).unwrap();
    }

    #[tokio::test]
    async fn changes_below_a_directory_are_reported() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut watch = Watch::new(&[root.to_owned()]);
        fs::write(root.join("a.yaml"), "a").unwrap();
        assert!(is_reported(&mut watch).await, "a new file");
        fs::read(root.join("a.yaml")).unwrap();
        assert!(timeout(SETTLE * 6, watch.changed()).await.is_err(), "reading is no change");
        write(&root.join("a.yaml"), "b");
        assert!(is_reported(&mut watch).await, "a file replaced by renaming");
        fs::create_dir(root.join("sub")).unwrap();
        assert!(is_reported(&mut watch).await, "a new directory");
        quiet(&mut watch).await;
        fs::write(root.join("sub/b.yaml"), "b").unwrap();
        assert!(is_reported(&mut watch).await, "a file in the new directory");
        fs::remove_file(root.join("a.yaml")).unwrap();
        assert!(is_reported(&mut watch).await, "a removed file");
    }

    #[tokio::test]
    async fn a_file_is_followed_through_replacement() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(std::slice::from_ref(&file));
        for text in ["b", "c", "d"] {
            write(&file, text);
            assert!(is_reported(&mut watch).await, "{text}");
            quiet(&mut watch).await;
        }
        fs::write(directory.path().join("other.yaml"), "x").unwrap();
        assert!(timeout(SETTLE * 6, watch.changed()).await.is_err(), "another file is no change");
        fs::remove_file(&file).unwrap();
        assert!(is_reported(&mut watch).await, "removed");
        fs::write(&file, "e").unwrap();
        assert!(is_reported(&mut watch).await, "made again");
    }

    #[tokio::test]
    async fn the_swapped_link_of_a_mounted_config_map_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let publish = |version: &str| {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("a.yaml"), version).unwrap();
            symlink(version, root.join("..data_tmp")).unwrap();
            fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        };
        publish("..1");
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        for path in [root.to_owned(), root.join("a.yaml")] {
            let mut watch = Watch::new(std::slice::from_ref(&path));
            publish(if path == root { "..2" } else { "..3" });
            assert!(is_reported(&mut watch).await, "{}", path.display());
        }
        assert_eq!(fs::read_to_string(root.join("a.yaml")).unwrap(), "..3");
    }

    #[tokio::test]
    async fn many_changes_at_once_are_one_report() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(&[directory.path().to_owned()]);
        for i in 0..200 {
            fs::write(directory.path().join(format!("{i}.yaml")), "a").unwrap();
        }
        assert!(is_reported(&mut watch).await);
        assert!(timeout(SETTLE * 6, watch.changed()).await.is_err());
    }

    #[tokio::test]
    async fn a_directory_that_comes_later_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("later");
        let mut watch = Watch::new(std::slice::from_ref(&root));
        fs::create_dir(&root).unwrap();
        assert!(is_reported(&mut watch).await);
        quiet(&mut watch).await;
        fs::write(root.join("a.yaml"), "a").unwrap();
        assert!(is_reported(&mut watch).await);
        fs::remove_dir_all(&root).unwrap();
        assert!(is_reported(&mut watch).await);
        quiet(&mut watch).await;
        fs::create_dir(&root).unwrap();
        assert!(is_reported(&mut watch).await);
        quiet(&mut watch).await;
        // Replaced at once, so that nobody can see it missing.
        fs::rename(&root, directory.path().join("before")).unwrap();
        fs::create_dir(&root).unwrap();
        assert!(is_reported(&mut watch).await);
        quiet(&mut watch).await;
        fs::write(root.join("b.yaml"), "b").unwrap();
        assert!(is_reported(&mut watch).await);
    }

    #[tokio::test]
    async fn lost_notifications_are_a_change_and_the_watch_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut following = Following::new(&[directory.path().to_owned()]);
        following.arm();
        let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(following.settle(News::Event(overflow)).await);
        assert!(following.settle(News::Failure(notify::Error::generic("broken"))).await);
        assert!(following.watcher.is_some());
        assert!(!following.look());
    }

    #[tokio::test]
    async fn without_notifications_manifests_are_to_be_read_again_and_again() {
        let mut following = Following::new(&[]);
        assert!(following.watcher.is_none());
        assert!(following.look(), "nobody knows whether something changed");
        assert!(following.watcher.is_some(), "and the watch is tried again");
    }
}
