use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A file to read, or a part of a directory that cannot be read and why.
pub(super) type Found = Result<PathBuf, (PathBuf, io::Error)>;

/// The manifests in a directory and all directories below it, by name: `*.yaml`, `*.yml` and `*.json`.
///
/// Names that begin with a dot are left out: they are an editor's or a version control system's own, or the `..data`
/// of a mounted ConfigMap, whose files also stand beside it as links. Links are followed, but never in a circle.
pub(super) fn manifests_below(directory: &Path) -> Result<Vec<Found>, io::Error> {
    let mut found = Vec::new();
    let mut above = Vec::new();
    walk(directory, &mut above, &mut found)?;
    Ok(found)
}

fn walk(directory: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<Found>) -> Result<(), io::Error> {
    let real = fs::canonicalize(directory)?;
    if above.contains(&real) {
        return Ok(());
    }
    let mut entries = fs::read_dir(directory)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    above.push(real);
    for path in entries.into_iter().filter(|path| !is_hidden(path)) {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                if let Err(error) = walk(&path, above, found) {
                    found.push(Err((path, error)));
                }
            }
            Ok(_) if is_manifest(&path) => found.push(Ok(path)),
            Err(error) if is_manifest(&path) => found.push(Err((path, error))),
            Ok(_) | Err(_) => {}
        }
    }
    above.pop();
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_walked_in_order_without_hidden_files_or_circles() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for sub in ["b", "..2026_11_21", ".git"] {
            fs::create_dir(root.join(sub)).unwrap();
        }
        for file in ["c.yml", "a.yaml", "b/d.json", "b/notes.txt", "..2026_11_21/e.yaml", ".git/f.yaml", ".g.yaml"] {
            fs::write(root.join(file), "").unwrap();
        }
        symlink("..2026_11_21", root.join("..data")).unwrap();
        symlink("..data/e.yaml", root.join("e.yaml")).unwrap();
        symlink("..", root.join("b/up")).unwrap();
        symlink("nowhere", root.join("z.yaml")).unwrap();

        let found: Vec<String> = manifests_below(root)
            .unwrap()
            .into_iter()
            .map(|found| match found {
                Ok(path) => path.strip_prefix(root).unwrap().display().to_string(),
                Err((path, error)) => format!("{} {}", path.strip_prefix(root).unwrap().display(), error.kind()),
            })
            .collect();
        assert_eq!(found, ["a.yaml", "b/d.json", "c.yml", "e.yaml", "z.yaml entity not found"]);
    }
}
