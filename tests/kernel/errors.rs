//! What goes wrong outside our tables: no permission, no nft, somebody else at work at the same time.

use std::{
    os::unix::process::CommandExt,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use portolan::{
    kernel::{DataPlane, KernelError, NetlinkDataPlane, conntrack::ConntrackTable, nft},
    model::{Family, Protocol},
    tables::{Element, TableState, Transaction},
};

use tokio::runtime::Builder;

use crate::namespace::{in_namespace, installed, ip, nft as carry_out, programs};

/// A user without any capability.
const NOBODY: u32 = 65534;

/// Runs another test of this file, one that is ignored otherwise, as a process of its own.
fn run_test(name: &str, prepare: impl FnOnce(&mut Command)) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    prepare(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn without_the_capability_everything_says_so() {
    in_namespace(|| {
        run_test("errors::as_nobody", |command| {
            command.uid(NOBODY).gid(NOBODY);
        });
    });
}

#[test]
#[ignore = "run as another user by without_the_capability_everything_says_so"]
fn as_nobody() {
    let mut plane = NetlinkDataPlane::open().unwrap();
    let add = Transaction { add: vec![Element::ClusterIp(ip("10.96.0.1"))], ..Transaction::default() };
    let mut entries = 0;
    let refusals = [
        plane.dump().map(drop),
        plane.commit(&add),
        plane.install(&programs()),
        plane.generation().map(drop),
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async { plane.monitor().map(drop) }),
        NetlinkDataPlane::open_owning().map(drop),
        ConntrackTable::open().unwrap().for_each(Family::V4, Protocol::Udp, |_| entries += 1),
    ];
    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert!(matches!(error, KernelError::NotPermitted { .. }), "{error}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    }
    assert_eq!(entries, 0);
}

#[test]
fn without_nft_the_error_names_the_package() {
    in_namespace(|| {
        run_test("errors::with_an_empty_path", |command| {
            command.env("PATH", "/nonexistent");
        });
    });
}

#[test]
#[ignore = "run without nft by without_nft_the_error_names_the_package"]
fn with_an_empty_path() {
    let error = nft::run("table ip x", false, "trying").unwrap_err();
    assert!(matches!(error, KernelError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("package `nftables`"), "{error}");
}

#[test]
fn nfts_own_words_are_kept_and_checking_changes_nothing() {
    in_namespace(|| {
        let text = "table ip x {\n\tchain y {\n\t\tip saddr @absent drop\n\t}\n}\n";
        for check in [true, false] {
            let error = nft::run(text, check, "trying").unwrap_err();
            assert!(matches!(error, KernelError::Refused { .. }), "{error}");
            let words = error.to_string();
            assert!(words.contains("stdin:3:12-18: Error: No such file or directory"), "{words}");
            assert!(words.contains("ip saddr @absent drop"), "{words}");
        }
        nft::run("table ip portolan", true, "trying").unwrap();
        assert_eq!(NetlinkDataPlane::open().unwrap().dump().unwrap(), TableState::default());
    });
}

#[test]
fn long_texts_with_many_errors_do_not_block() {
    in_namespace(|| {
        let line = "add rule ip nowhere chain-x ip saddr @absent drop\n";
        let error = nft::run(&line.repeat(50_000), false, "trying").unwrap_err();
        assert!(matches!(error, KernelError::Refused { .. }), "{:.200}", error.to_string());
    });
}

#[test]
fn dumps_are_whole_while_others_commit() {
    in_namespace(|| {
        let mut plane = installed();
        let stable: Vec<Element> =
            (0..5000u32).map(|n| Element::ClusterIp(std::net::Ipv4Addr::from(0x0a60_0000 + n).into())).collect();
        plane.commit(&Transaction { add: stable.clone(), ..Transaction::default() }).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut add = true;
                while !done.load(Ordering::Relaxed) {
                    carry_out(if add { "add table ip other" } else { "delete table ip other" });
                    add = !add;
                    thread::sleep(Duration::from_millis(15));
                }
            });
            for _ in 0..50 {
                let mut elements = plane.dump().unwrap().elements;
                elements.sort();
                assert!(elements == stable, "{} of {}", elements.len(), stable.len());
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_data_plane_can_move_to_another_thread() {
    in_namespace(|| {
        let mut plane = installed();
        let programs = thread::scope(|scope| scope.spawn(move || plane.dump().unwrap().programs).join().unwrap());
        assert_eq!(programs.len(), 2);
    });
}
