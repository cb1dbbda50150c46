use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use portolan::lab::Namespace;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Binaries, Client, Process, command_in, wait_for};

/// Where cluster IPs are allocated from.
pub const SERVICE_RANGES: &str = "172.30.0.0/16,fd00:30::/112";

const PORT: u16 = 6443;
/// How long a server may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who may do everything, and who may do what Portolan may.
const ADMIN_TOKEN: &str = "admin-token";
const PORTOLAN_TOKEN: &str = "portolan-token";
/// The ServiceAccount that Portolan runs as.
const PORTOLAN_USER: &str = "system:serviceaccount:kube-system:portolan";

/// A real API server with its etcd, in a network namespace. Dropping it ends both and forgets everything.
#[derive(Debug)]
pub struct ApiServer {
    binaries: Binaries,
    namespace: Namespace,
    address: IpAddr,
    // Ended in this order: the server before its store, the store before its folder.
    server: Option<Process>,
    _etcd: Process,
    folder: TempDir,
}

impl ApiServer {
    /// Starts both; the server is ready when this returns. `address` must be the namespace's own, not a loopback one.
    pub fn start(binaries: &Binaries, namespace: &Namespace, address: IpAddr) -> Self {
        let folder = folder();
        let path = folder.path();
        make_key(&path.join("account.key"));
        fs::write(
            path.join("tokens.csv"),
            format!(
                "{ADMIN_TOKEN},admin,1,system:masters\n\
                 {PORTOLAN_TOKEN},{PORTOLAN_USER},2,\"system:serviceaccounts,system:serviceaccounts:kube-system\"\n"
            ),
        )
        .unwrap();
        let mut etcd = command_in(namespace, binaries.path("etcd"));
        etcd.arg("--data-dir").arg(path.join("etcd"));
        // What is written need not survive a power cut.
        etcd.args(["--unsafe-no-fsync", "--quota-backend-bytes=8589934592", "--log-level=warn"]);
        let etcd = Process::start("etcd", etcd, path);
        let mut server = Self {
            binaries: binaries.clone(),
            namespace: namespace.clone(),
            address,
            server: None,
            _etcd: etcd,
            folder,
        };
        server.resume();
        server.allow_portolan();
        server
    }

    /// Starts the server again, with the address, the certificate and the data it had; it is ready when this returns.
    pub fn resume(&mut self) {
        let path = self.folder.path();
        let mut command = command_in(&self.namespace, self.binaries.path("kube-apiserver"));
        command.args([
            "--etcd-servers=http://127.0.0.1:2379",
            &format!("--bind-address={}", self.address),
            &format!("--advertise-address={}", self.address),
            &format!("--secure-port={PORT}"),
            &format!("--service-cluster-ip-range={SERVICE_RANGES}"),
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC",
            // Whoever writes ten thousand Services is not to wait in a queue.
            "--enable-priority-and-fairness=false",
            "--max-requests-inflight=4000",
            "--max-mutating-requests-inflight=2000",
        ]);
        for (flag, file) in [
            ("cert-dir", "certificates"),
            ("token-auth-file", "tokens.csv"),
            ("service-account-key-file", "account.key"),
            ("service-account-signing-key-file", "account.key"),
        ] {
            command.arg(format!("--{flag}={}", path.join(file).display()));
        }
        let mut process = Process::start("kube-apiserver", command, path);
        // The server makes a certificate and the authority that signed it, in one file.
        let certificate = self.certificate();
        wait_for("kube-apiserver makes its certificate", PATIENCE, || {
            assert!(process.is_alive(), "{}", process.last_words());
            certificate.exists().then_some(())
        });
        let client = self.admin();
        wait_for("kube-apiserver is ready", PATIENCE, || {
            assert!(process.is_alive(), "{}", process.last_words());
            client.is_ready().then_some(())
        });
        self.server = Some(process);
    }

    /// Ends the server as an upgrade does (SIGTERM), and waits. Its data stay.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.terminate(PATIENCE);
        }
    }

    /// Ends the server as a crash does (SIGKILL). Its data stay.
    pub fn crash(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// `https://ADDRESS:PORT`
    pub fn url(&self) -> String {
        format!("https://{}:{PORT}", self.address)
    }

    /// A client that may do everything.
    pub fn admin(&self) -> Client {
        Client::new(&self.kubeconfig("admin", ADMIN_TOKEN), &self.namespace)
    }

    /// A client that may do what Portolan may.
    pub fn as_portolan(&self) -> Client {
        Client::new(&self.portolan_kubeconfig(), &self.namespace)
    }

    /// The path of a kubeconfig for an administrator.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.kubeconfig("admin", ADMIN_TOKEN)
    }

    /// The path of a kubeconfig for Portolan.
    pub fn portolan_kubeconfig(&self) -> PathBuf {
        self.kubeconfig("portolan", PORTOLAN_TOKEN)
    }

    /// Writes a kubeconfig for somebody with this token; returns its path.
    pub fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": self.url(),
                "certificate-authority": self.certificate(),
            }}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        });
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Where everything about it is, for further files and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificates/apiserver.crt")
    }

    /// Lets Portolan's ServiceAccount do what the chart lets it do.
    pub fn allow_portolan(&self) {
        self.allow_portolan_only(&chart_rules());
    }

    /// Lets Portolan's ServiceAccount do this (rules of a ClusterRole), and nothing else.
    pub fn allow_portolan_only(&self, rules: &[Value]) {
        let client = self.admin();
        client.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "portolan"},
            "rules": rules,
        }));
        client.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "portolan"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "portolan"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": PORTOLAN_USER}],
        }));
    }
}

/// The rules of the chart's ClusterRole, with all of its switches on.
pub fn chart_rules() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/portolan/templates/rbac.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let role = text.split("\n---\n").find(|part| part.contains("\nkind: ClusterRole\n")).unwrap();
    let rules: Vec<&str> =
        role.split_once("\nrules:\n").unwrap().1.lines().filter(|line| !line.contains("{{")).collect();
    serde_saphyr::from_str(&rules.join("\n")).unwrap()
}

/// A folder in memory, where the machine has one.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let builder = tempfile::Builder::new().prefix("portolan-cluster-").to_owned();
    if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.unwrap()
}

/// The key that the server signs ServiceAccount tokens with. It does not start without one.
fn make_key(path: &Path) {
    let arguments = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"];
    let status = Command::new("openssl").args(arguments).arg(path).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "openssl ecparam: {status:?}");
}
