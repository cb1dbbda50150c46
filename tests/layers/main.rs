//! Keeps the layers apart: who may use whom stands in ARCHITECTURE.md, section "Layers", and is read from there.

mod rust;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rust::{Mention, mentions};

/// What a pure layer does without, whole paths or parts of paths: files, sockets, processes, clocks, hash order.
const IMPURE: [&str; 20] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "HashMap",
    "HashSet",
    "RandomState",
    "netlink_sys",
    "nix",
    "notify",
    "tokio",
];

/// A file longer than this holds more than one thing.
const MOST_LINES: usize = 420;

/// A row of the table in ARCHITECTURE.md.
struct Layer {
    /// Layers it may use, or parts of one such as `compile::ServingTargets`; `None` for every layer
    uses: Option<Vec<String>>,
    /// No I/O, no clock, no hash order
    pure: bool,
}

/// A source file under src/.
struct File {
    /// `src/tables/text.rs`
    name: String,
    /// `tables`; `lib` and `main` for those two
    layer: String,
    /// How many modules deep below the crate: 1 for src/agent.rs and src/tables/mod.rs
    depth: usize,
    text: String,
    mentions: Vec<Mention>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn layers() -> BTreeMap<String, Layer> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("\n## ").find(|s| s.starts_with("Layers\n")).expect("a section \"Layers\"");
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let names = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let uses = (cells[1] != "everything").then(|| names(cells[1]));
        Some((cells[0].trim_end_matches('`').to_owned(), Layer { uses, pure: cells[2] == "yes" }))
    };
    let layers: BTreeMap<_, _> = section.lines().filter_map(row).collect();
    assert!(layers.len() > 5 && layers.values().any(|l| l.pure), "the table of layers could not be read");
    layers
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(file(&path));
            }
        }
    }
    assert!(files.len() > 20, "the sources could not be found");
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn file(path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap();
    let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let parts: Vec<&str> = name.trim_end_matches(".rs").split('/').skip(1).filter(|part| *part != "mod").collect();
    File { layer: parts[0].to_owned(), depth: parts.len(), mentions: mentions(&text), text, name }
}

/// Whether `path` is `prefix` or lies inside it.
fn inside(path: &[String], prefix: &str) -> bool {
    path.len() >= prefix.split("::").count() && prefix.split("::").zip(path).all(|(a, b)| a == b)
}

fn contains(path: &[String], part: &str) -> bool {
    (0..path.len()).any(|start| inside(&path[start..], part))
}

#[track_caller]
fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn every_module_is_a_layer() {
    let layers = layers();
    let is_layer = |f: &File| layers.contains_key(&f.layer) || ["lib", "main"].contains(&f.layer.as_str());
    let offences: Vec<_> = files().into_iter().filter(|f| !is_layer(f)).map(|f| f.name).collect();
    assert_none(&offences, "these belong to no layer in ARCHITECTURE.md");
}

#[test]
fn layers_use_only_those_below_them() {
    let layers = layers();
    let mut offences = Vec::new();
    for file in files() {
        let Some(uses) = layers.get(&file.layer).and_then(|layer| layer.uses.as_ref()) else { continue };
        // Tests may take their input from wherever it is at hand.
        let test_file = ["testing.rs", "tests.rs"].iter().any(|name| file.name.ends_with(name));
        for mention in file.mentions.iter().filter(|mention| !mention.in_test && !test_file) {
            let supers = mention.path.iter().take_while(|segment| *segment == "super").count();
            let other = match mention.path.first().map(String::as_str) {
                Some("crate") => &mention.path[1..],
                Some("super") if supers >= file.depth => &mention.path[supers..],
                _ => continue,
            };
            // `super::*` in a file right below the crate ends here with nothing left.
            let allowed = |o: &[String]| inside(o, &file.layer) || uses.iter().any(|used| inside(o, used));
            if !other.is_empty() && !allowed(other) {
                offences.push(format!("{}:{}: {}", file.name, mention.line, mention.path.join("::")));
            }
        }
    }
    assert_none(&offences, "ARCHITECTURE.md, section \"Layers\", does not allow");
}

#[test]
fn the_pure_layers_do_no_io_read_no_clock_and_use_no_hash_order() {
    let layers = layers();
    let mut offences = Vec::new();
    for file in files().iter().filter(|f| layers.get(&f.layer).is_some_and(|layer| layer.pure)) {
        for mention in file.mentions.iter().filter(|m| !m.in_test) {
            if IMPURE.iter().any(|part| contains(&mention.path, part)) {
                offences.push(format!("{}:{}: {}", file.name, mention.line, mention.path.join("::")));
            }
        }
    }
    assert_none(&offences, "pure layers do without");
}

/// The only module with `unsafe`; invariant 10 says why.
const UNSAFE: &str = "src/dns/serve/mmsg.rs";

#[test]
fn nothing_is_unsafe() {
    let mut offences = Vec::new();
    let (exception, others): (Vec<File>, Vec<File>) = files().into_iter().partition(|file| file.name == UNSAFE);
    assert_eq!(exception.len(), 1, "{UNSAFE} is gone, and with it the exception");
    for file in others {
        let lines = file.mentions.iter().filter(|m| m.path.iter().any(|s| s == "unsafe")).map(|m| m.line);
        offences.extend(lines.map(|line| format!("{}:{line}", file.name)));
    }
    assert_none(&offences, "there is a safe wrapper for it, or it is not needed");
}

#[test]
fn files_are_short_enough_to_read() {
    let long = files().into_iter().map(|f| (f.text.lines().count(), f.name)).filter(|(lines, _)| *lines > MOST_LINES);
    let offences: Vec<_> = long.map(|(lines, name)| format!("{name}: {lines} lines")).collect();
    assert_none(&offences, "one concept a file, a file under 400 lines or so");
}
