use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{self, Path, PathBuf},
};

/// Where paths lead at one moment, and so what has to be watched to follow them. Two that are equal say that nothing
/// happened to the paths themselves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    /// Directories to watch with everything below
    trees: BTreeSet<PathBuf>,
    /// Directories in which a file or a link may be replaced
    directories: BTreeSet<PathBuf>,
    /// What stands at each path that is a file
    files: Vec<Option<Stamp>>,
}

/// Tells one state of a file from the next.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Targets {
    pub fn of(paths: &[PathBuf]) -> Self {
        let mut targets = Targets::default();
        paths.iter().for_each(|path| targets.add(path));
        let trees = &targets.trees;
        targets.directories.retain(|directory| !trees.iter().any(|tree| directory.starts_with(tree)));
        targets
    }

    fn add(&mut self, path: &Path) {
        let real = fs::canonicalize(path).ok();
        let metadata = real.as_ref().and_then(|real| fs::metadata(real).ok());
        let is_directory = metadata.as_ref().is_some_and(fs::Metadata::is_dir);
        // Where the path's last part can be replaced: always for a file, and for a directory if it is a link.
        if !is_directory || path::absolute(path).ok() != real {
            self.directories.extend(existing_parent(path));
        }
        match real {
            Some(real) if is_directory => {
                self.trees.insert(real);
            }
            Some(real) => self.directories.extend(real.parent().map(Path::to_owned)),
            None => {}
        }
        if !is_directory {
            self.files.push(metadata.map(Stamp::of));
        }
    }

    pub fn trees(&self) -> &BTreeSet<PathBuf> {
        &self.trees
    }

    pub fn directories(&self) -> &BTreeSet<PathBuf> {
        &self.directories
    }

    /// Whether the same directories are to be watched.
    pub fn is_watched_as(&self, other: &Targets) -> bool {
        self.trees == other.trees && self.directories == other.directories
    }

    /// Whether one of these paths is that of a watched tree itself.
    pub fn are_roots(&self, paths: &[PathBuf]) -> bool {
        paths.iter().any(|path| self.trees.contains(path))
    }

    /// Whether something at one of these paths changes what is in a watched tree.
    pub fn concern(&self, paths: &[PathBuf]) -> bool {
        paths.iter().any(|path| self.trees.iter().any(|tree| path.starts_with(tree)))
    }
}

impl Stamp {
    fn of(metadata: fs::Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The nearest directory above the path that exists, links resolved.
fn existing_parent(path: &Path) -> Option<PathBuf> {
    let absolute = path::absolute(path).ok()?;
    absolute.ancestors().skip(1).find_map(|parent| fs::canonicalize(parent).ok())
}
