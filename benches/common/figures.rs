//! Figures as pages show them, and what they were measured on.

#![allow(dead_code, reason = "every benchmark uses a part of it")]

use std::{fs, process::Command};

/// Processors and memory of this machine.
pub fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    format!(
        "{} processors ({}), {}",
        cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        meminfo.lines().next().unwrap_or("unknown").split_whitespace().collect::<Vec<_>>().join(" ")
    )
}

/// The first line that a command says, on whichever stream.
pub fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "unknown".to_owned() };
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("unknown").to_owned()
}

/// The value below which this part of all values lies (nearest rank).
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Three digits that matter.
pub fn figure(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// How many times ours is in theirs.
pub fn ratio(theirs: f64, ours: f64) -> String {
    if ours == 0.0 { "-".to_owned() } else { figure(theirs / ours) }
}
