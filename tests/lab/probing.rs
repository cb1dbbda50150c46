//! What probes and responders say to each other.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use portolan::{
    lab::{CLIENTS, Lab, Outcome, PATIENCE, Probe, Session, in_namespace, sctp},
    model::{Frontend, Protocol},
};

use crate::support::{BRIEF, can_run, frontend, frontends, ip, nft, spec, translate, up};

#[test]
fn a_probe_tells_how_it_was_turned_away() {
    if !can_run("a_probe_tells_how_it_was_turned_away") {
        return;
    }
    let lab = up(spec());
    let (node, client) = (lab.node("node-1").unwrap(), lab.client());
    for address in [ip("203.0.113.1"), ip("fd00:203::1")] {
        let vip = |protocol, port| Probe::new(frontend(address, protocol, port)).patience(BRIEF);
        lab.route(&[address], "node-1").unwrap();
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let outcome = vip(protocol, 80).run(&client).unwrap();
            assert_eq!(outcome, Outcome::Unreachable, "no rule for {address} {protocol}");
            assert_eq!(vip(protocol, 80).run(&node).unwrap(), Outcome::Unreachable, "{address} {protocol}, host");
        }
        nft(
            &node,
            &format!(
                "table {family} t {{
                    chain forward {{ type filter hook forward priority 0;
                        th dport 1 reject; th dport 2 drop;
                    }}
                    chain output {{ type filter hook output priority 0;
                        {family} daddr {address} th dport 1 reject; {family} daddr {address} th dport 2 drop;
                    }}
                }}"
            ),
        );
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let outcome = |port, from| vip(protocol, port).run(from).unwrap();
            assert_eq!(outcome(1, &client), Outcome::Refused, "REJECT {address} {protocol}");
            assert_eq!(outcome(2, &client), Outcome::Silence, "DROP {address} {protocol}");
            assert_eq!(outcome(1, &node), Outcome::Refused, "REJECT {address} {protocol}, host");
            let dropped = if protocol == Protocol::Udp { Outcome::NotPermitted } else { Outcome::Silence };
            assert_eq!(outcome(2, &node), dropped, "DROP {address} {protocol}, host");
        }
    }
    for to in frontends(&lab, "web-1") {
        let nobody = Frontend { port: 9999, ..to };
        let wanted = if to.protocol == Protocol::Tcp { Outcome::Reset } else { Outcome::Refused };
        assert_eq!(Probe::new(nobody).run(&client).unwrap(), wanted, "{nobody}");
    }
    // Hundreds of refusals in a row: the kernel holds none of them back.
    let refused =
        Probe::new(frontend(ip("203.0.113.1"), Protocol::Udp, 1)).patience(BRIEF).spread(&client, 300).unwrap();
    assert_eq!(refused.outcomes.get("refused"), Some(&300), "{refused:?}");
}

/// Sends bytes to a pod's TCP port from the client, closes its own half if asked to, and reads to the end.
fn converse(lab: &Lab, to: Frontend, say: &[u8], close: bool) -> String {
    in_namespace(&lab.client(), || {
        let mut stream = TcpStream::connect(SocketAddr::new(to.address, to.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        stream.write_all(say).unwrap();
        if close {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .unwrap()
}

#[test]
fn a_responder_speaks_to_curl_to_nc_and_to_the_silent() {
    if !can_run("a_responder_speaks_to_curl_to_nc_and_to_the_silent") {
        return;
    }
    let lab = up(spec());
    let to = frontends(&lab, "web-1")[0];
    let greeting = "You've hit web-1\nfrom 192.168.49.100:";
    let silent = converse(&lab, to, b"", true);
    assert!(silent.starts_with(greeting) && silent.ends_with(&format!(" to {}:8080\n", to.address)), "{silent:?}");
    assert_eq!(converse(&lab, to, b"one\ntwo\nthree", true).matches(greeting).count(), 3);
    for request in ["GET / HTTP/1.1\r\nHost: web\r\n\r\n", "POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"] {
        let answer = converse(&lab, to, request.as_bytes(), true);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.starts_with(greeting), "{answer:?}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer:?}");
    }
}

#[test]
fn hundreds_of_connections_a_second_are_no_strain() {
    if !can_run("hundreds_of_connections_a_second_are_no_strain") {
        return;
    }
    let lab = up(spec());
    for to in frontends(&lab, "web-2") {
        let begin = Instant::now();
        let tally = Probe::new(to).spread(&lab.client(), 500).unwrap();
        assert_eq!(tally.pods.get("web-2"), Some(&500), "{to}: {tally:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{to}: {:?}", begin.elapsed());
    }
}

#[test]
fn no_udp_probe_falls_in_with_an_older_flow() {
    if !can_run("no_udp_probe_falls_in_with_an_older_flow") {
        return;
    }
    let lab = up(spec());
    for to in frontends(&lab, "web-2").into_iter().filter(|to| to.protocol == Protocol::Udp) {
        let mut ports = BTreeSet::new();
        for _ in 0..300 {
            let outcome = Probe::new(to).run(&lab.client()).unwrap();
            let Outcome::Answered { source, .. } = outcome else { panic!("{to}: {outcome:?}") };
            assert!(ports.insert(source.port()), "{to}: port {} twice", source.port());
        }
    }
}

#[test]
fn a_session_keeps_its_port_and_its_pod() {
    if !can_run("a_session_keeps_its_port_and_its_pod") {
        return;
    }
    let lab = up(spec());
    for to in frontends(&lab, "web-3") {
        let source = CLIENTS.into_iter().find(|a| a.is_ipv4() == to.address.is_ipv4()).unwrap();
        let probe = Probe::new(to).from(source).from_port(50_000);
        let mut session = Session::open(&probe, &lab.client()).unwrap().unwrap();
        for _ in 0..3 {
            let Outcome::Answered { pod, source: seen, .. } = session.exchange(PATIENCE).unwrap() else {
                panic!("{to}")
            };
            assert_eq!((pod.as_str(), seen), ("web-3", SocketAddr::new(source, 50_000)));
        }
    }
}

#[test]
fn sctp_goes_where_the_rules_send_it() {
    if !can_run("sctp_goes_where_the_rules_send_it") {
        return;
    }
    let lab = up(spec());
    let (node, client) = (lab.node("node-1").unwrap(), lab.client());
    for (vip, target, source) in [("203.0.113.1", 0, CLIENTS[1]), ("fd00:203::1", 2, CLIENTS[3])] {
        let to = frontend(ip(vip), Protocol::Sctp, 80);
        let probe = Probe::new(to).from(source).from_port(7000).patience(BRIEF);
        lab.route(&[to.address], "node-1").unwrap();
        assert_eq!(sctp::ask(&lab, &client, &probe).unwrap(), Outcome::Unreachable, "{to}");
        let target = frontend(frontends(&lab, "web-2")[target].address, Protocol::Sctp, 8080);
        translate(&node, to, target);
        let wanted = Outcome::Answered {
            pod: "web-2".into(),
            source: SocketAddr::new(source, 7000),
            destination: SocketAddr::new(target.address, 8080),
        };
        assert_eq!(sctp::ask(&lab, &client, &probe).unwrap(), wanted, "{to}");
        let family = to.family().nft();
        let rule = "type filter hook forward priority 0; sctp dport 81 reject; sctp dport 82 drop;";
        nft(&node, &format!("table {family} f {{ chain forward {{ {rule} }}; }}"));
        for (port, wanted) in [(81, Outcome::Refused), (82, Outcome::Silence)] {
            let probe = Probe { frontend: Frontend { port, ..to }, ..probe };
            assert_eq!(sctp::ask(&lab, &client, &probe).unwrap(), wanted, "{to} port {port}");
        }
    }
}
