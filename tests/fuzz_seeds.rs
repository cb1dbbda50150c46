//! What the fuzz targets begin with: the questions, upstream answers and Corefiles that other tests are about. `make fuzz`
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
    for (target, seeds) in [("query", queries()), ("upstream", answers()), ("corefile", corefiles())] {
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
