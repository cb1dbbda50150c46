//! The image's root file system, made by the script that the Dockerfile runs, holds all that the program needs: here it
//! works with nothing but that, read-only, and with the one capability that the chart gives.

#[path = "../common/sandbox.rs"]
mod sandbox;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sandbox::{PORTOLAN, Ran, Running, Sandbox, eventually, project};

/// As a container has it: the image read-only, /proc and /dev of its own, a folder for what is mounted, and of all
/// capabilities NET_ADMIN. SYS_CHROOT is this test's, to get in there.
const ENTER: &str = r#"
set -eu
root=$1
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind /dev/null "$root/dev/null"
mount -t tmpfs tmpfs "$root/var/lib"
mount -o remount,bind,ro "$root"
exec setpriv --bounding-set=-all,+net_admin,+sys_chroot --inh-caps=-all --no-new-privs \
  env -i PATH=/usr/bin:/usr/sbin chroot "$root" portolan "$@"
"#;

/// The image's files, and what a container runtime and a Pod's volumes add: mount points and a manifest.
struct Image {
    sandbox: Sandbox,
    root: PathBuf,
}

impl Image {
    fn new(test: &str) -> Option<Self> {
        let sandbox = Sandbox::new(test)?;
        let root = lay_out(&sandbox.path("root"));
        for folder in ["proc", "dev", "var/lib", "manifests"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("dev/null"), "").unwrap();
        fs::copy(project("examples/08-nodeport.yaml"), root.join("manifests/08-nodeport.yaml")).unwrap();
        Some(Self { sandbox, root })
    }

    /// The image's program, started as in a container.
    fn portolan(&self, arguments: &[&str]) -> Ran {
        let mut command = self.sandbox.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]).arg(&self.root).args(arguments);
        Ran::of(command.output().unwrap())
    }
}

fn lay_out(root: &Path) -> PathBuf {
    let script = project("docker/rootfs.sh");
    let made = Command::new(script).arg(root).arg(PORTOLAN).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    root.to_owned()
}

/// The files under a folder, by their paths in it.
fn files(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(root, &entry.path(), found);
        } else {
            found.insert(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn the_image_holds_two_programs_and_no_shell() {
    let folder = tempfile::tempdir().unwrap();
    if Command::new("nft").arg("--version").output().is_err() {
        assert!(std::env::var("PORTOLAN_REQUIRE_KERNEL").as_deref() != Ok("1"), "nft is not installed");
        println!("SKIPPED the_image_holds_two_programs_and_no_shell: nft is not installed");
        return;
    }
    let root = lay_out(folder.path());
    let mut found = BTreeSet::new();
    files(&root, &root, &mut found);
    let programs: Vec<&String> =
        found.iter().filter(|f| !f.contains(".so") && !f.starts_with("usr/share/doc/")).collect();
    assert_eq!(programs, ["etc/nsswitch.conf", "usr/bin/portolan", "usr/sbin/nft"]);
    assert!(found.iter().any(|f| f.contains("libnftables.so")), "{found:?}");
    assert!(found.contains("usr/share/doc/libnftables1/copyright"), "{found:?}");
}

#[test]
fn the_image_programs_the_kernel_with_one_capability() {
    let Some(image) = Image::new("the_image_programs_the_kernel_with_one_capability") else { return };
    let arguments = ["-f", "/manifests", "--node", "node-1"];

    let shown = image.portolan(&[&["render"], &arguments[..], &["-o", "summary"]].concat());
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    assert!(shown.stdout.contains("cluster IP    10.110.170.62:80/TCP -> one of 3"), "{}", shown.stdout);
    assert_eq!(image.sandbox.ruleset(), "");

    let applied = image.portolan(&[&["apply"], &arguments[..]].concat());
    assert_eq!((applied.code, applied.stderr.as_str()), (0, ""));
    assert!(applied.stdout.contains("program installed"), "{}", applied.stdout);
    assert!(image.sandbox.ruleset().contains("10.110.170.62"), "{}", image.sandbox.ruleset());
    let diff = image.portolan(&[&["diff"], &arguments[..]].concat());
    assert_eq!((diff.code, diff.stdout.as_str()), (0, ""));
    // The rules are compared in a network namespace of their own, which takes another capability.
    assert!(diff.stderr.lines().all(|line| line.ends_with("that takes CAP_SYS_ADMIN")), "{}", diff.stderr);

    let removed = image.portolan(&["cleanup"]);
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
    assert_eq!(image.sandbox.ruleset(), "");
}

#[test]
fn the_image_takes_over_and_repairs_as_a_daemon() {
    let Some(image) = Image::new("the_image_takes_over_and_repairs_as_a_daemon") else { return };
    let mut daemon = image.sandbox.command("unshare");
    daemon.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]).arg(&image.root);
    let running = Running::of(daemon.args(["run", "-f", "/manifests", "--node", "node-1"]).spawn().unwrap());
    let served = || image.sandbox.ruleset().contains("10.110.170.62");
    eventually("the Service is programmed", served);
    image.sandbox.ok("nft", &["delete", "table", "ip", "portolan"]);
    eventually("the deleted table is made anew", served);
    assert_eq!(running.terminate(), Some(0));
    assert!(served(), "the rules must stay");
}
