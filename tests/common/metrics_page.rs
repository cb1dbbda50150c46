//! Scrapes, and the tables of docs/metrics.md that are made from them.

#![allow(dead_code, reason = "every test file uses a part of it")]
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
};

/// A metric of a scrape.
#[derive(Debug, Default)]
pub struct Metric {
    pub kind: String,
    pub help: String,
    pub labels: BTreeSet<String>,
    /// `name{labels}` with the value
    pub samples: Vec<(String, f64)>,
}

/// Reads the Prometheus text format, strictly.
pub fn parse(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            name.clone_into(&mut current);
            let metric = Metric { help: help.to_owned(), ..Metric::default() };
            assert!(metrics.insert(current.clone(), metric).is_none(), "{name} comes twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, current, "the type follows the help");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            kind.clone_into(&mut metrics.get_mut(name).unwrap().kind);
        } else {
            let metric = metrics.get_mut(&current).unwrap_or_else(|| panic!("{line}: a sample of nothing"));
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let suffix = name.strip_prefix(&*current).unwrap_or_else(|| panic!("{line} stands below {current}"));
            let suffixes: &[&str] = if metric.kind == "histogram" { &["_sum", "_count", "_bucket"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            for label in labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty()) {
                let (key, value) = label.split_once('=').unwrap();
                assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
                metric.labels.insert(key.to_owned());
            }
            metric.samples.push((series.to_owned(), value.parse().unwrap()));
        }
    }
    metrics
}

fn table(metrics: &BTreeMap<String, Metric>) -> String {
    let mut table = "| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, metric) in metrics {
        let labels: Vec<String> = metric.labels.iter().filter(|l| *l != "le").map(|l| format!("`{l}`")).collect();
        table += &format!("| `{name}` | {} | {} | {} |\n", metric.kind, labels.join(", "), metric.help);
    }
    table
}

/// Compares the page's table between the marks of this name with a scrape, or writes it anew.
#[track_caller]
pub fn check(name: &str, metrics: &BTreeMap<String, Metric>) {
    let (begin, end) = (format!("<!-- made from {name}: begin -->\n"), format!("<!-- made from {name}: end -->\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(&begin).expect("the page has a place for the table");
    let (_, after) = rest.split_once(&end).expect("the table ends");
    let fresh = format!("{before}{begin}{}{end}{after}", table(metrics));
    if env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        fs::write(&path, fresh).unwrap();
    } else {
        assert!(page == fresh, "docs/metrics.md is not up to date; UPDATE_EXPECT=1 writes it anew:\n{fresh}");
    }
}
