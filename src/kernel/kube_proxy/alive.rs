//! Finds a living kube-proxy in this network namespace.
//!
//! Two signs, because neither is always to be seen: a process of that name (a container sees those of the node only
//! with `hostPID`), and an answer where kube-proxy answers (unless it was told to listen elsewhere; k3s runs kube-proxy
//! inside a process of another name).

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use crate::kernel::http::{self, Answer};

/// An answer of kube-proxy is short; one that never ends is none.
const MOST_BYTES: usize = 8192;
/// kube-proxy's metrics port, which also answers /proxyMode.
const PORT: u16 = 10249;
/// The header with which Portolan's own servers answer every request, so that they are not taken for kube-proxy's.
pub const MARK: &str = "x-portolan";
/// A header that kube-proxy sends with its mode, and few others with a single word.
const KUBE_PROXYS: &str = "x-content-type-options";
/// Programs that hold kube-proxy among others; their first argument says which.
const BUNDLES: [&str; 1] = ["hyperkube"];

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alive {
    /// A process in this network namespace
    Process {
        /// Its number, as this process sees it
        pid: u32,
        /// What it calls itself
        name: String,
    },
    /// Somebody answers /proxyMode as kube-proxy does
    Answer {
        /// Where
        address: SocketAddr,
        /// Its mode
        mode: String,
    },
}

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alive::Process { pid, name } => write!(f, "process {pid} ({name})"),
            Alive::Answer { address, mode } => write!(f, "http://{address}/proxyMode answers {mode:?}"),
        }
    }
}

/// Looks for a kube-proxy in the calling thread's network namespace. `proc` is `/proc`.
pub fn find_alive(proc: &Path) -> Option<Alive> {
    process(proc).or_else(|| {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        addresses.into_iter().find_map(|address| answer(SocketAddr::new(address, PORT)))
    })
}

/// The first process that is kube-proxy and in the same network namespace. One whose namespace may not be looked at is
/// left to the other sign: it may be in a cluster of containers on this machine.
fn process(proc: &Path) -> Option<Alive> {
    let namespace = |of: &Path| fs::read_link(of.join("ns/net")).ok();
    let ours = namespace(&proc.join("thread-self"))?;
    let mut pids: Vec<u32> =
        fs::read_dir(proc).ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter().find_map(|pid| {
        let folder = proc.join(pid.to_string());
        let name = kube_proxys_name(&folder)?;
        (namespace(&folder).as_ref() == Some(&ours)).then_some(Alive::Process { pid, name })
    })
}

/// What a process calls itself, if it is kube-proxy.
fn kube_proxys_name(folder: &Path) -> Option<String> {
    let comm = fs::read_to_string(folder.join("comm")).ok()?.trim().to_owned();
    let arguments = fs::read(folder.join("cmdline")).unwrap_or_default();
    let mut arguments =
        arguments.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned());
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let program = base(&arguments.next().unwrap_or_default());
    let first = arguments.next().unwrap_or_default();
    let is_it = comm == "kube-proxy"
        || program == "kube-proxy"
        || BUNDLES.contains(&program.as_str()) && ["kube-proxy", "proxy"].contains(&first.as_str());
    is_it.then_some(comm)
}

/// Asks for kube-proxy's mode. Whatever fails means that nobody like kube-proxy is there.
fn answer(address: SocketAddr) -> Option<Alive> {
    let answer = http::get(address, "/proxyMode", MOST_BYTES).ok()?;
    mode(&answer).map(|mode| Alive::Answer { address, mode })
}

/// The mode in kube-proxy's answer to /proxyMode; nothing if it is somebody else's answer, or Portolan's.
fn mode(answer: &Answer) -> Option<String> {
    let mode = answer.body.trim();
    (answer.code == 200
        && answer.has(KUBE_PROXYS)
        && !answer.has(MARK)
        && ["iptables", "ipvs", "nftables"].contains(&mode))
    .then(|| mode.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_kube_proxy_is_known_by_its_name_and_its_namespace() {
        let proc = tempfile::tempdir().unwrap();
        let put = |pid: &str, comm: &str, arguments: &str, namespace: &str| {
            let folder = proc.path().join(pid);
            fs::create_dir_all(folder.join("ns")).unwrap();
            fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
            fs::write(folder.join("cmdline"), arguments.replace(' ', "\0")).unwrap();
            symlink(namespace, folder.join("ns/net")).unwrap();
        };
        put("thread-self", "portolan", "portolan run", "net:[1]");
        put("7", "bash", "vim /etc/kube-proxy", "net:[1]");
        put("8", "kube-proxy", "/usr/bin/kube-proxy --config x", "net:[2]");
        put("9", "hyperkube", "/hyperkube kubelet", "net:[1]");
        assert_eq!(process(proc.path()), None);
        put("12", "hyperkube", "/hyperkube kube-proxy --v=2", "net:[1]");
        put("110", "kube-proxy", "/usr/local/bin/kube-proxy --config x", "net:[1]");
        assert_eq!(process(proc.path()), Some(Alive::Process { pid: 12, name: "hyperkube".to_owned() }));
        put("11", "exe", "/usr/local/bin/kube-proxy", "net:[1]");
        assert_eq!(process(proc.path()), Some(Alive::Process { pid: 11, name: "exe".to_owned() }));
    }

    #[test]
    fn an_answer_is_kube_proxys_only_if_it_is_a_mode_and_not_ours() {
        let mode = |text: &str| mode(&Answer::parse(text)?);
        let answer =
            |status: &str, header: &str, body: &str| mode(&format!("HTTP/1.0 {status}\r\n{header}\r\n\r\n{body}"));
        let sent = "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff";
        assert_eq!(answer("200 OK", sent, "iptables"), Some("iptables".into()));
        assert_eq!(answer("200 OK", &format!("{sent}\r\nX-Portolan: 0.1.0"), "nftables"), None);
        assert_eq!(answer("200 OK", "Content-Type: text/plain", "nftables"), None);
        assert_eq!(answer("404 Not Found", sent, "nftables"), None);
        assert_eq!(answer("200 OK", sent, "<html>"), None);
        assert_eq!(mode("SSH-2.0-OpenSSH"), None);
    }
}
