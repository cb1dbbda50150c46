//! Runs `nft`: for what is written as text (the fixed program, the chains of affinity groups), and for the listings of what
//! others wrote.
//!
//! No shell is involved, and that is not enough: nft joins its arguments with spaces and parses the result as its own
//! language, in which `;` and line ends separate commands, while the kernel takes any bytes for a table's name. So
//! [`list`] passes on only words that nft takes for one name each.

use std::{
    io::{self, Read, Write},
    process::{Command, Output, Stdio},
    sync::mpsc::{Sender, channel},
    thread,
    time::{Duration, Instant},
};

use super::KernelError;

/// How long nft may take to carry out a text. The largest ones take it seconds; one that hangs must not hang us for good.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has nft carry out a text, all of it in one transaction, in the calling thread's network namespace.
///
/// The text goes to nft's standard input. With `check`, nft and the kernel only say whether it could be done. `attempt`
/// says in an error what it was for.
///
/// # Errors
/// [`KernelError::Refused`] with nft's own words, which quote the lines of the text at fault; [`KernelError::NotPermitted`]
/// without CAP_NET_ADMIN; [`KernelError::Failed`] if nft could not be run, or did not end within a minute.
pub fn run(text: &str, check: bool, attempt: &str) -> Result<(), KernelError> {
    run_noting(text, check, attempt, |_| {})
}

/// The same; `started` is given nft's process id before nft can have changed anything.
pub(super) fn run_noting(text: &str, check: bool, attempt: &str, started: impl FnOnce(u32)) -> Result<(), KernelError> {
    let arguments: &[&str] = if check { &["--check", "--file", "-"] } else { &["--file", "-"] };
    let output = feed("nft", arguments, text, Instant::now() + PATIENCE, started);
    judge(output, attempt).map(drop)
}

/// What nft prints of these `words` of its language, such as `list table ip NAME`, in the calling thread's network
/// namespace. nft is ended when it has not ended by itself `until` then.
///
/// # Errors
/// Those of [`run`]; and [`KernelError::Failed`], without a word to nft, if one of the words is not [a name](is_name).
pub(super) fn list(
    options: &[&'static str],
    words: &[&str],
    until: Instant,
    attempt: &str,
) -> Result<String, KernelError> {
    if let Some(word) = words.iter().find(|word| !is_name(word)) {
        let reason =
            format!("nft would not take {word:?} for one name but for words of its own language; it was not asked");
        return Err(KernelError::Failed { attempt: attempt.to_owned(), reason });
    }
    let output = feed("nft", &[options, words].concat(), "", until, |_| {});
    judge(output, attempt).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether nft takes a text for one name (`string` in its scanner.l): a letter or `_`, then letters, digits, `/`, `-`, `_`
/// and `.`.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
}

/// Makes an error of an output that says so.
fn judge(output: Result<Output, String>, attempt: &str) -> Result<Output, KernelError> {
    let attempt = attempt.to_owned();
    let output = match output {
        Ok(output) if output.status.success() => return Ok(output),
        Ok(output) => output,
        Err(reason) => return Err(KernelError::Failed { attempt, reason }),
    };
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim();
    if words.contains("Operation not permitted") {
        return Err(KernelError::NotPermitted { attempt });
    }
    if output.status.code().is_none() || words.is_empty() {
        return Err(KernelError::Failed { attempt, reason: format!("`nft` ended with {}: {words}", output.status) });
    }
    Err(KernelError::Refused { attempt, reason: format!("nft says: {words}") })
}

/// What has come to its end.
enum Done {
    Input(io::Result<()>),
    Output(io::Result<Vec<u8>>),
    Errors(io::Result<Vec<u8>>),
}

/// Starts the program, writes the text to it and waits for its end, until then.
fn feed(
    program: &str,
    arguments: &[&str],
    text: &str,
    until: Instant,
    started: impl FnOnce(u32),
) -> Result<Output, String> {
    let running = |error: io::Error| format!("running `{program}`: {error}");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "the program `{program}` is not in PATH; install it (package `nftables` on Debian, Fedora and Alpine)"
        ),
        _ => running(error),
    })?;
    // It waits for its input.
    started(child.id());
    let (input, text) = (child.stdin.take(), text.as_bytes().to_owned());
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (done, parts) = channel();
    // Each in a thread of its own: nft may write more than a pipe holds before it has read everything. Nobody waits for the
    // threads: what nft started, if it is a script, can keep the pipes open when nft itself has been ended.
    let begun = in_thread(&done, move || Done::Input(input.map_or(Ok(()), |mut input| input.write_all(&text))))
        .and_then(|()| in_thread(&done, move || Done::Output(everything(output))))
        .and_then(|()| in_thread(&done, move || Done::Errors(everything(errors))));
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut outcome = begun.map_err(running);
    for _ in 0..3 {
        if outcome.is_err() {
            break;
        }
        outcome = match parts.recv_timeout(until.saturating_duration_since(Instant::now())) {
            // It closes the pipe early when it gives up; its own words say why.
            Ok(Done::Input(Err(error))) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(Done::Input(written)) => written.map_err(running),
            Ok(Done::Output(read)) => read.map(|bytes| stdout = bytes).map_err(running),
            Ok(Done::Errors(read)) => read.map(|bytes| stderr = bytes).map_err(running),
            Err(_) => Err(format!("`{program}` did not end in time and was ended")),
        };
    }
    if outcome.is_err() {
        // It may have ended meanwhile.
        let _ = child.kill();
    }
    let status = child.wait().map_err(running)?;
    outcome.map(|()| Output { status, stdout, stderr })
}

fn in_thread(done: &Sender<Done>, work: impl FnOnce() -> Done + Send + 'static) -> io::Result<()> {
    let done = done.clone();
    // Nobody hears it any more if the time is up.
    let tell = move || drop(done.send(work()));
    thread::Builder::new().name("nft-pipe".to_owned()).spawn(tell).map(drop)
}

fn everything(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes)).map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, text: &str, patience: Duration) -> Result<Output, String> {
        feed("sh", &["-c", script], text, Instant::now() + patience, |_| {})
    }

    #[test]
    fn only_what_is_one_name_is_one_word() {
        for name in ["filter", "kube-proxy", "_x", "cali.t-1", "a/b"] {
            assert!(is_name(name), "{name}");
        }
        let others =
            ["", "x; add table ip pwned", "a b", "a\nb", "-f", "--file", "/etc/passwd", "7", "a;b", "a{", "a$b"];
        for other in others.into_iter().chain(["@a", "a*", "a#b", "a\"b", "a\\b", "ä"]) {
            assert!(!is_name(other), "{other}");
            let refused =
                list(&[], &["list", "table", "ip", other], Instant::now(), "reading").unwrap_err().to_string();
            assert!(refused.contains("not take") && refused.contains(&format!("{other:?}")), "{refused}");
        }
    }

    #[test]
    fn more_than_a_pipe_holds_goes_through_each() {
        let text = "x".repeat(1 << 20);
        let output = shell("tee /dev/stderr", &text, PATIENCE).unwrap();
        assert!(output.status.success());
        assert!(output.stdout == text.as_bytes() && output.stderr == text.as_bytes());
        assert!(
            shell("exit 3", &text, PATIENCE).unwrap().stdout.is_empty(),
            "it does not read, and says so by its status"
        );
    }

    #[test]
    fn what_hangs_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        let exists = |pid: &str| std::path::Path::new("/proc").join(pid).exists();
        let mut pid = String::new();
        // What it started has its pipes, and goes on.
        let script = format!("sleep 600 & echo $! >{}; wait", file.display());
        let until = Instant::now() + Duration::from_secs(1);
        let ended = feed("sh", &["-c", &script], "", until, |child| pid = child.to_string());
        assert!(ended.unwrap_err().ends_with("did not end in time and was ended"));
        assert!(!exists(&pid));
        let child = std::fs::read_to_string(file).unwrap();
        assert!(exists(child.trim()), "its end was waited for");
        Command::new("kill").arg(child.trim()).status().unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let missing = feed("portolan-no-such-program", &[], "", Instant::now() + PATIENCE, |_| {}).unwrap_err();
        assert!(missing.contains("not in PATH"), "{missing}");
    }
}
