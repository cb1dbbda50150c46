//! Rules as programs of this world write them.

use std::net::IpAddr;

use portolan::{
    foreign::{Fate, Finding},
    kernel::observe::surroundings,
    lab::ROUTER,
    model::{Family, Protocol, Target},
    observed::Route,
};

use crate::{
    support::{can_run, node_address},
    town::{Town, Way},
};

impl Town {
    /// What is found of packets of this way, after they were sent.
    fn found(&self, way: Way, family: Family, protocol: Protocol) -> Vec<Finding> {
        self.try_out(&self.look(), way, family, protocol).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Runs commands of iptables, or of ip6tables, on a node without rules of others.
    fn iptables(&self, program: &str, commands: &[&str]) {
        self.clean();
        for command in commands {
            self.command(&format!("{program} {command}"));
        }
    }
}

fn is_certain(findings: &[Finding], fate: Fate, rule: &str) {
    let [finding] = findings else { panic!("one finding was expected: {findings:#?}") };
    assert!(finding.certain, "{finding:?}");
    assert_eq!((finding.fate, finding.rule.as_str()), (fate, rule));
}

#[test]
fn rules_of_iptables_are_understood_and_named_in_nfts_words() {
    if !can_run("rules_of_iptables_are_understood_and_named_in_nfts_words") {
        return;
    }
    let town = Town::up();
    let kept = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
    for (family, program) in [(Family::V4, "iptables"), (Family::V6, "ip6tables")] {
        let place = format!("{} filter", family.nft());
        let many = "-A FORWARD -p tcp -m multiport --dports 8080,9090:9099 -j REJECT";
        town.iptables(program, &[kept, many]);
        let rule = format!("{place} FORWARD: meta l4proto tcp tcp dport {{ 8080, 9090-9099 }} reject");
        is_certain(&town.found(Way::Pod, family, Protocol::Tcp), Fate::Refused, &rule);
        assert_eq!(town.found(Way::Pod, family, Protocol::Udp), []);

        town.iptables(program, &[kept, "-P FORWARD DROP"]);
        is_certain(
            &town.found(Way::Outside, family, Protocol::Udp),
            Fate::Dropped,
            &format!("{place} FORWARD: policy drop"),
        );
        assert_eq!(town.found(Way::Nobody, family, Protocol::Udp), []);

        // As container runtimes write it.
        let accept = "-A DOCKER-USER -m conntrack --ctstate DNAT -m comment --comment services -j ACCEPT";
        let jumps =
            ["-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", kept, "-A FORWARD -m comment --comment rest -j DROP"];
        town.iptables(program, &jumps);
        let dropped = town.found(Way::NodePort, family, Protocol::Tcp);
        assert_eq!((dropped.len(), dropped[0].certain, dropped[0].fate), (1, true, Fate::Dropped), "{dropped:#?}");
        town.command(&format!("{program} {accept}"));
        assert_eq!(town.found(Way::NodePort, family, Protocol::Tcp), []);

        town.iptables(program, &["-A INPUT -m addrtype --dst-type LOCAL -p udp --dport 9 -j DROP"]);
        let local = town.found(Way::Nobody, family, Protocol::Udp);
        assert_eq!((local.len(), local[0].certain, local[0].fate), (1, true, Fate::Dropped), "{local:#?}");

        // The mark is ours, of connections whose client is hidden.
        town.iptables(program, &[kept, "-A FORWARD -m mark --mark 0x4000/0x4000 -j DROP"]);
        assert_eq!(town.found(Way::Pod, family, Protocol::Tcp), []);
        assert_eq!(town.found(Way::Outside, family, Protocol::Udp)[0].fate, Fate::Dropped);

        town.iptables(program, &["-t raw -A PREROUTING -p udp -j CT --notrack"]);
        let untracked = town.found(Way::Pod, family, Protocol::Udp);
        assert_eq!((untracked[0].certain, untracked[0].fate), (true, Fate::Untracked), "{untracked:#?}");
        assert_eq!(town.found(Way::Pod, family, Protocol::Tcp), []);

        // iptables' chains for translation have the priority of ours: whose is asked first cannot be read.
        let other = Target { address: town.pod("other", family), port: 8080 };
        let rule = format!("-t nat -A PREROUTING -p udp --dport 80 -j DNAT --to-destination {other}");
        town.iptables(program, &[&rule]);
        let translated = town.found(Way::Pod, family, Protocol::Udp);
        assert_eq!((translated[0].certain, translated[0].fate), (false, Fate::Translated), "{translated:#?}");
        assert_eq!(translated[0].to, Some(other));
        assert!(translated[0].depends_on[0].contains("same priority"), "{translated:#?}");

        // A match that nft cannot tell of.
        town.iptables(program, &["-A FORWARD -m physdev --physdev-is-bridged -j DROP"]);
        let unknown = town.found(Way::Pod, family, Protocol::Udp);
        assert_eq!((unknown[0].certain, unknown[0].fate), (false, Fate::Dropped), "{unknown:#?}");
    }
    town.clean();
}

/// What firewalld 2 makes of a zone with the interface eth0 in it, reduced to the chains that matter.
const FIREWALLD: &str = r#"
table inet firewalld {
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    iifname vmap { "eth0" : goto filter_IN_public, "cni0" : goto filter_IN_trusted }
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    DNAT
    iifname "lo" accept
    ct state invalid drop
    ip6 daddr { ::/96, ::ffff:0.0.0.0/96 } reject with icmpv6 addr-unreachable
    jump filter_FORWARD_POLICIES
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD_POLICIES {
    iifname . oifname vmap { "eth0" . "cni0" : goto filter_FWD_public, "cni0" . "eth0" : goto filter_FWD_public }
    iifname { "veth-none" } return
  }
  chain filter_FWD_public {
    meta l4proto { icmp, ipv6-icmp } accept
    reject with icmpx admin-prohibited
  }
  chain filter_IN_public {
    jump filter_IN_public_allow
    meta l4proto { icmp, ipv6-icmp } accept
    reject with icmpx admin-prohibited
  }
  chain filter_IN_public_allow {
    tcp dport 22 accept
    udp dport 9 UDP
    ip6 daddr fe80::/64 udp dport 546 accept
  }
  chain filter_IN_trusted {
    accept
  }
}
"#;

#[test]
fn rules_of_firewalld_are_understood() {
    if !can_run("rules_of_firewalld_are_understood") {
        return;
    }
    let town = Town::up();
    for family in Family::ALL {
        town.clean();
        town.load(&FIREWALLD.replace("DNAT", "ct status dnat accept").replace("UDP", "accept")).unwrap();
        for way in Way::ALL {
            assert_eq!(town.found(way, family, Protocol::Udp), [], "{way:?}");
        }
        is_certain(
            &town.found(Way::Nobody, family, Protocol::Tcp),
            Fate::Refused,
            "inet firewalld filter_IN_public: reject with icmpx admin-prohibited",
        );

        town.clean();
        town.load(&FIREWALLD.replace("DNAT", "").replace("UDP", "drop")).unwrap();
        for way in [Way::Pod, Way::Outside, Way::NodePort] {
            let rule = "inet firewalld filter_FORWARD: reject with icmpx admin-prohibited";
            is_certain(&town.found(way, family, Protocol::Udp), Fate::Refused, rule);
        }
        let rule = "inet firewalld filter_IN_public_allow: udp dport 9 drop";
        is_certain(&town.found(Way::Nobody, family, Protocol::Udp), Fate::Dropped, rule);
        assert_eq!(town.found(Way::Host, family, Protocol::Udp), []);
    }
    town.clean();
}

#[test]
fn tables_of_portolan_and_sleeping_ones_are_left_out() {
    if !can_run("tables_of_portolan_and_sleeping_ones_are_left_out") {
        return;
    }
    let town = Town::up();
    assert!(town.look().foreign.is_empty(), "{:?}", town.look().foreign);
    let chain = "chain f { type filter hook forward priority 0; policy drop; }";
    for table in ["inet portolan-trace-7", "bridge b"] {
        town.load(&format!("table {table} {{\n{chain}\n}}\n")).unwrap();
    }
    assert!(town.look().foreign.is_empty());
    town.load(&format!("table inet sleeping {{\nflags dormant;\n{chain}\n}}\n")).unwrap();
    assert!(town.look().foreign.is_empty());
    town.load("delete table inet portolan-trace-7\n").unwrap();
    assert_eq!(town.found(Way::Pod, Family::V4, Protocol::Udp), []);
    town.load("table netdev n\n").unwrap();
    let seen = town.see();
    assert!(seen.foreign.is_empty());
    assert!(seen.unread_tables.len() == 1 && seen.unread_tables[0].contains("netdev n"), "{:?}", seen.unread_tables);
}

#[test]
fn the_node_tells_its_routes_its_addresses_and_whether_it_forwards() {
    if !can_run("the_node_tells_its_routes_its_addresses_and_whether_it_forwards") {
        return;
    }
    let town = Town::up();
    let routes = ["10.66.0.0/24", "10.67.0.0/24", "10.68.0.0/24", "fd00:66::/64", "fd00:67::/64", "fd00:68::/64"];
    let kinds = ["unreachable", "blackhole", "prohibit"];
    for (kind, range) in kinds.iter().cycle().zip(routes) {
        town.command(&format!("ip route add {kind} {range}"));
    }
    town.command("sysctl -q -w net.ipv4.ip_forward=0");
    let asked = ["10.66.0.1", "10.67.0.1", "10.68.0.1", "fd00:66::1", "fd00:67::1", "fd00:68::1", "192.0.2.1"];
    let asked: Vec<IpAddr> = asked.iter().map(|address| address.parse().unwrap()).collect();
    let own = Family::ALL.map(|family| node_address(1, family));
    let all = asked.iter().copied().chain(own).collect();
    let seen = town.net.lab.on_node("node-1", || surroundings(&all, &Default::default(), 0)).unwrap().unwrap();
    assert_eq!(seen.unread, Vec::<String>::new());
    assert_eq!(seen.forwarding, [(Family::V4, false), (Family::V6, true)].into());
    for address in own {
        assert!(seen.own_addresses.contains(&address));
        assert_eq!(seen.routes[&address], Route::Here);
    }
    let told = |index: usize| seen.routes[&asked[index]].clone();
    for (index, reason) in ["unreachable", "blackhole", "prohibited"].repeat(2).into_iter().enumerate() {
        assert_eq!(told(index), Route::None(reason.to_owned()), "{}", asked[index]);
    }
    let router = ROUTER[0];
    assert_eq!(told(6), Route::Out { interface: "eth0".to_owned(), gateway: Some(router) });
    town.command("ip route del default");
    let seen = town
        .net
        .lab
        .on_node("node-1", || surroundings(&asked.iter().copied().collect(), &Default::default(), 0))
        .unwrap()
        .unwrap();
    assert_eq!(seen.routes[&asked[6]], Route::None("no route".to_owned()));
}
