//! The command, started inside a node.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use portolan::lab::{Namespace, in_namespace};
use serde_json::Value;

use crate::support::run;

/// How long something may take that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A trace that runs. It is killed when dropped.
pub struct Trace {
    pub child: Child,
}

/// What a trace ended with.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub json: Value,
    pub errors: String,
}

/// The tables that trace in a namespace.
pub fn tables(namespace: &Namespace) -> Vec<String> {
    let tables = run(namespace, "nft list tables");
    tables.lines().filter(|line| line.contains("portolan-trace")).map(str::to_owned).collect()
}

/// Begins a trace, with output as JSON. `more` can change how it is started.
fn spawn(namespace: &Namespace, words: &[&str], more: impl FnOnce(&mut Command) + Send) -> Trace {
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.arg("trace").args(words).args(["-o", "json", "--state-dir", "/nonexistent/portolan-trace-test"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        more(&mut command);
        command.spawn()
    };
    Trace { child: in_namespace(namespace, start).unwrap().unwrap() }
}

impl Trace {
    /// Begins a trace; packets are seen when this returns.
    pub fn start(namespace: &Namespace, words: &[&str]) -> Self {
        Self::start_with(namespace, words, "", |_| {})
    }

    /// The same, with a text on its standard input, if it is not empty.
    pub fn start_with(
        namespace: &Namespace,
        words: &[&str],
        input: &str,
        more: impl FnOnce(&mut Command) + Send,
    ) -> Self {
        let before = tables(namespace).len();
        let mut trace = spawn(namespace, words, |command| {
            if !input.is_empty() {
                command.stdin(Stdio::piped());
            }
            more(command);
        });
        if let Some(mut stdin) = trace.child.stdin.take() {
            stdin.write_all(input.as_bytes()).unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        while tables(namespace).len() <= before {
            assert!(Instant::now() < deadline, "{words:?}: no table came");
            if trace.child.try_wait().unwrap().is_some() {
                panic!("{words:?} ended early: {:?}", trace.end());
            }
            sleep(Duration::from_millis(10));
        }
        trace
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        fn read(mut pipe: impl Read) -> String {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        }
        // Beside each other: it may write more than a pipe holds to either.
        let (output, errors) = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        let errors = thread::spawn(|| read(errors));
        let (text, errors) = (read(output), errors.join().unwrap());
        let code = self.child.wait().unwrap().code();
        let json = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Ended { code, json, errors }
    }

    /// Runs it, without waiting for a table.
    pub fn run(namespace: &Namespace, words: &[&str]) -> Ended {
        spawn(namespace, words, |_| {}).end()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    pub fn packets(&self) -> &[Value] {
        self.json["packets"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The only packet.
    #[track_caller]
    pub fn packet(&self) -> &Value {
        assert_eq!(self.packets().len(), 1, "{self:?}");
        &self.packets()[0]
    }

    pub fn sentence(&self) -> &str {
        self.json["sentence"].as_str().unwrap_or_default()
    }

    /// Its steps, a line each.
    #[track_caller]
    pub fn steps(&self) -> String {
        let steps = self.packet()["steps"].as_array().unwrap();
        steps.iter().map(|step| format!("{}\n", step["text"].as_str().unwrap())).collect()
    }

    /// The packet ended so, for this reason, and these are among its steps, in this order.
    #[track_caller]
    pub fn assert(&self, outcome: &str, reason: &str, steps: &[&str]) {
        let packet = self.packet();
        assert_eq!(packet["outcome"], outcome, "{self:#?}");
        let said = packet["reason"].as_str().unwrap_or_default();
        assert!(said.contains(reason), "{reason:?} is not in {said:?}");
        assert_eq!(self.code, Some(i32::from(outcome != "delivered")), "{self:#?}");
        let (all, mut rest) = (self.steps(), 0);
        for step in steps {
            let found = all[rest..].find(step);
            rest += found.unwrap_or_else(|| panic!("no {step:?}, or not there, in\n{all}")) + step.len();
        }
    }
}
