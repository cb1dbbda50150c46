use std::{env, str::FromStr, time::Duration};

use crate::subject::Program;

/// What is measured and for how long; each from an environment variable of its name, `COMPARE_SIZES` and so on.
pub struct Options {
    /// Numbers of Services
    pub sizes: Vec<usize>,
    /// Endpoints of each Service
    pub endpoints: usize,
    /// Whom to measure
    pub programs: Vec<Program>,
    /// How many single changes
    pub changes: usize,
    /// How long nothing happens between two of them: longer than anybody's minimum interval
    pub pause: Duration,
    /// How long to watch the idle program, in seconds; 0 for not at all
    pub idle: Duration,
    /// How long to change endpoints without a rest
    pub churn: Duration,
    /// Changes a second then
    pub churn_rate: u32,
}

impl Options {
    /// Reads the environment. Panics on what it cannot read.
    pub fn from_environment() -> Self {
        Self {
            sizes: list("COMPARE_SIZES", "1000,5000,10000"),
            endpoints: one("COMPARE_ENDPOINTS", "10"),
            programs: list("COMPARE_PROGRAMS", "kube-proxy,portolan"),
            changes: one("COMPARE_CHANGES", "200"),
            pause: Duration::from_millis(one("COMPARE_PAUSE_MS", "1200")),
            idle: Duration::from_secs(one("COMPARE_IDLE_SECONDS", "300")),
            churn: Duration::from_secs(one("COMPARE_CHURN_SECONDS", "60")),
            churn_rate: one("COMPARE_CHURN_RATE", "100"),
        }
    }
}

fn one<T: FromStr>(name: &str, default: &str) -> T {
    let text = env::var(name).unwrap_or_else(|_| default.to_owned());
    text.parse().unwrap_or_else(|_| panic!("{name}={text} cannot be read; the default is {default}"))
}

fn list<T: FromStr>(name: &str, default: &str) -> Vec<T> {
    let text = env::var(name).unwrap_or_else(|_| default.to_owned());
    let items = text.split([',', ' ']).filter(|item| !item.is_empty());
    items.map(|item| item.parse().unwrap_or_else(|_| panic!("{name}={text} cannot be read at {item:?}"))).collect()
}
