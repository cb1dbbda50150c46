//! Runs `nft`, for what is written as text: the fixed program and the chains of affinity groups.

use std::{
    io::{self, Write},
    process::{Command, Output, Stdio},
    thread,
};

use super::KernelError;

/// Has nft carry out a text, all of it in one transaction, in the calling thread's network namespace.
///
/// The text goes to nft's standard input; no shell is involved. With `check`, nft and the kernel only say whether it
/// could be done. `attempt` says in an error what it was for.
///
/// # Errors
/// [`KernelError::Refused`] with nft's own words, which quote the lines of the text at fault; [`KernelError::NotPermitted`]
/// without CAP_NET_ADMIN; [`KernelError::Failed`] if nft could not be run.
pub fn run(text: &str, check: bool, attempt: &str) -> Result<(), KernelError> {
    run_noting(text, check, attempt, |_| {})
}

/// The same; `started` is given nft's process id before nft can have changed anything.
pub(super) fn run_noting(text: &str, check: bool, attempt: &str, started: impl FnOnce(u32)) -> Result<(), KernelError> {
    let output = feed(text, check, started).map_err(|error| KernelError::Failed {
        attempt: attempt.to_owned(),
        reason: match error.kind() {
            io::ErrorKind::NotFound => {
                "the program `nft` is not in PATH; install it (package `nftables` on Debian, Fedora and Alpine)".into()
            }
            _ => format!("running `nft`: {error}"),
        },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim();
    let attempt = attempt.to_owned();
    if words.contains("Operation not permitted") {
        return Err(KernelError::NotPermitted { attempt });
    }
    if output.status.code().is_none() || words.is_empty() {
        return Err(KernelError::Failed { attempt, reason: format!("`nft` ended with {}: {words}", output.status) });
    }
    Err(KernelError::Refused { attempt, reason: format!("nft says: {words}") })
}

/// Starts nft, writes the text to it and waits for its end.
fn feed(text: &str, check: bool, started: impl FnOnce(u32)) -> io::Result<Output> {
    let mut command = Command::new("nft");
    if check {
        command.arg("--check");
    }
    command.args(["--file", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    // It waits for its input.
    started(child.id());
    let input = child.stdin.take();
    thread::scope(|scope| {
        // In a thread of its own: nft may write more errors than a pipe holds before it has read everything.
        let writer = scope.spawn(move || input.map_or(Ok(()), |mut input| input.write_all(text.as_bytes())));
        let output = child.wait_with_output()?;
        match writer.join() {
            // nft closes the pipe early when it gives up; its own words say why.
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(output),
        }
    })
}
