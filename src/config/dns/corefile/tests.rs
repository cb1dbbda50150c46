use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use domain::base::{Rtype, iana::Rcode};
use proptest::prelude::*;

use super::*;
use crate::config::dns::{
    AclAction, Fallthrough, NameMatch, PodNames, Policy, PtrNames, Requirement, Rewrite, Upstream,
};

const KUBEADM: &str = include_str!("../../../../tests/config/corefile/kubeadm");

type Read = Result<(DnsConfig, Vec<String>), Vec<String>>;

/// Reads with these files and variables around.
fn read_with(text: &str, files: &[(&str, &str)], variables: &[(&str, &str)]) -> Read {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let read = |path: &Path| {
        let path = path.to_str().unwrap();
        let imported = |(name, text): (&&str, &&str)| Imported { name: name.to_string(), text: text.to_string() };
        match path.split_once('*') {
            Some((start, end)) => Ok(files
                .iter()
                .filter(|(name, _)| name.starts_with(start) && name.ends_with(end))
                .map(imported)
                .collect()),
            None => files.get_key_value(path).map(|found| vec![imported(found)]).ok_or("no such file".to_owned()),
        }
    };
    let environment = |name: &str| variables.get(name).map(ToString::to_string);
    let shown = |warnings: Vec<Warning>| warnings.iter().map(ToString::to_string).collect();
    parse(text, "etc/Corefile", &environment, &read)
        .map(|(config, warnings)| (config, shown(warnings)))
        .map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
}

fn read(text: &str) -> Read {
    read_with(text, &[], &[])
}

/// One block with these lines, without warnings.
fn block(lines: &str) -> ServerBlock {
    let (config, warnings) = read(&format!(".:53 {{\n{lines}\n}}\n")).unwrap();
    assert_eq!(warnings, [""; 0]);
    config.servers[0].clone()
}

/// What is wrong with a block of these lines.
fn wrong(lines: &str) -> Vec<String> {
    read(&format!(".:53 {{\n{lines}\n}}\n")).map(|(config, _)| format!("{config:?}")).unwrap_err()
}

fn names(zones: &[crate::config::dns::Name]) -> Vec<String> {
    zones.iter().map(|zone| zone.fmt_with_dot().to_string()).collect()
}

#[test]
fn kubeadms_file_works_as_it_is() {
    let (config, warnings) = read(KUBEADM).unwrap();
    assert_eq!(warnings, [""; 0]);
    let [server] = &config.servers[..] else { panic!("{config:?}") };
    assert_eq!((names(&server.zones), server.port), (vec![".".to_owned()], 53));
    assert_eq!(server.health.unwrap().lameduck, Duration::from_secs(5));
    assert_eq!(server.health.unwrap().address.to_string(), "[::]:8080");
    assert_eq!(server.ready.unwrap().to_string(), "[::]:8181");
    assert_eq!(server.prometheus.unwrap().to_string(), "[::]:9153");
    assert!(server.errors && server.detect_loops && server.shuffle && server.log.is_none());
    assert_eq!((server.reload, server.bufsize), (Some(Duration::from_secs(30)), 1232));
    let kubernetes = server.kubernetes.as_ref().unwrap();
    assert_eq!(names(&kubernetes.zones), ["cluster.local.", "in-addr.arpa.", "ip6.arpa."]);
    assert_eq!((kubernetes.ttl, &kubernetes.pods), (30, &PodNames::Insecure));
    let Fallthrough::Zones(zones) = &kubernetes.fallthrough else { panic!("{kubernetes:?}") };
    assert_eq!(names(zones), ["in-addr.arpa.", "ip6.arpa."]);
    let [forward] = &server.forwards[..] else { panic!("{server:?}") };
    assert_eq!(forward.to, [Upstream::ResolvConf(PathBuf::from("/etc/resolv.conf"))]);
    assert_eq!((forward.max_concurrent, forward.from.is_root()), (1000, true));
    let cache = server.cache.as_ref().unwrap();
    assert_eq!((cache.success_ttl, cache.denial_ttl), ((5, 30), (5, 30)));
    assert_eq!(names(&cache.disable_success), ["cluster.local."]);
    assert_eq!(names(&cache.disable_denial), ["cluster.local."]);
}

#[test]
fn k3s_brings_hosts_and_imports() {
    let text = include_str!("../../../../tests/config/corefile/k3s");
    let (config, warnings) = read(text).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("no file matches /etc/coredns/custom/*.override"), "{warnings:?}");
    let hosts = config.servers[0].hosts.as_ref().unwrap();
    assert_eq!(hosts.file, Some(PathBuf::from("/etc/coredns/NodeHosts")));
    assert_eq!((hosts.ttl, hosts.reload, &hosts.fallthrough), (60, Duration::from_secs(15), &Fallthrough::Always));
    let files = [
        ("/etc/coredns/custom/log.override", "log\n"),
        ("/etc/coredns/custom/corp.server", "corp.example:53 {\n forward . 10.0.0.53\n}\n"),
    ];
    let (config, warnings) = read_with(text, &files, &[]).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert!(config.servers[0].log.is_some());
    assert_eq!(names(&config.servers[1].zones), ["corp.example."]);
    assert_eq!(config.servers[1].place.as_ref().unwrap().to_string(), "/etc/coredns/custom/corp.server:1:1");
}

#[test]
fn the_files_of_eks_and_aks_work() {
    let (config, warnings) = read(include_str!("../../../../tests/config/corefile/eks")).unwrap();
    assert_eq!((config.servers.len(), warnings.len()), (1, 0));
    assert_eq!(config.servers[0].kubernetes.as_ref().unwrap().ttl, 5);
    let (config, warnings) = read(include_str!("../../../../tests/config/corefile/aks")).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("etc/custom/*.override"), "{warnings:?}");
    let [first, second] = &config.servers[0].templates[..] else { panic!("{config:?}") };
    assert!(first.matches[0].is_match("a.b.c.d.internal.cloudapp.net."));
    assert_eq!((first.rcode, &first.fallthrough), (Rcode::NXDOMAIN, &Fallthrough::Always));
    assert_eq!((second.rtype, second.matches.len(), &second.fallthrough), (None, 0, &Fallthrough::Never));
}

#[test]
fn the_file_of_the_node_cache_works() {
    let (config, warnings) = read(include_str!("../../../../tests/config/corefile/nodelocal")).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.servers.len(), 4);
    let first = &config.servers[0];
    assert_eq!(first.bind, ["169.254.20.10", "10.96.0.10"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    assert!(first.forwards[0].force_tcp && config.servers[3].forwards[0].prefer_udp);
    assert_eq!(first.health.unwrap().address.to_string(), "169.254.20.10:8080");
    let cache = first.cache.as_ref().unwrap();
    assert_eq!((cache.success_ttl, cache.denial_ttl, cache.octets), ((5, 30), (5, 5), 32 << 20));
    assert!(config.servers.iter().all(|server| server.kubernetes.is_none() && server.detect_loops));
}

#[test]
fn stub_domains_snippets_and_what_people_add() {
    let (config, warnings) = read(include_str!("../../../../tests/config/corefile/stub-domains")).unwrap();
    assert_eq!(warnings, [""; 0]);
    let [main, corp] = &config.servers[..] else { panic!("{config:?}") };
    assert!(main.detect_loops && corp.detect_loops && corp.cache.is_some());
    assert_eq!(
        names(&corp.zones),
        [
            "corp.example.",
            "0.20.10.in-addr.arpa.",
            "1.20.10.in-addr.arpa.",
            "2.20.10.in-addr.arpa.",
            "3.20.10.in-addr.arpa."
        ]
    );
    let forward = &main.forwards[0];
    assert_eq!((forward.policy, forward.health_interval), (Policy::Sequential, Duration::from_secs(5)));
    assert_eq!(forward.to[2], Upstream::Address("[2001:4860:4860::8888]:53".parse::<SocketAddr>().unwrap()));
    assert_eq!(names(&forward.except), ["corp.example."]);
    assert_eq!((corp.forwards[0].max_fails, &corp.forwards[0].next), (0, &vec![Rcode::NXDOMAIN]));
    let Rewrite::Name { matches: NameMatch::Suffix(suffix), replacement, restore_answer, .. } = &main.rewrites[0]
    else {
        panic!("{main:?}")
    };
    assert_eq!((suffix.as_str(), replacement.as_str(), *restore_answer), (".old.local.", ".cluster.local.", true));
    assert_eq!((main.templates[0].rtype, main.templates[0].rcode), (Some(Rtype::AAAA), Rcode::NOERROR));
    assert_eq!(
        main.hosts.as_ref().unwrap().inline,
        ["192.0.2.10 registry.example registry", "2001:db8::10 registry.example"]
    );
    assert_eq!((main.acl[0].action, main.acl[0].nets.len()), (AclAction::Allow, 2));
    assert_eq!((main.acl[1].action, main.acl[1].nets.len(), main.acl[1].types.len()), (AclAction::Block, 0, 0));
}

#[test]
fn without_options_defaults_are_coredns_own_but_for_ours() {
    let server = block("kubernetes cluster.local\ncache\nforward . 192.0.2.1\nprometheus\nbufsize\nchaos\nhosts\nlog");
    let kubernetes = server.kubernetes.unwrap();
    assert_eq!((kubernetes.ttl, kubernetes.pods, kubernetes.endpoint_aliases), (5, PodNames::Disabled, true));
    assert_eq!(kubernetes.dns_service, ("kube-system".to_owned(), "kube-dns".to_owned()));
    let cache = server.cache.unwrap();
    assert_eq!((cache.success_ttl, cache.denial_ttl, cache.servfail_ttl), ((5, 3600), (5, 1800), 5));
    assert_eq!(cache.prefetch.unwrap().hits, 3);
    assert_eq!(cache.stale.unwrap().wait, Duration::from_millis(1800));
    let forward = &server.forwards[0];
    assert_eq!((forward.expire, forward.read_timeout), (Duration::from_secs(10), Duration::from_secs(2)));
    assert_eq!((forward.max_fails, forward.health_interval), (2, Duration::from_millis(500)));
    assert_eq!(forward.failover, [Rcode::SERVFAIL, Rcode::REFUSED]);
    assert_eq!(server.prometheus.unwrap().to_string(), "127.0.0.1:9153");
    assert_eq!(server.hosts.unwrap().file, Some(PathBuf::from("/etc/hosts")));
    let log = server.log.unwrap();
    assert!(log.success && log.denial && log.error && log.format.is_none());
}

#[test]
fn every_option_of_kubernetes_is_read() {
    let text = "kubernetes a.example 10.0.0.0/8 {
        endpoint https://192.0.2.1:6443
        kubeconfig /kube
        namespaces one two
        labels app=web, tier in (a, b)
        pods cidr 10.244.0.0/16 fd00::/56
        endpoint_pod_names
        endpoint_names canonical
        ptr hostname_preferred
        dns_service kube-system/rke2-coredns
        noendpoints
        ignore empty_service
        fallthrough
        ttl 0
    }";
    let options = block(text).kubernetes.unwrap();
    assert_eq!(options.api.endpoint.as_deref(), Some("https://192.0.2.1:6443"));
    assert_eq!(options.api.kubeconfig, Some("/kube".into()));
    assert_eq!(options.namespaces, ["one", "two"]);
    assert_eq!(options.labels.unwrap().requirements.len(), 2);
    assert!(matches!(options.pods, PodNames::Ranges(ranges) if ranges.len() == 2));
    assert!(options.endpoint_pod_names && !options.endpoint_aliases && options.no_endpoints);
    assert!(options.ignore_empty_service && options.fallthrough == Fallthrough::Always);
    assert_eq!((options.ttl, options.ptr), (0, PtrNames::HostnamePreferred));
    assert_eq!(options.dns_service.1, "rke2-coredns");
    let compat = block("kubernetes cluster.local {\ncompat coredns\nnamespace_labels !hidden\n}").kubernetes.unwrap();
    assert!(compat.compat && !compat.endpoint_aliases);
    assert_eq!(compat.namespace_labels.unwrap().requirements, [Requirement::Missing("hidden".to_owned())]);
}

#[test]
fn every_option_of_cache_and_forward_is_read() {
    let text = "cache 60 example.org {
        success 100000 120 0
        denial 1000 10
        prefetch 10 5m 20%
        serve_stale 2h verify 1s 10 20s
        servfail 10s
        disable denial
    }
    forward example.org 192.0.2.1:5353 dns://192.0.2.2 {
        max_age 1m
        max_idle_conns 5
        read_timeout 1s
        max_connect_attempts 3
        failover NXRRSET
        failfast_all_unhealthy_upstreams
        next_on_nodata
        source_address 192.0.2.9
        health_check 1s no_rec
    }";
    let server = block(text);
    let cache = server.cache.unwrap();
    assert_eq!((cache.success_ttl, cache.denial_ttl), ((0, 120), (5, 10)));
    assert_eq!((cache.octets, cache.servfail_ttl), (101_000 * 1680, 10));
    assert_eq!(names(&cache.disable_denial), ["example.org."]);
    assert_eq!((cache.prefetch.unwrap().hits, cache.prefetch.unwrap().percent), (10, 20));
    let stale = cache.stale.unwrap();
    assert_eq!((stale.window.as_secs(), stale.wait.as_secs(), stale.ttl, stale.recheck.as_secs()), (7200, 1, 10, 20));
    let forward = &server.forwards[0];
    assert_eq!(forward.to[0], Upstream::Address("192.0.2.1:5353".parse().unwrap()));
    assert_eq!((forward.max_age.as_secs(), forward.max_idle, forward.max_attempts), (60, 5, 3));
    assert!(forward.failfast && forward.next_on_nodata && forward.health_no_rec);
    assert_eq!(forward.failover, [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NXRRSET]);
    assert_eq!(forward.source, Some("192.0.2.9".parse().unwrap()));
    let off = block("cache {\nprefetch 0\nserve_stale 0\n}").cache.unwrap();
    assert!(off.prefetch.is_none() && off.stale.is_none());
    let immediate = block("cache {\nserve_stale immediate\n}").cache.unwrap().stale.unwrap();
    assert_eq!((immediate.window.as_secs(), immediate.wait), (3600, Duration::ZERO));
}

#[test]
fn rules_of_rewriting_are_read() {
    let server = block(
        "rewrite continue {
            name regex (.*)\\.old\\.example {1}.new.example
            answer name (.*)\\.new\\.example {1}.old.example
         }
         rewrite stop type ANY HINFO
         rewrite ttl suffix example.org 30-300
         rewrite name a.example b.example",
    );
    let [Rewrite::Name { answers, restore_answer: false, go_on: true, .. }, rest @ ..] = &server.rewrites[..] else {
        panic!("{server:?}")
    };
    assert_eq!(answers[0].replacement, "{1}.old.example");
    assert!(matches!(rest[0], Rewrite::Type { from: Rtype::ANY, to: Rtype::HINFO, go_on: false }));
    assert!(
        matches!(&rest[1], Rewrite::Ttl { least: 30, most: 300, matches: NameMatch::Suffix(s), .. } if s == "example.org.")
    );
    assert!(
        matches!(&rest[2], Rewrite::Name { matches: NameMatch::Exact(_), replacement, .. } if replacement == "b.example.")
    );
}

#[test]
fn variables_quotes_comments_and_commas_are_read_as_coredns_does() {
    let text = "# first\n{$ZONE}:{%PORT%},\n  b.example { # two zones\n  chaos \"a \\\"b\\\" # c\" {$NONE}x\n}\n";
    let (config, warnings) = read_with(text, &[], &[("ZONE", "a.example"), ("PORT", "5353")]).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("etc/Corefile:4:23: NONE: this variable"), "{warnings:?}");
    let [one, other] = &config.servers[..] else { panic!("{config:?}") };
    assert_eq!((names(&one.zones), one.port), (vec!["a.example.".to_owned()], 5353));
    assert_eq!((names(&other.zones), other.port), (vec!["b.example.".to_owned()], 53));
    let chaos = one.chaos.as_ref().unwrap();
    assert_eq!((chaos.version.as_str(), &chaos.authors[..]), ("a \"b\" # c", &["x".to_owned()][..]));
    // A file of one block may go without braces; an opening brace may stand on the next line.
    assert!(read("example.org\nloop\nany\n").unwrap().0.servers[0].any);
    assert!(read("\u{feff}example.org\n{\nloop\n}").unwrap().0.servers[0].detect_loops);
}

#[test]
fn what_changes_nothing_is_warned_of() {
    let text = ".:53 {\nkubernetes cluster.local {\nresyncperiod 5m\napiserver_qps 5\n}\ncache {\nkeepttl\n}\nmultisocket 4\n\
                errors {\nstacktrace\nconsolidate 5m \".* i/o timeout$\" warning\n}\nready {\nmonitor continuously\n}\n\
                forward . 192.0.2.1 {\nresolver\n}\n}";
    let (_, warnings) = read(text).unwrap();
    let fields: Vec<&str> = warnings.iter().map(|warning| warning.split(": ").nth(1).unwrap()).collect();
    let expected = [
        "kubernetes resyncperiod",
        "kubernetes apiserver_qps",
        "cache keepttl",
        "multisocket",
        "errors consolidate",
        "ready monitor",
        "forward resolver",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn what_is_wrong_is_named_with_its_line_all_at_once() {
    let errors = wrong("forward . tls://9.9.9.9\netcd example.org {\n  path /x\n}\nttl 30\nkubernets x\nloop\nloop");
    let beginnings = [
        "etc/Corefile:2:11: forward: tls:// is not supported",
        "etc/Corefile:3:1: etcd: is not supported: forward the zone",
        "etc/Corefile:6:1: ttl: there is no such directive",
        "etc/Corefile:7:1: kubernets: there is no such directive; is kubernetes meant?",
        "etc/Corefile:9:1: loop: stands at etc/Corefile:8:1 already",
    ];
    assert_eq!(errors.len(), beginnings.len(), "{errors:#?}");
    for (error, beginning) in errors.iter().zip(beginnings) {
        assert!(error.starts_with(beginning), "{error}");
    }
    let cases = [
        ("kubernetes in-addr.arpa", "2:1: kubernetes: has reverse zones alone"),
        ("kubernetes a {\nttl 3601\n}", "3:5: kubernetes ttl: \"3601\" is no whole number from 0 to 3600"),
        (
            "kubernetes a {\npods sometimes\n}",
            "3:6: kubernetes pods: is \"sometimes\"; disabled or insecure or verified",
        ),
        ("kubernetes a {\nnamespaces x\nnamespace_labels y\n}", "2:1: kubernetes: namespaces and namespace_labels"),
        ("kubernetes a {\ntls c k ca\n}", "3:1: kubernetes tls: is not supported; put the certificate"),
        (
            "kubernetes a {\nkubeconfig /k here\n}",
            "3:15: kubernetes kubeconfig: a context cannot be chosen; remove \"here\"",
        ),
        ("forward . 192.0.2.1 {\ntls_servername x\n}", "3:1: forward tls_servername: is not supported"),
        ("forward . 192.0.2.1 {\ntls\n}", "3:1: forward tls: is not supported"),
        ("forward .", "2:1: forward: wants a zone and where to ask"),
        ("forward . ns.example", "2:11: forward: \"ns.example\" is neither IP[:PORT] nor a file"),
        ("forward . 192.0.2.1 {\nexpire soon\n}", "3:8: forward expire: \"soon\" is no duration"),
        ("health here", "2:8: health: \"here\" is no address to listen on"),
        ("bind eth0", "2:6: bind: \"eth0\" is no IP address; give the addresses"),
        ("bufsize 100", "2:9: bufsize: \"100\" is no whole number from 512 to 4096"),
        ("cache 0", "2:7: cache: \"0\" is no whole number"),
        ("loadbalance weighted x", "2:13: loadbalance: \"weighted\" is not supported"),
        ("reload 1s", "2:8: reload: is too often"),
        ("template IN A {\nanswer x\n}", "3:1: template answer: answer is not supported"),
        ("template IN A {\nmatch \"(\"\n}", "3:7: template match: \"(\" is no regular expression"),
        ("rewrite edns0 x", "2:9: rewrite: edns0 is not supported"),
        ("rewrite name regex a(.) {2}", "2:25: rewrite: {2} names a group"),
        ("acl {\nblock type\n}", "3:7: acl block: type wants at least one value"),
        ("hosts {\nfoo bar\n}", "3:1: hosts foo: \"foo\" is neither an option of hosts nor an address"),
        ("health{\n}", "2:1: health{: a space is missing before the {"),
        ("import nowhere", "2:8: import: no snippet (nowhere) stands above"),
        ("cache {\nsuccess {\n}\n}", "3:9: {: no option has a block of its own"),
    ];
    for (lines, beginning) in cases {
        let errors = wrong(lines);
        let beginning = format!("etc/Corefile:{beginning}");
        assert!(errors.iter().any(|error| error.starts_with(&beginning)), "{lines:?}: {errors:#?}");
    }
    let files = [
        ("", "1:1: the file: has no server block"),
        ("tls://. {\n}", "1:1: tls://.: tls:// is not supported"),
        (".:53 {\n", "1:6: {: this block does not end"),
        (".:53 {\n}\n}\n", "3:1: }: closes no block"),
        (".:53 {\nchaos \"x\n}\n", "2:7: \": this quote does not end"),
        ("(a) {\nimport a\n}\n. {\nimport a\n}", "2:1: import: more than 1000 imports"),
        ("a, b {\n}\nb {\n}", "3:1: b.: the block at etc/Corefile:1:1 serves b. on port 53 already"),
        ("a,\n{\n}", "1:1: ,: another zone is to follow"),
    ];
    for (text, beginning) in files {
        let errors = read(text).map(|(config, _)| format!("{config:?}")).unwrap_err();
        let beginning = format!("etc/Corefile:{beginning}");
        assert!(errors.iter().any(|error| error.starts_with(&beginning)), "{text:?}: {errors:#?}");
    }
}

/// Words that a Corefile is made of, so that more than the first line is reached.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(KUBEADM.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "{", "}", "\n", "\n", "\n", "import", "(a)", "a", ",", "\"", "#", "{$X}", "{%X%}", "{$", "rewrite", "name", "regex",
            "template", "match", "acl", "block", "net", "type", "answer", "0.0.0.0/1", "::/1", "labels", "in", "(", ")", "!",
            "-", "health_check", "domain", "serve_stale", "hosts", "10.0.0.1", "99999999999999999999", "file", "log", "é",
        ]).prop_map(str::to_owned),
        1 => "[ -~\n]{0,6}",
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_and_errors_have_lines(text in prop_oneof!["(?s).{0,200}", words()]) {
        if let Err(errors) = read_with(&text, &[("etc/f", "x {\n")], &[("X", "{ }"), ("a", "b")]) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(error.starts_with("etc/Corefile:") || error.starts_with("etc/f:"), "{}", error);
            }
        }
    }
}
