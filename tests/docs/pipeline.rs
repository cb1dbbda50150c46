//! The commands that a console block may hold: a small form, taken apart here, so that no shell ever sees it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

/// One `$ ` line as the argument lists of its pipeline.
///
/// Words are parted by blanks, `'...'` quotes, `|` parts the stages. Nothing else has a meaning.
///
/// # Errors
///
/// An open quote, or a command that is not allowed.
pub fn parse(line: &str) -> Result<Vec<Vec<String>>, String> {
    parse_with(line, allowed)
}

/// The same for a command that prepares the page's namespace: also interfaces, addresses, routes, switches, and tracked
/// connections, as a client's packets would leave them.
///
/// # Errors
///
/// Those of [`parse`].
pub fn parse_preparation(line: &str) -> Result<Vec<Vec<String>>, String> {
    parse_with(line, |stage| {
        let words: Vec<&str> = stage.iter().map(String::as_str).collect();
        allowed(stage)
            || matches!(words.as_slice(), ["ip", "link" | "address" | "route", ..])
            || matches!(words.as_slice(), ["conntrack", "-I", ..])
            || matches!(words.as_slice(), ["sysctl", "-qw", setting] if setting.starts_with("net."))
    })
}

fn parse_with(line: &str, allowed: impl Fn(&[String]) -> bool) -> Result<Vec<Vec<String>>, String> {
    let (mut stages, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            '|' if !quoted => {
                words.extend(word.take());
                stages.push(std::mem::take(&mut words));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err("a quote is left open".to_owned());
    }
    words.extend(word);
    stages.push(words);
    match stages.iter().find(|stage| !allowed(stage)) {
        Some(stage) => Err(format!("{stage:?} is not among the commands that documentation may run")),
        None => Ok(stages),
    }
}

/// nft reads, checks, or breaks something in the page's own namespace; sed and grep only filter.
fn allowed(stage: &[String]) -> bool {
    let words: Vec<&str> = stage.iter().map(String::as_str).collect();
    matches!(
        words.as_slice(),
        ["portolan", ..]
            | ["nft", "list" | "delete" | "add" | "flush", ..]
            | ["nft", "-c", "-f", "-"]
            | ["grep", ..]
            | ["sed", "-n", _]
    )
}

/// Runs a pipeline, a stage after the other. Returns the last stage's exit code and what a terminal would show:
/// every stage's standard error, then the last one's standard output.
///
/// `namespace` is entered first; `state_dir` stands for the default one in both directions.
pub fn run(stages: &[Vec<String>], namespace: &str, state_dir: &str) -> (i32, String) {
    let (mut input, mut shown, mut code) = (Vec::new(), String::new(), 0);
    for stage in stages {
        let mut command = command(stage, namespace, state_dir);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip runs");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A stage that does not read its input closes the pipe: that is its right.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("the child can be waited for");
        feeder.join().expect("the feeder does not panic");
        shown.push_str(&String::from_utf8_lossy(&output.stderr));
        code = output.status.code().unwrap_or(-1);
        input = output.stdout;
    }
    shown.push_str(&String::from_utf8_lossy(&input));
    (code, shown.replace(state_dir, DEFAULT_STATE_DIR))
}

const DEFAULT_STATE_DIR: &str = "/var/lib/portolan";

fn command(stage: &[String], namespace: &str, state_dir: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("LC_ALL", "C");
    for variable in ["PORTOLAN_NODE", "PORTOLAN_LOG", "RUST_LOG", "COLUMNS"] {
        command.env_remove(variable);
    }
    let (program, arguments) = stage.split_first().expect("a stage has words");
    match program.as_str() {
        "portolan" => {
            command.arg(env!("CARGO_BIN_EXE_portolan")).args(arguments);
            let stateless = |a: &String| ["--help", "--version", "check"].contains(&a.as_str());
            let has_state = !arguments.iter().any(stateless);
            if has_state {
                command.args(["--state-dir", state_dir]);
            }
        }
        "sed" => drop(command.args(["sed", "--sandbox"]).args(arguments)),
        _ => drop(command.arg(program).args(arguments)),
    }
    command
}

#[test]
fn lines_are_taken_apart_and_strangers_refused() {
    let stages = parse("portolan render -f a.yaml | sed -n '/chain internal {/,/}/p'").unwrap();
    assert_eq!(stages, [vec!["portolan", "render", "-f", "a.yaml"], vec!["sed", "-n", "/chain internal {/,/}/p"]]);
    for refused in ["rm -rf x", "portolan render | sh", "sed -i s/a/b/ x", "nft -f -", "nft list 'open", ""] {
        assert!(parse(refused).is_err(), "{refused}");
    }
}
