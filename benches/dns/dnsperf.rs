//! Runs dnsperf and reads what it found.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    str::FromStr,
};

use portolan::lab::Namespace;

use crate::{cluster::command_in, figures::quantile};

/// Sockets that dnsperf asks from.
const CLIENTS: &str = "8";

/// What dnsperf found.
pub struct Outcome {
    /// Answers a second
    pub rate: f64,
    pub completed: f64,
    pub lost: f64,
    /// Bytes of an answer, on average
    pub answer_size: f64,
    /// Of each query, in seconds; with a limited rate only
    latencies: Vec<f64>,
}

impl Outcome {
    /// Latency in seconds below which this part of the queries was answered.
    pub fn latency(&self, part: f64) -> f64 {
        quantile(&self.latencies, part)
    }
}

/// As fast as the server answers, with 200 queries outstanding.
pub fn saturate(namespace: &Namespace, questions: &Path, seconds: u64) -> Outcome {
    run(namespace, questions, &["-l", &seconds.to_string(), "-q", "200"])
}

/// At this rate. dnsperf says of every query how long its answer took (`-v`), in microseconds.
pub fn steady(namespace: &Namespace, questions: &Path, seconds: u64, rate: u32) -> Outcome {
    run(namespace, questions, &["-l", &seconds.to_string(), "-q", "1000", "-Q", &rate.to_string(), "-v"])
}

fn run(namespace: &Namespace, questions: &Path, arguments: &[&str]) -> Outcome {
    // A file needs nobody to read it in the meantime.
    let path = questions.with_extension("output");
    let mut command = command_in(namespace, "dnsperf");
    command
        .args(["-s", "127.0.0.1", "-p", "53", "-e", "-W", "-c", CLIENTS, "-t", "2", "-d"])
        .arg(questions)
        .args(arguments);
    let file = File::create(&path).unwrap();
    let status = command.stdin(Stdio::null()).stdout(file).stderr(Stdio::inherit()).status().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(status.success(), "dnsperf: {status}: {text}");
    read(&text)
}

fn read(text: &str) -> Outcome {
    let latency = |line: &str| line.strip_prefix("> ")?.rsplit_once(' ')?.1.parse().ok();
    Outcome {
        rate: value(text, "Queries per second:"),
        completed: value(text, "Queries completed:"),
        lost: value(text, "Queries lost:"),
        answer_size: value(text, "response "),
        latencies: text.lines().filter(|line| !line.starts_with("> T ")).filter_map(latency).collect(),
    }
}

/// The number behind the last occurrence of these words.
fn value(text: &str, label: &str) -> f64 {
    let rest = text.rsplit_once(label).unwrap_or_else(|| panic!("dnsperf does not say {label:?}")).1;
    let word = rest.split_whitespace().next().unwrap_or_default();
    f64::from_str(word).unwrap_or_else(|_| panic!("dnsperf says {label} {word:?}, which is no number"))
}
