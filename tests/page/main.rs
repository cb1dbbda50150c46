//! The built-in page in a real browser: what it shows of a node with real connections, that it follows without being loaded
//! again, and that names can do nothing in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic: that is how they fail")]

mod browser;
mod guard;
mod hostile;
mod live;
#[path = "../health/support.rs"]
#[allow(dead_code, reason = "shared with the tests of health")]
mod support;

use std::{env, process::Command};

/// False, with a word why, where the page cannot be looked at; a failure where it must be.
fn can_run(test: &str) -> bool {
    let runs = |program: &str, argument: &str| {
        let ran = Command::new(program).arg(argument).output();
        ran.err().map(|error| format!("the command `{program}` does not run: {error}"))
    };
    let obstacle = portolan::lab::obstacle();
    let Some(reason) = obstacle.or_else(|| runs("nft", "-v")).or_else(|| runs(browser::CHROMIUM, "--version")) else {
        return true;
    };
    assert!(env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|v| v != "1"), "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
    false
}
