//! Runs the ```console blocks.
//!
//! What a page needs beforehand and its readers do not, such as an interface, stands outside the blocks, a line each:
//! `<!-- $ ip link set lo up -->`. It must succeed.
//!
//! A block holds `$ command` lines, each followed by its output. All blocks of a page share one fresh network namespace
//! and one state folder, from top to bottom. A command that fails must be followed by `$ echo $?`.
//!
//! Left out of the comparison: log lines (they begin with the time), and white space at the end of a line. Nothing else is
//! normalised: what varies from run to run, such as the lab's counts and random picks, and `portolan run`, which does not
//! end, stands in ```text blocks, which are not run.

use std::{env, fmt::Write as _, fs, path::Path, process::Command};

use crate::{pages, pipeline};

/// A network namespace that is gone when the test ends, however it ends.
struct Namespace(String);

impl Namespace {
    fn new(number: usize) -> Self {
        let name = format!("ptd-{}-{number}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).status().expect("ip runs");
        assert!(made.success(), "cannot make the network namespace {name}");
        Self(name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// False, with a word why, where commands cannot be run; a failure where they must be.
fn can_run(test: &str) -> bool {
    let nft = || Command::new("nft").arg("-v").output().err().map(|e| format!("the command `nft` does not run: {e}"));
    let Some(reason) = portolan::lab::obstacle().or_else(nft) else { return true };
    assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
    false
}

/// The page with the outputs that the program gives now, and the number of commands that were run.
fn rerun(page: &str, text: &str, namespace: &str, state_dir: &str) -> (String, usize) {
    let (mut fresh, mut inside, mut count, mut failed) = (String::new(), false, 0, None::<i32>);
    for (index, line) in text.lines().enumerate() {
        let place = format!("{page}:{}", index + 1);
        match (inside, line.strip_prefix("$ ")) {
            (false, _) => {
                inside = line == "```console";
                if let Some(command) = line.strip_prefix("<!-- $ ").and_then(|rest| rest.strip_suffix(" -->")) {
                    let stages = pipeline::parse_preparation(command).unwrap_or_else(|e| panic!("{place}: {e}"));
                    let (code, output) = pipeline::run(&stages, namespace, state_dir);
                    assert_eq!(code, 0, "{place}: {output}");
                }
                writeln!(fresh, "{line}").expect("a String takes everything");
            }
            (true, Some("echo $?")) => {
                let code = failed.take().unwrap_or(0);
                writeln!(fresh, "{line}\n{code}").expect("a String takes everything");
            }
            (true, Some(command)) => {
                assert_eq!(failed, None, "{place}: the command before failed; show it with `$ echo $?`");
                let stages = pipeline::parse(command).unwrap_or_else(|e| panic!("{place}: {e}"));
                let (code, output) = pipeline::run(&stages, namespace, state_dir);
                failed = (code != 0).then_some(code);
                count += 1;
                writeln!(fresh, "{line}").expect("a String takes everything");
                for line in output.lines().filter(|line| !is_log(line)) {
                    writeln!(fresh, "{}", line.trim_end()).expect("a String takes everything");
                }
            }
            (true, None) if line == "```" => {
                assert_eq!(failed, None, "{place}: the last command failed; show it with `$ echo $?`");
                inside = false;
                writeln!(fresh, "{line}").expect("a String takes everything");
            }
            (true, None) => {} // an old output
        }
    }
    assert!(!inside, "{page}: a console block is left open");
    (fresh, count)
}

/// `2026-11-21T09:00:00.000000Z  INFO ...`
fn is_log(line: &str) -> bool {
    let begin: String = line.chars().take(11).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    begin == "0000-00-00T"
}

#[test]
fn console_blocks_show_what_the_program_prints() {
    if !can_run("console_blocks_show_what_the_program_prints") {
        return;
    }
    let (mut commands, mut stale) = (0, Vec::new());
    for (number, page) in pages::console_pages().into_iter().enumerate() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&page);
        let text = fs::read_to_string(&path).unwrap();
        let namespace = Namespace::new(number);
        let state = tempfile::tempdir().unwrap();
        let state_dir = state.path().join("state");
        let (fresh, count) = rerun(&page, &text, &namespace.0, state_dir.to_str().unwrap());
        commands += count;
        if fresh == text {
            continue;
        }
        if env::var_os("UPDATE_EXPECT").is_some_and(|v| v == "1") {
            fs::write(&path, fresh).unwrap();
        } else {
            let first = text.lines().zip(fresh.lines()).position(|(old, new)| old != new).unwrap_or(0);
            let line = |text: &str| text.lines().nth(first).unwrap_or_default().to_owned();
            stale.push(format!("{page}:{}: says {:?}, is {:?}", first + 1, line(&text), line(&fresh)));
        }
    }
    assert!(stale.is_empty(), "UPDATE_EXPECT=1 writes the pages anew:\n{}", stale.join("\n"));
    assert!(commands > 20, "only {commands} commands found: the pages or the search for blocks must be wrong");
}
