//! A network namespace that lives as long as one test.

use std::{
    net::IpAddr,
    panic,
    process::{Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use portolan::{
    kernel::{DataPlane, NetlinkDataPlane},
    model::{Family, Frontend, IpRange, Protocol, Settings, Target},
    tables::Program,
};

/// Runs a test on a thread in a new network namespace, where nothing is but a loopback interface.
pub fn in_namespace(test: impl FnOnce() + Send) {
    let outcome = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                assert!(
                    std::env::var_os("PORTOLAN_REQUIRE_KERNEL").is_none_or(|value| value != "1"),
                    "no network namespace: {error}"
                );
                println!("SKIPPED: no network namespace ({error}); run as root");
                return;
            }
            run("ip", &["link", "set", "lo", "up"]);
            test();
        });
        thread.join()
    });
    if let Err(panic) = outcome {
        panic::resume_unwind(panic);
    }
}

/// Runs a command in the namespace, which must succeed, and returns what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Has nft carry out a text, which must succeed.
pub fn nft(text: &str) {
    portolan::kernel::nft::run(text, false, "test").unwrap_or_else(|error| panic!("{error}\n{text}"));
}

/// What nft lists of our table, without counters.
pub fn listing(family: &str, table: &str) -> String {
    run("nft", &["--stateless", "list", "table", family, table])
}

/// Asserts that two listings are the same, and shows the first lines that differ.
#[track_caller]
pub fn assert_same_text(one: &str, other: &str) {
    let differing = one.lines().zip(other.lines()).find(|(a, b)| a != b);
    assert!(differing.is_none(), "{differing:#?}");
    assert_eq!(one.lines().count(), other.lines().count());
}

/// The programs of both families for default settings.
pub fn programs() -> Vec<Program> {
    let settings = Settings { masquerade_bit: 14, ..Settings::default() };
    Family::ALL.map(|family| Program::new(family, &settings)).to_vec()
}

/// A data plane with both programs installed.
pub fn installed() -> NetlinkDataPlane {
    let mut plane = NetlinkDataPlane::open().unwrap();
    plane.install(&programs()).unwrap();
    plane
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn frontend(address: &str, protocol: Protocol, port: u16) -> Frontend {
    Frontend { address: ip(address), protocol, port }
}

pub fn target(address: &str, port: u16) -> Target {
    Target { address: ip(address), port }
}

pub fn range(first: &str, last: &str) -> IpRange {
    IpRange { first: ip(first), last: ip(last) }
}
