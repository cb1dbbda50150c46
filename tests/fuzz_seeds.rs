//! What the fuzz targets begin with: the questions, upstream answers and Corefiles that other tests are about, rulesets as
//! nft lists them, and what one asks `portolan explain`. `make fuzz`
//! has them written into the folder that FUZZ_SEEDS names; otherwise they go into one that is thrown away.

#[path = "dns/mod.rs"]
mod dns;

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use dns::{cases, upstream};
use portolan::answers::query::Query;

/// A folder for each target, an input in each file.
#[test]
fn every_target_has_seeds() {
    let thrown_away = tempfile::tempdir().unwrap();
    let folder = env::var_os("FUZZ_SEEDS").map_or(thrown_away.path().to_owned(), PathBuf::from);
    let all = [
        ("query", queries()),
        ("upstream", answers()),
        ("corefile", corefiles()),
        ("rulesets", rulesets()),
        ("targets", targets()),
    ];
    for (target, seeds) in all {
        assert!(seeds.len() > 5, "{target}: {}", seeds.len());
        let folder = folder.join(target);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}

/// How it comes, and a query. The zone of the target has the Services web, db, big and others in the namespace shop.
fn queries() -> BTreeSet<Vec<u8>> {
    let mut seeds = BTreeSet::new();
    let mut own: Vec<(String, &str)> = ["db", "db-0.db", "big", "partner", "alias", "self", "gone", "_pg._tcp.db"]
        .iter()
        .flat_map(|name| ["A", "AAAA", "SRV"].map(|qtype| (format!("{name}.shop.svc.cluster.local"), qtype)))
        .collect();
    own.extend([
        ("1.0.1.10.in-addr.arpa".to_owned(), "PTR"),
        ("web.other.example".to_owned(), "A"),
        ("a.re.other.example".to_owned(), "A"),
        ("registry.other.example".to_owned(), "A"),
    ]);
    let all = cases::all();
    let like = all.first().expect("a case").clone();
    let of_zone = own.into_iter().map(|(qname, qtype)| cases::Case { qname, qtype: qtype.to_owned(), ..like.clone() });
    for case in all.iter().cloned().chain(of_zone) {
        let query = case.query(0x5aa5);
        assert!(Query::parse(&query).is_ok(), "{}", case.id);
        seeds.insert([&[u8::from(case.proto == "tcp")][..], &query].concat());
    }
    seeds
}

/// Choices, seconds, and what the scripted upstream says.
fn answers() -> BTreeSet<Vec<u8>> {
    let mut seeds = BTreeSet::new();
    for case in cases::all().into_iter().filter(|case| !case.qname.ends_with("cluster.local")) {
        for (choices, age) in [(0, 0), (5, 100), (12, 255)] {
            seeds.insert([&[choices, age][..], &upstream::reply(&case.query(0))].concat());
        }
    }
    let like = cases::all().into_iter().next().expect("a case");
    for qtype in ["A", "AAAA", "TXT", "MX"] {
        let asked = cases::Case { qname: "api.partner.example".to_owned(), qtype: qtype.to_owned(), ..like.clone() };
        seeds.insert([&[2, 0][..], &upstream::reply(&asked.query(0))].concat());
    }
    seeds
}

/// Those of the distributions, and the one of the targets.
fn corefiles() -> BTreeSet<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join("tests/config/corefile")).unwrap().map(|entry| entry.unwrap().path());
    files.chain([root.join("fuzz/targets/common/Corefile")]).map(|path| fs::read(path).unwrap()).collect()
}

/// A listing in JSON, and after an empty line in nft's words: a rule of others each, and elements of ours.
fn rulesets() -> BTreeSet<Vec<u8>> {
    let rules = [
        (
            r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"sport"}},"right":5000}},{"drop":null}"#,
            "",
        ),
        (
            r#"{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","new"]}},{"accept":null}"#,
            "ct state established,new accept",
        ),
        (
            r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":{"set":[{"prefix":{"addr":"10.244.0.0","len":16}},{"range":["10.0.0.1","10.0.0.9"]}]}}},{"reject":null}"#,
            "ip daddr { 10.0.0.1-10.0.0.9,\n\t\t\t 10.244.0.0/16 } reject",
        ),
        (
            r#"{"match":{"op":"==","left":{"fib":{"result":"type","flags":["daddr"]}},"right":"local"}},{"goto":{"target":"c"}}"#,
            "fib daddr type local goto c",
        ),
        (
            r#"{"vmap":{"key":{"concat":[{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}}]},"data":{"set":[[{"concat":["tcp",8080]},{"jump":{"target":"c"}}]]}}}"#,
            "meta l4proto . th dport vmap { tcp . 8080 : jump c }",
        ),
        (
            r#"{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"|":[{"meta":{"key":"mark"}},16384]}}},{"dnat":{"addr":"10.244.1.10","port":8080}}"#,
            "meta mark set meta mark | 0x00004000 dnat to 10.244.1.10:8080",
        ),
        (
            r#"{"xt":{"type":"match","name":"tcp"}},{"counter":{"packets":7,"bytes":420}},{"xt":{"type":"target","name":"REJECT"}}"#,
            "tcp dport 8080 counter packets 7 bytes 420 reject",
        ),
    ];
    let of_others = rules.map(|(expressions, words)| {
        let head = r#""family":"inet","table":"t""#;
        let base = r#""hook":"forward","type":"filter","prio":0,"policy":"drop""#;
        let json = format!(
            r#"{{"nftables":[{{"table":{{"family":"inet","name":"t","handle":5}}}},{{"chain":{{{head},"name":"f","handle":1,{base}}}}},{{"chain":{{{head},"name":"c","handle":2}}}},{{"rule":{{{head},"chain":"f","handle":3,"expr":[{expressions}]}}}},{{"rule":{{{head},"chain":"c","handle":4,"expr":[{{"return":null}}]}}}}]}}"#
        );
        format!("{json}\n\ntable inet t {{ # handle 5\n\tchain f {{ # handle 1\n\t\t{words} # handle 3\n\t}}\n}}\n")
    });
    let elements = [
        (r#""set""#, "pods", r#"{"prefix":{"addr":"10.244.0.0","len":16}},{"range":["10.9.0.1","10.9.0.9"]}"#),
        (r#""map""#, "endpoints", r#"[{"concat":["10.96.0.1","tcp",80,0]},{"concat":["10.244.1.10",8080]}]"#),
        (
            r#""map""#,
            "frontends",
            r#"[{"elem":{"val":{"concat":["10.96.0.1","tcp",80]},"comment":"shop/web"}},{"goto":{"target":"internal"}}]"#,
        ),
    ];
    let ours = elements.map(|(kind, name, elements)| {
        let head = r#"{"table":{"family":"ip","name":"portolan"}}"#;
        let container =
            format!(r#"{{{kind}:{{"family":"ip","table":"portolan","name":"{name}","elem":[{elements}]}}}}"#);
        let json = format!(r#"{{"nftables":[{head},{container}]}}"#);
        let read = portolan::tables::read_nft_json(&json).unwrap();
        assert!(!read.state.elements.is_empty(), "{json}");
        json
    });
    of_others.into_iter().chain(ours).map(String::into_bytes).collect()
}

/// Targets and sources.
fn targets() -> BTreeSet<Vec<u8>> {
    let all = [
        "web",
        "web:80",
        "web.shop.svc.cluster.local:http/TCP",
        "shop/web:80/UDP",
        "10.96.0.1:80",
        "[fd00:96::1]:80/SCTP",
        "fd00:96::1",
        "node-1:30080",
        "localhost:80",
        "host",
        "shop/client",
    ];
    all.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}
