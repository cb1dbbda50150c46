//! The page and the plots, made of the results.

use std::{fmt::Write, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    bars::{Bar, bars},
    figures::{figure, first_line, machine, quantile, ratio},
    follow::Following,
    options::Options,
    server::Server,
    serving::{Round, Serving},
};

/// Everything that was found out, and where.
#[derive(Serialize, Deserialize)]
pub struct Results {
    /// What was measured on, line by line
    pub machine: Vec<String>,
    pub options: Options,
    pub serving: Vec<Serving>,
    pub following: Vec<Following>,
}

/// What one row of a table shows, and whether more of it is better; `None` if that is not the question.
struct Row<T> {
    title: &'static str,
    unit: &'static str,
    more: Option<bool>,
    value: fn(&T) -> f64,
}

const MEBIBYTE: f64 = 1_048_576.0;

const SERVING: [Row<Serving>; 12] = [
    Row { title: "most queries a second", unit: "1000", more: Some(true), value: |s| median(s, |r| r.most) / 1e3 },
    Row { title: "its processor is busy then", unit: "%", more: None, value: |s| 1e2 * median(s, |r| r.busy) },
    Row { title: "most queries for a second of its processor", unit: "1000", more: Some(true), value: per_core },
    Row {
        title: "most queries a second, dnsperf",
        unit: "1000",
        more: Some(true),
        value: |s| median(s, |r| r.dnsperf) / 1e3,
    },
    Row {
        title: "latency at a steady rate, p50",
        unit: "µs",
        more: Some(false),
        value: |s| 1e6 * median(s, |r| r.p50),
    },
    Row {
        title: "latency at a steady rate, p99",
        unit: "µs",
        more: Some(false),
        value: |s| 1e6 * median(s, |r| r.p99),
    },
    Row {
        title: "processor time of 1000 queries at a steady rate",
        unit: "ms",
        more: Some(false),
        value: |s| 1e6 * median(s, |r| r.processor),
    },
    Row { title: "memory at rest", unit: "MiB", more: Some(false), value: |s| s.memory_rest as f64 / MEBIBYTE },
    Row {
        title: "memory after all rounds",
        unit: "MiB",
        more: Some(false),
        value: |s| s.memory_after as f64 / MEBIBYTE,
    },
    Row { title: "start until everything is answered", unit: "s", more: Some(false), value: |s| s.start },
    Row { title: "size of an answer", unit: "bytes", more: None, value: |s| median(s, |r| r.answer_size) },
    Row {
        title: "queries lost, all rounds",
        unit: "number",
        more: None,
        value: |s| s.rounds.iter().map(|round| round.most_lost + round.dnsperf_lost + round.steady_lost).sum(),
    },
];

const FOLLOWING: [Row<Following>; 9] = [
    Row { title: "one change, p50", unit: "ms", more: Some(false), value: |f| 1e3 * quantile(&f.changes, 0.5) },
    Row { title: "one change, p99", unit: "ms", more: Some(false), value: |f| 1e3 * quantile(&f.changes, 0.99) },
    Row { title: "one change, the slowest", unit: "ms", more: Some(false), value: |f| 1e3 * quantile(&f.changes, 1.0) },
    Row { title: "single changes measured", unit: "number", more: None, value: |f| f.changes.len() as f64 },
    Row { title: "start until everything is answered", unit: "s", more: Some(false), value: |f| f.start },
    Row { title: "memory at rest", unit: "MiB", more: Some(false), value: |f| f.memory_rest as f64 / MEBIBYTE },
    Row {
        title: "memory after the churn",
        unit: "MiB",
        more: Some(false),
        value: |f| f.memory_after as f64 / MEBIBYTE,
    },
    Row { title: "processor time of the churn", unit: "s", more: Some(false), value: |f| f.churn_processor },
    Row { title: "one change at the end of the churn", unit: "ms", more: Some(false), value: |f| 1e3 * f.churn_last },
];

/// The middle one of all rounds.
fn median(serving: &Serving, value: fn(&Round) -> f64) -> f64 {
    quantile(&serving.rounds.iter().map(value).collect::<Vec<f64>>(), 0.5)
}

fn per_core(serving: &Serving) -> f64 {
    median(serving, |round| round.most / round.busy) / 1e3
}

fn name(server: Server) -> &'static str {
    match server {
        Server::Portolan => "Portolan",
        Server::Nsd => "NSD",
        Server::Knot => "Knot DNS",
        Server::CoreDns => "CoreDNS",
    }
}

fn color(server: Server) -> &'static str {
    if server == Server::Portolan { "#1f6fb2" } else { "#8a8f98" }
}

impl Results {
    /// None yet.
    pub fn new(options: &Options) -> Self {
        let mut servers: Vec<Server> = options.servers.iter().chain(&options.following).copied().collect();
        servers.sort_unstable();
        servers.dedup();
        let mut lines = vec![machine(), first_line("uname", &["-sr"])];
        lines.extend(servers.into_iter().map(|server| format!("{}: {}", name(server), server.version())));
        Self { machine: lines, options: options.clone(), serving: Vec::new(), following: Vec::new() }
    }

    /// Writes `dns-comparison.json` below the folder, and what is made of it.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("dns-comparison.json"), serde_json::to_string_pretty(self).unwrap() + "\n").unwrap();
        self.write_page(folder);
    }

    /// Writes `dns-comparison.md` and `images/dns-comparison-*.svg` below the folder.
    pub fn write_page(&self, folder: &Path) {
        fs::create_dir_all(folder.join("images")).unwrap();
        fs::write(folder.join("dns-comparison.md"), self.page()).unwrap();
        for (name, picture) in self.plots() {
            fs::write(folder.join(format!("images/dns-comparison-{name}.svg")), picture).unwrap();
        }
    }

    fn page(&self) -> String {
        let Options { services, endpoints, rate, churn, .. } = &self.options;
        let machine: String = self.machine.iter().map(|line| format!("* {line}\n")).collect();
        let mut page = format!(
            "# DNS beside NSD, Knot DNS and CoreDNS\n\n    make compare-dns\n\nwrites this page, its plots and \
             `dns-comparison.json`, as root. Every server has the same names, of {services} Services with {endpoints} \
             endpoints each, one worker and one processor:\n\n{machine}\n"
        );
        let _ = writeln!(page, "## Serving\n\nThe steady rate is {rate} queries a second.\n");
        page += &table(&SERVING, &self.serving, |serving| serving.server);
        page += "\nThe same in relation to Portolan; above 1 Portolan is ahead:\n\n";
        page += &ratios(&SERVING, &self.serving, |serving| serving.server);
        let _ = writeln!(page, "\n## Following an API server\n\nThe churn is {churn} changes without a pause.\n");
        page += &table(&FOLLOWING, &self.following, |following| following.server);
        page += "\n";
        page += &ratios(&FOLLOWING, &self.following, |following| following.server);
        page += &self.aims();
        page += "\n## Plots\n\n";
        for (name, _) in self.plots() {
            let _ = writeln!(page, "![{name}](images/dns-comparison-{name}.svg)\n");
        }
        page + &self.method()
    }

    /// What was aimed at, and what came of it.
    fn aims(&self) -> String {
        let mut lines = String::new();
        let mut aim = |text: String, reached: bool| {
            let _ = writeln!(lines, "* {text}: {}.", if reached { "reached" } else { "not reached" });
        };
        let of = |server| self.serving.iter().find(|serving| serving.server == server);
        if let (Some(ours), Some(theirs)) = (of(Server::Portolan), of(Server::CoreDns)) {
            let times = per_core(ours) / per_core(theirs);
            aim(
                format!("At least 8 times as many queries for a second of processor as CoreDNS: {times:.1}"),
                times >= 8.0,
            );
        }
        if let (Some(ours), Some(theirs)) = (of(Server::Portolan), of(Server::Nsd)) {
            let times = per_core(ours) / per_core(theirs);
            aim(format!("At least as many as NSD, within 5 %: {times:.2} times"), times >= 0.95);
        }
        if let Some(ours) = self.following.iter().find(|following| following.server == Server::Portolan) {
            let p99 = 1e3 * quantile(&ours.changes, 0.99);
            aim(format!("A change in an answer within 50 ms, p99: {} ms", figure(p99)), p99 < 50.0);
            let memory = ours.memory_after.max(ours.memory_rest) as f64 / MEBIBYTE;
            aim(format!("At most 100 MiB, at rest and after the churn: {} MiB", figure(memory)), memory <= 100.0);
        }
        if lines.is_empty() { lines } else { format!("\n## Aims\n\n{lines}") }
    }

    fn plots(&self) -> Vec<(&'static str, String)> {
        let serving = |row: usize| {
            let Row { title, unit, value, .. } = &SERVING[row];
            let label = |serving: &Serving| name(serving.server).to_owned();
            let one = |s: &Serving| Bar { label: label(s), color: color(s.server), value: value(s) };
            bars(title, unit, &self.serving.iter().map(one).collect::<Vec<Bar>>(), figure)
        };
        let latency = self.serving.iter().flat_map(|s| {
            [(4, "p50"), (5, "p99")].map(|(row, part)| {
                let label = format!("{}, {part}", name(s.server));
                Bar { label, color: color(s.server), value: (SERVING[row].value)(s) }
            })
        });
        let change = self.following.iter().flat_map(|f| {
            [(0, "p50"), (1, "p99")].map(|(row, part)| {
                let label = format!("{}, {part}", name(f.server));
                Bar { label, color: color(f.server), value: (FOLLOWING[row].value)(f) }
            })
        });
        let title = format!("latency at {} queries a second", self.options.rate);
        vec![
            ("most", serving(2)),
            ("latency", bars(&title, "µs", &latency.collect::<Vec<Bar>>(), figure)),
            ("processor", serving(6)),
            ("memory", serving(7)),
            ("change", bars("one change to the first answer", "ms", &change.collect::<Vec<Bar>>(), figure)),
        ]
    }

    fn method(&self) -> String {
        let options = &self.options;
        format!(
            "## How it is measured\n\n\
             * Names: of a hundred Services 90 have a cluster IP, every fourth of these one of each family; nine are \
             headless, every other one of these with host names; one is an ExternalName inside the cluster. Two ports \
             each. Portolan reads them as manifests, NSD and Knot DNS as zone files that hold the same records, with \
             those of endpoints and of reverse names, CoreDNS from an API server.\n\
             * Questions: {questions} different ones in a fixed random order. 50 % A, 25 % AAAA, 10 % SRV, 5 % PTR, 10 % \
             names that are not there, most of them as search paths make them. All with EDNS, so that answers are \
             whole. Before anything is measured, {checked} of them are asked of all servers: code, answer section with \
             TTLs and what is said of missing names must be the same, in any order of records. TTLs of reverse names \
             are not compared, for CoreDNS has these in its cache.\n\
             * Settings, in `benches/dns/settings.rs`: CoreDNS and Portolan have kubeadm's Corefile without `loop` and \
             `reload`; CoreDNS does not cache cluster names then, but does cache reverse names. CoreDNS is built from its \
             module with the plugins that are named there. NSD limits the rate of its answers by default: switched \
             off. NSD has `minimal-responses`, else it adds name servers to every answer; it leaves out the addresses \
             of SRV targets then, which the others add. Neither NSD nor Knot DNS shuffles addresses; CoreDNS and \
             Portolan do.\n\
             * Each server has processor {server_core} to itself (`taskset`, GOMAXPROCS=1) and answers on the loopback \
             of a network namespace of its own. dnsperf and everything else, such as the API server, are on processor \
             {client_core}. All servers are there at once; one at a time is asked.\n\
             * {rounds} rounds in turns, each with every server: 1 s to warm up; {seconds} s as fast as it answers a \
             client that only sends and counts; {seconds} s as fast as it answers dnsperf (8 sockets), both with 200 \
             queries outstanding; {seconds} s of dnsperf at {rate} queries a second. Figures are medians of the rounds.\n\
             * dnsperf, with one processor, is slower than the faster servers: hence the other client. Where the server's \
             processor is not all busy even so, queries for a second of it are the rate divided by the part that was \
             busy: user and system time of all processes of the server.\n\
             * Latency: dnsperf says it of every query (`-v`), in microseconds. It has one processor for sending and \
             receiving, and its own way is part of the time, the same for all.\n\
             * Memory: of all processes of the server, what is in RAM; what they share is counted once (PSS).\n\
             * Following: each server alone with the API server, after a start of its own. One change: one endpoint of \
             a headless Service is replaced, {changes} times, each after 100 ms of silence; from the API server's \
             answer until an answer has the new address. The server is asked every 0.2 ms. Churn: {churn} changes of \
             one endpoint each, over all Services, as fast as the API server takes them; one more change right behind \
             them; memory is read 10 s later.\n",
            questions = options.questions,
            checked = options.checked,
            server_core = options.server_core,
            client_core = options.client_core,
            rounds = options.rounds,
            seconds = options.seconds,
            rate = options.rate,
            changes = options.changes,
            churn = options.churn,
        )
    }
}

/// A row for each title, a column for each server.
fn table<T>(rows: &[Row<T>], results: &[T], server: fn(&T) -> Server) -> String {
    let mut table = head(results, server);
    for row in rows {
        let cells: String = results.iter().map(|result| format!(" {} |", figure((row.value)(result)))).collect();
        let _ = writeln!(table, "| {}, {} |{cells}", row.title, row.unit);
    }
    table
}

/// How many times Portolan is better than the others; nothing if it was not measured, or nobody else was.
fn ratios<T>(rows: &[Row<T>], results: &[T], server: fn(&T) -> Server) -> String {
    let (ours, theirs): (Vec<&T>, Vec<&T>) = results.iter().partition(|result| server(result) == Server::Portolan);
    let ([ours], [_, ..]) = (&ours[..], &theirs[..]) else { return "Not measured.\n".to_owned() };
    let mut table = head(&theirs, |result| server(result));
    for (row, more) in rows.iter().filter_map(|row| Some((row, row.more?))) {
        let ours = (row.value)(ours);
        let cell = |theirs: f64| if more { ratio(ours, theirs) } else { ratio(theirs, ours) };
        let cells: String = theirs.iter().map(|result| format!(" {} |", cell((row.value)(result)))).collect();
        let _ = writeln!(table, "| {} |{cells}", row.title);
    }
    table
}

fn head<T>(results: &[T], server: impl Fn(&T) -> Server) -> String {
    let names: String = results.iter().map(|result| format!(" {} |", name(server(result)))).collect();
    format!("| |{names}\n| --- |{}\n", " --- |".repeat(results.len()))
}
