//! The page and the plots, made of the results.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    figures::{figure, first_line, machine, quantile, ratio},
    measure::Measured,
    options::Options,
    plot::{Series, plot},
    subject::Program,
};

/// Everything that was found out, and where.
#[derive(Serialize, Deserialize)]
pub struct Results {
    /// What was measured on, line by line
    pub machine: Vec<String>,
    pub options: Options,
    pub measured: Vec<Measured>,
}

/// What one row of a table shows.
struct Row {
    title: &'static str,
    unit: &'static str,
    value: fn(&Measured) -> f64,
}

const MEBIBYTE: f64 = 1_048_576.0;

const ROWS: [Row; 11] = [
    Row { title: "start to all programmed", unit: "s", value: |m| m.start },
    Row { title: "processor time of the start", unit: "s", value: |m| m.start_processor },
    Row { title: "one change, p50", unit: "ms", value: |m| 1e3 * quantile(&m.changes, 0.5) },
    Row { title: "one change, p99", unit: "ms", value: |m| 1e3 * quantile(&m.changes, 0.99) },
    Row { title: "peak memory, with what it spawns", unit: "MiB", value: |m| m.memory as f64 / MEBIBYTE },
    Row { title: "peak memory of the process alone", unit: "MiB", value: |m| m.memory_own as f64 / MEBIBYTE },
    Row { title: "peak memory of what it spawns", unit: "MiB", value: |m| m.memory_children as f64 / MEBIBYTE },
    Row { title: "processor time, idle", unit: "s", value: |m| m.idle_processor },
    Row { title: "processor time, churn", unit: "s", value: |m| m.churn_processor },
    Row { title: "one change at the end of the churn", unit: "ms", value: |m| 1e3 * m.churn_last },
    Row { title: "single changes measured", unit: "number", value: |m| m.changes.len() as f64 },
];

/// Rows in which nobody is ahead; and who spawns nothing has nothing to show there.
const UNJUDGED: [&str; 2] = ["peak memory of what it spawns", "single changes measured"];

impl Results {
    /// What this machine and the programs are.
    pub fn machine(kube_proxy: &Path) -> Vec<String> {
        let module = include_str!("../../tests/cluster/go.mod");
        let kubernetes = module.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
        let kubernetes = kubernetes.and_then(|rest| rest.split_whitespace().next()).unwrap_or("unknown");
        let size = fs::metadata(kube_proxy).map_or(0, |metadata| metadata.len());
        vec![
            machine(),
            format!("{}; {}", first_line("uname", &["-sr"]), first_line("nft", &["--version"])),
            format!(
                "kube-proxy and kube-apiserver {kubernetes} (static binaries, {:.0} MiB the former)",
                size as f64 / MEBIBYTE
            ),
            format!("portolan {}", env!("CARGO_PKG_VERSION")),
        ]
    }

    /// Writes `comparison.json` below the folder, and what is made of it.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("comparison.json"), serde_json::to_string_pretty(self).unwrap() + "\n").unwrap();
        self.write_page(folder);
    }

    /// Writes `comparison.md` and `images/comparison-*.svg` below the folder.
    pub fn write_page(&self, folder: &Path) {
        fs::create_dir_all(folder.join("images")).unwrap();
        fs::write(folder.join("comparison.md"), self.page()).unwrap();
        for (name, picture) in self.plots() {
            fs::write(folder.join(format!("images/comparison-{name}.svg")), picture).unwrap();
        }
    }

    /// The results with this number of Services, by program.
    fn with(&self, services: usize) -> BTreeMap<Program, &Measured> {
        self.measured.iter().filter(|m| m.services == services).map(|m| (m.program, m)).collect()
    }

    fn page(&self) -> String {
        let options = &self.options;
        let machine: String = self.machine.iter().map(|line| format!("* {line}\n")).collect();
        let mut page = format!(
            "# Beside kube-proxy\n\n    make compare\n\nwrites this page, its plots and `comparison.json`, as root. The \
             real kube-proxy in nftables mode and `portolan run`, each in a fresh network namespace, one after the other \
             but for the idle time, with the same API server, the same objects and the same nft:\n\n{machine}\n\
             Ratios above 1 mean that Portolan needs less.\n\n"
        );
        for size in &options.sizes {
            let _ = writeln!(page, "## {size} Services x {} endpoints\n\n{}", options.endpoints, self.table(*size));
        }
        page += &self.verdict();
        page += "\n## Plots\n\n";
        for (name, _) in self.plots() {
            let _ = writeln!(page, "![{name}](images/comparison-{name}.svg)\n");
        }
        page + &self.method()
    }

    fn table(&self, services: usize) -> String {
        let with = self.with(services);
        let mut table = "| | kube-proxy | Portolan | ratio |\n| --- | --- | --- | --- |\n".to_owned();
        for row in ROWS {
            let value = |program| with.get(&program).map(|m| (row.value)(m));
            let (theirs, ours) = (value(Program::KubeProxy), value(Program::Portolan));
            let text = |value: Option<f64>| value.map_or("-".to_owned(), figure);
            let ratio = theirs.zip(ours).map_or("-".to_owned(), |(theirs, ours)| ratio(theirs, ours));
            let _ = writeln!(table, "| {}, {} | {} | {} | {ratio} |", row.title, row.unit, text(theirs), text(ours));
        }
        table
    }

    /// What was aimed at, and where Portolan is not ahead.
    fn verdict(&self) -> String {
        let mut behind = String::new();
        for size in &self.options.sizes {
            let with = self.with(*size);
            let (Some(theirs), Some(ours)) = (with.get(&Program::KubeProxy), with.get(&Program::Portolan)) else {
                continue;
            };
            for row in
                ROWS.iter().filter(|row| !UNJUDGED.contains(&row.title) && (row.value)(ours) >= (row.value)(theirs))
            {
                let (theirs, ours) = (figure((row.value)(theirs)), figure((row.value)(ours)));
                let _ = writeln!(behind, "* {size} Services, {}: {ours} {} against {theirs}", row.title, row.unit);
            }
        }
        if behind.is_empty() {
            behind = "Nowhere.\n".to_owned();
        }
        format!("## Where Portolan is not ahead\n\n{behind}\n{}", self.aims())
    }

    fn aims(&self) -> String {
        let with = self.with(10_000);
        let (Some(theirs), Some(ours)) = (with.get(&Program::KubeProxy), with.get(&Program::Portolan)) else {
            return String::new();
        };
        let start = theirs.start / ours.start;
        let memory = theirs.memory as f64 / ours.memory as f64;
        let word = |reached| if reached { "reached" } else { "not reached" };
        format!(
            "Aims at 10000 Services: a start at least 50 times faster: {start:.1} times, {}; at most a quarter of the \
             memory: {:.0} %, {}.\n",
            word(start >= 50.0),
            100.0 / memory,
            word(memory >= 4.0)
        )
    }

    fn plots(&self) -> Vec<(&'static str, String)> {
        let categories: Vec<String> = self.options.sizes.iter().map(|size| format!("{size} Services")).collect();
        let series = |label: &str, program, dashed, value: fn(&Measured) -> f64| {
            let values = self.options.sizes.iter();
            let values = values.map(|size| self.with(*size).get(&program).map_or(0.0, |m| value(m))).collect();
            let (name, color) = match program {
                Program::KubeProxy => ("kube-proxy", "#c0392b"),
                Program::Portolan => ("Portolan", "#1f6fb2"),
            };
            Series { label: format!("{name}{label}"), color, dashed, values }
        };
        let both = |label: &str, dashed, value| {
            [Program::KubeProxy, Program::Portolan].map(|program| series(label, program, dashed, value))
        };
        let change: Vec<Series> =
            both(", p50", false, ROWS[2].value).into_iter().chain(both(", p99", true, ROWS[3].value)).collect();
        vec![
            ("start", plot("Start to all programmed", "s", &categories, &both("", false, ROWS[0].value))),
            ("change", plot("One change to the rule in the kernel", "ms", &categories, &change)),
            ("memory", plot("Peak memory, with what is spawned", "MiB", &categories, &both("", false, ROWS[4].value))),
            ("churn", plot("Processor time under churn", "s", &categories, &both("", false, ROWS[8].value))),
        ]
    }

    fn method(&self) -> String {
        let options = &self.options;
        format!(
            "## How it is measured\n\n\
             * Both run with their defaults: kube-proxy's `nftables.minSyncPeriod` is 1 s, Portolan's \
             `--min-sync-period` 100 ms. Both leave the host's limits of connection tracking alone. kube-proxy's \
             configuration and Portolan's flags are in `benches/compare/subject.rs`.\n\
             * Start: from the start of the process until the kernel holds everything: the generation of the ruleset is \
             asked every millisecond, and elements are counted when it has moved. Nothing was programmed before. Its \
             processor time is that of 5 s more, too.\n\
             * One change: one endpoint of one Service is replaced, {changes} times, or as often as fits into \
             {changes_seconds} s, each after a silence that is longer than the program's minimum interval ({kube_proxy} \
             ms, {portolan} ms), so that it never waits for that. From the API server's answer to the kernel's \
             announcement of a rule or element with the new address.\n\
             * Memory: what the kernel remembers as the most the process ever had in RAM (VmHWM), plus the same of the \
             processes it spawned that ran at one time (looked for every 10 ms), from start to end. What the kernel \
             itself needs for the rules is not in it.\n\
             * Idle: {idle} s without a change, both at the same time after another start. Churn: {rate} changes a second for {churn} s, each of another Service, \
             then one more, then 5 s to come to rest. Processor time of the process and of all it spawned, in steps of \
             10 ms. Under churn kube-proxy writes rules at most once a second, Portolan at most ten times.\n\
             * The version of nft matters: kube-proxy has it list its whole table before every change, and nft 1.0.6 \
             takes seconds for that in a large cluster.\n",
            changes = options.changes,
            changes_seconds = options.changes_seconds,
            kube_proxy = options.pause_ms.kube_proxy,
            portolan = options.pause_ms.portolan,
            idle = options.idle_seconds,
            churn = options.churn_seconds,
            rate = options.churn_rate,
        )
    }
}
