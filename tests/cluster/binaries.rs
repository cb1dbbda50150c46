use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The built etcd, kube-apiserver and kube-proxy.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
}

/// The exit code of `build.sh` where there is no Go.
const NO_GO: i32 = 77;

impl Binaries {
    /// The binaries, built if need be; `None`, with a word why, where they cannot be had or no namespaces can be made,
    /// and a failure if `PORTOLAN_REQUIRE_E2E=1`.
    ///
    /// `PORTOLAN_CLUSTER_BINARIES` may name their folder.
    pub fn find(test: &str) -> Option<Self> {
        let obstacle = match portolan::lab::obstacle() {
            Some(obstacle) => obstacle,
            None => match env::var_os("PORTOLAN_CLUSTER_BINARIES") {
                Some(folder) => return Some(Self { folder: folder.into() }),
                None => match build() {
                    Some(folder) => return Some(Self { folder }),
                    None => "there is no Go to build etcd and kube-apiserver with".to_owned(),
                },
            },
        };
        assert!(env::var_os("PORTOLAN_REQUIRE_E2E").is_none_or(|v| v != "1"), "{test}: {obstacle}");
        println!("SKIPPED {test}: {obstacle}");
        None
    }

    /// The path of one of them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The folder that `build.sh` prints; `None` if there is no Go.
fn build() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/build.sh");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
    if output.status.code() == Some(NO_GO) {
        return None;
    }
    assert!(output.status.success(), "{} failed: {}", script.display(), output.status);
    Some(String::from_utf8(output.stdout).unwrap().trim_end().into())
}
