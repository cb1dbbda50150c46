//! What a kube-proxy left, beside what others have in the same tables.

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use portolan::kernel::kube_proxy::{Alive, MARK, find_alive, find_leftovers, remove_leftovers};

use crate::namespace::{in_namespace, nft, run};

/// What kube-proxy's nftables mode makes for one Service.
const NFTABLES: &str = include_str!("kube-proxy.nft");

/// The kubelet's chains and other people's, the same in both families.
const FOREIGN: &str = "\
*nat
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-DROP - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:KUBE-SVC-mine - [0:0]
-A PREROUTING -m comment --comment \"theirs; -j KUBE-SERVICES\" -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 80
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
-A POSTROUTING -m mark --mark 0x1 -j MASQUERADE
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -p tcp -m tcp --dport 25 -j DROP
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
";

/// What kube-proxy's iptables mode makes for one Service; its jumps come first in their chains.
const IPTABLES: &str = "\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SVC-ERIFXISQEP7F7OF4 - [0:0]
:KUBE-EXT-ERIFXISQEP7F7OF4 - [0:0]
:KUBE-SEP-ABCDEFGHIJKLMNOP - [0:0]
-I PREROUTING 1 -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-I OUTPUT 1 -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-I POSTROUTING 1 -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-SERVICES -p tcp -m comment --comment \"kube-system/dns cluster IP\" -m tcp --dport 53 -j KUBE-SVC-ERIFXISQEP7F7OF4
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30053 -j KUBE-EXT-ERIFXISQEP7F7OF4
-A KUBE-EXT-ERIFXISQEP7F7OF4 -j KUBE-MARK-MASQ
-A KUBE-EXT-ERIFXISQEP7F7OF4 -j KUBE-SVC-ERIFXISQEP7F7OF4
-A KUBE-SVC-ERIFXISQEP7F7OF4 -m statistic --mode random --probability 0.5 -j KUBE-SEP-ABCDEFGHIJKLMNOP
-A KUBE-SEP-ABCDEFGHIJKLMNOP -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
*filter
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-PROXY-CANARY - [0:0]
-I INPUT 1 -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-I INPUT 1 -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS
-I FORWARD 1 -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-I FORWARD 1 -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
";

fn restore(program: &str, text: &str) {
    let mut command = Command::new(program);
    let mut child = command.arg("--noflush").stdin(Stdio::piped()).spawn().expect(program);
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program}\n{text}");
}

/// What the old iptables has, without times and counters.
fn legacy_listing() -> String {
    let text = run("iptables-legacy-save", &[]) + &run("ip6tables-legacy-save", &[]);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" [").next().unwrap().to_owned() + "\n")
        .collect()
}

#[test]
fn kube_proxys_nftables_tables_go_and_no_other() {
    in_namespace(|| {
        assert!(find_leftovers().unwrap().is_empty());
        nft("table ip theirs { chain c { }\n }\ntable inet kube-proxy { chain c { }\n }");
        let before = run("nft", &["-a", "list", "ruleset"]);
        nft(NFTABLES);
        let found = find_leftovers().unwrap();
        assert_eq!(found.to_string(), "table ip kube-proxy, table ip6 kube-proxy");
        assert_eq!(remove_leftovers().unwrap(), found);
        assert_eq!(run("nft", &["-a", "list", "ruleset"]), before);
        assert_eq!(remove_leftovers().unwrap().to_string(), "nothing");
    });
}

#[test]
fn kube_proxys_chains_go_from_the_tables_of_iptables_and_everything_else_stays() {
    in_namespace(|| {
        for program in ["iptables-nft-restore", "ip6tables-nft-restore"] {
            restore(program, FOREIGN);
            // iptables makes the built-in chains that it needs with their first rule; so that they are there before.
            restore(program, "*nat\n-A OUTPUT -m mark --mark 0x9 -j RETURN\nCOMMIT\n");
        }
        let before = run("nft", &["-a", "list", "ruleset"]);
        assert!(find_leftovers().unwrap().is_empty());
        for program in ["iptables-nft-restore", "ip6tables-nft-restore"] {
            restore(program, IPTABLES);
        }
        let found = find_leftovers().unwrap();
        assert_eq!(found.chains.len(), 6, "{found}");
        assert!(found.to_string().contains("8 chains of kube-proxy in ip nat"), "{found}");
        assert_eq!(remove_leftovers().unwrap(), found);
        // With handles: what stays is not even made anew.
        assert_eq!(run("nft", &["-a", "list", "ruleset"]), before);
        assert!(find_leftovers().unwrap().is_empty());
    });
}

#[test]
fn chains_that_others_use_stay_with_what_they_lead_to_and_are_named() {
    in_namespace(|| {
        restore("iptables-nft-restore", FOREIGN);
        restore("iptables-nft-restore", IPTABLES);
        restore("iptables-nft-restore", "*nat\n-A CNI-HOSTPORT-DNAT -j KUBE-EXT-ERIFXISQEP7F7OF4\nCOMMIT\n");
        let removed = remove_leftovers().unwrap();
        let rules = run("iptables-nft-save", &["-t", "nat"]);
        for kept in ["KUBE-EXT-ERIFXISQEP7F7OF4", "KUBE-SVC-ERIFXISQEP7F7OF4", "KUBE-MARK-MASQ"] {
            assert!(rules.contains(&format!(":{kept} ")), "{kept}: {rules}");
            let named =
                |remark: &String| remark.contains(&format!("chain {kept} in ip nat stays: chain CNI-HOSTPORT-DNAT"));
            assert!(removed.remarks.iter().any(named), "{removed:?}");
        }
        assert!(!rules.contains("KUBE-SERVICES -") && !rules.contains("KUBE-NODEPORTS"), "{rules}");
        assert!(rules.contains("-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000"), "{rules}");
    });
}

#[test]
fn the_old_iptables_loses_kube_proxys_chains_and_nothing_else() {
    in_namespace(|| {
        let can = Command::new("iptables-legacy").args(["-t", "nat", "-S"]).output();
        if !can.is_ok_and(|output| output.status.success()) {
            println!(
                "SKIPPED the_old_iptables_loses_kube_proxys_chains_and_nothing_else: this kernel has no old iptables"
            );
            return;
        }
        for program in ["iptables-legacy-restore", "ip6tables-legacy-restore"] {
            restore(program, FOREIGN);
        }
        let before = legacy_listing();
        for program in ["iptables-legacy-restore", "ip6tables-legacy-restore"] {
            restore(program, IPTABLES);
        }
        assert!(before.contains("KUBE-FIREWALL") && legacy_listing().contains("KUBE-SERVICES"));
        let found = find_leftovers().unwrap();
        assert_eq!(found.chains.len(), 6, "{found}");
        assert_eq!(remove_leftovers().unwrap(), found);
        assert_eq!(legacy_listing(), before);
        assert!(find_leftovers().unwrap().is_empty());
    });
}

#[test]
fn somebody_who_answers_as_kube_proxy_is_found_and_portolan_is_not() {
    in_namespace(|| {
        assert_eq!(find_alive(Path::new("/proc")), None);
        let listener = TcpListener::bind("127.0.0.1:10249").unwrap();
        let sent = "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff";
        let answers = [sent.to_owned(), format!("{sent}\r\n{MARK}: 0.1.0")];
        thread::scope(|scope| {
            scope.spawn(|| {
                for header in answers {
                    let mut stream = listener.accept().unwrap().0;
                    let mut request = [0; 1024];
                    let length = stream.read(&mut request).unwrap();
                    assert!(request[..length].starts_with(b"GET /proxyMode HTTP/1.0\r\n"));
                    write!(stream, "HTTP/1.0 200 OK\r\n{header}\r\n\r\niptables").unwrap();
                }
            });
            let found = find_alive(Path::new("/proc"));
            let expected = Alive::Answer { address: "127.0.0.1:10249".parse().unwrap(), mode: "iptables".to_owned() };
            assert_eq!(found, Some(expected));
            assert_eq!(find_alive(Path::new("/proc")), None);
        });
    });
}
