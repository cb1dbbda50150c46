//! A Corefile and what it imports, from the file system and the environment.

use std::{env, fs, io::ErrorKind, path::Path};

use crate::config::{
    Warning,
    dns::{
        DnsConfig,
        corefile::{Imported, parse},
    },
};

/// Reads a Corefile.
///
/// # Errors
/// That it cannot be read, or all that is wrong with it, a line each.
pub fn load(path: &Path) -> Result<(DnsConfig, Vec<Warning>), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    parse(&text, &path.to_string_lossy(), &|name| env::var(name).ok(), &imported).map_err(|errors| errors.to_string())
}

/// The files that an import names, by name. A folder that is not there has no file that matches.
fn imported(path: &Path) -> Result<Vec<Imported>, String> {
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => Ok(Imported { name: path.to_string_lossy().into_owned(), text }),
        Err(error) => Err(format!("{}: {error}", path.display())),
    };
    let (Some(folder), Some(pattern)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err("it names no file".to_owned());
    };
    let Some((start, end)) = pattern.split_once('*') else { return Ok(vec![read(path)?]) };
    if end.contains('*') {
        return Err("one * is the most that a pattern may have".to_owned());
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let matches = |name: &str| name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.file_name().to_str().is_some_and(matches) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    files.iter().map(|path| read(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Corefile");
        fs::write(&path, ".:53 {\n import custom/*.override\n}\nimport custom/*.server\nimport gone/*.server\n")
            .unwrap();
        fs::create_dir(folder.path().join("custom")).unwrap();
        for (name, text) in
            [("b.server", "b {\n}"), ("a.server", "a {\n}"), ("x.override", "any"), ("README", "nonsense {")]
        {
            fs::write(folder.path().join("custom").join(name), text).unwrap();
        }
        let (config, warnings) = load(&path).unwrap();
        let zones: Vec<String> = config.servers.iter().map(|server| server.zones[0].to_string()).collect();
        assert_eq!(zones, [".", "a", "b"]);
        assert!(config.servers[0].any);
        assert_eq!(warnings.len(), 1);
        fs::write(&path, "import gone\n").unwrap();
        assert!(load(&path).unwrap_err().contains("Corefile:1:8: import: no snippet (gone) stands above"));
        assert!(load(&folder.path().join("none")).unwrap_err().contains("cannot be read"));
    }
}
