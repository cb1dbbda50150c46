//! What running processes take.

#![allow(dead_code, reason = "every benchmark uses a part of it")]

use std::{collections::BTreeMap, fs};

/// Everything that a process started and that still runs. A child belongs to the thread that started it.
pub fn descendants(process: u32) -> Vec<u32> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![process];
    while let Some(parent) = waiting.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
                if found.insert(child, ()).is_none() {
                    waiting.push(child);
                }
            }
        }
    }
    found.into_keys().collect()
}

/// Seconds of processor time of a process and of its children that have ended, in user mode and in the kernel.
pub fn processor_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in brackets, may hold anything; behind it the state is field 3, utime, stime, cutime, cstime 14 to 17.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    ticks as f64 / hertz as f64
}

/// Memory of a process that is in RAM, in bytes; what it shares with others is split among them (PSS), so that the
/// processes of one server can be added up. Nothing if it is gone.
pub fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Keeps this process, what it started and what it will start on one processor.
pub fn pin_with_children(core: usize) {
    let own = std::process::id();
    for process in descendants(own).into_iter().chain([own]) {
        let arguments = ["--all-tasks", "--cpu-list", "--pid", &core.to_string(), &process.to_string()];
        let output = std::process::Command::new("taskset").args(arguments).output();
        assert!(output.as_ref().is_ok_and(|output| output.status.success()), "taskset {arguments:?}: {output:?}");
    }
}
