use std::{fs, io, net::SocketAddr};

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::{
    kernel::{
        http::{self, Answer},
        kube_proxy::MARK,
        netlink::uapi::NFNLGRP_NFTABLES,
    },
    model::ServiceId,
    observed::{AgentReport, Seen},
};

/// More than a report can hold.
const MOST_BYTES: usize = 256 * 1024;

/// Asks the agent that listens on this address, its metrics address, about a Service, or only about itself. Waits for a
/// second at most. An error says whether nobody listens there, or who else does.
pub fn agent(address: SocketAddr, service: Option<&ServiceId>) -> Seen<AgentReport> {
    let path = match service {
        // No object can have another name: the agent knows nothing of it.
        Some(id) if !is_plain(&id.namespace) || !is_plain(&id.name) => "/status".to_owned(),
        Some(id) => format!("/status/services/{}/{}", id.namespace, id.name),
        None => "/status".to_owned(),
    };
    let answer = http::get(address, &path, MOST_BYTES).map_err(|error| no_agent(address, &reason(&error)))?;
    report(&answer).map_err(|reason| no_agent(address, &reason))
}

fn no_agent(address: SocketAddr, reason: &str) -> String {
    format!("no agent answers at {address}: {reason}")
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::TimedOut => "no answer within a second".to_owned(),
        io::ErrorKind::InvalidData => "somebody else listens there, who does not speak HTTP".to_owned(),
        _ => error.to_string(),
    }
}

fn report(answer: &Answer) -> Result<AgentReport, String> {
    match answer.code {
        _ if !answer.has(MARK) => Err("somebody else listens there".to_owned()),
        200 => read(&answer.body).map_err(|error| format!("its answer cannot be read: {error}")),
        404 => Err("it is of a version that does not tell its state".to_owned()),
        code => Err(format!("it answers with code {code}")),
    }
}

/// Whether nobody at all listens for changes of nftables in the calling thread's network namespace. A running agent does;
/// so do `nft monitor` and some firewalls. False if that cannot be read.
pub fn nobody_follows_changes() -> bool {
    fs::read_to_string("/proc/thread-self/net/netlink").is_ok_and(|sockets| nobody_listens(&sockets))
}

/// `sockets` is the kernel's list, a socket a line: address, protocol, port, groups in hexadecimal, and more.
fn nobody_listens(sockets: &str) -> bool {
    let mut lines = sockets.lines();
    let group = 1_u32 << (NFNLGRP_NFTABLES - 1);
    let listens = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, protocol, _, groups, ..] = *words else { return true };
        let groups = u32::from_str_radix(groups, 16).unwrap_or(u32::MAX);
        protocol.parse() == Ok(NETLINK_NETFILTER) && groups & group != 0
    };
    lines.next().is_some_and(|head| head.starts_with("sk ")) && !lines.any(listens)
}

/// The process as a whole tells, by the name that is the reason of one Service here, of all Services that are refused.
fn read(body: &str) -> serde_json::Result<AgentReport> {
    let mut report: serde_json::Value = serde_json::from_str(body)?;
    if report["refused"].is_object()
        && let Some(fields) = report.as_object_mut()
    {
        fields.remove("refused");
    }
    serde_json::from_value(report)
}

/// Letters that mean nothing in a path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, TcpListener},
    };

    use super::*;

    /// What is made of one answer.
    fn asked(answer: &str) -> (Seen<AgentReport>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.to_owned();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let seen = agent(address, Some(&ServiceId::new("shop", "web")));
        (seen.map_err(|e| e.replace(&address.to_string(), "ADDRESS")), server.join().unwrap())
    }

    #[test]
    fn only_an_agent_is_taken_for_one() {
        let body = r#"{"node":"node-1","programmed":"2026-11-21T09:00:00Z","changed":["added x"],"new":1}"#;
        let (seen, request) = asked(&format!("HTTP/1.1 200 OK\r\nX-Portolan: 1\r\n\r\n{body}"));
        let report = seen.unwrap();
        assert_eq!((report.node.as_str(), report.changed), ("node-1", vec!["added x".to_owned()]));
        assert!(report.programmed.is_some() && report.verified.is_none());
        assert!(request.starts_with("GET /status/services/shop/web HTTP/1.0\r\n"), "{request}");

        let whole =
            r#"{"node":"node-1","version":"1","sourceStale":"2026-11-21T09:00:00Z","refused":{"a/b":"no room"}}"#;
        let whole = asked(&format!("HTTP/1.1 200 OK\r\nX-Portolan: 1\r\n\r\n{whole}")).0.unwrap();
        assert!(whole.source_stale.is_some() && whole.refused.is_none());

        let stranger = asked(&format!("HTTP/1.1 200 OK\r\n\r\n{body}")).0;
        assert_eq!(stranger.unwrap_err(), "no agent answers at ADDRESS: somebody else listens there");
        let old = asked("HTTP/1.1 404 Not Found\r\nx-portolan: 1\r\n\r\n").0;
        let words = "no agent answers at ADDRESS: it is of a version that does not tell its state";
        assert_eq!(old.unwrap_err(), words);
        let no_http = asked("SSH-2.0-OpenSSH\r\n").0.unwrap_err();
        assert!(no_http.ends_with("does not speak HTTP"), "{no_http}");
        let broken = asked("HTTP/1.1 200 OK\r\nx-portolan: 1\r\n\r\n{").0.unwrap_err();
        assert!(broken.contains("cannot be read"), "{broken}");
    }

    #[test]
    fn who_listens_for_changes_is_read_of_the_kernels_list() {
        let head = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";
        let socket = |protocol, groups| {
            format!("00000000b2b0eb7e {protocol}  1234       {groups} 0        0        0     2        0        17\n")
        };
        let others = [socket("12", "00000000"), socket("12", "00000004"), socket("0 ", "00000041")].concat();
        assert!(nobody_listens(head) && nobody_listens(&format!("{head}{others}")));
        assert!(!nobody_listens(&format!("{head}{others}{}", socket("12", "00000144"))));
        assert!(!nobody_listens("") && !nobody_listens(&format!("{head}strange\n")));
    }

    #[test]
    fn an_agent_that_does_not_run_is_told_from_one_that_is_silent() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let silent = agent(address, None).unwrap_err();
        assert_eq!(silent, format!("no agent answers at {address}: no answer within a second"));
        drop(listener);
        let gone = agent(address, None).unwrap_err();
        assert_eq!(gone, format!("no agent answers at {address}: nobody listens there"));
    }
}
