use std::{net::UdpSocket, thread};

use domain::base::{Rtype, iana::Rcode};

use crate::{
    sandbox::eventually,
    server::{Answer, Server},
};

const NAMES: &str = "kubernetes cluster.local in-addr.arpa ip6.arpa";

#[test]
fn names_of_manifests_are_answered_over_udp_and_tcp() {
    let server = Server::started(NAMES);
    let cases = [
        ("web.shop.svc.cluster.local", Rtype::A, "10.96.20.1"),
        // A control plane refuses this one: two families need a policy that says so.
        ("api.shop.svc.cluster.local", Rtype::AAAA, "fd00:96::22"),
        ("db.shop.svc.cluster.local", Rtype::A, "10.244.1.30"),
        ("db-0.db.shop.svc.cluster.local", Rtype::A, "10.244.1.30"),
        ("_http._tcp.web.shop.svc.cluster.local", Rtype::SRV, "0 100 80 web.shop.svc.cluster.local."),
        ("1.20.96.10.in-addr.arpa", Rtype::PTR, "web.shop.svc.cluster.local."),
        // And this one, because of its capitals.
        ("partner.shop.svc.cluster.local", Rtype::CNAME, "API.Partner.Example."),
    ];
    for (name, rtype, data) in cases {
        for answer in [server.ask(name, rtype), server.ask_tcp(name, rtype)] {
            assert_eq!(answer.rcode, Rcode::NOERROR, "{name}");
            let told: Vec<String> = answer.data.iter().map(|data| with_dot(data)).collect();
            assert_eq!(told, [with_dot(data)], "{name}");
        }
    }
    assert_eq!(server.ask("gone.shop.svc.cluster.local", Rtype::A), Answer { rcode: Rcode::NXDOMAIN, data: vec![] });
    assert_eq!(server.ask("shop.svc.cluster.local", Rtype::A), Answer { rcode: Rcode::NOERROR, data: vec![] });
    assert_eq!(server.ask("www.example.com", Rtype::A).rcode, Rcode::REFUSED);
}

fn with_dot(name: &str) -> String {
    name.trim_end_matches('.').to_owned()
}

#[test]
fn probes_and_metrics_tell() {
    let server = Server::started(&format!("{NAMES}\n  log"));
    assert_eq!(server.get(0, "/health"), Some((200, "OK".to_owned())));
    assert_eq!(server.get(1, "/ready"), Some((200, "OK".to_owned())));
    server.ask("web.shop.svc.cluster.local", Rtype::A);
    server.ask("gone.shop.svc.cluster.local", Rtype::AAAA);
    server.ask_tcp("web.shop.svc.cluster.local", Rtype::SRV);
    let block = format!(r#"server="dns://:{}",zone=".",view="""#, server.port);
    let expected = [
        (format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="1",type="A"}}"#), 1.0),
        (format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="1",type="AAAA"}}"#), 1.0),
        (format!(r#"coredns_dns_requests_total{{{block},proto="tcp",family="1",type="SRV"}}"#), 1.0),
        (format!(r#"coredns_dns_responses_total{{{block},rcode="NOERROR",plugin="kubernetes"}}"#), 2.0),
        (format!(r#"coredns_dns_responses_total{{{block},rcode="NXDOMAIN",plugin="kubernetes"}}"#), 1.0),
        (format!("coredns_dns_request_duration_seconds_count{{{block}}}"), 3.0),
        (format!(r#"coredns_dns_request_size_bytes_count{{{block},proto="udp"}}"#), 2.0),
        (format!(r#"portolan_dns_batch_size_sum{{server="dns://:{}"}}"#, server.port), 2.0),
        ("portolan_dns_snapshot_generation".to_owned(), 1.0),
        ("coredns_reload_failed_total".to_owned(), 0.0),
    ];
    for (series, value) in expected {
        assert_eq!(server.metric(&series), Some(value), "{series}\n{}", server.get(2, "/metrics").unwrap().1);
    }
    eventually("queries are logged", || {
        let log = server.log();
        log.contains(r#""A IN web.shop.svc.cluster.local. udp"#) && log.contains("NXDOMAIN")
    });
}

#[test]
fn other_names_are_forwarded() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = upstream.recv_from(&mut buffer) {
            let question_end = buffer[12..length].iter().position(|octet| *octet == 0).unwrap() + 17;
            let mut answer = buffer[..question_end].to_vec();
            // A response to a recursive query, with one answer and no OPT record.
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 10]);
            upstream.send_to(&answer, peer).unwrap();
        }
    });
    let server = Server::started(&format!("{NAMES}\n  cache 30\n  forward . {address}"));
    for answer in [server.ask("www.example.com", Rtype::A), server.ask_tcp("www.example.com", Rtype::A)] {
        assert_eq!(answer, Answer { rcode: Rcode::NOERROR, data: vec!["203.0.113.10".to_owned()] });
    }
    let answer = server.ask("partner.shop.svc.cluster.local", Rtype::A);
    assert_eq!(answer.data.last().map(String::as_str), Some("203.0.113.10"), "{answer:?}");
    let series =
        format!(r#"coredns_cache_hits_total{{server="dns://:{}",type="success",zones=".",view=""}}"#, server.port);
    assert_eq!(server.metric(&series), Some(1.0), "{}", server.get(2, "/metrics").unwrap().1);
}
