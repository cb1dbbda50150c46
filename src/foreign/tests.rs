//! Each kind of expression, in the JSON that nft 1.0.6 prints.

use super::*;

/// 10.244.1.11 asks the cluster IP 10.96.0.1:80 over TCP; the endpoint is 10.244.1.10:8080; seen at the hook forward.
fn packet() -> Packet {
    let target = |address: &str, port| Target { address: address.parse().unwrap(), port };
    Packet {
        family: Family::V4,
        protocol: Protocol::Tcp,
        source: ("10.244.1.11".parse().unwrap(), None),
        destination: target("10.244.1.10", 8080),
        dialled: target("10.96.0.1", 80),
        incoming: Some("veth1".to_owned()),
        outgoing: None,
        mark: 0x4000,
    }
}

fn rule(chain: &str, handle: u64, expressions: &str) -> String {
    let head = r#""family":"inet","table":"t""#;
    format!(r#"{{"rule":{{{head},"chain":"{chain}","handle":{handle},"expr":[{expressions}]}}}}"#)
}

/// A table with one chain at this place, and sets and a second chain.
fn ruleset(hook: &str, kind: &str, priority: i32, policy: &str, rules: &[&str]) -> Ruleset {
    let head = r#""family":"inet","table":"t""#;
    let base = format!(r#""type":"{kind}","hook":"{hook}","prio":{priority},"policy":"{policy}""#);
    let mut objects = vec![
        r#"{"metainfo":{"version":"1.0.6","json_schema_version":1}}"#.to_owned(),
        r#"{"table":{"family":"inet","name":"t","handle":5}}"#.to_owned(),
        format!(r#"{{"chain":{{{head},"name":"f","handle":2,{base}}}}}"#),
        format!(r#"{{"chain":{{{head},"name":"c","handle":1}}}}"#),
        format!(
            r#"{{"set":{{{head},"name":"nets","type":"ipv4_addr","handle":8,"flags":["interval"],"elem":["1.2.3.4",{{"prefix":{{"addr":"10.244.0.0","len":16}}}},{{"range":["192.168.1.1","192.168.1.9"]}}]}}}}"#
        ),
        format!(
            r#"{{"set":{{{head},"name":"pairs","type":["ipv4_addr","inet_proto","inet_service"],"handle":9,"elem":[{{"concat":["10.0.0.2","udp",53]}},{{"elem":{{"val":{{"concat":["10.244.1.10","tcp",8080]}},"comment":"hey"}}}}]}}}}"#
        ),
        format!(
            r#"{{"set":{{{head},"name":"dyn","type":"ipv4_addr","handle":11,"size":65535,"flags":["timeout"],"timeout":600}}}}"#
        ),
        format!(
            r#"{{"map":{{{head},"name":"vm","type":"ipv4_addr","handle":15,"map":"verdict","elem":[["10.0.0.1",{{"accept":null}}],["10.244.1.10",{{"jump":{{"target":"c"}}}}]]}}}}"#
        ),
        rule("c", 90, r#"{"drop":null}"#),
        rule("c", 91, r#"{"set":{"op":"add","elem":{"payload":{"protocol":"ip","field":"saddr"}},"set":"@dyn"}}"#),
    ];
    objects.extend(rules.iter().zip(20..).map(|(expressions, handle)| rule("f", handle, expressions)));
    let mut ruleset = Ruleset::new(["10.96.0.1".parse().unwrap()].into());
    let text =
        "table inet t { # handle 5\n\tchain f { # handle 2\n\t\tthe first counter packets 1 bytes 9 drop # handle 20\n";
    ruleset.add(&format!(r#"{{"nftables":[{}]}}"#, objects.join(",")), text).unwrap();
    ruleset
}

/// What a rule with this match and `drop` does in forward: certainly, certainly not, or nobody knows.
fn drops(expression: &str) -> Option<bool> {
    let rule =
        if expression.is_empty() { r#"{"drop":null}"#.to_owned() } else { format!(r#"{expression},{{"drop":null}}"#) };
    let findings =
        ruleset("forward", "filter", 0, "accept", &[&rule]).pass(&[(Hook::Forward, packet())], &mut MOST_RULES.clone());
    match findings.as_slice() {
        [] => Some(false),
        [finding] => finding.certain.then_some(true),
        more => panic!("{more:?}"),
    }
}

#[test]
fn every_kind_of_match_holds_or_not_or_nobody_knows() {
    let matched = |op: &str, left: &str, right: &str| {
        drops(&format!(r#"{{"match":{{"op":"{op}","left":{left},"right":{right}}}}}"#))
    };
    let meta = |key: &str, right: &str| matched("==", &format!(r#"{{"meta":{{"key":"{key}"}}}}"#), right);
    let payload = |op: &str, header: &str, field: &str, right: &str| {
        matched(op, &format!(r#"{{"payload":{{"protocol":"{header}","field":"{field}"}}}}"#), right)
    };
    let ct = |op: &str, key: &str, right: &str| matched(op, &format!(r#"{{"ct":{{"key":"{key}"}}}}"#), right);
    let (yes, no, unknown) = (Some(true), Some(false), None);

    assert_eq!(drops(""), yes);
    // Interfaces
    assert_eq!(meta("iifname", r#""veth1""#), yes);
    assert_eq!(meta("iifname", r#""veth*""#), yes);
    assert_eq!(meta("iifname", r#"{"set":["eth0","cali*"]}"#), no);
    assert_eq!(meta("iif", r#""lo""#), no);
    assert_eq!(meta("oifname", r#""cni0""#), unknown);
    // Protocols
    assert_eq!(meta("l4proto", r#""tcp""#), yes);
    assert_eq!(meta("l4proto", r#"{"set":["udp","sctp"]}"#), no);
    assert_eq!(meta("nfproto", r#""ipv4""#), yes);
    assert_eq!(meta("protocol", r#""ip6""#), no);
    assert_eq!(meta("pkttype", r#""multicast""#), no);
    assert_eq!(meta("cpu", "0"), unknown);
    assert_eq!(meta("skuid", "0"), no);
    // Marks
    let masked = r#"{"&":[{"meta":{"key":"mark"}},16384]}"#;
    assert_eq!(matched("==", masked, "16384"), yes);
    assert_eq!(matched("!=", masked, "16384"), no);
    assert_eq!(meta("mark", "1"), no);
    assert_eq!(meta("mark", r#"{"prefix":{"addr":0,"len":16}}"#), yes);
    assert_eq!(ct("==", "mark", "5"), no);
    // Addresses
    assert_eq!(payload("==", "ip", "daddr", r#""10.244.1.10""#), yes);
    assert_eq!(payload("!=", "ip", "saddr", r#"{"set":["10.244.1.11",{"prefix":{"addr":"10.0.0.0","len":24}}]}"#), no);
    assert_eq!(payload("==", "ip", "saddr", r#"{"range":["10.244.1.0","10.244.1.11"]}"#), yes);
    assert_eq!(payload("==", "ip", "daddr", r#""@nets""#), yes);
    assert_eq!(payload("==", "ip", "daddr", r#""@dyn""#), unknown);
    assert_eq!(payload("!=", "ip6", "daddr", r#""fd00::1""#), no);
    // Ports
    assert_eq!(payload("==", "tcp", "dport", "8080"), yes);
    assert_eq!(payload("==", "th", "dport", r#"{"set":[80,{"range":[8000,9000]}]}"#), yes);
    assert_eq!(payload("!=", "udp", "dport", "53"), no);
    assert_eq!(payload(">=", "tcp", "dport", "8081"), no);
    assert_eq!(payload("<", "tcp", "dport", "8081"), yes);
    assert_eq!(payload("==", "tcp", "sport", r#"{"range":[1024,65535]}"#), unknown);
    assert_eq!(payload("==", "tcp", "sport", r#"{"range":[0,65535]}"#), yes);
    let flags = r#"{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["fin","syn","rst","ack"]]}"#;
    assert_eq!(matched("==", flags, r#""syn""#), yes);
    assert_eq!(payload("in", "tcp", "flags", r#"["fin","rst"]"#), no);
    let fragment = r#"{"&":[{"payload":{"protocol":"ip","field":"frag-off"}},8191]}"#;
    assert_eq!(matched("!=", fragment, "0"), no);
    assert_eq!(payload("==", "ip", "ttl", "5"), unknown);
    assert_eq!(matched("==", r#"{"payload":{"base":"nh","offset":128,"len":8}}"#, "5"), unknown);
    // Concatenations
    let three = r#"{"concat":[{"payload":{"protocol":"ip","field":"daddr"}},{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}}]}"#;
    assert_eq!(matched("==", three, r#""@pairs""#), yes);
    assert_eq!(matched("!=", three, r#""@pairs""#), no);
    // Connection tracking
    assert_eq!(ct("in", "state", r#"["established","related"]"#), no);
    assert_eq!(ct("in", "state", r#"["new","untracked"]"#), yes);
    assert_eq!(ct("!=", "state", r#""new""#), no);
    assert_eq!(ct("==", "state", r#"{"set":["invalid","new"]}"#), yes);
    assert_eq!(ct("in", "status", r#""dnat""#), yes);
    assert_eq!(ct("in", "status", r#""snat""#), no);
    assert_eq!(ct("!=", "status", r#"{"|":["snat","dnat"]}"#), yes);
    assert_eq!(ct("==", "direction", r#""reply""#), no);
    assert_eq!(ct("==", "helper", r#""ftp""#), unknown);
    let original =
        |key: &str, right: &str| matched("==", &format!(r#"{{"ct":{{"key":"{key}","dir":"original"}}}}"#), right);
    assert_eq!(original("ip daddr", r#""10.96.0.1""#), yes);
    assert_eq!(original("proto-dst", "8080"), no);
    // Routing
    let fib =
        |flags: &str, right: &str| matched("==", &format!(r#"{{"fib":{{"result":"type","flags":{flags}}}}}"#), right);
    assert_eq!(fib(r#""daddr""#, r#""local""#), no);
    assert_eq!(fib(r#"["daddr"]"#, r#"{"set":["unicast","broadcast"]}"#), yes);
    assert_eq!(fib(r#"["daddr","iif"]"#, r#""local""#), unknown);
    // What depends on something else
    assert_eq!(drops(r#"{"limit":{"rate":5,"burst":5,"per":"second"}}"#), unknown);
    assert_eq!(drops(r#"{"ct count":{"val":5,"inv":true}}"#), unknown);
    assert_eq!(drops(r#"{"xt":{"type":"match","name":"physdev"}}"#), unknown);
    assert_eq!(drops(r#"{"something":{"new":1}}"#), unknown);
    assert_eq!(matched("==", r#"{"numgen":{"mode":"random","mod":2,"offset":0}}"#, "0"), unknown);
    // What is neither a match nor a verdict
    assert_eq!(drops(r#"{"counter":{"packets":0,"bytes":0}},{"log":{"prefix":"x"}}"#), yes);
    assert_eq!(drops(r#"{"xt":{"type":"match","name":"comment"}}"#), yes);
    assert_eq!(drops(r#"{"vmap":{"key":{"payload":{"protocol":"ip","field":"daddr"}},"data":"@vm"}}"#), yes);
}

/// `fate!` for what is certain, `fate?` for what is not.
fn fates(findings: &[Finding]) -> String {
    let one = |finding: &Finding| format!("{:?}{}", finding.fate, if finding.certain { '!' } else { '?' });
    findings.iter().map(one).collect::<Vec<_>>().join(" ")
}

const UNKNOWN: &str = r#"{"limit":{"rate":5,"burst":5,"per":"second"}}"#;

#[test]
fn what_follows_an_unknown_match_is_as_certain_as_it_can_be() {
    let forward = |policy: &str, rules: &[&str]| {
        let rules: Vec<String> = rules.iter().map(|rule| rule.replace('?', UNKNOWN)).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        fates(
            &ruleset("forward", "filter", 0, policy, &rules)
                .pass(&[(Hook::Forward, packet())], &mut MOST_RULES.clone()),
        )
    };
    let (accept, drop, back) = (r#"?,{"accept":null}"#, r#"?,{"drop":null}"#, r#"?,{"return":null}"#);
    assert_eq!(forward("accept", &[drop]), "Dropped?");
    assert_eq!(forward("drop", &[drop]), "Dropped? Dropped!");
    assert_eq!(forward("drop", &[accept]), "Dropped?");
    assert_eq!(forward("drop", &[back]), "Dropped!");
    assert_eq!(forward("accept", &[back, r#"{"drop":null}"#]), "Dropped?");
    assert_eq!(forward("accept", &[r#"{"jump":{"target":"c"}}"#]), "Dropped!");
    assert_eq!(forward("drop", &[r#"?,{"goto":{"target":"c"}}"#]), "Dropped? Dropped!");
    assert_eq!(forward("accept", &[r#"{"reject":{"type":"tcp reset"}}"#]), "Refused!");
    assert_eq!(forward("accept", &[r#"{"queue":{"num":3}}"#]), "Dropped?");
    let mark = r#"{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"|":[{"meta":{"key":"mark"}},7]}}}"#;
    let marked = r#"{"match":{"op":"==","left":{"meta":{"key":"mark"}},"right":16391}},{"drop":null}"#;
    assert_eq!(forward("accept", &[mark, marked]), "Dropped!");
    assert_eq!(forward("accept", &[&format!("?,{mark}"), marked]), "Dropped?");
}

#[test]
fn chains_see_the_packet_before_or_after_our_translation_by_their_priority() {
    let before = r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":"10.96.0.1"}},{"drop":null}"#;
    let after =
        r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":8080}},{"drop":null}"#;
    let pass = |kind: &str, priority, rule: &str| {
        fates(
            &ruleset("prerouting", kind, priority, "accept", &[rule])
                .pass(&[(Hook::Prerouting, packet())], &mut MOST_RULES.clone()),
        )
    };
    for (priority, dialled, endpoint) in [(-101, "Dropped!", ""), (-100, "Dropped?", "Dropped?"), (-99, "", "Dropped!")]
    {
        assert_eq!(pass("filter", priority, before), dialled, "{priority}");
        assert_eq!(pass("filter", priority, after), endpoint, "{priority}");
    }
    let dnat = r#"{"dnat":{"family":"ip","addr":"10.0.0.1","port":8080}}"#;
    for (priority, expected) in [(-110, "Translated!"), (-100, "Translated?"), (-90, "")] {
        assert_eq!(pass("nat", priority, dnat), expected, "{priority}");
    }
    assert_eq!(pass("nat", -110, r#"{"dnat":{"family":"ip6","addr":"fd00::1"}}"#), "");
    assert_eq!(pass("nat", -110, r#"{"redirect":{"port":8080}}"#), "Translated!");
    assert_eq!(pass("nat", -110, &format!("{UNKNOWN},{dnat}")), "Translated?");
    assert_eq!(pass("filter", -300, r#"{"notrack":null}"#), "Untracked!");
    assert_eq!(pass("filter", -199, r#"{"notrack":null}"#), "");
    let untranslated = Packet { dialled: packet().destination, ..packet() };
    let findings = ruleset("prerouting", "nat", -90, "accept", &[dnat])
        .pass(&[(Hook::Prerouting, untranslated)], &mut MOST_RULES.clone());
    assert_eq!(fates(&findings), "Translated!");
    assert_eq!(findings[0].to.unwrap().to_string(), "10.0.0.1:8080");
}

#[test]
fn many_packets_share_one_limit_of_rules() {
    let rules = ruleset("forward", "filter", 0, "accept", &[UNKNOWN, UNKNOWN, r#"{"drop":null}"#]);
    let mut left = 5;
    assert_eq!(fates(&rules.pass(&[(Hook::Forward, packet())], &mut left)), "Dropped!");
    assert_eq!(left, 2);
    assert_eq!(fates(&rules.pass(&[(Hook::Forward, packet())], &mut left)), "", "the third rule is not asked any more");
    assert_eq!(left, 0);
    let rules = ruleset("forward", "filter", 0, "drop", &[UNKNOWN]);
    let findings = rules.pass(&[(Hook::Forward, packet())], &mut left);
    assert_eq!(fates(&findings), "Dropped?");
    assert_eq!(findings[0].depends_on, ["more rules than were looked at"]);
    let unlisted = [r#"{"jump":{"target":"nowhere"}}"#];
    let findings = ruleset("forward", "filter", 0, "drop", &unlisted).pass(&[(Hook::Forward, packet())], &mut 9);
    assert_eq!(fates(&findings), "Dropped?");
}

#[test]
fn what_a_finding_depends_on_does_not_grow_with_the_rules() {
    // Each may let the packet pass, and says something else that it depends on.
    let rules: Vec<String> = (0..40).map(|number| format!(r#"{{"something":{number}}},{{"accept":null}}"#)).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let findings =
        ruleset("forward", "filter", 0, "drop", &rules).pass(&[(Hook::Forward, packet())], &mut MOST_RULES.clone());
    assert_eq!(fates(&findings), "Dropped?");
    assert_eq!(findings[0].depends_on.len(), 16);
}

#[test]
fn a_finding_names_table_chain_and_rule() {
    let findings = ruleset("forward", "filter", 0, "accept", &[r#"{"drop":null}"#])
        .pass(&[(Hook::Forward, packet())], &mut MOST_RULES.clone());
    assert_eq!(findings[0].rule, "inet t f: the first drop");
    let findings =
        ruleset("forward", "filter", 0, "drop", &[]).pass(&[(Hook::Forward, packet())], &mut MOST_RULES.clone());
    assert_eq!(findings[0].rule, "inet t f: policy drop");
    let jumped = [r#"{"jump":{"target":"c"}}"#];
    let findings =
        ruleset("forward", "filter", 0, "accept", &jumped).pass(&[(Hook::Forward, packet())], &mut MOST_RULES.clone());
    assert_eq!(findings[0].rule, "inet t c: rule with handle 90");
}

#[test]
fn what_is_not_nfts_json_is_an_error_and_a_loop_has_an_end() {
    let mut ruleset = super::Ruleset::default();
    assert!(ruleset.add("no", "").unwrap_err().starts_with("reading nft's JSON: "));
    assert!(ruleset.add("{}", "").is_err());
    let looping = r#"{"nftables":[{"table":{"family":"ip","name":"t"}},
        {"chain":{"family":"ip","table":"t","name":"f","hook":"forward","type":"filter","prio":0}},
        {"chain":{"family":"ip","table":"t","name":"a"}},{"chain":{"family":"ip","table":"t","name":"b"}},
        {"rule":{"family":"ip","table":"t","chain":"f","expr":[{"jump":{"target":"a"}}]}},
        {"rule":{"family":"ip","table":"t","chain":"a","expr":[{"jump":{"target":"b"}}, 7]}},
        {"rule":{"family":"ip","table":"t","chain":"b","expr":[{"jump":{"target":"a"}}]}},
        {"rule":{"family":"ip","table":"t","chain":"b","expr":[{"jump":{"target":"nowhere"}}]}}]}"#;
    ruleset.add(looping, "").unwrap();
    assert_eq!(ruleset.pass(&[(Hook::Forward, packet())], &mut MOST_RULES.clone()), []);
}
