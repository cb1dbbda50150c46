//! The questions of tests/dns, asked of a process that was started as an operator starts it.

use std::{net::UdpSocket, thread};

use crate::{
    dns::{
        cases::{self, Case},
        decode::decode,
        upstream,
    },
    server::Server,
};

const FIXTURES: &str = include_str!("../dns/fixtures.json");

/// The lines of a mode, if a Corefile can say it.
fn lines(mode: &str) -> Option<String> {
    let (pods, fallthrough, more) = match mode {
        "base" => ("disabled", "in-addr.arpa ip6.arpa", ""),
        "insecure" => ("insecure", "in-addr.arpa ip6.arpa", ""),
        "verified" => ("verified", "in-addr.arpa ip6.arpa", ""),
        "epnames" => ("disabled", "in-addr.arpa ip6.arpa", "endpoint_pod_names"),
        "fallall" => ("disabled", ".", ""),
        "ignempty" => ("disabled", "in-addr.arpa ip6.arpa", "ignore empty_service"),
        "noep" => ("disabled", "in-addr.arpa ip6.arpa", "noendpoints"),
        "ttl30" => ("disabled", "in-addr.arpa ip6.arpa", "ttl 30"),
        _ => return None,
    };
    let ttl = if more.starts_with("ttl") { "" } else { "ttl 5" };
    Some(format!(
        "kubernetes cluster.local in-addr.arpa ip6.arpa {{\n  pods {pods}\n  fallthrough {fallthrough}\n  {ttl}\n  \
         {more}\n  }}\n  loadbalance"
    ))
}

/// The upstream of the behaviour's section 5, over UDP.
fn upstream() -> std::net::SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&upstream::reply(&buffer[..length]), peer);
        }
    });
    address
}

#[test]
fn every_case_is_answered_by_the_process() {
    let upstream = upstream();
    let mut wrong = Vec::new();
    let cases = cases::all();
    let mut modes: Vec<&str> = cases.iter().map(|case| case.mode.as_str()).collect();
    modes.sort_unstable();
    modes.dedup();
    let mut asked = 0;
    for mode in modes {
        let Some(lines) = lines(mode) else { continue };
        let mut server = Server::new(&format!("{lines}\n  forward . {upstream}"));
        server.write("objects/all.yaml", FIXTURES);
        server.start();
        server.until_ready();
        for case in cases.iter().filter(|case| case.mode == mode) {
            let query = case.query(0x5aa5);
            let tcp = case.proto == "tcp";
            let full = server.ask_raw(&Case { edns: None, ..case.clone() }.query(1), true);
            let full = full.and_then(|full| decode(&full).ok()).map_or(Vec::new(), |full| full.answer);
            let reply = server.ask_raw(&query, tcp).unwrap_or_default();
            if let Err(why) = case.judge(&query, &reply, &full) {
                wrong.push(format!("{} ({}) {} {}: {why}", case.id, case.mode, case.qname, case.qtype));
            }
            asked += 1;
        }
    }
    assert!(asked > 60, "only {asked} of {}", cases.len());
    assert!(wrong.is_empty(), "{} of {asked} cases:\n{}", wrong.len(), wrong.join("\n"));
}
