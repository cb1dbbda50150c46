//! Others remove parts of it.

use crate::{
    agent::Agent,
    client::{assert_answers, until},
    net::{Machine, NODE, Net, POD},
};

#[test]
fn what_others_take_away_comes_back() {
    let Some(net) = Net::up("what_others_take_away_comes_back") else { return };
    let _agent = Agent::redirecting(&net, "LOCAL");
    for words in [
        &["nft", "delete", "table", "ip", "portolan-dns"][..],
        &["nft", "flush", "chain", "ip", "portolan-dns", "deliver"],
        &["nft", "add", "table", "ip", "portolan-dns", "{ flags dormant; }"],
        &["ip", "rule", "del", "pref", "53"],
        &["ip", "route", "del", "local", "10.96.0.10", "dev", "lo", "table", "10053"],
    ] {
        net.run(Machine::Node, words);
        println!("{words:?}");
        until_mended(&net, words);
        until(&net, Machine::Pod, 0, "LOCAL");
        until(&net, Machine::Node, 0, "LOCAL");
        assert_answers(&net, Machine::Pod, "LOCAL", POD);
        assert_answers(&net, Machine::Node, "LOCAL", NODE);
    }
}

/// Waits until everything is there again: a flow that was served here a moment ago may be served here by chance.
fn until_mended(net: &Net, words: &[&str]) {
    let begun = std::time::Instant::now();
    let whole = || {
        let listed = net.command(Machine::Node, &["nft", "list", "table", "ip", "portolan-dns"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let tables = listed.contains("meta mark set") && !listed.contains("dormant");
        let remains = net.remains();
        tables && remains.matches("lookup 10053").count() == 2 && remains.contains("local 10.96.0.10")
    };
    while !whole() {
        assert!(begun.elapsed().as_secs() < 30, "not mended after {words:?}:\n{}", net.remains());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
