use std::{env, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::subject::Program;

/// What is measured and for how long; each from an environment variable of its name, `COMPARE_SIZES` and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// Numbers of Services, ascending
    pub sizes: Vec<usize>,
    /// Endpoints of each Service
    pub endpoints: usize,
    /// Whom to measure
    pub programs: Vec<Program>,
    /// How many single changes
    pub changes: usize,
    /// After this time no further single change is begun
    pub changes_seconds: u64,
    /// How long nothing happens between two of them: longer than the program's minimum interval
    pub pause_ms: Pause,
    /// How long to watch the idle program
    pub idle_seconds: u64,
    /// How long to change endpoints without a rest
    pub churn_seconds: u64,
    /// Changes a second then
    pub churn_rate: u32,
}

/// Milliseconds for each program.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pause {
    pub kube_proxy: u64,
    pub portolan: u64,
}

impl Pause {
    pub fn of(self, program: Program) -> Duration {
        Duration::from_millis(match program {
            Program::KubeProxy => self.kube_proxy,
            Program::Portolan => self.portolan,
        })
    }
}

impl Options {
    /// Reads the environment. Panics on what it cannot read.
    pub fn from_environment() -> Self {
        let mut options = Self {
            sizes: list("COMPARE_SIZES", "1000,5000,10000"),
            endpoints: one("COMPARE_ENDPOINTS", "10"),
            programs: list("COMPARE_PROGRAMS", "kube-proxy,portolan"),
            changes: one("COMPARE_CHANGES", "200"),
            changes_seconds: one("COMPARE_CHANGES_SECONDS", "400"),
            pause_ms: Pause {
                kube_proxy: one("COMPARE_KUBE_PROXY_PAUSE_MS", "1200"),
                portolan: one("COMPARE_PORTOLAN_PAUSE_MS", "300"),
            },
            idle_seconds: one("COMPARE_IDLE_SECONDS", "300"),
            churn_seconds: one("COMPARE_CHURN_SECONDS", "60"),
            churn_rate: one("COMPARE_CHURN_RATE", "100"),
        };
        // Objects are only added from one size to the next.
        options.sizes.sort_unstable();
        options
    }

    /// Where the page goes: `COMPARE_OUT`, else docs/.
    pub fn folder() -> PathBuf {
        let docs = || concat!(env!("CARGO_MANIFEST_DIR"), "/docs").into();
        env::var_os("COMPARE_OUT").map_or_else(docs, PathBuf::from)
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
