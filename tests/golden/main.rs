//! What `portolan render` makes of every example, and of the cases in tests/golden/cases: a test each.
//!
//! For each case and node, `tests/golden/CASE/NODE.nft` is the part of the ruleset that differs between cases (pick
//! chains, affinity groups, elements), `NODE.summary` the plan in words, and `notices` what is said on standard error.
//! `tests/golden/complete.nft` is one ruleset with its program. nft checks every complete ruleset.
//!
//! After a change that is meant: `UPDATE_EXPECT=1 cargo test --test golden`, then read the difference.

#[path = "../common/sandbox.rs"]
mod sandbox;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::{Arguments, Failed, Trial};
use sandbox::{PORTOLAN, Ran, Sandbox, feed, project};

/// Nodes to render beside node-1: where a policy is Local, hints count, or a node has no pods.
const MORE_NODES: [(&str, &[&str]); 8] = [
    ("08-nodeport", &["node-3"]),
    ("10-external-policy-local", &["node-2", "node-3"]),
    ("11-external-policy-cluster", &["node-3"]),
    ("affinity", &["node-2"]),
    ("hints", &["node-2", "node-3"]),
    ("policies", &["node-2", "node-3"]),
    ("terminating", &["node-2", "node-3"]),
    ("zones", &["node-2", "node-3"]),
];

/// The case whose complete ruleset is kept: it has both families.
const COMPLETE: &str = "dual-stack";

fn main() {
    let arguments = Arguments::from_args();
    let mut cases = manifests("examples");
    cases.extend(manifests("tests/golden/cases"));
    let trial = |(name, path): (String, PathBuf)| {
        let case = name.clone();
        Trial::test(name, move || check(&case, &path).map_err(Failed::from))
    };
    let mut trials: Vec<Trial> = cases.into_iter().map(trial).collect();
    trials.push(Trial::test("no golden file is left over", || nothing_left_over().map_err(Failed::from)));
    libtest_mimic::run(&arguments, trials).exit();
}

/// The manifests in a folder of the project and its folders, with their names as cases: `02-pod-replaced/before`.
fn manifests(folder: &str) -> Vec<(String, PathBuf)> {
    let all = files(&project(folder)).into_iter().filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let case = |path: &PathBuf| path.strip_prefix(project(folder)).unwrap().with_extension("");
    let cases: Vec<_> = all.map(|path| (case(&path).to_str().unwrap().to_owned(), path)).collect();
    assert!(!cases.is_empty(), "no manifests in {folder}");
    cases
}

/// All files in a folder and below, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn nodes(case: &str) -> Vec<&'static str> {
    let more = MORE_NODES.iter().find(|(name, _)| *name == case).map_or(&[][..], |(_, nodes)| nodes);
    [&["node-1"], more].concat()
}

fn golden(name: &str) -> PathBuf {
    project("tests/golden").join(name)
}

fn check(case: &str, path: &Path) -> Result<(), String> {
    for node in nodes(case) {
        let nft = render(path, node, "nft");
        let summary = render(path, node, "summary");
        let program = &nft.stdout;
        if case == COMPLETE && node == "node-1" {
            compare(&golden("complete.nft"), program)?;
        }
        compare(&golden(&format!("{case}/{node}.nft")), &without_program(program)?)?;
        compare(&golden(&format!("{case}/{node}.summary")), &summary.stdout)?;
        compare(&golden(&format!("{case}/notices")), &nft.stderr)?;
        let refused = nft.stderr.lines().any(|line| line.starts_with("error: "));
        if nft.code != i32::from(refused) || (summary.code, &summary.stderr) != (nft.code, &nft.stderr) {
            return Err(format!("{node}: exit codes {} and {}:\n{}", nft.code, summary.code, summary.stderr));
        }
        accepted_by_nft(case, program)?;
    }
    Ok(())
}

/// `portolan render` with nothing remembered, and nothing logged that has a time in it.
fn render(path: &Path, node: &str, output: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PORTOLAN);
    command.current_dir(project("")).args(["render", "--node", node, "--output", output, "--log", "off"]);
    command.arg("-f").arg(path.strip_prefix(project("")).unwrap());
    command.arg("--state-dir").arg(folder.path().join("state"));
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "render must leave nothing behind");
    ran
}

/// A ruleset without each family's program, which begins with the table's declaration and ends with the first `}`
/// that closes a table.
fn without_program(ruleset: &str) -> Result<String, String> {
    let mut rest = String::new();
    let mut in_program = false;
    let mut programs = 0;
    for line in ruleset.lines() {
        let declares = ["table ip portolan", "table ip6 portolan"].contains(&line);
        in_program |= declares;
        if !in_program {
            rest.push_str(line);
            rest.push('\n');
        }
        if in_program && line == "}" {
            in_program = false;
            programs += 1;
        }
    }
    if programs == 2 && !in_program { Ok(rest) } else { Err(format!("{programs} programs in the ruleset")) }
}

/// Compares with a golden file, or rewrites it with UPDATE_EXPECT=1. Nothing to say is no file.
fn compare(path: &Path, text: &str) -> Result<(), String> {
    let held = fs::read_to_string(path).unwrap_or_default();
    if held == text {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|v| v == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let written = if text.is_empty() { fs::remove_file(path) } else { fs::write(path, text) };
        return written.map_err(|e| format!("cannot write {}: {e}", path.display()));
    }
    let differs = held.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or(held.lines().count().min(text.lines().count()));
    Err(format!(
        "{} differs at line {}:\n  expected: {}\n  rendered: {}\nIf this is meant: UPDATE_EXPECT=1 cargo test --test golden",
        path.display(),
        line + 1,
        held.lines().nth(line).unwrap_or("(end)"),
        text.lines().nth(line).unwrap_or("(end)"),
    ))
}

/// Has nft check the complete text where there is nothing else.
fn accepted_by_nft(case: &str, ruleset: &str) -> Result<(), String> {
    let Some(sandbox) = Sandbox::new(case) else { return Ok(()) };
    let ran = feed(sandbox.command("nft").args(["-c", "-f", "-"]), ruleset);
    if ran.code == 0 { Ok(()) } else { Err(format!("nft refuses it: {}", ran.stderr)) }
}

/// Every golden file belongs to a case and a node.
fn nothing_left_over() -> Result<(), String> {
    let mut expected = vec![golden("complete.nft"), golden("main.rs")];
    for (case, path) in [manifests("examples"), manifests("tests/golden/cases")].concat() {
        expected.extend([path, golden(&format!("{case}/notices"))]);
        for node in nodes(&case) {
            expected.extend(["nft", "summary"].map(|end| golden(&format!("{case}/{node}.{end}"))));
        }
    }
    let over: Vec<_> = files(&golden("")).into_iter().filter(|file| !expected.contains(file)).collect();
    if over.is_empty() { Ok(()) } else { Err(format!("these belong to no case: {over:?}")) }
}
