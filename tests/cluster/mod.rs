//! A real control plane for tests and for the comparison with kube-proxy: etcd and kube-apiserver in the namespace of a
//! lab's outside host, nodes as the lab's nodes, and a client that speaks to the API as an administrator does.

#![allow(dead_code, unused_imports, reason = "the end-to-end tests and the comparison use a part of it each")]

mod api_server;
mod binaries;
mod client;
pub mod nftables;
mod process;

pub use api_server::{ApiServer, SERVICE_RANGES, chart_rules};
pub use binaries::Binaries;
pub use client::Client;
pub use process::Process;

use std::{
    net::IpAddr,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use portolan::lab::{LabHost, LabSpec, Namespace, Ports};

/// Where the API server is reached: an outside host of the lab.
pub const API_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 49, 2));

/// A lab without nodes and pods, with a place for the API server ([`LabSpec::outside`]).
pub fn lab_spec() -> LabSpec {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut spec = LabSpec::new(&format!("clu-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    // Without an address of each family it would have no way to pods of that family, and the lab could not be built.
    let second = "fd00:49::2".parse().unwrap();
    spec.externals.extend([API_ADDRESS, second].map(|address| LabHost { address, ports: Ports::default() }));
    spec
}

/// A command that will run in a network namespace. Its process is the program's own: `ip` becomes it.
pub fn command_in(namespace: &Namespace, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace.name()]).arg(program);
    command
}

/// Asks until there is an answer; panics, with what was waited for, when there is none in time.
#[track_caller]
pub fn wait_for<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
